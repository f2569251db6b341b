"""One try at a delivery: claim it, send it, record what came of it, decide what is next.

`deliver` below is the whole step in order. Exactly one ticket follows from four things together: one row per mapping
and post, a claim that only one process can hold, the same bytes and idempotency key at every automatic try, and a
look-up by external id once the key no longer protects (Zendesk keeps keys for two hours; we trust one for 110 minutes).
"""

import time
import uuid
from dataclasses import dataclass, field

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest, Now
from structlog.contextvars import bound_contextvars

from integrations import connections, pace
from integrations.credentials import credentials_of, renewed_credentials
from integrations.database_pool import release_database
from integrations.database_time import seconds_from_now
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Receipt
from integrations.http import Failure, Line, NotItsTurn, Reply
from integrations.models import Attempt, Connection, Delivery
from integrations.post import storable
from integrations.queueing import SWEEP, publish
from integrations.retry import limit_pause_seconds, next_step

log = structlog.get_logger(__name__)

KEY_TRUSTED_SECONDS = 110 * 60
LONGEST_CALLS_SECONDS = 60.0
# Shares of the lease; together they stay below it. A turn may be waited for longer than a sweep takes to come round,
# or a slow pace would be slower still: what finds no turn is put back until the next sweep.
SHARE_FOR_CALLS = 0.6
SHARE_FOR_THE_TURN = 0.25
LONGEST_WAKE_SECONDS = 60.0


@dataclass
class Try:
    """One claimed delivery on its way through the steps below."""

    delivery: Delivery
    claim: uuid.UUID
    destination: Destination
    line: Line
    attempt: Attempt = field(init=False)
    began: float = field(default_factory=time.monotonic)

    @property
    def look_up_first(self) -> bool:
        return self.delivery.look_up_next or self.delivery.connection.look_up_before_create


def deliver(delivery_id: int) -> None:
    """Makes one try at a delivery that is due. Safe to call at any time, any number of times, from anywhere."""
    this_try = claim(delivery_id)
    if this_try is None:
        _unmark(delivery_id)
        return
    with bound_contextvars(notification_id=this_try.delivery.notification_id):
        if this_try.delivery.tries > len(settings.DELIVERY_RETRY_DELAYS):
            give_up(this_try)
        else:
            _carry_out(this_try)


def _carry_out(this_try: Try) -> None:
    try:
        wait_for_turn(this_try)
    except NotItsTurn as later:
        put_back(this_try, later.seconds)
        return
    begin_attempt(this_try)
    result = send(this_try)
    if isinstance(result, Receipt):
        record_receipt(this_try, result)
    elif isinstance(result, NotItsTurn):
        record_not_its_turn(this_try, result)
    else:
        record_failure(this_try, result)


# --- Claim -----------------------------------------------------------------------------------------------------------


# One conditional UPDATE is lock, lease and crash recovery. Right of each "=" stands the row as it was before.
# A lease that ran out means that its process died in the middle: the outcome of that try is unknown, and it counts, as
# a try that kills its process would do so for ever. A key older than we trust it gives way to the next version, and the
# row says that a look-up has to come first, before any call is made: a death between the two changes nothing.
# The connection is asked by EXISTS and not by a join: a join's subquery is not evaluated again after waiting for a
# competing claim, and both would win.
CLAIM = """
UPDATE integrations_delivery AS delivery SET
  state = 'sending',
  claim = %(claim)s,
  claimed_until = now() + %(lease)s * interval '1 second',
  queued_until = NULL,
  attempt_count = attempt_count + 1,
  is_uncertain = is_uncertain OR state = 'sending',
  tries = tries + (state = 'sending')::int,
  look_up_next = look_up_next OR coalesce(key_used_at < now() - %(trusted)s * interval '1 second', false),
  key_version = key_version + coalesce(key_used_at < now() - %(trusted)s * interval '1 second', false)::int,
  key_used_at = CASE WHEN key_used_at >= now() - %(trusted)s * interval '1 second' THEN key_used_at ELSE now() END
WHERE id = %(id)s
  AND (state = 'pending' AND next_attempt_at <= now() OR state = 'sending' AND claimed_until <= now())
  AND EXISTS (
    SELECT FROM integrations_connection AS connection
    WHERE connection.id = delivery.connection_id AND connection.is_active
      AND (connection.paused_at IS NULL OR connection.paused_until <= now())
  )
RETURNING *
"""


def claim(delivery_id: int) -> Try | None:
    """Takes the delivery if it is due, its connection is open, and nobody holds it; None otherwise."""
    claim_id = uuid.uuid4()
    values = {
        "id": delivery_id,
        "claim": claim_id,
        "lease": settings.DELIVERY_LEASE_SECONDS,
        "trusted": KEY_TRUSTED_SECONDS,
    }
    claimed = list(Delivery.objects.raw(CLAIM, values))
    return _try_of(claimed[0], claim_id) if claimed else None


