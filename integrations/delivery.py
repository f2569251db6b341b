"""One try at a delivery: claim it, make it final, send it, record what came of it, decide what is next.

`deliver_due` below is the whole step in order. Which delivery is sent is decided when its turn has come: of those due
on a connection live ones go before retries, and retries before bulk replays, whatever lies in the queue. Exactly one
ticket follows from four things together: one row per mapping and post, a claim that only one process can hold, the
same bytes and idempotency key at every automatic try, and a look-up by external id once the key no longer protects
(Zendesk keeps keys for two hours; we trust one for 110 minutes).
"""

import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, PositiveSmallIntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Greatest, Now
from structlog.contextvars import bound_contextvars

from integrations import account_schema, breaker, bulk, cases, last_look, pace, preparing, receipts, recording
from integrations.credentials import credentials_of, renewed_credentials
from integrations.database_pool import release_database
from integrations.database_time import now, seconds_from_now
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.http import Failure, Line, NotItsTurn
from integrations.lines import LONGEST_TURN_SECONDS, LONGEST_WAIT_FOR_A_USER, USERS_WITHIN, Turns, line_to
from integrations.models import Attempt, Connection, Delivery
from integrations.post import storable
from integrations.recording import LONGEST_WAKE_SECONDS
from integrations.retry import next_step

log = structlog.get_logger(__name__)

KEY_TRUSTED_SECONDS = 110 * 60
# Within one try, for the turn of a further call.
SHARE_FOR_THE_TURN = 0.25
# So long one message is worked on before others have their turn.
SLICE_SECONDS = 5.0


@dataclass
class Try:
    """One claimed delivery on its way through the steps below."""

    delivery: Delivery
    claim: uuid.UUID
    destination: Destination
    line: Line
    attempt: Attempt = field(init=False)
    began: float = field(default_factory=time.monotonic)
    # What went wrong before a last look, and how many calls had been made by then.
    trouble: str = ""
    calls: int | None = None

    @property
    def look_up_first(self) -> bool:
        return self.delivery.look_up_next or self.delivery.connection.look_up_before_create

    @property
    def answer(self) -> int | None:
        """The status of its last answer; that of a last look says nothing about the try."""
        exchanges = self.line.exchanges[: self.calls]
        return exchanges[-1].get("status") if exchanges else None


@dataclass(frozen=True, slots=True)
class Rest:
    """What a slice of work left: more that is due now, or a turn in so many seconds."""

    is_more: bool = False
    seconds: float | None = None
    came_at_once: bool = False


def deliver_due(connection_id: int) -> Rest:
    """Works on a connection's due deliveries for a slice of time. Safe to call at any time, from anywhere."""
    until = time.monotonic() + SLICE_SECONDS
    waited = 1.0
    while time.monotonic() < until:
        try:
            waited = min(waited, _wait_for_turn(connection_id))
        except NotItsTurn as later:
            return Rest(seconds=min(later.seconds, LONGEST_WAKE_SECONDS))
        if not deliver_next(connection_id):
            return Rest(seconds=_seconds_until_the_next(connection_id))
    return Rest(is_more=True, came_at_once=waited < 0.005)


def _seconds_until_the_next(connection_id: int) -> float | None:
    """When the line moves again before a sweep would notice; None where nothing is due so soon."""
    soon = seconds_from_now(settings.SWEEP_SECONDS)
    waiting_here = Delivery.objects.filter(connection=connection_id, state=Delivery.State.PENDING)
    found: list[datetime | None] = []
    for lane in Delivery.Lane.values:
        in_lane = waiting_here.filter(lane=lane, next_attempt_at__gt=Now(), next_attempt_at__lte=soon)
        found += in_lane.order_by("next_attempt_at").values_list("next_attempt_at", flat=True)[:1]
    times = [at for at in found if at is not None]
    return max((min(times) - now()).total_seconds(), 0.1) if times else None


def _wait_for_turn(connection_id: int) -> float:
    release_database()
    return pace.take_turn(connection_id, "account", LONGEST_TURN_SECONDS)


