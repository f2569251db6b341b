"""What was received, raw: Khoros' notifications and an account's ticket events. Appended, never rewritten."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now, Upper

from integrations.models.configuration import Connection, Subscription


class Notification(models.Model):
    """One stored call from Khoros, raw. Stored once per (subscription, event key); a repeat is only counted."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        ROUTED = "routed", "Matched"
        UNMATCHED = "unmatched", "Unmatched"
        UNREADABLE = "unreadable", "Unreadable"
        MISSED = "missed", "Missed"

    class Source(models.TextChoices):
        PUSHED = "pushed", "Pushed by Khoros"
        CAUGHT_UP = "caught_up", "Fetched from Khoros"
        TEST = "test", "Test notification"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="notifications")
    event_key = models.CharField(max_length=140)
    event_name = models.CharField("event", max_length=100, blank=True, default="")
    source = models.CharField(max_length=10, choices=Source, default=Source.PUSHED)
    body = models.BinaryField()
    headers = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=State, default=State.RECEIVED)
    reason = models.TextField(blank=True, default="")
    # "twitter:123 Ann: beginning of the text", one line per post: shown in lists and searched.
    summary = models.TextField("posts", blank=True, default="")
    # What routing decided for each post and mapping:
    # [{"post": "twitter:123", "mapping": 4, "delivery": 17 or null, "made": true, "reason": ""}].
    outcome = models.JSONField(default=list)
    received_at = models.DateTimeField("received at", db_default=Now())
    # By Khoros' own clock; null where the envelope names no readable time.
    happened_at = models.DateTimeField("happened at", null=True)
    routed_at = models.DateTimeField(null=True)
    repeats = models.PositiveIntegerField(default=0)
    last_repeat_at = models.DateTimeField(null=True)
    # Until then a queue message for this row is assumed to be on its way; the sweep skips it.
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
            models.Index(fields=["subscription", "-received_at", "-id"], name="notification_by_subscription"),
            models.Index(fields=["received_at"], condition=Q(state="received"), name="notification_to_route"),
            GinIndex(OpClass(Upper("summary"), "gin_trgm_ops"), name="notification_search"),
        ]

    def __str__(self) -> str:
        return f"Notification {self.pk}"


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
    message = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-received_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["connection", "event_id"], name="ticket_event_stored_once")]
        indexes = [
            models.Index(fields=["received_at"], condition=Q(applied_at__isnull=True), name="ticket_event_to_apply")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ticket_number}"
