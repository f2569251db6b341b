"""The pages about Zendesk: tickets and what an agent can do with them, people, and the administrator's schema."""

import json
from collections.abc import Mapping
from typing import Any

from sandbox import people, tickets, zendesk_schema
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, see_other
from sandbox.rendering import count_words, page
from sandbox.state import ADMIN_ID
from sandbox.zendesk_schema import Item

SHOWN_TICKETS = 200
SHOWN_PEOPLE = 500
STATUS_WORDS = {"open": "Open", "pending": "Pending", "hold": "On hold", "solved": "Solve", "closed": "Close"}
LIST_WORDS = {
    "fields": "Ticket fields",
    "groups": "Groups",
    "brands": "Brands",
    "forms": "Ticket forms",
    "statuses": "Custom statuses",
}

# What the button beside an item does, and the item's state before. Groups cannot be inactive: they are deleted.
CHANGES = {
    "deactivate": {"active": False},
    "activate": {"active": True},
    "delete": {"deleted": True},
    "restore": {"deleted": False},
}
STANDINGS = {"deactivate": "active", "activate": "inactive", "delete": "in use", "restore": "deleted"}


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
            ("GET", "/people", self._people),
            ("POST", "/people/([0-9]{1,18})/(suspend|unsuspend)", self._change_person),
            ("GET", "/schema", self._schema),
            ("POST", "/schema/fields/([0-9]{1,18})/options/remove", self._remove_option),
            ("POST", f"/schema/({'|'.join(LIST_WORDS)})/([0-9]{{1,18}})/({'|'.join(CHANGES)})", self._change_item),
        )

    def _tickets(self, request: Request) -> Answer:
        shown = tickets.latest_in_full(self._state, SHOWN_TICKETS)
        count = count_words(len(shown), tickets.count(self._state, None), "tickets")
        return page("tickets.html", "Tickets", refresh=5, count=count, tickets=shown)

    def _ticket(self, request: Request, ticket_id: str) -> Answer:
        ticket = tickets.one_in_full(self._state, int(ticket_id))
        if ticket is None:
            raise LookupError(f"There is no ticket {ticket_id}.")
        schema = zendesk_schema.everything(self._state)
        names = {row["id"]: row["name"] for row in people.everyone(self._state)}
        return page(
            "ticket.html",
            f"Ticket {ticket_id}",
            section="Tickets",
            ticket=ticket,
            # Only those that say more than the status itself.
            custom_statuses={item["id"]: item["agent_label"] for item in schema["statuses"] if not item["default"]},
            statuses=STATUS_WORDS,
            names=names,
            facts=_facts(schema, ticket, names),
            json=json.dumps(ticket, indent=2, ensure_ascii=False),
        )

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

    def _people(self, request: Request) -> Answer:
        everyone = people.everyone(self._state)
        shown = [
            {**dict(row), "identities": people.identities(self._state, row, request.origin)}
            for row in everyone[:SHOWN_PEOPLE]
        ]
        return page("people.html", "People", people=shown, total=len(everyone))

    def _change_person(self, request: Request, user_id: str, change: str) -> Answer:
        self._controls.change_person(int(user_id), {"suspended": change == "suspend"})
        return see_other("/people")

    def _schema(self, request: Request) -> Answer:
        kept = zendesk_schema.everything(self._state)
        lists = [(name, words, [(item, _change_of(item)) for item in kept[name]]) for name, words in LIST_WORDS.items()]
        return page("schema.html", "Schema", lists=lists, standings=STANDINGS)

    def _change_item(self, request: Request, name: str, item_id: str, change: str) -> Answer:
        zendesk_schema.change(self._state, name, int(item_id), CHANGES[change])
        return see_other("/schema")

    def _remove_option(self, request: Request, field_id: str) -> Answer:
        wanted = {"field": int(field_id), "remove": request.form().get("value", "")}
        zendesk_schema.change_options(self._state, wanted)
        return see_other("/schema")


def _facts(schema: Mapping[str, list[Item]], ticket: dict[str, Any], names: Mapping[int, str]) -> list[tuple[str, str]]:
    """What the ticket holds by id, with names: group, assignee, brand, form, and custom fields with a value."""
    titles = {field["id"]: field["title"] for field in schema["fields"]}
    return [
        ("Group", _named(ticket["group_id"], schema["groups"])),
        ("Assignee", names.get(ticket["assignee_id"], "–")),
        ("Brand", _named(ticket["brand_id"], schema["brands"])),
        ("Form", _named(ticket["ticket_form_id"], schema["forms"])),
        *(
            (titles.get(each["id"], str(each["id"])), _value(each["value"]))
            for each in ticket["custom_fields"]
            if each["value"] not in (None, "", [])
        ),
    ]


def _value(value: Any) -> str:
    words = {True: "yes", False: "no"}
    return words[value] if isinstance(value, bool) else ", ".join(value) if isinstance(value, list) else str(value)


def _named(number: int | None, items: list[Item]) -> str:
    name = next((item["name"] for item in items if item["id"] == number), "unknown")
    return "–" if number is None else f"{name} ({number})"


def _change_of(item: Item) -> str:
    """What the one button beside an item does."""
    if item.get("deleted") or item.get("is_deleted"):
        return "restore"
    if "active" not in item:
        return "delete"
    return "deactivate" if item["active"] else "activate"
