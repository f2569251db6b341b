"""Content of what is sent, and what was answered. It is deleted after a time (operations/retention.py).

Nothing that is kept points at these rows; each points at the row of the ledger that it belongs to. What keeps a post
from being delivered twice (notifications' event keys, deliveries, what they became) is in the ledger.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models.deliveries import Delivery
from integrations.models.fields import PackedJSONField, PackedTextField
from integrations.models.received import PostContent


class DeliveryContent(models.Model):
    """What a delivery sends: `request`, byte for byte at every try; and what else staff should know about it.

    `remarks`: who replaces the author, what was left out, what the account dropped.
    """

    delivery = models.OneToOneField(Delivery, on_delete=models.CASCADE, primary_key=True, related_name="content")
    # Without its own post it says nothing of it: a note follows another delivery's post.
    post = models.ForeignKey(PostContent, on_delete=models.SET_NULL, null=True, related_name="deliveries")
    # What it is found by at the destination: the same in every copy of the portal, and part of the request.
    external_id = models.CharField(max_length=250)
    request = PackedTextField()
    remarks = models.TextField(blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"Content of delivery {self.pk}"

    @classmethod
    def store_request(cls, delivery_id: int, request: str, remarks: str) -> None:
        """The request that is sent from now on, and what staff should know about it."""
        cls.objects.filter(pk=delivery_id).update(request=request, remarks=remarks)

    def store_rendered(self) -> None:
        """What was rendered anew, with what it is found by."""
        self.save(update_fields=["external_id", "request", "remarks"])


class Attempt(models.Model):
    """One try at a delivery. Written before the call and completed after it: no end means that its process died."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered", "Delivered"
        RETRY = "retry", "Will retry"
        REFUSED = "refused", "Refused"
        GIVEN_UP = "given_up", "Given up"
        PAUSED = "paused", "Connection paused"
        WAITED = "waited", "Waiting for the rate limit"

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    key_version = models.PositiveIntegerField("idempotency key version")
    started_at = models.DateTimeField("started", db_default=Now())
    finished_at = models.DateTimeField("finished", null=True)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True, default="")
    status = models.PositiveIntegerField("status", null=True)
    duration_ms = models.PositiveIntegerField("duration (ms)", null=True)
    meaning = models.TextField(blank=True, default="")
    detail = models.TextField("response", blank=True, default="")
    # What was sent, once the delivery's request has been replaced; empty while it still holds this one.
    request = PackedTextField()
    # The calls made, without secrets: [{"method", "url", "headers", "body_bytes", "status", "reply_headers", "reply"}].
    exchanges = PackedJSONField()

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_numbered_once"),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | ~Q(outcome=""), name="attempt_finished_has_an_outcome"
            ),
        ]
        indexes = [
            # The list, newest first.
            models.Index(fields=["-started_at", "-id"], name="attempt_newest"),
            # The list by outcome; most are deliveries, which the list above finds at once.
            models.Index(
                fields=["outcome", "-started_at", "-id"],
                condition=~Q(outcome="delivered"),
                name="attempt_outcome_newest",
            ),
        ]

    def __str__(self) -> str:
        return f"Attempt {self.number}"

    @classmethod
    def keep_request(cls, delivery_id: int) -> None:
        """Earlier attempts sent the request that is about to be replaced: the log keeps it with them."""
        sent = DeliveryContent.objects.filter(pk=delivery_id).values_list("request", flat=True).first()
        if sent:
            cls.objects.filter(delivery=delivery_id, request=b"").update(request=sent)
