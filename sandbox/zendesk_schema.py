"""The lists an administrator of Zendesk keeps: fields, groups, brands, forms and custom statuses.

They can be changed while the sandbox runs. Items are stored complete, in the recorded shape but without their address;
missing fields are filled in. Deleted items stay stored, but are in no list and cannot be used.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from sandbox.state import State
from sandbox.zendesk_examples import EXAMPLES

LISTS = tuple(EXAMPLES)
CATEGORIES = ("new", "open", "pending", "hold", "solved")
LONG_AGO = "2023-09-09T23:52:02Z"
LARGEST_ID = 10**18

# The names of custom field types in errors, and below the patterns their values must match.
CUSTOM_TYPES = {
    "text": "FieldText",
    "textarea": "FieldTextarea",
    "checkbox": "FieldCheckbox",
    "date": "FieldDate",
    "integer": "FieldInteger",
    "decimal": "FieldDecimal",
    "regexp": "FieldRegexp",
    "tagger": "FieldTagger",
    "multiselect": "FieldMultiselect",
    "partialcreditcard": "FieldPartialCreditCard",
}
SYSTEM_TYPES = ("subject", "description", "status", "tickettype", "priority", "group", "assignee")
PATTERNS = {
    "date": r"\A([0-9]{4})-(1[0-2]|0[1-9])-(3[01]|[12][0-9]|0[1-9])\z",
    "integer": r"\A[-+]?\d+\z",
    "decimal": r"\A[-+]?[0-9]*[.,]?[0-9]+\z",
}
WITH_OPTIONS = ("tagger", "multiselect")

Item = dict[str, Any]


def items(state: State, name: str) -> list[Item]:
    """A whole list including deleted items. It is shared: do not change it in place."""
    kept: list[Item] | None = state.document(name)
    return examples(name) if kept is None else kept


def listed(state: State, name: str) -> list[Item]:
    """A list without deleted items. It is shared: do not change it in place."""
    return state.derived(f"listed {name}", lambda: [item for item in items(state, name) if not _is_deleted(item)])


def usable(state: State, name: str) -> dict[int, Item]:
    """What a ticket may refer to, by id. It is shared: do not change it in place."""

    def found() -> dict[int, Item]:
        return {item["id"]: item for item in listed(state, name) if item.get("active", True)}

    return state.derived(f"usable {name}", found)


def everything(state: State) -> dict[str, list[Item]]:
    return {name: items(state, name) for name in LISTS}


def custom_fields(state: State) -> dict[int, Item]:
    """The active custom fields by id. They are shared: do not change them in place."""

    def found() -> dict[int, Item]:
        return {id_: field for id_, field in usable(state, "fields").items() if field["type"] in CUSTOM_TYPES}

    return state.derived("custom fields", found)


def default_id(state: State, name: str) -> int | None:
    """The default of a list, else its first active item, else None."""
    found = usable(state, name)
    return next((id_ for id_, item in found.items() if item.get("default")), next(iter(found), None))


def status_of_category(state: State, category: str) -> int | None:
    """The default custom status of a category; closed tickets use that of solved ones."""
    wanted = "solved" if category == "closed" else category
    fitting = [item for item in usable(state, "statuses").values() if item["status_category"] == wanted]
    return next((item["id"] for item in fitting if item["default"]), fitting[0]["id"] if fitting else None)


def replace(state: State, values: dict[str, Any]) -> dict[str, list[Item]]:
    """Replaces the named lists. Raises ValueError with a sentence for a bad one, changing nothing."""
    unknown = sorted(set(values) - set(LISTS))
    if unknown:
        raise ValueError(f"There is no list {', '.join(unknown)}. Known: {', '.join(LISTS)}.")
    completed = {name: _completed_list(name, given) for name, given in values.items()}
    with state.transaction():
        for name, content in completed.items():
            state.keep_document(name, content)
    return everything(state)


def change(state: State, name: str, item_id: int, values: dict[str, Any]) -> Item:
    """Changes attributes of one item. Raises LookupError if there is none and ValueError for a bad value."""
    if "id" in values:
        raise ValueError("An id cannot be changed.")
    with state.transaction():
        known = items(state, name)
        place = next((number for number, item in enumerate(known) if item["id"] == item_id), None)
        if place is None:
            raise LookupError(f"There is no {item_id} among the {name}.")
        changed = _completed(name, {**known[place], **values}, place)
        state.keep_document(name, [*known[:place], changed, *known[place + 1 :]])
    return changed


def change_options(state: State, values: dict[str, Any]) -> Item:
    """Removes an option of a field by its value, or adds one. Raises LookupError or ValueError with a sentence."""
    field_id, removed, added = values.get("field"), values.get("remove"), values.get("add")
    field = next((item for item in items(state, "fields") if item["id"] == field_id), None)
    if field is None or "custom_field_options" not in field:
        raise LookupError(f"There is no field {field_id} with options.")
    options = field["custom_field_options"]
    if removed is not None and removed not in [option["value"] for option in options]:
        raise LookupError(f"Field {field_id} has no option {removed}.")
    kept = [option for option in options if option["value"] != removed]
    return change(state, "fields", int(field["id"]), {"custom_field_options": kept + ([added] if added else [])})


@cache
def examples(name: str) -> list[Item]:
    return _completed_list(name, EXAMPLES[name])


def _is_deleted(item: Item) -> bool:
    return bool(item.get("deleted") or item.get("is_deleted"))


def _completed_list(name: str, given: Any) -> list[Item]:
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ValueError(f"{name} must be a list of objects.")
    completed = [_completed(name, item, position) for position, item in enumerate(given)]
    if len({item["id"] for item in completed}) < len(completed):
        raise ValueError(f"Two of the {name} have the same id.")
    return completed


def _completed(name: str, given: Item, position: int) -> Item:
    if type(given.get("id")) is not int or not 0 < given["id"] < LARGEST_ID:
        raise ValueError(f"Each of the {name} needs an id, a whole number.")
    for key in ("active", "default", "deleted", "required"):
        if key in given and type(given[key]) is not bool:
            raise ValueError(f"{key} must be true or false.")
    return COMPLETIONS[name](given, position)


def _text(given: Item, key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} must be a text.")
    return value


def _group(given: Item, position: int) -> Item:
    started = {"is_public": True, "name": _text(given, "name"), "description": "", "default": False, "deleted": False}
    return {"id": given["id"], **started, "created_at": LONG_AGO, "updated_at": LONG_AGO} | given


def _brand(given: Item, position: int) -> Item:
    name = _text(given, "name")
    started = {
        "id": given["id"],
        "name": name,
        "brand_url": "https://example.zendesk.com",
        "subdomain": re.sub(r"[^a-z0-9]+", "-", name.lower()),
        "has_help_center": False,
        "help_center_state": "disabled",
        "active": True,
        "default": False,
        "is_deleted": False,
        "logo": None,
        "ticket_form_ids": [],
        "signature_template": "{{agent.signature}}",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "host_mapping": None,
    }
    kept = {key: value for key, value in given.items() if key != "deleted"}
    return started | kept | {"is_deleted": given.get("deleted", given.get("is_deleted", False))}


def _form(given: Item, position: int) -> Item:
    name = _text(given, "name")
    started = {
        "id": given["id"],
        "name": name,
        "raw_name": name,
        "display_name": name,
        "raw_display_name": name,
        "end_user_visible": True,
        "position": position + 1,
        "ticket_field_ids": [],
        "active": True,
        "default": False,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "in_all_brands": True,
        "restricted_brand_ids": [],
    }
    return started | given


def _status(given: Item, position: int) -> Item:
    if given.get("status_category") not in CATEGORIES:
        raise ValueError(f"status_category must be one of {', '.join(CATEGORIES)}.")
    label = _text(given, "agent_label")
    started = {
        "id": given["id"],
        "status_category": given["status_category"],
        "agent_label": label,
        "raw_agent_label": label,
        "end_user_label": label,
        "raw_end_user_label": given.get("end_user_label", label),
        "description": "",
        "raw_description": "",
        "end_user_description": "",
        "raw_end_user_description": "",
        "active": True,
        "default": False,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    return started | given


def _field(given: Item, position: int) -> Item:
    kind, title = given.get("type"), _text(given, "title")
    if kind not in CUSTOM_TYPES and kind not in SYSTEM_TYPES:
        raise ValueError(f"type must be one of {', '.join((*SYSTEM_TYPES, *CUSTOM_TYPES))}.")
    started = {
        "id": given["id"],
        "type": kind,
        "title": title,
        "raw_title": title,
        "description": "",
        "raw_description": "",
        "position": position,
        "active": True,
        "required": False,
        "collapsed_for_agents": False,
        "regexp_for_validation": PATTERNS.get(kind),
        "title_in_portal": title,
        "raw_title_in_portal": title,
        "visible_in_portal": False,
        "editable_in_portal": False,
        "required_in_portal": False,
        "tag": None,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "removable": True,
        "agent_description": None,
    }
    pattern(given.get("regexp_for_validation"))
    options = {"custom_field_options": _field_options(given)} if kind in WITH_OPTIONS else {}
    return started | given | options


def _field_options(given: Item) -> list[Item]:
    options = given.get("custom_field_options", [])
    if not isinstance(options, list) or not all(isinstance(option, dict) for option in options):
        raise ValueError("custom_field_options must be a list of objects with name and value.")
    first_id = given["id"] * 100 + 1
    taken = [option["id"] for option in options if type(option.get("id")) is int]
    numbers = iter(range(max(taken, default=first_id - 1) + 1, LARGEST_ID * 1000))
    return [_option(option, option.get("id") or next(numbers)) for option in options]


def _option(given: Item, option_id: int) -> Item:
    value = _text(given, "value")
    name = given.get("name") or value
    return {"id": option_id, "name": name, "raw_name": name, "value": value, "default": False} | given


@cache
def pattern(written: str | None) -> re.Pattern[str]:
    """A Zendesk pattern compiled for Python. Raises ValueError with a sentence if it is invalid."""
    try:
        return re.compile((written or "").replace(r"\z", r"\Z"), re.ASCII)
    except re.error as problem:
        raise ValueError(f"regexp_for_validation is no pattern: {problem}.") from problem


COMPLETIONS: dict[str, Callable[[Item, int], Item]] = {
    "fields": _field,
    "groups": _group,
    "brands": _brand,
    "forms": _form,
    "statuses": _status,
}