def waiting() -> Q:
    return Q(state=Delivery.State.PENDING, next_attempt_at__lte=Now())


def abandoned() -> Q:
    return Q(state=Delivery.State.SENDING, claimed_until__lte=Now())


def _try_of(delivery: Delivery, claim_id: uuid.UUID) -> Try:
    connection = delivery.connection
    destination = DESTINATIONS[connection.kind]

    def heard(budget: str, reply: Reply) -> None:
        try:
            pace.hear(connection.pk, budget, destination.read_budgets(budget, reply))
        except Exception:
            # Odd headers must not cost us the receipt that came with them.
            log.exception("the limits could not be read")

    line = Line(
        origin=destination.origin(connection.settings),
        seconds=min(LONGEST_CALLS_SECONDS, settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_CALLS),
        name=destination.title,
        heard=heard,
    )
    return Try(delivery, claim_id, destination, line)


def _unmark(delivery_id: int) -> None:
    """A message that found nothing to do: if the delivery waits for its connection, the sweep may queue it again."""
    Delivery.objects.filter(pk=delivery_id, state=Delivery.State.PENDING).exclude(queued_until=None).update(
        queued_until=None
    )


def wait_for_turn(this_try: Try) -> None:
    """Waits for the first call's turn, within the lease. Raises NotItsTurn."""
    connection_id = this_try.delivery.connection_id
    longest = settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_THE_TURN
    first_budget = "look-up" if this_try.look_up_first else "account"
    release_database()
    pace.take_turn(connection_id, first_budget, longest)
    taken = [first_budget]

    def turn(budget: str) -> None:
        if budget in taken:
            taken.remove(budget)
        elif budget in ("account", "look-up"):
            pace.take_turn(connection_id, budget, longest)

    this_try.line.turn = turn


def put_back(this_try: Try, seconds: float) -> None:
    """Gives the claim back unused: no attempt was made."""
    _still_ours(this_try).update(
        state=Delivery.State.PENDING,
        next_attempt_at=seconds_from_now(min(seconds, LONGEST_WAKE_SECONDS)),
        attempt_count=Greatest(F("attempt_count") - 1, 0),
        claim=None,
        claimed_until=None,
    )


def give_up(this_try: Try) -> None:
    """Ends a delivery whose tries died one after the other until the schedule was used up."""
    _still_ours(this_try).update(
        state=Delivery.State.FAILED,
        next_attempt_at=None,
        claim=None,
        claimed_until=None,
        last_error="Each try ended without a result: its process died, or could not write the result down.",
    )
    log.error("given up: the tries died")


def begin_attempt(this_try: Try) -> None:
    """Writes the attempt down before the call: if the process dies now, the row says so."""
    this_try.attempt = Attempt.objects.create(
        delivery=this_try.delivery,
        number=this_try.delivery.attempt_count,
        key_version=this_try.delivery.key_version,
    )


# --- Send ------------------------------------------------------------------------------------------------------------


def send(this_try: Try) -> Receipt | Failure | NotItsTurn:
    """Calls the destination, outside any transaction and without holding a database connection."""
    release_database()
    try:
        return _send_signed_in(this_try)
    except (Failure, NotItsTurn) as known:
        return known
    except Exception as error:
        # The one boundary around providers: whatever else they raise is recorded and counted, so nothing is for ever.
        log.exception("the destination failed")
        words = f"Casebridge failed to send it ({type(error).__name__}). Report this to whoever runs Casebridge."
        return Failure(words, is_uncertain=True)


def _send_signed_in(this_try: Try) -> Receipt:
    """Sends; an access token that was refused is renewed once and the request repeated once."""
    connection, destination, line = this_try.delivery.connection, this_try.destination, this_try.line
    credentials = credentials_of(connection, destination, line)

    def once() -> Receipt:
        release_database()
        delivery = this_try.delivery
        return destination.send(
            line,
            delivery.request,
            delivery.external_id,
            delivery.idempotency_key,
            credentials,
            look_up_first=this_try.look_up_first,
        )

    try:
        return once()
    except Failure as failure:
        if not (failure.renew_token and destination.needs_token(connection.settings)):
            raise
    credentials = renewed_credentials(connection, destination, line, credentials)
    return once()


# --- Record ----------------------------------------------------------------------------------------------------------

HOW = {
    "created": "Created ticket {}.",
    "already_there": "An earlier try had already created ticket {}; the repeat was recognised by its key.",
    "found": "Ticket {} was found by its external id: an earlier try had created it.",
}


