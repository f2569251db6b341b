"""Finding what is due: retries, lost queue messages, notifications whose routing died, the jobs of each room.

Due work is in columns; the queue only makes it fast. Notifications queued here are marked, so that a backlog is not
queued again at every sweep, and the queue is kept short: rows wait in the database. Marks count only while the queue
holds anything: an empty queue with rows still due means that their messages were lost. For deliveries a few messages
per connection are enough (infra.wakes.wake_workers). Paused connections are left alone.
"""

from collections.abc import Iterable
from functools import partial

import redis
import structlog
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations.infra import queue, wakes
from integrations.infra.background import Job
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.redis import redis_client
from integrations.jobs.rooms import EACH_SWEEP, JOBS, do_all
from integrations.jobs.turns import take_turn
from integrations.models import Connection, Delivery, Notification

log = structlog.get_logger(__name__)

FETCHED = Notification.Source.CAUGHT_UP
LONGEST_QUEUE = 2000
MARKED_SECONDS = 120
# A notification this young is still on its way from intake to the queue.
ROUTED_WITHIN_SECONDS = 2


def sweep() -> None:
    """Every few seconds: puts right what was missed and queues what is due. What fails of it holds up nothing else."""
    do_all((*EACH_SWEEP, _queue_deliveries, _queue_live, _queue_fetched, *(partial(_queue_rows, job) for job in JOBS)))


def _queue_deliveries() -> None:
    for connection_id, count in _due_deliveries():
        wakes.wake_one_worker(connection_id)
        wakes.wake_workers(connection_id, count=min(count - 1, wakes.MOST_WAKES))


def _queue_live() -> None:
    _queue(queue.ROUTE, _mark(_to_route().exclude(source=FETCHED), queue_space("intake")))


def _queue_fetched() -> None:
    _queue(queue.ROUTE_FETCHED, _mark(_to_route().filter(source=FETCHED), queue_space("fetched")))


def _queue_rows(job: Job) -> None:
    if job.turn and not take_turn(job.turn, job.every):
        return
    if due := job.due():
        most, _ = queue_space("control")
        _queue(job.task, due[:most])


def _queue(task: str, row_ids: Iterable[int]) -> None:
    for row_id in row_ids:
        queue.publish(task, row_id)


def _to_route() -> QuerySet[Notification]:
    return Notification.objects.filter(
        state=Notification.State.RECEIVED, received_at__lte=seconds_from_now(-ROUTED_WITHIN_SECONDS)
    ).order_by("received_at")


def _due_deliveries() -> list[tuple[int, int]]:
    """Open connections with due deliveries, and how many (as far as they are worth messages of their own).

    Waiting and abandoned ones are separate queries: each has an index, and one OR of both would use neither.
    """
    open_ids = list(Connection.objects.filter(Connection.open_now()).values_list("pk", flat=True))
    if queue_space("deliver")[1]:
        wakes.forget_wakes(open_ids)
    due = []
    for connection_id in open_ids:
        deliveries = Delivery.objects.filter(connection=connection_id)
        most = wakes.MOST_WAKES
        if count := deliveries.due()[:most].count() or deliveries.abandoned()[:most].count():
            due.append((connection_id, count))
    return due


def queue_space(queue_name: str) -> tuple[int, bool]:
    """(how many more messages the queue takes, whether it is empty now)."""
    try:
        length = int(redis_client().llen(queue_name))
    except redis.RedisError as error:
        log.warning("nothing queued: redis unavailable", error=str(error))
        return 0, False
    return max(LONGEST_QUEUE - length, 0), length == 0


def _mark(rows: QuerySet[Notification], space: tuple[int, bool]) -> list[int]:
    most, is_empty = space
    if not is_empty:
        rows = rows.filter(Q(queued_until__isnull=True) | Q(queued_until__lte=Now()))
    ids = list(rows.values_list("pk", flat=True)[:most])
    if ids:
        Notification.objects.filter(pk__in=ids).update(queued_until=seconds_from_now(MARKED_SECONDS))
    return ids
