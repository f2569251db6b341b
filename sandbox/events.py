"""The events of the simulated Khoros: which subscriptions get one, in what envelope, and which pushes follow.

Every matching ACTIVE subscription gets its own event with a new eventUuid, and a push if it has an address and pushing
is switched on.
"""

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sandbox.state import State, now, timestamp

LABEL_APPLIED = "stream-item-label-applied"
RULE_APPLIED = "rule-applied"
LONGEST_NAME = 200

KEPT_BACK = "kept back on purpose"


@dataclass(frozen=True)
class Happening:
    """Something that Khoros sends events about. Queries are matched against `texts`; None fields are generated."""

    event_name: str
    data: Any
    texts: tuple[str, ...]
    labelling_id: int | None = None
    company_id: Any = None
    created_date: Any = None
    event_uuid: str | None = None


def happening_from(values: Mapping[str, Any]) -> Happening:
    """Parses a happening from JSON. Raises ValueError with a sentence about the first invalid value."""
    known = ("eventName", "data", "companyId", "createdDate", "eventUuid", "text")
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise ValueError(f"Unknown: {', '.join(unknown)}. Known: {', '.join(known)}.")
    for name in ("eventName", "eventUuid", "text"):
        if not isinstance(values.get(name), str | None):
            raise ValueError(f"{name} must be a text.")
    event_name, event_uuid = (values.get("eventName") or "").strip(), values.get("eventUuid")
    if not event_name or len(event_name) > LONGEST_NAME:
        raise ValueError(f"eventName is needed, with no more than {LONGEST_NAME} characters.")
    if event_uuid is not None and not 0 < len(event_uuid) <= LONGEST_NAME:
        raise ValueError(f"eventUuid must not be empty or longer than {LONGEST_NAME} characters.")
    if "data" not in values:
        raise ValueError("data is needed.")
    text = values.get("text")
    return Happening(
        event_name=event_name,
        data=values["data"],
        texts=_texts(event_name, values["data"]) if text is None else (text,),
        company_id=values.get("companyId"),
        created_date=values.get("createdDate"),
        event_uuid=event_uuid,
    )


def tell(state: State, happening: Happening, *, push: bool = True) -> tuple[list[str], list[int]]:
    """Records the events of a happening and returns their uuids and the ids of the pushes now due.

    Raises ValueError, changing nothing, if a subscription already has an event with the given uuid.
    """
    with state.transaction():
        return tell_these(state, interested(state, happening), happening, push=push)


def tell_these(
    state: State, subscriptions: list[sqlite3.Row], happening: Happening, *, push: bool
) -> tuple[list[str], list[int]]:
    """Like `tell`, for given subscriptions and inside the caller's transaction."""
    events = [_record(state, subscription, happening) for subscription in subscriptions]
    if not (push and state.settings.push):
        return events, []
    pairs = zip(events, subscriptions, strict=True)
    return events, [push_id for event, subscription in pairs for push_id in _note_pushes(state, event, subscription)]


def interested(state: State, happening: Happening) -> list[sqlite3.Row]:
    """The subscriptions that get an event; a query matches if it is found in one of the texts."""
    active = state.rows(
        "SELECT * FROM subscriptions WHERE status = 'ACTIVE' AND event_name = ? ORDER BY id", happening.event_name
    )
    return [
        each for each in active if not each["query"] or any(re.search(each["query"], text) for text in happening.texts)
    ]


def push_again(state: State, event_uuid: str, subscription_uuid: str | None = None) -> int:
    """Queues one more push of an event, whatever happened to earlier ones and whatever the settings say.

    Raises LookupError if there is no such event with an address to push to.
    """
    target = state.row(
        "SELECT event_uuid, subscriptions.* FROM events JOIN subscriptions ON uuid = subscription_uuid"
        " WHERE event_uuid = ? AND subscription_uuid = coalesce(?, subscription_uuid) AND notification_uri <> ''"
        " ORDER BY events.id",
        event_uuid,
        subscription_uuid,
    )
    if target is None:
        raise LookupError("There is no such event with an address to push to.")
    return _note_push(state, target["event_uuid"], target)


