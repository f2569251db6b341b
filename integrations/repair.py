"""What staff do about a delivery or a notification: try again, rebuild, cancel, route again.

Each function works on the rows it is given, says in words what it did and what it left alone and why, and is safe
beside working workers: a row changes only from the state that the action expects.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from django.db.models import Case, F, PositiveSmallIntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Now

from integrations import surge
from integrations.cases import case_key
from integrations.delivery import abandoned
from integrations.destinations import DESTINATIONS
from integrations.models import Connection, Delivery, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.notes import is_note
from integrations.post import Unreadable
from integrations.queueing import MOST_CALLS, ROUTE, call_workers, publish
from integrations.routing import context_of, needs_preparing, post_of, render_into, rules_of_mapping
from integrations.templating import TemplateError

log = structlog.get_logger(__name__)

State = Delivery.State
CHANGEABLE = [State.PENDING, State.FAILED, State.CANCELLED, State.HELD]
# More than this in one request would keep the page waiting; the rest is said to be left.
MOST_AT_ONCE = 10_000
MOST_REBUILT_AT_ONCE = 500
# Up to so many are retries, which go before bulk replays.
MOST_AS_RETRIES = 20
# The sweep finds the rest of a large choice; publishing each one here would only slow the page.
MOST_PUBLISHED = 500


@dataclass(frozen=True, slots=True)
class Done:
    """`changed` are the ids that were changed; `remarks` are sentences for the person, each with its count."""

    changed: list[int]
    remarks: list[str]


def retry_now(deliveries: QuerySet[Delivery]) -> Done:
    """Tries again at once, with a fresh schedule and the same bytes.

    After a definite refusal nothing was created, so the next version of the key is used: under the old one Zendesk
    may only repeat its answer. Where a try's outcome is unknown, a look-up comes first, as the page promises.
    """
    chosen = deliveries.filter(state__in=CHANGEABLE).exclude(request="")
    _free_abandoned(deliveries)
    remarks = [*_left_alone(deliveries), *_not_rendered(deliveries), *_refused(chosen), *_behind_a_pause(chosen)]
    ids = _oldest(chosen, remarks)
    connection_ids = _connections_of(ids)
    again = Delivery.objects.filter(pk__in=ids, state__in=CHANGEABLE)
    again.filter(was_refused=True).update(
        key_version=F("key_version") + 1,
        key_used_at=None,
        was_refused=False,
    )
    again.filter(is_uncertain=True).update(look_up_next=True)
    waits_live = When(state=State.PENDING, lane=Delivery.Lane.LIVE, then=Value(Delivery.Lane.LIVE.value))
    lane = Case(waits_live, default=Value(int(_lane_for(ids))), output_field=PositiveSmallIntegerField())
    again.update(state=State.PENDING, next_attempt_at=Now(), tries=0, lane=lane)
    remarks += _called(connection_ids, ids)
    return Done(ids, remarks)


def _lane_for(ids: list[int]) -> int:
    """A few retries go before a replay of many; neither goes before what is live."""
    return Delivery.Lane.RETRY if len(ids) <= MOST_AS_RETRIES else Delivery.Lane.BULK


def _connections_of(ids: list[int]) -> list[int]:
    found = Delivery.objects.filter(pk__in=ids).order_by().values_list("connection", flat=True).distinct()
    return list(found)


def _called(connection_ids: list[int], ids: list[int]) -> Iterator[str]:
    """Calls workers, and for many tells honestly when they will be done."""
    for connection_id in connection_ids:
        call_workers(connection_id, count=min(len(ids), MOST_CALLS))
    if len(ids) > MOST_AS_RETRIES:
        for connection in Connection.objects.filter(pk__in=connection_ids):
            yield f"“{connection}”: {surge.words(connection)}"


def _free_abandoned(deliveries: QuerySet[Delivery]) -> None:
    """What a dead process still holds becomes pending again, its outcome unknown: a look-up comes first."""
    ids = list(deliveries.filter(abandoned()).values_list("pk", flat=True)[:MOST_AT_ONCE])
    held = Delivery.objects.filter(pk__in=ids, state=State.SENDING, claimed_until__lte=Now())
    held.update(
        state=State.PENDING,
        next_attempt_at=Now(),
        claim=None,
        claimed_until=None,
        is_uncertain=True,
        look_up_next=True,
    )


def _left_alone(deliveries: QuerySet[Delivery]) -> Iterator[str]:
    tickets = list(deliveries.filter(state=State.DELIVERED).values_list("ticket_number", flat=True)[:4])
    if tickets:
        shown = ", ".join(tickets[:3]) + (", …" if len(tickets) > 3 else "")
        yield f"Left alone, because the ticket exists already: ticket {shown}. Change it in Zendesk."
    if sending := deliveries.filter(state=State.SENDING).count():
        yield f"Left alone, because it is being sent at this moment: {sending}."


def _not_rendered(deliveries: QuerySet[Delivery]) -> Iterator[str]:
    if count := deliveries.filter(request="").exclude(state=State.DELIVERED).count():
        yield f"Left alone, because there is no ticket to send yet: {count}. Correct the mapping, then use “rebuild”."


def _refused(deliveries: QuerySet[Delivery]) -> Iterator[str]:
    if count := deliveries.filter(was_refused=True).count():
        yield (
            f"{count} of these had been refused by Zendesk: the same ticket will probably be refused again. "
            "If you changed the mapping, use “rebuild” instead, which renders the ticket anew."
        )


def _behind_a_pause(deliveries: QuerySet[Delivery]) -> Iterator[str]:
    paused = deliveries.filter(connection__paused_at__isnull=False).exclude(connection__paused_until__lte=Now())
    for name in paused.values_list("connection__name", flat=True).order_by("connection__name").distinct():
        yield f"The connection “{name}” is paused: what goes there waits until it is resumed."


def cancel(deliveries: QuerySet[Delivery]) -> Done:
    """Sends it no more. What is being sent or was delivered stays as it is."""
    _free_abandoned(deliveries)
    remarks = list(_left_alone(deliveries))
    chosen = deliveries.filter(state__in=[State.PENDING, State.FAILED, State.HELD])
    if uncertain := chosen.filter(is_uncertain=True).count():
        remarks.append(
            f"For {uncertain} of these an earlier try ended without an answer: a ticket may exist in Zendesk anyhow."
        )
    ids = _oldest(chosen, remarks)
    Delivery.objects.filter(pk__in=ids, state__in=[State.PENDING, State.FAILED, State.HELD]).update(
        state=State.CANCELLED, next_attempt_at=None
    )
    return Done(ids, remarks)


def rebuild(deliveries: QuerySet[Delivery]) -> Done:
    """Renders anew with today's mapping, under the next version of the key, and sends."""
    _free_abandoned(deliveries)
    remarks = list(_left_alone(deliveries))
    changeable = deliveries.filter(state__in=CHANGEABLE)
    rows = changeable.select_related("notification__subscription__company", "mapping__connection", "connection")
    rows = rows.defer(*without_lists("notification__subscription__company__"))
    chosen = list(rows.order_by("pk")[: MOST_REBUILT_AT_ONCE + 1])
    if len(chosen) > MOST_REBUILT_AT_ONCE:
        chosen = chosen[:MOST_REBUILT_AT_ONCE]
        remarks.append(f"Only the oldest {MOST_REBUILT_AT_ONCE} were rebuilt: use “rebuild” again for the rest.")
    remarks += _behind_a_pause(changeable)
    lane = _lane_for([delivery.pk for delivery in chosen])
    changed = [delivery.pk for delivery in chosen if _rebuild_one(delivery, lane, remarks)]
    remarks += _called(_connections_of(changed), changed)
    return Done(changed, remarks)


