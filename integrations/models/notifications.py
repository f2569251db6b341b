"""What was received: Khoros' notifications, and events of accounts about what was delivered."""

import hashlib
import uuid
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.configuration import Subscription
from integrations.models.connections import Connection


class Notification(models.Model):
    """One stored call from Khoros. Stored once per (subscription, event key); a repeat is only counted. Kept for ever.

    What was received is content (models/received.py), which is deleted after a time.
    """

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
        PORTAL = "portal", "Casebridge itself"

    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="notifications", db_index=False
    )
    # A hash of what identifies the event (see `hashed`): the same event is recognised also when its content is gone.
    event_key = models.UUIDField()
    source = models.CharField(max_length=10, choices=Source, default=Source.PUSHED)
    state = models.CharField(max_length=12, choices=State, default=State.RECEIVED)
    reason = models.TextField(blank=True, default="")
    # Fitted no mapping because the conditions of each refused it: as people wished.
    is_refused = models.BooleanField(default=False, db_default=False)
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
            # The list, newest first; its filter by time.
            models.Index(fields=["-received_at", "-id"], name="notification_newest"),
            # The list by state, for the states that are rare; counts on the overview.
            models.Index(
                fields=["state", "-received_at", "-id"],
                condition=~Q(state="routed"),
                name="notification_state_newest",
            ),
            # The list by subscription; previews of its mappings.
            models.Index(fields=["subscription", "-received_at", "-id"], name="notification_by_subscription"),
            # What is still to be routed.
            models.Index(fields=["received_at"], condition=Q(state="received"), name="notification_to_route"),
        ]

    def __str__(self) -> str:
        return f"Notification {self.pk}"

    @staticmethod
    def hashed(event_key: str) -> uuid.UUID:
        """The event key as it is stored: 128 bits of its SHA-256."""
        return uuid.UUID(bytes=hashlib.sha256(event_key.encode()).digest()[:16])

    @property
    def has_content(self) -> bool:
        """Whether what was received is still kept."""
        return hasattr(self, "content")

    @property
    def event_name(self) -> str:
        return self.content.event_name if self.has_content else ""

    @property
    def outcome(self) -> list[dict[str, Any]]:
        """What routing decided, post by post and mapping by mapping (see PostContent), each with its post's id."""
        return [{"post": post.post_id, **entry} for post in self.posts.all() for entry in post.outcome]

    @property
    def summary(self) -> str:
        """ "twitter:123 Ann (@ann): beginning of the text", one line per post; empty before routing."""
        lines = (f"{post.post_id} {post.author}: {' '.join(post.text.split())[:200]}" for post in self.posts.all())
        return "\n".join(lines)


class TicketEvent(models.Model):
    """One call of an account's webhook about a ticket, verified and stored before it is answered; applied once."""

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
