"""From a stored body to an Event with its Posts: tolerant of everything the vendor's pages leave open.

Keys may be missing, null or of another type; ids are compared as text; labels come as null, "", "a, b", a list of
texts or a list of objects; follower counts are numbers in texts. An item without an id gets one made of its content,
so that it is delivered once all the same.
"""

import hashlib
import json
from typing import Any

from integrations.post import Event, Post, Unreadable, storable
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.envelope import read_json_object

LONGEST_ID = 250


def parse(body: bytes, charset: str = "") -> Event:
    """The event a stored body tells of, with one Post for each item. Raises Unreadable."""
    envelope = read_json_object(body, charset)
    data = envelope.get("data")
    if not isinstance(data, dict):
        data = {"items": data} if isinstance(data, list) else {}
    items = data.get("items")
    if isinstance(items, dict):
        items = [items]
    return Event(
        name=_text(envelope.get("eventName")),
        happened_at=read_time(envelope.get("createdDate")),
        posts=_posts(items, read_labels(data.get("labels"))),
    )


def _posts(items: Any, event_labels: tuple[str, ...]) -> tuple[Post, ...]:
    if items is None:
        return ()
    if not isinstance(items, list):
        raise Unreadable("The notification's items are not a list.")
    posts: dict[str, Post] = {}
    for item in items:
        if not isinstance(item, dict):
            raise Unreadable("One of the notification's items is not an object.")
        post = _post(item, event_labels)
        posts.setdefault(post.post_id, post)
    return tuple(posts.values())


def _post(item: dict[str, Any], event_labels: tuple[str, ...]) -> Post:
    post_id, network, native_id = _identity(item)
    return Post(
        post_id=post_id,
        network=network,
        native_id=native_id,
        text=_text(item.get("text")),
        link=_web_address(item.get("link")),
        author=_text(item.get("author")),
        author_handle=_text(item.get("authorScreenName")).removeprefix("@"),
        author_id=_text(item.get("authorId")),
        author_link=_web_address(item.get("authorLink")),
        content_type=_text(item.get("contentType")),
        followers=_count(item.get("followerCount")),
        posted_at=read_time(item.get("createdDate")),
        labels=tuple(dict.fromkeys((*read_labels(item.get("labels")), *event_labels))),
        in_reply_to=_text(item.get("inReplyTo")),
        parent_post=_text(item.get("parentPost")),
        reposted_from=_text(item.get("repostedFrom")),
    )


def _identity(item: dict[str, Any]) -> tuple[str, str, str]:
    """(post id, network, native id). The post id is unique even when it is too long or missing."""
    entity_id = _text(item.get("entityId")).strip()
    if not entity_id:
        entity_id = f"unknown:{_digest(json.dumps(item, sort_keys=True))}"
    if len(entity_id) > LONGEST_ID:
        entity_id = f"{entity_id[:150]}~{_digest(entity_id)}"
    network, colon, native_id = entity_id.partition(":")
    if not colon:
        return entity_id, "", entity_id
    # The network's name in one spelling: "Twitter:1" and "twitter:1" are the same post.
    return f"{network.lower()}:{native_id}"[:LONGEST_ID], network.lower()[:60], native_id


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def read_labels(raw: Any) -> tuple[str, ...]:
    """Labels in any of their shapes. " - " stays inside: Khoros shows labels as "Set - Label"."""
    if isinstance(raw, str):
        raw = raw.split(",")
    if isinstance(raw, dict):
        raw = [raw]
    if not isinstance(raw, list):
        return ()
    names = (_label_name(entry).strip() for entry in raw)
    return tuple(dict.fromkeys(name for name in names if name))


def _label_name(entry: Any) -> str:
    if isinstance(entry, dict):
        return _text(entry.get("title") or entry.get("name") or entry.get("id"))
    return _text(entry)


def _text(raw: Any) -> str:
    if isinstance(raw, str):
        return storable(raw)
    if isinstance(raw, bool) or raw is None:
        return ""
    return str(raw) if isinstance(raw, int | float) else ""


def _web_address(raw: Any) -> str:
    """Addresses from outside become links on our pages: only http and https may."""
    address = _text(raw).strip()
    return address if address.lower().startswith(("http://", "https://")) else ""


def _count(raw: Any) -> int | None:
    try:
        return int(str(raw).replace(",", "").strip()) if not isinstance(raw, bool | None) else None
    except ValueError:
        return None
