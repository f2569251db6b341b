"""A subscription as text: its health, desired and actual state, what arrived and when. Reads rows, changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, Subquery, Sum
from django.utils.text import capfirst

from integrations.companies import token_end_text
from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.infra.text import timestamp
from integrations.installation import SILENT_AFTER, NoPublicAddress, subscription_webhook_url
from integrations.intake import previous_tokens
from integrations.models import (
    Alarm,
    CatchUp,
    Change,
    Company,
    Delivery,
    Installation,
    Notification,
    Probe,
    Subscription,
)
from integrations.operations import silence_text
from integrations.sources.khoros import plan
from integrations.subscriptions import PROBE_POST, daily_volume, probe_notification

Registration = Subscription.Registration
CHART_HEIGHT = 96
HOW_EVENTS_ARRIVE = {
    Subscription.Receives.PUSH_AND_CATCH_UP: "events are pushed, and missed ones are fetched",
    Subscription.Receives.PUSH: "events are pushed",
    Subscription.Receives.PULL: "events are fetched",
}
# Checks come every 15 minutes.
CHECKED_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the chart: heights in pixels of what was pushed and of what was caught up."""

    message: str
    day: str
    pushed: int
    caught_up: int
    x: int

    @property
    def pushed_y(self) -> int:
        return CHART_HEIGHT - self.pushed

    @property
    def caught_up_y(self) -> int:
        return CHART_HEIGHT - self.pushed - self.caught_up


def subscription_text(subscription: Subscription) -> dict[str, Any]:
    """Everything that the subscription's page shows above its form."""
    problems = list(_problems(subscription))
    return {
        "verdict": _verdict(subscription, problems),
        "troubles": problems,
        "rows": list(_rows(subscription)),
        "drift": subscription.drift,
        **_chart(subscription),
        "alarms": subscription.alarms.order_by("-raised_at")[:5],
        "changes": [_change(change) for change in subscription.changes.all()[:8]],
        "runs": [run_text(run) for run in subscription.catch_ups.all()[:5]],
        "others": subscription.other_subscriptions,
    }


def _verdict(subscription: Subscription, problems: list[str]) -> tuple[str, str]:
    """(colour, text)"""
    if subscription.deleted_at:
        return "info", "Deleted"
    if not subscription.is_active:
        return "info", "Off"
    return ("warning", "Needs attention") if problems else ("success", "Healthy")


def _problems(subscription: Subscription) -> Iterator[str]:
    if subscription.deleted_at or not subscription.is_active:
        return
    # Derived from the subscription itself below, which is newer than any alarm.
    shown = (Alarm.Kind.REGISTRATION, Alarm.Kind.DRIFT)
    yield from (alarm.message for alarm in subscription.alarms.filter(ended_at__isnull=True).exclude(kind__in=shown))
    if subscription.registration != Registration.REGISTERED:
        yield f"{subscription.get_registration_display()}. {subscription.khoros_message}".strip()
    elif subscription.khoros_message and not subscription.khoros_status and not _is_by_v1(subscription):
        yield subscription.khoros_message
    checked = subscription.checked_at
    if checked is not None and checked < database_clock.now() - CHECKED_WITHIN:
        yield f"Not checked at Khoros for {_span(database_clock.now() - checked)}. Make sure a worker is running."
    last = subscription.catch_ups.filter(state=CatchUp.State.DONE).first()
    if last is not None and last.message:
        yield f"At the last catch-up: {last.message}"
    if subscription.is_fetched and subscription.failed_catch_ups:
        yield "The last catch-up failed. See “Catch-ups” below."
    seen = Installation.objects.values_list("worker_seen_at", flat=True).first()
    if seen is None or seen < database_clock.now() - SILENT_AFTER:
        yield "No worker is running: notifications are stored, but nothing is sent until one starts."
    if not subscription.mappings.filter(is_active=True, connection__is_active=True).exists():
        yield "No active mapping: notifications are stored but not sent on."


