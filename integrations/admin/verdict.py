"""Whether all is well: what the overview says first.

It never says so while anything needs a person, nor while it cannot know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse

from integrations.infra import database_clock
from integrations.infra.text import span_text
from integrations.models import Alarm, Connection, Delivery, Notification, Subscription, Turn, WallPost
from integrations.operations import is_resting, open_alarms

# Alarms are checked twice a minute.
UNKNOWN_AFTER = timedelta(minutes=2)
# What is due is sent within seconds, unless something holds it up.
WAITS_TOO_LONG = timedelta(minutes=5)
RECENTLY = timedelta(days=1)
MOST_COUNTED = 1_000
# What these tell of is counted and shown anyway.
SHOWN_BY_THEMSELVES = (Alarm.Kind.FAILED, Alarm.Kind.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that needs a person: in words, and where it is found. `is_question`: it may be as it should be."""

    sentence: str
    address: str
    is_question: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`colour` is that of a badge: "success", "danger", "warning"."""

    colour: str
    label: str
    sentence: str
    troubles: tuple[Trouble, ...] = ()


def verdict() -> Verdict:
    now = database_clock.now()
    troubles = tuple(_troubles(now))
    checked = Turn.objects.filter(name=Turn.Name.WATCH).values_list("done_at", flat=True).first()
    if checked is None or now - checked > UNKNOWN_AFTER:
        since = f"for {span_text(now - checked)}" if checked else "yet"
        sentence = (
            f"Alarms have not been checked {since}: what this page shows may be out of date. Whoever runs Casebridge "
            "looks whether the processes worker and beat run."
        )
        return Verdict("warning", "Not known", sentence, troubles)
    if any(not trouble.is_question for trouble in troubles):
        return Verdict("danger", "Needs you", "Something needs a person:", troubles)
    if troubles:
        return Verdict("warning", "Have a look", "Nothing failed. Worth a look:", troubles)
    sentence = f"Nothing failed, nothing waits too long, and alarms were checked {span_text(now - checked)} ago."
    return Verdict("success", "All is well", sentence)


def _troubles(now: datetime) -> Iterator[Trouble]:
    deliveries, notifications = _list("delivery"), _list("notification")
    failed, resting = _failed()
    causes = reverse("admin:integrations_delivery_causes")
    yield from _some(failed, "delivery failed", "deliveries failed", causes)
    rests = "failed and somebody snoozed the alarm"
    yield from _some(resting, f"delivery {rests}", f"deliveries {rests}", causes, is_question=True)
    late = Delivery.objects.filter(state=Delivery.State.PENDING, next_attempt_at__lt=now - WAITS_TOO_LONG)
    overdue = "should have been sent more than five minutes ago"
    yield from _some(late, f"delivery {overdue}", f"deliveries {overdue}", f"{deliveries}?state__exact=pending")
    alarms = open_alarms().filter(acknowledged_at__isnull=True).exclude(is_resting())
    alarms = alarms.exclude(kind__in=SHOWN_BY_THEMSELVES)
    yield from _some(alarms, "alarm that nobody has seen", "alarms that nobody has seen", f"{_list('alarm')}?open=yes")
    shut = Connection.objects.filter(is_active=True).exclude(Connection.open_now())
    how = "paused or unreachable"
    yield from _some(shut, f"connection is {how}", f"connections are {how}", _list("connection"))
    registered = (Subscription.Registration.REGISTERED, Subscription.Registration.WAITING)
    wrong = Subscription.objects.filter(is_active=True, company__isnull=False, deleted_at__isnull=True).exclude(
        registration__in=registered
    )
    yield from _some(wrong, "subscription is not as it should be at Khoros",
                     "subscriptions are not as they should be at Khoros", _list("subscription"))  # fmt: skip
    for state, one, many in (("unreadable", "notification could not be read", "notifications could not be read"),
                             ("missed", "notification was missed", "notifications were missed")):  # fmt: skip
        yield from _some(Notification.objects.filter(state=state), one, many, f"{notifications}?state__exact={state}")
    recent = Q(state=Notification.State.UNMATCHED, received_at__gte=now - RECENTLY)
    went = "fitted no mapping in the last 24 hours"
    yield from _some(Notification.objects.filter(recent), f"notification {went}", f"notifications {went}",
                     f"{notifications}?state__exact=unmatched&time=day", is_question=True)  # fmt: skip
    waiting = WallPost.objects.filter(state=WallPost.State.WAITING)
    yield from _some(waiting, "post waits for approval on a wall", "posts wait for approval on walls",
                     f"{_list('wallpost')}?state__exact=waiting", is_question=True)  # fmt: skip


def _failed() -> tuple[QuerySet[Delivery], QuerySet[Delivery]]:
    """What failed, and of it what rests because somebody snoozed the alarm of its cause."""
    failed = Delivery.objects.filter(state=Delivery.State.FAILED)
    snoozed = Alarm.objects.filter(is_resting(), kind=Alarm.Kind.FAILED, ended_at__isnull=True)
    groups = Q(pk__in=[])
    for mapping, cause in snoozed.values_list("mapping", "cause"):
        groups |= Q(mapping=mapping, cause=cause)
    return failed.exclude(groups), failed.filter(groups)


def _some(rows: Any, one: str, many: str, address: str, *, is_question: bool = False) -> Iterator[Trouble]:
    """Exact as long as people count."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    if count:
        shown = f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else str(count)
        yield Trouble(f"{shown} {one if count == 1 else many}", address, is_question)


def _list(model: str) -> str:
    return reverse(f"admin:integrations_{model}_changelist")
