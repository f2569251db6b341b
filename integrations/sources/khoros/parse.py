"""From a stored body to an Event with its Posts. Tolerates everything the vendor's pages leave open.

Keys may be missing, null or of another type; ids are compared as text; labels come as null, "", "a, b", a list of
texts or a list of objects; follower counts are numbers in texts. An item without an id gets one derived from its
content, so that it is still delivered once. What an event holds is decided by its shape, not by its name, so that
unknown events are read as well: posts (here), messages (messages.py), and alerts for the rest (alerts.py).
"""

import json
from datetime import datetime
from typing import Any

from integrations.domain.post import LABEL_APPLIED, Event, Post, Unreadable
from integrations.sources.khoros.alerts import alert
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.envelope import read_json_object, too_deep_is_unreadable
from integrations.sources.khoros.messages import is_message, message_post, messages_in
from integrations.sources.khoros.values import (
    as_count,
    as_object,
    as_text,
    digest,
    lasting_picture,
    read_labels,
    read_notes,
    web_address,
)

LONGEST_ID = 250
LONGEST_FACT = 1000
RULE_FACTS = (("rule_name", "ruleName"), ("rule_id", "ruleId"))
ENVELOPE = {"companyId", "eventName", "createdDate", "uuid", "subscriptionUuid", "eventUuid", "type", "version"}


def parse(body: bytes, charset: str = "", *, subscribed_event: str = "") -> Event:
    """The event in a stored body, with its Posts. Raises Unreadable.

    `subscribed_event` names the event where the envelope is missing, as in some of the vendor's examples.
    """
    envelope = read_json_object(body, charset)
    with too_deep_is_unreadable():
        return _event(envelope, subscribed_event)


def _event(envelope: dict[str, Any], subscribed_event: str) -> Event:
    data = _data(envelope)
    name = as_text(envelope.get("eventName")) or subscribed_event
    happened_at = read_time(envelope.get("createdDate"))
    posts = (*_messages(data, name, happened_at), *_stream_items(data))
    if not posts and data and name and not _may_be_empty(name, data):
        posts = (alert(data, name, happened_at, as_text(envelope.get("eventUuid"))),)
    return Event(name=name, happened_at=happened_at, posts=posts)


def _data(envelope: dict[str, Any]) -> dict[str, Any]:
    data = envelope.get("data")
    if isinstance(data, str):
        data = _nested(data)
    if isinstance(data, list):
        return {"items": data}
    if isinstance(data, dict):
        return data
    inner = {name: value for name, value in envelope.items() if name not in ENVELOPE and name != "data"}
    return {**inner, "value": data} if data not in (None, "") else inner


def _nested(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _may_be_empty(name: str, data: dict[str, Any]) -> bool:
    """An event about items without any is no alert."""
    return name in (LABEL_APPLIED, "rule-applied") or data.keys() <= {"items", "labels"}


def _messages(data: dict[str, Any], event_name: str, happened_at: datetime | None) -> tuple[Post, ...]:
    posts: dict[str, Post] = {}
    for message in messages_in(data):
        if not as_text(message.get("id")).strip():
            message = {**message, "id": digest(json.dumps(message, sort_keys=True))}
        post = message_post(message, event_name, happened_at)
        if post is not None:
            posts.setdefault(post.post_id, post)
    return tuple(posts.values())


def _stream_items(data: dict[str, Any]) -> tuple[Post, ...]:
    items = data.get("items")
    if isinstance(items, dict):
        items = [items]
    if items is None:
        return ()
    if not isinstance(items, list):
        raise Unreadable("The notification's items are not a list.")
    labels = read_labels(data.get("labels"))
    rule = as_object(data.get("ruleMatched"))
    facts = tuple((name, as_text(rule.get(key))[:LONGEST_FACT]) for name, key in RULE_FACTS)
    posts: dict[str, Post] = {}
    for item in items:
        if not isinstance(item, dict):
            raise Unreadable("One of the notification's items is not an object.")
        if is_message(item):
            continue
        post = _post(item, labels, tuple(fact for fact in facts if fact[1]))
        posts.setdefault(post.post_id, post)
    return tuple(posts.values())


def _post(item: dict[str, Any], event_labels: tuple[str, ...], facts: tuple[tuple[str, str], ...]) -> Post:
    post_id, network, native_id = _identity(item)
    return Post(
        post_id=post_id,
        network=network,
        native_id=native_id,
        text=as_text(item.get("text")),
        link=web_address(item.get("link")),
        author=as_text(item.get("author")),
        author_handle=as_text(item.get("authorScreenName")).removeprefix("@"),
        author_id=as_text(item.get("authorId")),
        author_link=web_address(item.get("authorLink")),
        author_picture=lasting_picture(item.get("authorIcon")),
        content_type=as_text(item.get("contentType")),
        followers=as_count(item.get("followerCount")),
        posted_at=read_time(item.get("createdDate")),
        labels=tuple(dict.fromkeys((*read_labels(item.get("labels")), *event_labels))),
        in_reply_to=as_text(item.get("inReplyTo")),
        parent_post=as_text(item.get("parentPost")),
        reposted_from=as_text(item.get("repostedFrom")),
        facts=facts,
        notes=read_notes(item.get("notes")),
    )


def _identity(item: dict[str, Any]) -> tuple[str, str, str]:
    """(post id, network, native id). The post id is unique even when it is too long or missing."""
    entity_id = as_text(item.get("entityId")).strip()
    if not entity_id:
        entity_id = f"unknown:{digest(json.dumps(item, sort_keys=True))}"
    network, colon, native_id = entity_id.partition(":")
    if colon:
        # The network's name in one spelling: "Twitter:1" and "twitter:1" are the same post.
        entity_id = f"{network.lower()}:{native_id}"
    if len(entity_id) > LONGEST_ID:
        entity_id = f"{entity_id[:150]}~{digest(entity_id)}"
    network, colon, native_id = entity_id.partition(":")
    return (entity_id, network[:60], native_id) if colon else (entity_id, "", entity_id)
