"""Waking the workers. The rows are the truth; a message only makes them faster.

`publish` never waits and never raises: messages go out from one background thread per process, and for five seconds
after a failure none are sent. The sweep finds what was not published, so a dead Redis does not change how Khoros' calls
are answered.
"""

import os
import queue
import threading
import time
from contextlib import suppress
from typing import Any

import redis
import structlog
from celery import current_app

from integrations.infra.redis import redis_client

log = structlog.get_logger(__name__)

ROUTE = "integrations.jobs.route"
ROUTE_FETCHED = "integrations.jobs.route_fetched"
DELIVER = "integrations.jobs.deliver"
CHECK_SUBSCRIPTION = "integrations.jobs.check_subscription"
CATCH_UP = "integrations.jobs.catch_up"
READ_COMPANY = "integrations.jobs.read_company"
SEND_PROBE = "integrations.jobs.send_probe"
APPLY_TICKET_EVENT = "integrations.jobs.apply_ticket_event"
POLL_TICKETS = "integrations.jobs.poll_tickets"
SWEEP = "integrations.jobs.sweep"
ANSWER = "integrations.jobs.answer"
FOLLOW_BATCH = "integrations.jobs.follow_batch"
READ_LISTS = "integrations.jobs.read_lists"

MOST_QUEUED = 10_000
MOST_AT_ONCE = 100
BACK_OFF_SECONDS = 5.0
# Messages for one connection that may be queued at a time: a worker goes on with each until nothing is due.
MOST_WAKES = 16
WAKES_COUNTED_SECONDS = 30
LONGEST_WAKE_SECONDS = 60.0
# The publisher must notice a host that does not answer; the workers' own connections block on messages instead.
TRANSPORT_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 3, "max_retries": 0}


class Publisher:
    """One bounded queue and one thread that empties it; recreated in a forked process."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self.waiting: queue.Queue[tuple[str, Any, float | None]] = queue.Queue(MOST_QUEUED)
        self.backed_off_until = 0.0
        self._producer: Any = None
        threading.Thread(target=self._run, name="publisher", daemon=True).start()

    def put(self, task: str, argument: Any, countdown: float | None) -> None:
        if time.monotonic() < self.backed_off_until:
            return
        with suppress(queue.Full):
            self.waiting.put_nowait((task, argument, countdown))

    def _run(self) -> None:
        while True:
            batch = [self.waiting.get()]
            with suppress(queue.Empty):
                while len(batch) < MOST_AT_ONCE:
                    batch.append(self.waiting.get_nowait())
            try:
                self._send(batch)
            except Exception as error:
                self._back_off(error, len(batch))
            for _ in batch:
                self.waiting.task_done()

    def _send(self, batch: list[tuple[str, Any, float | None]]) -> None:
        """Notifications to route share a message, everything else gets one each."""
        for shared in (ROUTE, ROUTE_FETCHED):
            to_route = [argument for task, argument, _ in batch if task == shared]
            if to_route:
                self._send_one(shared, to_route, None)
        for task, argument, countdown in batch:
            if task not in (ROUTE, ROUTE_FETCHED):
                self._send_one(task, argument, countdown)

    def _send_one(self, task: str, argument: Any, countdown: float | None) -> None:
        if self._producer is None:
            connection = current_app.connection_for_write(transport_options=TRANSPORT_OPTIONS)
            self._producer = current_app.amqp.Producer(connection, auto_declare=False)
        arguments = [] if argument is None else [argument]
        current_app.send_task(task, args=arguments, countdown=countdown, producer=self._producer, retry=False)

    def _back_off(self, error: Exception, count: int) -> None:
        self.backed_off_until = time.monotonic() + BACK_OFF_SECONDS
        with suppress(Exception):
            self._producer.connection.release()
        self._producer = None
        log.warning("messages not published", count=count, error=str(error))


_lock = threading.Lock()
_publisher: Publisher | None = None


def publish(task: str, argument: Any = None, *, countdown: float | None = None) -> None:
    """Queues a task soon if Redis is there. Never waits or raises.

    `countdown`: in so many seconds. Few, as a worker holds the message until then.
    """
    publisher().put(task, argument, countdown)


def publisher() -> Publisher:
    global _publisher
    if _publisher is None or _publisher.process_id != os.getpid():
        with _lock:
            if _publisher is None or _publisher.process_id != os.getpid():
                _publisher = Publisher()
    return _publisher


# --- Deliveries ------------------------------------------------------------------------------------------------------


def wake_workers(connection_id: int, *, count: int = 1, countdown: float | None = None) -> None:
    """Asks for workers on a connection. A few messages are enough for any backlog: which delivery is sent is decided
    once there is a permit, so a message never pins an older delivery ahead of a more urgent one.
    """
    for _ in range(count):
        if countdown is None and not _has_room_for_wake(connection_id):
            return
        publish(DELIVER, connection_id, countdown=countdown)


def wake_one_worker(connection_id: int) -> None:
    """One message past the count: the sweep's own, in case all others were lost."""
    publish(DELIVER, connection_id)


def wake_later(connection_id: int, seconds: float) -> None:
    """Brings one worker back for the next permit, however many found it too far off."""
    try:
        is_first = redis_client().set(
            f"casebridge:wakes:{connection_id}:later", 1, nx=True, px=max(round(seconds * 1000), 1)
        )
    except redis.RedisError:
        return
    if is_first:
        wake_workers(connection_id, countdown=seconds)


def wake_received(connection_id: int) -> None:
    """A message for this connection left the queue."""
    try:
        if redis_client().decr(_wakes_key(connection_id)) < 0:
            redis_client().delete(_wakes_key(connection_id))
    except redis.RedisError:
        return


def forget_wakes(connection_ids: list[int]) -> None:
    """The queue is empty: messages still counted as queued were lost."""
    try:
        for connection_id in connection_ids:
            redis_client().delete(_wakes_key(connection_id), f"casebridge:wakes:{connection_id}:later")
    except redis.RedisError:
        return


def _has_room_for_wake(connection_id: int) -> bool:
    """Counts one more; without Redis nothing can be queued anyway."""
    try:
        queued = redis_client().incr(_wakes_key(connection_id))
        if queued == 1:
            # Never extended: a count whose messages were lost (with a process, with Redis) expires.
            redis_client().expire(_wakes_key(connection_id), WAKES_COUNTED_SECONDS)
        if queued > MOST_WAKES:
            redis_client().decr(_wakes_key(connection_id))
            return False
    except redis.RedisError:
        return False
    return True


def _wakes_key(connection_id: int) -> str:
    return f"casebridge:wakes:{connection_id}"
