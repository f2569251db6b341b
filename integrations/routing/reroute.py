"""Routing notifications again: something was fixed, or they were missed."""

from django.db.models import QuerySet

from integrations.infra.queue import ROUTE, publish
from integrations.models import Notification, Subscription
from integrations.routing.actions import ActionResult, oldest

# The sweep finds the rest of a large selection; publishing all of it here would only slow the page.
MOST_PUBLISHED = 500


def route_again(notifications: QuerySet[Notification]) -> ActionResult:
    """Routes what was unmatched or unreadable (something was fixed) or missed again."""
    again = [Notification.State.UNMATCHED, Notification.State.UNREADABLE, Notification.State.MISSED]
    remarks: list[str] = []
    ids = oldest(notifications.filter(state__in=again), remarks)
    if count := notifications.exclude(state__in=again).count():
        remarks.append(f"Skipped because they are not unmatched, unreadable or missed: {count}.")
    Notification.objects.filter(pk__in=ids, state__in=again).update(
        state=Notification.State.RECEIVED, queued_until=None
    )
    for notification_id in ids[:MOST_PUBLISHED]:
        publish(ROUTE, notification_id)
    return ActionResult(ids, remarks)


def fetch_missing(subscription: Subscription) -> ActionResult:
    """Routes what a comparison found missing for a subscription."""
    return route_again(Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED))
