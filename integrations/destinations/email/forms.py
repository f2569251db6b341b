"""What staff fill in for an e-mail connection and for a mapping to it."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from integrations.destinations.base import ConnectionFields, MappingFields, SecretField, TemplateField
from integrations.destinations.email.addresses import read_address, read_addresses
from integrations.destinations.email.message import DEFAULT_SUBJECT, DEFAULT_TEXT
from integrations.destinations.email.routes import RoutesField
from integrations.domain.conditions import time_zones
from integrations.infra.http.addresses import AddressRefused, checked_origin
from integrations.infra.smtp import PLAIN, PORTS, STARTTLS, TLS, portal_server

SERVERS = [("portal", "The portal's mail server (EMAIL_URL)"), ("own", "A mail server of its own")]
SECURITY = [
    (STARTTLS, "STARTTLS, usually port 587"),
    (TLS, "TLS from the beginning, usually port 465"),
    (PLAIN, "None, usually port 25: for a relay that asks for no sign-in"),
]
HOST = re.compile(r"[A-Za-z0-9.-]{1,250}|\[?[0-9a-fA-F:]{2,45}\]?")


def origin_of(settings: Mapping[str, Any]) -> str:
    """The server as smtp+tls://mail.example.com:587; "" where the portal's is meant and there is none."""
    if settings.get("server") != "own":
        known = portal_server()
        return known[0] if known else ""
    host, security = str(settings.get("host") or ""), str(settings.get("security") or STARTTLS)
    shown = f"[{host}]" if ":" in host else host
    return f"{security}://{shown}:{settings.get('port') or PORTS[security]}" if host else ""


class EmailConnectionForm(ConnectionFields):
    """Who sends, and by which server."""

    sender = forms.CharField(
        label="Sender",
        max_length=200,
        help_text="The address that mails come from, like casebridge@example.com. The server has to allow it.",
    )
    sender_name = forms.CharField(label="Sender's name", max_length=100, required=False, initial="Casebridge")
    server = forms.ChoiceField(
        label="Sent by",
        choices=SERVERS,
        initial="portal",
        help_text="With a server of its own, fill in what follows.",
    )
    host = forms.CharField(label="Server", max_length=250, required=False, help_text="Like smtp.example.com.")
    security = forms.ChoiceField(label="Encryption", choices=SECURITY, initial=STARTTLS, required=False)
    port = forms.IntegerField(
        label="Port", min_value=1, max_value=65535, required=False, help_text="Leave empty for the usual one."
    )
    user = forms.CharField(label="User", max_length=250, required=False)
    password = SecretField(label="Password", max_length=1000, is_chosen=True)

    ASSUMED = {"security": STARTTLS}
    SHOWN_WITH = dict.fromkeys(("host", "security", "port", "user", "password"), ("server", ("own",)))

    def clean_sender(self) -> str:
        return read_address(self.cleaned_data["sender"])

    def clean_host(self) -> str:
        host: str = self.cleaned_data["host"].strip()
        if not host:
            return ""
        if not HOST.fullmatch(host):
            raise ValidationError("Enter the server's name alone, like smtp.example.com.")
        try:
            checked_origin(
                f"https://{f'[{host}]' if ':' in host and host[0] != '[' else host}", example="smtp.example.com"
            )
        except AddressRefused as refused:
            raise ValidationError(str(refused)) from None
        return host.strip("[]")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("server") == "portal":
            if portal_server() is None:
                self.add_error(
                    "server",
                    "The portal has no mail server: the variable EMAIL_URL is not set. Whoever runs Casebridge sets "
                    "it, or choose a server of its own.",
                )
            return cleaned
        if not cleaned.get("host") and "host" not in self.errors:
            self.add_error("host", "Required for a server of its own.")
        has_password = bool(cleaned.get("password")) or "password" in self.stored_secrets
        if cleaned.get("user") and not has_password and "password" not in self.errors:
            self.add_error("password", "Required with a user.")
        for name in ("user", "password"):
            if not str(cleaned.get(name) or "").isascii():
                self.add_error(name, "Mail servers take letters without accents, digits and signs here.")
        if cleaned.get("user") and cleaned.get("security") == PLAIN:
            self.add_error("security", "A password is not sent in the clear: choose STARTTLS or TLS, or no user.")
        return cleaned


CASES = {
    "post": "Each post is a mail of its own",
    "conversation": "Posts of one conversation are one thread",
    "author": "Posts of one author are one thread",
}


class AddressesField(forms.CharField):
    """Addresses separated by commas or line breaks; stored as a list."""

    def clean(self, value: Any) -> Any:
        return read_addresses(super().clean(value))

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


class EmailMappingForm(MappingFields):
    HEADLINE = "subject"
    FOLDED = (
        (
            "Other addresses by condition",
            "The first that applies is taken instead of the addresses above.",
            ("routes", "time_zone"),
        ),
        ("Threads, replies and bursts", "", ("case", "case_hours", "reply_to", "gathers_over")),
    )
    to = AddressesField(
        label="To",
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="One or more addresses, separated by commas or line breaks. All of them see each other.",
    )
    subject = TemplateField(
        label="Subject",
        initial=DEFAULT_SUBJECT,
        max_length=1000,
        help_text="At most 200 characters are sent.",
    )
    text = TemplateField(
        label="Text",
        initial=DEFAULT_TEXT,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Sent as plain text and as HTML. Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}.",
    )
    adds_link = forms.BooleanField(label="Link to the post", required=False, initial=True)
    routes = RoutesField(
        label="Addresses by condition",
        required=False,
        help_text="Rows are tried from top to bottom. Several values or addresses are separated by commas. For more "
        "rows, save and come back.",
    )
    time_zone = forms.ChoiceField(
        label="Time zone of weekdays and times",
        choices=[(name, name) for name in time_zones()],
        initial="UTC",
        required=False,
    )
    case = forms.ChoiceField(label="Threads", choices=list(CASES.items()), required=False)
    case_hours = forms.IntegerField(
        label="Hours for “one author”",
        initial=24,
        min_value=1,
        max_value=720,
        required=False,
        help_text="After this many hours without a post, the author's next one begins a thread of its own.",
    )
    reply_to = forms.CharField(
        label="Replies go to",
        required=False,
        max_length=250,
        help_text="An address, like care@example.com. Leave empty for the sender's.",
    )
    gathers_over = forms.IntegerField(
        label="Count bursts of more than",
        initial=20,
        min_value=1,
        max_value=1000,
        required=False,
        help_text="Posts a minute. Posts above this are combined into one mail at the beginning and one at the end, "
        "which count and link them. Leave empty for a mail each.",
    )

    @classmethod
    def initial_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """What is not stored is off, whatever a new mapping begins with."""
        return {"gathers_over": None} | settings

    def clean_reply_to(self) -> str:
        typed: str = self.cleaned_data["reply_to"].strip()
        return read_address(typed) if typed else ""
