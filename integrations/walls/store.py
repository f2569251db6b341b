"""Putting posts on walls: what a wall's destination is given in place of a client."""

import hashlib

from django.core.exceptions import ValidationError
from django.db.models.functions import Now
from django.urls import reverse

from integrations.destinations.base import Check, Receipt
from integrations.destinations.capabilities import Entry, PostStore
from integrations.infra import database_clock
from integrations.infra.http.failure import Failure
from integrations.infra.text import harmless
from integrations.models import Wall, WallPost
from integrations.walls.address import own_origin, page_address

# What is shown of a post may change when it comes again; what a person decided about it does not.
CONTENT = (
    "post_id",
    "external_id",
    "author",
    "handle",
    "network",
    "text",
    "link",
    "picture",
    "posted_at",
    "changed_at",
)
NOT_SHOWN = {
    WallPost.State.WAITING: "It waits for approval: press “Show” on its page.",
    WallPost.State.HIDDEN: "It was hidden on this wall before and stays hidden. Press “Show” on its page to show it.",
}


class WallStore(PostStore):
    """The walls of this portal."""

    def put(self, place: str, entry: Entry, external_id: str) -> Receipt:
        wall = _wall(place)
        row = _row(wall, entry, external_id)
        before = WallPost.objects.filter(wall=wall, key=row.key).first()
        WallPost.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["wall", "key"], update_fields=list(CONTENT)
        )
        post = WallPost.objects.get(wall=wall, key=row.key)
        if before is not None and before.external_id != external_id and wall.has_expired(post):
            # Labelled again, by another delivery: it is shown anew.
            WallPost.objects.filter(pk=post.pk, state=WallPost.State.SHOWN).update(shown_at=Now())
        how = "created" if post.external_id == external_id and post.created_at == post.changed_at else "already_there"
        return Receipt(
            str(post.pk),
            own_origin() + reverse("admin:integrations_wallpost_change", args=[post.pk]),
            how,
            NOT_SHOWN.get(WallPost.State(post.state), ""),
            post.get_state_display()[:20].lower(),
        )

    def check(self, place: str) -> list[Check]:
        wall = _wall(place)
        if not page_address(wall):
            return [Check(None, f"The wall “{wall}” has no address: posts are kept, and nobody reads them.")]
        how = "Posts wait for approval." if wall.needs_approval else "Posts are shown at once."
        return [Check(True, f"The wall “{wall}” has an address. {how}")]


def _wall(place: str) -> Wall:
    try:
        return Wall.objects.get(uuid=place)
    except (Wall.DoesNotExist, ValidationError):
        raise Failure(
            "This wall no longer exists.",
            permanent=True,
            pauses=True,
            remedy="Move the mapping to another wall, then press “Rebuild”.",
            remedy_at="mapping",
        ) from None


def _row(wall: Wall, entry: Entry, external_id: str) -> WallPost:
    waits = wall.needs_approval or entry.is_test
    return WallPost(
        wall=wall,
        key=hashlib.sha256(entry.post_id.encode()).hexdigest(),
        # As feeds show it; it is recognised by the key.
        post_id=harmless(entry.post_id),
        external_id=external_id,
        author=entry.author,
        handle=entry.handle,
        network=entry.network,
        text=entry.text,
        link=entry.link,
        picture=entry.picture,
        posted_at=entry.posted_at or database_clock.now(),
        state=WallPost.State.WAITING if waits else WallPost.State.SHOWN,
        is_test=entry.is_test,
        shown_at=None if waits else Now(),
        created_at=Now(),
        changed_at=Now(),
    )
