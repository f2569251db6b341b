"""What staff configure: companies, subscriptions, mappings; and the one row about this installation."""

import secrets
import uuid
from datetime import datetime
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from integrations.domain.post import LABEL_APPLIED
from integrations.infra import database_clock
from integrations.infra.encryption import Secret
from integrations.models.connections import Connection
from integrations.models.fields import SecretField


def new_bearer_token() -> str:
    return secrets.token_urlsafe(32)


def without_lists(prefix: str = "") -> tuple[str, str]:
    """Names for `defer`: a company's cached lists are long, and few need them."""
    return (f"{prefix}listed", f"{prefix}labels")


class Installation(models.Model):
    """The one row about this installation. Its uuid marks the subscriptions at Khoros that are ours to touch."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    uuid = models.UUIDField(default=uuid.uuid4)
    # Set once the first set-up was made from the environment; after that the environment creates nothing.
    seeded_at = models.DateTimeField(null=True)
    # Set when a request reached us under HEROKU_APP_NAME's address: only then is that address known to be ours.
    heroku_address_seen_at = models.DateTimeField(null=True)
    # When a worker last answered, and when the process `beat` was last alive.
    worker_seen_at = models.DateTimeField(null=True)
    beat_seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="installation_is_one_row")]

    def __str__(self) -> str:
        return str(self.uuid)

    @classmethod
    def own_uuid(cls) -> UUID:
        return cls.objects.values_list("uuid", flat=True).get()


class Company(models.Model):
    """A Khoros company and the API token that acts for it."""

    TOKEN_COLUMNS = ("api_token", "token_entered_at", "token_expires_at", "token_by_consent")

    class ApiVersion(models.TextChoices):
        V2 = "v2", "Version 2"
        V1 = "v1", "Version 1 (registration only)"

    name = models.CharField(max_length=120, help_text="Name shown in Casebridge, for example the brand.")
    company_id = models.CharField(
        "company ID",
        max_length=40,
        help_text="The company's number at Khoros, shown in the address bar of Khoros Marketing.",
    )
    api_version = models.CharField(
        "Khoros API",
        max_length=2,
        choices=ApiVersion,
        default=ApiVersion.V2,
        help_text="Version 2 is the usual choice. With version 1, Casebridge can only register subscriptions: it "
        "cannot check, pause or delete them, or fetch missed notifications.",
    )
    initiatives = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Initiative numbers, separated by commas, to offer their content labels too. Usually empty.",
    )
    api_token = SecretField()
    # Instead of a pasted token: a client that Khoros issued, in whose name a person consents.
    oauth_client_id = models.CharField(
        "client ID",
        max_length=200,
        blank=True,
        default="",
        help_text="For OAuth instead of a pasted token: Khoros' support issues client ID and secret, and allows the ID "
        "for your company. After saving, press “Connect to Khoros”.",
    )
    oauth_client_secret = SecretField(db_default="")
    token_by_consent = models.BooleanField(default=False, editable=False)
    token_entered_at = models.DateTimeField(null=True, editable=False)
    # From the token's own claims, or told with it; null where neither is so.
    token_expires_at = models.DateTimeField(null=True, editable=False)
    token_owner = models.CharField(max_length=250, blank=True, default="", editable=False)
    # The companies that the token sees: [{"id": "42", "name": "Example", "products": "Care 45, Conversations 45"}].
    companies_seen = models.JSONField(default=list, editable=False)
    # The company's subscriptions at Khoros as last listed, without tokens: rows of sources.khoros.plan.summary.
    listed = models.JSONField(default=list, editable=False)
    listed_at = models.DateTimeField(null=True, editable=False)
    # Labels to choose from: [{"name": "CreateCase", "set": "Social care"}].
    labels = models.JSONField(default=list, editable=False)
    labels_read_at = models.DateTimeField(null=True, editable=False)
    labels_problem = models.TextField(blank=True, default="", editable=False)
    from_environment = models.BooleanField(default=False, editable=False)
    checked_at = models.DateTimeField("last checked", null=True, editable=False)
    # What Khoros said about the token at the last check, as shown to staff; empty if there is no problem.
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

    def enter_token(self, token: str, expires_at: datetime | None) -> None:
        """Takes a pasted token in place of whatever acts for the company; saves nothing (TOKEN_COLUMNS)."""
        self.api_token, self.token_expires_at = Secret.of(token), expires_at
        self.token_entered_at, self.token_by_consent = database_clock.now(), False


class Subscription(models.Model):
    """One Khoros event subscription: a label (or expression, or event), with its own address and bearer token."""

    class Match(models.TextChoices):
        LABEL = "label", "One label (or rule) by name"
        EXPRESSION = "expression", "A regular expression"
        EVERYTHING = "everything", "Every event of this type"

    class Registration(models.TextChoices):
        WAITING = "waiting", "Waiting to be registered"
        REGISTERED = "registered", "Registered"
        REFUSED = "refused", "Refused by Khoros"
        UNREACHABLE = "unreachable", "Khoros unreachable"
        NOT_POSSIBLE = "not_possible", "Cannot be registered yet"
        DRIFTED = "drifted", "Out of sync"
        PAUSED = "paused", "Paused"
        RETIRED = "retired", "Deleted at Khoros"

    class Receives(models.TextChoices):
        PUSH_AND_CATCH_UP = "both", "Push, and fetch what was missed"
        PUSH = "push", "Push only"
        PULL = "pull", "Fetch only (needs no public address)"

    class Silence(models.TextChoices):
        LEARNED = "learned", "Learned from the usual volume"
        HOURS = "hours", "After a fixed number of hours"
        OFF = "off", "Never"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # Null for the portal's own subscription alone, which Khoros has no part in (operations/telling.py): only what asks
    # Khoros reads a company, and never that one's.
    company: models.ForeignKey[Company, Company] = models.ForeignKey(  # type: ignore[misc]
        Company, on_delete=models.PROTECT, null=True, related_name="subscriptions"
    )
    event_name = models.CharField(
        "event",
        max_length=100,
        default=LABEL_APPLIED,
        help_text=f"The event's name at Khoros; for labels, {LABEL_APPLIED}. Choose one or type another.",
    )
    match = models.CharField(
        "match",
        max_length=12,
        choices=Match,
        default=Match.LABEL,
        help_text="One label is the usual choice. Khoros does not say which label was applied, so each label needs "
        "its own subscription.",
    )
    label = models.CharField(
        "label or expression",
        max_length=250,
        blank=True,
        help_text="The label exactly as agents see it, for example CreateCase, or the regular expression. "
        "Empty only with “Every event of this type”.",
    )
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Off: the subscription is paused at Khoros. Notifications that still arrive are stored but not sent "
        "on.",
    )
    receives_by = models.CharField(
        "receive events by",
        max_length=5,
        choices=Receives,
        default=Receives.PUSH_AND_CATCH_UP,
        help_text="Khoros does not repeat a push that failed. Fetching reads the same events from Khoros every few "
        "minutes and adds those that never arrived.",
    )
    auto_repair = models.BooleanField(
        "repair automatically",
        default=True,
        help_text="When someone changes or deletes the subscription at Khoros, the next check restores it. Off: the "
        "difference is shown here until someone presses “Repair at Khoros”.",
    )
    silence_alarm = models.CharField(
        "silence alarm",
        max_length=8,
        choices=Silence,
        default=Silence.LEARNED,
        help_text="Learning needs two weeks of history. After that, silence is judged by the usual volume for the "
        "hour and day of the week. Until then, the number of hours below applies, if set.",
    )
    silence_hours = models.PositiveIntegerField(
        "quiet hours", null=True, blank=True, help_text="Raise an alarm after this many quiet hours."
    )
    ticket_target_minutes = models.PositiveIntegerField(
        "delivery target (minutes)",
        null=True,
        blank=True,
        help_text="From the customer's post to its delivery. Misses are shown on the overview and raise an alarm. "
        "Leave empty for no target.",
    )
    solve_target_minutes = models.PositiveIntegerField(
        "solve target (minutes)",
        null=True,
        blank=True,
        help_text="From the customer's post to the first time the ticket is solved, for example 1440 for one day. "
        "Only where the destination reports a status. Leave empty for no target.",
    )
    bearer_token = SecretField()
    token_changed_at = models.DateTimeField(db_default=Now(), editable=False)
    # Earlier tokens that are still accepted, one per line, newest first: until a time, or indefinitely while Khoros
    # has not been seen to use the current one.
    previous_bearer_token = SecretField()
    previous_token_accepted_until = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)
    from_environment = models.BooleanField(default=False, editable=False)

    registration = models.CharField(max_length=12, choices=Registration, default=Registration.WAITING, editable=False)
    khoros_uuid = models.CharField("ID at Khoros", max_length=64, blank=True, default="", editable=False)
    khoros_status = models.CharField("status at Khoros", max_length=40, blank=True, default="", editable=False)
    registered_address = models.CharField(max_length=500, blank=True, default="", editable=False)
    checked_at = models.DateTimeField("last checked", null=True, editable=False)
    next_check_at = models.DateTimeField(null=True, editable=False, default=None)
    checking_until = models.DateTimeField(null=True, editable=False)
    failed_checks = models.PositiveIntegerField(default=0, editable=False)
    khoros_message = models.TextField("response from Khoros", blank=True, default="", editable=False)
    # Subscriptions at Khoros that are not ours and listen to the same label: [{"uuid", "externalId", "status", ...}].
    other_subscriptions = models.JSONField(default=list, editable=False)
    # How Khoros differed from the desired state at the last check: [{"kind", "message", "remedy"}].
    drift = models.JSONField(default=list, editable=False)
    # Who asked for the next run: a user's name; empty when it is the regular check.
    requested_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    # Fingerprint of what Khoros accepted last: shows that a token is new where Khoros does not list tokens.
    posted_as = models.CharField(max_length=64, blank=True, default="", editable=False)
    # {"for": fingerprint, "uuids": ids at Khoros before it was posted}, or [] where nothing is being replaced. If the
    # post created a second one, these are retired after the overlap.
    replaces = models.JSONField(default=list, editable=False)
    replaced_at = models.DateTimeField(null=True, editable=False)
    # Fingerprint of what Khoros accepted and then did not list as posted: not posted again automatically.
    not_shown = models.CharField(max_length=64, blank=True, default="", editable=False)
    # Fingerprint of what Khoros lists as our token, which may be a mask of it.
    token_shown_as = models.CharField(max_length=64, blank=True, default="", editable=False)

    next_catch_up_at = models.DateTimeField(null=True, editable=False, default=None)
    catching_up_until = models.DateTimeField(null=True, editable=False)
    # The order of Khoros' list of events as observed: "newest" or "oldest" first, or "" where none was seen.
    catch_up_order = models.CharField(max_length=8, blank=True, default="", editable=False)
    # How many events the list held when it was last read to its end.
    catch_up_end = models.PositiveIntegerField(default=0, editable=False)
    read_whole_at = models.DateTimeField(null=True, editable=False)
    failed_catch_ups = models.PositiveIntegerField(default=0, editable=False)

    last_pushed_at = models.DateTimeField("last push", null=True, editable=False)
    last_caught_up_at = models.DateTimeField("last caught up", null=True, editable=False)
    # Mean notifications of each hour of the week (UTC, Monday 0:00 first), once there are two weeks of history.
    usual_volume = models.JSONField(null=True, editable=False)
    usual_learned_at = models.DateTimeField(null=True, editable=False)
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
            # Two would make two tickets of each post.
            models.UniqueConstraint(
                "company",
                "event_name",
                "match",
                Lower("label"),
                condition=Q(deleted_at__isnull=True),
                name="subscription_once_for_what_it_listens_to",
                violation_error_message="There is a subscription to this already.",
            ),
            models.CheckConstraint(
                condition=~Q(silence_alarm="hours") | Q(silence_hours__gte=1), name="subscription_silence_has_its_hours"
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(is_active=False), name="subscription_deleted_receives_nothing"
            ),
            models.UniqueConstraint(
                fields=["event_name"], condition=Q(company__isnull=True), name="subscription_of_the_portal_once"
            ),
            models.CheckConstraint(
                condition=Q(company__isnull=False) | Q(next_check_at__isnull=True, next_catch_up_at__isnull=True),
                name="subscription_of_the_portal_never_asks_khoros",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="subscription_check_due"
            ),
            models.Index(
                fields=["next_catch_up_at"],
                condition=Q(next_catch_up_at__isnull=False),
                name="subscription_catch_up_due",
            ),
        ]

    def __str__(self) -> str:
        return self.listens_to

    @property
    def listens_to(self) -> str:
        return self.label or f"all {self.event_name}"

    @property
    def is_own(self) -> bool:
        """Whether it is of the portal's own alarms."""
        return self.company_id is None

    @property
    def company_name(self) -> str:
        return self.company.name if self.company_id is not None else "Casebridge"

    @property
    def is_pushed(self) -> bool:
        return self.receives_by != self.Receives.PULL

    @property
    def is_fetched(self) -> bool:
        return self.receives_by != self.Receives.PUSH


