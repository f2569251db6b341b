"""The whole way of one post, from what its author wrote to what became of it, as moments in order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from integrations.admin.text.log import (
    outcome,
    state,
    status_text,
    thing_of,
    what_happens_next,
)
from integrations.destinations import DESTINATIONS
from integrations.infra.text import shortened
from integrations.models import Attempt, Delivery, Notification, PostContent

MOST_NOTIFICATIONS, MOST_ATTEMPTS = 50, 100
WITHOUT_DELIVERIES = (Notification.State.UNMATCHED, Notification.State.UNREADABLE, Notification.State.MISSED)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. `kind`: "good", "bad", "note" or "". `page`: (model, id) of ours that has the rest."""

    at: datetime | None
    title: str
    text: str = ""
    kind: str = ""
    page: tuple[str, int] | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """Everything known of one post. `now` are its deliveries as they are: what each became, and what happens next."""

    post_id: str
    author: str
    text: str
    link: str
    moments: list[Moment]
    now: list[tuple[Delivery, str, str]]


def journey(post_id: str) -> Journey | None:
    """None where nothing is known of such a post."""
    contents = list(PostContent.objects.filter(post_id=post_id).order_by("pk")[:MOST_NOTIFICATIONS])
    deliveries = list(
        Delivery.objects.filter(post_id=post_id)
        .select_related("mapping__subscription", "connection", "remote_object", "flood_hold", "batch", "burst")
        .order_by("pk")[:MOST_NOTIFICATIONS]
    )
    if not contents and not deliveries:
        return None
    ids = {content.notification_id for content in contents} | {delivery.notification_id for delivery in deliveries}
    notifications = Notification.objects.filter(pk__in=ids).select_related("subscription").order_by("pk")
    moments = [*_posted(deliveries), *_received(notifications, contents), *_delivered(deliveries)]
    known = [moment for moment in moments if moment.at is not None]
    latest = contents[-1] if contents else None
    return Journey(
        post_id,
        latest.author if latest else "",
        latest.text if latest else "",
        latest.link if latest else "",
        [*sorted(known, key=_time_of), *(moment for moment in moments if moment.at is None)],
        [(delivery, _named(delivery), what_happens_next(delivery)) for delivery in deliveries],
    )


def _named(delivery: Delivery) -> str:
    """ "ticket 4711", where there is one."""
    if delivery.remote_object is None:
        return ""
    number = DESTINATIONS[delivery.connection.kind].shown_number(delivery.remote_object.number)
    return f"{thing_of(delivery)} {number}".strip()


def _time_of(moment: Moment) -> datetime:
    """Of one whose time is known."""
    return moment.at or datetime.max.replace(tzinfo=UTC)


def _posted(deliveries: list[Delivery]) -> Iterator[Moment]:
    at = next((delivery.posted_at for delivery in deliveries if delivery.posted_at), None)
    if at:
        yield Moment(at, "Written by its author")


def _received(notifications: Iterable[Notification], contents: list[PostContent]) -> Iterator[Moment]:
    for notification in notifications:
        page = ("notification", notification.pk)
        label = notification.subscription.listens_to
        if notification.happened_at:
            is_own = notification.source == Notification.Source.PORTAL
            yield Moment(notification.happened_at, label if is_own else f"Happened at Khoros: {label}")
        how = notification.get_source_display()
        repeats = f" Received {notification.repeats + 1} times from Khoros." if notification.repeats else ""
        yield Moment(notification.received_at, f"Received for “{label}”", f"{how}.{repeats}", "note", page)
        own = [content for content in contents if content.notification_id == notification.pk]
        for entry in [entry for content in own for entry in content.outcome]:
            yield _decided(entry, notification, page)
        if notification.state in WITHOUT_DELIVERIES and notification.reason:
            at = notification.routed_at or notification.received_at
            yield Moment(at, "Nothing was sent", notification.reason, "bad", page)


def _decided(entry: dict[str, Any], notification: Notification, page: tuple[str, int]) -> Moment:
    """What one mapping made of it."""
    mapping, reason = entry.get("mapping_name"), str(entry.get("reason") or "")
    if not entry.get("delivery"):
        return Moment(notification.routed_at, f"Not for “{mapping}”", f"{reason[:1].upper()}{reason[1:]}", "bad", page)
    if not entry.get("made"):
        return Moment(notification.routed_at, f"Labelled again: “{mapping}” has it already", "", "note", page)
    return Moment(notification.routed_at, f"Matched by “{mapping}”", "", "", page)


def _delivered(deliveries: list[Delivery]) -> Iterator[Moment]:
    attempts = Attempt.objects.filter(delivery__in=[delivery.pk for delivery in deliveries]).order_by("pk")
    by_delivery: dict[int, list[Attempt]] = {}
    for attempt in attempts[:MOST_ATTEMPTS]:
        by_delivery.setdefault(attempt.delivery_id, []).append(attempt)
    for delivery in deliveries:
        page, goes = ("delivery", delivery.pk), delivery.mapping.name
        for attempt in by_delivery.get(delivery.pk, []):
            if attempt.outcome != Attempt.Outcome.DELIVERED:
                kind = "bad" if attempt.finished_at else "note"
                title = f"“{goes}”, attempt {attempt.number}: {outcome(attempt).lower()}"
                yield Moment(attempt.started_at, title, shortened(attempt.meaning, 400), kind, page)
        if delivery.state == Delivery.State.DELIVERED:
            remote = delivery.remote_object
            yield Moment(delivery.delivered_at, f"“{goes}”: delivered", state(delivery), "good", page,
                         remote.url if remote else "")  # fmt: skip
        yield from _afterwards(delivery, page)


def _afterwards(delivery: Delivery, page: tuple[str, int]) -> Iterator[Moment]:
    remote = delivery.remote_object
    if remote is None or not remote.status:
        return
    name = f"{thing_of(delivery)} {DESTINATIONS[delivery.connection.kind].shown_number(remote.number)}".strip()
    if remote.changed_at:
        yield Moment(remote.changed_at, f"{name[:1].upper()}{name[1:]}: {status_text(delivery)}", "", "note", page)
    if remote.solved_at:
        yield Moment(remote.solved_at, f"{name[:1].upper()}{name[1:]} solved for the first time", "", "good", page)
