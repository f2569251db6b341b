"""The form field "addresses by condition": rows of a condition and the addresses that get a post if it applies."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from integrations.destinations.email.addresses import read_addresses
from integrations.domain.conditions import FIELDS, TESTS, BadCondition, read_value, shown_value

PARTS = ("field", "test", "value", "to")
SPARE_ROWS, MOST_ROWS = 2, 30
# Whether an author was seen before is not known here.
NOT_KNOWN = ("seen", "seen_not")
OFFERED = {name: test for name, test in TESTS.items() if name not in NOT_KNOWN}


class RoutesWidget(forms.Widget):
    """Inputs named `<name>-0-field`, … -test, … -value and … -to."""

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[dict[str, str]]:
        """What was typed; rows that are wholly empty are left out."""
        rows = [
            {part: str(data.get(f"{name}-{number}-{part}", "")).strip() for part in PARTS}
            for number in range(MOST_ROWS + SPARE_ROWS)
        ]
        return [row | {"test": row["test"] or "is"} for row in rows if row["field"] or row["value"] or row["to"]]

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return f"{name}-0-field" not in data

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """By the project's templates, which Django's forms do not look for."""
        rows = [_shown(row) for row in value or []]
        spare = min(SPARE_ROWS, MOST_ROWS - len(rows))
        context = {
            "name": name,
            "rows": rows + [dict.fromkeys(PARTS, "")] * spare,
            "fields": FIELDS,
            "tests": OFFERED,
        }
        return render_to_string("admin/integrations/routes.html", context)


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    """A stored row as it is typed; one that was typed as it is."""
    addresses = row["to"]
    return {
        "field": str(row["field"]),
        "test": str(row["test"]),
        "value": row["value"] if isinstance(row["value"], str) else shown_value(row["value"]),
        "to": addresses if isinstance(addresses, str) else ", ".join(addresses),
    }


class RoutesField(forms.Field):
    widget = RoutesWidget

    def clean(self, value: Any) -> list[dict[str, Any]]:
        found, problems = [], []
        for number, row in enumerate(value or [], start=1):
            try:
                found.append(_read(row))
            except (BadCondition, ValidationError) as problem:
                sentence = problem.messages[0] if isinstance(problem, ValidationError) else str(problem)
                problems.append(f"Row {number}: {sentence}")
        if problems:
            raise ValidationError(problems)
        return found


def _read(row: Mapping[str, str]) -> dict[str, Any]:
    if row["test"] in NOT_KNOWN:
        raise BadCondition("Choose another comparison.")
    value = read_value(row["field"], row["test"], row["value"])
    to = read_addresses(row["to"])
    if not to:
        raise ValidationError("Enter the address that gets the post.")
    return {"field": row["field"], "test": row["test"], "value": value, "to": to}
