"""Targets: within how long a post is to be delivered, or solved; which posts missed theirs, and which are overdue.

One condition for the counts and for the lists that they lead to.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from django.db.models import F, Q, QuerySet

from integrations.infra.counting import counts
from integrations.infra.text import span_text
from integrations.models import Delivery, Mapping, RemoteObject, Subscription
from integrations.models.configuration import without_lists
from integrations.outcomes.figures import MAKES, Sample, Timed
from integrations.outcomes.response_times import KNOWN_WITHIN, MOST_COUNTED, MOST_SCANNED, capped, thing_of

MOST_TARGETS = 20


class What(StrEnum):
    """What a target is about."""

    TICKET = "ticket"
    SOLVE = "solve"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to have happened to a subscription's posts within `span` of being posted."""

    subscription: Subscription
    what: What
    span: timedelta

    @classmethod
    def of(cls, subscription: Subscription, what: str) -> Self | None:
        """None where the subscription has none, or there is nothing of that name."""
        if what not in list(What):
            return None
        is_ticket = what == What.TICKET
        minutes = subscription.ticket_target_minutes if is_ticket else subscription.solve_target_minutes
        return cls(subscription, What(what), timedelta(minutes=minutes)) if minutes is not None else None

    @classmethod
    def all(cls) -> list[Self]:
        """Those of the first subscriptions that have any, by name."""
        rows = Subscription.objects.filter(deleted_at__isnull=True, is_active=True)
        rows = rows.filter(Q(ticket_target_minutes__isnull=False) | Q(solve_target_minutes__isnull=False))
        rows = rows.select_related("company").defer(*without_lists("company__"))[:MOST_TARGETS]
        return [target for one in rows for what in What if (target := cls.of(one, what))]

    @property
    def done(self) -> str:
        """What is to be done, in a word."""
        return "delivered" if self.what == What.TICKET else "solved"

    def missed(self, since: datetime, until: datetime) -> Q:
        """Condition: deliveries of posts whose target ended within the time and was missed, by the post's own time."""
        # As counted: what was made later is not among them, though its post may be older.
        ended = Q(posted_at__gt=since - self.span, posted_at__lte=until - self.span, created_at__lt=until)
        if self.what == What.TICKET:
            made = Q(delivered_at__isnull=True) | Q(delivered_at__gt=F("posted_at") + self.span)
            return ended & Q(action__in=MAKES) & ~Q(state="cancelled") & made
        known = Q(remote_object__isnull=False) & ~Q(remote_object__status__in=["", "deleted"])
        solved = Q(remote_object__solved_at__isnull=True) | Q(remote_object__solved_at__gt=F("posted_at") + self.span)
        return ended & Q(action__in=MAKES) & known & solved

    def is_missed(self, row: Timed) -> bool | None:
        """`missed` for one post of a sample; None where it does not count."""
        is_ticket = self.what == What.TICKET
        counts = row.state != "cancelled" if is_ticket else row.status not in (None, "", "deleted")
        done_at = row.delivered_at if is_ticket else row.solved_at
        return (done_at is None or done_at - row.posted_at > self.span) if counts else None

    def overdue(self, now: datetime) -> Q:
        """Condition: deliveries of posts that have waited longer than the target, and still do."""
        if self.what == What.TICKET:
            return Q(state__in=Delivery.UNDELIVERED, posted_at__lt=now - self.span)
        within = Q(remote_object__posted_at__lt=now - self.span, remote_object__posted_at__gt=now - KNOWN_WITHIN)
        known = ~Q(remote_object__status__in=["", "deleted"])
        return Q(action__in=MAKES, remote_object__solved_at__isnull=True) & within & known


def longest_span(targets: Iterable[Target]) -> timedelta:
    """How long before a period its posts may have been posted."""
    return max((target.span for target in targets), default=timedelta())


def target_rows(targets: Sequence[Target], found: Sample, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """How targets are met, one row each: overdue now, and of the posts whose target ended in the time."""
    kinds: dict[int, dict[int, str]] = {target.subscription.pk: {} for target in targets}
    mappings = Mapping.objects.filter(subscription__in=list(kinds)).order_by("pk")
    for pk, subscription, kind in mappings.values_list("pk", "subscription", "connection__kind"):
        kinds[subscription][pk] = kind
    overdue = _overdue_counts([(target, kinds[target.subscription.pk]) for target in targets], until)
    for target, overdue_count in zip(targets, overdue, strict=True):
        own = kinds[target.subscription.pk]
        ended = [
            row
            for row in found.rows
            if row.mapping in own and since - target.span < row.posted_at <= until - target.span
        ]
        missed = [verdict for verdict in (target.is_missed(row) for row in ended) if verdict is not None]
        done = thing_of(own.values()) if target.what == What.TICKET else "solved"
        yield {
            "subscription": target.subscription.pk,
            "name": str(target.subscription),
            "what": target.what,
            "target": f"{done} within {span_text(target.span)}",
            "waiting": capped(overdue_count),
            "late": sum(missed),
            "of": len(missed),
            "is_whole": found.is_whole,
        }


def _overdue_counts(asked: Sequence[tuple[Target, Iterable[int]]], now: datetime) -> list[int]:
    """How many are overdue, of each target; all in one statement."""
    places: list[int] = []
    rows: list[QuerySet[Any]] = []
    for place, (target, mappings) in enumerate(asked):
        found = _overdue_rows(target, mappings, now)
        rows += found
        places += [place] * len(found)
    totals = [0] * len(asked)
    for place, count in zip(places, counts(rows, MOST_COUNTED), strict=True):
        totals[place] += count
    return totals


def _overdue_rows(target: Target, mappings: Iterable[int], now: datetime) -> list[QuerySet[Any]]:
    if target.what == What.TICKET:
        return [Delivery.objects.filter(target.overdue(now), mapping__in=list(mappings))]
    things = RemoteObject.objects.filter(solved_at__isnull=True, posted_at__lt=now - target.span)
    things = things.filter(posted_at__gt=now - KNOWN_WITHIN)
    # One mapping at a time and bounded, as in `response_times`.
    newest = [things.filter(mapping=pk).order_by("-posted_at").values("pk")[:MOST_SCANNED] for pk in mappings]
    return [RemoteObject.objects.filter(pk__in=some).exclude(status__in=["", "deleted"]) for some in newest]
