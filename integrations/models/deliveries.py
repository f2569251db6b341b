"""Deliveries, and the batches and flood holds that concern many of them. None of it is ever deleted."""

import hashlib
import uuid
from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.configuration import Mapping
from integrations.models.connections import Connection
from integrations.models.notifications import Notification
from integrations.models.received import PostContent
from integrations.models.remote import RemoteObject

UNCLAIMED: dict[str, Any] = {"claim": None, "claimed_until": None}
NO_PROBLEM: dict[str, Any] = {"last_error": "", "cause": "", "remedy": "", "remedy_at": ""}


MOST_COUNTED = 50_000


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Deliveries by what may happen to them next, and their state transitions, which set further columns by name."""

    def due(self) -> "DeliveryQuerySet":
        """To be sent now."""
        return self.filter(state="pending", next_attempt_at__lte=Now())

    def live(self) -> "DeliveryQuerySet":
        """To be sent now, before anything else."""
        return self.due().filter(priority=0)

    def count_live(self) -> int:
        """How many, as far as anybody wants to know."""
        return self.live()[:MOST_COUNTED].count()

    def abandoned(self) -> "DeliveryQuerySet":
        """Claimed by a process that died. Deliveries of a batch under way are left to its follow-up."""
        job_goes_on = Q(batch__isnull=False, batch__state__in=["sending", "running"])
        return self.filter(~job_goes_on, state="sending", claimed_until__lte=Now())

    def late(self, trusted_seconds: int) -> "DeliveryQuerySet":
        """Never sent, though the event is older than a key is trusted: another copy of the portal may have sent it."""
        before = Now() - timedelta(seconds=trusted_seconds)
        return self.filter(key_used_at__isnull=True, event_at__lt=before).exclude(action__in=["append", "update"])

    def failed_by(self, cause: str, mapping_id: int) -> "DeliveryQuerySet":
        """One group of failures: those of a mapping with the same cause."""
        return self.filter(state="failed", cause=cause, mapping=mapping_id)

    def changeable(self) -> "DeliveryQuerySet":
        """What staff may send, rebuild or cancel: neither delivered nor being sent."""
        return self.filter(state__in=["pending", "failed", "cancelled", "held", "waiting"])

    def schedule(self, at: Any = None, **columns: Any) -> int:
        """To be sent at that time, or now."""
        return self.update(**{"state": "pending", "next_attempt_at": at or Now(), **UNCLAIMED, **columns})

    def bring_forward(self) -> int:
        """What waits for its next try is due now."""
        return self.filter(state="pending", next_attempt_at__gt=Now()).update(next_attempt_at=Now())

    def fail(self, *, last_error: str, **columns: Any) -> int:
        """Not retried automatically; `last_error` says why."""
        changes = {"state": "failed", "next_attempt_at": None, "last_error": last_error}
        return self.update(**changes, **UNCLAIMED, **columns)

    def deliver_with(self, report: "Delivery", decision: str) -> int:
        """Counted in another delivery's thing."""
        return self.update(
            state="delivered",
            result="counted",
            remote_object=report.remote_object_id,
            delivered_at=Now(),
            decision=decision,
            **UNCLAIMED,
        )

    def cancel(self) -> int:
        return self.update(state="cancelled", next_attempt_at=None, **UNCLAIMED)

    def wait(self, **columns: Any) -> int:
        """For what the delivery that this one follows becomes, or for the message that counts it."""
        return self.update(state="waiting", is_rendered=False, next_attempt_at=None, **UNCLAIMED, **columns)

    def to_be_woken(self) -> "DeliveryQuerySet":
        """What waits for another, and what was not to be sent because that one made nothing (it says so)."""
        waits = Q(state="waiting") | Q(state="cancelled") & ~Q(decision="")
        return self.filter(waits, is_rendered=False, burst__isnull=True)

    def hold(self, flood_hold: "FloodHold") -> int:
        return self.update(state="held", flood_hold=flood_hold, next_attempt_at=None, **UNCLAIMED)


