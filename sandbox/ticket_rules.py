"""Validation of new and changed tickets, with problems in the documented shape, and what is silently dropped."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sandbox import comments, field_values, people, zendesk_schema
from sandbox.problems import BLANK_COMMENT, Problem
from sandbox.state import State

PRIORITIES = ("urgent", "high", "normal", "low")
TYPES = ("problem", "incident", "question", "task")
STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
ORGANIZATIONS = {601: "Example Company"}

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


TOO_MANY_COMMENTS = Problem("comment", f"Comment: a ticket takes {comments.LARGEST_NUMBER} comments", "TooManyValues")


@dataclass(frozen=True)
class Dropped:
    """What was dropped from a request, as the warning header lists it."""

    unpermitted_keys: tuple[str, ...] = ()
    invalid_values: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unpermitted_keys or self.invalid_values)


def without_dropped(state: State, ticket: dict[str, Any]) -> tuple[dict[str, Any], Dropped]:
    """The ticket without keys this account does not accept and, with `drops_unknown_ids`, without unknown ids."""
    unpermitted = [key for key in ticket if key not in PERMITTED_KEYS]
    unpermitted += [key for key in _not_offered(state) if key in ticket]
    kept = {key: value for key, value in ticket.items() if key not in unpermitted}
    _name_assignee(state, kept)
    invalid = _drop_unknown(state, kept) if state.settings.drops_unknown_ids else []
    return kept, Dropped(tuple(f"ticket.{key}" for key in unpermitted), tuple(f"ticket.{key}" for key in invalid))


def problems_of_new(state: State, ticket: dict[str, Any]) -> list[Problem]:
    """Everything wrong with a new ticket, not only the first problem; empty if it can be created."""
    return [
        *_first_comment_problems(ticket),
        *_shared_problems(state, ticket),
        *_requester_problems(state, ticket),
        *_source_problems(state, ticket),
    ]


def problems_of_change(state: State, ticket_id: int, wanted: dict[str, Any]) -> list[Problem]:
    """Everything wrong with a change of a ticket that is not closed."""
    return [
        *_next_comment_problems(state, ticket_id, wanted),
        *_shared_problems(state, wanted),
        *_requester_problems(state, wanted),
    ]


def whole_id(value: Any) -> int | None:
    """An id given as a number or as digits; None for anything else or too large for a column."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,18}", str(value), re.ASCII):
        return None
    return int(value)


def _not_offered(state: State) -> list[str]:
    offers = {
        "ticket_form_id": state.settings.offers_forms,
        "custom_status_id": state.settings.offers_custom_statuses,
    }
    return [key for key, is_offered in offers.items() if not is_offered]


def _name_assignee(state: State, ticket: dict[str, Any]) -> None:
    """Replaces an assignee's e-mail address by the id, if there is such a person."""
    person = people.one(state, "email", str(ticket.get("assignee_email")))
    if person:
        del ticket["assignee_email"]
        ticket["assignee_id"] = person["id"]


def _drop_unknown(state: State, ticket: dict[str, Any]) -> list[str]:
    """Removes unknown groups, forms and fields from the ticket and returns their keys."""
    dropped = []
    for key, name in (("group_id", "groups"), ("ticket_form_id", "forms")):
        value = ticket.get(key)
        if value is not None and whole_id(value) not in {item["id"] for item in zendesk_schema.listed(state, name)}:
            del ticket[key]
            dropped.append(key)
    given = ticket.get("custom_fields")
    if isinstance(given, list):
        known = {item["id"] for item in zendesk_schema.listed(state, "fields")}
        unknown = [each for each in given if isinstance(each, dict) and whole_id(each.get("id")) not in known]
        ticket["custom_fields"] = [each for each in given if each not in unknown]
        dropped += [f"custom_fields.{each.get('id')}" for each in unknown]
    return dropped


def _first_comment_problems(ticket: dict[str, Any]) -> Iterator[Problem]:
    if not comments.read(ticket.get("comment"), ticket.get("description"))["body"].strip():
        yield BLANK_COMMENT


def _next_comment_problems(state: State, ticket_id: int, wanted: dict[str, Any]) -> Iterator[Problem]:
    if wanted.get("comment") is None:
        return
    if not comments.read(wanted["comment"])["body"].strip():
        yield Problem("comment", "Comment: cannot be blank", "BlankValue")
    if comments.count(state, ticket_id) >= comments.LARGEST_NUMBER:
        yield TOO_MANY_COMMENTS


