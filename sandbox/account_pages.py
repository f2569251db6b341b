"""The pages for people about what an administrator of Zendesk keeps: people, fields, groups and the like."""

import sqlite3
from typing import Any

from sandbox import people, zendesk_schema
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, see_other
from sandbox.markup import Markup, filled, joined, page
from sandbox.zendesk_schema import Item

SHOWN_PEOPLE = 500
LIST_WORDS = {
    "fields": "Ticket fields",
    "groups": "Groups",
    "brands": "Brands",
    "forms": "Ticket forms",
    "statuses": "Custom statuses",
}

# What a button does to an item. Groups know no inactive state: they are deleted instead.
CHANGES = {
    "deactivate": {"active": False},
    "activate": {"active": True},
    "delete": {"deleted": True},
    "restore": {"deleted": False},
}
STANDINGS = {
    "deactivate": ("active", "Deactivate"),
    "activate": ("inactive", "Activate"),
    "delete": ("in use", "Delete"),
    "restore": ("deleted", "Restore"),
}


class AccountPages:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        self.routes = (
            ("GET", "/people", self._people),
            ("POST", "/people/([0-9]{1,18})/(suspend|unsuspend)", self._change_person),
            ("GET", "/schema", self._schema),
            ("POST", "/schema/fields/([0-9]{1,18})/options/remove", self._remove_option),
            ("POST", f"/schema/({'|'.join(LIST_WORDS)})/([0-9]{{1,18}})/({'|'.join(CHANGES)})", self._change_item),
        )

    def _people(self, request: Request) -> Answer:
        everyone = people.everyone(self._state)
        rows = joined(self._person(row, request.origin) for row in everyone[:SHOWN_PEOPLE])
        count = f"{len(everyone):,} people"
        if len(everyone) > SHOWN_PEOPLE:
            count = f"The first {SHOWN_PEOPLE} of {count}"
        return page("People", filled("people", count=count, rows=rows), here="/people")

    def _person(self, row: sqlite3.Row, origin: str) -> Markup:
        known_by = [f"{each['type']} {each['value']}" for each in people.identities(self._state, row, origin)]
        return filled(
            "person_row",
            id=row["id"],
            name=row["name"],
            role=row["role"],
            identities=", ".join(known_by) or "–",
            external_id=row["external_id"] or "–",
            standing="suspended" if row["suspended"] else "may write",
            change="unsuspend" if row["suspended"] else "suspend",
            words="Unsuspend" if row["suspended"] else "Suspend",
        )

    def _change_person(self, request: Request, user_id: str, change: str) -> Answer:
        self._controls.change_person(int(user_id), {"suspended": change == "suspend"})
        return see_other("/people")

    def _schema(self, request: Request) -> Answer:
        kept = zendesk_schema.everything(self._state)
        lists = joined(
            filled("schema_list", name=words, rows=joined(_item_row(name, item) for item in kept[name]))
            for name, words in LIST_WORDS.items()
        )
        return page("Schema", filled("schema", lists=lists), here="/schema")

    def _change_item(self, request: Request, name: str, item_id: str, change: str) -> Answer:
        zendesk_schema.change(self._state, name, int(item_id), CHANGES[change])
        return see_other("/schema")

    def _remove_option(self, request: Request, field_id: str) -> Answer:
        wanted = {"field": int(field_id), "remove": request.form().get("value", "")}
        zendesk_schema.change_options(self._state, wanted)
        return see_other("/schema")


def _item_row(name: str, item: Item) -> Markup:
    change = _change_of(item)
    standing, words = STANDINGS[change]
    return filled(
        "schema_row",
        name=name,
        id=item["id"],
        title=item.get("title") or item.get("name") or item["agent_label"],
        kind=item.get("type") or item.get("status_category") or "–",
        options=joined(_option(item, option) for option in item.get("custom_field_options", [])) or "–",
        standing=standing,
        change=change,
        words=words,
    )


def _change_of(item: Item) -> str:
    """What the one button beside an item does."""
    if item.get("deleted") or item.get("is_deleted"):
        return "restore"
    if "active" not in item:
        return "delete"
    return "deactivate" if item["active"] else "activate"


def _option(field: Item, option: dict[str, Any]) -> Markup:
    return filled("schema_option", id=field["id"], title=f"{option['name']} ({option['value']})", value=option["value"])
