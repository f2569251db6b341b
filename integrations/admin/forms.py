"""What staff fill in for each kind of configuration. Wrong input is refused here, beside its field.

A form for a connection or a mapping combines the part that every kind shares with the destination's own. Nothing here
calls out or queues: the admin does that after the transaction.
"""

import copy
import json
import re
from collections.abc import Mapping as Mapping_
from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.html import format_html

from integrations.admin.conditions import ConditionsField
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import NAMES, MappingFields, SecretField, check_token
from integrations.destinations.capabilities import OffersLists
from integrations.domain.conditions import fields_of
from integrations.domain.expressions import BadExpression, compile_expression
from integrations.domain.post import LABEL_APPLIED
from integrations.domain.templating import FILTERS
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.infra.http.addresses import origin_of
from integrations.intake import replace_bearer_token
from integrations.models import Company, Connection, Mapping, Subscription
from integrations.models.configuration import new_bearer_token
from integrations.sources.khoros.token import expiry
from integrations.sources.kinds import OF_ALL
from integrations.sources.registry import kind_of

SHORTEST_BEARER_TOKEN = 16
# Further back than a few thousand years there is no date to compare with.
LONGEST_TIMES = {"silence_hours": 8784, "ticket_target_minutes": 527_040, "solve_target_minutes": 527_040}
KEEP = "Leave empty to keep the stored value."
ADDRESS_CHANGED = (
    "The address changed, so enter this again: a stored secret is only sent to the address it was entered for."
)


FILTER_HELP = "; ".join(f"|{name} {description}" for name, (_, _, description) in FILTERS.items())


class CompanyForm(forms.ModelForm):
    new_api_token = forms.CharField(
        label="API token",
        required=False,
        max_length=10_000,
        validators=[check_token],
        widget=forms.PasswordInput,
        help_text=f"In Khoros Marketing: Profile Settings, API Access Token. Valid for two years. {KEEP}",
    )
    new_client_secret = forms.CharField(
        label="Client secret",
        required=False,
        max_length=1000,
        validators=[check_token],
        widget=forms.PasswordInput,
        help_text=KEEP,
    )

    class Meta:
        model = Company
        fields = ("name", "company_id", "api_version", "initiatives", "oauth_client_id")

    def clean_oauth_client_id(self) -> str:
        return str(self.cleaned_data["oauth_client_id"]).strip()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        has_client = bool(cleaned.get("oauth_client_id"))
        is_other_client = cleaned.get("oauth_client_id") != self.instance.oauth_client_id
        stored = "" if is_other_client else self.instance.oauth_client_secret
        if has_client and not cleaned.get("new_client_secret") and not stored:
            self.add_error("new_client_secret", "Enter the secret that belongs to this client ID.")
        has_token = cleaned.get("new_api_token") or self.instance.api_token
        if not has_client and not has_token and "new_api_token" not in self.errors:
            self.add_error(
                "new_api_token", "Enter the API token, or a client ID. Subscriptions cannot be registered without."
            )
        return cleaned

    def clean_initiatives(self) -> str:
        numbers = [part.strip() for part in self.cleaned_data["initiatives"].split(",") if part.strip()]
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise ValidationError("Enter numbers separated by commas, for example 5, 17.")
        return ", ".join(numbers)

    def clean_company_id(self) -> str:
        company_id: str = self.cleaned_data["company_id"].strip()
        if not (company_id.isascii() and company_id.isdigit()):
            raise ValidationError("Enter digits only, for example 24606.")
        return company_id

    def clean_new_api_token(self) -> str:
        return str(self.cleaned_data["new_api_token"]).strip()

    def save(self, commit: bool = True) -> Company:
        if "oauth_client_id" in self.changed_data or self.cleaned_data["new_client_secret"]:
            self.instance.oauth_client_secret = Secret.of(self.cleaned_data["new_client_secret"])
        if self.cleaned_data["new_api_token"]:
            token = self.cleaned_data["new_api_token"]
            self.instance.enter_token(token, expiry(token))
        return super().save(commit)