def _rows(subscription: Subscription) -> Iterator[tuple[str, str]]:
    yield "Expected", desired_text(subscription)
    yield "At Khoros", actual_text(subscription)
    yield "Webhook URL", _address_text(subscription)
    yield "Query", _query_text(subscription)
    yield "Bearer token", _token_text(subscription)
    yield "Company API token expires", token_end_text(subscription.company)
    last = {source: _last(subscription, source) for source in ("pushed", "caught_up")}
    if subscription.is_pushed:
        yield "Last push", ago(last["pushed"]) if last["pushed"] else "None yet."
    yield "Last event received only by catch-up", ago(last["caught_up"]) if last["caught_up"] else "None."
    run = subscription.catch_ups.exclude(state=CatchUp.State.WAITING).first()
    yield "Last catch-up", _fetching_text(subscription, run)
    matched = Delivery.objects.filter(mapping__in=subscription.mappings.all()).aggregate(at=Max("created_at"))["at"]
    yield "Last match", ago(matched) if matched else "No post has matched a mapping yet."
    yield "Silence alarm", silence_text(subscription)


def latest_notification() -> Subquery:
    """When a subscription of the query received the last one, tests apart; one look into an index each."""
    own = Notification.objects.filter(subscription=OuterRef("pk")).exclude(source=Notification.Source.TEST)
    return Subquery(own.order_by("-received_at", "-id").values("received_at")[:1])


def _last(subscription: Subscription, source: str) -> datetime | None:
    """From the hourly count, and from the log for what arrived since."""
    counted = subscription.last_pushed_at if source == "pushed" else subscription.last_caught_up_at
    since = database_clock.now() - timedelta(hours=1)
    recent = Notification.objects.filter(subscription=subscription, source=source, received_at__gte=since)
    latest: datetime | None = recent.aggregate(at=Max("received_at"))["at"]
    return latest or counted


def ago(at: datetime) -> str:
    return f"{timestamp(at)} ({_span(database_clock.now() - at)} ago)"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {word}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def desired_text(subscription: Subscription) -> str:
    if subscription.deleted_at:
        return f"Deleted in Casebridge at {timestamp(subscription.deleted_at)}."
    if not subscription.is_active:
        return "Paused: turned off in Casebridge."
    how = HOW_EVENTS_ARRIVE[Subscription.Receives(subscription.receives_by)]
    if _is_by_v1(subscription):
        return f"Active: {how}. Changes made at Khoros cannot be detected with version 1 of its API."
    repairs = "are repaired automatically" if subscription.auto_repair else "wait for “Repair at Khoros”"
    return f"Active: {how}. Changes made at Khoros {repairs}."


def actual_text(subscription: Subscription) -> str:
    checked = f"Last checked {ago(subscription.checked_at)}." if subscription.checked_at else "Not checked yet."
    status = f" Status at Khoros: {subscription.khoros_status}." if subscription.khoros_status else ""
    known = f" ID at Khoros: {subscription.khoros_uuid}." if subscription.khoros_uuid else ""
    # Problems are shown above, in red.
    is_well = not subscription.is_active or subscription.registration == Registration.REGISTERED
    message = f" {subscription.khoros_message}" if subscription.khoros_message and is_well else ""
    return f"{subscription.get_registration_display()}.{status}{known} {checked}{message}"


def _is_by_v1(subscription: Subscription) -> bool:
    return subscription.company.api_version == Company.ApiVersion.V1


def _address_text(subscription: Subscription) -> str:
    if not subscription.is_pushed:
        return "None: events are only fetched."
    try:
        return subscription_webhook_url(subscription)
    except NoPublicAddress as error:
        return str(error)


def _query_text(subscription: Subscription) -> str:
    query = plan.query_for(subscription.match, subscription.label)
    if not query:
        return "None: matches every event of this type."
    return f"{query} (Khoros does not document how it compares; Casebridge assumes it matches anywhere in the name)"


def _token_text(subscription: Subscription) -> str:
    if not subscription.is_pushed:
        return "Not used: events are only fetched."
    message = f"{_span(database_clock.now() - subscription.token_changed_at)} old."
    if earlier := previous_tokens(subscription):
        until = subscription.previous_token_accepted_until
        ends = f"until {timestamp(until)}" if until else "until one day after Khoros starts using the new one"
        tokens = "The previous token is" if len(earlier) == 1 else f"{len(earlier)} previous tokens are"
        message += f" {tokens} still accepted {ends}."
    return message


