"""The part of a mapping's form about cases, requesters and the source context. Everything may be left as it is."""

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from integrations.destinations.zendesk.ticket import DEFAULT_CONTEXT
from integrations.domain.templating import TemplateError, check_template

LARGEST_ID = 2**63 - 1
CASES = [
    ("post", "One ticket for each post"),
    ("conversation", "One ticket for each conversation while it is unsolved"),
    ("author", "One ticket for each author within some hours, while it is unsolved"),
    ("always", "A new ticket each time the label is applied"),
]
REQUESTERS = [
    ("account", "Whoever the connection signs in as"),
    ("intake", "One fixed user for all posts (the intake user)"),
    ("author", "A user for each social author"),
]
CONTEXTS = [
    ("template", "Only as the first comment's own text says"),
    ("body", "Below the first comment's text"),
    ("note", "As an internal note of its own"),
]


class CaseFields(forms.Form):
    """Which posts share a ticket, in whose name it is made, where the source context goes."""

    case = forms.ChoiceField(
        label="One case, one ticket",
        choices=CASES,
        initial="post",
        required=False,
        help_text="A further post of a case is added as a comment; when the case's ticket is closed, a follow-up is "
        "made; when it is solved, a new ticket. The delivery says what was decided and why.",
    )
    case_hours = forms.IntegerField(
        label="Hours for “each author”",
        min_value=1,
        max_value=24 * 90,
        initial=24,
        required=False,
        help_text="A ticket of the same author that is older than this does not count.",
    )
    requester = forms.ChoiceField(
        label="Requester",
        choices=REQUESTERS,
        initial="account",
        required=False,
        help_text="A user for each author is looked up or made in Zendesk once and remembered (five new ones a minute "
        "at most). Where the author cannot be one, the intake user stands in, and the delivery says so.",
    )
    intake_user = forms.CharField(
        label="Intake user",
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        help_text="The number of a user in Zendesk, from the address bar of the user's profile. Stands in for authors "
        "too.",
    )
    context = forms.ChoiceField(
        label="Source context",
        choices=CONTEXTS,
        initial="template",
        required=False,
        help_text="Where the link, the author, counts and labels go. With a note of its own the first comment can hold "
        "the customer's words alone, public or not.",
    )
    context_text = forms.CharField(
        label="Text of the context",
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="With placeholders, like the first comment. Empty: link, author, followers, network, times, labels, "
        "conversation, and agents' notes where they may leave.",
    )
    forward_notes = forms.BooleanField(
        label="Agents' notes may leave Khoros",
        required=False,
        help_text="Notes on posts are internal words. Only when this is on does {{ notes }} hold them.",
    )

    SECTION: ClassVar[tuple[str, str, tuple[str, ...]]] = (
        "Case and requester",
        "Which posts share a ticket, and in whose name it is made.",
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
            raise ValidationError(f"“{number}” is not a Zendesk number: it has digits only.")
        if not number and self.cleaned_data.get("requester") == "intake":
            raise ValidationError("Enter the number of the intake user, or choose another requester above.")
        return number

    def clean_context_text(self) -> str:
        text: str = self.cleaned_data["context_text"].replace("\r\n", "\n")
        try:
            check_template(text)
        except TemplateError as error:
            raise ValidationError(str(error)) from None
        return "" if text.strip() == DEFAULT_CONTEXT.strip() else text
