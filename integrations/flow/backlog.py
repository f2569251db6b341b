"""When backlog mode starts and ends, and how long a connection's queue takes to clear."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Now

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import ACCOUNT, LOOK_UP, FindsByExternalId
from integrations.flow.rate_limit import SHARE_OF_LIMIT, calls_per_minute, limit_of
from integrations.infra.database_clock import now, seconds_from_now
from integrations.infra.text import timestamp
from integrations.models import Connection, Delivery
from integrations.models.deliveries import DeliveryQuerySet

log = structlog.get_logger(__name__)

Priority, State = Delivery.Priority, Delivery.State
# Backlog mode ends when less waits than the limit clears in a minute, so that it does not start again at once.
ENDS_BELOW_MINUTES = 1.0
MEASURED_SECONDS = 60


def update_backlogs() -> None:
    """Turns backlog mode on and off for each connection, by what waits and what the limit clears."""
    for connection in Connection.objects.filter(is_active=True):
        rate = usual_rate(connection)
        backlog = Delivery.objects.filter(connection=connection).count_live()
        if connection.backlog_since is None and connection.backlog_minutes and rate:
            if backlog > rate * connection.backlog_minutes:
                Connection.objects.filter(pk=connection.pk, backlog_since__isnull=True).update(backlog_since=Now())
                log.warning("backlog mode on", connection_id=connection.pk, waiting=backlog, calls_per_minute=rate)
        elif connection.backlog_since and (
            not connection.backlog_minutes or backlog <= (rate or backlog) * ENDS_BELOW_MINUTES
        ):
            Connection.objects.filter(pk=connection.pk).update(backlog_since=None, batch_wait_until=None)
            log.info("backlog mode off", connection_id=connection.pk)


def usual_rate(connection: Connection) -> float | None:
    """Calls a minute that our share of the account's limit allows, whatever others leave of it at the moment."""
    return rate_of(connection, ACCOUNT)