def _rebuild_one(delivery: Delivery, lane: int, remarks: list[str]) -> bool:
    if is_note(delivery):
        return _rebuild_note(delivery, lane, remarks)
    if delivery.is_uncertain and delivery.action == Delivery.Action.APPEND:
        remarks.append(
            f"{delivery.post_id} was left alone: an earlier try may have added the comment to ticket "
            f"{delivery.target_number}. “Retry now” looks there first."
        )
        return False
    if delivery.is_uncertain and delivery.connection_id != delivery.mapping.connection_id:
        remarks.append(
            f"{delivery.post_id} was left alone: an earlier try may have made a ticket in “{delivery.connection}”, "
            f"and the mapping now goes to “{delivery.mapping.connection}”. “Retry now” looks it up where it may be."
        )
        return False
    try:
        event, post = post_of(delivery)
    except Unreadable as unreadable:
        remarks.append(f"{delivery.post_id} was left alone: {unreadable}")
        return False
    _keep_request_with_its_attempts(delivery)
    rules = rules_of_mapping(delivery.mapping)
    render_into(delivery, delivery.notification, event, post, delivery.mapping)
    if delivery.state == State.FAILED:
        remarks.append(f"{delivery.post_id} could not be rendered: {delivery.last_error}")
    return bool(
        Delivery.objects.filter(pk=delivery.pk, state__in=CHANGEABLE).update(
            request=delivery.request,
            external_id=delivery.external_id,
            connection=delivery.mapping.connection,
            case_key=case_key(post, delivery.mapping, rules),
            adds_note=rules.adds_note,
            is_prepared=not needs_preparing(rules),
            action=Delivery.Action.CREATE,
            target_number="",
            decision="",
            remarks=delivery.remarks,
            cause=delivery.cause,
            remedy=delivery.remedy,
            remedy_at=delivery.remedy_at,
            lane=lane,
            state=delivery.state,
            next_attempt_at=Now() if delivery.state == State.PENDING else None,
            last_error=delivery.last_error,
            key_version=F("key_version") + 1,
            key_used_at=None,
            look_up_next=Q(is_uncertain=True) | Q(look_up_next=True),
            was_refused=Value(False),
            tries=0,
        )
    )


