"""The overview: what needs a person, and how each subscription is doing."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from integrations.admin.first_steps import first_steps
from integrations.admin.verdict import verdict
from integrations.models import Delivery, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.operations import can_mail, open_alarms
from integrations.outcomes import response_overview

MOST_COUNTED = 1_000


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds what the overview shows to the context of the admin's first page."""
    if not request.user.has_perm("integrations.view_subscription"):
        return context
    subscriptions = Subscription.objects.filter(deleted_at__isnull=True).select_related("company")
    subscriptions = subscriptions.defer(*without_lists("company__"))
    log = reverse("admin:integrations_delivery_changelist")
    notifications = reverse("admin:integrations_notification_changelist")
    failed, pending = (Delivery.objects.filter(state=state) for state in ("failed", "pending"))
    missed, unreadable = (Notification.objects.filter(state=state) for state in ("missed", "unreadable"))
    follows = Delivery.objects.filter(state="waiting")
    what = _counted(follows, "delivery waits for another", "deliveries wait for another")
    followers = [(*what, f"{log}?state__exact=waiting")] if follows.exists() else []
    waiting = [
        (*_counted(failed, "failed delivery", "failed deliveries"), reverse("admin:integrations_delivery_causes")),
        (*_counted(pending, "delivery waiting", "deliveries waiting"), f"{log}?state__exact=pending"),
        *followers,
        (*_counted(missed, "missed notification", "missed notifications"), f"{notifications}?state__exact=missed"),
        (
            *_counted(unreadable, "unreadable notification", "unreadable notifications"),
            f"{notifications}?state__exact=unreadable",
        ),
    ]
    return context | {
        "page_title": "Overview",
        "verdict": verdict(),
        "first_steps": first_steps() if request.user.has_perm("integrations.add_mapping") else [],
        "open_alarms": list(open_alarms()[:20]),
        "can_mail": can_mail(),
        "subscriptions": [_row(subscription) for subscription in subscriptions[:50]],
        "waiting": waiting,
        **response_overview(),
    }


def _counted(rows: Any, one: str, many: str) -> tuple[str, str]:
    """Exact as long as people count; more is only "1,000+": counting a million rows takes too long."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else str(count), one if count == 1 else many


def _row(subscription: Subscription) -> dict[str, Any]:
    received = [at for at in (subscription.last_pushed_at, subscription.last_caught_up_at) if at]
    state = subscription.get_registration_display() if subscription.is_active else "Off"
    return {"subscription": subscription, "last": max(received) if received else None, "state": state}


def open_alarm_count(_request: HttpRequest) -> str:
    """For the badge in the navigation."""
    count: int = open_alarms().count()
    return str(count) if count else ""
