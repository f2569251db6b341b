"""Messages to the workers. The rows are the truth; a message only makes them faster.

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

import structlog
from celery import current_app

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
