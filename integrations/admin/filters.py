"""Filters of the log that need no scan of the table."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import TellsStatus
from integrations.infra import database_clock
from integrations.models import Delivery

MOST_NETWORKS = 40


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
        return [*((name, title) for name, (title, _) in self.SPANS.items()), ("older", "Older than 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = database_clock.now()
        if self.value() == "older":
            return queryset.filter(**{f"{self.column}__lt": now - timedelta(days=30)})
        span = self.SPANS.get(self.value() or "")
        return queryset.filter(**{f"{self.column}__gte": now - span[1]}) if span else queryset


class ReceivedFilter(TimeFilter):
    column = "received_at"


class StartedFilter(TimeFilter):
    column = "started_at"


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
        known = {value for value, _ in self.lookup_choices}
        return queryset.filter(remote_object__status=self.value()) if self.value() in known else queryset
