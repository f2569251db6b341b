"""Names instead of numbers, from the lists of an account as destinations.zendesk.schema reads them. Pure."""

from collections.abc import Mapping
from typing import Any

# The list in which the number in a setting (and a ticket) is looked up.
LIST_OF = {
    "group_id": "groups",
    "assignee_id": "agents",
    "brand_id": "brands",
    "ticket_form_id": "forms",
    "custom_status_id": "statuses",
}


def entry_of(lists: Mapping[str, Any], list_name: str, number: Any) -> dict[str, Any] | None:
    """The entry with this number (a number or its digits), or None."""
    for entry in lists.get(list_name) or []:
        if str(entry.get("id")) == str(number):
            match: dict[str, Any] = entry
            return match
    return None


def named(lists: Mapping[str, Any], list_name: str, number: Any) -> str:
    """“Support (4711)” where the name is known, else the number."""
    entry = entry_of(lists, list_name, number)
    return f"{entry['name']} ({number})" if entry else str(number)


def named_field(number: Any, value: Any, lists: Mapping[str, Any]) -> tuple[str, str]:
    """A custom field by its title, with its options' names."""
    field = entry_of(lists, "fields", number)
    title = f"{field['title']} (field {number})" if field else f"Custom field {number}"
    names = {option["value"]: option["name"] for option in (field or {}).get("options") or []}
    if isinstance(value, bool):
        return title, ("Yes" if value else "No") if field else str(value)
    values = value if isinstance(value, list) else [value]
    return title, ", ".join(str(names.get(each, each)) for each in values)
