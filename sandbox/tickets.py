"""Tickets: creating, finding and showing them. `ticket_rules` decides which may be created."""

import json
import sqlite3
from typing import Any

from sandbox import comments, field_values, people, webhooks, zendesk_schema
from sandbox.state import ADMIN_ID, State, stamp
from sandbox.ticket_rules import whole_id

SUBJECT_CHARACTERS = 255

# The attributes in the audit of a new ticket, in the recorded order, and those in it only if they are set.
AUDITED = ("subject", "requester_id", "priority", "type", "status", "brand_id", "ticket_form_id", "custom_status_id")
AUDITED_WHERE_SET = ("organization_id", "group_id", "assignee_id")

WITH_REQUESTER = "SELECT tickets.*, name, email FROM tickets JOIN users ON users.id = requester_id"


def create(state: State, ticket: dict[str, Any], origin: str, key: str | None) -> dict[str, Any]:
    """Stores a valid ticket and returns the answer body, `ticket` and `audit`."""
    comment = comments.read(ticket.get("comment"), ticket.get("description"))
    with state.transaction():
        requester_id = requester_of(state, ticket) or ADMIN_ID
        ticket_id = state.insert(
            "INSERT INTO tickets (external_id, requester_id, ticket, audit, comment, idempotency_key)"
            " VALUES (?, ?, '', '', ?, ?)",
            text_or_none(ticket.get("external_id")),
            requester_id,
            json.dumps(comment),
            key,
        )
        made = _ticket(state, ticket, ticket_id, requester_id, comment, origin)
        audit = _audit(state, made, comment, ticket)
        state.change(
            "UPDATE tickets SET ticket = ?, audit = ? WHERE id = ?", json.dumps(made), json.dumps(audit), ticket_id
        )
        webhooks.tell_of_new(state, made)
    return {"ticket": made, "audit": audit}


def find(state: State, ticket_id: int) -> dict[str, Any] | None:
    row = state.row("SELECT ticket FROM tickets WHERE id = ?", ticket_id)
    return json.loads(row["ticket"]) if row else None


def find_many(state: State, ticket_ids: list[int]) -> list[dict[str, Any]]:
    """The tickets among these that exist, by id."""
    rows = state.rows(
        "SELECT ticket FROM tickets WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", json.dumps(ticket_ids)
    )
    return [json.loads(row["ticket"]) for row in rows]


def delete(state: State, ticket_id: int) -> None:
    """Raises LookupError if there is no such ticket."""
    with state.transaction():
        ticket = find(state, ticket_id)
        if ticket is None:
            raise LookupError(f"There is no ticket {ticket_id}.")
        webhooks.tell_of_deletion(state, ticket)
        state.change("DELETE FROM tickets WHERE id = ?", ticket_id)
        state.change("DELETE FROM comments WHERE ticket_id = ?", ticket_id)
        state.change("DELETE FROM audits WHERE ticket_id = ?", ticket_id)


def count(state: State, external_id: str | None) -> int:
    if external_id is None:
        return state.count("SELECT count(*) FROM tickets")
    return state.count("SELECT count(*) FROM tickets WHERE external_id = ?", external_id)


def page_of(state: State, external_id: str | None, limit: int, offset: int) -> list[dict[str, Any]]:
    """Tickets in order of creation, or only those with the given external id."""
    if external_id is None:
        rows = state.rows("SELECT ticket FROM tickets ORDER BY id LIMIT ? OFFSET ?", limit, offset)
    else:
        rows = state.rows(
            "SELECT ticket FROM tickets WHERE external_id = ? ORDER BY id LIMIT ? OFFSET ?", external_id, limit, offset
        )
    return [json.loads(row["ticket"]) for row in rows]


def all_in_full(state: State, external_id: str | None = None) -> list[dict[str, Any]]:
    """Every ticket with its comments and requester, in order of creation."""
    wanted = f"{WITH_REQUESTER} WHERE ? IS NULL OR tickets.external_id = ? ORDER BY tickets.id"
    return _told_in_full(state, state.rows(wanted, external_id, external_id))