def record_receipt(this_try: Try, receipt: Receipt) -> None:
    """Delivered, whoever holds the claim by now: the ticket exists."""
    warning = this_try.line.without_secrets(receipt.warning)
    with transaction.atomic():
        _complete_attempt(this_try, Attempt.Outcome.DELIVERED, HOW[receipt.how].format(receipt.number), warning)
        Delivery.objects.filter(pk=this_try.delivery.pk).exclude(state=Delivery.State.DELIVERED).update(
            state=Delivery.State.DELIVERED,
            result=receipt.how,
            ticket_number=receipt.number,
            ticket_url=receipt.url,
            delivered_at=Now(),
            next_attempt_at=None,
            claim=None,
            claimed_until=None,
            queued_until=None,
            last_error="",
            is_uncertain=False,
            was_refused=False,
            tries=F("tries") + 1,
        )
    if this_try.delivery.connection.limits_in_a_row:
        Connection.objects.filter(pk=this_try.delivery.connection_id).update(limits_in_a_row=0)
    log.info("delivered", ticket=receipt.number, how=receipt.how)


def record_failure(this_try: Try, failure: Failure) -> None:
    """The failure, what it means for this delivery, and for its connection."""
    failure.words, failure.detail = storable(failure.words), this_try.line.without_secrets(failure.detail)
    step = next_step(failure, this_try.delivery.tries, settings.DELIVERY_RETRY_DELAYS)
    words = f"{failure.words} {step.words}"
    outcome = _outcome_of(failure, step.wait)
    with transaction.atomic():
        _complete_attempt(this_try, outcome, words, failure.detail, failure.status)
        _still_ours(this_try).update(
            state=Delivery.State.FAILED if step.wait is None else Delivery.State.PENDING,
            next_attempt_at=None if step.wait is None else seconds_from_now(step.wait),
            tries=F("tries") + int(step.uses_a_try),
            claim=None,
            claimed_until=None,
            last_error=f"{failure.words}\n{failure.detail}".strip(),
            was_refused=failure.permanent and not failure.pauses,
            is_uncertain=True if failure.is_uncertain else F("is_uncertain"),
            look_up_next=True if failure.look_up_next else F("look_up_next"),
        )
    if failure.pauses:
        _pause_connection(this_try, failure)
    log.warning("not delivered", outcome=outcome, status=failure.status, reason=failure.words)


def _outcome_of(failure: Failure, wait: float | None) -> str:
    if failure.pauses:
        return Attempt.Outcome.PAUSED
    if wait is not None:
        return Attempt.Outcome.RETRY
    return Attempt.Outcome.REFUSED if failure.permanent else Attempt.Outcome.GIVEN_UP


def _pause_connection(this_try: Try, failure: Failure) -> None:
    connection = this_try.delivery.connection
    seconds = limit_pause_seconds(failure, connection.limits_in_a_row)
    reason = f"{failure.words}\n{failure.detail}".strip()
    # Only if it is still set up as it was when this try began: new credentials must not be paused by the old ones' 401.
    unchanged = Connection.objects.filter(pk=connection.pk, secrets=connection.secrets, settings=connection.settings)
    connections.pause(unchanged, reason, seconds, limited=failure.limited)
    if seconds is not None and seconds <= LONGEST_WAKE_SECONDS:
        # A short pause need not last until the next round of the sweep.
        publish(SWEEP, countdown=seconds + 0.1)


def record_not_its_turn(this_try: Try, later: NotItsTurn) -> None:
    """The look-up was made, but the create's turn is too far off: no try was used, the look-up comes first again."""
    with transaction.atomic():
        _complete_attempt(
            this_try,
            Attempt.Outcome.WAITED,
            f"The request limit leaves no room yet; next turn in {later.seconds:.0f} s.",
        )
        _still_ours(this_try).update(
            state=Delivery.State.PENDING,
            next_attempt_at=seconds_from_now(min(later.seconds, LONGEST_WAKE_SECONDS)),
            claim=None,
            claimed_until=None,
        )


def _complete_attempt(this_try: Try, outcome: str, meaning: str, detail: str = "", status: int | None = None) -> None:
    exchanges = this_try.line.exchanges
    Attempt.objects.filter(pk=this_try.attempt.pk).update(
        finished_at=Now(),
        outcome=outcome,
        status=status or (exchanges[-1].get("status") if exchanges else None),
        duration_ms=round((time.monotonic() - this_try.began) * 1000),
        meaning=storable(meaning),
        detail=storable(detail),
        exchanges=exchanges,
    )


def _still_ours(this_try: Try) -> QuerySet[Delivery]:
    """The row as long as nobody took over after our lease ran out."""
    return Delivery.objects.filter(pk=this_try.delivery.pk, claim=this_try.claim)
