"""The part of a mapping's form about cases, requesters and the source context. All defaults work."""

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from integrations.destinations.zendesk.ticket import DEFAULT_CONTEXT
from integrations.domain.templating import TemplateError, check_template

LARGEST_ID = 2**63 - 1
CASES = [
    ("post", "One ticket per post"),
    ("conversation", "One ticket per conversation while it is unsolved"),
    ("author", "One ticket per author within a number of hours, while it is unsolved"),
    ("always", "A new ticket each time the label is applied"),
]
REQUESTERS = [
    ("account", "The user the connection signs in as"),
    ("intake", "One fixed user for all posts (the intake user)"),
    ("author", "A separate user per social author"),
]
CONTEXTS = [
    ("template", "Only what the first comment template includes"),
    ("body", "Below the first comment"),
    ("note", "In a separate internal note"),
]


class CaseFields(forms.Form):
    """Which posts share a ticket, in whose name it is created, where the source context goes."""

    case = forms.ChoiceField(
        label="Grouping",
        choices=CASES,
        initial="post",
        required=False,
        help_text="Later posts of the same case are added as comments. If the case's ticket is closed, a follow-up is "
        "created; if it is solved, a new ticket. The delivery shows what was decided and why.",
    )
    case_hours = forms.IntegerField(
        label="Hours for “per author”",
        min_value=1,
        max_value=24 * 90,
        initial=24,
        required=False,
        help_text="Older tickets of the same author are not reused.",
    )
    requester = forms.ChoiceField(
        label="Requester",
        choices=REQUESTERS,
        initial="account",
        required=False,
        help_text="With a separate user per author, each author is found or created in Zendesk once and remembered (at "
        "most five new users a minute). If that is not possible, the intake user is used and the delivery says so.",
    )
    intake_user = forms.CharField(
        label="Intake user",
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        help_text="A Zendesk user's ID, from the address bar of the user's profile. Also used when an author cannot be "
        "the requester.",
    )
    context = forms.ChoiceField(
        label="Source context",
        choices=CONTEXTS,
        initial="template",
        required=False,
        help_text="Where the link, author, counts and labels go. With a separate note, the first comment can hold just "
        "the customer's words, public or not.",
    )
    context_text = forms.CharField(
        label="Source context text",
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="Supports placeholders, like the first comment. Leave empty for link, author, followers, network, "
        "times, labels, conversation and, if allowed below, agents' notes.",
    )
    forward_notes = forms.BooleanField(
        label="Include agents' notes",
        required=False,
        help_text="Agents' notes on posts in Khoros are internal. {{ notes }} contains them only if this is on.",
    )

    SECTION: ClassVar[tuple[str, str, tuple[str, ...]]] = (
        "Grouping and requester",
        "Which posts share a ticket, and who its requester is.",
        ("case", "case_hours", "requester", "intake_user", "context", "context_text", "forward_notes"),
    )

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "case": "post", "case_hours": 24, "requester": "account", "intake_user": "", "context": "template",
        "context_text": "", "forward_notes": False,
    }  # fmt: skip

    @classmethod
    def without_defaults(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if cls.DEFAULTS.get(name, ...) != value}

    @classmethod
    def sections(cls) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        return (cls.SECTION,)

    def clean_case(self) -> str:
        return str(self.cleaned_data["case"] or "post")

    def clean_case_hours(self) -> int:
        return int(self.cleaned_data["case_hours"] or 24)

    def clean_requester(self) -> str:
        return str(self.cleaned_data["requester"] or "account")

    def clean_context(self) -> str:
        return str(self.cleaned_data["context"] or "template")

    def clean_intake_user(self) -> str:
        number: str = self.cleaned_data["intake_user"].strip()
        if number and not (number.isascii() and number.isdigit() and 0 < int(number) <= LARGEST_ID):
            raise ValidationError(f"“{number}” is not a Zendesk ID. Enter digits only.")
        if not number and self.cleaned_data.get("requester") == "intake":
            raise ValidationError("Enter the intake user's ID, or choose another requester above.")
        return number

    def clean_context_text(self) -> str:
        text: str = self.cleaned_data["context_text"].replace("\r\n", "\n")
        try:
            check_template(text)
        except TemplateError as error:
            raise ValidationError(str(error)) from None
        return "" if text.strip() == DEFAULT_CONTEXT.strip() else text
