"""Doorways from the queue to the rooms of the journey. Each takes ids and may run twice without harm."""

from collections.abc import Callable

from celery import shared_task
from structlog.contextvars import bound_contextvars

from integrations import (
    companies,
    connections,
    delivery,
    flow,
    installation,
    operations,
    outcomes,
    routing,
    subscriptions,
)
from integrations.infra import queue
from integrations.jobs.sweep import find_due_work

# What waits for the outside holds a slot, each kind and account its own, so that none waits for another.
KHOROS, CATCH_UPS, PROBES, BATCHES = "Khoros", "catch-ups", "probes", "batches"
NO_SLOT_SECONDS = 1.0


def _in_a_slot(account: str, work: Callable[[int], object], task: str, row_id: int) -> None:
    with flow.slot(account) as has_slot:
        if has_slot:
            work(row_id)
            return
    queue.publish(task, row_id, countdown=NO_SLOT_SECONDS)


@shared_task(name=queue.ROUTE)
def route(notification_ids: list[int]) -> None:
    _route(notification_ids)


@shared_task(name=queue.ROUTE_FETCHED)
def route_fetched(notification_ids: list[int]) -> None:
    """From a queue of its own: workers take from it and from that of live ones in turn."""
    _route(notification_ids)


def _route(notification_ids: list[int]) -> None:
    for notification_id in [notification_ids] if isinstance(notification_ids, int) else notification_ids:
        with bound_contextvars(notification_id=notification_id):
            for connection_id, count in routing.route_notification(notification_id).items():
                queue.wake_workers(connection_id, count=min(count, queue.MOST_WAKES))


@shared_task(name=queue.DELIVER)
def deliver(connection_id: int) -> None:
    queue.wake_received(connection_id)
    with bound_contextvars(connection_id=connection_id), flow.slot(f"deliveries of {connection_id}") as has_slot:
        if not has_slot:
            # Those that hold this account's slots go on until nothing is due.
            queue.wake_later(connection_id, NO_SLOT_SECONDS)
            return
        left = delivery.deliver_due(connection_id)
    if left.is_more:
        # Far below the limit more workers help; near it one that waits is enough.
        queue.wake_workers(connection_id, count=2 if left.was_immediate else 1)
    elif left.seconds is not None:
        queue.wake_later(connection_id, left.seconds)


@shared_task(name=queue.FOLLOW_BATCH)
def follow_batch(batch_id: int) -> None:
    _in_a_slot(BATCHES, delivery.follow_batch, queue.FOLLOW_BATCH, batch_id)


@shared_task(name=queue.CHECK_SUBSCRIPTION)
def check_subscription(subscription_id: int) -> None:
    _in_a_slot(KHOROS, subscriptions.check_subscription, queue.CHECK_SUBSCRIPTION, subscription_id)


@shared_task(name=queue.CATCH_UP)
def catch_up(subscription_id: int) -> None:
    _in_a_slot(CATCH_UPS, subscriptions.run_catch_up, queue.CATCH_UP, subscription_id)


@shared_task(name=queue.SEND_PROBE)
def send_probe(probe_id: int) -> None:
    _in_a_slot(PROBES, subscriptions.send_probe, queue.SEND_PROBE, probe_id)


@shared_task(name=queue.READ_COMPANY)
def read_company(company_id: int) -> None:
    _in_a_slot(KHOROS, companies.read_company, queue.READ_COMPANY, company_id)


@shared_task(name=queue.READ_LISTS)
def read_lists(connection_id: int) -> None:
    _in_a_slot(f"lists of {connection_id}", connections.read_account_lists, queue.READ_LISTS, connection_id)


@shared_task(name=queue.APPLY_TICKET_EVENT)
def apply_ticket_event(event_id: int) -> None:
    outcomes.apply_event(event_id)


@shared_task(name=queue.POLL_TICKETS)
def poll_tickets(connection_id: int) -> None:
    _in_a_slot(f"tickets of {connection_id}", outcomes.poll_tickets, queue.POLL_TICKETS, connection_id)


@shared_task(name=queue.ANSWER, store_errors_even_if_ignored=False)
def answer() -> None:
    """A worker's sign of life: it takes messages and works on them."""
    installation.record_answer()


@shared_task(name=queue.WATCH, store_errors_even_if_ignored=False)
def watch() -> None:
    """Every WATCH_SECONDS: the alarms, and regular upkeep."""
    operations.update_alarms()
    subscriptions.keep_up()
    delivery.release_leftovers()
    outcomes.forget_old_events()
    operations.forget_content()


@shared_task(name=queue.SWEEP, store_errors_even_if_ignored=False)
def sweep() -> None:
    """Every few seconds: queues whatever is due."""
    flow.update_backlogs()
    due = find_due_work()
    for connection_id, count in due.deliveries:
        queue.wake_one_worker(connection_id)
        queue.wake_workers(connection_id, count=min(count - 1, queue.MOST_WAKES))
    for task, row_ids in due.rows.items():
        for row_id in row_ids:
            queue.publish(task, row_id)