def listed(state: State, limit: int = -1) -> list[dict[str, Any]]:
    """The events without their data, newest first; all of them by default."""
    rows = state.rows(
        "SELECT event_uuid AS eventUuid, subscription_uuid AS subscriptionUuid,"
        " json_extract(envelope, '$.eventName') AS eventName FROM events ORDER BY id DESC LIMIT ?",
        limit,
    )
    return [dict(row) for row in rows]


def outcomes(state: State, *, event_id: int | None = None, labelling_id: int | None = None) -> list[sqlite3.Row]:
    """The pushes of an event, or of all events of a labelling. An event never pushed is one row without a uri."""
    return state.rows(
        "SELECT event_uuid, uri, finished_at, milliseconds, status, error, error = ? AS is_kept_back FROM events"
        " LEFT JOIN pushes USING (event_uuid, subscription_uuid) WHERE events.id = ? OR labelling_id = ?"
        " ORDER BY events.id, pushes.id",
        KEPT_BACK,
        event_id,
        labelling_id,
    )


def is_pushing(state: State) -> bool:
    """Whether a push is on its way."""
    return state.row("SELECT 1 FROM pushes WHERE finished_at IS NULL") is not None


def java_date(moment: datetime) -> str:
    """The text of a Java Date, the format envelopes use."""
    return moment.strftime("%a %b %d %H:%M:%S UTC %Y")


def _texts(event_name: str, data: Any) -> tuple[str, ...]:
    """What queries are matched against: the labels, the name of the rule, or all of the data."""
    fields = data if isinstance(data, dict) else {}
    if event_name == LABEL_APPLIED:
        labels = fields.get("labels")
        return tuple(str(label) for label in labels) if isinstance(labels, list) else ()
    rule = fields.get("ruleMatched")
    if event_name == RULE_APPLIED and isinstance(rule, dict):
        return (str(rule.get("ruleName", "")),)
    return (json.dumps(data, ensure_ascii=False),)


def _record(state: State, subscription: sqlite3.Row, happening: Happening) -> str:
    event_uuid = happening.event_uuid or str(uuid4())
    # Documented label events name their subscription in the middle as `uuid`, all others last as `subscriptionUuid`.
    is_label = happening.event_name == LABEL_APPLIED
    company_id, created_date = happening.company_id, happening.created_date
    envelope = {
        "companyId": subscription["company_id"] if company_id is None else company_id,
        "eventName": happening.event_name,
        "createdDate": java_date(now()) if created_date is None else created_date,
        **({"uuid": subscription["uuid"]} if is_label else {}),
        "eventUuid": event_uuid,
        "type": "hydrated",
        "data": happening.data,
        **({} if is_label else {"subscriptionUuid": subscription["uuid"]}),
    }
    try:
        state.insert(
            "INSERT INTO events (event_uuid, subscription_uuid, labelling_id, envelope) VALUES (?, ?, ?, ?)",
            event_uuid,
            subscription["uuid"],
            happening.labelling_id,
            json.dumps(envelope),
        )
    except sqlite3.IntegrityError as taken:
        raise ValueError(f"The subscription {subscription['uuid']} has an event {event_uuid} already.") from taken
    return event_uuid


def _note_pushes(state: State, event_uuid: str, subscription: sqlite3.Row) -> list[int]:
    """Records the pushes of a new event and returns the ids of those to make: none, one, or two."""
    due = []
    for _ in range(2 if state.settings.push_twice else 1):
        if not subscription["notification_uri"]:
            continue
        push_id = _note_push(state, event_uuid, subscription)
        if not state.settings.refuse_pushes:
            due.append(push_id)
            continue
        state.change_settings({"refuse_pushes": state.settings.refuse_pushes - 1})
        state.change("UPDATE pushes SET finished_at = ?, error = ? WHERE id = ?", timestamp(), KEPT_BACK, push_id)
    return due


def _note_push(state: State, event_uuid: str, subscription: sqlite3.Row) -> int:
    """Copies address and token, so that later changes to the subscription do not affect this push."""
    return state.insert(
        "INSERT INTO pushes (event_uuid, subscription_uuid, uri, bearer_token, requested_at) VALUES (?, ?, ?, ?, ?)",
        event_uuid,
        subscription["uuid"],
        subscription["notification_uri"],
        subscription["bearer_token"],
        timestamp(),
    )
