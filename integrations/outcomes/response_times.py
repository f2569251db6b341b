"""Response times: from the customer's post to the ticket, and to its first solve.

Counts are bounded: each scans the first rows of an index and stops, so they cost the same with a million deliveries.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, Min, Q, QuerySet

from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.infra.text import article, span_text
from integrations.models import Delivery, Mapping, RemoteObject, Subscription
from integrations.outcomes.figures import Sample, Timed

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
    rows = Delivery.objects.filter(state__in=WITHOUT_A_TICKET, posted_at__isnull=False)
    return rows.order_by("posted_at").only("pk", "posted_at", "state").first()


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
    ended = Q(posted_at__gt=since - target, posted_at__lte=until - target)
    if what == What.TICKET:
        made = Q(delivered_at__isnull=True) | Q(delivered_at__gt=F("posted_at") + target)
        return ended & Q(action="create") & ~Q(state="cancelled") & made
    known = Q(remote_object__isnull=False) & ~Q(remote_object__status__in=["", "deleted"])
    solved = Q(remote_object__solved_at__isnull=True) | Q(remote_object__solved_at__gt=F("posted_at") + target)
    return ended & Q(action="create") & known & solved


def late_now(what: What, target: timedelta, now: datetime) -> Q:
    """Deliveries of posts that have waited longer than the target, and still do."""
    if what == What.TICKET:
        return Q(state__in=WITHOUT_A_TICKET, posted_at__lt=now - target)
    within = Q(remote_object__posted_at__lt=now - target, remote_object__posted_at__gt=now - KNOWN_WITHIN)
    known = ~Q(remote_object__status__in=["", "deleted"])
    return Q(action="create", remote_object__solved_at__isnull=True) & within & known


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
    subscription: Subscription, found: Sample, since: datetime, until: datetime
) -> Iterator[dict[str, Any]]:
    """How a subscription's targets are met, one row each: late now, and of the posts whose target ended in the time."""
    mappings = set(subscription.mappings.values_list("pk", flat=True))
    for what in What:
        target = target_of(subscription, what)
        if target is None:
            continue
        posts = [row for row in found.rows if row.mapping in mappings]
        ended = [row for row in posts if since < row.posted_at + target <= until]
        missed = [verdict for verdict in (_missed(what, target, row) for row in ended) if verdict is not None]
        yield {
            "subscription": subscription.pk,
            "name": str(subscription),
            "what": what,
            "target": f"{_thing(mappings) if what == What.TICKET else 'solved'} within {span_text(target)}",
            "waiting": capped(_late_now_count(what, mappings, target, until)),
            "late": sum(missed),
            "of": len(missed),
            "is_whole": found.is_whole,
        }


def _late_now_count(what: What, mappings: Iterable[int], target: timedelta, now: datetime) -> int:
    if what == What.TICKET:
        return waiting_for_a_ticket(mappings, now - target).count
    return waiting_to_be_solved(mappings, now - target, now).count


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


def _noun(mappings: Iterable[int]) -> str:
    """What the mappings make, where they all make the same."""
    kinds = Mapping.objects.filter(pk__in=list(mappings)).values_list("connection__kind", flat=True)
    things = {DESTINATIONS[kind].thing for kind in kinds}
    return things.pop() if len(things) == 1 else "delivery"


def _thing(mappings: Iterable[int]) -> str:
    noun = _noun(mappings)
    return f"{article(noun)} {noun}"


def _things(count: int, mappings: Iterable[int]) -> str:
    noun = _noun(mappings)
    many = "deliveries" if noun == "delivery" else f"{noun}s"
    return f"1 {noun} is" if count == 1 else f"{capped(count)} {many} are"
