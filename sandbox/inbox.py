"""The inbox of the simulated Khoros: posts, the labels applied to them, and the resulting events.

Labelling any number of posts in one go counts as one happening.
"""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from typing import Any

from sandbox import events, seeds
from sandbox.events import LABEL_APPLIED, Happening
from sandbox.state import State, timestamp

LARGEST_BULK = 100_000
LABELS = ("CreateCase", "Love", "VIP", "Complaint", "Praise")

PERMALINKS = {
    "twitter": "https://twitter.com/{handle}/status/{native_id}",
    "facebook": "https://www.facebook.com/{handle}/posts/{native_id}",
    "instagram": "https://www.instagram.com/p/{native_id}/",
    "linkedin": "https://www.linkedin.com/feed/update/urn:li:share:{native_id}/",
    "youtube": "https://www.youtube.com/watch?v={native_id}",
}
AUTHOR_LINKS = {
    "twitter": "https://twitter.com/{handle}",
    "facebook": "https://www.facebook.com/{handle}",
    "instagram": "https://www.instagram.com/{handle}/",
    "linkedin": "https://www.linkedin.com/in/{handle}/",
    "youtube": "https://www.youtube.com/@{handle}",
}
OTHER_PERMALINK = "https://{network}.example.com/{handle}/{native_id}"
OTHER_AUTHOR_LINK = "https://{network}.example.com/{handle}"


def plant(state: State) -> None:
    """Adds the posts that every new sandbox starts with."""
    for seed in seeds.POSTS:
        compose(state, seed)


def compose(state: State, wanted: dict[str, Any]) -> dict[str, Any]:
    """Adds a post and returns it.

    A missing `link` is made up from the network; an empty one stays empty. Fields in `item` replace those of the
    StreamItem as they are. Raises ValueError if `text` is missing or the entity id is taken.
    """
    text = str(wanted.get("text", ""))
    if not text.strip():
        raise ValueError("A post needs a text.")
    item = {**_stream_item(wanted, text), **_object(wanted.get("item"), "item")}
    network = str(item["entityId"]).partition(":")[0]
    try:
        post_id = state.insert(
            "INSERT INTO posts (entity_id, network, item) VALUES (?, ?, ?)", item["entityId"], network, json.dumps(item)
        )
    except sqlite3.IntegrityError as taken:
        raise ValueError(f"There is a post {item['entityId']} already.") from taken
    return post(state, post_id)


def post(state: State, post_id: int) -> dict[str, Any]:
    """One post. Raises LookupError for an unknown id."""
    row = state.row("SELECT * FROM posts WHERE id = ?", post_id)
    if row is None:
        raise LookupError(f"There is no post {post_id}.")
    return _described(state, row)


def posts(state: State, limit: int = -1) -> list[dict[str, Any]]:
    """The posts, newest first; all of them by default."""
    return [_described(state, row) for row in state.rows("SELECT * FROM posts ORDER BY id DESC LIMIT ?", limit)]


def labellings(state: State, post_id: int) -> list[sqlite3.Row]:
    """Each time a label was applied to a post, newest first."""
    return state.rows(
        "SELECT labellings.* FROM labellings JOIN labelled_posts ON labelling_id = labellings.id"
        " WHERE post_id = ? ORDER BY labellings.id DESC",
        post_id,
    )


def apply_label(state: State, label: str, post_ids: Sequence[int]) -> tuple[list[str], list[int]]:
    """Labels the posts in one go and returns the event uuids and the ids of the pushes now due.

    Raises ValueError for an empty label or list and LookupError for an unknown post, changing nothing.
    """
    if not label.strip() or not post_ids:
        raise ValueError("A label and at least one post are needed.")
    with state.transaction():
        labelling_id = state.insert("INSERT INTO labellings (label, applied_at) VALUES (?, ?)", label, timestamp())
        for post_id in dict.fromkeys(post_ids):
            post(state, post_id)
            state.insert("INSERT INTO labelled_posts VALUES (?, ?)", labelling_id, post_id)
        data = _event_data(state, label, list(dict.fromkeys(post_ids)))
        return events.tell(state, Happening(LABEL_APPLIED, data, (label,), labelling_id))


