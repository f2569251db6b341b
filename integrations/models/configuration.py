"""What staff set up: companies, subscriptions, connections, mappings; and the one row about this installation."""

import secrets
import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.fields import SecretField

LABEL_APPLIED = "stream-item-label-applied"


def new_bearer_token() -> str:
    return secrets.token_urlsafe(32)


class Installation(models.Model):
    """The one row about this installation. Its uuid marks the subscriptions at Khoros that are ours to touch."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    uuid = models.UUIDField(default=uuid.uuid4)
    # Set once the environment's first set-up was made; after that the environment makes nothing again.
    seeded_at = models.DateTimeField(null=True)
    # Set when a request reached us under HEROKU_APP_NAME's address: only then is that address known to be ours.
    heroku_address_seen_at = models.DateTimeField(null=True)
    # Written by the workers that deliver, every few seconds.
    worker_heard_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="installation_is_one_row")]

    def __str__(self) -> str:
        return str(self.uuid)


class Company(models.Model):
    """A Khoros company with the token that speaks for it."""

    name = models.CharField(max_length=120, help_text="How you call this company here, for example the brand.")
    company_id = models.CharField(
        "company id",
        max_length=40,
        help_text="The number Khoros has for the company. It is in the address bar of Khoros Marketing.",
    )
    api_token = SecretField()
    from_environment = models.BooleanField(default=False, editable=False)
    checked_at = models.DateTimeField("last checked", null=True, editable=False)
    # What Khoros said of the token at the last check, in our words; empty when all is well.
    warning = models.TextField(blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "companies"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["company_id"], name="company_known_once"),
            models.UniqueConstraint(
                fields=["from_environment"], condition=Q(from_environment=True), name="company_from_environment_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """One Khoros event feed for one label (or expression, or event), with its own address and bearer token."""

    class Match(models.TextChoices):
        LABEL = "label", "One label"
        EXPRESSION = "expression", "A regular expression over labels"
        EVERYTHING = "everything", "Everything of this event"

    class Registration(models.TextChoices):
        WAITING = "waiting", "Waiting to be registered"
        REGISTERED = "registered", "Registered"
        REFUSED = "refused", "Refused by Khoros"
        UNREACHABLE = "unreachable", "Khoros not reached"
        NOT_POSSIBLE = "not_possible", "Cannot be registered yet"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="subscriptions")
    event_name = models.CharField(
        "event",
        max_length=100,
        default=LABEL_APPLIED,
        help_text=f"Khoros' name of the event. For labels in the inbox it is {LABEL_APPLIED}.",
    )
    match = models.CharField(
        "listens to",
        max_length=12,
        choices=Match,
        default=Match.LABEL,
        help_text="One label is the usual choice: Khoros does not tell which label was applied, the feed does.",
    )
    label = models.CharField(
        "label or expression",
        max_length=250,
        blank=True,
        help_text="The label exactly as agents see it, for example CreateCase; or the regular expression. "
        "Leave it empty for everything of the event.",
    )
    is_active = models.BooleanField(
        "receives",
        default=True,
        help_text="Switched off, the feed is paused at Khoros, and what still arrives is kept but makes no tickets.",
    )
    bearer_token = SecretField()
    previous_bearer_token = SecretField()
    previous_token_accepted_until = models.DateTimeField(null=True, editable=False)
    from_environment = models.BooleanField(default=False, editable=False)

    registration = models.CharField(max_length=12, choices=Registration, default=Registration.WAITING, editable=False)
    khoros_uuid = models.CharField("id at Khoros", max_length=64, blank=True, default="", editable=False)
    khoros_status = models.CharField("status at Khoros", max_length=40, blank=True, default="", editable=False)
    registered_address = models.CharField(max_length=500, blank=True, default="", editable=False)
    checked_at = models.DateTimeField("last checked", null=True, editable=False)
    next_check_at = models.DateTimeField(null=True, editable=False, default=None)
    checking_until = models.DateTimeField(null=True, editable=False)
    failed_checks = models.PositiveIntegerField(default=0, editable=False)
    khoros_message = models.TextField("Khoros' answer", blank=True, default="", editable=False)
    # Subscriptions at Khoros that are not ours and listen to the same label: [{"uuid", "externalId", "status", ...}].
    other_subscriptions = models.JSONField(default=list, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["company__name", "label", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(match="everything") | ~Q(label=""), name="subscription_names_what_it_listens_to"
            ),
            models.UniqueConstraint(
                fields=["from_environment"],
                condition=Q(from_environment=True),
                name="subscription_from_environment_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="subscription_check_due"
            )
        ]

    def __str__(self) -> str:
        return self.listens_to

    @property
    def listens_to(self) -> str:
        return self.label or f"all {self.event_name}"


class Connection(models.Model):
    """An account deliveries go to, with its secrets and whether it may be called now.

    `kind` names a destination of the registry (integrations.destinations); `settings` and `secrets` hold what that
    destination's form asks for. A pause with an end (`paused_until`) ends by itself; one without waits for a person.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120, help_text="How you call this account here.")
    kind = models.CharField(max_length=40, editable=False)
    settings = models.JSONField(default=dict, editable=False)
    secrets = SecretField()
    is_active = models.BooleanField(
        "in use",
        default=True,
        help_text="Switched off, nothing is sent there: what waits keeps waiting, and new posts make no deliveries.",
    )
    look_up_before_create = models.BooleanField(
        "look up before every create",
        default=False,
        help_text="Ask Zendesk first whether the ticket exists already. Slower; switch it on after the database was "
        "restored from a backup, and off again a day later.",
    )
    from_environment = models.BooleanField(default=False, editable=False)
    access_token = SecretField()
    access_token_expires_at = models.DateTimeField(null=True, editable=False)
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False)
    pause_reason = models.TextField(blank=True, default="", editable=False)
    # The user who paused it; empty when an answer of the other side did.
    paused_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    # How many limits in a row (429 without Retry-After) were met: the pause grows with it.
    limits_in_a_row = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(paused_until__isnull=True) | Q(paused_at__isnull=False),
                name="connection_pause_has_a_beginning",
            ),
            models.UniqueConstraint(
                fields=["from_environment"],
                condition=Q(from_environment=True),
                name="connection_from_environment_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def is_paused(self, now: datetime) -> bool:
        return self.paused_at is not None and (self.paused_until is None or self.paused_until > now)

    @staticmethod
    def open_now(prefix: str = "") -> Q:
        """Condition: the connection may be called now. `prefix` is the path to it, like "connection__"."""
        not_paused = Q(**{f"{prefix}paused_at__isnull": True}) | Q(**{f"{prefix}paused_until__lte": Now()})
        return Q(**{f"{prefix}is_active": True}) & not_paused


class Mapping(models.Model):
    """Subscription -> connection: which posts, and what the ticket made of them looks like."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120, help_text='For example "CreateCase to Zendesk".')
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="mappings", help_text="The feed whose posts are meant."
    )
    connection = models.ForeignKey(
        Connection, on_delete=models.PROTECT, related_name="mappings", help_text="The account the tickets go to."
    )
    is_active = models.BooleanField(
        "active", default=True, help_text="Switched off, it makes no new tickets; those already made go on."
    )
    conditions = models.JSONField(default=dict, editable=False)
    settings = models.JSONField(default=dict, editable=False)
    from_environment = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["subscription"], condition=Q(is_active=True), name="mapping_active_by_feed")]
        constraints = [
            models.UniqueConstraint(
                fields=["from_environment"], condition=Q(from_environment=True), name="mapping_from_environment_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name
