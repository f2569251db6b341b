"""The pages for people about Zendesk alone: its tickets."""

import json
from collections.abc import Mapping
from typing import Any

from sandbox import tickets, zendesk_schema
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request
from sandbox.markup import Markup, filled, joined, moment, page

SHOWN_TICKETS = 200


class ZendeskPages:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        self.routes = (
            ("GET", "/tickets", self._tickets),
            ("GET", "(?:/agent)?/tickets/([0-9]{1,18})", self._ticket),
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
        content = filled(
            "ticket",
            id=ticket["id"],
            subject=ticket["subject"] or "(no subject)",
            status=ticket["status"],
            comment=ticket["comment"]["body"],
            visibility=_visibility(ticket["comment"]),
            facts=joined(filled("fact", name=name, value=value) for name, value in _facts(schema, ticket)),
            json=json.dumps(ticket, indent=2, ensure_ascii=False),
        )
        return page(f"Ticket {ticket_id}", content, here="/tickets")


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
    return words if comment["public_was_sent"] else f"{words} (the request did not say which)"


def _facts(schema: Mapping[str, list[dict[str, Any]]], ticket: dict[str, Any]) -> list[tuple[str, Any]]:
    requester = ticket["requester"]
    email = f" <{requester['email']}>" if requester["email"] else ", no e-mail address"
    titles = {field["id"]: field["title"] for field in schema["fields"]}
    custom = [
        (titles.get(each["id"], str(each["id"])), "–" if each["value"] is None else each["value"])
        for each in ticket["custom_fields"]
    ]
    return [
        ("Requester", f"{requester['name']}{email}"),
        ("Priority", ticket["priority"] or "–"),
        ("Type", ticket["type"] or "–"),
        ("Tags", _tags(ticket["tags"]) or "–"),
        ("Group", _named(ticket["group_id"], schema["groups"])),
        ("Assignee", ticket["assignee_id"] or "–"),
        ("Brand", _named(ticket["brand_id"], schema["brands"])),
        ("Form", _named(ticket["ticket_form_id"], schema["forms"])),
        *custom,
        ("External id", ticket["external_id"] or "–"),
        ("Idempotency key", ticket["idempotency_key"] or "none was sent"),
        ("Created", moment(ticket["created_at"])),
        ("API address", ticket["url"]),
    ]


def _named(number: int | None, items: list[dict[str, Any]]) -> str:
    name = next((item["name"] for item in items if item["id"] == number), "unknown")
    return "–" if number is None else f"{name} ({number})"
