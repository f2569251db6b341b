"""Finding what is due: retries, lost queue messages, notifications whose routing died, feeds to check and to fetch.

Due work is a column; the queue only makes it fast. Notifications queued here are marked, so a backlog is not queued
again at every sweep, and the queue is kept short: rows wait in the database. Marks count only while the queue holds
anything: an empty queue with rows still due means that their messages were lost with it. Of deliveries a few messages
for each connection are enough (queueing.call_workers). Paused connections are left alone.
"""

from typing import Any

import redis
import structlog
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations import account_schema, bulk, catch_up, outcomes, subscriptions, ticket_events
from integrations.connections import pause_what_cannot_be_read
from integrations.database_time import seconds_from_now
from integrations.delivery import abandoned, waiting
from integrations.models import Connection, Delivery, Notification, SelfTest, Subscription
from integrations.queueing import MOST_CALLS, forget_calls
from integrations.redis_client import client

log = structlog.get_logger(__name__)

LONGEST_QUEUE = 2000
MOST_CALLS_TO_KHOROS = 4
MOST_JOBS_ASKED = 30
MOST_CALLS_TO_ACCOUNTS = 4
SELF_TEST_WAITED_FOR = 600
MARKED_SECONDS = 120
# A notification this young is still on its way from intake to the queue.
ROUTED_WITHIN_SECONDS = 2


def sweep() -> dict[str, list[Any]]:
    """Marks what is due and returns the ids to queue, by the step's name; for deliveries (connection, how many)."""
    pause_what_cannot_be_read()
    return {
        "route": _mark(_to_route(), _room("intake")),
        "deliver": _due_deliveries(),
        "follow_job": list(bulk.under_way().values_list("pk", flat=True)[:MOST_JOBS_ASKED]),
        "register": _feeds(subscriptions.due(), "next_check_at", "checking_until"),
        "apply": ticket_events.to_apply(_room("control")[0]),
        "look": outcomes.to_look_at(),
        "self_test": _self_tests(),
        "schema": list(account_schema.due().values_list("pk", flat=True)[:MOST_CALLS_TO_ACCOUNTS]),
        "catch_up": _feeds(catch_up.due(), "next_catch_up_at", "catching_up_until"),
    }


def _self_tests() -> list[int]:
    """Those whose message was lost. An old one is not sent any more: nobody looks at it."""
    waiting = SelfTest.objects.filter(sent_at__isnull=True, asked_at__gte=seconds_from_now(-SELF_TEST_WAITED_FOR))
    return list(waiting.filter(asked_at__lte=seconds_from_now(-ROUTED_WITHIN_SECONDS)).values_list("pk", flat=True))


def _feeds(due: Q, when: str, claimed_until: str) -> list[int]:
    """The longest due first, and few at a time: a Khoros that hangs must not hold every thread of the workers."""
    running = Subscription.objects.filter(**{f"{claimed_until}__gt": Now()}).count()
    room = max(0, MOST_CALLS_TO_KHOROS - running)
    return list(Subscription.objects.filter(due).order_by(when).values_list("pk", flat=True)[:room])


def _to_route() -> QuerySet[Notification]:
    return Notification.objects.filter(
        state=Notification.State.RECEIVED, received_at__lte=seconds_from_now(-ROUTED_WITHIN_SECONDS)
    ).order_by("received_at")


def _due_deliveries() -> list[tuple[int, int]]:
    """Connections that are open and have deliveries due, with how many (up to what is worth a message of its own).

    Waiting and abandoned ones are asked for apart: each has an index of its own, and one OR of both would use neither.
    """
    open_ids = list(Connection.objects.filter(Connection.open_now()).values_list("pk", flat=True))
    if _room("deliver")[1]:
        forget_calls(open_ids)
    found = []
    for connection_id in open_ids:
        there = Delivery.objects.filter(connection=connection_id)
        count = there.filter(waiting())[:MOST_CALLS].count() or there.filter(abandoned())[:MOST_CALLS].count()
        if count:
            found.append((connection_id, count))
    return found


def _room(queue_name: str) -> tuple[int, bool]:
    """(how many more messages the queue takes, whether it is empty now)."""
    try:
        length = int(client().llen(queue_name))
    except redis.RedisError as error:
        log.warning("nothing queued: Redis is away", error=str(error))
        return 0, False
    return max(LONGEST_QUEUE - length, 0), length == 0


def _mark(rows: QuerySet[Any], room: tuple[int, bool]) -> list[int]:
    most, is_empty = room
    if not is_empty:
        rows = rows.filter(Q(queued_until__isnull=True) | Q(queued_until__lte=Now()))
    ids = list(rows.values_list("pk", flat=True)[:most])
    if ids:
        rows.model.objects.filter(pk__in=ids).update(queued_until=seconds_from_now(MARKED_SECONDS))
    return ids
