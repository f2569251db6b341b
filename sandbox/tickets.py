"""Tickets: what a well-formed one is, what is wrong with any other, and how it is kept.

The lists of groups, agents, brands, forms and custom fields are small and fixed. Anything outside them is
refused with the problem named, in the documented shape.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from typing import Any

from sandbox.state import ADMIN_ID, State, now

PRIORITIES = ("urgent", "high", "normal", "low")
TYPES = ("problem", "incident", "question", "task")
STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
GROUPS = {101: "Social care", 102: "Escalations"}
BRANDS = {201: "Example", 202: "Example Outlet"}
FORMS = {301: "Default form", 302: "Social post"}
ORGANIZATIONS = {601: "Example Company"}

SUBJECT_CHARACTERS = 255
COMMENT_BYTES = 65_535
NAME_CHARACTERS = 255

PERMITTED_KEYS = frozenset(
    {
        "additional_collaborators",
        "assignee_email",
        "assignee_id",
        "attribute_value_ids",
        "brand_id",
        "collaborator_ids",
        "collaborators",
        "comment",
        "custom_fields",
        "custom_status_id",
        "description",
        "due_at",
        "email_cc_ids",
        "email_ccs",
        "external_id",
        "fields",
        "follower_ids",
        "followers",
        "group_id",
        "macro_id",
        "macro_ids",
        "metadata",
        "organization_id",
        "priority",
        "problem_id",
        "raw_subject",
        "recipient",
        "requester",
        "requester_id",
        "safe_update",
        "sharing_agreement_ids",
        "status",
        "subject",
        "submitter_id",
        "tags",
        "ticket_form_id",
        "type",
        "updated_stamp",
        "via",
        "via_followup_source_id",
    }
)


@dataclass(frozen=True)
class CustomField:
    title: str
    kind: str
    zendesk_type: str
    options: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        if value is None or value == "":
            return True
        if self.kind == "checkbox":
            return isinstance(value, bool)
        return isinstance(value, str) and (not self.options or value in self.options)


CUSTOM_FIELDS = {
    360001: CustomField("Link to the post", "text", "FieldText"),
    360002: CustomField("Customer tier", "tagger", "FieldTagger", ("vip", "standard")),
    360003: CustomField("Public post", "checkbox", "FieldCheckbox"),
}


@dataclass(frozen=True)
class Problem:
    field: str
    description: str
    error: str = "InvalidValue"
    ticket_field_id: int | None = None
    ticket_field_type: str | None = None

    def as_detail(self) -> dict[str, Any]:
        detail: dict[str, Any] = {"description": self.description, "error": self.error}
        if self.ticket_field_id is not None:
            detail["ticket_field_id"] = self.ticket_field_id
        if self.ticket_field_type is not None:
            detail["ticket_field_type"] = self.ticket_field_type
        return detail


def record_invalid(problems: list[Problem]) -> dict[str, Any]:
    """The body of a 422: every problem, under the field it belongs to."""
    details: dict[str, list[dict[str, Any]]] = {}
    for problem in problems:
        details.setdefault(problem.field, []).append(problem.as_detail())
    return {"error": "RecordInvalid", "description": "Record validation errors", "details": details}


SUSPENDED = Problem("requester", "Requester: Example Person is suspended.", "UserSuspended")
BLANK_COMMENT = Problem("base", "Description: cannot be blank", "BlankValue", 32972409, "FieldDescription")


def problems(state: State, ticket: dict[str, Any]) -> list[Problem]:
    """Everything wrong with a ticket, not only the first thing; an empty list for one that can be created."""
    return [
        *_comment_problems(ticket),
        *_enum_problems(ticket),
        *_reference_problems(state, ticket),
        *_tag_problems(ticket.get("tags")),
        *_custom_field_problems(ticket.get("custom_fields")),
        *_requester_problems(state, ticket),
    ]


def unpermitted_keys(ticket: dict[str, Any]) -> list[str]:
    """The keys that are dropped without an error."""
    return [f"ticket.{key}" for key in ticket if key not in PERMITTED_KEYS]


def create(state: State, ticket: dict[str, Any], origin: str, key: str | None) -> dict[str, Any]:
    """Keeps a ticket that has no problems and returns the answer body, `ticket` and `audit`."""
    comment = _comment(ticket)
    with state.transaction():
        requester_id = _requester_id(state, ticket)
        ticket_id = state.insert(
            "INSERT INTO tickets (external_id, requester_id, ticket, audit, comment, idempotency_key)"
            " VALUES (?, ?, '', '', ?, ?)",
            _text_or_none(ticket.get("external_id")),
            requester_id,
            json.dumps(comment),
            key,
        )
        made = _ticket(ticket, ticket_id, requester_id, comment, origin)
        audit = _audit(made, comment, ticket.get("metadata"))
        state.change(
            "UPDATE tickets SET ticket = ?, audit = ? WHERE id = ?", json.dumps(made), json.dumps(audit), ticket_id
        )
    return {"ticket": made, "audit": audit}


def find(state: State, ticket_id: int) -> dict[str, Any] | None:
    row = state.row("SELECT ticket FROM tickets WHERE id = ?", ticket_id)
    return json.loads(row["ticket"]) if row else None


def page_of(state: State, external_id: str | None, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Tickets in order of creation, those of one external id where it is given, and how many there are in all."""
    if external_id is None:
        rows = state.rows("SELECT ticket FROM tickets ORDER BY id LIMIT ? OFFSET ?", limit, offset)
        total = state.count("SELECT count(*) FROM tickets")
    else:
        rows = state.rows(
            "SELECT ticket FROM tickets WHERE external_id = ? ORDER BY id LIMIT ? OFFSET ?", external_id, limit, offset
        )
        total = state.count("SELECT count(*) FROM tickets WHERE external_id = ?", external_id)
    return [json.loads(row["ticket"]) for row in rows], total


