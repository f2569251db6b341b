"""Deleting posts from walls after a time, like all other content."""

from typing import Any

from integrations.models import WallPost
from integrations.walls.moderation import tell_readers_of

BLANK = {"post_id": "", "author": "", "handle": "", "text": "", "link": "", "picture": "", "network": ""}


def forget_posts(before: Any, most: int) -> int:
    """Deletes what came to a wall before then, at most so many. Of what was hidden only the key stays, so that it
    stays hidden when it is labelled again."""
    old = WallPost.objects.filter(created_at__lt=before).exclude(state=WallPost.State.HIDDEN, post_id="")
    ids = list(old.order_by("created_at", "id").values_list("pk", flat=True)[:most])
    WallPost.objects.filter(pk__in=ids, state=WallPost.State.HIDDEN).update(**BLANK)
    tell_readers_of(ids)
    WallPost.objects.filter(pk__in=ids).exclude(state=WallPost.State.HIDDEN).delete()
    return len(ids)
