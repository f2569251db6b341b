"""Who takes care of an alarm, with a note, and until when it may rest. Failures of one cause are an alarm of theirs."""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.infra.text import storable
from integrations.models import Alarm

LONGEST_NOTE = 500
# Hours, and how a person chooses them.
SNOOZES = {0: "not at all", 1: "for an hour", 4: "for 4 hours", 24: "for a day", 168: "for a week"}


def take(alarm: Alarm, username: str) -> bool:
    """Whether it was free to be taken: of two people one has it."""
    free = Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True, acknowledged_at__isnull=True)
    return bool(free.update(acknowledged_by=username, acknowledged_at=Now()))


def give_back(alarm: Alarm) -> None:
    """Whoever had one that is over is not forgotten."""
    still_open = Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True)
    still_open.update(acknowledged_by="", acknowledged_at=None, snoozed_until=None)


def note(alarm: Alarm, text: str) -> None:
    Alarm.objects.filter(pk=alarm.pk).update(note=storable(" ".join(text.split()))[:LONGEST_NOTE])


def snooze(alarm: Alarm, hours: int) -> None:
    """For so long it counts as nothing that needs a person, unless there is news. 0 ends it."""
    until = database_clock.now() + timedelta(hours=hours) if hours else None
    Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True).update(snoozed_until=until)


def is_resting() -> Q:
    """Condition: an alarm that somebody snoozed, and whose time is not over."""
    return Q(snoozed_until__gt=Now())


def alarms_of_failures() -> dict[tuple[int, str], Alarm]:
    """The open alarms of failed deliveries, by (mapping, cause)."""
    rows = Alarm.objects.filter(kind=Alarm.Kind.FAILED, ended_at__isnull=True)
    return {(alarm.mapping_id, alarm.cause): alarm for alarm in rows if alarm.mapping_id is not None}
