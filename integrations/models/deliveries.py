"""Deliveries, their attempts, and what carries or holds many of them. Attempts are appended, never rewritten."""

import uuid
from typing import Any

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Upper

from integrations.models.configuration import Connection, Mapping
from integrations.models.notifications import Notification

UNCLAIMED: dict[str, Any] = {"claim": None, "claimed_until": None}
NO_PROBLEM: dict[str, Any] = {"last_error": "", "cause": "", "remedy": "", "remedy_at": ""}


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Deliveries by what may happen to them next, and their state transitions, which set further columns by name."""

    def waiting(self) -> "DeliveryQuerySet":
        """To be sent now."""
        return self.filter(state="pending", next_attempt_at__lte=Now())

    def abandoned(self) -> "DeliveryQuerySet":
        """Claimed by a process that died. Deliveries of a batch under way are left to its follow-up."""
        job_goes_on = Q(batch__isnull=False, batch__state__in=["sending", "running"])
        return self.filter(~job_goes_on, state="sending", claimed_until__lte=Now())

    def changeable(self) -> "DeliveryQuerySet":
        """What staff may send, rebuild or cancel: neither delivered nor being sent."""
        return self.filter(state__in=["pending", "failed", "cancelled", "held"])

    def schedule(self, at: Any = None, **columns: Any) -> int:
        """To be sent at that time, or now."""
        return self.update(**{"state": "pending", "next_attempt_at": at or Now(), **UNCLAIMED, **columns})

    def deliver(self, *, number: str, url: str, result: str, **columns: Any) -> int:
        """It became this ticket. One that is delivered already stays unchanged."""
        changes = {
            "state": "delivered",
            "ticket_number": number,
            "ticket_url": url,
            "result": result,
            "delivered_at": Now(),
            "next_attempt_at": None,
            "is_uncertain": False,
            "was_refused": False,
            "tries": F("tries") + 1,
        }
        return self.exclude(state="delivered").update(**changes, **UNCLAIMED, **NO_PROBLEM, **columns)

    def fail(self, *, last_error: str, **columns: Any) -> int:
        """Not retried automatically; `last_error` says why."""
        changes = {"state": "failed", "next_attempt_at": None, "last_error": last_error}
        return self.update(**changes, **UNCLAIMED, **columns)

    def cancel(self) -> int:
        return self.update(state="cancelled", next_attempt_at=None, **UNCLAIMED)

    def hold(self, flood_hold: "FloodHold") -> int:
        return self.update(state="held", flood_hold=flood_hold, next_attempt_at=None, **UNCLAIMED)


class Delivery(models.Model):
    """One post x one mapping: the request as rendered, its state, and what it became.

    `request` is what is sent, byte for byte, at every try; `key_version` grows only when a person asks for another
    request, or for another try after a definite refusal, and when a key expires. `key_used_at` is when the current key
    was first sent: its life at the destination starts there. `is_uncertain`: some try ended without a known outcome, so
    a ticket may exist that we do not know of.
    """

    # Prefix of `occasion` for deliveries that add a note to another delivery's ticket.
    NOTE = "note"

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        SENDING = "sending", "Sending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        HELD = "held", "Held"

    class Priority(models.IntegerChoices):
        """Which delivery of a connection goes first."""

        LIVE = 0, "Live"
        RETRY = 1, "Retry"
        BULK = 2, "Bulk"

    class Action(models.TextChoices):
        CREATE = "create", "New"
        APPEND = "append", "Comment"
        FOLLOW_UP = "follow_up", "Follow-up"

    class Result(models.TextChoices):
        CREATED = "created", "Created"
        ALREADY_THERE = "already_there", "Created by an earlier attempt"
        FOUND = "found", "Found by its external ID"
        APPENDED = "appended", "Added as a comment"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    notification = models.ForeignKey(Notification, on_delete=models.PROTECT, related_name="deliveries")
    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="deliveries", db_index=False)

    post_id = models.CharField("post", max_length=250)
    # Empty where a mapping makes one ticket per post; otherwise what distinguishes this delivery.
    occasion = models.CharField(max_length=40, blank=True, default="", db_default="")
    native_id = models.CharField(max_length=250)
    network = models.CharField(max_length=60, blank=True)
    author = models.CharField(max_length=200, blank=True)
    text = models.CharField(max_length=300, blank=True)
    link = models.CharField(max_length=2000, blank=True)
    posted_at = models.DateTimeField(null=True)
    # Author, handle and text in one short column: the one that is searched.
    search_text = models.TextField(blank=True)

    # What posts of one case share (a conversation, an author); empty where each post is a case of its own.
    case_key = models.CharField(max_length=300, blank=True, default="", db_default="")
    action = models.CharField(max_length=10, choices=Action, default=Action.CREATE, db_default="create")
    # The ticket that is appended to or followed up.
    target_number = models.CharField(max_length=40, blank=True, default="", db_default="")
    # Whether case and requester are decided and the request is final; `decision` says what was decided.
    is_prepared = models.BooleanField(default=False, db_default=False)
    # Whether the source context follows as an internal note, as a delivery of its own.
    adds_note = models.BooleanField(default=False, db_default=False)
    decision = models.TextField(blank=True, default="", db_default="")
    # What else staff should know: who replaces the author, what was left out, what the account dropped.
    remarks = models.TextField(blank=True, default="", db_default="")
    request = models.TextField(blank=True)
    external_id = models.CharField(max_length=250)
    key_version = models.PositiveIntegerField(default=1)
    key_used_at = models.DateTimeField(null=True)
    is_uncertain = models.BooleanField(default=False)
    look_up_next = models.BooleanField(default=False)
    was_refused = models.BooleanField(default=False)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.LIVE, db_default=0)
    # Tries that count towards the schedule; `attempt_count` includes those that ended in a pause of the connection.
    tries = models.PositiveIntegerField(default=0)
    attempt_count = models.PositiveIntegerField("attempts", default=0)
    next_attempt_at = models.DateTimeField("next attempt", null=True)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")
    # The failure group: failures with the same cause are shown, retried and rebuilt together.
    cause = models.CharField(max_length=250, blank=True, default="", db_default="")
    remedy = models.TextField(blank=True, default="", db_default="")
    # Where to apply the remedy: "mapping", "connection", or a path at the account.
    remedy_at = models.CharField(max_length=500, blank=True, default="", db_default="")
    batch = models.ForeignKey("Batch", on_delete=models.PROTECT, null=True, related_name="deliveries", db_index=False)
    flood_hold = models.ForeignKey(
        "FloodHold", on_delete=models.PROTECT, null=True, related_name="deliveries", db_index=False
    )

    result = models.CharField(max_length=14, choices=Result, blank=True, default="")
    ticket_number = models.CharField("ticket", max_length=40, blank=True, default="")
    ticket_url = models.CharField(max_length=500, blank=True, default="")
    delivered_at = models.DateTimeField(null=True)
    # The newest known state of the ticket, by the account's clock.
    ticket_status = models.CharField(max_length=20, blank=True, default="", db_default="")
    ticket_assignee = models.CharField(max_length=200, blank=True, default="", db_default="")
    ticket_changed_at = models.DateTimeField(null=True)
    solved_at = models.DateTimeField("first solved", null=True)
    next_poll_at = models.DateTimeField(null=True)
    labelled_again = models.PositiveIntegerField(default=0)
    labelled_again_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField("time", db_default=Now())

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["mapping", "post_id", "occasion"], name="delivery_once_per_mapping_post_and_occasion"
            ),
            models.CheckConstraint(
                condition=~Q(state="delivered") | (~Q(ticket_number="") & Q(delivered_at__isnull=False)),
                name="delivery_delivered_has_its_ticket",
            ),
            models.CheckConstraint(
                condition=~Q(state="pending") | Q(next_attempt_at__isnull=False), name="delivery_pending_has_a_next_try"
            ),
            models.CheckConstraint(
                condition=~Q(state="sending") | (Q(claim__isnull=False) & Q(claimed_until__isnull=False)),
                name="delivery_sending_has_a_lease",
            ),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(last_error=""), name="delivery_failed_says_why"),
            models.CheckConstraint(
                condition=~Q(state__in=["pending", "sending"]) | ~Q(request=""), name="delivery_waiting_has_its_request"
            ),
            models.CheckConstraint(
                condition=~Q(state="held") | Q(flood_hold__isnull=False), name="delivery_held_has_its_hold"
            ),
            models.CheckConstraint(
                condition=Q(action="create") | ~Q(target_number=""), name="delivery_of_a_ticket_names_it"
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
            models.Index(fields=["state", "-created_at", "-id"], name="delivery_state_newest"),
            models.Index(fields=["mapping", "-created_at", "-id"], name="delivery_mapping_newest"),
            models.Index(fields=["connection", "-created_at", "-id"], name="delivery_connection_newest"),
            models.Index(fields=["network", "-created_at", "-id"], name="delivery_network_newest"),
            models.Index(fields=["post_id"], name="delivery_post"),
            models.Index(fields=["native_id"], name="delivery_native_id"),
            models.Index(fields=["ticket_number"], condition=~Q(ticket_number=""), name="delivery_ticket"),
            models.Index(
                fields=["connection", "priority", "next_attempt_at", "id"],
                condition=Q(state="pending"),
                name="delivery_due",
            ),
            models.Index(fields=["flood_hold"], condition=Q(flood_hold__isnull=False), name="delivery_of_flood_hold"),
            models.Index(
                fields=["connection", "next_poll_at"],
                condition=Q(next_poll_at__isnull=False),
                name="delivery_to_poll",
            ),
            models.Index(fields=["mapping", "case_key", "-id"], condition=~Q(case_key=""), name="delivery_case"),
            models.Index(fields=["cause", "mapping"], condition=Q(state="failed"), name="delivery_failed_by_cause"),
            models.Index(
                fields=["ticket_status", "-created_at", "-id"],
                condition=~Q(ticket_status=""),
                name="delivery_ticket_status_newest",
            ),
            models.Index(
                fields=["posted_at"],
                condition=Q(state__in=["pending", "sending", "failed", "held"]),
                name="delivery_without_a_ticket",
            ),
            models.Index(
                fields=["mapping", "posted_at"],
                condition=Q(state="delivered", solved_at__isnull=True),
                name="delivery_not_solved",
            ),
            models.Index(fields=["connection", "claimed_until"], condition=Q(state="sending"), name="delivery_lease"),
            GinIndex(OpClass(Upper("search_text"), "gin_trgm_ops"), name="delivery_search"),
        ]

    def __str__(self) -> str:
        return f"Delivery {self.pk}: {self.post_id}"

    @property
    def is_note(self) -> bool:
        """Whether it adds the internal note with the source context to another delivery's ticket."""
        return self.occasion.startswith(self.NOTE)

    @property
    def idempotency_key(self) -> str:
        return f"casebridge-{self.uuid}-{self.key_version}"


