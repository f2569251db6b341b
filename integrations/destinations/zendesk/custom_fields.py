"""Custom fields of a ticket. Pure: from a mapping's templates to values that fit each field's type at Zendesk.

Zendesk refuses a whole ticket for one value that does not fit (developer.zendesk.com, API reference, Ticketing, Ticket
Fields), so such a value is left out here, with a remark. Where a field's type is unknown, the value is sent as it is.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from integrations.destinations.zendesk.text import disarmed
from integrations.domain.expressions import BadExpression, compile_expression
from integrations.domain.templating import PLACEHOLDER, Value, render

LONGEST_FIELD = 5_000
# Total across all custom fields of a ticket.
LONGEST_TOGETHER = 500_000
NUMBERS = {
    "integer": re.compile(r"[+-]?[0-9]+"),
    "decimal": re.compile(r"[+-]?(?:[0-9]++(?:[.,][0-9]+)?|[.,][0-9]+)"),
}


def fitting_custom_fields(
    fields: list[dict[str, Any]], values: Mapping[str, Value], titles: Mapping[int, str] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rendered fields that fit, and a remark for each one left out, by its title where that is known.

    Raises templating.TemplateError.
    """
    fitting, remarks, room = [], [], LONGEST_TOGETHER
    for field in fields:
        value = rendered(field["value"], values)
        kind = str(field.get("type") or "")
        length = _length(value)
        why = why_unfit(value, kind, str(field.get("regexp") or "")) if kind else ""
        if length > room:
            why = f"the custom fields together would exceed {LONGEST_TOGETHER:,} characters"
        if why:
            title = (titles or {}).get(int(field["id"]), str(field["id"]))
            remarks.append(f"The custom field {title} was left out: {why}.")
        else:
            room -= length
            fitting.append({"id": int(field["id"]), "value": _as_sent(value, kind)})
    return fitting, remarks


def rendered(value: Any, values: Mapping[str, Value]) -> Any:
    """Text rendered, lists item by item; a checkbox's true or false as it is."""
    if isinstance(value, list):
        return [rendered(item, values) for item in value]
    if isinstance(value, bool):
        return value
    return disarmed(render(str(value), values, LONGEST_FIELD))[:LONGEST_FIELD]


def _length(value: Any) -> int:
    return 0 if isinstance(value, bool) else len(value) if isinstance(value, str) else sum(map(len, value))


def why_unfit(value: Any, kind: str, regexp: str = "") -> str:
    """Why Zendesk would refuse the value for a field of this kind; empty when it fits."""
    if isinstance(value, list):
        return "" if any(value) else "no option is selected"
    if isinstance(value, bool):
        return ""
    text = str(value).strip()
    if not text:
        return "the value is empty"
    if kind in NUMBERS and not NUMBERS[kind].fullmatch(text):
        return f"“{text[:60]}” is not a {'whole ' if kind == 'integer' else ''}number"
    if kind == "date" and not is_date(text):
        return f"“{text[:60]}” is not a date like 2026-04-16"
    if kind == "regexp" and regexp and not matches(regexp, text):
        return f"“{text[:60]}” does not match the field's regular expression {regexp[:100]}"
    return ""


def is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


def can_be_checked(regexp: str) -> bool:
    """Whether our engine runs the expression: Zendesk's supports more."""
    try:
        compile_expression(regexp)
    except BadExpression:
        return False
    return True


def matches(regexp: str, text: str) -> bool:
    """Whether the text matches; an expression that our engine does not run is left to Zendesk."""
    try:
        return bool(compile_expression(regexp).search(text))
    except BadExpression:
        return True


def is_literal(value: Any) -> bool:
    """Whether the value is the same for every post."""
    return isinstance(value, bool) or PLACEHOLDER.search(str(value)) is None


def _as_sent(value: Any, kind: str) -> Any:
    """Without whitespace around a number, a date or an option, and without empty items."""
    if isinstance(value, list):
        return [item for item in value if item] if kind else value
    return value.strip() if kind in (*NUMBERS, "date", "tagger") and isinstance(value, str) else value
