"""What happened: notifications as received, deliveries made of them, attempts at each. Appended, never rewritten."""

import uuid

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now, Upper

from integrations.models.configuration import Connection, Mapping, Subscription


class Notification(models.Model):
    """One stored call from Khoros, raw. Stored once per (subscription, event key); a repeat is only counted."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        ROUTED = "routed", "Routed"
        UNMATCHED = "unmatched", "Unmatched"
        UNREADABLE = "unreadable", "Unreadable"
        MISSED = "missed", "Missed: waits to be fetched"

    class Source(models.TextChoices):
        PUSHED = "pushed", "Pushed by Khoros"
        CAUGHT_UP = "caught_up", "Caught up: fetched from Khoros"
        TEST = "test", "Self-test"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="notifications")
    event_key = models.CharField(max_length=140)
    event_name = models.CharField("event", max_length=100, blank=True, default="")
    source = models.CharField(max_length=10, choices=Source, default=Source.PUSHED)
    body = models.BinaryField()
    headers = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=State, default=State.RECEIVED)
    reason = models.TextField(blank=True, default="")
    # "twitter:123 Ann: beginning of the text", a line per post: what lists show and search reads.
    summary = models.TextField("posts", blank=True, default="")
    # What routing decided, post by post and mapping by mapping:
    # [{"post": "twitter:123", "mapping": 4, "delivery": 17 or null, "made": true, "reason": ""}].
    outcome = models.JSONField(default=list)
    received_at = models.DateTimeField("received", db_default=Now())
    # By Khoros' own clock; null where the envelope names no readable time.
    happened_at = models.DateTimeField("happened", null=True)
    routed_at = models.DateTimeField(null=True)
    repeats = models.PositiveIntegerField(default=0)
    last_repeat_at = models.DateTimeField(null=True)
    # Until then a queue message for this row is believed to be on its way; the sweep leaves it alone.
    queued_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-received_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["subscription", "event_key"], name="notification_stored_once"),
            models.CheckConstraint(
                condition=~Q(state__in=["unmatched", "unreadable", "missed"]) | ~Q(reason=""),
                name="notification_without_tickets_says_why",
            ),
        ]
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="notification_newest"),
            models.Index(fields=["state", "-received_at", "-id"], name="notification_state_newest"),
            models.Index(fields=["subscription", "-received_at", "-id"], name="notification_feed_newest"),
            models.Index(fields=["received_at"], condition=Q(state="received"), name="notification_to_route"),
            GinIndex(OpClass(Upper("summary"), "gin_trgm_ops"), name="notification_search"),
        ]

    def __str__(self) -> str:
        return f"Notification {self.pk}"


class Delivery(models.Model):
    """One post x one mapping: the request as rendered, its state, and what it became.

    `request` is what is sent, byte for byte, at every try; `key_version` grows only when a person asks for another
    request or another try after a definite refusal. `key_used_at` is when the present key was first sent: the key's
    life at the destination counts from there. `is_uncertain` says that some try ended without a known outcome, so a
    ticket may exist that we do not know of.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        SENDING = "sending", "Sending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        HELD = "held", "Held under an incident"

    class Lane(models.IntegerChoices):
        """Which goes first where a connection has room for one only."""

        LIVE = 0, "Live"
        RETRY = 1, "Retry"
        BULK = 2, "Bulk"

    class Action(models.TextChoices):
        CREATE = "create", "A new ticket"
        APPEND = "append", "A comment on a ticket"
        FOLLOW_UP = "follow_up", "A follow-up of a closed ticket"

    class Result(models.TextChoices):
        CREATED = "created", "Created"
        ALREADY_THERE = "already_there", "Already there: an earlier try had created it"
        FOUND = "found", "Found by its external id"
        APPENDED = "appended", "Added to a ticket as a comment"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    notification = models.ForeignKey(Notification, on_delete=models.PROTECT, related_name="deliveries")
    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="deliveries", db_index=False)

    post_id = models.CharField("post", max_length=250)
    # Empty where a mapping makes one ticket for each post; otherwise what makes this one different.
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
    # Whether case and requester were decided and the request made final, and what was decided, in words.
    is_prepared = models.BooleanField(default=False, db_default=False)
    # Whether the source context follows as an internal note, in a delivery of its own.
    adds_note = models.BooleanField(default=False, db_default=False)
    decision = models.TextField(blank=True, default="", db_default="")
    # What else a person should know: who stands in for the author, what was left out, what the account dropped.
    remarks = models.TextField(blank=True, default="", db_default="")
    request = models.TextField(blank=True)
    external_id = models.CharField(max_length=250)
    key_version = models.PositiveIntegerField(default=1)
    key_used_at = models.DateTimeField(null=True)
    is_uncertain = models.BooleanField(default=False)
    look_up_next = models.BooleanField(default=False)
    was_refused = models.BooleanField(default=False)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    lane = models.PositiveSmallIntegerField(choices=Lane, default=Lane.LIVE, db_default=0)
    # Tries that count towards the schedule; attempts also count those that ended in a pause of the connection.
    tries = models.PositiveIntegerField(default=0)
    attempt_count = models.PositiveIntegerField("attempts", default=0)
    next_attempt_at = models.DateTimeField("next try", null=True)
    # Written by the release before only; it goes once none of its workers runs any more.
    queued_until = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")
    # What failures with one cause share, in words: they are shown, retried and rebuilt together.
    cause = models.CharField(max_length=250, blank=True, default="", db_default="")
    remedy = models.TextField(blank=True, default="", db_default="")
    # Where the remedy is done: "mapping", "connection", or an address at the account.
    remedy_at = models.CharField(max_length=500, blank=True, default="", db_default="")
    job = models.ForeignKey("BulkJob", on_delete=models.PROTECT, null=True, related_name="deliveries", db_index=False)
    incident = models.ForeignKey(
        "Incident", on_delete=models.PROTECT, null=True, related_name="deliveries", db_index=False
    )

    result = models.CharField(max_length=14, choices=Result, blank=True, default="")
    ticket_number = models.CharField("ticket", max_length=40, blank=True, default="")
    ticket_url = models.CharField(max_length=500, blank=True, default="")
    delivered_at = models.DateTimeField(null=True)
    # What became of the ticket, by the account's own clock: the newest known.
    ticket_status = models.CharField(max_length=20, blank=True, default="", db_default="")
    ticket_assignee = models.CharField(max_length=200, blank=True, default="", db_default="")
    ticket_changed_at = models.DateTimeField(null=True)
    solved_at = models.DateTimeField("first solved", null=True)
    next_look_at = models.DateTimeField(null=True)
    labelled_again = models.PositiveIntegerField(default=0)
    labelled_again_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField("time", db_default=Now())

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
                condition=~Q(state="held") | Q(incident__isnull=False), name="delivery_held_has_its_incident"
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
                fields=["connection", "lane", "next_attempt_at", "id"],
                condition=Q(state="pending"),
                name="delivery_due_by_lane",
            ),
            models.Index(fields=["incident"], condition=Q(incident__isnull=False), name="delivery_of_incident"),
            models.Index(
                fields=["connection", "next_look_at"],
                condition=Q(next_look_at__isnull=False),
                name="delivery_to_look_at",
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
    def idempotency_key(self) -> str:
        return f"casebridge-{self.uuid}-{self.key_version}"


class Attempt(models.Model):
    """One try at a delivery. Written before the call and completed after it: a missing end means that it died."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered", "Delivered"
        RETRY = "retry", "Will be tried again"
        REFUSED = "refused", "Refused"
        GIVEN_UP = "given_up", "Given up"
        PAUSED = "paused", "Paused the connection"
        WAITED = "waited", "Not sent: waiting for its turn"

    delivery = models.ForeignKey(Delivery, on_delete=models.PROTECT, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    key_version = models.PositiveIntegerField()
    started_at = models.DateTimeField("started", db_default=Now())
    finished_at = models.DateTimeField("finished", null=True)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True, default="")
    status = models.PositiveIntegerField("answer", null=True)
    duration_ms = models.PositiveIntegerField("duration (ms)", null=True)
    meaning = models.TextField(blank=True, default="")
    detail = models.TextField("its own words", blank=True, default="")
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


class BulkJob(models.Model):
    """One call that makes up to 100 tickets, and the job at Zendesk that does it. Written down before the call.

    `delivery_ids` are in the order they were sent in: results name the index. A job without a number whose call ended
    is `unknown`: its tickets may exist or come to exist, so its deliveries are looked up before anything is sent again.
    """

    class State(models.TextChoices):
        SENDING = "sending", "Being sent"
        RUNNING = "running", "Running at Zendesk"
        DONE = "done", "Done"
        UNKNOWN = "unknown", "Outcome unknown: looked up one by one"
        REFUSED = "refused", "Refused"

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="jobs")
    claim = models.UUIDField(default=uuid.uuid4, unique=True)
    delivery_ids = models.JSONField(default=list)
    state = models.CharField(max_length=8, choices=State, default=State.SENDING)
    number = models.CharField("job", max_length=120, blank=True, default="")
    words = models.TextField(blank=True, default="")
    made = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    polls = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField("started", db_default=Now())
    next_poll_at = models.DateTimeField(null=True)
    polling_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField("finished", null=True)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(state="running") | ~Q(number=""), name="job_running_has_its_number"),
            models.CheckConstraint(
                condition=~Q(state__in=["done", "unknown", "refused"]) | Q(finished_at__isnull=False),
                name="job_ended_has_an_end",
            ),
        ]
        indexes = [
            models.Index(fields=["next_poll_at"], condition=Q(state__in=["sending", "running"]), name="job_under_way")
        ]

    def __str__(self) -> str:
        return f"Job {self.number or self.pk}"


class Incident(models.Model):
    """A flood on one mapping, held under one ticket because a person said yes, until a person releases it."""

    mapping = models.ForeignKey(Mapping, on_delete=models.PROTECT, related_name="incidents")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    opened_by = models.CharField(max_length=150)
    opened_at = models.DateTimeField("opened", db_default=Now())
    ended_by = models.CharField(max_length=150, blank=True, default="")
    ended_at = models.DateTimeField("ended", null=True)
    # "released": a ticket for each post.
    ending = models.CharField(max_length=8, blank=True, default="")
    ticket_number = models.CharField("ticket", max_length=40)
    ticket_url = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["mapping"], condition=Q(ended_at__isnull=True), name="incident_open_once_per_mapping"
            ),
            models.CheckConstraint(condition=Q(ended_at__isnull=True) | ~Q(ending=""), name="incident_ended_says_how"),
        ]

    def __str__(self) -> str:
        return f"Incident {self.ticket_number}"


class TicketEvent(models.Model):
    """One call of Zendesk's webhook about a ticket, verified and stored before it is answered; applied once."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="ticket_events")
    event_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=120, blank=True, default="")
    ticket_number = models.CharField("ticket", max_length=40, blank=True, default="")
    body = models.BinaryField()
    received_at = models.DateTimeField("received", db_default=Now())
    applied_at = models.DateTimeField(null=True)
    repeats = models.PositiveIntegerField(default=0)
    words = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-received_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["connection", "event_id"], name="ticket_event_stored_once")]
        indexes = [
            models.Index(fields=["received_at"], condition=Q(applied_at__isnull=True), name="ticket_event_to_apply")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ticket_number}"
