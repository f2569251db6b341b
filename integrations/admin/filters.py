"""Filters of the log that need no scan of the table."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

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


class NetworkFilter(admin.SimpleListFilter):
    """The existing networks, found by stepping through the index: a DISTINCT would read every row."""

    title = "network"
    parameter_name = "network"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        networks: list[str] = []
        while len(networks) < MOST_NETWORKS:
            after = networks[-1] if networks else ""
            following = Delivery.objects.filter(network__gt=after).order_by("network").values_list("network", flat=True)
            if (network := following.first()) is None:
                break
            networks.append(network)
        return [(network, network) for network in networks]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.filter(network=self.value()) if self.value() else queryset


class TicketStatusFilter(admin.SimpleListFilter):
    """What the ticket is in Zendesk: fixed choices, as looking for those there are would read every row."""

    title = "ticket status"
    parameter_name = "ticket"
    STATUSES = ("new", "open", "pending", "hold", "solved", "closed", "deleted")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status.capitalize()) for status in self.STATUSES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.filter(ticket_status=self.value()) if self.value() in self.STATUSES else queryset