class Mapping(models.Model):
    """Subscription -> connection: which posts become tickets, and what these look like."""

    class WithoutFirst(models.TextChoices):
        SEND = "send", "Send it without"
        SKIP = "skip", "Do not send it"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120, help_text='For example "CreateCase to the help desk".')
    subscription = models.ForeignKey(
        Subscription,
        on_delete=models.PROTECT,
        related_name="mappings",
        help_text="The subscription whose posts this mapping handles.",
    )
    connection = models.ForeignKey(
        Connection, on_delete=models.PROTECT, related_name="mappings", help_text="Where the posts go."
    )
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Off: no new deliveries are made. Those that already exist are still sent.",
    )
    follows = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="followers",
        verbose_name="sent after",
        help_text="Another mapping of the same subscription: this one waits until that one is delivered, "
        "and can name it with {{ made_number }}, {{ made_link }} and {{ made_status }}. Leave empty to send at "
        "once.",
    )
    without_first = models.CharField(
        "if the first one sends nothing",
        max_length=4,
        choices=WithoutFirst,
        default=WithoutFirst.SEND,
        help_text="It failed for good, was cancelled, is off, or the post does not match its conditions.",
    )
    conditions = models.JSONField(default=dict, editable=False)
    settings = models.JSONField(default=dict, editable=False)
    # What no longer fits the account, as of the last check: [{"field": "group_id", "message": "..."}].
    warnings = models.JSONField(default=list, db_default=[], editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    # What the account last reported to have dropped from a ticket, and for which delivery.
    dropped = models.TextField(blank=True, default="", db_default="", editable=False)
    dropped_at = models.DateTimeField(null=True, editable=False)
    dropped_on = models.BigIntegerField(null=True, editable=False)
    from_environment = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        indexes = [
            models.Index(fields=["subscription"], condition=Q(is_active=True), name="mapping_active_by_subscription")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["from_environment"], condition=Q(from_environment=True), name="mapping_from_environment_once"
            ),
            models.CheckConstraint(
                condition=Q(follows__isnull=True) | ~Q(follows=models.F("id")), name="mapping_follows_another"
            ),
        ]

    def __str__(self) -> str:
        return self.name
