"""Accounts that deliveries go to: how they are called, what they offer, and whom they know."""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.models.fields import SecretField


class Connection(models.Model):
    """An account deliveries go to, with its secrets and whether it may be called now.

    `kind` names a destination of the registry (integrations.destinations); `settings` and `secrets` hold what that
    destination's form asks for. A pause with `paused_until` ends on its own; one without it waits for a person.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120, help_text="Name shown in Casebridge.")
    kind = models.CharField(max_length=40, editable=False)
    settings = models.JSONField(default=dict, editable=False)
    secrets = SecretField()
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Off: nothing is sent and new posts are ignored. Deliveries that already wait keep waiting.",
    )
    look_up_before_create = models.BooleanField(
        "look up before creating",
        default=False,
        help_text="Before anything is created, check whether it already exists. Slower, and rarely needed: what "
        "happened a while ago is looked up anyway, also after restoring the database from a backup.",
    )
    limit_share = models.PositiveSmallIntegerField(
        "share of the rate limit (%)",
        db_default=100,
        default=100,
        help_text="All integrations of the account share one rate limit. 100 uses whatever the others leave; 50 never "
        "uses more than half.",
    )
    backlog_minutes = models.PositiveSmallIntegerField(
        "backlog threshold (minutes)",
        db_default=5,
        default=5,
        help_text="If the queue of new posts would take longer than this to clear, many are sent with one call. "
        "Enter 0 to never send in batches.",
    )
    breaker_enabled = models.BooleanField(
        "outage protection",
        db_default=True,
        default=True,
        help_text="After repeated failures to reach the account, only one delivery at a time is attempted until one "
        "succeeds.",
    )
    # Seconds between tries; empty for the installation's own schedule (DELIVERY_RETRY_DELAYS).
    retry_delays = models.JSONField(default=list, db_default=[], editable=False)
    from_environment = models.BooleanField(default=False, editable=False)
    access_token = SecretField()
    access_token_expires_at = models.DateTimeField(null=True, editable=False)
    # From the authorization code grant: each use replaces both tokens, so one process at a time refreshes.
    refresh_token = SecretField(db_default="")
    renewing_until = models.DateTimeField(null=True, editable=False)
    granted_scope = models.CharField(max_length=500, blank=True, default="", db_default="", editable=False)
    # Findings of the last test of the connection: [{"ok": true, "message": "Signed in as ..."}].
    checks = models.JSONField(default=list, db_default=[], editable=False)
    checked_at = models.DateTimeField("last tested", null=True, editable=False)
    # How far the account's clock is ahead of the database's, in seconds, from the Date headers of its replies.
    clock_skew_seconds = models.IntegerField(db_default=0, default=0, editable=False)
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False)
    pause_reason = models.TextField(blank=True, default="", editable=False)
    # The user who paused it; empty when a reply of the account did.
    paused_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    # How many limits (429, with or without Retry-After) were hit in a row: the pause grows with it.
    consecutive_limits = models.PositiveIntegerField(default=0, editable=False)
    # Circuit breaker: consecutive failures to reach the account, open since, when the next delivery may probe it.
    transport_failures = models.PositiveIntegerField(db_default=0, default=0, editable=False)
    breaker_opened_at = models.DateTimeField(null=True, editable=False)
    breaker_probe_at = models.DateTimeField(null=True, editable=False)
    breaker_reason = models.TextField(blank=True, default="", db_default="", editable=False)
    backlog_since = models.DateTimeField(null=True, editable=False)
    # The account's job queue is full: no batch before then.
    batch_wait_until = models.DateTimeField(null=True, editable=False)
    # The webhook at the account that reports ticket events to us.
    webhook_id = models.CharField(max_length=80, blank=True, default="", db_default="", editable=False)
    webhook_secret = SecretField(db_default="")
    webhook_problem = models.TextField(blank=True, default="", db_default="", editable=False)
    webhook_called_at = models.DateTimeField(null=True, editable=False)
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
            models.CheckConstraint(
                condition=Q(limit_share__gte=1, limit_share__lte=100), name="connection_share_is_a_percentage"
            ),
            models.CheckConstraint(
                condition=Q(breaker_opened_at__isnull=True) | Q(breaker_probe_at__isnull=False),
                name="connection_open_breaker_has_its_probe",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    # Written by whoever signs in, and by a page only together with another sign-in: a page that writes back what it
    # read a moment ago would restore an invalid pair of tokens.
    TOKEN_COLUMNS = ("access_token", "access_token_expires_at", "refresh_token", "renewing_until", "granted_scope")

    def read_secrets(self) -> dict[str, str]:
        """All of them in the clear, by name. Raises UnreadableSecret."""
        plain = self.secrets.reveal()
        return json.loads(plain) if plain else {}

    def change_secrets(self, changes: Mapping[str, str]) -> bool:
        """Sets new values (unsaved) and returns whether anything changed. Empty values keep what is stored."""
        try:
            stored = self.read_secrets()
        except UnreadableSecret:
            stored = {}
        merged = stored | {name: value for name, value in changes.items() if value}
        if merged == stored:
            return False
        self.secrets = Secret.of(json.dumps(merged))
        self.forget_tokens()
        return True

    def forget_secrets(self) -> None:
        """Drops (unsaved) everything entered and fetched for the address that the connection leaves."""
        self.secrets = Secret("")
        self.forget_tokens()

    def forget_tokens(self) -> None:
        """Drops (unsaved) what was fetched with another sign-in."""
        self.access_token, self.refresh_token = Secret(""), Secret("")
        self.access_token_expires_at = self.renewing_until = None
        self.granted_scope = ""

    def is_paused(self, now: datetime) -> bool:
        return self.paused_at is not None and (self.paused_until is None or self.paused_until > now)

    @staticmethod
    def open_now(prefix: str = "") -> Q:
        """Condition: the connection may be called now. `prefix` is the path to it, like "connection__"."""
        not_paused = Q(**{f"{prefix}paused_at__isnull": True}) | Q(**{f"{prefix}paused_until__lte": Now()})
        not_broken = Q(**{f"{prefix}breaker_opened_at__isnull": True}) | Q(**{f"{prefix}breaker_probe_at__lte": Now()})
        return Q(**{f"{prefix}is_active": True}) & not_paused & not_broken


class AccountSchema(models.Model):
    """What an account offers to choose from, as last read. Not on the connection, which every delivery reads.

    `lists` is the destination's: for Zendesk {"groups": [{"id", "name"}], "fields": [...], ...}; `problems` says, list
    by list, why it could not be read. What was read before is kept as long as a list cannot be read.
    """

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, primary_key=True, related_name="schema")
    lists = models.JSONField(default=dict)
    problems = models.JSONField(default=dict)
    read_at = models.DateTimeField(null=True)
    next_read_at = models.DateTimeField(null=True)
    reading_until = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["next_read_at"], condition=Q(next_read_at__isnull=False), name="schema_read_due")
        ]

    def __str__(self) -> str:
        return f"What {self.connection} offers"

    @classmethod
    def lists_of(cls, connection_id: int | None) -> dict[str, Any]:
        """The lists as last read; empty where they never were."""
        lists: dict[str, Any] | None = cls.objects.filter(pk=connection_id).values_list("lists", flat=True).first()
        return lists or {}


class Requester(models.Model):
    """A social author as a user of the account: looked up or created once, then remembered.

    `user_id` is empty where the author cannot be a requester; `problem` says why, and the intake user is used.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="requesters")
    external_id = models.CharField(max_length=250)
    name = models.CharField(max_length=255, blank=True, default="")
    user_id = models.CharField(max_length=40, blank=True, default="")
    problem = models.TextField(blank=True, default="")
    resolved_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "external_id"], name="requester_known_once"),
            models.CheckConstraint(condition=~Q(user_id="") | ~Q(problem=""), name="requester_is_known_or_says_why"),
        ]

    def __str__(self) -> str:
        return self.name or self.external_id
