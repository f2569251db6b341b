"""Doorways from the queue to the steps of the journey. Each takes ids and may run twice without harm."""

import structlog
from celery import shared_task
from structlog.contextvars import bound_contextvars

from integrations import (
    alarms,
    companies,
    delivery,
    outcomes,
    routing,
    self_test,
    subscriptions,
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
    LOOK,
    REGISTER,
    ROUTE,
    SELF_TEST,
    SWEEP,
    WATCH,
    publish,
)

log = structlog.get_logger(__name__)

# What the sweep finds, and the task that does it.
TASKS = {
    "route": ROUTE,
    "deliver": DELIVER,
    "register": REGISTER,
    "catch_up": CATCH_UP,
    "self_test": SELF_TEST,
    "apply": APPLY,
    "look": LOOK,
}


@shared_task(name=ROUTE)
def route(notification_ids: list[int]) -> None:
    for notification_id in [notification_ids] if isinstance(notification_ids, int) else notification_ids:
        with bound_contextvars(notification_id=notification_id):
            for delivery_id in routing.route(notification_id):
                publish(DELIVER, delivery_id)


@shared_task(name=DELIVER)
def deliver(delivery_id: int) -> None:
    with bound_contextvars(delivery_id=delivery_id):
        delivery.deliver(delivery_id)


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
    outcomes.begin_to_look()
    ticket_events.forget_old()
    alarms.watch()


@shared_task(name=SWEEP, store_errors_even_if_ignored=False)
def sweep() -> None:
    found = sweeping.sweep()
    for name, task in TASKS.items():
        for row_id in found[name]:
            publish(task, row_id)
