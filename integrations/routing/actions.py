"""What staff do about deliveries: retry, rebuild, cancel.

Each function works on the rows it is given, reports what it did and what it left alone and why, and is safe beside
running workers: a row changes only from the state that the action expects.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Case, F, PositiveSmallIntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Now

from integrations.delivery import recount, rendered_columns, resend_report
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import AddsNotes, FindsComments, no_second
from integrations.domain.post import Post, Unreadable
from integrations.domain.templating import TemplateError
from integrations.flow import backlog_texts
from integrations.infra.text import article
from integrations.infra.wakes import MOST_WAKES, wake_workers
from integrations.mapping import context_of, post_of, render_into, shared_post
from integrations.models import Attempt, Connection, Delivery, DeliveryContent
from integrations.models.configuration import without_lists
from integrations.models.deliveries import NO_PROBLEM, DeliveryQuerySet

State = Delivery.State
CANCELLABLE = (State.PENDING, State.FAILED, State.HELD, State.WAITING)
# More than this in one request would keep the page waiting; a remark says that there is a rest.
MOST_AT_ONCE = 10_000
MOST_REBUILT_AT_ONCE = 500
# Up to this many count as retries, which go before bulk replays.
MOST_AS_RETRIES = 20


@dataclass(frozen=True, slots=True)
class ActionResult:
    """`changed` are the ids of changed rows; `remarks` are sentences for the person, with counts."""

    changed: list[int]
    remarks: list[str]


def retry_now(deliveries: DeliveryQuerySet) -> ActionResult:
    """Retries at once, with a new schedule and the same bytes.

    After a definite refusal nothing was created, so the next version of the key is used: under the old one the account
    may only repeat its reply. Where a try's outcome is unknown, a look-up comes first, as the page promises.
    """
    of_bursts = deliveries.filter(occasion__startswith=Delivery.BURST)
    deliveries = deliveries.exclude(occasion__startswith=Delivery.BURST)
    chosen = deliveries.changeable().filter(is_rendered=True, content__isnull=False)
    _free_abandoned(deliveries)
    remarks = [*_left_alone(deliveries), *_without_request(deliveries), *_refused(chosen), *_behind_a_pause(chosen)]
    ids = oldest(chosen, remarks)
    connection_ids = _connections_of(ids)
    again = Delivery.objects.filter(pk__in=ids).changeable()
    again.filter(was_refused=True).update(
        key_version=F("key_version") + 1,
        key_used_at=None,
        was_refused=False,
    )
    again.filter(is_uncertain=True).update(look_up_next=True)
    waits_live = When(state=State.PENDING, priority=Delivery.Priority.LIVE, then=Value(Delivery.Priority.LIVE.value))
    priority = Case(waits_live, default=Value(int(_priority_for(ids))), output_field=PositiveSmallIntegerField())
    # What may stand there already is sent by a person's wish, and after one more unknown outcome not by itself.
    may_stand_there = Case(
        When(is_uncertain=True, then=Value(1)), default=Value(0), output_field=PositiveSmallIntegerField()
    )
    again.schedule(tries=0, priority=priority, unknown_outcomes=may_stand_there)
    reports = [
        report.pk
        for report in of_bursts.changeable().order_by("pk")[:MOST_REBUILT_AT_ONCE]
        if _resend_report(report, Delivery.Priority.RETRY, remarks, anew=False)
    ]
    remarks += _wake([*connection_ids, *_connections_of(reports)], [*ids, *reports])
    return ActionResult([*ids, *reports], remarks)


def _priority_for(ids: list[int]) -> int:
    """A few retries go before a replay of many; neither goes before what is live."""
    return Delivery.Priority.RETRY if len(ids) <= MOST_AS_RETRIES else Delivery.Priority.BULK


def _connections_of(ids: list[int]) -> list[int]:
    return list(Delivery.objects.filter(pk__in=ids).order_by().values_list("connection", flat=True).distinct())


def _wake(connection_ids: list[int], ids: list[int]) -> Iterator[str]:
    """Wakes workers; for many deliveries, yields when they will be done."""
    for connection_id in connection_ids:
        wake_workers(connection_id, count=min(len(ids), MOST_WAKES))
    if len(ids) > MOST_AS_RETRIES:
        connections = Connection.objects.in_bulk(connection_ids)
        for connection_id, text in backlog_texts(list(connections.values())).items():
            yield f"“{connections[connection_id]}”: {text}"


def _free_abandoned(deliveries: DeliveryQuerySet) -> None:
    """Makes what a dead process still claims pending again, with a look-up first as its outcome is unknown."""
    ids = list(deliveries.abandoned().values_list("pk", flat=True)[:MOST_AT_ONCE])
    Delivery.objects.filter(pk__in=ids).abandoned().schedule(
        is_uncertain=True, unknown_outcomes=F("unknown_outcomes") + 1, look_up_next=True
    )


def _left_alone(deliveries: DeliveryQuerySet) -> Iterator[str]:
    done = list(deliveries.filter(state=State.DELIVERED).select_related("connection", "remote_object")[:4])
    if done:
        named = [f"{DESTINATIONS[row.connection.kind].thing} {row.number}" for row in done[:3]]
        shown = ", ".join(named) + (", …" if len(done) > 3 else "")
        yield f"Skipped because it already exists: {shown}. To change it, edit it there."
    if sending := deliveries.filter(state=State.SENDING).count():
        yield f"Skipped because they are being sent right now: {sending}."


def _without_request(deliveries: DeliveryQuerySet) -> Iterator[str]:
    left = deliveries.exclude(state=State.DELIVERED)
    never_written = Q(is_rendered=False, follows__isnull=False) & Q(last_error="")
    if count := left.filter(never_written).count():
        yield f"Skipped because they were to be sent after another delivery: {count}. “Rebuild” sends them now."
    if count := left.filter(is_rendered=False).exclude(never_written).count():
        yield f"Skipped because there is nothing to send yet: {count}. Fix the mapping, then press “Rebuild”."
    if count := left.filter(is_rendered=True, content__isnull=True).count():
        yield f"Skipped because their content is no longer kept: {count}."


def _refused(deliveries: DeliveryQuerySet) -> Iterator[str]:
    if count := deliveries.filter(was_refused=True).count():
        yield (
            f"{count} of these had been refused before, so the same request will probably be refused again. If "
            "you changed the mapping, use “Rebuild” instead to create it again."
        )


def _behind_a_pause(deliveries: DeliveryQuerySet) -> Iterator[str]:
    paused = deliveries.filter(connection__paused_at__isnull=False).exclude(connection__paused_until__lte=Now())
    for name in paused.values_list("connection__name", flat=True).order_by("connection__name").distinct():
        yield f"The connection “{name}” is paused: its deliveries wait until it is resumed."


def cancel(deliveries: DeliveryQuerySet) -> ActionResult:
    """Not to be sent. What is being sent or was delivered stays unchanged."""
    _free_abandoned(deliveries)
    remarks = list(_left_alone(deliveries))
    chosen = deliveries.filter(state__in=CANCELLABLE)
    if uncertain := chosen.filter(is_uncertain=True).count():
        remarks.append(
            f"For {uncertain} of these an earlier attempt ended without an answer, so something may exist there anyway."
        )
    ids = oldest(chosen, remarks)
    bursts = _bursts_of(ids)
    Delivery.objects.filter(pk__in=ids, state__in=CANCELLABLE).cancel()
    recount(bursts)
    return ActionResult(ids, remarks)


def _bursts_of(ids: list[int]) -> set[int]:
    posts = Delivery.objects.filter(pk__in=ids, state=State.WAITING, burst__isnull=False)
    return set(posts.order_by().values_list("burst", flat=True))


def rebuild(deliveries: DeliveryQuerySet) -> ActionResult:
    """Renders again with today's mapping, under the next version of the key, and sends."""
    _free_abandoned(deliveries)
    remarks = list(_left_alone(deliveries))
    changeable = deliveries.changeable()
    rows = changeable.select_related(
        "content__post",
        "notification__content",
        "notification__subscription__company",
        "mapping__connection",
        "connection",
        "follows__remote_object",
    )
    rows = rows.defer(*without_lists("notification__subscription__company__"))
    chosen = list(rows.order_by("pk")[: MOST_REBUILT_AT_ONCE + 1])
    if len(chosen) > MOST_REBUILT_AT_ONCE:
        chosen = chosen[:MOST_REBUILT_AT_ONCE]
        remarks.append(f"Only the oldest {MOST_REBUILT_AT_ONCE} were rebuilt. Use “Rebuild” again for the rest.")
    remarks += _behind_a_pause(changeable)
    priority = _priority_for([delivery.pk for delivery in chosen])
    bursts = _bursts_of([delivery.pk for delivery in chosen])
    changed = [delivery.pk for delivery in chosen if _rebuild_one(delivery, priority, remarks)]
    recount(bursts)
    remarks += _wake(_connections_of(changed), changed)
    return ActionResult(changed, remarks)