def rate_of(connection: Connection, budget: str) -> float | None:
    """The same for any budget; None where its limit is not known."""
    limit = limit_of(connection.pk, budget)
    return limit * SHARE_OF_LIMIT * connection.limit_share / 100 if limit else None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits on a connection by priority, and when it will probably be sent; None where no rate is known."""

    waiting: dict[int, int]
    per_minute: float | None
    live_per_minute: float
    ends_at: datetime | None

    @property
    def total(self) -> int:
        return sum(self.waiting.values())


def backlog(connection: Connection) -> Backlog:
    return backlogs([connection])[connection.pk]


def backlogs(connections: Collection[Connection]) -> dict[int, Backlog]:
    """By connection, with as many queries for many as for one."""
    ids = [connection.pk for connection in connections]
    due = Delivery.objects.filter(connection__in=ids, state=State.PENDING, next_attempt_at__lte=Now())
    waiting: dict[int, dict[int, int]] = {pk: dict.fromkeys(Priority.values, 0) for pk in ids}
    counted = due.order_by().values("connection", "priority").annotate(count=Count("pk"))
    for pk, priority, count in counted.values_list("connection", "priority", "count"):
        waiting[pk][priority] = count
    recent = Delivery.objects.filter(connection__in=ids, created_at__gte=seconds_from_now(-MEASURED_SECONDS))
    arriving = _per_minute(recent.filter(priority=Priority.LIVE))
    delivered = _per_minute(recent.filter(state=State.DELIVERED))
    look_ups = _look_ups(connections, due)
    return {
        connection.pk: _backlog(
            connection, waiting[connection.pk], arriving.get(connection.pk, 0.0), delivered.get(connection.pk, 0.0),
            look_ups.get(connection.pk, 0),
        )
        for connection in connections
    }  # fmt: skip


def _per_minute(recent: QuerySet[Delivery]) -> dict[int, float]:
    counted = recent.order_by().values("connection").annotate(count=Count("pk")).values_list("connection", "count")
    return {pk: count / (MEASURED_SECONDS / 60) for pk, count in counted}


def _look_ups(connections: Collection[Connection], due: DeliveryQuerySet) -> dict[int, int]:
    """How many of what waits have to be looked up first."""
    found: Counter[int] = Counter()
    for kind in {connection.kind for connection in connections}:
        destination = DESTINATIONS[kind]
        if not isinstance(destination, FindsByExternalId):
            continue
        ids = [connection.pk for connection in connections if connection.kind == kind]
        of_kind = due.filter(connection__in=ids).order_by()
        not_marked = of_kind.filter(look_up_next=False).late(destination.key_trusted_seconds)
        for rows in (of_kind.filter(look_up_next=True), not_marked):
            counted = rows.values("connection").annotate(count=Count("pk"))
            found.update(dict(counted.values_list("connection", "count")))
    return found


def _backlog(
    connection: Connection, waiting: dict[int, int], arriving: float, delivered: float, look_ups: int
) -> Backlog:
    """Live posts that come in meanwhile go first, so only the rest of the rate clears the queue."""
    rate = usual_rate(connection) or delivered
    total = sum(waiting.values())
    left = (rate or 0.0) - (arriving if waiting[Priority.RETRY] or waiting[Priority.BULK] else 0.0)
    look_up_rate = rate_of(connection, LOOK_UP) or left
    is_known = total and left > 0 and look_up_rate > 0
    # A look-up is a call of its own, and look-ups have a limit of their own.
    minutes = max((total + look_ups) / left, look_ups / look_up_rate) if is_known else 0.0
    ends_at = now() + timedelta(minutes=minutes) if is_known else None
    return Backlog(waiting, rate or None, arriving, ends_at)


def backlog_texts(connections: Collection[Connection]) -> dict[int, str]:
    """The queue of each connection for people: how many wait, how fast they are sent, when they are done."""
    is_open = Connection.objects.filter(Connection.open_now(), pk__in=[connection.pk for connection in connections])
    sends = set(is_open.values_list("pk", flat=True))
    later = _later(connections)
    return {pk: _text(queue, later.get(pk, ""), sends=pk in sends) for pk, queue in backlogs(connections).items()}


def _later(connections: Collection[Connection]) -> dict[int, str]:
    """What is not due yet, in words."""
    ids = [connection.pk for connection in connections]
    rows = Delivery.objects.filter(connection__in=ids, state=State.PENDING, next_attempt_at__gt=Now()).order_by()
    counted = rows.values("connection").annotate(count=Count("pk"), soonest=Min("next_attempt_at"))
    return {
        row["connection"]: f"{row['count']:,} to be tried again, the next at {timestamp(row['soonest'])}."
        for row in counted
    }


def _text(queue: Backlog, later: str, *, sends: bool) -> str:
    if not queue.total:
        return f"Nothing is due. {later}" if later else "Empty."
    return f"{_due(queue, sends=sends)} {later}".strip()


def _due(queue: Backlog, *, sends: bool) -> str:
    if not sends:
        return f"{queue.total:,} waiting. Nothing is sent while the connection is paused, off or unreachable."
    priorities = ", ".join(
        f"{count:,} {Priority(priority).label.lower()}" for priority, count in sorted(queue.waiting.items()) if count
    )
    speed = f" Up to about {queue.per_minute:.0f} requests a minute." if queue.per_minute else ""
    if queue.ends_at is None:
        end = (
            " No estimate yet of when the queue will be empty."
            if not queue.live_per_minute
            else (
                " New posts arrive as fast as they can be sent, so retries and bulk deliveries wait until that "
                "slows down."
            )
        )
        return f"{queue.total:,} waiting ({priorities}).{speed}{end}"
    meanwhile = (
        f" New live posts ({queue.live_per_minute:.0f} a minute) are sent first." if queue.live_per_minute >= 1 else ""
    )
    return f"{queue.total:,} waiting ({priorities}).{speed}{meanwhile} Empty at about {timestamp(queue.ends_at)}."


def limit_text(connection: Connection) -> str:
    """The account's limit, and what Casebridge takes of it at present."""
    limit, rate = limit_of(connection.pk, ACCOUNT), calls_per_minute(connection.pk)
    if limit is None or rate is None:
        return "Not known yet. Casebridge reads it from the account's responses."
    return f"{limit:,} requests a minute for all integrations. Casebridge currently uses at most {rate:.0f}."
