"""The pages for people about the tickets of Zendesk: the list, and each with what its agent can do."""

import json
from collections.abc import Mapping
from typing import Any

from sandbox import people, tickets, zendesk_schema
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, see_other
from sandbox.markup import Markup, filled, joined, moment, page
from sandbox.state import ADMIN_ID

SHOWN_TICKETS = 200
STATUS_WORDS = {"open": "Open", "pending": "Pending", "hold": "On hold", "solved": "Solve", "closed": "Close"}


class ZendeskPages:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        self.routes = (
            ("GET", "/tickets", self._tickets),
            ("GET", "(?:/agent)?/tickets/([0-9]{1,18})", self._ticket),
            ("POST", "/tickets/([0-9]{1,18})/assign", self._assign),
            ("POST", "/tickets/([0-9]{1,18})/status", self._change_status),
            ("POST", "/tickets/([0-9]{1,18})/comments", self._add_comment),
        )

    def _tickets(self, request: Request) -> Answer:
        shown = tickets.latest_in_full(self._state, SHOWN_TICKETS)
        total = self._state.count("SELECT count(*) FROM tickets")
        count = f"The newest {SHOWN_TICKETS} of {total:,} tickets" if total > len(shown) else f"{total} tickets"
        rows = joined(_ticket_row(ticket) for ticket in shown)
        content = filled("tickets", count=count, rows=rows) if shown else filled("no_tickets")
        return page("Tickets", content, here="/tickets", refresh=5)

    def _ticket(self, request: Request, ticket_id: str) -> Answer:
        ticket = tickets.one_in_full(self._state, int(ticket_id))
        if ticket is None:
            raise LookupError(f"There is no ticket {ticket_id}.")
        schema = zendesk_schema.everything(self._state)
        names = {row["id"]: row["name"] for row in people.everyone(self._state)}
        content = filled(
            "ticket",
            id=ticket["id"],
            subject=ticket["subject"] or "(no subject)",
            status=ticket["status"],
            status_words=_status_words(schema, ticket),
            followed=joined(_follow_ups(ticket)),
            comments=joined(_comment(ticket, number, names) for number in range(len(ticket["comments"]))),
            agent=filled("ticket_closed") if ticket["status"] == "closed" else _agent(ticket),
            facts=joined(filled("fact", name=name, value=value) for name, value in _facts(schema, ticket, names)),
            json=json.dumps(ticket, indent=2, ensure_ascii=False),
        )
        return page(f"Ticket {ticket_id}", content, here="/tickets")

    def _assign(self, request: Request, ticket_id: str) -> Answer:
        return self._changed(ticket_id, {"assignee_id": ADMIN_ID})

    def _change_status(self, request: Request, ticket_id: str) -> Answer:
        return self._changed(ticket_id, {"status": request.form().get("status", "")})

    def _add_comment(self, request: Request, ticket_id: str) -> Answer:
        form = request.form()
        return self._changed(ticket_id, {"comment": {"body": form.get("body", ""), "public": "public" in form}})

    def _changed(self, ticket_id: str, values: dict[str, Any]) -> Answer:
        self._controls.change_ticket(int(ticket_id), values)
        return see_other(f"/tickets/{ticket_id}")


def _agent(ticket: dict[str, Any]) -> Markup:
    """What an agent can do with a ticket, but for the status it has."""
    statuses = joined(
        filled("ticket_status", id=ticket["id"], status=status, words=words)
        for status, words in STATUS_WORDS.items()
        if status != ticket["status"]
    )
    return filled("agent", id=ticket["id"], statuses=statuses)


def _comment(ticket: dict[str, Any], number: int, names: Mapping[int, str]) -> Markup:
    comment = ticket["comments"][number]
    return filled(
        "comment",
        visibility=_visibility(comment | ({} if number else ticket["comment"])),
        author=names.get(comment["author_id"], comment["author_id"]),
        created_at=comment["created_at"],
        created_at_words=moment(comment["created_at"]),
        body=comment["body"],
    )


def _follow_ups(ticket: dict[str, Any]) -> list[Markup]:
    source = ticket["via"]["source"]["from"].get("ticket_id")
    before = [filled("ticket_link", words="follows up", id=source)] if source else []
    return before + [filled("ticket_link", words="followed up by", id=later) for later in ticket["followup_ids"]]


def _status_words(schema: Mapping[str, list[dict[str, Any]]], ticket: dict[str, Any]) -> str:
    """The status, and the custom one where that says more."""
    labels = {item["id"]: item["agent_label"] for item in schema["statuses"] if not item["default"]}
    label = labels.get(ticket["custom_status_id"])
    return f"{ticket['status']}: {label}" if label else str(ticket["status"])


def _tags(names: list[str]) -> Markup:
    return joined(filled("tag", name=name) for name in names)


def _ticket_row(ticket: dict[str, Any]) -> Markup:
    return filled(
        "ticket_row",
        id=ticket["id"],
        subject=ticket["subject"] or "(no subject)",
        requester=ticket["requester"]["name"],
        status=ticket["status"],
        priority=ticket["priority"] or "–",
        tags=_tags(ticket["tags"]) or "–",
        created_at=ticket["created_at"],
        created_at_words=moment(ticket["created_at"]),
        external_id=ticket["external_id"] or "–",
    )


def _visibility(comment: dict[str, Any]) -> str:
    words = "Public comment" if comment["public"] else "Internal note"
    return words if comment.get("public_was_sent", True) else f"{words} (the request did not say which)"


def _facts(
    schema: Mapping[str, list[dict[str, Any]]], ticket: dict[str, Any], names: Mapping[int, str]
) -> list[tuple[str, Any]]:
    requester = ticket["requester"]
    email = f" <{requester['email']}>" if requester["email"] else ", no e-mail address"
    titles = {field["id"]: field["title"] for field in schema["fields"]}
    custom = [
        (titles.get(each["id"], str(each["id"])), _value(each["value"]))
        for each in ticket["custom_fields"]
        if each["value"] not in (None, "", [])
    ]
    return [
        ("Requester", f"{requester['name']}{email}"),
        ("Priority", ticket["priority"] or "–"),
        ("Type", ticket["type"] or "–"),
        ("Tags", _tags(ticket["tags"]) or "–"),
        ("Group", _named(ticket["group_id"], schema["groups"])),
        ("Assignee", names.get(ticket["assignee_id"], "–")),
        ("Brand", _named(ticket["brand_id"], schema["brands"])),
        ("Form", _named(ticket["ticket_form_id"], schema["forms"])),
        *custom,
        ("External id", ticket["external_id"] or "–"),
        ("Idempotency key", ticket["idempotency_key"] or "none was sent"),
        ("Created", moment(ticket["created_at"])),
        ("API address", ticket["url"]),
    ]


def _value(value: Any) -> str:
    words = {True: "yes", False: "no"}
    return words[value] if isinstance(value, bool) else ", ".join(value) if isinstance(value, list) else str(value)


def _named(number: int | None, items: list[dict[str, Any]]) -> str:
    name = next((item["name"] for item in items if item["id"] == number), "unknown")
    return "–" if number is None else f"{name} ({number})"
