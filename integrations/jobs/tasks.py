"""Doorways from the queue to the rooms of the journey. Each takes ids and may run twice without harm.

`route` and `deliver` are the journey's own; then there is one for each job that a room has done in the background
(jobs.rooms), and those of the clock.
"""

from celery import shared_task
from structlog.contextvars import bound_contextvars

from integrations import delivery, installation, routing
from integrations.infra import queue, wakes
from integrations.infra.background import Job
from integrations.jobs.in_flight import slot
from integrations.jobs.rooms import JOBS
from integrations.jobs.sweep import sweep

NO_SLOT_SECONDS = 1.0


@shared_task(name=queue.ROUTE)
def route(notification_ids: list[int]) -> None:
    _route(notification_ids)


@shared_task(name=queue.ROUTE_FETCHED)
def route_fetched(notification_ids: list[int]) -> None:
    """From a queue of its own: workers take from it and from that of live ones in turn."""
    _route(notification_ids)


def _route(notification_ids: list[int]) -> None:
    for notification_id in notification_ids:
        with bound_contextvars(notification_id=notification_id):
            for connection_id, count in routing.route_notification(notification_id).items():
                wakes.wake_workers(connection_id, count=min(count, wakes.MOST_WAKES))


@shared_task(name=queue.DELIVER)
def deliver(connection_id: int) -> None:
    wakes.wake_received(connection_id)
    with bound_contextvars(connection_id=connection_id), slot(f"deliveries of {connection_id}") as has_slot:
        if not has_slot:
            # Those that hold this account's slots go on until nothing is due.
            wakes.wake_later(connection_id, NO_SLOT_SECONDS)
            return
        left = delivery.deliver_due(connection_id)
    if left.is_more:
        # Far below the limit more workers help; near it one that waits is enough.
        wakes.wake_workers(connection_id, count=2 if left.was_immediate else 1)
    elif left.seconds is not None:
        wakes.wake_later(connection_id, left.seconds)


def _doorway_of(job: Job) -> None:
    @shared_task(name=job.task)
    def work_on(row_id: int) -> None:
        if not job.slot:
            job.work(row_id)
            return
        # What waits for the outside holds a slot, each kind and account its own, so that none waits for another.
        with slot(job.slot.format(row_id)) as has_slot:
            if has_slot:
                job.work(row_id)
                return
        queue.publish(job.task, row_id, countdown=NO_SLOT_SECONDS)


for _job in JOBS:
    _doorway_of(_job)


@shared_task(name=queue.ANSWER, store_errors_even_if_ignored=False)
def answer() -> None:
    """A worker's sign of life: it takes messages and works on them."""
    installation.record_answer()


@shared_task(name=queue.SWEEP, store_errors_even_if_ignored=False)
def sweep_now() -> None:
    """For those who do not want to wait for the clock's next turn."""
    sweep()
