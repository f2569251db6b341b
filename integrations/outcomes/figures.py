"""What came in a period and what became of it: exact, and quick with a million posts in it.

Whole tables are counted from an index alone; states that are rare have an index of their own, and all the rest was
delivered or matched. Response times are of a sample where there are many posts: thousands, spread evenly.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from django.db import connection

from integrations.models import Delivery, Notification

MOST_TIMED = 4_000
# Each number of the sequence falls into the largest gap that those before it left.
GOLDEN = 0.618033988749895

# What makes a new thing, besides additions to one.
MAKES = ("create", "follow_up")


@dataclass(frozen=True, slots=True)
class Period:
    """The last hours or days, in steps of an hour or a day of `zone`."""

    since: datetime
    until: datetime
    step: timedelta

    def steps(self, zone: tzinfo) -> list[tuple[datetime, datetime]]:
        """Beginning and end of each hour or day; the first and the last are as long as the period has of them."""
        bounds = [self.since]
        while (following := _next(bounds[-1], self.step, zone)) < self.until:
            bounds.append(following)
        return list(zip(bounds, [*bounds[1:], self.until], strict=True))


def _next(moment: datetime, step: timedelta, zone: tzinfo) -> datetime:
    """The next full hour or midnight."""
    local = moment.astimezone(zone)
    if step < timedelta(days=1):
        # Half hours are full ones where the zone has them.
        return (local + step).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), tzinfo=zone)
    return midnight.astimezone(UTC)


class Became(NamedTuple):
    """How many deliveries of a time became what."""

    delivered: int
    waiting: int
    failed: int
    cancelled: int


def became(steps: list[tuple[datetime, datetime]]) -> list[Became]:
    """Of the deliveries that were made in each of these times."""
    return [
        Became(
            states.get("delivered", 0),
            sum(states.get(state, 0) for state in Delivery.UNDER_WAY),
            states.get("failed", 0),
            states.get("cancelled", 0),
        )
        for states in _counted(Delivery._meta.db_table, "created_at", "delivered", steps)
    ]


def received(since: datetime, until: datetime) -> dict[str, int]:
    """Notifications of the period: "all", and by state those that are no deliveries."""
    (states,) = _counted(Notification._meta.db_table, "received_at", "routed", [(since, until)])
    return {"all": sum(states.values()), **states}


def _counted(table: str, column: str, usual: str, steps: list[tuple[datetime, datetime]]) -> list[dict[str, int]]:
    """Rows by state in each of these times. In one statement, so that all is counted of the same moment.

    All rows are counted from one index, and the states other than the usual one from another that leaves it out.
    """
    statement = f"""
        WITH step AS (
            SELECT * FROM unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[])
            WITH ORDINALITY AS step (begins, ends, place)
        )
        SELECT place, '', (SELECT count(*) FROM {table} WHERE {column} >= begins AND {column} < ends) FROM step
        UNION ALL
        SELECT width_bucket({column}, %(begins)s::timestamptz[]), state, count(*) FROM {table}
        WHERE state <> '{usual}' AND {column} >= %(first)s AND {column} < %(last)s GROUP BY 1, 2
    """  # noqa: S608 (of our tables' names)
    begins, ends = [step[0] for step in steps], [step[1] for step in steps]
    with connection.cursor() as cursor:
        cursor.execute(statement, {"begins": begins, "ends": ends, "first": begins[0], "last": ends[-1]})
        found: list[dict[str, int]] = [{} for _ in steps]
        for place, state, count in cursor.fetchall():
            found[place - 1][state] = count
    for states in found:
        states[usual] = states.pop("") - sum(states.values())
    return found


# --- Response times --------------------------------------------------------------------------------------------------


class Timed(NamedTuple):
    """A post and when what was made of it happened. `status`: of the thing at its account, where it tells."""

    mapping: int
    posted_at: datetime
    delivered_at: datetime | None
    state: str
    status: str | None
    solved_at: datetime | None


class Sample(NamedTuple):
    """`is_whole`: these are all."""

    rows: list[Timed]
    is_whole: bool


def sample(since: datetime, until: datetime) -> Sample:
    """Deliveries of new things that were made in a time: all, or thousands of them, spread evenly."""
    made = Delivery.objects.filter(created_at__gte=since, created_at__lt=until).order_by()
    first = made.order_by("created_at", "id").values_list("pk", flat=True).first()
    last = made.order_by("-created_at", "-id").values_list("pk", flat=True).first()
    if first is None or last is None:
        return Sample([], True)
    is_whole = made[: MOST_TIMED + 1].count() <= MOST_TIMED
    if not is_whole:
        first, length = min(first, last), abs(last - first) + 1
        made = made.filter(pk__in=[first + int(length * (place * GOLDEN % 1)) for place in range(MOST_TIMED)])
    # Of what Casebridge tells or tests itself nobody waits for a ticket.
    of_posts = made.filter(action__in=MAKES, posted_at__isnull=False, mapping__subscription__company__isnull=False)
    rows = of_posts.exclude(notification__source=Notification.Source.TEST).values_list(
        "mapping_id", "posted_at", "delivered_at", "state", "remote_object__status", "remote_object__solved_at"
    )
    return Sample([Timed._make(row) for row in rows], is_whole)


def times(found: Sample, since: datetime, until: datetime) -> dict[str, Any] | None:
    """Seconds from post to delivery, of the posts of this time: {"median", "p95", "of", "is_whole"}."""
    took = sorted(_seconds(found.rows, since, until))
    if not took:
        return None
    p95 = took[math.ceil(len(took) * 0.95) - 1]
    return {"median": statistics.median(took), "p95": p95, "of": len(took), "is_whole": found.is_whole}


def _seconds(rows: list[Timed], since: datetime, until: datetime) -> Iterator[float]:
    for row in rows:
        if since <= row.posted_at < until and row.delivered_at is not None:
            yield max(0.0, (row.delivered_at - row.posted_at).total_seconds())