def told_in_full(row: sqlite3.Row) -> dict[str, Any]:
    """A ticket row joined to its requester: the ticket as the API shows it, with what the API shows elsewhere."""
    return {
        **json.loads(row["ticket"]),
        "comment": json.loads(row["comment"]),
        "requester": {"id": row["requester_id"], "name": row["name"], "email": row["email"]},
        "idempotency_key": row["idempotency_key"],
    }


def all_in_full(state: State, external_id: str | None = None) -> list[dict[str, Any]]:
    """Every ticket with comment and requester, in order of creation."""
    rows = state.rows(
        "SELECT tickets.*, name, email FROM tickets JOIN users ON users.id = requester_id"
        " WHERE ? IS NULL OR external_id = ? ORDER BY tickets.id",
        external_id,
        external_id,
    )
    return [told_in_full(row) for row in rows]


def latest_in_full(state: State, limit: int) -> list[dict[str, Any]]:
    rows = state.rows(
        "SELECT tickets.*, name, email FROM tickets JOIN users ON users.id = requester_id"
        " ORDER BY tickets.id DESC LIMIT ?",
        limit,
    )
    return [told_in_full(row) for row in rows]


def one_in_full(state: State, ticket_id: int) -> dict[str, Any] | None:
    row = state.row(
        "SELECT tickets.*, name, email FROM tickets JOIN users ON users.id = requester_id WHERE tickets.id = ?",
        ticket_id,
    )
    return told_in_full(row) if row else None


def _comment_problems(ticket: dict[str, Any]) -> Iterator[Problem]:
    if not _comment(ticket)["body"].strip():
        yield BLANK_COMMENT


def _enum_problems(ticket: dict[str, Any]) -> Iterator[Problem]:
    for name, allowed in (("priority", PRIORITIES), ("type", TYPES), ("status", STATUSES)):
        value = ticket.get(name)
        if value is not None and value not in allowed:
            yield Problem(name, f"{name.capitalize()}: {value} is not one of {', '.join(allowed)}")