def _rebuild_note(delivery: Delivery, lane: int, remarks: list[str]) -> bool:
    """The internal note of a ticket stays with its ticket; only its text is made anew."""
    destination = DESTINATIONS[delivery.connection.kind]
    try:
        event, post = post_of(delivery)
        context = context_of(delivery.notification, event, delivery.mapping)
        request = destination.build_note(post, context, delivery.mapping.settings, delivery.external_id)
    except (Unreadable, TemplateError) as error:
        remarks.append(f"{delivery.post_id} was left alone: {error}")
        return False
    if not request:
        remarks.append(f"{delivery.post_id}: the mapping adds no note any more. Cancel it if it is not wanted.")
        return False
    _keep_request_with_its_attempts(delivery)
    waiting = Delivery.objects.filter(pk=delivery.pk, state__in=CHANGEABLE)
    return bool(
        waiting.update(
            request=request, state=State.PENDING, next_attempt_at=Now(), last_error="", cause="", tries=0, lane=lane
        )
    )


def _keep_request_with_its_attempts(delivery: Delivery) -> None:
    """The attempts made so far sent the text that is about to be replaced: the log keeps it beside them."""
    delivery.attempts.filter(request="").update(request=delivery.request)


def route_again(notifications: QuerySet[Notification]) -> Done:
    """Reads and routes anew what was unmatched or unreadable (something was mended), or missed."""
    again = [Notification.State.UNMATCHED, Notification.State.UNREADABLE, Notification.State.MISSED]
    remarks: list[str] = []
    ids = _oldest(notifications.filter(state__in=again), remarks)
    if count := notifications.exclude(state__in=again).count():
        remarks.append(f"Left alone, because they are neither unmatched nor unreadable nor missed: {count}.")
    Notification.objects.filter(pk__in=ids, state__in=again).update(
        state=Notification.State.RECEIVED, queued_until=None
    )
    _publish_all(ROUTE, ids)
    return Done(ids, remarks)


def fetch_missing(subscription: Subscription) -> Done:
    """Routes what a comparison found missing in a feed."""
    return route_again(Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED))


def _oldest(rows: QuerySet[Any], remarks: list[str]) -> list[int]:
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
    if len(ids) > MOST_AT_ONCE:
        remarks.append(f"Only the oldest {MOST_AT_ONCE} were taken: do the same again for the rest.")
    return ids[:MOST_AT_ONCE]


def _publish_all(task: str, ids: list[int]) -> None:
    for row_id in ids[:MOST_PUBLISHED]:
        publish(task, row_id)
