"""Failures by cause: what failed for one reason is shown, retried and rebuilt together."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min, QuerySet

from integrations.destinations import DESTINATIONS
from integrations.models import Delivery, Mapping

MOST_SHOWN = 100
# Failures of before causes were told are one group of each mapping.
UNTOLD = "The cause was not told (failed before causes were)"


@dataclass(frozen=True, slots=True)
class Cause:
    """Deliveries of one mapping that failed for one reason."""

    words: str
    mapping: Mapping
    count: int
    oldest: datetime
    newest: datetime
    remedy: str
    remedy_at: str

    @property
    def key(self) -> str:
        return self.words

    @property
    def shown(self) -> str:
        return self.words or UNTOLD


def failed() -> QuerySet[Delivery]:
    return Delivery.objects.filter(state=Delivery.State.FAILED)


def causes() -> list[Cause]:
    """The groups, largest first."""
    rows = list(
        failed()
        .order_by()
        .values("cause", "mapping")
        .annotate(count=Count("pk"), oldest=Min("created_at"), newest=Max("created_at"), one=Max("pk"))
        .order_by("-count")[:MOST_SHOWN]
    )
    mappings = Mapping.objects.select_related("connection", "subscription").in_bulk({row["mapping"] for row in rows})
    examples = Delivery.objects.only("remedy", "remedy_at").in_bulk({row["one"] for row in rows})
    return [
        Cause(
            words=row["cause"],
            mapping=mappings[row["mapping"]],
            count=row["count"],
            oldest=row["oldest"],
            newest=row["newest"],
            remedy=examples[row["one"]].remedy if row["one"] in examples else "",
            remedy_at=examples[row["one"]].remedy_at if row["one"] in examples else "",
        )
        for row in rows
    ]


def of_cause(words: str, mapping_id: int) -> QuerySet[Delivery]:
    return failed().filter(cause=words, mapping=mapping_id)


def where(remedy_at: str, mapping: Mapping) -> tuple[str, str, bool] | None:
    """Where the remedy is done: (kind of page or address, its words, whether it is outside); None where nowhere."""
    if remedy_at == "mapping":
        return "mapping", f"Open the mapping “{mapping.name}”", False
    if remedy_at == "connection":
        return "connection", f"Open the connection “{mapping.connection.name}”", False
    if remedy_at.startswith("/"):
        destination = DESTINATIONS[mapping.connection.kind]
        return f"{destination.origin(mapping.connection.settings)}{remedy_at}", f"Open it in {destination.title}", True
    return None
