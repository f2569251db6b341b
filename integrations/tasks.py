"""Doorways from the queue to the steps of the journey. Each takes ids and may run twice without harm."""

import structlog
from celery import shared_task
from structlog.contextvars import bound_contextvars

from integrations import (
    account_schema,
    alarms,
    bulk,
    companies,
    delivery,
    incidents,
    outcomes,
    routing,
    self_test,
    subscriptions,
    surge,
    ticket_events,
    volume,
)
from integrations import catch_up as catching_up
from integrations import sweep as sweeping
from integrations.models import Subscription
from integrations.queueing import (
    APPLY,
    CATCH_UP,
    COMPANY,
    DELIVER,
    FOLLOW_JOB,
    LOOK,
    MOST_CALLS,
    READ_SCHEMA,
    REGISTER,
    ROUTE,
    SELF_TEST,
    SWEEP,
    WATCH,
    call_later,
    call_one_worker,
    call_was_heard,
    call_workers,
    publish,
)

log = structlog.get_logger(__name__)

# What the sweep finds, and the task that does it.
TASKS = {
    "route": ROUTE,
    "register": REGISTER,
    "catch_up": CATCH_UP,
    "self_test": SELF_TEST,
    "follow_job": FOLLOW_JOB,
    "schema": READ_SCHEMA,
    "apply": APPLY,
    "look": LOOK,
}


@shared_task(name=ROUTE)
def route(notification_ids: list[int]) -> None:
    for notification_id in [notification_ids] if isinstance(notification_ids, int) else notification_ids:
        with bound_contextvars(notification_id=notification_id):
            for connection_id, count in routing.route(notification_id).items():
                call_workers(connection_id, count=min(count, MOST_CALLS))


@shared_task(name=DELIVER)
def deliver(connection_id: int) -> None:
    call_was_heard(connection_id)
    with bound_contextvars(connection_id=connection_id):
        rest = delivery.deliver_due(connection_id)
    if rest.is_more:
        # At an easy pace there is work for more hands; at a slow one each hand that waits is enough.
        call_workers(connection_id, count=2 if rest.came_at_once else 1)
    elif rest.seconds is not None:
        call_later(connection_id, rest.seconds)


@shared_task(name=FOLLOW_JOB)
def follow_job(job_id: int) -> None:
    bulk.follow(job_id)


@shared_task(name=REGISTER)
def register(subscription_id: int) -> None:
    subscriptions.register(subscription_id)
    if Subscription.objects.filter(catching_up.due(), pk=subscription_id).exists():
        publish(CATCH_UP, subscription_id)


@shared_task(name=COMPANY)
def company(company_id: int) -> None:
    companies.get_to_know(company_id)


@shared_task(name=CATCH_UP)
def catch_up(subscription_id: int) -> None:
    catching_up.catch_up(subscription_id)
    if Subscription.objects.filter(subscriptions.due(), pk=subscription_id).exists():
        publish(REGISTER, subscription_id)


@shared_task(name=SELF_TEST)
def send_self_test(self_test_id: int) -> None:
    self_test.send(self_test_id)


@shared_task(name=READ_SCHEMA)
def read_schema(connection_id: int) -> None:
    account_schema.read(connection_id)


@shared_task(name=APPLY)
def apply_ticket_event(event_id: int) -> None:
    ticket_events.apply(event_id)


@shared_task(name=LOOK)
def look_at_tickets(connection_id: int) -> None:
    outcomes.look_at_tickets(connection_id)


@shared_task(name=WATCH, store_errors_even_if_ignored=False)
def watch() -> None:
    subscriptions.notice_a_new_address()
    volume.count()
    catching_up.forget_idle_runs()
    incidents.let_go()
    outcomes.begin_to_look()
    ticket_events.forget_old()
    alarms.watch()


@shared_task(name=SWEEP, store_errors_even_if_ignored=False)
def sweep() -> None:
    surge.decide()
    found = sweeping.sweep()
    for connection_id, count in found.pop("deliver"):
        call_one_worker(connection_id)
        call_workers(connection_id, count=min(count - 1, MOST_CALLS))
    for name, task in TASKS.items():
        for row_id in found[name]:
            publish(task, row_id)