def apply_label_in_bulk(state: State, label: str, count: int, *, push: bool) -> tuple[list[str], list[int]]:
    """Like `apply_label`, for `count` new posts one by one; they exist only in their events, not in the inbox."""
    if not label.strip() or not 1 <= count <= LARGEST_BULK:
        raise ValueError(f"A label and a count from 1 to {LARGEST_BULK} are needed.")
    made: list[str] = []
    due: list[int] = []
    with state.transaction():
        interested = events.interested(state, Happening(LABEL_APPLIED, None, (label,)))
        told = [label] if state.settings.labels_in_payload else []
        for number in range(1, count + 1):
            post = {"labels": told, **_stream_item({"handle": f"person_{number}"}, f"Post {number} of {count}")}
            happening = Happening(LABEL_APPLIED, {"labels": told, "items": [post]}, (label,))
            uuids, push_ids = events.tell_these(state, interested, happening, push=push)
            made += uuids
            due += push_ids
    return made, due


def _stream_item(wanted: dict[str, Any], text: str) -> dict[str, Any]:
    network = str(wanted.get("network") or "twitter").strip().lower()
    handle = str(wanted.get("handle") or "someone").strip().lstrip("@")
    native_id = str(10**18 + secrets.randbelow(9 * 10**18))
    entity_id = str(wanted.get("entity_id") or f"{network}:{native_id}")
    names = {"network": network, "handle": handle, "native_id": entity_id.partition(":")[2] or native_id}
    link = wanted.get("link")
    author_link = wanted.get("author_link")
    item = {
        "sfEntityType": "StreamItem",
        "entityId": entity_id,
        "text": text,
        "link": PERMALINKS.get(network, OTHER_PERMALINK).format(**names) if link is None else str(link),
        "author": str(wanted.get("author") or handle),
        "authorIcon": "https://images.example.com/avatar.png",
        "authorId": str(wanted.get("author_id") or sum(handle.encode()) * 7919),
        "authorLink": AUTHOR_LINKS.get(network, OTHER_AUTHOR_LINK).format(**names)
        if author_link is None
        else str(author_link),
        "authorScreenName": handle,
        "initiativeIds": [5],
        "contentType": str(wanted.get("content_type") or "post"),
        "createdDate": str(wanted.get("posted_at") or timestamp()),
        # A number in a string, as the service sends it.
        "followerCount": str(wanted.get("followers") or 0),
        "notes": wanted.get("notes") or [],
    }
    replies = {"inReplyTo": "in_reply_to", "repostedFrom": "reposted_from", "parentPost": "parent_post"}
    return item | {theirs: str(wanted[ours]) for theirs, ours in replies.items() if wanted.get(ours)}


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{name} must be an object.")
    return value or {}


def _described(state: State, row: sqlite3.Row) -> dict[str, Any]:
    item = json.loads(row["item"])
    return {
        "id": row["id"],
        "entityId": row["entity_id"],
        "network": row["network"],
        "author": item.get("author", ""),
        "handle": item.get("authorScreenName", ""),
        "followers": item.get("followerCount", ""),
        "text": item.get("text", ""),
        "link": item.get("link") or "",
        "posted_at": item.get("createdDate", ""),
        "labels": _labels_of(state, row["id"]),
        "item": item,
    }


def _labels_of(state: State, post_id: int) -> list[str]:
    rows = state.rows(
        "SELECT label FROM labellings JOIN labelled_posts ON labelling_id = labellings.id"
        " WHERE post_id = ? ORDER BY labellings.id",
        post_id,
    )
    return list(dict.fromkeys(row["label"] for row in rows))


def _event_data(state: State, label: str, post_ids: list[int]) -> dict[str, Any]:
    # The documented example shows both lists empty although a label was applied, so empty is the rule here.
    told = state.settings.labels_in_payload
    items = []
    for post_id in post_ids:
        described = post(state, post_id)
        items.append({"labels": described["labels"] if told else [], **described["item"]})
    return {"labels": [label] if told else [], "items": items}