class Attempt(models.Model):
    """One try at a delivery. Written before the call and completed after it: no end means that its process died."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered", "Delivered"
        RETRY = "retry", "Will retry"
        REFUSED = "refused", "Refused"
        GIVEN_UP = "given_up", "Given up"
        PAUSED = "paused", "Connection paused"
        WAITED = "waited", "Waiting for the rate limit"

    delivery = models.ForeignKey(Delivery, on_delete=models.PROTECT, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    key_version = models.PositiveIntegerField("idempotency key version")
    started_at = models.DateTimeField("started", db_default=Now())
    finished_at = models.DateTimeField("finished", null=True)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True, default="")
    status = models.PositiveIntegerField("status", null=True)
    duration_ms = models.PositiveIntegerField("duration (ms)", null=True)
    meaning = models.TextField(blank=True, default="")
    detail = models.TextField("response", blank=True, default="")
    # What was sent, where the delivery holds another request by now; empty while it still holds this one.
    request = models.TextField(blank=True, default="")
    # The calls made, secrets removed: [{"method", "url", "headers", "body", "status", "reply_headers", "reply", ...}].
    exchanges = models.JSONField(default=list)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_numbered_once"),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | ~Q(outcome=""), name="attempt_finished_has_an_outcome"
            ),
        ]
        indexes = [
            models.Index(fields=["-started_at", "-id"], name="attempt_newest"),
            models.Index(fields=["outcome", "-started_at", "-id"], name="attempt_outcome_newest"),
        ]

    def __str__(self) -> str:
        return f"Attempt {self.number}"


class Batch(models.Model):
    """One call that creates up to 100 tickets, and the job at Zendesk that does it. Written before the call.

    `delivery_ids` are in the order they were sent in: results name the index. In state `unknown` the outcome was lost:
    tickets may exist or still be created, so each delivery is looked up before it is sent again.
    """

    class State(models.TextChoices):
        SENDING = "sending", "Sending"
        RUNNING = "running", "Being processed"
        DONE = "done", "Done"
        UNKNOWN = "unknown", "Unknown (tickets are looked up one by one)"
        REFUSED = "refused", "Refused"

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="batches")
    claim = models.UUIDField(default=uuid.uuid4, unique=True)
    delivery_ids = models.JSONField(default=list)
    state = models.CharField(max_length=8, choices=State, default=State.SENDING)
    number = models.CharField("job number", max_length=120, blank=True, default="")
    message = models.TextField(blank=True, default="")
    made = models.PositiveIntegerField("created", default=0)
    failed = models.PositiveIntegerField(default=0)
    polls = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField("started", db_default=Now())
    next_poll_at = models.DateTimeField(null=True)
    polling_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField("finished", null=True)

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-started_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(state="running") | ~Q(number=""), name="batch_running_has_its_number"),
            models.CheckConstraint(
                condition=~Q(state__in=["done", "unknown", "refused"]) | Q(finished_at__isnull=False),
                name="batch_ended_has_an_end",
            ),
        ]
        indexes = [
            models.Index(fields=["next_poll_at"], condition=Q(state__in=["sending", "running"]), name="batch_under_way")
        ]

    def __str__(self) -> str:
        return f"Batch {self.pk}"


class FloodHold(models.Model):
    """A flood on one mapping, held under one ticket at a person's request, until a person releases it."""

    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="flood_holds")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    opened_by = models.CharField("started by", max_length=150)
    opened_at = models.DateTimeField("started", db_default=Now())
    ended_by = models.CharField(max_length=150, blank=True, default="")
    ended_at = models.DateTimeField("ended", null=True)
    # How it ended. "released": a ticket for each post.
    ending = models.CharField(max_length=8, blank=True, default="")
    ticket_number = models.CharField("ticket", max_length=40)
    ticket_url = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["mapping"], condition=Q(ended_at__isnull=True), name="flood_hold_open_once_per_mapping"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | ~Q(ending=""), name="flood_hold_ended_says_how"
            ),
        ]

    def __str__(self) -> str:
        return f"Flood hold {self.ticket_number}"
