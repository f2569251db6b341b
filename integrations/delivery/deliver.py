"""A due delivery on its way to the account, step by step: the file to read first.

1. `deliver_due` waits for the account's permit (flow), again and again for a slice of time.
2. `deliver_next` claims the first delivery in the queue (claim.py); with a backlog, it hands over many (batch.py).
3. `_carry_out` makes one try. First whatever may put it off: an earlier step of its alarm or post of its case, a
   further permit, the circuit breaker. Then: write the attempt down, send, look up before giving up (final_lookup.py),
   record (record.py).
   Sending (send.py) signs in and makes the request final (prepare.py), again where the token has to be renewed.
   Recording decides whether there is another try, and when (retry.py).

Which delivery is sent is decided once there is a permit: of those due on a connection, live ones go before retries, and
retries before bulk replays, whatever is in the queue. Exactly one ticket follows from four things together: one row
per mapping and post, a claim that only one process can hold, the same bytes and idempotency key at every automatic try,
and, where the destination can, a look-up by external id once the key no longer protects or a process died.
"""

import random
import time
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.conf import settings
from django.db.models.functions import Now
from structlog.contextvars import bound_contextvars

from integrations.delivery.alarm_steps import OVERTAKEN, is_overtaken, seconds_until_its_turn
from integrations.delivery.batch import deliver_batch
from integrations.delivery.claim import PUT_OFF_SECONDS, ClaimedDelivery, claim, release_claim
from integrations.delivery.final_lookup import give_up_dead_tries, look_up_before_giving_up
from integrations.delivery.prepare import wait_for_the_case
from integrations.delivery.record import begin_attempt, record_result
from integrations.delivery.retry import retry_delays
from integrations.delivery.send import hold_permits, send
from integrations.destinations.capabilities import LOOK_UP
from integrations.flow import may_send, return_permit, wait_for_permit
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import NoPermit
from integrations.infra.wakes import LONGEST_WAKE_SECONDS
from integrations.models import Connection, Delivery

log = structlog.get_logger(__name__)

# A message is worked on for this long before other connections get the thread.
SLICE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WorkLeft:
    """What is left after a slice of work: more that is due now, or something in `seconds`."""

    is_more: bool = False
    seconds: float | None = None
    was_immediate: bool = False


def deliver_due(connection_id: int) -> WorkLeft:
    """Works on a connection's due deliveries for a slice of time. Safe to call at any time, from anywhere."""
    until = time.monotonic() + SLICE_SECONDS
    waited = 1.0
    while time.monotonic() < until:
        try:
            waited = min(waited, wait_for_permit(connection_id))
        except NoPermit as later:
            return WorkLeft(seconds=min(later.seconds, LONGEST_WAKE_SECONDS))
        if not deliver_next(connection_id):
            return WorkLeft(seconds=_seconds_until_next(connection_id))
    return WorkLeft(is_more=True, was_immediate=waited < 0.005)


def deliver_next(connection_id: int) -> bool:
    """Hands over many, or takes the first in the queue: tries it, or puts it off. False when nothing is due.

    The permit is already taken.
    """
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection is not None and deliver_batch(connection):
        return True
    claimed = claim(connection, look_ups=not _seconds_without_look_ups(connection_id)) if connection else None
    if connection is None or claimed is None:
        return_permit(connection_id)
        return False
    with bound_contextvars(delivery_id=claimed.delivery.pk, notification_id=claimed.delivery.notification_id):
        if _has_no_try_left(claimed):
            give_up_dead_tries(claimed)
        else:
            _carry_out(claimed)
    return True


def _has_no_try_left(claimed: ClaimedDelivery) -> bool:
    """The schedule is used up, or processes died over it and a further try would be one too many."""
    delivery = claimed.delivery
    is_repeated = claimed.is_repeated_after(delivery.unknown_outcomes)
    return delivery.tries > len(retry_delays(delivery.connection)) or is_repeated


def _carry_out(claimed: ClaimedDelivery) -> None:
    """The steps of one try. Before the attempt begins, anything in the way releases the claim unused."""
    delivery = claimed.delivery
    if is_overtaken(delivery):
        _call_off(claimed, OVERTAKEN)
        return
    if seconds := seconds_until_its_turn(delivery):
        _put_off(claimed, seconds, "Waiting for the earlier message about this alarm.")
        return
    if wait := wait_for_the_case(delivery):
        _put_off(claimed, wait.seconds, wait.reason)
        return
    try:
        hold_permits(claimed)
    except NoPermit as later:
        if later.budget == LOOK_UP:
            _no_look_ups_until[delivery.connection_id] = time.monotonic() + later.seconds
        _put_off(claimed, later.seconds * random.uniform(1.0, 2.0))
        return
    if not may_send(delivery.connection):
        _put_off(claimed, PUT_OFF_SECONDS)
        return
    begin_attempt(claimed)
    result = send(claimed)
    result = look_up_before_giving_up(claimed, result)
    record_result(claimed, result)


# Connections whose look-ups have no permit before then (monotonic). This process learns of it by trying.
_no_look_ups_until: dict[int, float] = {}


def _seconds_without_look_ups(connection_id: int) -> float:
    """How long look-ups have no permit, as far as this process knows: meanwhile nothing that needs one is taken."""
    return max(_no_look_ups_until.get(connection_id, 0.0) - time.monotonic(), 0.0)


def _call_off(claimed: ClaimedDelivery, reason: str) -> None:
    return_permit(claimed.delivery.connection_id)
    claimed.row.update(decision=reason)
    claimed.row.cancel()


def _put_off(claimed: ClaimedDelivery, seconds: float, reason: str = "") -> None:
    return_permit(claimed.delivery.connection_id)
    release_claim(claimed, seconds, reason)


def _seconds_until_next(connection_id: int) -> float | None:
    """Seconds until something is due, if that is before the next sweep; None otherwise."""
    soon = seconds_from_now(settings.SWEEP_SECONDS)
    waiting = Delivery.objects.filter(connection=connection_id, state=Delivery.State.PENDING)
    first_of_each: list[datetime | None] = []
    for priority in Delivery.Priority.values:
        of_priority = waiting.filter(priority=priority, next_attempt_at__gt=Now(), next_attempt_at__lte=soon)
        first_of_each += of_priority.order_by("next_attempt_at").values_list("next_attempt_at", flat=True)[:1]
    now = database_clock.now()
    seconds = [max((at - now).total_seconds(), 0.1) for at in first_of_each if at is not None]
    seconds += [left] if (left := _seconds_without_look_ups(connection_id)) else []
    return min(seconds, default=None)
