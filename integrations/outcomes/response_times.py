"""Response times: from the customer's post to the ticket, and to its first solve.

Counts are bounded: each scans the first rows of an index and stops, so they cost the same with a million deliveries.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, Min, Q, QuerySet

from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.infra.counting import counts
from integrations.infra.text import article, span_text
from integrations.models import Delivery, Mapping, RemoteObject, Subscription
from integrations.outcomes.figures import MAKES, Sample, Timed

WITHOUT_A_TICKET = ("pending", "sending", "failed", "held", "waiting")

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
    rows = Delivery.objects.filter(state__in=WITHOUT_A_TICKET).only("pk", "posted_at", "created_at", "state")
    of_posts = rows.filter(posted_at__isnull=False).order_by("posted_at").first()
    return of_posts or rows.order_by("created_at").first()


def waiting_for_a_ticket(mappings: Iterable[int], before: datetime) -> Overdue:
    """Posts older than `before` without a ticket."""
    rows = Delivery.objects.filter(state__in=WITHOUT_A_TICKET, posted_at__lt=before, mapping__in=list(mappings))
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


# --- Late: which posts missed their target, in one condition for counts and for lists -------------------------------


class What(StrEnum):
    """What a target is about."""

    TICKET = "ticket"
    SOLVE = "solve"


def target_of(subscription: Subscription, what: What) -> timedelta | None:
    minutes = subscription.ticket_target_minutes if what == What.TICKET else subscription.solve_target_minutes
    return timedelta(minutes=minutes) if minutes is not None else None


def late(what: What, target: timedelta, since: datetime, until: datetime) -> Q:
    """Deliveries of posts whose target ended within the time and was missed, by the post's own time."""
    # As counted: what was made later is not among them, though its post may be older.
    ended = Q(posted_at__gt=since - target, posted_at__lte=until - target, created_at__lt=until)
    if what == What.TICKET:
        made = Q(delivered_at__isnull=True) | Q(delivered_at__gt=F("posted_at") + target)
        return ended & Q(action__in=MAKES) & ~Q(state="cancelled") & made
    known = Q(remote_object__isnull=False) & ~Q(remote_object__status__in=["", "deleted"])
    solved = Q(remote_object__solved_at__isnull=True) | Q(remote_object__solved_at__gt=F("posted_at") + target)
    return ended & Q(action__in=MAKES) & known & solved


def late_now(what: What, target: timedelta, now: datetime) -> Q:
    """Deliveries of posts that have waited longer than the target, and still do."""
    if what == What.TICKET:
        return Q(state__in=WITHOUT_A_TICKET, posted_at__lt=now - target)
    within = Q(remote_object__posted_at__lt=now - target, remote_object__posted_at__gt=now - KNOWN_WITHIN)
    known = ~Q(remote_object__status__in=["", "deleted"])
    return Q(action__in=MAKES, remote_object__solved_at__isnull=True) & within & known


def _missed(what: What, target: timedelta, row: Timed) -> bool | None:
    """`late` for one post of a sample; None where it does not count."""
    counts = row.state != "cancelled" if what == What.TICKET else row.status not in (None, "", "deleted")
    done_at = row.delivered_at if what == What.TICKET else row.solved_at
    return (done_at is None or done_at - row.posted_at > target) if counts else None


# --- Targets ---------------------------------------------------------------------------------------------------------


def with_targets() -> QuerySet[Subscription]:
    rows = Subscription.objects.filter(deleted_at__isnull=True, is_active=True)
    return rows.filter(Q(ticket_target_minutes__isnull=False) | Q(solve_target_minutes__isnull=False))


def longest_target(subscriptions: Iterable[Subscription]) -> timedelta:
    """How long before a period its posts may have been posted."""
    each = [target_of(subscription, what) or timedelta() for subscription in subscriptions for what in What]
    return max(each, default=timedelta())


def target_rows(
    subscriptions: Iterable[Subscription], found: Sample, since: datetime, until: datetime
) -> Iterator[dict[str, Any]]:
    """How targets are met, one row each: late now, and of the posts whose target ended in the time."""
    each = [(one, what, target) for one in subscriptions for what in What if (target := target_of(one, what))]
    kinds: dict[int, dict[int, str]] = {one.pk: {} for one, _, _ in each}
    mappings = Mapping.objects.filter(subscription__in=list(kinds)).order_by("pk")
    for pk, subscription, kind in mappings.values_list("pk", "subscription", "connection__kind"):
        kinds[subscription][pk] = kind
    waiting = _late_now_counts([(what, kinds[one.pk], target) for one, what, target in each], until)
    for (one, what, target), late_now_count in zip(each, waiting, strict=True):
        posts = [row for row in found.rows if row.mapping in kinds[one.pk]]
        ended = [row for row in posts if since < row.posted_at + target <= until]
        missed = [verdict for verdict in (_missed(what, target, row) for row in ended) if verdict is not None]
        done = _thing_of(kinds[one.pk].values()) if what == What.TICKET else "solved"
        yield {
            "subscription": one.pk,
            "name": str(one),
            "what": what,
            "target": f"{done} within {span_text(target)}",
            "waiting": capped(late_now_count),
            "late": sum(missed),
            "of": len(missed),
            "is_whole": found.is_whole,
        }


def _late_now_counts(asked: Sequence[tuple[What, Iterable[int], timedelta]], now: datetime) -> list[int]:
    """How many are late now, of each target; all in one statement."""
    places: list[int] = []
    rows: list[QuerySet[Any]] = []
    for place, (what, mappings, target) in enumerate(asked):
        found = _late_rows(what, mappings, target, now)
        rows += found
        places += [place] * len(found)
    totals = [0] * len(asked)
    for place, count in zip(places, counts(rows, MOST_COUNTED), strict=True):
        totals[place] += count
    return totals


def _late_rows(what: What, mappings: Iterable[int], target: timedelta, now: datetime) -> list[QuerySet[Any]]:
    if what == What.TICKET:
        return [Delivery.objects.filter(late_now(what, target, now), mapping__in=list(mappings))]
    things = RemoteObject.objects.filter(solved_at__isnull=True, posted_at__lt=now - target)
    things = things.filter(posted_at__gt=now - KNOWN_WITHIN)
    # One mapping at a time and bounded, as in `_not_solved`.
    newest = [things.filter(mapping=pk).order_by("-posted_at").values("pk")[:MOST_SCANNED] for pk in mappings]
    return [RemoteObject.objects.filter(pk__in=some).exclude(status__in=["", "deleted"]) for some in newest]


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
    return _thing_of(_kinds(mappings))


def _thing_of(kinds: Iterable[str]) -> str:
    noun = _noun(kinds)
    return f"{article(noun)} {noun}"


def _things(count: int, mappings: Iterable[int]) -> str:
    noun = _noun(_kinds(mappings))
    many = "deliveries" if noun == "delivery" else f"{noun}s"
    return f"1 {noun} is" if count == 1 else f"{capped(count)} {many} are"
