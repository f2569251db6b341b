"""Values of custom fields: which ones a field accepts, and what is stored."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from sandbox.zendesk_schema import Item, pattern

CARD = re.compile(r"[0-9Xx*]{0,15}[0-9]{4}", re.ASCII)
TRUTHS = (True, False, "true", "false")


def accepts(field: Item, value: Any) -> bool:
    """Whether the field accepts the value. Every field accepts an empty one."""
    if value is None or value in ("", []):
        return True
    return TESTS[field["type"]](field, value)


def kept(field: Item, value: Any) -> Any:
    """The value as the ticket shows it: only the last digits of a credit card, numbers as text."""
    if value is None:
        return None
    if field["type"] == "partialcreditcard" and isinstance(value, str) and value:
        return "X" * (len(value) - 4) + value[-4:]
    if field["type"] == "checkbox":
        return value in (True, "true")
    if field["type"] in ("integer", "decimal") and isinstance(value, int | float):
        return str(value)
    return value


def _is_text(field: Item, value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(field: Item, value: Any) -> bool:
    return isinstance(value, bool | str) and value in TRUTHS


def _is_day(field: Item, value: Any) -> bool:
    if not isinstance(value, str) or not pattern(field["regexp_for_validation"]).search(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_number(field: Item, value: Any) -> bool:
    is_number = isinstance(value, str | int | float) and not isinstance(value, bool)
    return is_number and pattern(field["regexp_for_validation"]).search(str(value)) is not None


def _fits(field: Item, value: Any) -> bool:
    return isinstance(value, str) and pattern(field["regexp_for_validation"]).search(value) is not None


def _is_option(field: Item, value: Any) -> bool:
    return isinstance(value, str) and value in _values(field)


def _are_options(field: Item, value: Any) -> bool:
    return isinstance(value, list) and all(_is_option(field, each) for each in value)


def _is_card(field: Item, value: Any) -> bool:
    return isinstance(value, str) and CARD.fullmatch(value) is not None


def _values(field: Item) -> list[str]:
    return [option["value"] for option in field["custom_field_options"]]


TESTS: dict[str, Callable[[Item, Any], bool]] = {
    "text": _is_text,
    "textarea": _is_text,
    "checkbox": _is_truth,
    "date": _is_day,
    "integer": _is_number,
    "decimal": _is_number,
    "regexp": _fits,
    "tagger": _is_option,
    "multiselect": _are_options,
    "partialcreditcard": _is_card,
}
