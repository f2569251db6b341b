"""Whether all is well: what the overview says first.

It never says so while anything needs a person, nor while it cannot know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Model, Q, QuerySet
from django.urls import reverse

from integrations.admin import needs
from integrations.infra import database_clock
from integrations.infra.counting import counts
from integrations.infra.text import span_text
from integrations.models import Alarm, Company, Connection, Delivery, Notification, Subscription, Turn, WallPost

# Alarms are checked twice a minute.
UNKNOWN_AFTER = timedelta(minutes=2)
MOST_COUNTED = 1_000


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
            f"Alarms have not been checked {since}: what this page shows may be out of date. Ask "
            "whoever runs Casebridge to check the processes worker and beat."
        )
        return Verdict("warning", "Not known", sentence, troubles)
    if any(not trouble.is_question for trouble in troubles):
        return Verdict("danger", "Action needed", "Something needs a person:", troubles)
    if troubles:
        return Verdict("warning", "Have a look", "Worth a look:", troubles)
    sentence = f"Nothing failed, nothing waits too long, and alarms were checked {span_text(now - checked)} ago."
    return Verdict("success", "All is well", sentence)


class Counted(NamedTuple):
    """Rows that a list shows alone: in words for one and for many, and the list's address."""

    rows: QuerySet[Any]
    one: str
    many: str
    address: str
    is_question: bool = False


def _troubles(now: datetime) -> Iterator[Trouble]:
    """All counted in one statement: of one moment, and with one question to the database."""
    asked = [*_failed(), *_of_lists(now)]
    for found, count in zip(asked, counts([found.rows for found in asked], MOST_COUNTED), strict=True):
        if count:
            shown = f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else str(count)
            words = found.one if count == 1 else found.many
            named = _only_one(found) if count == 1 else None
            yield Trouble(f"{shown} {words}{named[0] if named else ''}", named[1] if named else found.address,
                          found.is_question)  # fmt: skip


def _only_one(found: Counted) -> tuple[str, str] | None:
    """Of what is set up the one that is meant is named, with its own page."""
    if found.rows.model not in (Company, Connection, Subscription):
        return None
    one = found.rows.first()
    address = reverse(f"admin:integrations_{found.rows.model._meta.model_name}_change", args=[one.pk]) if one else ""
    return (f": {one}", address) if one else None


def _list(model: type[Model], query: str) -> str:
    return f"{reverse(f'admin:integrations_{model._meta.model_name}_changelist')}?{query}"


def _of(rows: QuerySet[Any], one: str, many: str, query: str, *, is_question: bool = False) -> Counted:
    return Counted(rows, one, many, _list(rows.model, query), is_question)


def _of_lists(now: datetime) -> Iterator[Counted]:
    deliveries, notifications, alarms = Delivery.objects, Notification.objects, Alarm.objects
    long, quarter = "waited for more than an hour", "waited for more than 15 minutes"
    yield _of(deliveries.filter(needs.waits_too_long(now)), f"delivery has {long}", f"deliveries have {long}",
              "needs=waits_too_long")  # fmt: skip
    yield _of(deliveries.filter(needs.waits(now)), f"delivery has {quarter}", f"deliveries have {quarter}",
              "needs=waits", is_question=True)  # fmt: skip
    again = "failed more than once and will be tried again"
    yield _of(deliveries.filter(needs.fails_again(now)), f"delivery {again}", f"deliveries {again}",
              "needs=fails_again", is_question=True)  # fmt: skip
    yield _of(deliveries.filter(state="held"), "delivery is held in a flood", "deliveries are held in floods",
              "state__exact=held", is_question=True)  # fmt: skip
    yield _of(notifications.filter(needs.not_processed(now)), "notification is not processed yet",
              "notifications are not processed yet", "needs=processing")  # fmt: skip
    yield _of(notifications.filter(needs.unreadable(now)), "notification could not be read",
              "notifications could not be read", "needs=unreadable")  # fmt: skip
    rests = "could not be read and somebody snoozed the alarm"
    yield _of(notifications.filter(needs.unreadable_at_rest(now)), f"notification {rests}", f"notifications {rests}",
              "needs=unreadable_rests", is_question=True)  # fmt: skip
    yield _of(notifications.filter(state="missed"), "notification was missed", "notifications were missed",
              "state__exact=missed")  # fmt: skip
    yield _of(alarms.filter(needs.is_unseen(now)), "alarm that nobody has taken", "alarms that nobody has taken",
              "needs=unseen")  # fmt: skip
    yield from _of_what_is_set_up(now)
    yield _of(notifications.filter(needs.fitted_nothing(now)), "notification of the last 24 hours is unmatched",
              "notifications of the last 24 hours are unmatched", "needs=mapping", is_question=True)  # fmt: skip
    yield _of(alarms.filter(needs.is_cared_for(now)), "alarm that somebody has taken or snoozed",
              "alarms that somebody has taken or snoozed", "needs=cared", is_question=True)  # fmt: skip
    yield _of(WallPost.objects.filter(state=WallPost.State.WAITING), "post waits for approval on a wall",
              "posts wait for approval on walls", "state__exact=waiting", is_question=True)  # fmt: skip


def _of_what_is_set_up(now: datetime) -> Iterator[Counted]:
    yield _of(Connection.objects.filter(needs.is_shut(now)), "connection does not send, or its test failed",
              "connections do not send, or their test failed", "needs=you")  # fmt: skip
    yield _of(Connection.objects.filter(needs.is_off_in_use(now)), "connection is off, although active mappings use it",
              "connections are off, although active mappings use them", "needs=off", is_question=True)  # fmt: skip
    yield _of(Company.objects.filter(needs.is_refused(now)), "company's token is refused or ends soon",
              "companies' tokens are refused or end soon", "needs=you")  # fmt: skip
    yield _of(Subscription.objects.filter(needs.is_wrong(now)), "subscription is not as it should be at Khoros",
              "subscriptions are not as they should be at Khoros", "needs=you")  # fmt: skip
    yield _of(Subscription.objects.filter(needs.leads_nowhere(now)), "subscription has no active mapping",
              "subscriptions have no active mapping", "needs=unmapped", is_question=True)  # fmt: skip


def _failed() -> list[Counted]:
    """What failed, and of it what rests because somebody snoozed the alarm of its cause."""
    failed = Delivery.objects.filter(state=Delivery.State.FAILED)
    snoozed = Alarm.objects.filter(Alarm.resting(), kind=Alarm.Kind.FAILED, ended_at__isnull=True)
    groups = Q(pk__in=[])
    for mapping, cause in snoozed.values_list("mapping", "cause"):
        groups |= Q(mapping=mapping, cause=cause)
    causes, rests = reverse("admin:integrations_delivery_causes"), "failed and somebody snoozed the alarm"
    return [
        Counted(failed.exclude(groups), "delivery failed", "deliveries failed", causes),
        Counted(failed.filter(groups), f"delivery {rests}", f"deliveries {rests}", causes, is_question=True),
    ]