class Delivery(models.Model):
    """The ledger: one post x one mapping x one occasion, its state, and what it became. Kept for ever.

    It is what keeps a post from becoming a second ticket, so it is small; the request, the post's text and the attempts
    are content (models/content.py), which is deleted after a time. Whatever a claim writes is here.

    `key_version` is the version of the idempotency key: it grows when another request is sent, after a definite refusal
    of the present one, and when a key expires. `key_used_at` is when the present key was first claimed for sending: its
    life at the destination starts there. `is_uncertain`: some try ended without a known outcome, so a thing may exist
    that we do not know of. `event_at` is when the event happened, else when it was received: a request that was never
    sent and is older than a key's life may have been sent by another copy of the portal, so it is looked up first.
    """

    # Prefixes of `occasion` for what follows other deliveries of the mapping: a note on a delivery's ticket, the update
    # of its message once it is solved, and the message that counts a burst.
    NOTE, SOLVED, BURST = "note", "solved", "burst"

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        SENDING = "sending", "Sending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        HELD = "held", "Held"
        WAITING = "waiting", "Waiting for another"

    class Priority(models.IntegerChoices):
        """Which delivery of a connection goes first."""

        LIVE = 0, "Live"
        RETRY = 1, "Retry"
        BULK = 2, "Bulk"

    class Action(models.TextChoices):
        CREATE = "create", "New"
        APPEND = "append", "Comment"
        FOLLOW_UP = "follow_up", "Follow-up"
        UPDATE = "update", "Update"

    class Result(models.TextChoices):
        CREATED = "created", "Created"
        ALREADY_THERE = "already_there", "Created by an earlier attempt"
        FOUND = "found", "Found by its external ID"
        APPENDED = "appended", "Added to it"
        UPDATED = "updated", "Updated"
        COUNTED = "counted", "Counted with others"

    # On the way; and whatever is not delivered, and not called off either.
    UNDER_WAY = ("pending", "sending", "held", "waiting")
    UNDELIVERED = ("pending", "sending", "failed", "held", "waiting")

    notification = models.ForeignKey(Notification, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="deliveries", db_index=False)

    post_id = models.CharField("post", max_length=250)
    # Empty where a mapping makes one thing per post; otherwise what distinguishes this delivery, by the event's key.
    occasion = models.CharField(max_length=60, blank=True, default="", db_default="")
    network = models.CharField(max_length=60, blank=True)
    posted_at = models.DateTimeField(null=True)
    event_at = models.DateTimeField(db_default=Now())

    # What posts of one case share (a conversation, an author); empty where each post is a case of its own.
    case_key = models.CharField(max_length=300, blank=True, default="", db_default="")
    action = models.CharField(max_length=10, choices=Action, default=Action.CREATE, db_default="create")
    # The number of the thing that is appended to or followed up.
    target_number = models.CharField(max_length=250, blank=True, default="", db_default="")
    # Whether there is a request to send: it was rendered.
    is_rendered = models.BooleanField(default=True, db_default=True)
    # Whether case and requester are decided and the request is final; `decision` says what was decided.
    is_prepared = models.BooleanField(default=False, db_default=False)
    # Whether the source context follows as an internal note, as a delivery of its own.
    adds_note = models.BooleanField(default=False, db_default=False)
    decision = models.TextField(blank=True, default="", db_default="")
    key_version = models.PositiveIntegerField(default=1)
    key_used_at = models.DateTimeField(null=True)
    is_uncertain = models.BooleanField(default=False)
    # How many tries ended so, since a person decided last: where nobody drops what comes twice, two are too many.
    unknown_outcomes = models.PositiveSmallIntegerField(default=0, db_default=0)
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

    # Its post is counted in the burst's message, with others.
    burst = models.ForeignKey("Burst", on_delete=models.PROTECT, null=True, related_name="posts", db_index=False)
    # The delivery of the same post that it is sent after: it waits for what that one becomes.
    follows = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="followers", db_index=False)

    result = models.CharField(max_length=14, choices=Result, blank=True, default="")
    remote_object = models.ForeignKey(
        RemoteObject, on_delete=models.PROTECT, null=True, related_name="deliveries", db_index=False
    )
    delivered_at = models.DateTimeField(null=True)
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
                condition=~Q(state="delivered") | (Q(remote_object__isnull=False) & Q(delivered_at__isnull=False)),
                name="delivery_delivered_has_become_something",
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
                condition=~Q(state__in=["pending", "sending"]) | Q(is_rendered=True),
                name="delivery_to_be_sent_has_its_request",
            ),
            models.CheckConstraint(
                condition=~Q(state="held") | Q(flood_hold__isnull=False), name="delivery_held_has_its_hold"
            ),
            models.CheckConstraint(
                condition=~Q(state="waiting") | Q(follows__isnull=False) | Q(burst__isnull=False),
                name="delivery_waits_for_something_by_name",
            ),
            models.CheckConstraint(
                condition=Q(action="create") | ~Q(target_number=""), name="delivery_to_an_existing_thing_names_it"
            ),
        ]
        indexes = [
            # The list, newest first; its filter by time; most states.
            models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
            # The list by state, for the states that are rare; counts on the overview.
            models.Index(
                fields=["state", "-created_at", "-id"], condition=~Q(state="delivered"), name="delivery_state_newest"
            ),
            # The list by mapping, by connection, by network (whose filter also steps through it).
            models.Index(fields=["mapping", "-created_at", "-id"], name="delivery_mapping_newest"),
            models.Index(fields=["connection", "-created_at", "-id"], name="delivery_connection_newest"),
            models.Index(fields=["network", "-created_at", "-id"], name="delivery_network_newest"),
            # From a thing's number or status to what became it.
            models.Index(
                fields=["remote_object"], condition=Q(remote_object__isnull=False), name="delivery_of_remote_object"
            ),
            # The claim: what is due, and what a dead process holds.
            models.Index(
                fields=["connection", "priority", "next_attempt_at", "id"],
                condition=Q(state="pending"),
                name="delivery_due",
            ),
            models.Index(fields=["connection", "claimed_until"], condition=Q(state="sending"), name="delivery_lease"),
            # Posts of one case find one another.
            models.Index(fields=["mapping", "case_key", "-id"], condition=~Q(case_key=""), name="delivery_case"),
            # The page of a flood hold, and its release.
            models.Index(fields=["flood_hold"], condition=Q(flood_hold__isnull=False), name="delivery_of_flood_hold"),
            # The posts of a burst.
            models.Index(fields=["burst", "id"], condition=Q(burst__isnull=False), name="delivery_of_burst"),
            # What waits for another, and what was sent after it.
            models.Index(fields=["follows"], condition=Q(follows__isnull=False), name="delivery_that_follows"),
            # Failures by cause.
            models.Index(fields=["cause", "mapping"], condition=Q(state="failed"), name="delivery_failed_by_cause"),
            # Targets: the oldest post that is still to be delivered.
            models.Index(
                fields=["posted_at"],
                condition=Q(state__in=["pending", "sending", "failed", "held", "waiting"]),
                name="delivery_not_delivered",
            ),
        ]

    def __str__(self) -> str:
        return f"Delivery {self.pk}: {self.post_id}"

    def claimed_by(self, claim: uuid.UUID) -> DeliveryQuerySet:
        """Its row, unless somebody took over after that claim's lease ran out."""
        return Delivery.objects.filter(pk=self.pk, claim=claim)

    @property
    def is_note(self) -> bool:
        """Whether it adds the internal note with the source context to another delivery's ticket."""
        return self.occasion.startswith(self.NOTE)

    @property
    def counts_a_burst(self) -> bool:
        """Whether it is a message that counts the posts of a burst."""
        return self.occasion.startswith(self.BURST)

    @property
    def idempotency_key(self) -> str:
        """The same wherever this delivery is made: of what any copy of the portal receives, and the key's version."""
        digest = hashlib.sha256(self.external_id.encode()).hexdigest()[:40]
        return f"casebridge-{digest}-{self.key_version}"

    @property
    def has_content(self) -> bool:
        """Whether request, post and attempts are still kept."""
        return hasattr(self, "content")

    @property
    def external_id(self) -> str:
        """What it is found by at the destination; empty where its content is no longer kept."""
        return self.content.external_id if self.has_content else ""

    @property
    def request(self) -> str:
        """What is sent; empty where it could not be rendered, or is no longer kept."""
        return self.content.request if self.has_content else ""

    @property
    def remarks(self) -> str:
        return self.content.remarks if self.has_content else ""

    @property
    def post(self) -> PostContent | None:
        """The post's text, author and link, as long as they are kept."""
        return self.content.post if self.has_content else None

    @property
    def number(self) -> str:
        """The number of what it became; empty while there is none."""
        return self.remote_object.number if self.remote_object else ""


