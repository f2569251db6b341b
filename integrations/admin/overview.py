"""The overview: is all well, what needs a person now, and what was done lately."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from integrations.admin.filters import time_between
from integrations.admin.first_steps import first_steps
from integrations.admin.guide import may_be_guided
from integrations.admin.needs import SHOWN_BY_THEMSELVES
from integrations.admin.text.chart import Chart, chart_of
from integrations.admin.text.connection import health
from integrations.admin.text.log import failures_address
from integrations.admin.text.subscription import latest_notification
from integrations.admin.verdict import verdict
from integrations.companies import token_warning
from integrations.flow import backlog_texts
from integrations.infra import database_clock
from integrations.infra.counting import counts
from integrations.infra.text import span_text
from integrations.models import Alarm, Company, Connection, Delivery, Subscription
from integrations.models.configuration import without_lists
from integrations.outcomes import FailureGroup, failure_groups, oldest_without_a_ticket, period_figures

MOST_COUNTED = 1_000
MOST_ROWS = 50
MOST_CAUSES = 5
PERIODS = {"day": "24 hours", "week": "7 days", "month": "30 days"}
DELIVERIES = "admin:integrations_delivery_changelist"


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its unit and the list of exactly what it counts."""

    count: str
    message: str
    address: str
    is_bad: bool = False


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds what the overview shows to the context of the admin's first page."""
    if not request.user.has_perm("integrations.view_subscription"):
        return context
    period = request.GET.get("period", "")
    period = period if period in PERIODS else "day"
    figures = period_figures(period, timezone.get_current_timezone())
    return context | {
        "page_title": "Overview",
        "verdict": verdict(),
        "may_be_guided": may_be_guided(request),
        "first_steps": first_steps() if request.user.has_perm("integrations.add_mapping") else [],
        "open_alarms": _open_alarms(),
        "can_mail": bool(settings.ALERT_EMAILS),
        "now_numbers": _now_numbers(),
        **_oldest(),
        "periods": [(name, title, name == period) for name, title in PERIODS.items()],
        "period_title": PERIODS[period],
        "numbers": _numbers(figures),
        "as_of": datetime.fromisoformat(figures["until"]),
        "times": _times(figures["times"]),
        "chart": _chart(figures, period),
        "targets": [_target(row, figures) for row in figures["targets"]],
        "causes": _causes(),
        "subscriptions": _subscriptions(),
        "connections": _connections(),
        "companies": _companies(),
    }


# --- Now -------------------------------------------------------------------------------------------------------------


def _now_numbers() -> list[Number]:
    """Exact as long as people count; more is only "1,000+": counting a million rows takes too long."""
    log = reverse(DELIVERIES)
    states = ("failed", "pending", "waiting", "held")
    found = dict(
        zip(states, counts([Delivery.objects.filter(state=state) for state in states], MOST_COUNTED), strict=True)
    )
    causes = reverse("admin:integrations_delivery_causes")
    numbers = [
        Number(_shown(found["failed"]), "failed", causes, is_bad=found["failed"] > 0),
        Number(_shown(found["pending"]), "waiting to be sent", f"{log}?state__exact=pending"),
    ]
    for state, message in (("waiting", "waiting for another"), ("held", "held in a flood")):
        if found[state]:
            numbers.append(Number(_shown(found[state]), message, f"{log}?state__exact={state}"))
    return numbers


def _shown(count: int) -> str:
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"


def _oldest() -> dict[str, Any]:
    oldest = oldest_without_a_ticket()
    age = span_text(database_clock.now() - (oldest.posted_at or oldest.created_at)) if oldest else ""
    return {"oldest": oldest, "oldest_age": age}


def _open_alarms() -> list[Alarm]:
    """Those that the page does not show otherwise."""
    rows = Alarm.objects.open().exclude(kind__in=SHOWN_BY_THEMSELVES)
    rows = rows.select_related("subscription", "company", "connection", "mapping").defer(*without_lists("company__"))
    return list(rows[:20])


def _causes() -> list[tuple[FailureGroup, str, str]]:
    """The largest groups of failures, each with who takes care of it and the list that it counts."""
    alarms = Alarm.objects.of_failures()
    taken = {key: alarm.acknowledged_by for key, alarm in alarms.items()}
    return [
        (group, taken.get((group.mapping.pk, group.cause), ""), failures_address(group))
        for group in failure_groups(MOST_CAUSES)
    ]


# --- A period --------------------------------------------------------------------------------------------------------