class SubscriptionForm(forms.ModelForm):
    new_bearer_token = forms.CharField(
        label="Bearer token",
        required=False,
        max_length=200,
        widget=forms.PasswordInput,
        help_text="The secret that Khoros sends with each call. Leave empty to generate one or keep the stored one.",
    )

    class Meta:
        model = Subscription
        fields = (
            "company",
            "event_name",
            "match",
            "label",
            "is_active",
            "receives_by",
            "auto_repair",
            "silence_alarm",
            "silence_hours",
            "ticket_target_minutes",
            "solve_target_minutes",
        )

    def clean_event_name(self) -> str:
        name: str = self.cleaned_data["event_name"].strip()
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ValidationError(
                "Use letters, digits, dots, hyphens and underscores only, for example stream-item-label-applied."
            )
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        match, label = cleaned.get("match"), (cleaned.get("label") or "").strip()
        if match == Subscription.Match.EVERYTHING:
            cleaned["label"] = ""
        elif not label:
            self.add_error("label", "Enter the label or expression, or choose “Every event of this type” as the match.")
        elif match == Subscription.Match.EXPRESSION:
            self._check_expression(label)
        self._check_version(cleaned)
        self._check_others(cleaned)
        for name, most in LONGEST_TIMES.items():
            if (cleaned.get(name) or 0) > most:
                self.add_error(name, f"Enter {most:,} or less (one year).")
        if cleaned.get("silence_alarm") == Subscription.Silence.HOURS and not cleaned.get("silence_hours"):
            self.add_error("silence_hours", "Enter the number of hours, at least 1.")
        return cleaned

    def _check_version(self, cleaned: dict[str, Any]) -> None:
        company = cleaned.get("company") or (self.instance.company if self.instance.company_id else None)
        only_pushed = cleaned.get("receives_by") == Subscription.Receives.PUSH
        if company is not None and company.api_version == Company.ApiVersion.V1 and not only_pushed:
            self.add_error("receives_by", "This company uses version 1 of the Khoros API. Choose “Push only”.")

    def _check_others(self, cleaned: dict[str, Any]) -> None:
        """Two subscriptions to one label would make two tickets of each post."""
        company = cleaned.get("company") or (self.instance.company if self.instance.company_id else None)
        others = Subscription.objects.filter(deleted_at__isnull=True).exclude(pk=self.instance.pk).filter(
            company=company, event_name=cleaned.get("event_name"), match=cleaned.get("match"),
            label__iexact=(cleaned.get("label") or "").strip(),
        )  # fmt: skip
        self.existing = others.first() if company is not None and "label" not in self.errors else None
        if self.existing is not None:
            address = reverse("admin:integrations_subscription_change", args=[self.existing.pk])
            link = format_html('<a class="cb-link" href="{}">{}</a>', address, self.existing)
            said = format_html("There is a subscription to this already: {}. Add a mapping to that one.", link)
            self.add_error("label" if cleaned.get("match") != Subscription.Match.EVERYTHING else "match", said)

    def _check_expression(self, expression: str) -> None:
        """Khoros runs the expression (probably with Java's engine), so it is checked with Python's, which is close."""
        try:
            re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            self.add_error("label", f"Not a valid regular expression: {error}.")

    @property
    def remark(self) -> str:
        """A warning about input that was accepted, but may not be what was meant."""
        if self.cleaned_data.get("match") == Subscription.Match.LABEL:
            return self._unknown_label()
        if self.cleaned_data.get("match") != Subscription.Match.EXPRESSION:
            return ""
        try:
            compile_expression(self.cleaned_data["label"])
        except BadExpression:
            return (
                "The expression uses look-around or back-references. Khoros may support them, but Casebridge cannot "
                "test them."
            )
        return ""

    def _unknown_label(self) -> str:
        label, company = self.cleaned_data["label"].strip(), self.instance.company
        known = {entry["name"] for entry in company.labels}
        names = known | {f"{entry['set']} - {entry['name']}" for entry in company.labels}
        if self.instance.event_name != LABEL_APPLIED or not known or label in names:
            return ""
        return (
            f"No label “{label}” was in Khoros' label sets when they were last read. If it is new, that is fine. "
            "Otherwise check the spelling: a subscription to a label that does not exist never receives anything."
        )

    def clean_new_bearer_token(self) -> str:
        token: str = self.cleaned_data["new_bearer_token"].strip()
        if not token.isascii() or " " in token:
            raise ValidationError("Use letters, digits and punctuation only, without spaces.")
        if token and len(token) < SHORTEST_BEARER_TOKEN:
            raise ValidationError(f"Too short: use at least {SHORTEST_BEARER_TOKEN} characters.")
        return token

    def save(self, commit: bool = True) -> Subscription:
        stored = self.instance.bearer_token
        self.token_changed = bool(self.cleaned_data["new_bearer_token"]) or not stored or not stored.is_readable
        if self.cleaned_data["new_bearer_token"]:
            replace_bearer_token(self.instance, self.cleaned_data["new_bearer_token"])
        elif self.token_changed:
            replace_bearer_token(self.instance, new_bearer_token())
        return super().save(commit)