def _shared_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    yield from _enum_problems(ticket)
    yield from _reference_problems(state, ticket)
    yield from _speaker_problems(state, ticket)
    yield from _tag_problems(ticket.get("tags"))
    yield from _custom_field_problems(state, ticket.get("custom_fields"))


def _enum_problems(ticket: dict[str, Any]) -> Iterator[Problem]:
    for name, allowed in (("priority", PRIORITIES), ("type", TYPES), ("status", STATUSES)):
        value = ticket.get(name)
        if value is not None and value not in allowed:
            yield Problem(name, f"{name.capitalize()}: {value} is not one of {', '.join(allowed)}")


def _reference_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    lists = (
        ("group_id", "group", "groups"),
        ("brand_id", "brand", "brands"),
        ("ticket_form_id", "ticket_form", "forms"),
        ("custom_status_id", "custom_status", "statuses"),
    )
    for key, field, name in lists:
        if ticket.get(key) is not None and whole_id(ticket[key]) not in zendesk_schema.usable(state, name):
            yield _bad_reference(field, ticket[key])
    if ticket.get("organization_id") is not None and whole_id(ticket["organization_id"]) not in ORGANIZATIONS:
        yield _bad_reference("organization", ticket["organization_id"])
    if ticket.get("assignee_id") is not None and whole_id(ticket["assignee_id"]) not in people.agent_ids(state):
        yield _bad_reference("assignee", ticket["assignee_id"])
    if ticket.get("assignee_email") is not None:
        yield _bad_reference("assignee", ticket["assignee_email"])


def _bad_reference(field: str, value: Any) -> Problem:
    return Problem(field, f"{field.replace('_', ' ').capitalize()}: {value} is invalid")


def _speaker_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    """The submitter of a ticket and the author of a comment must exist."""
    comment = ticket.get("comment")
    author = comment.get("author_id") if isinstance(comment, dict) else None
    for field, value in (("submitter", ticket.get("submitter_id")), ("author", author)):
        if value is not None and people.one(state, "id", whole_id(value)) is None:
            yield _bad_reference(field, value)


def _tag_problems(tags: Any) -> Iterator[Problem]:
    if tags is None:
        return
    if not isinstance(tags, list):
        yield Problem("tags", "Tags: must be a list")
        return
    for tag in tags:
        if not isinstance(tag, str) or not tag or re.search(r"\s", tag):
            yield Problem("tags", f"Tags: {tag} contains invalid characters")


def _custom_field_problems(state: State, given: Any) -> Iterator[Problem]:
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        yield Problem("base", "Custom fields: must be a list of objects with id and value")
        return
    known = {item["id"]: item for item in zendesk_schema.listed(state, "fields")}
    for each in given:
        field_id = whole_id(each.get("id"))
        field = known.get(field_id or 0)
        if field is None or field["type"] not in zendesk_schema.CUSTOM_TYPES:
            yield Problem("base", f"Custom field {each.get('id')}: does not exist", "InvalidValue", field_id)
        else:
            yield from _value_problems(field, each.get("value"))


def _value_problems(field: zendesk_schema.Item, value: Any) -> Iterator[Problem]:
    if not field["active"]:
        words = f"{field['title']}: is not active"
    elif not field_values.accepts(field, value):
        words = f"{field['title']}: {value} is not a valid value"
    else:
        return
    yield Problem("base", words, "InvalidValue", field["id"], zendesk_schema.CUSTOM_TYPES[field["type"]])


def _source_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    """Only a closed ticket can have a follow-up."""
    source_id = ticket.get("via_followup_source_id")
    if source_id is None:
        return
    status = state.row("SELECT json_extract(ticket, '$.status') FROM tickets WHERE id = ?", whole_id(source_id))
    if status is None or status[0] != "closed":
        words = f"Via followup source: ticket {source_id} is not closed"
        yield Problem("via_followup_source_id", words)


def _requester_problems(state: State, ticket: dict[str, Any]) -> Iterator[Problem]:
    if ticket.get("requester_id") is not None:
        yield from _known_person_problems(people.one(state, "id", whole_id(ticket["requester_id"])))
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
    email = people.text(described.get("email"))
    person = people.one(state, "email", email) if email else None
    if person:
        yield from _known_person_problems(person)
        return
    if email and not people.EMAIL.fullmatch(email):
        yield Problem("requester", f"Requester: Email: {email} is not properly formatted", "InvalidFormat")
    problem = people.name_problem(people.text(described.get("name")))
    if problem:
        yield replace(problem, field="requester", description=f"Requester: {problem.description}")
