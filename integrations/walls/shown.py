"""What a wall shows now: pinned posts in their order, then the others, newest first, without those that expired."""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from integrations.infra import database_clock
from integrations.models import Wall, WallPost

MOST_SHOWN = 50
# So that new posts are seen.
MOST_PINNED = 10
ORDERS = {Wall.Order.SHOWN: ("-shown_at", "-id"), Wall.Order.POSTED: ("-posted_at", "-id")}


def find_wall(token_hash: str) -> Wall | None:
    """The wall with this address, and with one query what `shown_posts` and `wall_changed` want to know first."""
    posts = WallPost.objects.filter(wall=OuterRef("pk"))
    newest = posts.order_by("-changed_at").values("changed_at")[:1]
    pinned = Exists(posts.filter(place__isnull=False))
    return Wall.objects.annotate(newest=Subquery(newest), has_pinned=pinned).filter(token_hash=token_hash).first()


def shown_posts(wall: Wall) -> list[WallPost]:
    """At most MOST_SHOWN."""
    shown = _shown(wall)
    pinned: list[WallPost] = []
    if getattr(wall, "has_pinned", True):
        pinned = list(shown.filter(place__isnull=False).order_by("place", "id")[:MOST_SHOWN])
    others = shown.filter(_not_expired(wall), place__isnull=True).order_by(*ORDERS[Wall.Order(wall.order)])
    return pinned + list(others[: MOST_SHOWN - len(pinned)])


def newest_first(wall: Wall, posts: list[WallPost]) -> list[WallPost]:
    """The same without pinned ones in front, as feeds have them."""
    by = (lambda post: (post.posted_at, post.pk)) if wall.order == Wall.Order.POSTED else _shown_since
    return sorted(posts, key=by, reverse=True)


def _shown_since(post: WallPost) -> tuple[datetime, int]:
    return post.shown_at or post.created_at, post.pk


def wall_changed(wall: Wall) -> datetime:
    """When what a found wall shows changed last: by a person, by a new post, or as one expired."""
    newest: datetime | None = getattr(wall, "newest", None)
    moments = [wall.changed_at, newest or wall.changed_at]
    if wall.expires_hours:
        length = timedelta(hours=wall.expires_hours)
        gone = _shown(wall).filter(place__isnull=True, shown_at__lte=database_clock.now() - length)
        last = gone.order_by("-shown_at").values_list("shown_at", flat=True).first()
        moments += [last + length] if last else []
    return max(moments)


def _shown(wall: Wall) -> QuerySet[WallPost]:
    return WallPost.objects.filter(wall=wall, state=WallPost.State.SHOWN)


def _not_expired(wall: Wall) -> Q:
    if not wall.expires_hours:
        return Q()
    return Q(shown_at__gt=database_clock.now() - timedelta(hours=wall.expires_hours))
