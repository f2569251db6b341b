"""Filters of the log that need no scan of the table."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import TellsStatus
from integrations.infra import database_clock
from integrations.infra.text import span_text, zone_text
from integrations.models import Delivery, Subscription
from integrations.outcomes import Target

MOST_NETWORKS = 40
LONGEST_NUMBER = 18
MOST_TARGETS = 20
# In every time zone: at the edges of the calendar there is no other zone's day.
YEARS = range(1970, 2200)
UNKNOWN = "no longer known"


class TimeFilter(admin.SimpleListFilter):
    """Rows of the last hour, day, ...; `column` is the model's time of receipt."""

    title = "time"
    parameter_name = "time"
    column = "created_at"
    SPANS = {
        "hour": ("Past hour", timedelta(hours=1)),
        "day": ("Past 24 hours", timedelta(days=1)),
        "week": ("Past 7 days", timedelta(days=7)),
        "month": ("Past 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """A time between two moments comes with a link, as that of a number on the overview."""
        asked = request.GET.get(self.parameter_name, "")
        between = between_of(asked)
        chosen = [(asked, between_text(*between))] if between else []
        offered = [
            *((name, title) for name, (title, _) in self.SPANS.items()),
            ("older", "Older than 30 days"),
            *chosen,
        ]
        return offered if asked in dict(offered) or not asked else [*offered, (asked, UNKNOWN)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = database_clock.now()
        if between := between_of(self.value() or ""):
            return queryset.filter(**{f"{self.column}__gte": between[0], f"{self.column}__lt": between[1]})
        if self.value() == "older":
            return queryset.filter(**{f"{self.column}__lt": now - timedelta(days=30)})
        if self.value() is None:
            return queryset
        span = self.SPANS.get(self.value() or "")
        return queryset.filter(**{f"{self.column}__gte": now - span[1]}) if span else queryset.none()


class ReceivedFilter(TimeFilter):
    column = "received_at"


class StartedFilter(TimeFilter):
    column = "started_at"


def time_between(since: datetime, until: datetime) -> str:
    """For the address of a list: both moments to the microsecond, as rows are counted by it."""
    return "_".join(moment.astimezone(UTC).isoformat().replace("+00:00", "Z") for moment in (since, until))


def between_of(value: str) -> tuple[datetime, datetime] | None:
    """The two moments of such an address; None where it has none."""
    since, separator, until = value.partition("_")
    try:
        moments = datetime.fromisoformat(since), datetime.fromisoformat(until)
    except ValueError:
        return None
    is_known = separator and all(moment.tzinfo and moment.year in YEARS for moment in moments)
    return moments if is_known else None


def between_text(since: datetime, until: datetime) -> str:
    since, until = timezone.localtime(since), timezone.localtime(until)
    return f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} {zone_text(until)}"


@dataclass(frozen=True, slots=True)
class Missed:
    """What missed a target. `when`: of the posts whose target ended between two moments, or up to now."""

    target: Target
    when: tuple[datetime, datetime] | None = None

    @classmethod
    def of(cls, value: str) -> "Missed | None":
        """As the address of a list has it: "<subscription>.<ticket or solve>.now" or "...<moment>_<moment>"."""
        number, _, rest = value.partition(".")
        what, _, when = rest.partition(".")
        if not number.isdecimal() or len(number) > LONGEST_NUMBER:
            return None
        subscription = Subscription.objects.filter(pk=int(number)).first()
        target = Target.of(subscription, what) if subscription else None
        between = between_of(when)
        if target is None or (between is None and when != "now"):
            return None
        return cls(target, between)

    @property
    def value(self) -> str:
        return f"{self.target.subscription.pk}.{self.target.what}.{time_between(*self.when) if self.when else 'now'}"

    @property
    def text(self) -> str:
        when = f", {between_text(*self.when)}" if self.when else " now"
        return f"{self.target.subscription}: not {self.target.done} within {span_text(self.target.span)}{when}"

    def of_these(self, deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
        mappings = list(self.target.subscription.mappings.values_list("pk", flat=True))
        is_late = self.target.missed(*self.when) if self.when else self.target.overdue(database_clock.now())
        return deliveries.filter(is_late, mapping__in=mappings)


class StateFilter(admin.SimpleListFilter):
    """A delivery's state, or any of those on the way."""

    title = "state"
    parameter_name = "state__exact"
    UNDER_WAY = "under_way"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*Delivery.State.choices, (self.UNDER_WAY, "Any that is under way")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        if self.value() == self.UNDER_WAY:
            return queryset.filter(state__in=Delivery.UNDER_WAY)
        return queryset if self.value() is None else queryset.filter(state=self.value())


class LateFilter(admin.SimpleListFilter):
    """What missed a subscription's target."""

    title = "target"
    parameter_name = "late"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What is late now, by subscription; besides, what a link asks for."""
        offered = [Missed(target) for target in Target.all()]
        given = request.GET.get(self.parameter_name, "")
        asked = Missed.of(given)
        choices = [(missed.value, missed.text) for missed in offered]
        if not given or given in dict(choices):
            return choices
        return [*choices, (given, asked.text if asked else UNKNOWN)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        if self.value() is None:
            return queryset
        missed = Missed.of(self.value() or "")
        return missed.of_these(queryset) if missed else queryset.none()


def existing_networks() -> list[str]:
    """Found by stepping through the index: a DISTINCT would read every row."""
    networks: list[str] = []
    while len(networks) < MOST_NETWORKS:
        after = networks[-1] if networks else ""
        following = Delivery.objects.filter(network__gt=after).order_by("network").values_list("network", flat=True)
        if (network := following.first()) is None:
            break
        networks.append(network)
    return networks


class NetworkFilter(admin.SimpleListFilter):
    """The networks of the posts there are."""

    title = "network"
    parameter_name = "network"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(network, network) for network in existing_networks()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.filter(network=self.value()) if self.value() else queryset


class StatusFilter(admin.SimpleListFilter):
    """The status at the account: fixed choices, as looking for those there are would read every row."""

    title = "status"
    parameter_name = "ticket"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        tellers = [destination for destination in DESTINATIONS.values() if isinstance(destination, TellsStatus)]
        statuses = dict.fromkeys(status for teller in tellers for status in teller.statuses)
        return [(status, status.capitalize()) for status in statuses]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset if self.value() is None else queryset.filter(remote_object__status=self.value())