def _rebuild_one(delivery: Delivery, priority: int, remarks: list[str]) -> bool:
    if delivery.is_note:
        return _rebuild_note(delivery, priority, remarks)
    if delivery.counts_a_burst:
        return _resend_report(delivery, priority, remarks, anew=True)
    seen = {name: getattr(delivery, name) for name in ("attempt_count", "action", "is_uncertain")}
    if delivery.action == Delivery.Action.UPDATE:
        # It says what was to be said; only where it goes may have been mended.
        row = Delivery.objects.filter(pk=delivery.pk).changeable()
        return bool(row.schedule(tries=0, priority=priority, **NO_PROBLEM))
    can_look = isinstance(DESTINATIONS[delivery.connection.kind], FindsComments)
    if delivery.is_uncertain and delivery.action == Delivery.Action.APPEND and can_look:
        remarks.append(
            f"{delivery.post_id} was skipped: an earlier attempt may have added the comment to "
            f"{delivery.target_number}. Use “Retry now” instead, which looks there first."
        )
        return False
    if delivery.is_uncertain and delivery.connection_id != delivery.mapping.connection_id:
        thing = DESTINATIONS[delivery.connection.kind].thing
        remarks.append(
            f"{delivery.post_id} was skipped: an earlier attempt may have created {article(thing)} {thing} in "
            f"“{delivery.connection}”, but the mapping now uses “{delivery.mapping.connection}”. Use “Retry now” "
            "instead, once you have looked there."
        )
        return False
    if delivery.is_uncertain and not no_second(DESTINATIONS[delivery.connection.kind]):
        remarks.append(f"{delivery.post_id} may have been sent twice: the outcome of an earlier attempt is unknown.")
    if _waits_again(delivery):
        return True
    try:
        event, post = post_of(delivery)
    except Unreadable as unreadable:
        remarks.append(f"{delivery.post_id} was skipped: {unreadable}")
        return False
    Attempt.keep_request(delivery.pk)
    render_into(delivery, delivery.notification, event, post, delivery.mapping)
    delivery.priority = priority
    return _store_rebuilt(delivery, post, seen, remarks)