def latest_in_full(state: State, limit: int) -> list[dict[str, Any]]:
    return _told_in_full(state, state.rows(f"{WITH_REQUESTER} ORDER BY tickets.id DESC LIMIT ?", limit))


def one_in_full(state: State, ticket_id: int) -> dict[str, Any] | None:
    found = _told_in_full(state, state.rows(f"{WITH_REQUESTER} WHERE tickets.id = ?", ticket_id))
    return found[0] if found else None


def requester_of(state: State, ticket: dict[str, Any]) -> int | None:
    """The requester's id, creating the person if the e-mail address is new; None if the request names nobody."""
    if ticket.get("requester_id") is not None:
        return int(ticket["requester_id"])
    described = ticket.get("requester")
    if described is None:
        return None
    email = str(described.get("email") or "").strip() or None
    person = people.one(state, "email", email) if email else None
    if person:
        return int(person["id"])
    name = str(described["name"]).strip()
    return state.insert("INSERT INTO users (name, email, role) VALUES (?, ?, 'end-user')", name, email)


def values_of(state: State, before: list[dict[str, Any]], given: Any) -> list[dict[str, Any]]:
    """Every active custom field with its value after the request."""
    values = {each["id"]: each["value"] for each in before}
    fields = zendesk_schema.custom_fields(state)
    for each in given or []:
        field_id = whole_id(each.get("id")) or 0
        values[field_id] = field_values.kept(fields[field_id], each.get("value"))
    return [{"id": field_id, "value": values.get(field_id)} for field_id in fields]


def unique_tags(given: Any) -> list[str]:
    return list(dict.fromkeys(given or []))


def audit_metadata(given: Any) -> dict[str, Any]:
    custom = given.get("custom", given) if isinstance(given, dict) else {}
    system = {
        "client": "sandbox",
        "ip_address": "192.0.2.10",
        "location": "Example City, Example Country",
        "latitude": 0.0,
        "longitude": 0.0,
    }
    return {"system": system, "custom": custom}


