"""Deleting content after a time: what was received, what was sent, what was answered, and what lists show of posts.

The ledger stays: notifications' event keys, deliveries and what they became. So a post that is told again is still
recognised, and makes no second ticket. Nothing is deleted of what is not done: a delivery that failed, waits or is held
keeps its content, or nobody could repair it.
"""

from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from integrations.infra.database_clock import seconds_from_now
from integrations.models import Attempt, Delivery, DeliveryContent, Notification, NotificationContent, PostContent
from integrations.walls import forget_posts

log = structlog.get_logger(__name__)

DONE = (Delivery.State.DELIVERED, Delivery.State.CANCELLED)
# So many rows at a time, so that no transaction is long; so often a minute.
ROWS, TIMES = 1000, 20
NO_LONGER_KEPT = "Nothing was sent. The reason is no longer kept."


def forget_content() -> None:
    """Deletes what is older than CONTENT_KEPT_DAYS, the oldest first; nothing where that is 0."""
    if not settings.CONTENT_KEPT_DAYS:
        return
    before = seconds_from_now(-86400 * settings.CONTENT_KEPT_DAYS)
    for forget in (_forget_deliveries, _forget_notifications):
        for _ in range(TIMES):
            if not forget(before):
                break
    for _ in range(TIMES):
        if not forget_posts(before, ROWS):
            break


def _forget_deliveries(before: Any) -> int:
    older = Delivery.objects.filter(created_at__lt=before).order_by("-created_at", "-id")
    old = DeliveryContent.objects.filter(delivery__state__in=DONE, pk__lte=_newest(older))
    ids = list(old.order_by("pk").values_list("pk", flat=True)[:ROWS])
    with transaction.atomic():
        Attempt.objects.filter(delivery__in=ids).delete()
        DeliveryContent.objects.filter(pk__in=ids).delete()
    if ids:
        log.info("content of deliveries deleted", count=len(ids))
    return len(ids)


def _forget_notifications(before: Any) -> int:
    """Those of whose posts nothing is still to be sent."""
    older = Notification.objects.filter(received_at__lt=before).order_by("-received_at", "-id")
    used = DeliveryContent.objects.filter(post__notification=OuterRef("pk"))
    old = NotificationContent.objects.filter(~Exists(used), pk__lte=_newest(older))
    routed = old.exclude(notification__state=Notification.State.RECEIVED)
    ids = list(routed.order_by("pk").values_list("pk", flat=True)[:ROWS])
    with transaction.atomic():
        PostContent.objects.filter(notification__in=ids).delete()
        NotificationContent.objects.filter(pk__in=ids).delete()
        # A reason may name an author.
        Notification.objects.filter(pk__in=ids).exclude(reason="").update(reason=NO_LONGER_KEPT)
    if ids:
        log.info("content of notifications deleted", count=len(ids))
    return len(ids)


def _newest(rows: QuerySet[Any]) -> int:
    """The id of the first of the rows; 0 when there are none. Ids grow with time: nothing newer is looked at."""
    newest: int | None = rows.values_list("pk", flat=True).first()
    return newest or 0
