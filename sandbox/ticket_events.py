"""What happened to a ticket as Zendesk's webhooks report it: one event for everything that differs.

Unlike in API answers, ids are text, and status, priority and type are in capitals.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sandbox.state import ACCOUNT_ID, timestamp

PREFIX = "zen:event-type:ticket."
CREATED, DELETED, COMMENTED = f"{PREFIX}created", f"{PREFIX}soft_deleted", f"{PREFIX}comment_added"
EVENT_VERSION = "2022-11-06"

Ticket = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One event of a change; `told` goes under `event` in its body."""

    type: str
    told: dict[str, Any]


def _id(value: Any) -> str | None:
    return None if value is None else str(value)


def _large(value: Any) -> str | None:
    return None if value is None else str(value).upper()


def _same(value: Any) -> Any:
    return value


# For each attribute, the event that reports its change and how its values are written.
CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "status": ("status_changed", _large),
    "custom_status_id": ("custom_status_changed", _id),
    "assignee_id": ("agent_assignment_changed", _id),
    "group_id": ("group_assignment_changed", _id),
    "priority": ("priority_changed", _large),
    "type": ("type_changed", _large),
    "subject": ("subject_changed", _same),
    "external_id": ("external_id_changed", _same),
    "brand_id": ("brand_changed", _id),
    "ticket_form_id": ("form_changed", _id),
    "organization_id": ("organization_changed", _id),
    "requester_id": ("requester_changed", _id),
}
CHANGE_TYPES = tuple(f"{PREFIX}{name}" for name, _ in CHANGES.values())
TYPES = (CREATED, DELETED, COMMENTED, f"{PREFIX}tags_changed", f"{PREFIX}custom_field_changed", *CHANGE_TYPES)


def of_change(before: Ticket, after: Ticket, comment: dict[str, Any] | None) -> list[Event]:
    events = [
        Event(f"{PREFIX}{name}", {"current": written(after[key]), "previous": written(before[key])})
        for key, (name, written) in CHANGES.items()
        if before[key] != after[key]
    ]
    events += _tag_events(before["tags"], after["tags"])
    events += _field_events(before["custom_fields"], after["custom_fields"])
    return [*events, Event(COMMENTED, {"comment": _comment(comment)})] if comment else events


def body(ticket: Ticket, event: Event, actor_id: int, sequence: dict[str, Any]) -> tuple[str, bytes]:
    """The id of an event and its body."""
    event_id = str(uuid4())
    content = {
        "account_id": ACCOUNT_ID,
        "detail": _detail(ticket, actor_id),
        "event": {**event.told, "meta": {"sequence": sequence}},
        "id": event_id,
        "subject": f"zen:ticket:{ticket['id']}",
        "time": timestamp(),
        "type": event.type,
        "zendesk_event_version": EVENT_VERSION,
    }
    return event_id, written(content)


def written(content: dict[str, Any]) -> bytes:
    """JSON formatted as in recorded calls: indented, without escaping other alphabets."""
    return f"{json.dumps(content, indent=3, sort_keys=True, ensure_ascii=False)}\n".encode()


def _detail(ticket: Ticket, actor_id: int) -> dict[str, Any]:
    return {
        "actor_id": str(actor_id),
        "assignee_id": _id(ticket["assignee_id"]),
        "brand_id": _id(ticket["brand_id"]),
        "created_at": ticket["created_at"],
        "custom_status": _id(ticket["custom_status_id"]),
        "description": ticket["description"],
        "external_id": ticket["external_id"],
        "form_id": _id(ticket["ticket_form_id"]),
        "group_id": _id(ticket["group_id"]),
        "id": str(ticket["id"]),
        "is_public": ticket["is_public"],
        "organization_id": _id(ticket["organization_id"]),
        "priority": _large(ticket["priority"]),
        "requester_id": _id(ticket["requester_id"]),
        "status": _large(ticket["status"]),
        "subject": ticket["subject"],
        "submitter_id": _id(ticket["submitter_id"]),
        "tags": ticket["tags"],
        "type": _large(ticket["type"]),
        "updated_at": ticket["updated_at"],
        "via": {"channel": ticket["via"]["channel"]},
    }


def _comment(comment: dict[str, Any]) -> dict[str, Any]:
    return {
        "author": {"id": str(comment["author_id"])},
        "body": comment["body"],
        "id": str(comment["id"]),
        "is_public": comment["public"],
    }


def _tag_events(before: list[str], after: list[str]) -> list[Event]:
    added, removed = sorted({*after} - {*before}), sorted({*before} - {*after})
    told = {"tags_added": added, "tags_removed": removed}
    return [Event(f"{PREFIX}tags_changed", told)] if added or removed else []


def _field_events(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Event]:
    old = {each["id"]: each["value"] for each in before}
    return [
        Event(
            f"{PREFIX}custom_field_changed",
            {"current": each["value"], "previous": old.get(each["id"]), "field": {"id": str(each["id"])}},
        )
        for each in after
        if each["value"] != old.get(each["id"])
    ]
