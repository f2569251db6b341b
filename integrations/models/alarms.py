"""Alarms: a state that a person should know of, who takes care of it, and until when it may rest."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra.text import storable
from integrations.models.configuration import Company, Mapping, Subscription
from integrations.models.connections import Connection

LONGEST_NOTE = 500


class AlarmQuerySet(models.QuerySet["Alarm"]):
    """Alarms by what they need, and what a person does with them."""

    def open(self) -> "AlarmQuerySet":
        return self.filter(ended_at__isnull=True)

    def of_failures(self) -> dict[tuple[int, str], "Alarm"]:
        """The open alarms of failed deliveries, by (mapping, cause)."""
        rows = self.open().filter(kind=Alarm.Kind.FAILED)
        return {(alarm.mapping_id, alarm.cause): alarm for alarm in rows if alarm.mapping_id is not None}

    def take(self, username: str) -> int:
        """For this person to take care of; how many were free: of two people one has it."""
        free = self.open().filter(acknowledged_at__isnull=True)
        return free.update(acknowledged_by=username, acknowledged_at=Now())

    def give_back(self) -> int:
        """Whoever had one that is over is not forgotten."""
        return self.open().update(acknowledged_by="", acknowledged_at=None, snoozed_until=None)

    def write_note(self, text: str) -> int:
        return self.update(note=storable(" ".join(text.split()))[:LONGEST_NOTE])

    def snooze(self, hours: int) -> int:
        """For so long it counts as nothing that needs a person, unless there is news. 0 ends it."""
        return self.open().update(snoozed_until=Now() + timedelta(hours=hours) if hours else None)


class Alarm(models.Model):
    """Something a person should look at: raised once, ended when it is over; told both times and when there is news."""

    class Kind(models.TextChoices):
        SILENCE = "silence", "Silence"
        DRIFT = "drift", "Out of sync at Khoros"
        REGISTRATION = "registration", "Registration refused"
        TOKEN = "token", "API token"
        CATCH_UP = "catch_up", "Catch-up failing"
        PUSHES_LOST = "pushes_lost", "Pushes not arriving"
        CONNECTION = "connection", "Connection paused"
        BREAKER = "breaker", "Account unreachable"
        TOKEN_END = "token_end", "Sign-in expires"
        MAPPING = "mapping", "Mapping needs fixing"
        FLOOD = "flood", "Flood of posts"
        TARGET = "target", "Target missed"
        FAILED = "failed", "Deliveries failed"
        UNREADABLE = "unreadable", "Notifications unreadable"
        WORKER = "worker", "No worker answers"
        BEAT = "beat", "Beat is not running"
        SWEEP = "sweep", "Background work stopped"

    # Hours, and how a person chooses them.
    SNOOZES = {0: "not at all", 1: "for an hour", 4: "for 4 hours", 24: "for a day", 168: "for a week"}

    kind = models.CharField(max_length=12, choices=Kind)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, null=True, related_name="alarms")
    company = models.ForeignKey(Company, on_delete=models.CASCADE, null=True, related_name="alarms")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, null=True, related_name="alarms")
    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, null=True, related_name="alarms")
    # Failures of one mapping with different causes are alarms of their own.
    cause = models.CharField(max_length=250, blank=True, default="")
    message = models.TextField()
    # What would be a new reason, and how many it concerns: mailed again when either is another one.
    reason = models.CharField(max_length=500, blank=True, default="")
    count = models.PositiveIntegerField(default=0)
    has_news = models.BooleanField(default=False)
    raised_at = models.DateTimeField("raised at", db_default=Now())
    ended_at = models.DateTimeField("resolved at", null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True, default="")
    acknowledged_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=LONGEST_NOTE, blank=True, default="")
    # Until then it counts as nothing that needs a person, unless there is news.
    snoozed_until = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField("mailed", null=True)
    end_mailed_at = models.DateTimeField(null=True)
    mail_problem = models.TextField(blank=True, default="")
    # How many of its steps were passed on to mappings (operations/telling.py).
    told = models.PositiveIntegerField(default=0, db_default=0)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subscription"],
                condition=Q(ended_at__isnull=True) & Q(subscription__isnull=False),
                name="alarm_open_once_per_subscription",
            ),
            models.UniqueConstraint(
                fields=["kind", "company"],
                condition=Q(ended_at__isnull=True) & Q(company__isnull=False),
                name="alarm_open_once_per_company",
            ),
            models.UniqueConstraint(
                fields=["kind", "connection"],
                condition=Q(ended_at__isnull=True) & Q(connection__isnull=False),
                name="alarm_open_once_per_connection",
            ),
            models.UniqueConstraint(
                fields=["kind", "mapping", "cause"],
                condition=Q(ended_at__isnull=True) & Q(mapping__isnull=False),
                name="alarm_open_once_per_mapping",
            ),
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(ended_at__isnull=True, subscription=None, company=None, connection=None, mapping=None),
                name="alarm_open_once_per_installation",
            ),
            models.CheckConstraint(
                condition=Q(
                    subscription__isnull=False, company__isnull=True, connection__isnull=True, mapping__isnull=True
                )
                | Q(subscription__isnull=True, company__isnull=False, connection__isnull=True, mapping__isnull=True)
                | Q(subscription__isnull=True, company__isnull=True, connection__isnull=False, mapping__isnull=True)
                | Q(subscription__isnull=True, company__isnull=True, connection__isnull=True, mapping__isnull=False)
                | Q(
                    subscription=None, company=None, connection=None, mapping=None, kind__in=["worker", "beat", "sweep"]
                ),
                name="alarm_is_about_one_of_four_or_the_installation",
            ),
        ]

    def __str__(self) -> str:
        return f"Alarm {self.pk}: {self.get_kind_display()}"

    @staticmethod
    def resting() -> Q:
        """Condition: somebody snoozed it, and its time is not over."""
        return Q(snoozed_until__gt=Now())

    @property
    def subject(self) -> tuple[str, int] | None:
        """What it is about: the name of the model, and its row; None when it is this installation itself."""
        for name in ("subscription", "company", "connection", "mapping"):
            if (row_id := getattr(self, f"{name}_id")) is not None:
                return name, row_id
        return None

    @property
    def place_of_repair(self) -> str:
        """The path where a person does something about it."""
        if self.kind == self.Kind.FAILED:
            return "/admin/integrations/delivery/causes/"
        if self.kind == self.Kind.UNREADABLE:
            return "/admin/integrations/notification/?state__exact=unreadable"
        return "/admin/integrations/{}/{}/change/".format(*self.subject) if self.subject else "/admin/"