def _reference_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    agents = {row["id"] for row in state.rows("SELECT id FROM users WHERE role <> 'end-user'")}
    known = (
        ("group_id", "group", GROUPS),
        ("brand_id", "brand", BRANDS),
        ("ticket_form_id", "ticket_form", FORMS),
        ("organization_id", "organization", ORGANIZATIONS),
        ("assignee_id", "assignee", agents),
    )
    for key, field, ids in known:
        value = ticket.get(key)
        if value is not None and _whole_number(value) not in ids:
            yield Problem(field, f"{field.replace('_', ' ').capitalize()}: {value} is invalid")


def _tag_problems(tags: Any) -> Iterator[Problem]:
    if tags is None:
        return
    if not isinstance(tags, list):
        yield Problem("tags", "Tags: must be a list")
        return
    for tag in tags:
        if not isinstance(tag, str) or not tag or re.search(r"\s", tag):
            yield Problem("tags", f"Tags: {tag} contains invalid characters")


def _custom_field_problems(given: Any) -> Iterator[Problem]:
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        yield Problem("base", "Custom fields: must be a list of objects with id and value")
        return
    for each in given:
        field_id = _whole_number(each.get("id"))
        field = CUSTOM_FIELDS.get(field_id or 0)
        if field is None:
            yield Problem("base", f"Custom field {each.get('id')}: does not exist", "InvalidValue", field_id)
        elif not field.accepts(each.get("value")):
            words = f"{field.title}: {each.get('value')} is not a valid value"
            yield Problem("base", words, "InvalidValue", field_id, field.zendesk_type)


def _requester_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    if ticket.get("requester_id") is not None:
        yield from _known_person_problems(_person(state, "id", _whole_number(ticket["requester_id"])))
    elif ticket.get("requester") is not None:
        yield from _described_person_problems(state, ticket["requester"])


def _known_person_problems(person: sqlite3.Row | None) -> Iterator[Problem]:
    if person is None:
        yield Problem("requester", "Requester: is invalid")
    elif person["suspended"]:
        yield Problem("requester", f"Requester: {person['name']} is suspended.", "UserSuspended")


def _described_person_problems(state: State, described: Any) -> Iterator[Problem]:
    if not isinstance(described, dict):
        yield Problem("requester", "Requester: must be an object")
        return
    email = _text(described.get("email")).strip()
    person = _person(state, "email", email) if email else None
    if person:
        yield from _known_person_problems(person)
        return
    if email and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        yield Problem("requester", f"Requester: Email: {email} is not properly formatted", "InvalidFormat")
    name = _text(described.get("name")).strip()
    if not name:
        yield Problem("requester", "Requester: Name: is too short (minimum is 1 characters)", "ValueTooShort")
    elif len(name) > NAME_CHARACTERS:
        yield Problem("requester", "Requester: Name: is too long (maximum is 255 characters)", "ValueTooLong")


def _person(state: State, column: str, value: Any) -> sqlite3.Row | None:
    queries = {"id": "SELECT * FROM users WHERE id = ?", "email": "SELECT * FROM users WHERE email = ?"}
    return state.row(queries[column], value)


def _requester_id(state: State, ticket: dict[str, Any]) -> int:
    if ticket.get("requester_id") is not None:
        return int(ticket["requester_id"])
    described = ticket.get("requester")
    if described is None:
        return ADMIN_ID
    email = _text(described.get("email")).strip() or None
    person = _person(state, "email", email) if email else None
    if person:
        return int(person["id"])
    name = _text(described["name"]).strip()
    return state.insert("INSERT INTO users (name, email, role) VALUES (?, ?, 'end-user')", name, email)


def _comment(ticket: dict[str, Any]) -> dict[str, Any]:
    """The first comment; `description` stands in for it, as it does for old clients."""
    given = ticket.get("comment")
    if not isinstance(given, dict):
        given = {"body": given if isinstance(given, str) else ticket.get("description")}
    html_body = _text(given.get("html_body"))
    body = _without_markup(html_body) if html_body.strip() else _text(given.get("body"))
    return {
        "body": _shortened(body),
        "html_body": _shortened(html_body) or None,
        "public": given.get("public") is not False,
        "public_was_sent": isinstance(given.get("public"), bool),
    }


