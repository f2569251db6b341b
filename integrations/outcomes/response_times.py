"""Response times: from the customer's post to the ticket, and to its first solve.

Counts are bounded: each scans the first rows of an index and stops, so they cost the same with a million deliveries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet

from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.infra.text import article, span_text
from integrations.models import Delivery, Mapping, RemoteObject, Subscription

MOST_COUNTED = 1_000
# Unsolved tickets of unknown status are skipped; at most this many rows are scanned.
MOST_SCANNED = 20_000
# Older tickets are not polled any more, so it is unknown whether they are solved.
KNOWN_WITHIN = timedelta(days=60)


def capped(count: int) -> str:
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"


# --- Counts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overdue:
    """How many wait longer than the target now (1,001 means more than 1,000), and since when the oldest has."""

    count: int
    oldest: datetime | None


def oldest_without_a_ticket() -> Delivery | None:
    """The delivery of the oldest post without a ticket."""
    rows = Delivery.objects.filter(state__in=Delivery.UNDELIVERED).only("pk", "posted_at", "created_at", "state")
    of_posts = rows.filter(posted_at__isnull=False).order_by("posted_at").first()
    return of_posts or rows.order_by("created_at").first()


def waiting_for_a_ticket(mappings: Iterable[int], before: datetime) -> Overdue:
    """Posts older than `before` without a ticket."""
    rows = Delivery.objects.filter(state__in=Delivery.UNDELIVERED, posted_at__lt=before, mapping__in=list(mappings))
    return _overdue(rows.order_by("posted_at"))


def waiting_to_be_solved(mappings: Iterable[int], before: datetime, now: datetime) -> Overdue:
    """Tickets of posts older than `before` that are known to be unsolved."""
    by_mapping = [_not_solved(mapping_id, before, now) for mapping_id in mappings]
    since = [overdue.oldest for overdue in by_mapping if overdue.oldest]
    return Overdue(min(sum(overdue.count for overdue in by_mapping), MOST_COUNTED + 1), min(since, default=None))


def _not_solved(mapping_id: int, before: datetime, now: datetime) -> Overdue:
    """One mapping at a time, so that the index yields them in order.

    Counted from the newest, as most tickets of unknown status are old; the oldest is searched from the other end.
    """
    rows = RemoteObject.objects.filter(mapping=mapping_id, solved_at__isnull=True)
    rows = rows.filter(posted_at__lt=before, posted_at__gt=now - KNOWN_WITHIN)
    newest, oldest = (_known(rows.order_by(order)) for order in ("-posted_at", "posted_at"))
    since = [overdue.oldest for overdue in (newest, oldest) if overdue.oldest]
    return Overdue(newest.count, min(since, default=None))


def _known(rows: QuerySet[RemoteObject]) -> Overdue:
    is_known = ~Q(status__in=["", "deleted"])
    some = rows.only("pk", "posted_at", "status")[:MOST_SCANNED]
    figures = some.aggregate(count=Count("pk", filter=is_known), oldest=Min("posted_at", filter=is_known))
    return Overdue(**figures)


def _overdue(rows: QuerySet[Delivery]) -> Overdue:
    some = rows.values("pk")[: MOST_COUNTED + 1]
    return Overdue(**Delivery.objects.filter(pk__in=some).aggregate(count=Count("pk"), oldest=Min("posted_at")))


# --- Alarms --------------------------------------------------------------------------------------------------------


def target_text(subscription: Subscription) -> str:
    """Which targets are missed, and what to do; empty when they are met."""
    if subscription.ticket_target_minutes is None and subscription.solve_target_minutes is None:
        return ""
    now = database_clock.now()
    mappings = list(subscription.mappings.values_list("pk", flat=True))
    sentences = [_ticket_alarm(subscription, mappings, now), _solve_alarm(subscription, mappings, now)]
    return " ".join(sentence for sentence in sentences if sentence)


def _ticket_alarm(subscription: Subscription, mappings: list[int], now: datetime) -> str:
    if subscription.ticket_target_minutes is None:
        return ""
    target = timedelta(minutes=subscription.ticket_target_minutes)
    overdue = waiting_for_a_ticket(mappings, now - target)
    if not overdue.oldest:
        return ""
    return (
        f"{_posts(overdue.count)} not become {_thing(mappings)} within {span_text(target)}, the oldest posted "
        f"{overdue.oldest:%Y-%m-%d %H:%M:%S} UTC. "
        "Open the failed and pending deliveries and retry or rebuild them. Cancel those that are not needed."
    )


def _solve_alarm(subscription: Subscription, mappings: list[int], now: datetime) -> str:
    if subscription.solve_target_minutes is None:
        return ""
    target = timedelta(minutes=subscription.solve_target_minutes)
    overdue = waiting_to_be_solved(mappings, now - target, now)
    if not overdue.oldest:
        return ""
    return (
        f"{_things(overdue.count, mappings)} not solved within {span_text(target)} of the post, the oldest posted "
        f"{overdue.oldest:%Y-%m-%d %H:%M:%S} UTC. To find them, filter the deliveries by “Status”."
    )


def _posts(count: int) -> str:
    return "1 post has" if count == 1 else f"{capped(count)} posts have"


def _noun(kinds: Iterable[str]) -> str:
    """What connections of these kinds make, where they all make the same."""
    things = {DESTINATIONS[kind].thing for kind in kinds}
    return things.pop() if len(things) == 1 else "delivery"


def _kinds(mappings: Iterable[int]) -> list[str]:
    return list(Mapping.objects.filter(pk__in=list(mappings)).values_list("connection__kind", flat=True))


def _thing(mappings: Iterable[int]) -> str:
    return thing_of(_kinds(mappings))


def thing_of(kinds: Iterable[str]) -> str:
    noun = _noun(kinds)
    return f"{article(noun)} {noun}"


def _things(count: int, mappings: Iterable[int]) -> str:
    noun = _noun(_kinds(mappings))
    many = "deliveries" if noun == "delivery" else f"{noun}s"
    return f"1 {noun} is" if count == 1 else f"{capped(count)} {many} are"