def _resend_report(delivery: Delivery, priority: int, remarks: list[str], *, anew: bool) -> bool:
    """The message that counts a burst: with the posts that wait for it."""
    if reason := resend_report(delivery.pk, priority, anew=anew):
        remarks.append(f"The message that counts a burst (delivery {delivery.pk}) was skipped: {reason}.")
        return False
    if delivery.is_uncertain and delivery.action != Delivery.Action.UPDATE:
        remarks.append("The message may have been sent twice: the outcome of an earlier attempt is unknown.")
    return True


def _waits_again(delivery: Delivery) -> bool:
    """What it is sent after is on its way (it may have been rebuilt together with it); one that waits is sent now."""
    if delivery.follows_id is None or delivery.state == State.WAITING:
        return False
    coming = [State.PENDING, State.SENDING, State.HELD, State.WAITING]
    if not Delivery.objects.filter(pk=delivery.follows_id, state__in=coming).exists():
        return False
    return bool(Delivery.objects.filter(pk=delivery.pk).changeable().wait(burst=None))


def _store_rebuilt(delivery: Delivery, post: Post, seen: dict[str, Any], remarks: list[str]) -> bool:
    """`seen`: what the row held when it was judged. One that was tried since then is left alone."""
    columns = rendered_columns(delivery, post) | {
        "priority": delivery.priority,
        "action": Delivery.Action.CREATE,
        "target_number": "",
        "decision": "",
        "burst": None,
        "key_version": F("key_version") + 1,
        "key_used_at": None,
        "look_up_next": Q(is_uncertain=True) | Q(look_up_next=True),
        "was_refused": Value(False),
        "tries": 0,
        "unknown_outcomes": int(delivery.is_uncertain),
    }
    row = Delivery.objects.filter(pk=delivery.pk, **seen).changeable()
    with transaction.atomic():
        if delivery.state == State.FAILED:
            remarks.append(f"{delivery.post_id} could not be rendered: {delivery.last_error}")
            is_changed = bool(row.fail(last_error=delivery.last_error, **columns))
        else:
            is_changed = bool(row.schedule(last_error="", **columns))
        if is_changed:
            delivery.content.store_rendered()
        else:
            remarks.append(f"{delivery.post_id} was skipped: it was tried in the meantime. Look at it, then try again.")
    return is_changed


def _rebuild_note(delivery: Delivery, priority: int, remarks: list[str]) -> bool:
    """An internal note stays with its ticket; only its text is rendered again."""
    destination = DESTINATIONS[delivery.connection.kind]
    if not isinstance(destination, AddsNotes):
        remarks.append(f"{delivery.post_id} was skipped: {destination.title} takes no notes.")
        return False
    try:
        event, post = post_of(delivery)
        context = context_of(delivery.notification, event, delivery.mapping)
        post = shared_post(delivery.mapping, post)
        request = destination.build_note(post, context, delivery.mapping.settings, delivery.external_id)
    except (Unreadable, TemplateError) as error:
        remarks.append(f"{delivery.post_id} was skipped: {error}")
        return False
    if not request:
        remarks.append(
            f"{delivery.post_id}: the mapping no longer adds a note. Cancel this delivery if you do not need it."
        )
        return False
    Attempt.keep_request(delivery.pk)
    waiting = Delivery.objects.filter(pk=delivery.pk).changeable()
    with transaction.atomic():
        is_changed = bool(waiting.schedule(tries=0, priority=priority, **NO_PROBLEM))
        if is_changed:
            DeliveryContent.store_request(delivery.pk, request, delivery.remarks)
    return is_changed


def oldest(rows: QuerySet[Any], remarks: list[str]) -> list[int]:
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
    if len(ids) > MOST_AT_ONCE:
        remarks.append(f"Only the oldest {MOST_AT_ONCE} were included. Repeat the action for the rest.")
    return ids[:MOST_AT_ONCE]
