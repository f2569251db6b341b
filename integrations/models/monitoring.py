"""What is known about a subscription besides its notifications: changes, catch-ups, probes, volume; and turns."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra.http.failure import Failure
from integrations.infra.text import storable
from integrations.models.configuration import Company, Subscription

log = structlog.get_logger(__name__)


class Change(models.Model):
    """One change that Casebridge made at Khoros, written before the call and completed after it.

    `by` is the user who asked for it; empty for the regular check. No end means that the process died in the middle:
    the next check reads the actual state at Khoros and continues from there.
    """

    class Action(models.TextChoices):
        POST = "post", "Registered"
        ACTIVATE = "activate", "Activated"
        PAUSE = "pause", "Paused"
        RETIRE = "retire", "Deleted"
        PAUSE_OTHER = "pause_other", "Paused (created by someone else)"
        RETIRE_OTHER = "retire_other", "Deleted (no longer used)"

    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="changes")
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, null=True, related_name="changes")
    action = models.CharField(max_length=12, choices=Action)
    khoros_uuid = models.CharField("ID at Khoros", max_length=64, blank=True, default="")
    because = models.TextField("reason", blank=True, default="")
    by = models.CharField(max_length=150, blank=True, default="")
    started_at = models.DateTimeField("time", db_default=Now())
    finished_at = models.DateTimeField(null=True)
    is_done = models.BooleanField(default=False)
    message = models.TextField("response from Khoros", blank=True, default="")

    class Meta:
        verbose_name, verbose_name_plural = "change at Khoros", "changes at Khoros"
        ordering = ["-started_at", "-id"]
        indexes = [models.Index(fields=["subscription", "-started_at"], name="change_by_subscription")]
        constraints = [
            models.CheckConstraint(
                condition=Q(is_done=False) | Q(finished_at__isnull=False), name="change_done_has_an_end"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.khoros_uuid}"

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Around the call: completes the row with what came of it, done or Khoros' refusal. Exceptions propagate."""
        log.info("changing a subscription at Khoros", action=self.action, khoros_uuid=self.khoros_uuid)
        try:
            yield
        except BaseException as error:
            reply = f"{error.message}\n{error.detail}" if isinstance(error, Failure) else str(error)
            self._complete(is_done=False, message=reply.strip())
            raise
        self._complete(is_done=True)

    def _complete(self, *, is_done: bool, message: str = "") -> None:
        Change.objects.filter(pk=self.pk).update(
            finished_at=Now(), is_done=is_done, message=storable(message), khoros_uuid=self.khoros_uuid[:64]
        )


class CatchUp(models.Model):
    """One run over Khoros' list of events for a subscription; its counts grow page by page.

    Counts are of events: `read` = known + new + unreadable + missing. What a comparison finds missing is stored as
    well, but not routed until somebody fetches it: reading may remove events at Khoros.
    """

    class Mode(models.TextChoices):
        RECENT = "recent", "Newest events"
        WHOLE = "whole", "All events at Khoros"
        COMPARE = "compare", "Comparison only"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for a worker"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="catch_ups")
    mode = models.CharField("scope", max_length=8, choices=Mode)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    requested_by = models.CharField(max_length=150, blank=True, default="")
    started_at = models.DateTimeField("started", db_default=Now())
    progressed_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField("finished", null=True)
    pages = models.PositiveIntegerField(default=0)
    read = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField("already known", default=0)
    new = models.PositiveIntegerField(default=0)
    unreadable = models.PositiveIntegerField(default=0)
    missing = models.PositiveIntegerField(default=0)
    message = models.TextField(blank=True, default="")
    # Where the walk over the list is, so that the next run goes on there: which list, how far, since when, what order.
    khoros_uuid = models.CharField(max_length=64, blank=True, default="")
    position = models.PositiveIntegerField(default=0)
    order = models.CharField(max_length=8, blank=True, default="")
    walk_began_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "catch-up"
        ordering = ["-started_at", "-id"]
        indexes = [models.Index(fields=["subscription", "-started_at"], name="catch_up_by_subscription")]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state__in=["done", "failed"]) | Q(finished_at__isnull=False),
                name="catch_up_ended_has_an_end",
            ),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(message=""), name="catch_up_failed_says_why"),
        ]

    def __str__(self) -> str:
        return f"Catch-up {self.pk}"


class Turn(models.Model):
    """Regular work, by whichever clock comes first (jobs.clock): when begun and, if needed, when done."""

    class Name(models.TextChoices):
        SWEEP = "sweep", "Sweep"
        WATCH = "watch", "Alarms and upkeep"
        ASK = "ask", "Question to the workers"
        LABELS = "labels", "Labels of companies"

    name = models.CharField(max_length=8, primary_key=True, choices=Name)
    taken_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Probe(models.Model):
    """One marked test notification, sent through the public address, and how far it got."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="probes")
    requested_by = models.CharField(max_length=150, blank=True, default="")
    makes_tickets = models.BooleanField(default=False)
    requested_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    address = models.CharField(max_length=500, blank=True, default="")
    status = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    notification_id = models.BigIntegerField(null=True)
    # What went wrong on the way to the portal; empty when it was stored.
    problem = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "test notification"
        ordering = ["-requested_at", "-id"]
        indexes = [models.Index(fields=["subscription", "-requested_at"], name="probe_by_subscription")]

    def __str__(self) -> str:
        return f"Test notification {self.pk}"


class HourlyVolume(models.Model):
    """How many notifications a subscription received in one hour (UTC), without probes."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="volumes", db_index=False)
    hour = models.DateTimeField()
    pushed = models.PositiveIntegerField(default=0)
    caught_up = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["subscription", "hour"], name="volume_counted_once_an_hour")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}: {self.pushed + self.caught_up}"