def deliver_next(connection_id: int) -> bool:
    """Makes one try at what is first in the line, its turn having come; False when nothing is due."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection is not None and bulk.deliver_many(connection):
        return True
    this_try = claim(connection) if connection is not None else None
    if this_try is None:
        pace.give_back(connection_id, "account")
        return False
    with bound_contextvars(delivery_id=this_try.delivery.pk, notification_id=this_try.delivery.notification_id):
        if this_try.delivery.tries > len(settings.DELIVERY_RETRY_DELAYS):
            give_up(this_try)
        else:
            _carry_out(this_try)
    return True


def _carry_out(this_try: Try) -> None:
    if wait := preparing.wait_for_the_case(this_try.delivery):
        pace.give_back(this_try.delivery.connection_id, "account")
        put_back(this_try, wait.seconds, wait.words)
        return
    try:
        take_the_turns(this_try)
    except NotItsTurn as later:
        pace.give_back(this_try.delivery.connection_id, "account")
        put_back(this_try, later.seconds * random.uniform(1.0, 2.0))
        return
    if not breaker.may_go(this_try.delivery.connection):
        pace.give_back(this_try.delivery.connection_id, "account")
        put_back(this_try, LONGEST_TURN_SECONDS)
        return
    begin_attempt(this_try)
    result = send(this_try)
    if isinstance(result, Failure) and _may_exist(this_try, result) and _is_given_up(this_try, result):
        result = look_once_more(this_try, result)
    record(this_try, result)


# --- Claim -----------------------------------------------------------------------------------------------------------


# One conditional UPDATE is lock, lease and crash recovery. Right of each "=" stands the row as it was before.
# A lease that ran out means that its process died in the middle, or could not write its result down: the outcome of
# that try is unknown, so a look-up has to come first, and it counts, as a try that kills its process would do so for
# ever. A key older than we trust it gives way to the next version, and the row says that a look-up has to come first,
# before any call is made: a death between the two changes nothing.
# The row is chosen and locked in one go (SKIP LOCKED): two that choose at the same moment get two rows. What a bulk
# call holds is not taken over before its job has come to an end: until then its ticket may still come to exist.
CLAIM = """
UPDATE integrations_delivery AS delivery SET
  state = 'sending',
  claim = %(claim)s,
  claimed_until = now() + %(lease)s * interval '1 second',
  attempt_count = attempt_count + 1,
  is_uncertain = is_uncertain OR state = 'sending',
  tries = tries + (state = 'sending')::int,
  look_up_next = look_up_next OR state = 'sending'
    OR coalesce(key_used_at < now() - %(trusted)s * interval '1 second', false),
  key_version = key_version + coalesce(key_used_at < now() - %(trusted)s * interval '1 second', false)::int,
  key_used_at = CASE WHEN key_used_at >= now() - %(trusted)s * interval '1 second' THEN key_used_at ELSE now() END