def audited_value(value: Any) -> Any:
    """A value as audits show it: numbers as text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def api_source() -> dict[str, Any]:
    return {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}}


def text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def subject_of(wanted: dict[str, Any]) -> str | None:
    subject = text_or_none(wanted.get("subject"))
    return None if subject is None else subject[:SUBJECT_CHARACTERS]


def standing(state: State, wanted: dict[str, Any], before: dict[str, Any]) -> tuple[str, int | None]:
    """Status and custom status after a request: a custom status wins, and assigning a new ticket opens it."""
    custom_id = whole_id(wanted.get("custom_status_id"))
    statuses = zendesk_schema.usable(state, "statuses")
    offered = state.settings.offers_custom_statuses
    if custom_id in statuses:
        return statuses[custom_id]["status_category"], custom_id
    status = wanted.get("status") or before["status"]
    if status == "new" and (wanted.get("assignee_id") or before["assignee_id"]):
        status = "open"
    is_same = status == before["status"] and before["custom_status_id"]
    kept_id = before["custom_status_id"] if is_same else zendesk_schema.status_of_category(state, status)
    return status, kept_id if offered else None


def _told_in_full(state: State, rows: list[sqlite3.Row]) -> list[dict[str, Any]]:
    """Tickets as the API shows them, plus comments, requester and idempotency key. The rows include the requester."""
    ids = [row["id"] for row in rows]
    said = comments.by_ticket(state, min(ids), max(ids)) if ids else {}
    return [
        {
            **json.loads(row["ticket"]),
            "comment": json.loads(row["comment"]),
            "comments": said.get(row["id"], []),
            "requester": {"id": row["requester_id"], "name": row["name"], "email": row["email"]},
            "idempotency_key": row["idempotency_key"],
        }
        for row in rows
    ]


def _ticket(
    state: State, wanted: dict[str, Any], ticket_id: int, requester_id: int, comment: dict[str, Any], origin: str
) -> dict[str, Any]:
    moment = stamp()
    subject = subject_of(wanted)
    via, submitter_id = _origin_of(state, wanted, ticket_id)
    custom_fields = values_of(state, [], wanted.get("custom_fields"))
    unused = {"status": "new", "assignee_id": None, "custom_status_id": None}
    status, custom_status_id = standing(state, wanted, unused)
    form_id = zendesk_schema.default_id(state, "forms") if state.settings.offers_forms else None
    return {
        "url": f"{origin}/api/v2/tickets/{ticket_id}.json",
        "id": ticket_id,
        "external_id": text_or_none(wanted.get("external_id")),
        "via": via,
        "created_at": moment,
        "updated_at": moment,
        "type": wanted.get("type"),
        "subject": subject,
        "raw_subject": subject,
        "description": comment["body"],
        "priority": wanted.get("priority"),
        "status": status,
        "recipient": None,
        "requester_id": requester_id,
        "submitter_id": submitter_id or requester_id,
        "assignee_id": whole_id(wanted.get("assignee_id")),
        "organization_id": whole_id(wanted.get("organization_id")),
        "group_id": whole_id(wanted.get("group_id")),
        "collaborator_ids": [],
        "follower_ids": [],
        "email_cc_ids": [],
        "forum_topic_id": None,
        "problem_id": None,
        "has_incidents": False,
        "is_public": comment["public"],
        "due_at": wanted.get("due_at"),
        "tags": unique_tags(wanted.get("tags")),
        "custom_fields": custom_fields,
        "satisfaction_rating": None,
        "sharing_agreement_ids": [],
        "custom_status_id": custom_status_id,
        "fields": custom_fields,
        "followup_ids": [],
        "ticket_form_id": whole_id(wanted.get("ticket_form_id")) or form_id,
        "brand_id": whole_id(wanted.get("brand_id")) or zendesk_schema.default_id(state, "brands"),
        "allow_channelback": False,
        "allow_attachments": True,
        "from_messaging_channel": False,
    }


def _origin_of(state: State, wanted: dict[str, Any], ticket_id: int) -> tuple[dict[str, Any], int | None]:
    """The `via` of a new ticket and its submitter. A follow-up is noted in its source and has no submitter."""
    source_id = whole_id(wanted.get("via_followup_source_id"))
    source = find(state, source_id) if source_id else None
    if source is None:
        return api_source(), whole_id(wanted.get("submitter_id"))
    followed = {**source, "followup_ids": [*source["followup_ids"], ticket_id]}
    state.change("UPDATE tickets SET ticket = ? WHERE id = ?", json.dumps(followed), source["id"])
    begun = {"ticket_id": source["id"], "subject": source["subject"], "channel": source["via"]["channel"]}
    return {"channel": "api", "source": {"from": begun, "to": {}, "rel": "follow_up"}}, None


def _audit(state: State, ticket: dict[str, Any], comment: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    audit_id = ticket["id"] * 1000
    given = wanted.get("comment")
    author_id = whole_id(given.get("author_id")) if isinstance(given, dict) else None
    said = comments.add(
        state,
        comment,
        ticket_id=ticket["id"],
        audit_id=audit_id,
        author_id=author_id or ticket["submitter_id"],
        created_at=ticket["created_at"],
    )
    names = [*AUDITED, *(name for name in AUDITED_WHERE_SET if ticket[name] is not None)]
    return {
        "id": audit_id,
        "ticket_id": ticket["id"],
        "created_at": ticket["created_at"],
        "author_id": ticket["submitter_id"],
        "metadata": audit_metadata(wanted.get("metadata")),
        "events": [
            said,
            *(
                {"id": audit_id + number, "type": "Create", "value": audited_value(ticket[name]), "field_name": name}
                for number, name in enumerate(names, start=2)
            ),
        ],
        "via": ticket["via"],
    }