def _fetching_text(subscription: Subscription, run: CatchUp | None) -> str:
    if run is None:
        return "None yet." if subscription.is_fetched else "Never: events are only pushed."
    shown = run_text(run)
    return f"{shown['started']}: {shown['message']}"


def run_text(run: CatchUp) -> dict[str, Any]:
    """One catch-up as the pages show it."""
    counts = f"{run.read} read, {run.known} already known, {run.new} new, {run.unreadable} unreadable"
    if run.mode == CatchUp.Mode.COMPARE:
        counts += f", {run.missing} missing"
    message = {
        CatchUp.State.WAITING: "Waiting for a worker",
        CatchUp.State.RUNNING: f"Running: {counts} so far",
        CatchUp.State.DONE: f"{counts}. {run.message}" if run.message else counts,
        CatchUp.State.FAILED: f"Failed after {counts}. {run.message}",
    }[CatchUp.State(run.state)]
    return {
        "id": run.pk,
        "started": timestamp(run.started_at),
        "mode": run.get_mode_display(),
        "by": run.requested_by or "Automatic",
        "message": f"{message}." if not message.endswith(".") else message,
        "is_open": run.state in (CatchUp.State.WAITING, CatchUp.State.RUNNING),
    }


def _change(change: Change) -> dict[str, str]:
    if change.is_done:
        end = "Done"
    else:
        end = change.message or ("Interrupted: the process stopped" if change.finished_at is None else "Not done")
    return {
        "at": timestamp(change.started_at),
        "what": f"{change.get_action_display()} {change.khoros_uuid}".strip(),
        "because": capfirst(change.because),
        "by": change.by or "Casebridge (regular check)",
        "end": end,
    }


def _chart(subscription: Subscription) -> dict[str, Any]:
    days = daily_volume(subscription)
    highest = max(pushed + caught_up for _, pushed, caught_up in days)
    return {"bars": _bars(days, (CHART_HEIGHT - 4) / (highest or 1)), "highest": highest, "chart_height": CHART_HEIGHT}


def _bars(days: list[tuple[datetime, int, int]], scale: float) -> list[Bar]:
    return [
        Bar(
            message=f"{day:%Y-%m-%d}: {pushed} pushed, {caught_up} fetched",
            day=f"{day:%d}",
            pushed=round(pushed * scale) or (2 if pushed else 0),
            caught_up=round(caught_up * scale) or (2 if caught_up else 0),
            x=number * 34 + 4,
        )
        for number, (day, pushed, caught_up) in enumerate(days)
    ]


# --- Reconciliation --------------------------------------------------------------------------------------------------


def reconciliation(subscription: Subscription, begins: datetime, ends: datetime) -> dict[str, Any]:
    """What was received in a period, what became of it, and what else Khoros has."""
    received = _received_counts(subscription, begins, ends)
    missing = Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED)
    in_period = missing.filter(Q(happened_at__gte=begins, happened_at__lt=ends) | Q(happened_at__isnull=True))
    return {
        "came": _counts(received, ("pushed", "pushed"), ("caught_up", "fetched"), ("repeats", "repeats")),
        "became": _counts(
            received,
            ("routed", "matched a mapping"),
            ("unmatched", "matched no mapping"),
            ("unreadable", "unreadable"),
            ("waiting", "waiting to be processed"),
        ),
        "posts": _counts(
            _delivery_counts(subscription, begins, ends),
            ("ticketed", "delivered"),
            ("failed", "failed"),
            ("on_their_way", "waiting or being sent"),
            ("held", "held in a flood"),
            ("cancelled", "cancelled"),
        ),
        "missing": missing.count(),
        "missing_in_period": in_period.count(),
    }