WHERE id = coalesce(
    (SELECT id FROM integrations_delivery WHERE connection_id = %(connection)s AND state = 'pending' AND lane = 0
      AND next_attempt_at <= now() ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED),
    (SELECT id FROM integrations_delivery AS held WHERE connection_id = %(connection)s AND state = 'sending'
      AND claimed_until <= now() AND NOT EXISTS (
        SELECT FROM integrations_bulkjob AS job WHERE job.id = held.job_id AND job.state IN ('sending', 'running'))
      ORDER BY claimed_until LIMIT 1 FOR UPDATE SKIP LOCKED),
    (SELECT id FROM integrations_delivery WHERE connection_id = %(connection)s AND state = 'pending' AND lane = 1
      AND next_attempt_at <= now() ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED),
    (SELECT id FROM integrations_delivery WHERE connection_id = %(connection)s AND state = 'pending' AND lane = 2
      AND next_attempt_at <= now() ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
  )
  AND (state = 'pending' AND next_attempt_at <= now() OR state = 'sending' AND claimed_until <= now())
  AND EXISTS (
    SELECT FROM integrations_connection AS connection
    WHERE connection.id = delivery.connection_id AND connection.is_active
      AND (connection.paused_at IS NULL OR connection.paused_until <= now())
      AND (connection.breaker_opened_at IS NULL OR connection.breaker_probe_at <= now())
  )
RETURNING *
"""


def claim(connection: Connection) -> Try | None:
    """Takes the first in the line, if the connection is open and anything is due that nobody holds; None otherwise."""
    claim_id = uuid.uuid4()
    values = {
        "connection": connection.pk,
        "claim": claim_id,
        "lease": settings.DELIVERY_LEASE_SECONDS,
        "trusted": KEY_TRUSTED_SECONDS,
    }
    claimed = list(Delivery.objects.raw(CLAIM, values))
    if not claimed:
        return None
    claimed[0].connection = connection
    return _try_of(claimed[0], claim_id)


def waiting() -> Q:
    return Q(state=Delivery.State.PENDING, next_attempt_at__lte=Now())


def abandoned() -> Q:
    """Held by a process that died; what a bulk call holds is looked after by the job's own follow-up."""
    job_goes_on = Q(job__isnull=False, job__state__in=["sending", "running"])
    return Q(state=Delivery.State.SENDING, claimed_until__lte=Now()) & ~job_goes_on


def _try_of(delivery: Delivery, claim_id: uuid.UUID) -> Try:
    destination = DESTINATIONS[delivery.connection.kind]
    return Try(delivery, claim_id, destination, line_to(delivery.connection))


def take_the_turns(this_try: Try) -> None:
    """The account's turn was taken before the claim; a look-up needs one more, and so does each further call."""
    connection_id = this_try.delivery.connection_id
    longest = settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_THE_TURN
    turns = Turns(connection_id, longest, taken=["account"])
    this_try.line.turn = turns.take
    if this_try.look_up_first and this_try.delivery.action != Delivery.Action.APPEND:
        release_database()
        pace.take_turn(connection_id, "look-up", longest)
        turns.taken.append("look-up")
    if this_try.delivery.action == Delivery.Action.APPEND:
        release_database()
        pace.take_turn(connection_id, "updates", LONGEST_TURN_SECONDS)
        turns.taken.append("updates")
    if preparing.needs_a_new_user(this_try.delivery):
        # Only asked for: the place is taken by the call itself, if it has to be made.
        wait = pace.seconds_until_a_place(connection_id, "users", USERS_WITHIN)
        if wait > LONGEST_WAIT_FOR_A_USER:
            raise NotItsTurn(wait, "users")


def put_back(this_try: Try, seconds: float, why: str = "") -> None:
    """Gives the claim back unused: no attempt was made."""
    _still_ours(this_try).update(
        state=Delivery.State.PENDING,
        next_attempt_at=seconds_from_now(min(seconds, LONGEST_WAKE_SECONDS)),
        attempt_count=Greatest(F("attempt_count") - 1, 0),
        claim=None,
        claimed_until=None,
        **({"decision": why} if why else {}),
    )


def give_up(this_try: Try) -> None:
    """Ends a delivery whose tries died one after the other until the schedule was used up."""
    failure = Failure(
        "Each try ended without a result: its process died, or could not write the result down.",
        remedy="Retry it; if it ends like this again, report it to whoever runs Casebridge.",
        cause="Each try ended without a result",
    )
    # The look itself may have been what its process died of: it is made once.
    is_looked_up = this_try.delivery.tries == len(settings.DELIVERY_RETRY_DELAYS) + 1
    if _may_exist(this_try, failure) and is_looked_up:
        if not breaker.may_go(this_try.delivery.connection):
            pace.give_back(this_try.delivery.connection_id, "account")
            put_back(this_try, LONGEST_TURN_SECONDS)
            return
        begin_attempt(this_try)
        record(this_try, look_once_more(this_try, failure, taken=["account"]))
    else:
        pace.give_back(this_try.delivery.connection_id, "account")
        begin_attempt(this_try)
        record(this_try, _given_up_unseen(this_try, failure))
    log.error("the tries died", tries=this_try.delivery.tries)


def _given_up_unseen(this_try: Try, failure: Failure) -> Failure:
    if not _may_exist(this_try, failure):
        return failure
    return last_look.not_looked_up(failure, this_try.delivery, "It was not looked up.")


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
        return Failure(
            f"Casebridge failed to send it ({type(error).__name__}).",
            is_uncertain=True,
            # A comment has no key that would recognise a repeat.
            look_up_next=this_try.delivery.action == Delivery.Action.APPEND,
            remedy="Report this to whoever runs Casebridge.",
        )


def _send_signed_in(this_try: Try) -> Receipt:
    """Sends; an access token that was refused is renewed once and the request repeated once."""
    connection, destination, line = this_try.delivery.connection, this_try.destination, this_try.line
    credentials = credentials_of(connection, destination, line)
    try:
        return _prepare_and_send(this_try, credentials)
    except Failure as failure:
        if not (failure.renew_token and destination.needs_token(connection.settings)):
            raise
    return _prepare_and_send(this_try, renewed_credentials(connection, destination, line, credentials))


def _prepare_and_send(this_try: Try, credentials: Credentials) -> Receipt:
    delivery, destination, line = this_try.delivery, this_try.destination, this_try.line
    if preparing.is_needed(delivery):
        preparing.prepare(delivery, destination, line, credentials, _still_ours(this_try))
    release_database()
    outgoing = Outgoing(
        request=delivery.request,
        external_id=delivery.external_id,
        key=delivery.idempotency_key,
        action=delivery.action,
        target=delivery.target_number,
        look_up_first=this_try.look_up_first,
    )
    return receipts.kept(destination.send(line, outgoing, credentials), destination.title)


# --- A last look -----------------------------------------------------------------------------------------------------


def _is_given_up(this_try: Try, failure: Failure) -> bool:
    """Whether nothing more would be tried by itself."""
    step = next_step(failure, this_try.delivery.tries, settings.DELIVERY_RETRY_DELAYS)
    return step.wait is None and not preparing.other_way(this_try.delivery, this_try.destination, failure)


def _may_exist(this_try: Try, failure: Failure) -> bool:
    """Whether it is unknown what the tries made; what was made for certain is not asked about."""
    return (failure.is_uncertain or this_try.delivery.is_uncertain) and not failure.was_done


def look_once_more(this_try: Try, failure: Failure, taken: Sequence[str] = ()) -> Receipt | Failure:
    """Looks the thing up at the pace, within a lease and a deadline of its own: the try may have used up the first."""
    if not _still_ours(this_try).update(claimed_until=seconds_from_now(settings.DELIVERY_LEASE_SECONDS)):
        return failure
    failure.detail = this_try.line.without_secrets(failure.detail)
    this_try.trouble, this_try.calls = failure.words, len(this_try.line.exchanges)
    longest = settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_THE_TURN
    turns = Turns(this_try.delivery.connection_id, longest, taken=list(taken))
    # The copy notes its calls with those of the try, and has its time anew.
    this_try.line = replace(this_try.line, turn=turns.take)
    return last_look.look(failure, this_try.delivery, this_try.destination, this_try.line)


# --- Record ----------------------------------------------------------------------------------------------------------

HOW = {
    "created": "Created ticket {}.",
    "already_there": "An earlier try had already done it (ticket {}); the repeat was recognised.",
    "found": "Ticket {} was found by its external id: an earlier try had created it.",
    "appended": "Added to ticket {} as a comment.",
}


def record(this_try: Try, result: Receipt | Failure | NotItsTurn) -> None:
    """Writes down what came of the call. Where that fails a person is asked: nothing is sent again because of it."""
    try:
        recording.insist(lambda: _record(this_try, result))
    except recording.DATABASE_AWAY:
        # The lease runs out, and whoever takes the delivery over looks up first.
        raise
    except Exception as error:
        log.exception("the result of a try could not be recorded")
        failure = receipts.not_written_down(result, this_try.destination.title, error)
        recording.insist(lambda: _record_for_a_person(this_try, failure))


def _record(this_try: Try, result: Receipt | Failure | NotItsTurn) -> None:
    if isinstance(result, Receipt):
        record_receipt(this_try, result)
    elif isinstance(result, NotItsTurn):
        record_not_its_turn(this_try, result)
    else:
        record_failure(this_try, result)


def _record_for_a_person(this_try: Try, failure: Failure) -> None:
    """In our own words alone: anything that came from outside may be what could not be stored."""
    with transaction.atomic():
        if recording.set_unrecorded(_still_ours(this_try), failure):
            Attempt.objects.filter(pk=this_try.attempt.pk).update(
                finished_at=Now(), outcome=Attempt.Outcome.GIVEN_UP, meaning=failure.told
            )


def record_receipt(this_try: Try, receipt: Receipt) -> None:
    """Delivered, whoever holds the claim by now: the ticket exists."""
    warning = this_try.line.without_secrets(receipt.warning)
    meaning = f"{this_try.trouble} {HOW[receipt.how].format(receipt.number)}".strip()
    with transaction.atomic():
        _complete_attempt(this_try, Attempt.Outcome.DELIVERED, meaning, warning)
        recording.set_delivered(this_try.delivery, receipt, warning)
    cases.wake_next(this_try.delivery)
    breaker.note_answer(this_try.delivery.connection)
    if this_try.delivery.connection.limits_in_a_row:
        Connection.objects.filter(pk=this_try.delivery.connection_id).update(limits_in_a_row=0)
    log.info("delivered", ticket=receipt.number, how=receipt.how)


def record_failure(this_try: Try, failure: Failure) -> None:
    """The failure, what it means for this delivery, and for its connection."""
    failure.words, failure.detail = storable(failure.words), this_try.line.without_secrets(failure.detail)
    if changes := preparing.other_way(this_try.delivery, this_try.destination, failure):
        _record_another_way(this_try, failure, changes)
        return
    step = next_step(failure, this_try.delivery.tries, settings.DELIVERY_RETRY_DELAYS)
    outcome = _outcome_of(failure, step.wait)
    with transaction.atomic():
        _complete_attempt(this_try, outcome, f"{failure.told} {step.words}", failure.detail, failure.status)
        _still_ours(this_try).update(
            state=Delivery.State.FAILED if step.wait is None else Delivery.State.PENDING,
            next_attempt_at=None if step.wait is None else seconds_from_now(step.wait),
            lane=_lane_of_next_try(step.uses_a_try),
            tries=F("tries") + int(step.uses_a_try),
            claim=None,
            claimed_until=None,
            last_error=f"{failure.told}\n{failure.detail}".strip(),
            cause=storable(failure.cause or failure.words)[:250],
            remedy=failure.remedy,
            remedy_at=failure.remedy_at,
            was_refused=_is_refusal(failure),
            is_uncertain=_uncertainty(failure),
            look_up_next=True if failure.look_up_next else F("look_up_next"),
        )
    breaker.note_failure(this_try.delivery.connection, failure)
    if failure.pauses:
        recording.pause_connection(this_try.delivery.connection, failure)
    elif failure.remedy_at == "mapping" and failure.status == 422:
        # Something at the account is not as it was read: the mapping's page should say so before tonight.
        account_schema.wish_if_old(this_try.delivery.connection_id, 60)
    log.warning("not delivered", outcome=outcome, status=failure.status, reason=failure.words)


def _uncertainty(failure: Failure) -> bool | F:
    """A failure that tells nothing new leaves what earlier tries left open."""
    if failure.is_not_there:
        return False
    return True if failure.is_uncertain else F("is_uncertain")


def _lane_of_next_try(uses_a_try: bool) -> Case | F:
    """A live delivery that failed goes on as a retry; a try that counts for nothing changes nothing."""
    if not uses_a_try:
        return F("lane")
    is_live = When(lane=Delivery.Lane.LIVE, then=Value(Delivery.Lane.RETRY.value))
    return Case(is_live, default=F("lane"), output_field=PositiveSmallIntegerField())


def _record_another_way(this_try: Try, failure: Failure, changes: dict[str, object]) -> None:
    """A definite refusal that another request answers: it is sent at once, under the next version of the key."""
    with transaction.atomic():
        meaning = f"{failure.words} {changes.pop('meaning')}"
        _complete_attempt(this_try, Attempt.Outcome.RETRY, meaning, failure.detail, failure.status)
        this_try.delivery.attempts.filter(pk=this_try.attempt.pk).update(request=this_try.delivery.request)
        _still_ours(this_try).update(
            state=Delivery.State.PENDING,
            next_attempt_at=Now(),
            tries=F("tries") + 1,
            key_version=F("key_version") + 1,
            key_used_at=None,
            claim=None,
            claimed_until=None,
            **changes,
        )
    breaker.note_answer(this_try.delivery.connection)


def _outcome_of(failure: Failure, wait: float | None) -> str:
    if failure.pauses:
        return Attempt.Outcome.PAUSED
    if wait is not None:
        return Attempt.Outcome.RETRY
    return Attempt.Outcome.REFUSED if _is_refusal(failure) else Attempt.Outcome.GIVEN_UP


def _is_refusal(failure: Failure) -> bool:
    return failure.permanent and not failure.pauses and not failure.was_done


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
    Attempt.objects.filter(pk=this_try.attempt.pk).update(
        finished_at=Now(),
        outcome=outcome,
        status=status or this_try.answer,
        duration_ms=round((time.monotonic() - this_try.began) * 1000),
        meaning=storable(meaning),
        detail=storable(detail),
        exchanges=this_try.line.exchanges,
    )


def _still_ours(this_try: Try) -> QuerySet[Delivery]:
    """The row as long as nobody took over after our lease ran out."""
    return Delivery.objects.filter(pk=this_try.delivery.pk, claim=this_try.claim)
