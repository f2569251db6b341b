"""The overview: what needs a person, and how each feed does."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from integrations import alarms, response_clock
from integrations.models import Delivery, Notification, Subscription
from integrations.models.configuration import without_lists

MOST_COUNTED = 1_000
MOST_FEEDS = 20


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds what the overview shows to the frame of the admin's first page."""
    if not request.user.has_perm("integrations.view_subscription"):
        return context
    feeds = Subscription.objects.filter(deleted_at__isnull=True).select_related("company")
    feeds = feeds.defer(*without_lists("company__"))
    log = reverse("admin:integrations_delivery_changelist")
    notifications = reverse("admin:integrations_notification_changelist")
    waiting = [
        (
            _count(Delivery.objects.filter(state="failed")),
            "deliveries failed: see their causes",
            reverse("admin:integrations_delivery_causes"),
        ),
        (_count(Delivery.objects.filter(state="pending")), "deliveries waiting", f"{log}?state__exact=pending"),
        (
            _count(Notification.objects.filter(state="missed")),
            "notifications missed",
            f"{notifications}?state__exact=missed",
        ),
        (
            _count(Notification.objects.filter(state="unreadable")),
            "notifications unreadable",
            f"{notifications}?state__exact=unreadable",
        ),
    ]
    return context | {
        "open_alarms": list(alarms.open_alarms()[:20]),
        "can_mail": alarms.can_mail(),
        "feeds": [_feed(feed) for feed in feeds[:50]],
        "waiting": waiting,
        **_response_clock(),
    }


def _response_clock() -> dict[str, Any]:
    """The oldest post without a ticket, and how the targets are met."""
    now = response_clock.database_now()
    oldest = response_clock.oldest_without_a_ticket()
    rows = response_clock.with_targets().select_related("company").defer(*without_lists("company__"))[:MOST_FEEDS]
    return {
        "oldest": oldest,
        "oldest_age": response_clock.span(now - oldest.posted_at) if oldest and oldest.posted_at else "",
        "targets": [row for feed in rows for row in response_clock.targets(feed, now)],
    }


def _count(rows: Any) -> str:
    """Exact as long as people count; more is only "1,000+": counting a million rows takes too long."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else str(count)


def _feed(feed: Subscription) -> dict[str, Any]:
    heard = [at for at in (feed.last_pushed_at, feed.last_caught_up_at) if at]
    state = feed.get_registration_display() if feed.is_active else "Switched off"
    return {"feed": feed, "heard": max(heard) if heard else None, "state": state}


def open_alarm_count(_request: HttpRequest) -> str:
    """For the badge in the navigation."""
    return str(alarms.open_alarms().count())
