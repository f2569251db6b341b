"""Deleting posts from walls after a time, like all other content."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from integrations.models import Wall, WallPost
from integrations.walls.moderation import tell_readers

BLANK: dict[str, Any] = {
    **dict.fromkeys(("post_id", "external_id", "author", "handle", "text", "link", "picture", "network"), ""),
    "posted_at": F("created_at"),
}


def forget_posts(before: Any, most: int) -> int:
    """Deletes what came to a wall before then, at most so many. Of what was hidden only the key stays, so that it
    stays hidden when it is labelled again."""
    old = WallPost.objects.filter(created_at__lt=before).exclude(state=WallPost.State.HIDDEN, post_id="")
    ids = list(old.order_by("created_at", "id").values_list("pk", flat=True)[:most])
    walls = list(Wall.objects.filter(posts__in=ids).distinct())
    with transaction.atomic():
        WallPost.objects.filter(pk__in=ids, state=WallPost.State.HIDDEN).update(**BLANK)
        WallPost.objects.filter(pk__in=ids).exclude(state=WallPost.State.HIDDEN).delete()
        Wall.objects.filter(pk__in=[wall.pk for wall in walls]).update(changed_at=Now())
        for wall in walls:
            tell_readers(wall)
    return len(ids)
