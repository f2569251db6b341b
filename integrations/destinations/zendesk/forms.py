"""What staff fill in for a Zendesk connection and for a mapping to it. Cleaned values are plain JSON."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from integrations.destinations.base import ConnectionFields, MappingFields, SecretField, checked_address
from integrations.destinations.zendesk.case_fields import CaseFields
from integrations.destinations.zendesk.oauth import DEFAULT_SCOPES, LONGEST_SCOPE
from integrations.destinations.zendesk.ticket import DEFAULT_COMMENT, DEFAULT_SUBJECT, LONGEST_TAG
from integrations.domain.templating import PLACEHOLDER, TemplateError, check_template

LARGEST_ID = 2**63 - 1
EXAMPLE_ADDRESS = "https://example.zendesk.com"
SIGN_IN_CHOICES = [
    ("oauth_client", "OAuth client credentials (recommended)"),
    ("oauth_code", "OAuth with consent (authorization code)"),
    ("api_token", "Email address and API token (ends on 30 April 2027)"),
]
SCOPE_WORD = re.compile(r"[a-z][a-z_]*(:[a-z_]+)?")


class ZendeskConnectionForm(ConnectionFields):
    """The account's address and how to sign in. Secrets are write-only: an empty field keeps the stored one."""

    address = forms.CharField(
        label="Zendesk address",
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": EXAMPLE_ADDRESS}),
        help_text=f"Where your agents open Zendesk, for example {EXAMPLE_ADDRESS}.",
    )
    sign_in = forms.ChoiceField(
        label="Sign in with",
        choices=SIGN_IN_CHOICES,
        initial="oauth_client",
        help_text="Client credentials only need the client's ID and secret. With consent, someone signs in to Zendesk "
        "once and tickets are created in that person's name. API tokens: Zendesk no longer issues new ones, and all "
        "existing ones stop working on 30 April 2027.",
    )
    client_id = forms.CharField(
        label="OAuth client ID",
        max_length=200,
        required=False,
        help_text="The unique identifier, in Zendesk Admin Center under Apps and integrations, APIs, OAuth clients.",
    )
    client_secret = SecretField(label="OAuth client secret")
    scopes = forms.CharField(
        label="OAuth scopes",
        required=False,
        max_length=LONGEST_SCOPE,
        initial=DEFAULT_SCOPES,
        help_text="Separated by spaces, usually read write. Choosing groups, forms and fields by name requires read. "
        "Tickets in the author's own name (user identities) require the broad read and write.",
    )
    email = forms.EmailField(
        label="Email address",
        required=False,
        help_text="The agent in whose name tickets are created (API token only).",
    )
    api_token = SecretField(label="API token")

    ASSUMED = {"scopes": DEFAULT_SCOPES}
    SHOWN_WITH = {
        **dict.fromkeys(("client_id", "client_secret", "scopes"), ("sign_in", ("oauth_client", "oauth_code"))),
        **dict.fromkeys(("email", "api_token"), ("sign_in", ("api_token",))),
    }
    NEEDED = {
        "oauth_client": ("client_id", "client_secret"),
        "oauth_code": ("client_id", "client_secret"),
        "api_token": ("email", "api_token"),
    }

    def clean_address(self) -> str:
        return checked_address(self.cleaned_data["address"], EXAMPLE_ADDRESS)

    def clean_scopes(self) -> str:
        return checked_scopes(self.cleaned_data["scopes"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        way = cleaned.get("sign_in", "")
        for name in self.NEEDED.get(way, ()):
            if not cleaned.get(name) and name not in self.stored_secrets and name not in self.errors:
                self.add_error(name, f"Required to sign in with “{dict(SIGN_IN_CHOICES)[way]}”.")
        return cleaned


class ZendeskMigrationForm(forms.Form):
    """The OAuth client that takes the API token's place."""

    client_id = forms.CharField(
        label="Unique identifier", max_length=200, help_text="The OAuth client's identifier, as shown in Zendesk."
    )
    client_secret = forms.CharField(
        label="Secret",
        max_length=2000,
        widget=forms.PasswordInput,
        help_text="Zendesk shows the full secret only once. It is stored encrypted, and only if the test passes.",
    )
    scopes = forms.CharField(
        label="OAuth scopes", max_length=LONGEST_SCOPE, initial=DEFAULT_SCOPES, help_text="Usually read write."
    )

    def clean_scopes(self) -> str:
        return checked_scopes(self.cleaned_data["scopes"])


def checked_scopes(raw: str) -> str:
    """Scopes separated by single spaces, the usual ones where none are given. Raises ValidationError."""
    scopes = raw.replace(",", " ").split()
    for word in scopes:
        if not SCOPE_WORD.fullmatch(word):
            raise ValidationError(f"“{word}” is not a valid scope. Scopes look like read, write or tickets:write.")
    return " ".join(dict.fromkeys(scopes)) or DEFAULT_SCOPES


def _number_field(label: str, where: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        help_text=f"Its ID, from the address bar of {where}. Leave empty to use the Zendesk default.",
    )


def _choice_field(label: str, names: tuple[str, ...]) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        required=False,
        choices=[("", "Zendesk default"), *((name, name.capitalize()) for name in names)],
    )


class ZendeskMappingForm(CaseFields, MappingFields):
    """What the ticket looks like. Templates are checked here, so that no post runs into a broken one."""

    HEADLINE = "subject"

    subject = forms.CharField(
        label="Subject",
        initial=DEFAULT_SUBJECT,
        max_length=1000,
        help_text="Supports placeholders. Limited to 150 characters.",
    )
    comment = forms.CharField(
        label="First comment",
        initial=DEFAULT_COMMENT,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12}),
        # Filled in for the event that the mapping is for.
        help_text="Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}. Lines whose placeholders are all empty are left "
        "out.",
    )
    comment_public = forms.BooleanField(
        label="Public first comment",
        required=False,
        help_text="On: Zendesk may email the comment to the requester. Off: an internal note, visible to agents only.",
    )
    priority = _choice_field("Priority", ("urgent", "high", "normal", "low"))
    type = _choice_field("Type", ("problem", "incident", "question", "task"))
    status = _choice_field("Status", ("new", "open", "pending", "hold", "solved"))
    tags = forms.CharField(
        label="Tags",
        required=False,
        max_length=2000,
        help_text="Separated by commas. Tags cannot contain spaces. For example: social_care, {{ network }}.",
    )
    group_id = _number_field("Group", "the group's page in Zendesk Admin Center")
    assignee_id = _number_field("Assignee", "the agent's profile in Zendesk")
    ticket_form_id = _number_field("Form", "the ticket form's page in Zendesk Admin Center")
    brand_id = _number_field("Brand", "the brand's page in Zendesk Admin Center")
    custom_fields = forms.CharField(
        label="Custom fields",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One per line, as field ID = value, for example 360001234567 = {{ author }}. For drop-downs enter "
        "the option's tag, for checkboxes true or false, for multi-selects [first, second].",
    )

    def clean_subject(self) -> str:
        return checked_template(self.cleaned_data["subject"])

    def clean_comment(self) -> str:
        return checked_template(self.cleaned_data["comment"].replace("\r\n", "\n"))

    def clean_tags(self) -> list[str]:
        return [_tag(raw) for raw in self.cleaned_data["tags"].split(",") if raw.strip()]

    def clean_group_id(self) -> str:
        return identifier(self.cleaned_data["group_id"])

    def clean_assignee_id(self) -> str:
        return identifier(self.cleaned_data["assignee_id"])

    def clean_ticket_form_id(self) -> str:
        return identifier(self.cleaned_data["ticket_form_id"])

    def clean_brand_id(self) -> str:
        return identifier(self.cleaned_data["brand_id"])

    def clean_custom_fields(self) -> list[dict[str, Any]]:
        lines = [line for line in self.cleaned_data["custom_fields"].splitlines() if line.strip()]
        return [_custom_field(line) for line in lines]

    @classmethod
    def initial_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Stored settings as the form shows them."""
        shown = dict(settings)
        shown["tags"] = ", ".join(settings.get("tags") or [])
        shown["custom_fields"] = "\n".join(
            f"{entry['id']} = {field_text(entry['value'])}" for entry in settings.get("custom_fields") or []
        )
        return shown


def checked_template(template: str) -> str:
    try:
        check_template(template)
    except TemplateError as error:
        raise ValidationError(str(error)) from None
    return template


def _tag(raw: str) -> str:
    tag = checked_template(raw.strip())
    literal = PLACEHOLDER.sub("", tag)
    if re.search(r"[^\w\-/.]", literal):
        raise ValidationError(
            f"“{tag}” is not a valid tag. Use letters, digits, _ - / and . without spaces, for example social_care."
        )
    if len(literal) > LONGEST_TAG:
        raise ValidationError(f"“{tag[:40]}…” is too long. Tags can have at most {LONGEST_TAG} characters.")
    return tag if PLACEHOLDER.search(tag) else tag.lower()


def identifier(raw: str) -> str:
    number = raw.strip()
    if number and not (number.isascii() and number.isdigit() and 0 < int(number) <= LARGEST_ID):
        raise ValidationError(f"“{number}” is not a Zendesk ID. Enter digits only.")
    return number


def _custom_field(line: str) -> dict[str, Any]:
    number, equals, value = line.partition("=")
    if not equals:
        raise ValidationError(f"“{line.strip()}” has no equals sign. Write field ID = value.")
    if not number.strip():
        raise ValidationError(f"“{line.strip()}” needs the custom field's ID before the equals sign.")
    return {"id": int(identifier(number)), "value": _field_value(value.strip())}


def _field_value(raw: str) -> Any:
    if raw in ("true", "false"):
        return raw == "true"
    if raw.startswith("[") and raw.endswith("]"):
        return [checked_template(item.strip()) for item in raw[1:-1].split(",") if item.strip()]
    return checked_template(raw)


def field_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)
