"""One after another: a delivery that waits for what another one of the same post becomes.

It waits in a state that no claim takes, without a request. Recording the first one's thing wakes it in the same
transaction, and it is rendered then, once, with the thing's number, address and status. When the first will become
nothing, it is sent without, or not at all, as its mapping says; what was not sent is sent after all if the first is
repaired. Whatever is missed (a process that died, a wake that
failed), the sweep finds: the states of both say what is to be done.
"""

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet

from integrations.delivery.rendered import rendered_columns
from integrations.domain.post import Unreadable
from integrations.infra.wakes import wake_workers
from integrations.mapping import post_of, render_into
from integrations.models import Delivery, FloodHold, Mapping
from integrations.models.configuration import without_lists
from integrations.models.deliveries import NO_PROBLEM

log = structlog.get_logger(__name__)

State = Delivery.State
ENDED_WITHOUT = (State.FAILED, State.CANCELLED)
MOST_AT_ONCE = 200


def begin_to_follow(delivery: Delivery, first: Delivery | None) -> str:
    """Decides for an unsaved delivery whose mapping follows another: whether it waits, goes on, or is not made.

    `first` is the other mapping's delivery of the post; None where there is none. Returns why it is not made, or
    nothing. One that goes on is still to be rendered.
    """
    mapping = delivery.mapping
    delivery.follows = first
    if first is not None and first.state == State.DELIVERED:
        return ""
    if first is not None and first.state not in ENDED_WITHOUT:
        delivery.state, delivery.is_rendered, delivery.next_attempt_at = State.WAITING, False, None
        return ""
    if mapping.without_first == Mapping.WithoutFirst.SEND:
        return ""
    if first is not None:
        # The first may be repaired yet; then this one is sent after all.
        delivery.state, delivery.is_rendered, delivery.next_attempt_at = State.CANCELLED, False, None
        delivery.decision = _skipped_text(delivery)
        return ""
    return f"it is sent after “{mapping.follows}”, which makes nothing of this post"


def waits_for_nothing() -> QuerySet[Delivery]:
    """What waits for another that is done, or will become nothing."""
    ended = Q(follows__state__in=[State.DELIVERED, *ENDED_WITHOUT])
    # What is to be counted in a burst waits for the message that counts it.
    return Delivery.objects.filter(ended, state=State.WAITING, burst__isnull=True)


def wake_followers(first_id: int, status: str) -> None:
    """What waits for this one goes on. In the transaction that records the first's thing, which it never undoes.

    `status`: what the thing was made with, as it is recorded only when the account tells of a change.
    """
    for delivery_id in Delivery.objects.filter(follows=first_id).to_be_woken().values_list("pk", flat=True):
        _wake_safely(delivery_id, status)


def repair_followers() -> int:
    """For the sweep: wakes what was missed."""
    ids = list(waits_for_nothing().order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
    for delivery_id in ids:
        _wake_safely(delivery_id)
    return len(ids)


def _wake_safely(delivery_id: int, status: str = "") -> None:
    try:
        with transaction.atomic():
            _wake(delivery_id, status)
    except DatabaseError:
        raise
    except Exception:
        # It goes on waiting, and the sweep tries again.
        log.exception("follower not woken", delivery_id=delivery_id)


def _wake(delivery_id: int, status: str) -> None:
    delivery = _locked(delivery_id)
    if delivery is None or delivery.follows is None:
        return
    if (thing := delivery.follows.remote_object) is not None:
        thing.status = thing.status or status
    is_without = delivery.follows.state != State.DELIVERED
    if is_without and delivery.mapping.without_first == Mapping.WithoutFirst.SKIP:
        _skip(delivery)
    else:
        _write(delivery, is_without=is_without)


def _locked(delivery_id: int) -> Delivery | None:
    """With all that rendering reads; None where another process wakes it, or nothing is to be woken any more."""
    rows = Delivery.objects.select_for_update(skip_locked=True, of=("self",)).select_related(
        "follows__remote_object", "follows__mapping", "content__post", "mapping__connection", "mapping__follows",
        "connection", "notification__content", "notification__subscription__company",
    )  # fmt: skip
    rows = rows.defer(*without_lists("notification__subscription__company__"))
    return rows.filter(pk=delivery_id).to_be_woken().first()


def _skip(delivery: Delivery) -> None:
    row = Delivery.objects.filter(pk=delivery.pk)
    row.update(decision=_skipped_text(delivery))
    row.cancel()


def _write(delivery: Delivery, *, is_without: bool) -> None:
    """Renders it and makes it due; what cannot be rendered fails and says why."""
    row = Delivery.objects.filter(pk=delivery.pk)
    try:
        event, post = post_of(delivery)
    except Unreadable as unreadable:
        row.fail(last_error=str(unreadable))
        return
    render_into(delivery, delivery.notification, event, post, delivery.mapping)
    delivery.content.store_rendered()
    columns = rendered_columns(delivery, post)
    if delivery.state == State.FAILED:
        row.fail(last_error=delivery.last_error, **columns)
        return
    row.schedule(**NO_PROBLEM | columns, decision=_woken_text(delivery, is_without=is_without))
    _hold_with_its_flood(delivery)
    transaction.on_commit(lambda: wake_workers(delivery.mapping.connection_id), robust=True)
    log.info("follower woken", delivery_id=delivery.pk, follows=delivery.follows_id, without=is_without)


def _hold_with_its_flood(delivery: Delivery) -> None:
    flood_hold = FloodHold.objects.filter(mapping=delivery.mapping_id, ended_at__isnull=True).first()
    if flood_hold is not None:
        Delivery.objects.filter(pk=delivery.pk, state=State.PENDING).hold(flood_hold)


def _woken_text(delivery: Delivery, *, is_without: bool) -> str:
    first = f"“{delivery.follows.mapping if delivery.follows else delivery.mapping.follows}”"
    if not is_without:
        return f"Sent after {first}."
    return f"Sent without waiting any longer: {first} {_made_nothing(delivery)}."


def _skipped_text(delivery: Delivery) -> str:
    first = delivery.follows.mapping if delivery.follows else delivery.mapping.follows
    return f"Not sent: it is sent after “{first}”, which {_made_nothing(delivery)} of this post."


def _made_nothing(delivery: Delivery) -> str:
    """As far as is known: an attempt without an answer may have made something."""
    is_known = delivery.follows is None or not delivery.follows.is_uncertain
    return "made nothing" if is_known else "failed, and it is not known what it made"
