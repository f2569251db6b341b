"""Failures by cause: what failed for the same reason is shown, retried and rebuilt together."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min

from integrations.destinations import DESTINATIONS
from integrations.models import Delivery, Mapping
from integrations.models.deliveries import DeliveryQuerySet

# Failures without a recorded cause are one group per mapping.
NO_CAUSE = "Unknown cause"


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Deliveries of one mapping that failed for the same reason."""

    cause: str
    mapping: Mapping
    count: int
    oldest: datetime
    newest: datetime
    remedy: str
    remedy_at: str

    @property
    def key(self) -> str:
        return self.cause

    @property
    def shown(self) -> str:
        return self.cause or NO_CAUSE


def failed() -> DeliveryQuerySet:
    return Delivery.objects.filter(state=Delivery.State.FAILED)


def failure_groups(most: int | None = None) -> list[FailureGroup]:
    """The groups, largest first; all of them, or so many."""
    rows = list(
        failed()
        .order_by()
        .values("cause", "mapping")
        .annotate(count=Count("pk"), oldest=Min("created_at"), newest=Max("created_at"), one=Max("pk"))
        .order_by("-count", "one")[:most]
    )
    mappings = Mapping.objects.select_related("connection", "subscription").in_bulk({row["mapping"] for row in rows})
    examples = Delivery.objects.only("remedy", "remedy_at").in_bulk({row["one"] for row in rows})
    return [
        FailureGroup(
            cause=row["cause"],
            mapping=mappings[row["mapping"]],
            count=row["count"],
            oldest=row["oldest"],
            newest=row["newest"],
            remedy=examples[row["one"]].remedy if row["one"] in examples else "",
            remedy_at=examples[row["one"]].remedy_at if row["one"] in examples else "",
        )
        for row in rows
    ]


def deliveries_in_group(cause: str, mapping_id: int) -> DeliveryQuerySet:
    return failed().filter(cause=cause, mapping=mapping_id)


def remedy_place(remedy_at: str, mapping: Mapping) -> tuple[str, str, bool] | None:
    """Where to apply the remedy: (model or address, link text, whether it is external); None where nowhere."""
    if remedy_at == "mapping":
        return "mapping", f"Open the mapping “{mapping.name}”", False
    if remedy_at == "connection":
        return "connection", f"Open the connection “{mapping.connection.name}”", False
    if remedy_at.startswith("/"):
        destination = DESTINATIONS[mapping.connection.kind]
        return f"{destination.origin(mapping.connection.settings)}{remedy_at}", f"Open it in {destination.title}", True
    return None
