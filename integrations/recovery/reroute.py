"""Routing notifications again: something was mended, or they were missed."""

from django.db.models import QuerySet

from integrations.infra.queue import ROUTE, publish
from integrations.models import Notification, Subscription
from integrations.recovery.actions import ActionResult, oldest

# The sweep finds the rest of a large choice; publishing each one here would only slow the page.
MOST_PUBLISHED = 500


def route_again(notifications: QuerySet[Notification]) -> ActionResult:
    """Reads and routes anew what was unmatched or unreadable (something was mended), or missed."""
    again = [Notification.State.UNMATCHED, Notification.State.UNREADABLE, Notification.State.MISSED]
    remarks: list[str] = []
    ids = oldest(notifications.filter(state__in=again), remarks)
    if count := notifications.exclude(state__in=again).count():
        remarks.append(f"Skipped because they are not unmatched, unreadable or missed: {count}.")
    Notification.objects.filter(pk__in=ids, state__in=again).update(
        state=Notification.State.RECEIVED, queued_until=None
    )
    _publish_all(ROUTE, ids)
    return ActionResult(ids, remarks)


def fetch_missing(subscription: Subscription) -> ActionResult:
    """Routes what a comparison found missing in a feed."""
    return route_again(Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED))


def _publish_all(task: str, ids: list[int]) -> None:
    for row_id in ids[:MOST_PUBLISHED]:
        publish(task, row_id)
