"""Changes of a ticket, and the audit that records them."""

import json
from datetime import datetime, timedelta
from typing import Any

from sandbox import comments, tickets, webhooks
from sandbox.state import SECONDS, State, now, stamp
from sandbox.ticket_rules import whole_id

FIRST_AUDIT_ID = 10**12
IDS = ("assignee_id", "group_id", "brand_id", "ticket_form_id", "organization_id", "problem_id")
PLAIN = ("priority", "type", "due_at")
AUDITED = (
    "subject",
    "requester_id",
    "external_id",
    *PLAIN,
    "status",
    "custom_status_id",
    *IDS,
    "tags",
)


def is_outdated(current: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a safe update is based on an older state; `safe_update` counts whatever its value."""
    return "safe_update" in wanted and wanted.get("updated_stamp") != current["updated_at"]


def change(state: State, current: dict[str, Any], wanted: dict[str, Any], *, author_id: int) -> dict[str, Any]:
    """Applies a valid change and returns the answer body, `ticket` and `audit`."""
    with state.transaction():
        changed = _changed(state, current, wanted)
        # The row comes first, because every id in the audit derives from its number.
        row_id = state.insert("INSERT INTO audits (ticket_id, audit) VALUES (?, '')", changed["id"])
        audit_id = FIRST_AUDIT_ID + row_id * 1000
        said = _said(state, changed, wanted.get("comment"), audit_id, author_id)
        audit = {
            "id": audit_id,
            "ticket_id": changed["id"],
            "created_at": changed["updated_at"],
            "author_id": author_id,
            "metadata": tickets.audit_metadata(wanted.get("metadata")),
            "events": [*said, *_events(current, changed, audit_id + 1 + len(said))],
            "via": tickets.api_source(),
        }
        state.change("UPDATE audits SET audit = ? WHERE id = ?", json.dumps(audit), row_id)
        state.change(
            "UPDATE tickets SET ticket = ?, external_id = ?, requester_id = ? WHERE id = ?",
            json.dumps(changed),
            changed["external_id"],
            changed["requester_id"],
            changed["id"],
        )
        webhooks.tell_of_change(state, current, changed, next(iter(said), None), author_id)
    return {"ticket": changed, "audit": audit}


def audits_of(state: State, ticket_id: int) -> list[dict[str, Any]]:
    """The audits of a ticket, starting with its creation."""
    made = state.rows("SELECT audit FROM tickets WHERE id = ?", ticket_id)
    later = state.rows("SELECT audit FROM audits WHERE ticket_id = ? ORDER BY id", ticket_id)
    return [json.loads(row["audit"]) for row in (*made, *later)]


def _changed(state: State, current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    changed = {**current, "updated_at": _moment_after(current["updated_at"])}
    changed |= {name: wanted[name] for name in PLAIN if name in wanted}
    changed |= {name: whole_id(wanted[name]) for name in IDS if name in wanted}
    if "subject" in wanted:
        changed["subject"] = changed["raw_subject"] = tickets.subject_of(wanted)
    if "external_id" in wanted:
        changed["external_id"] = tickets.text_or_none(wanted["external_id"])
    if "tags" in wanted:
        changed["tags"] = tickets.unique_tags(wanted["tags"])
    changed["requester_id"] = tickets.requester_of(state, wanted) or current["requester_id"]
    changed["custom_fields"] = tickets.values_of(state, current["custom_fields"], wanted.get("custom_fields"))
    changed["fields"] = changed["custom_fields"]
    status, custom_status_id = tickets.standing(state, wanted, {**current, "assignee_id": changed["assignee_id"]})
    return {**changed, "status": status, "custom_status_id": custom_status_id}


def _moment_after(last: str) -> str:
    """Now, but at least one second after the last change, so that a ticket's time stamps always grow."""
    following = datetime.strptime(last, SECONDS).replace(tzinfo=now().tzinfo) + timedelta(seconds=1)
    return stamp(max(now(), following))


def _said(state: State, ticket: dict[str, Any], given: Any, audit_id: int, author_id: int) -> list[dict[str, Any]]:
    if given is None:
        return []
    comment = comments.read(given)
    if not comment["public_was_sent"]:
        # By default a comment is as public as the ticket.
        comment["public"] = ticket["is_public"]
    speaker = whole_id(given.get("author_id")) if isinstance(given, dict) else None
    ticket["is_public"] = ticket["is_public"] or comment["public"]
    return [
        comments.add(
            state,
            comment,
            ticket_id=ticket["id"],
            audit_id=audit_id,
            author_id=speaker or author_id,
            created_at=ticket["updated_at"],
        )
    ]


def _events(before: dict[str, Any], after: dict[str, Any], first_id: int) -> list[dict[str, Any]]:
    """One event for each attribute and custom field that differs."""
    old, new = _audited(before), _audited(after)
    differing = [name for name in new if new[name] != old.get(name)]
    return [
        {
            "id": event_id,
            "type": "Change",
            "value": tickets.audited_value(new[name]),
            "field_name": name,
            "previous_value": tickets.audited_value(old.get(name)),
        }
        for event_id, name in enumerate(differing, first_id)
    ]


def _audited(ticket: dict[str, Any]) -> dict[str, Any]:
    values = {str(each["id"]): each["value"] for each in ticket["custom_fields"]}
    return {name: ticket[name] for name in AUDITED} | values