class ConnectionForm(forms.ModelForm):
    """The part of a connection that every kind shares. `destination` is set on the class made for a kind."""

    retry_schedule = forms.CharField(
        label="Retry schedule",
        required=False,
        max_length=500,
        help_text="How long to wait before each retry, separated by commas, for example 1 min, 10 min, 2 h. After the "
        "last one a delivery fails. Leave empty for the usual schedule: {USUAL}.",
    )
    destination: Destination
    # Whether what was entered leads to another origin than the one that the stored secrets were entered for.
    goes_elsewhere = False

    class Meta:
        model = Connection
        fields = ("name", "is_active", "limit_share", "backlog_minutes", "look_up_before_create")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in self.instance.settings.items():
            self.initial.setdefault(name, value)
        for name in ("limit_share", "backlog_minutes"):
            if name in self.fields:
                self.fields[name].required = False
        if self.instance.pk is None:
            self._say_of_new_secrets()
        self.initial.setdefault("retry_schedule", schedule_text(self.instance.retry_delays))
        if (schedule := self.fields.get("retry_schedule")) is not None:
            usual = schedule_text(settings.DELIVERY_RETRY_DELAYS)
            schedule.help_text = str(schedule.help_text).replace("{USUAL}", usual)

    def _say_of_new_secrets(self) -> None:
        """There is nothing stored yet that an empty field could keep."""
        for name in self.destination.connection_form.secret_names():
            field = self.fields[name]
            field.help_text = str(field.help_text).replace(SecretField.KEEP, "Stored encrypted, never shown.")

    def clean_limit_share(self) -> int:
        share: int | None = self.cleaned_data["limit_share"]
        if share is not None and not 1 <= share <= 100:
            raise ValidationError("Enter a percentage from 1 to 100.")
        return self.instance.limit_share if share is None else share

    def clean_backlog_minutes(self) -> int:
        minutes: int | None = self.cleaned_data["backlog_minutes"]
        return self.instance.backlog_minutes if minutes is None else minutes

    def clean_retry_schedule(self) -> list[float]:
        return read_schedule(self.cleaned_data["retry_schedule"])

    @property
    def stored_secrets(self) -> set[str]:
        """Names of the secrets that an empty field may keep: stored, readable, and entered for this address."""
        return set() if self.goes_elsewhere else self._readable_secrets()

    def _readable_secrets(self) -> set[str]:
        try:
            return {name for name, value in self.instance.read_secrets().items() if value}
        except UnreadableSecret:
            return set()

    def clean(self) -> dict[str, Any]:
        super().clean()
        self.goes_elsewhere = self._leaves_its_origin()
        own = self.destination.connection_form
        not_entered = {name for name in own.secret_names() if not self.cleaned_data.get(name)}
        # Its fields are among ours: the form of a kind is made of both.
        cleaned = own.clean(self) or {}  # type: ignore[arg-type]
        if self.goes_elsewhere:
            self._ask_again(not_entered & self._readable_secrets())
        return cleaned

    def _leaves_its_origin(self) -> bool:
        if self.instance.pk is None or self.errors.keys() & self.destination.connection_form.base_fields.keys():
            return False
        stored, entered = (self.destination.origin(found) for found in (self.instance.settings, self._entered()))
        return origin_of(stored) != origin_of(entered)

    def _entered(self) -> dict[str, Any]:
        """The settings, without the secrets."""
        own = self.destination.connection_form
        return {name: self.cleaned_data[name] for name in own.base_fields if name not in own.secret_names()}

    def _ask_again(self, names: set[str]) -> None:
        """Replaces the destination's error for secrets that are stored, but for another address."""
        for name in names & self.errors.keys():
            del self.errors[name]
            self.add_error(name, ADDRESS_CHANGED)

    def save(self, commit: bool = True) -> Connection:
        self.instance.kind = self.destination.kind
        before = self.instance.settings
        self.instance.settings = self._entered()
        self.instance.retry_delays = self.cleaned_data.get("retry_schedule") or []
        if self.goes_elsewhere:
            self.instance.forget_secrets()
        secrets = {name: self.cleaned_data[name] for name in self.destination.connection_form.secret_names()}
        assumed = self.destination.connection_form.ASSUMED
        has_other_secrets = self.instance.change_secrets(secrets)
        has_other_settings = _filled(before, assumed) != _filled(self.instance.settings, assumed)
        self.signs_in_otherwise = self.goes_elsewhere or has_other_secrets or has_other_settings
        if self.signs_in_otherwise:
            self.instance.forget_tokens()
        return super().save(commit)


UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
ONE_WAIT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*([a-z]+)")
MOST_RETRIES, LONGEST_WAIT_DAYS = 30, 30


def read_schedule(raw: str) -> list[float]:
    """The seconds of "1 min, 2 h". Raises ValidationError."""
    waits = [_read_wait(part.strip().lower()) for part in raw.split(",") if part.strip()]
    if len(waits) > MOST_RETRIES:
        raise ValidationError(f"Enter at most {MOST_RETRIES} retries.")
    return waits


def _read_wait(part: str) -> float:
    found = ONE_WAIT.fullmatch(part)
    if found is None or found[2] not in UNITS:
        raise ValidationError(f"“{part[:40]}” is not a time. Write for example 30 s, 5 min, 2 h or 1 d.")
    seconds = float(found[1]) * UNITS[found[2]]
    if not 1 <= seconds <= LONGEST_WAIT_DAYS * 86400:
        raise ValidationError(f"“{part}” is out of range: 1 s to {LONGEST_WAIT_DAYS} d.")
    return seconds


def schedule_text(delays: Sequence[float]) -> str:
    """The other way round, in the largest unit that is whole."""
    return ", ".join(_wait_text(delay) for delay in delays)


def _wait_text(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def _filled(stored: dict[str, Any], assumed: dict[str, str]) -> dict[str, Any]:
    return assumed | {name: value for name, value in stored.items() if value not in ("", None)}


class ConditionsForm(forms.Form):
    """Which posts a mapping takes."""

    conditions = ConditionsField(
        label="Which posts",
        required=False,
        help_text="Several values are separated by commas. Upper and lower case count as the same, except in "
        "expressions (start with (?i) to ignore it there). “Seen before” means that another post of the author is "
        "stored here.",
    )


class MappingForm(forms.ModelForm):
    """The part of a mapping that every kind of connection shares."""

    destination: Destination
    # The destination's part of the form, as it was made for the account.
    own_part: type[MappingFields]

    class Meta:
        model = Mapping
        fields = ("name", "subscription", "connection", "is_active", "follows", "without_first")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            shown = self.own_part.initial_of(self.instance.settings)
            self.initial.update(shown | {"conditions": self.instance.conditions})
        connections = self.fields.get("connection")
        if connections is not None:
            connections.queryset = Connection.objects.filter(kind=self.destination.kind)  # type: ignore[attr-defined]
            widget: Any = connections.widget
            getattr(widget, "widget", widget).attrs["data-brings-lists"] = ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self._check_what_it_follows(cleaned)
        if (connection := cleaned.get("connection")) is not None:
            for name, sentence in self.destination.unfit(cleaned, connection.settings).items():
                if name not in self.errors:
                    self.add_error(name, sentence)
        return cleaned

    def _check_what_it_follows(self, cleaned: dict[str, Any]) -> None:
        first, subscription = cleaned.get("follows"), cleaned.get("subscription") or self.instance.subscription_id
        followers = self.instance.followers.exclude(subscription=subscription) if self.instance.pk else []
        if names := ", ".join(f"“{follower}”" for follower in followers):
            self.add_error(
                "subscription", f"Sent after this one: {names}. Change that first, or keep the subscription."
            )
        if first is None:
            return
        if first.subscription_id != getattr(subscription, "pk", subscription):
            self.add_error("follows", f"“{first}” belongs to another subscription. Choose one of the same.")
        chain: list[int] = []
        while first is not None and first.pk not in chain:
            chain.append(first.pk)
            first = first.follows
        if self.instance.pk in chain:
            self.add_error("follows", "That one is sent after this one already, so both would wait for ever.")

    def save(self, commit: bool = True) -> Mapping:
        own = self.own_part.without_defaults(self.own_part.settings_of(self.cleaned_data))
        self.instance.settings = json.loads(json.dumps(own))
        self.instance.conditions = self.cleaned_data["conditions"]
        return super().save(commit)


def connection_form_for(destination: Destination) -> type[ConnectionForm]:
    bases = (ConnectionForm, destination.connection_form)
    return type("ConnectionFormOfKind", bases, {"destination": destination})


def own_part_of(destination: Destination, lists: Mapping_[str, Any], stored: Mapping_[str, Any]) -> type[MappingFields]:
    """The destination's part of a mapping's form, with choices from the account's lists where it offers any."""
    if isinstance(destination, OffersLists):
        return destination.mapping_form_for(lists, stored)
    return destination.mapping_form


def mapping_form_for(
    destination: Destination,
    event_name: str = "",
    lists: Mapping_[str, Any] | None = None,
    stored: Mapping_[str, Any] | None = None,
) -> type[MappingForm]:
    """The form for a kind of connection, with what makes sense for the event first: its conditions and placeholders.

    `lists` is what the account offers to choose from, `stored` the settings that have to stay selectable.
    """
    kind = kind_of(event_name or LABEL_APPLIED)
    own_part = own_part_of(destination, lists or {}, stored or {})
    bases = (MappingForm, ConditionsForm, own_part)
    form: Any = type("MappingFormOfKind", bases, {"destination": destination, "own_part": own_part})
    form.declared_fields = copy.deepcopy(form.declared_fields)
    form.declared_fields["conditions"].widget.fields = fields_of(kind.placeholders)
    if event_name and kind.headline and own_part.HEADLINE:
        form.declared_fields[own_part.HEADLINE].initial = kind.headline
    known = ", ".join(f"{{{{ {name} }}}}" for name in (*kind.placeholders, *OF_ALL))
    for field in form.declared_fields.values():
        field.help_text = _with_placeholders(str(field.help_text), known)
    form.base_fields = form.declared_fields | {
        name: field for name, field in form.base_fields.items() if name not in form.declared_fields
    }
    form_class: type[MappingForm] = form
    return form_class


def _with_placeholders(help_text: str, known: str) -> str:
    """The long lists are folded: who needs a name opens them."""
    said, has_lists, more = help_text.partition(NAMES)
    if not has_lists:
        return help_text
    lists = f"{known}.<br>Filters: {FILTER_HELP}."
    folded = f'<details class="cb-names"><summary>Placeholders and filters</summary>{lists}</details>'
    return f"{said}{more.strip()} {folded}"


DEFAULT_KIND = next(iter(DESTINATIONS))
