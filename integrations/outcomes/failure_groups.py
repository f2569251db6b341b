"""Failures by cause: what failed for the same reason is shown, retried and rebuilt together."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min

from integrations.models import Delivery, Mapping

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


def failure_groups(most: int | None = None) -> list[FailureGroup]:
    """The groups, largest first; all of them, or so many."""
    rows = list(
        Delivery.objects.filter(state=Delivery.State.FAILED)
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
