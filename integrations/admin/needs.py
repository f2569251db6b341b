"""What needs a person, as conditions: the overview counts by them, and its links lead to lists filtered by them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from integrations.admin.text.connection import condition
from integrations.companies import token_warning
from integrations.infra import database_clock
from integrations.models import Alarm, Company, Connection, Delivery, Mapping, Notification, Subscription
from integrations.models.configuration import without_lists

# Most is delivered within seconds; a retry or two takes minutes.
WAITS, WAITS_TOO_LONG = timedelta(minutes=15), timedelta(hours=1)
PROCESSED_WITHIN = timedelta(minutes=5)
RECENTLY = timedelta(days=1)
# What these tell of is counted and shown anyway.
SHOWN_BY_THEMSELVES = (Alarm.Kind.FAILED, Alarm.Kind.UNREADABLE)
WAITING = (Delivery.State.PENDING, Delivery.State.SENDING, Delivery.State.WAITING)
REGISTERED = (Subscription.Registration.REGISTERED, Subscription.Registration.WAITING)


def waits(now: datetime) -> Q:
    return Q(state__in=WAITING, created_at__lt=now - WAITS, created_at__gte=now - WAITS_TOO_LONG)


def waits_too_long(now: datetime) -> Q:
    """Also what a process held that ended hours ago."""
    abandoned = Q(state=Delivery.State.SENDING, claimed_until__lt=now - WAITS)
    return Q(state__in=WAITING, created_at__lt=now - WAITS_TOO_LONG) | abandoned


def fails_again(now: datetime) -> Q:
    """Tried in vain at least twice, within the first minutes; then it counts by how long it waits."""
    accounts = list(Connection.objects.values_list("pk", flat=True))
    # As the index of what is due begins.
    tried = Q(state=Delivery.State.PENDING, connection__in=accounts, priority=Delivery.Priority.RETRY, tries__gte=2)
    return tried & Q(created_at__gte=now - WAITS)


def not_processed(now: datetime) -> Q:
    return Q(state=Notification.State.RECEIVED, received_at__lt=now - PROCESSED_WITHIN)


def fitted_nothing(now: datetime) -> Q:
    """What conditions refused, and what only tested the way or told of an alarm, is as it should be."""
    unexpected = Q(state=Notification.State.UNMATCHED, received_at__gte=now - RECENTLY, is_refused=False)
    return unexpected & ~Q(source__in=[Notification.Source.TEST, Notification.Source.PORTAL])


def unreadable(_now: datetime) -> Q:
    return Q(state=Notification.State.UNREADABLE) & ~Q(subscription__in=_with_snoozed_alarm())


def unreadable_at_rest(_now: datetime) -> Q:
    return Q(state=Notification.State.UNREADABLE, subscription__in=_with_snoozed_alarm())


def _with_snoozed_alarm() -> list[int]:
    """Subscriptions whose alarm of unreadable notifications somebody snoozed."""
    rows = Alarm.objects.filter(Alarm.resting(), kind=Alarm.Kind.UNREADABLE, ended_at__isnull=True)
    return [pk for pk in rows.values_list("subscription", flat=True) if pk is not None]


def is_unseen(_now: datetime) -> Q:
    return Q(ended_at__isnull=True, acknowledged_at__isnull=True) & ~Alarm.resting() & ~Q(kind__in=SHOWN_BY_THEMSELVES)


def is_cared_for(_now: datetime) -> Q:
    """Somebody took or snoozed it, and its cause is still there."""
    taken = Q(acknowledged_at__isnull=False) | Alarm.resting()
    return Q(ended_at__isnull=True) & taken & ~Q(kind__in=SHOWN_BY_THEMSELVES)


def is_shut(now: datetime) -> Q:
    """Connections that do not send, or whose last test failed."""
    rows = Connection.objects.filter(is_active=True)
    return Q(pk__in=[connection.pk for connection in rows if condition(connection, now)[0] != "open"])


def is_off_in_use(_now: datetime) -> Q:
    """Connections that somebody turned off although active mappings use them: these send nothing."""
    in_use = Mapping.objects.filter(is_active=True, subscription__is_active=True).values("connection")
    return Q(is_active=False, pk__in=in_use)


def leads_nowhere(_now: datetime) -> Q:
    """Active subscriptions whose posts no active mapping sends on."""
    mapped = Mapping.objects.filter(is_active=True).values("subscription")
    return Q(is_active=True, company__isnull=False, deleted_at__isnull=True) & ~Q(pk__in=mapped)


def is_wrong(_now: datetime) -> Q:
    """Subscriptions that are not at Khoros as they should be."""
    return Q(is_active=True, company__isnull=False, deleted_at__isnull=True) & ~Q(registration__in=REGISTERED)


def is_refused(_now: datetime) -> Q:
    """Companies whose token Khoros refuses, or that ends soon."""
    rows = Company.objects.defer(*without_lists())
    return Q(pk__in=[company.pk for company in rows if company.warning or token_warning(company)])


class NeedsFilter(admin.SimpleListFilter):
    """What needs a person: by value, the words and the condition."""

    title = "needs a person"
    parameter_name = "needs"
    CHOICES: dict[str, tuple[str, Callable[[datetime], Q]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in self.CHOICES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        _, condition_of = self.CHOICES.get(self.value() or "", ("", nothing))
        return queryset.filter(condition_of(database_clock.now()))


def nothing(_now: datetime) -> Q:
    return Q(pk__in=[])


class DeliveryNeeds(NeedsFilter):
    title = "waiting"
    CHOICES = {
        "fails_again": ("Failed more than once and will be tried again", fails_again),
        "waits": ("For 15 minutes to an hour", waits),
        "waits_too_long": ("For more than an hour", waits_too_long),
    }


class NotificationNeeds(NeedsFilter):
    CHOICES = {
        "processing": ("Not processed for five minutes", not_processed),
        "unreadable": ("Could not be read", unreadable),
        "unreadable_rests": ("Could not be read, and somebody snoozed the alarm", unreadable_at_rest),
        "mapping": ("Unmatched in the last 24 hours, though no condition refused it", fitted_nothing),
    }


class AlarmNeeds(NeedsFilter):
    CHOICES = {
        "unseen": ("Nobody has taken it (failures are counted separately)", is_unseen),
        "cared": ("Taken or snoozed, and still there", is_cared_for),
    }


class ConnectionNeeds(NeedsFilter):
    CHOICES = {
        "you": ("Does not send, or its test failed", is_shut),
        "off": ("Off, although active mappings use it", is_off_in_use),
    }


class SubscriptionNeeds(NeedsFilter):
    CHOICES = {
        "you": ("Not as it should be at Khoros", is_wrong),
        "unmapped": ("Active, without an active mapping", leads_nowhere),
    }


class CompanyNeeds(NeedsFilter):
    CHOICES = {"you": ("Its token is refused or ends soon", is_refused)}