class Batch(models.Model):
    """One call that creates many things, and the job at the account that does it. Written before the call.

    `delivery_ids` are in the order they were sent in: results name the index. In state `unknown` the outcome was lost:
    things may exist or still be created, so each delivery is looked up before it is sent again.
    """

    class State(models.TextChoices):
        SENDING = "sending", "Sending"
        RUNNING = "running", "Being processed"
        DONE = "done", "Done"
        UNKNOWN = "unknown", "Unknown (looked up one by one)"
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


class Burst(models.Model):
    """Many posts on one mapping within a minute, counted in one message by themselves, until a minute passes without.

    Each post has its delivery, which waits for the `report` (a delivery too) that counts it. There is one report after
    the other; posts up to the delivery `counted_up_to` are in the text of the present one. `latest` are the newest
    posts for its text, until it has ended: [{"author", "text", "link"}].
    """

    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="bursts")
    report = models.ForeignKey(Delivery, on_delete=models.PROTECT, null=True, related_name="+")
    reports = models.PositiveIntegerField(default=0)
    # The thing that is updated, once it exists, and the account where it is.
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    number = models.CharField(max_length=250, blank=True, default="")
    count = models.PositiveIntegerField(default=0)
    # Whether the present report says that the burst is over.
    says_over = models.BooleanField(default=False)
    counted_up_to = models.BigIntegerField(default=0)
    latest = models.JSONField(default=list)
    began_at = models.DateTimeField(db_default=Now())
    last_post_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True)
    # It takes no more posts; its last message was sent.
    closed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-began_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["mapping"], condition=Q(closed_at__isnull=True), name="burst_open_once_per_mapping"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(closed_at__isnull=False), name="burst_ended_is_closed"
            ),
        ]

    def __str__(self) -> str:
        return f"Burst {self.pk}"


class FloodHold(models.Model):
    """A flood on one mapping, held under one thing at a person's request, until a person releases it."""

    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="flood_holds")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    opened_by = models.CharField("started by", max_length=150)
    opened_at = models.DateTimeField("started", db_default=Now())
    ended_by = models.CharField(max_length=150, blank=True, default="")
    ended_at = models.DateTimeField("ended", null=True)
    number = models.CharField("held under", max_length=250)
    url = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["mapping"], condition=Q(ended_at__isnull=True), name="flood_hold_open_once_per_mapping"
            ),
        ]

    def __str__(self) -> str:
        return f"Flood hold {self.number}"

    @classmethod
    def with_open(cls, mappings: models.QuerySet[Mapping]) -> models.QuerySet[Mapping]:
        """The mappings in order, each annotated with its open hold (see `open_on`)."""
        open_one = cls.objects.filter(mapping=models.OuterRef("pk"), ended_at__isnull=True).values("pk")[:1]
        return mappings.annotate(open_hold_id=models.Subquery(open_one)).order_by("pk")

    @staticmethod
    def open_on(mapping: Mapping) -> int | None:
        """The id of the open hold on a mapping from `with_open`."""
        hold_id: int | None = getattr(mapping, "open_hold_id", None)
        return hold_id