def _without_markup(html_body: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"(?i)<br\s*/?>|</p>", "\n", html_body))).strip()


def _shortened(text: str) -> str:
    """Longer comments are cut without a word, as the service is said to do."""
    return text.encode()[:COMMENT_BYTES].decode("utf-8", "ignore")


def _ticket(
    wanted: dict[str, Any], ticket_id: int, requester_id: int, comment: dict[str, Any], origin: str
) -> dict[str, Any]:
    moment = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    subject = _text_or_none(wanted.get("subject"))
    subject = subject[:SUBJECT_CHARACTERS] if subject is not None else None
    custom_fields = _custom_field_values(wanted.get("custom_fields") or [])
    return {
        "url": f"{origin}/api/v2/tickets/{ticket_id}.json",
        "id": ticket_id,
        "external_id": _text_or_none(wanted.get("external_id")),
        "via": _via(),
        "created_at": moment,
        "updated_at": moment,
        "type": wanted.get("type"),
        "subject": subject,
        "raw_subject": subject,
        "description": comment["body"],
        "priority": wanted.get("priority"),
        "status": wanted.get("status") or "new",
        "recipient": None,
        "requester_id": requester_id,
        "submitter_id": _whole_number(wanted.get("submitter_id")) or requester_id,
        "assignee_id": _whole_number(wanted.get("assignee_id")),
        "organization_id": _whole_number(wanted.get("organization_id")),
        "group_id": _whole_number(wanted.get("group_id")),
        "collaborator_ids": [],
        "follower_ids": [],
        "email_cc_ids": [],
        "forum_topic_id": None,
        "problem_id": None,
        "has_incidents": False,
        "is_public": comment["public"],
        "due_at": wanted.get("due_at"),
        "tags": list(dict.fromkeys(wanted.get("tags") or [])),
        "custom_fields": custom_fields,
        "satisfaction_rating": None,
        "sharing_agreement_ids": [],
        "custom_status_id": None,
        "fields": custom_fields,
        "followup_ids": [],
        "ticket_form_id": _whole_number(wanted.get("ticket_form_id")) or min(FORMS),
        "brand_id": _whole_number(wanted.get("brand_id")) or min(BRANDS),
        "allow_channelback": False,
        "allow_attachments": True,
        "from_messaging_channel": False,
    }


def _custom_field_values(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values = {_whole_number(each.get("id")): each.get("value") for each in given}
    return [{"id": field_id, "value": values.get(field_id)} for field_id in CUSTOM_FIELDS]


def _audit(ticket: dict[str, Any], comment: dict[str, Any], metadata: Any) -> dict[str, Any]:
    audit_id = ticket["id"] * 1000
    shown_html = comment["html_body"] or f"<p>{escape(comment['body'])}</p>"
    events: list[dict[str, Any]] = [
        {
            "id": audit_id + 1,
            "type": "Comment",
            "author_id": ticket["submitter_id"],
            "body": comment["body"],
            "html_body": f'<div class="zd-comment" dir="auto">{shown_html}</div>',
            "plain_body": comment["body"],
            "public": comment["public"],
            "attachments": [],
            "audit_id": audit_id,
        }
    ]
    names = ("subject", "requester_id", "priority", "type", "status", "brand_id", "ticket_form_id", "group_id")
    for number, name in enumerate(names, start=2):
        events.append({"id": audit_id + number, "type": "Create", "value": ticket[name], "field_name": name})
    custom = metadata.get("custom", metadata) if isinstance(metadata, dict) else {}
    return {
        "id": audit_id,
        "ticket_id": ticket["id"],
        "created_at": ticket["created_at"],
        "author_id": ticket["submitter_id"],
        "metadata": {
            "system": {"client": "sandbox", "ip_address": "192.0.2.10", "location": "Example City, Example Country"},
            "custom": custom,
        },
        "events": events,
        "via": _via(),
    }


def _via() -> dict[str, Any]:
    return {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}}


def _whole_number(value: Any) -> int | None:
    """An id written as a number or as digits; None for anything else and for what no id column holds."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,18}", str(value), re.ASCII):
        return None
    return int(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
