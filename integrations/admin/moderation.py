"""What staff decide about posts on walls, from their own pages and from those of their deliveries."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from integrations.admin.base import note_action
from integrations.infra.text import timestamp
from integrations.models import WallPost
from integrations.walls import hide, pin, show, unpin

NEITHER_TOLD = (
    "Khoros does not tell when a post is deleted or its label is removed. Such a post stays until you hide it here."
)


NOTHING_LIKE_THAT = "Nothing changed: there is nothing like that on a wall."


HIDDEN = "{} hidden on the wall, for good: labelled again, it stays hidden."


class Moderation:
    """Actions of whoever has posts of walls: `wall_posts` says which those of the chosen rows are."""

    def wall_posts(self, queryset: QuerySet[Any]) -> QuerySet[WallPost]:
        raise NotImplementedError

    def has_moderate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("integrations.change_wallpost")

    def _moderated(
        self, request: HttpRequest, queryset: QuerySet[Any], act: Any, done: str, nothing: str = NOTHING_LIKE_THAT
    ) -> HttpResponse | None:
        changed = act(self.wall_posts(queryset), request.user.get_username())
        level = messages.SUCCESS if changed else messages.WARNING
        self.message_user(request, done.format(len(changed)) if changed else nothing, level)  # type: ignore[attr-defined]
        note_action(request, WallPost, changed, done.partition("{}")[2].strip().capitalize())
        return self.back(request)  # type: ignore[attr-defined]

    @admin.action(description="Show on the wall", permissions=["moderate"])
    def wall_show(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._moderated(request, queryset, show, "{} shown on the wall.")

    @admin.action(description="Hide on the wall", permissions=["moderate"])
    def wall_hide(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._moderated(request, queryset, hide, HIDDEN)

    @admin.action(description="Pin on top", permissions=["moderate"])
    def wall_pin(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        nothing = "Only posts that are shown can be pinned: press “Show on the wall” first."
        return self._moderated(request, queryset, pin, "{} pinned on top of the wall.", nothing)

    @admin.action(description="Unpin", permissions=["moderate"])
    def wall_unpin(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._moderated(request, queryset, unpin, "{} no longer pinned.")


def moderation_buttons(post: WallPost) -> list[str]:
    """What can be decided about it now."""
    if post.state != WallPost.State.SHOWN:
        return ["wall_show", *(["wall_hide"] if post.state == WallPost.State.WAITING else [])]
    again = ["wall_show"] if post.wall.has_expired(post) else []
    return [*again, "wall_hide", "wall_pin" if post.place is None else "wall_unpin"]


def state_text(post: WallPost) -> str:
    """Whether it is shown, since when and until when, and who decided."""
    if post.state == WallPost.State.WAITING:
        return "A test: it is shown if you press “Show on the wall”." if post.is_test else "Waits for approval."
    if post.state == WallPost.State.HIDDEN:
        return f"Hidden by {post.decided_by or 'Casebridge'}. It stays hidden when it is labelled again."
    if post.place is not None:
        return f"Shown since {timestamp(post.shown_at)}, pinned in place {post.place}."
    until = post.wall.expiry_of(post)
    if until is None:
        return f"Shown since {timestamp(post.shown_at)}."
    gone = post.wall.has_expired(post)
    return f"Left the wall at {timestamp(until)}." if gone else f"Shown until {timestamp(until)}."