def _received_counts(subscription: Subscription, begins: datetime, ends: datetime) -> dict[str, Any]:
    received = Notification.objects.filter(subscription=subscription, received_at__gte=begins, received_at__lt=ends)
    return received.exclude(source=Notification.Source.TEST).aggregate(
        pushed=Count("pk", filter=Q(source="pushed")),
        caught_up=Count("pk", filter=Q(source="caught_up") & ~Q(state="missed")),
        waiting=Count("pk", filter=Q(state="received")),
        routed=Count("pk", filter=Q(state="routed")),
        unmatched=Count("pk", filter=Q(state="unmatched")),
        unreadable=Count("pk", filter=Q(state="unreadable")),
        repeats=Sum("repeats"),
    )


def _delivery_counts(subscription: Subscription, begins: datetime, ends: datetime) -> dict[str, Any]:
    deliveries = Delivery.objects.filter(
        mapping__in=subscription.mappings.all(), created_at__gte=begins, created_at__lt=ends
    )
    return deliveries.exclude(post_id__startswith=PROBE_POST).aggregate(
        ticketed=Count("pk", filter=Q(state="delivered")),
        failed=Count("pk", filter=Q(state="failed")),
        on_their_way=Count("pk", filter=Q(state__in=["pending", "sending", "waiting"])),
        held=Count("pk", filter=Q(state="held")),
        cancelled=Count("pk", filter=Q(state="cancelled")),
    )


def _counts(counts: dict[str, Any], *rows: tuple[str, str]) -> list[tuple[str, str, int]]:
    return [(name, title, counts[name] or 0) for name, title in rows]


def last_comparison(subscription: Subscription) -> CatchUp | None:
    """The last time everything Khoros holds was compared with what is here."""
    whole = subscription.catch_ups.filter(mode__in=[CatchUp.Mode.COMPARE, CatchUp.Mode.WHOLE])
    return whole.filter(state=CatchUp.State.DONE).first()


# --- Test notification -----------------------------------------------------------------------------------------------


def probe_steps(probe: Probe) -> dict[str, Any]:
    """The path of a probe, step by step, as far as it got: (colour, step, message)."""
    steps: list[tuple[str, str, str]] = [
        ("good", "Requested", f"{timestamp(probe.requested_at)} by {probe.requested_by}")
    ]
    notification = probe_notification(probe)
    if probe.sent_at is None:
        steps.append(("open", "Sent", "Waiting for a worker."))
    elif probe.problem:
        steps.append(("bad", f"Sent to {probe.address}", probe.problem))
    elif probe.finished_at is None:
        steps.append(("open", f"Sent to {probe.address}", "No answer yet."))
    else:
        message = f"Answered with status {probe.status} after {probe.duration_ms} ms."
        steps.append(("good", f"Sent to {probe.address}", message))
    if notification is not None:
        steps.append(("good", "Stored", f"{timestamp(notification.received_at)}, notification {notification.pk}."))
        steps += _routing_steps(notification)
    is_over = bool(probe.problem) or bool(notification is not None and notification.state != "received")
    return {"steps": steps, "is_open": not is_over, "notification": notification, "test": probe}


def _routing_steps(notification: Notification) -> Iterator[tuple[str, str, str]]:
    if notification.state == Notification.State.RECEIVED:
        yield "open", "Processed", "Not yet."
        return
    if not notification.outcome:
        yield "bad", "Processed", notification.reason
    for entry in notification.outcome:
        name, reason = f"Mapping “{entry.get('mapping_name')}”", str(entry.get("reason") or "")
        if entry.get("delivery"):
            yield "good", name, _delivery_text(entry["delivery"])
        else:
            yield ("good" if reason.startswith("it would") else "bad"), name, f"{reason[:1].upper()}{reason[1:]}."


def _delivery_text(delivery_id: int) -> str:
    delivery = Delivery.objects.filter(pk=delivery_id).select_related("connection", "remote_object").first()
    if delivery is None:
        return "–"
    if delivery.number:
        return f"{DESTINATIONS[delivery.connection.kind].thing.capitalize()} {delivery.number}."
    return f"Delivery {delivery_id}: {delivery.get_state_display().lower()}. {delivery.last_error}".strip()
