"""The mapping's form with the account's lists: choices by name that store numbers, an input for each custom field.

Built from the lists of destinations.zendesk.schema. What is stored and no longer offered stays selectable, so that
opening and saving a mapping changes nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from integrations.destinations.zendesk.custom_fields import can_be_checked, is_literal, why_unfit
from integrations.destinations.zendesk.forms import ZendeskMappingForm, checked_template, field_text
from integrations.destinations.zendesk.names import LIST_OF, entry_of

NOT_THERE = "{} (not in Zendesk's lists)"
LABELS = {
    "group_id": ("Group", "Zendesk default"),
    "assignee_id": ("Assignee", "Zendesk default"),
    "brand_id": ("Brand", "Zendesk default"),
    "ticket_form_id": ("Form", "Zendesk default"),
    "custom_status_id": ("Custom status", "None - use the status above"),
}
# The list of fields includes the ticket's own fields; these have inputs of their own, or none.
SYSTEM_TYPES = {
    "subject", "description", "status", "tickettype", "priority", "basic_priority", "group", "assignee",
    "custom_status",
}  # fmt: skip
YES_OR_NO = [("", "Leave unset"), ("true", "Yes"), ("false", "No")]


def mapping_form_for(lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type[ZendeskMappingForm]:
    """The form with inputs for what was read; the plain one where nothing was."""
    choices = {
        name: choice_field(name, lists, str(stored.get(name) or ""))
        for name, list_name in LIST_OF.items()
        if list_name in lists or (name == "custom_status_id" and stored.get(name))
    }
    own_inputs = custom_inputs(lists, stored) if "fields" in lists else {}
    if not choices and not own_inputs:
        return ZendeskMappingForm
    inputs: dict[str, Any] = choices | own_inputs
    if own_inputs:
        inputs["custom_fields"] = further_fields()
    title = ("Custom fields", "Empty fields are not sent.", (*own_inputs, "custom_fields"))
    more = {"known": lists, "FOLDED": (title,) if own_inputs else ()}
    return type("ZendeskMappingFormWithLists", (FormWithLists,), inputs | more)


class FormWithLists(ZendeskMappingForm):
    """Custom fields with an input are stored with their type, so that misfits can be detected later."""

    known: ClassVar[Mapping[str, Any]]

    @classmethod
    def initial_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        entries = settings.get("custom_fields") or []
        own = {
            input_name(entry["id"]): entry["value"] for entry in entries if input_name(entry["id"]) in cls.base_fields
        }
        rest = [entry for entry in entries if input_name(entry["id"]) not in cls.base_fields]
        shown = super().initial_of(settings | {"custom_fields": rest})
        return shown | {name: _shown(cls.base_fields[name], value) for name, value in own.items()}

    @classmethod
    def settings_of(cls, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        names = [name for name in cls.base_fields if name.startswith(INPUT_PREFIX)]
        settings = {name: cleaned[name] for name in cls.base_fields if name not in names}
        own = {name: cleaned[name] for name in names if cleaned.get(name) not in ("", None, [])}
        entries = [entry for entry in cleaned.get("custom_fields") or [] if input_name(entry["id"]) not in own]
        entries += [{"id": int(name.removeprefix(INPUT_PREFIX)), "value": value} for name, value in own.items()]
        return settings | {"custom_fields": [cls._typed(entry) for entry in entries]}

    @classmethod
    def _typed(cls, entry: dict[str, Any]) -> dict[str, Any]:
        field = entry_of(cls.known, "fields", entry["id"])
        if field is None or not field["type"]:
            return entry
        return entry | {"type": field["type"]} | ({"regexp": field["regexp"]} if field["regexp"] else {})

    def clean_custom_fields(self) -> list[dict[str, Any]]:
        """Further fields by number, and inputs of a page that was rendered with other lists: nothing is lost.

        A page opened before the lists were read has no such inputs yet: its lines are taken as they are.
        """
        entries = super().clean_custom_fields()
        for entry in entries:
            name = input_name(entry["id"])
            if name in self.fields and name in self.data:
                title = self.fields[name].label
                raise ValidationError(f"Field {entry['id']} has its own input, “{title}”. Use that one.")
        numbers = {entry["id"] for entry in entries}
        return entries + [entry for entry in self._of_other_lists() if entry["id"] not in numbers]

    def _of_other_lists(self) -> list[dict[str, Any]]:
        names = [name for name in self.data if name.startswith(INPUT_PREFIX) and name not in self.fields]
        entries = []
        for name in names:
            number, values = name.removeprefix(INPUT_PREFIX), [value for value in _all_of(self.data, name) if value]
            if number.isascii() and number.isdigit() and len(number) < 19 and values:
                value = checked_template(values[0]) if len(values) == 1 else [checked_template(each) for each in values]
                entries.append({"id": int(number), "value": value})
        return entries


def _all_of(data: Any, name: str) -> list[str]:
    return list(data.getlist(name)) if hasattr(data, "getlist") else [str(data[name])]


INPUT_PREFIX = "field_"


def input_name(number: Any) -> str:
    return f"{INPUT_PREFIX}{number}"


def _shown(field: forms.Field, value: Any) -> Any:
    """A stored value as its input expects it: it may have been entered into another kind of input."""
    if isinstance(field, forms.MultipleChoiceField):
        return value if isinstance(value, list) else [str(value)]
    return field_text(value)


# --- Choices ---------------------------------------------------------------------------------------------------------


def choice_field(name: str, lists: Mapping[str, Any], stored: str) -> forms.ChoiceField:
    label, nothing = LABELS[name]
    entries = lists.get(LIST_OF[name]) or []
    help_texts = {
        "custom_status_id": "Overrides the status above.",
        "assignee_id": "Must be a member of the group.",
    }
    return forms.ChoiceField(
        label=label,
        required=False,
        choices=[("", nothing), *_choices(entries, stored)],
        help_text=help_texts.get(name, ""),
        error_messages=REFUSED,
    )


REFUSED = {"invalid_choice": "“%(value)s” is no longer in Zendesk's lists. Choose another one."}


def _choices(entries: list[dict[str, Any]], stored: str) -> list[tuple[str, str]]:
    offered = [entry for entry in entries if _is_usable(entry) or str(entry["id"]) == stored]
    names = [entry["name"].casefold() for entry in offered]
    choices = [
        (str(entry["id"]), _choice_text(entry, is_twice=names.count(entry["name"].casefold()) > 1))
        for entry in sorted(offered, key=lambda entry: entry["name"].casefold())
    ]
    is_there = not stored or any(number == stored for number, _ in choices)
    return choices if is_there else [(stored, NOT_THERE.format(stored)), *choices]


def _is_usable(entry: Mapping[str, Any]) -> bool:
    return entry.get("active") is not False and not entry.get("suspended")


def _choice_text(entry: Mapping[str, Any], *, is_twice: bool) -> str:
    remarks = [
        f"ID {entry['id']}" if is_twice else "",
        str(entry.get("category") or ""),
        "" if entry.get("active") is not False else "inactive",
        "suspended" if entry.get("suspended") else "",
    ]
    note = ", ".join(filter(None, remarks))
    return f"{entry['name']} ({note})" if note else str(entry["name"])


# --- Custom fields ---------------------------------------------------------------------------------------------------


def custom_inputs(lists: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, forms.Field]:
    """An input for each active custom field: filled-in ones first, then by title."""
    values = {entry["id"]: entry["value"] for entry in stored.get("custom_fields") or []}
    fields = [
        field
        for field in lists["fields"]
        if field["type"] not in SYSTEM_TYPES and (field["active"] or field["id"] in values)
    ]
    fields.sort(key=lambda field: (field["id"] not in values, field["title"].casefold(), field["id"]))
    return {input_name(field["id"]): custom_input(field, values.get(field["id"])) for field in fields}


def custom_input(field: Mapping[str, Any], stored: Any) -> forms.Field:
    kind, help_text = field["type"], HELP.get(field["type"], "Text. Supports placeholders.")
    if not field["active"]:
        help_text = f"Inactive in Zendesk, so the value is ignored. {help_text}"
    shared = {"label": field["title"], "required": False}
    if kind == "tagger":
        choices = [("", "Leave unset"), *_options(field, [stored] if stored not in (None, "") else [])]
        return forms.ChoiceField(**shared, choices=choices, help_text=help_text, error_messages=REFUSED)
    if kind == "multiselect":
        chosen = stored if isinstance(stored, list) else [stored] if stored not in (None, "") else []
        return forms.MultipleChoiceField(
            **shared,
            choices=_options(field, chosen),
            help_text=help_text,
            widget=forms.CheckboxSelectMultiple,
            error_messages=REFUSED,
        )
    if kind == "checkbox":
        odd = [stored] if stored not in (None, "", True, False, "true", "false") else []
        choices = [*YES_OR_NO, *((str(each), str(each)) for each in odd)]
        return YesOrNo(**shared, choices=choices, help_text=help_text, error_messages=REFUSED)
    return TemplateField(**shared, kind=kind, regexp=field["regexp"], help_text=help_text)


HELP = {
    "tagger": "One of the field's options.",
    "multiselect": "Any of the field's options.",
    "checkbox": "",
    "integer": "A whole number or a placeholder such as {{ followers }}. Anything else is not sent.",
    "decimal": "A number such as 12.5, or a placeholder. Anything else is not sent.",
    "date": "A date such as 2026-04-16, or {{ posted_at|date:%Y-%m-%d }}. Anything else is not sent.",
    "lookup": "The record's ID. Supports placeholders.",
}


def _options(field: Mapping[str, Any], chosen: Iterable[Any]) -> list[tuple[str, str]]:
    offered = [(option["value"], option["name"]) for option in field["options"]]
    there = {value for value, _ in offered}
    others = [str(each) for each in chosen if each not in there]
    kept = [(each, NOT_THERE.format(each) if is_literal(each) else f"{each} (as entered)") for each in others]
    return [*kept, *offered]


class YesOrNo(forms.ChoiceField):
    """A checkbox that may also be left alone: true, false, or nothing."""

    def clean(self, value: Any) -> Any:
        chosen = super().clean(value)
        return {"true": True, "false": False}.get(chosen, chosen)


class TemplateField(forms.CharField):
    """A text that may hold placeholders. Where it holds none, it is checked to fit the field's type now."""

    def __init__(self, *, kind: str, regexp: str, help_text: str, **more: Any) -> None:
        self.kind, self.regexp = kind, regexp
        if kind == "regexp" and regexp:
            checked = "" if can_be_checked(regexp) else " Casebridge cannot check this expression; Zendesk does."
            help_text = f"Must match the field's regular expression {regexp}.{checked} Supports placeholders."
        widget = forms.Textarea(attrs={"rows": 3}) if kind == "textarea" else forms.TextInput()
        super().__init__(max_length=5_000, widget=widget, help_text=help_text, **more)

    def clean(self, value: Any) -> str:
        text = checked_template(super().clean(value).replace("\r\n", "\n"))
        if text and is_literal(text) and (why := why_unfit(text, self.kind, self.regexp)):
            raise ValidationError(f"{why[0].upper()}{why[1:]}.")
        return text


def further_fields() -> forms.CharField:
    return forms.CharField(
        label="Further custom fields",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Only for fields that are not listed above. One per line, as field ID = value, for example "
        "360001234567 = {{ author }}.",
    )