def _numbers(figures: dict[str, Any]) -> list[Number]:
    """Each with the list of the same period, up to the moment at which it was counted."""
    time = {"time": time_between(*(datetime.fromisoformat(figures[end]) for end in ("since", "until")))}
    log, notifications = reverse(DELIVERIES), reverse("admin:integrations_notification_changelist")

    def number(name: str, message: str, address: str, *, is_bad: bool = False, **query: str) -> Number:
        count = figures[name]
        return Number(f"{count:,}", message, f"{address}?{urlencode(query | time)}", is_bad and count > 0)

    return [
        number("received", "notifications received", notifications),
        number("delivered", "delivered", log, state__exact="delivered"),
        number("waiting", "under way", log, state__exact="under_way"),
        number("failed", "failed", log, state__exact="failed", is_bad=True),
        number("unmatched", "notifications unmatched", notifications, state__exact="unmatched"),
        number("cancelled", "cancelled", log, state__exact="cancelled"),
    ]


def _times(times: dict[str, Any] | None) -> str:
    if times is None:
        return ""
    whose = "" if times["is_whole"] else f" (of {times['of']:,} posts, spread evenly)"
    median, p95 = (_span(times[name]) for name in ("median", "p95"))
    return f"From post to delivery: half within {median}, 95 of 100 within {p95}{whose}."


def _span(seconds: float) -> str:
    """Rounded up: nothing took longer."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 49)):
        if (count := math.ceil(seconds / length)) < most:
            return f"{max(count, 1)} {unit}"
    return f"{math.ceil(seconds / 86_400)} d"


def _chart(figures: dict[str, Any], period: str) -> Chart:
    steps = [(timezone.localtime(datetime.fromisoformat(begins)), datetime.fromisoformat(ends), counts)
             for begins, ends, *counts in figures["steps"]]  # fmt: skip
    log = reverse(DELIVERIES)
    return chart_of(
        steps, by_day=period != "day", address=lambda *when: f"{log}?{urlencode({'time': time_between(*when)})}"
    )


def _target(row: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """How a target is met: the share of the posts whose target ended in the period, and what is late."""
    when = time_between(*(datetime.fromisoformat(figures[end]) for end in ("since", "until")))
    key = f"{row['subscription']}.{row['what']}"
    of, late = row["of"], row["late"]
    share = f"{100 * (of - late) // of} %" if of else "–"
    late_text = (f"{late:,} of {of:,}" if row["is_whole"] else f"about {100 * late / of:.1f} of 100") if of else "–"
    return row | {
        "address": reverse("admin:integrations_subscription_change", args=[row["subscription"]]),
        "share": share,
        "late_text": late_text,
        "is_bad": row["waiting"] != "0",
        "waiting_list": f"{reverse(DELIVERIES)}?{urlencode({'late': f'{key}.now'})}",
        "late_list": f"{reverse(DELIVERIES)}?{urlencode({'late': f'{key}.{when}'})}",
    }


# --- Health ----------------------------------------------------------------------------------------------------------


def _subscriptions() -> list[dict[str, Any]]:
    rows = Subscription.objects.filter(deleted_at__isnull=True, company__isnull=False).select_related("company")
    rows = rows.defer(*without_lists("company__")).annotate(latest_at=latest_notification())
    return [_subscription(subscription) for subscription in rows[:MOST_ROWS]]


def _subscription(subscription: Any) -> dict[str, Any]:
    state = subscription.get_registration_display() if subscription.is_active else "Off"
    registered = (Subscription.Registration.REGISTERED, Subscription.Registration.WAITING)
    return {
        "subscription": subscription,
        "last": subscription.latest_at,
        "state": state,
        "colour": _colour(subscription.is_active, subscription.registration in registered),
    }


def _connections() -> list[dict[str, Any]]:
    """With the queue of those that have one, and when it will be empty."""
    now = database_clock.now()
    shown = list(Connection.objects.order_by("name")[:MOST_ROWS])
    queues = backlog_texts(shown)
    rows = []
    for connection in shown:
        colour, word = health(connection, now)
        rows.append({"connection": connection, "colour": colour, "word": word, "queue": queues[connection.pk]})
    return rows


def _companies() -> list[dict[str, Any]]:
    rows = Company.objects.order_by("name").defer(*without_lists())
    return [_company(company) for company in rows[:MOST_ROWS]]


def _company(company: Company) -> dict[str, Any]:
    warning = company.warning or token_warning(company)
    word, colour = ("Needs attention", "warning") if warning else ("Token accepted", "success")
    if not warning and company.checked_at is None:
        word, colour = "Not tested yet", "info"
    return {"company": company, "warning": warning, "word": word, "colour": colour}


def _colour(is_on: bool, is_well: bool) -> str:
    if not is_on:
        return "default"
    return "success" if is_well else "danger"


def open_alarm_count(_request: HttpRequest) -> str:
    """For the badge in the navigation."""
    count: int = Alarm.objects.open().count()
    return str(count) if count else ""


def failed_count(_request: HttpRequest) -> str:
    """For the badge in the navigation."""
    (count,) = counts([Delivery.objects.filter(state=Delivery.State.FAILED)], MOST_COUNTED)
    return _shown(count) if count else ""
