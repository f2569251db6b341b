"""The rows of conditions in a mapping's form: shown, read, and added or removed, with a script or without."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from integrations.domain import conditions
from integrations.domain.conditions import FIELDS, MATCHES, TESTS, WITHOUT_VALUE, BadCondition

# The button that was pressed names what to do: "add:0", "remove:0:2", "group".
ROWS = "_rows"
EMPTY_ROW = {"field": "", "test": "is", "value": ""}


class ConditionsWidget(forms.Widget):
    """Inputs named `<name>-match`, `<name>-zone`, `<name>-0-match`, `<name>-0-1-field`, … -test and … -value."""

    template_name = "admin/integrations/conditions.html"

    def __init__(self, fields: Iterable[str] = FIELDS) -> None:
        super().__init__()
        self.fields = list(fields)

    class Media:
        js = ("conditions.js",)

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> dict[str, Any]:
        """What was typed, in the shape of what is stored; rows that are wholly empty are left out."""
        groups: dict[int, dict[int, dict[str, str]]] = {}
        for group, row in sorted(_numbers(data, name)):
            found = {part: str(data.get(f"{name}-{group}-{row}-{part}", "")) for part in EMPTY_ROW}
            groups.setdefault(group, {})[row] = found
        return {
            "is_typed": True,
            "match": _one_of(MATCHES, data.get(f"{name}-match")),
            "time_zone": str(data.get(f"{name}-zone") or settings.TIME_ZONE),
            "groups": [
                {"match": _one_of(MATCHES, data.get(f"{name}-{number}-match")), "rows": list(rows.values())}
                for number, rows in groups.items()
            ],
        }

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return f"{name}-match" not in data

    def format_value(self, value: Any) -> dict[str, Any]:
        """As shown: values as typed, at least one row, each with what is wrong with it."""
        shown: Mapping[str, Any] = value if isinstance(value, dict) else {}
        is_typed = bool(shown.get("is_typed"))
        groups = [
            {"match": group["match"], "rows": [_shown(row, is_typed=is_typed) for row in group["rows"]]}
            for group in shown.get("groups") or ()
        ]
        return {
            "match": shown.get("match", "all"),
            "time_zone": shown.get("time_zone") or settings.TIME_ZONE,
            "groups": groups or [{"match": "all", "rows": [_shown(EMPTY_ROW, is_typed=False)]}],
        }

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """By the project's templates, which Django's forms do not look for."""
        return render_to_string(self.template_name, self.get_context(name, value, attrs))

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        own = [(known, field) for known, field in FIELDS.items() if known in self.fields]
        other = [(known, field) for known, field in FIELDS.items() if known not in self.fields]
        return super().get_context(name, value, attrs) | {
            "shown": self.format_value(value),
            "empty_row": _shown(EMPTY_ROW, is_typed=False),
            "own_fields": own,
            "other_fields": other,
            "tests": TESTS,
            "without_value": WITHOUT_VALUE,
            "matches": MATCHES,
            "time_zones": conditions.time_zones(),
        }


class ConditionsField(forms.Field):
    """Cleans to what is stored in Mapping.conditions."""

    widget = ConditionsWidget

    def clean(self, value: Any) -> dict[str, Any]:
        typed = value if isinstance(value, dict) else {}
        problems: list[str] = []
        groups = []
        for number, group in enumerate(typed.get("groups", ()), start=1):
            cleaned = [
                _cleaned(row, f"Group {number}, condition {at}", problems)
                for at, row in enumerate(group["rows"], start=1)
                if not _is_empty(row)
            ]
            groups += [{"match": group["match"], "rows": cleaned}] if cleaned else []
        problems += _excess(groups)
        if typed.get("time_zone") and typed["time_zone"] not in conditions.time_zones():
            problems.append("Choose a time zone from the list.")
        if problems:
            raise ValidationError(problems)
        return _stored(typed, groups)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != (initial or {}))
        except ValidationError:
            return True


def _stored(typed: Mapping[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Only what means something: no match of a single group, no time zone where no time is asked for."""
    if not groups:
        return {}
    is_of_time = any(row["field"] in ("weekday", "time") for group in groups for row in group["rows"])
    match = typed.get("match", "all") if len(groups) > 1 else "all"
    zone = {"time_zone": typed.get("time_zone") or settings.TIME_ZONE} if is_of_time else {}
    return {"match": match, "groups": groups, **zone}


def _excess(groups: list[dict[str, Any]]) -> list[str]:
    problems = []
    if len(groups) > conditions.MOST_GROUPS:
        problems.append(f"At most {conditions.MOST_GROUPS} groups.")
    if any(len(group["rows"]) > conditions.MOST_ROWS for group in groups):
        problems.append(f"At most {conditions.MOST_ROWS} conditions in a group.")
    return problems


def _cleaned(row: Mapping[str, str], where: str, problems: list[str]) -> dict[str, Any]:
    try:
        value = conditions.read_value(row["field"], row["test"], row["value"])
    except BadCondition as problem:
        problems.append(f"{where}: {problem}")
        value = None
    return {"field": row["field"], "test": row["test"], "value": value}


def _shown(row: Mapping[str, Any], *, is_typed: bool) -> dict[str, Any]:
    value = str(row["value"]) if is_typed else conditions.shown_value(row["value"])
    problem = ""
    if is_typed and not _is_empty(row):
        try:
            conditions.read_value(row["field"], row["test"], value)
        except BadCondition as found:
            problem = str(found)
    field = FIELDS.get(row["field"])
    return {
        "field": row["field"],
        "test": row["test"],
        "value": value,
        "problem": problem,
        "example": field.example if field else "",
        "needs_no_value": row["test"] in WITHOUT_VALUE,
    }


def _is_empty(row: Mapping[str, Any]) -> bool:
    return not row["field"] and not str(row["value"]).strip()


def _one_of(known: Mapping[str, str], value: Any) -> str:
    return value if value in known else "all"


def _numbers(data: Mapping[str, Any], name: str) -> set[tuple[int, int]]:
    """(group, row) of the rows that were sent."""
    found = set()
    for key in data:
        parts = key.removeprefix(f"{name}-").split("-")
        if key.startswith(f"{name}-") and len(parts) == 3 and parts[2] in EMPTY_ROW and _are_small(parts[:2]):
            found.add((int(parts[0]), int(parts[1])))
    return found


def _are_small(parts: list[str]) -> bool:
    return all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts)


def with_rows(data: QueryDict, name: str = "conditions") -> QueryDict:
    """What was typed, with a row or group more or less, as the pressed button says."""
    changed, pressed = data.copy(), data.get(ROWS, "").split(":")
    numbers = _numbers(data, name)
    if pressed[0] == "remove" and len(pressed) == 3 and _are_small(pressed[1:]):
        for part in EMPTY_ROW:
            changed.pop(f"{name}-{int(pressed[1])}-{int(pressed[2])}-{part}", None)
        if len({group for group, _ in numbers}) == 1 == len(numbers):
            # The last group stays, with what its rows have to do.
            _add(changed, name, int(pressed[1]), 0)
    elif pressed[0] == "add" and len(pressed) == 2 and _are_small(pressed[1:]):
        row = 1 + max((row for group, row in numbers if group == int(pressed[1])), default=-1)
        _add(changed, name, int(pressed[1]), row)
    elif pressed[0] == "group":
        _add(changed, name, 1 + max((group for group, _ in numbers), default=-1), 0)
    return changed


def _add(data: QueryDict, name: str, group: int, row: int) -> None:
    for part, value in EMPTY_ROW.items():
        data[f"{name}-{group}-{row}-{part}"] = value
