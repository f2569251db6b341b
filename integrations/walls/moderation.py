"""What staff decide about posts on a wall. Readers see it at once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from integrations.models import Wall, WallPost
from integrations.walls.cache import forget_pages
from integrations.walls.shown import MOST_PINNED

State = WallPost.State


def show(posts: QuerySet[WallPost], by: str) -> list[int]:
    """Shows them from now on, also those that expired. Returns the ids of those that changed."""
    return _decide(posts, by, state=State.SHOWN, shown_at=Now())


def hide(posts: QuerySet[WallPost], by: str) -> list[int]:
    return _decide(posts.exclude(state=State.HIDDEN), by, state=State.HIDDEN, place=None)


def pin(posts: QuerySet[WallPost], by: str) -> list[int]:
    """Puts those that are shown on top, in the order they are given. Of more than MOST_PINNED the last are unpinned."""
    changed = []
    for post in reversed(list(posts)):
        with _locked_wall(post):
            shown = WallPost.objects.filter(pk=post.pk, state=State.SHOWN)
            if not shown.exists():
                continue
            _pinned(post).update(place=F("place") + 1)
            shown.update(place=1, changed_at=Now(), decided_by=by)
            for one_too_many in _pinned(post).order_by("place").values_list("pk", flat=True)[MOST_PINNED - 1 :]:
                WallPost.objects.filter(pk=one_too_many).update(place=None)
        changed.append(post.pk)
    tell_readers_of(changed)
    return changed


def unpin(posts: QuerySet[WallPost], by: str) -> list[int]:
    return _decide(posts.filter(place__isnull=False), by, place=None)


def move(post: WallPost, by: str, *, up: bool) -> bool:
    """Changes places with the pinned post before it, or after it. False where there is none."""
    beyond, order = ("place__lt", "-place") if up else ("place__gt", "place")
    with _locked_wall(post):
        post.refresh_from_db()
        others = _pinned(post).filter(**{beyond: post.place}) if post.place is not None else WallPost.objects.none()
        other = others.order_by(order).first()
        if other is None:
            return False
        WallPost.objects.filter(pk=post.pk).update(place=other.place, changed_at=Now(), decided_by=by)
        WallPost.objects.filter(pk=other.pk).update(place=post.place, changed_at=Now())
    tell_readers_of([post.pk])
    return True


def _decide(posts: QuerySet[WallPost], by: str, **columns: object) -> list[int]:
    ids = list(posts.values_list("pk", flat=True))
    with transaction.atomic():
        # As those who order pinned posts do.
        list(Wall.objects.select_for_update().filter(posts__in=ids).order_by("pk").values_list("pk"))
        WallPost.objects.filter(pk__in=ids).update(**columns, changed_at=Now(), decided_by=by)
    tell_readers_of(ids)
    return ids


def _pinned(post: WallPost) -> QuerySet[WallPost]:
    return WallPost.objects.filter(wall=post.wall_id, place__isnull=False).exclude(pk=post.pk)


@contextmanager
def _locked_wall(post: WallPost) -> Iterator[None]:
    """A transaction in which nobody else orders this wall's pinned posts."""
    with transaction.atomic():
        list(Wall.objects.select_for_update().filter(pk=post.wall_id).values_list("pk"))
        yield


def tell_readers(wall: Wall) -> None:
    """The wall itself was changed."""
    if wall.token_hash:
        transaction.on_commit(partial(forget_pages, wall.token_hash), robust=True)


def tell_readers_of(ids: Iterable[int]) -> None:
    walls = Wall.objects.filter(posts__in=ids, token_hash__isnull=False).distinct()
    for wall in walls:
        tell_readers(wall)
