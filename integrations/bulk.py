"""A surge: up to 100 tickets with one call, and the job at the account followed to each single result.

The call has no idempotency key. So its deliveries are marked "look up first" in the same statement that claims them,
before anything is sent, and the mark goes only with a result: a ticket's number, or the word that it was not made. A
job that nobody knows the number of (the process died in the call, or its answer was lost) is waited for until the
account has no job under way any more; then each of its deliveries is looked up by external id before it is sent anew.
"""

from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from integrations import breaker, receipts, recording
from integrations.database_pool import release_database
from integrations.database_time import now, seconds_from_now
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, JobItem, JobNews, Receipt
from integrations.http import Failure, NotItsTurn
from integrations.lines import LONGEST_TURN_SECONDS, Turns, ask, line_to
from integrations.models import Attempt, BulkJob, Connection, Delivery
from integrations.post import storable
from integrations.queueing import FOLLOW_JOB, call_workers, publish

log = structlog.get_logger(__name__)

State = Delivery.State
MOST_IN_ONE_CALL = 100
# Fewer are sent one by one: a job answers late.
FEWEST_IN_ONE_CALL = 10
# After a choice in vain.
VAIN_TRY_SECONDS = 5.0
# A call begun later after its claim than this share of the lease is not made: others may have taken over by its end.
SHARE_BEFORE_THE_CALL = 0.3
# A job that tells nothing for so long is given up, and its deliveries are looked up.
JOB_TOLD_WITHIN_SECONDS = 1200.0
# The account runs 30 at a time for all its integrations together.
MOST_JOBS = 15
FIRST_POLL_SECONDS = 1.0
LONGEST_POLL_SECONDS = 15.0
POLLING_SECONDS = 60.0
# How long a call's job may still begin, where the account does not tell which jobs are under way.
SETTLES_AFTER_SECONDS = 180.0
SETTLED_AT_LAST_SECONDS = 1200.0
JOB_DIED = "The job at Zendesk ended without telling what became of this one: it is looked up."


def deliver_many(connection: Connection) -> bool:
    """During a surge: hands up to 100 deliveries over at once. False where they are to go one by one."""
    if connection.surge_since is None or connection.breaker_opened_at is not None:
        return False
    job = claim_many(connection)
    if job is None:
        return False
    rows = {row.pk: row for row in Delivery.objects.filter(pk__in=job.delivery_ids)}
    deliveries = [rows[row_id] for row_id in job.delivery_ids]
    _begin_attempts(job, deliveries)
    result = _send(connection, job, [row.request for row in deliveries])
    if isinstance(result, str):
        record_accepted(job, result)
    else:
        record_not_accepted(job, connection, result)
    return True


# --- Claim -----------------------------------------------------------------------------------------------------------

# Live ones whose request is final and of which no earlier try may have made a ticket. Marked for a look-up before
# anything is sent: only a result takes the mark away. Chosen apart (materialized): as a subquery the choice might be
# made more than once, and more be taken than the limit says.
CLAIM_MANY = """
WITH chosen AS MATERIALIZED (
  SELECT id FROM integrations_delivery WHERE connection_id = %(connection)s AND state = 'pending' AND lane = 0
    AND next_attempt_at <= now() AND is_prepared AND action = 'create' AND case_key = ''
    AND NOT look_up_next AND NOT is_uncertain AND tries = 0
  ORDER BY next_attempt_at, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE integrations_delivery AS delivery SET
  state = 'sending',
  job_id = %(job)s,
  claim = %(claim)s,
  claimed_until = now() + %(lease)s * interval '1 second',
  attempt_count = attempt_count + 1,
  is_uncertain = true,
  look_up_next = true,
  key_used_at = coalesce(key_used_at, now())
FROM chosen WHERE delivery.id = chosen.id AND delivery.state = 'pending'
RETURNING delivery.id, delivery.next_attempt_at
"""


def claim_many(connection: Connection) -> BulkJob | None:
    """One job row and its deliveries; None where there are too few, or no room for a job."""
    with transaction.atomic():
        held = Connection.objects.select_for_update(of=("self",), no_key=True).get(pk=connection.pk)
        if not _has_room(held):
            return None
        job = BulkJob.objects.create(connection=connection, next_poll_at=seconds_from_now(_lease()))
        job.delivery_ids = _choose(job)
        is_enough = len(job.delivery_ids) >= FEWEST_IN_ONE_CALL
        job.save(update_fields=["delivery_ids"])
        transaction.set_rollback(not is_enough)
    if not is_enough:
        # What waits is not for a call of many: not asked again before each single delivery.
        Connection.objects.filter(pk=connection.pk).update(bulk_wait_until=seconds_from_now(VAIN_TRY_SECONDS))
        return None
    log.info("many claimed at once", job_id=job.pk, count=len(job.delivery_ids))
    return job


def _choose(job: BulkJob) -> list[int]:
    """Claims up to a hundred for the job; their ids in the order they waited in."""
    values = {
        "job": job.pk,
        "claim": job.claim,
        "lease": _lease(),
        "connection": job.connection_id,
        "most": MOST_IN_ONE_CALL,
    }
    claimed = list(Delivery.objects.raw(CLAIM_MANY, values))
    return [row.pk for row in sorted(claimed, key=lambda row: (row.next_attempt_at, row.pk))]


def _has_room(connection: Connection) -> bool:
    open_now = Connection.objects.filter(Connection.open_now(), pk=connection.pk, surge_since__isnull=False)
    if not open_now.exclude(bulk_wait_until__gt=Now()).exists() or connection.look_up_before_create:
        return False
    return BulkJob.objects.filter(connection=connection, state__in=["sending", "running"]).count() < MOST_JOBS


def _lease() -> int:
    return int(settings.DELIVERY_LEASE_SECONDS)


# --- Send ------------------------------------------------------------------------------------------------------------


def _begin_attempts(job: BulkJob, deliveries: list[Delivery]) -> None:
    """Written down before the call: if the process dies now, each delivery says so."""
    Attempt.objects.bulk_create(
        Attempt(
            delivery=row,
            number=row.attempt_count,
            key_version=row.key_version,
            detail=f"Sent together with {len(deliveries) - 1} others (bulk job {job.pk}).",
        )
        for row in deliveries
    )


def _may_still_be_sent(job: BulkJob) -> bool:
    """The last thing before the call: whoever stalled for long must not make what others make by then."""
    latest = seconds_from_now(-_lease() * SHARE_BEFORE_THE_CALL)
    return BulkJob.objects.filter(pk=job.pk, state=BulkJob.State.SENDING, started_at__gte=latest).exists()


def _send(connection: Connection, job: BulkJob, requests: list[str]) -> str | Failure:
    """The job's number. The account's turn was taken before the claim."""
    destination = DESTINATIONS[connection.kind]
    turns = Turns(connection.pk, LONGEST_TURN_SECONDS, taken=["account"])
    line = line_to(connection, turns=turns)

    def send_unless_late(signed_in: Credentials) -> str:
        if not _may_still_be_sent(job):
            raise Failure("It was too late for this call: others may be looking after its deliveries.")
        release_database()
        return destination.send_many(line, requests, signed_in)

    try:
        return ask(connection, destination, line, send_unless_late)
    except NotItsTurn as later:
        return Failure("The request limit leaves no room yet.", retry_after=later.seconds)
    except Failure as failure:
        failure.detail = line.without_secrets(failure.detail)
        return failure
    except Exception as error:
        log.exception("the destination failed")
        return Failure(f"Casebridge failed to send it ({type(error).__name__}).", is_uncertain=True)


# --- Record ----------------------------------------------------------------------------------------------------------


def record_accepted(job: BulkJob, number: str) -> None:
    """The job runs: from now on its number tells what becomes of each delivery."""
    accepted = BulkJob.objects.filter(pk=job.pk, state=BulkJob.State.SENDING).update(
        state=BulkJob.State.RUNNING, number=number, next_poll_at=seconds_from_now(FIRST_POLL_SECONDS)
    )
    if not accepted:
        BulkJob.objects.filter(pk=job.pk).update(number=number)
        log.error("a job was accepted after it was given up", job_id=job.pk, number=number)
    publish(FOLLOW_JOB, job.pk, countdown=FIRST_POLL_SECONDS)
    log.info("job accepted", job_id=job.pk, number=number)


def record_not_accepted(job: BulkJob, connection: Connection, failure: Failure) -> None:
    """Refused: nothing was queued, the deliveries go on singly. Unknown: the job's follow-up looks after them."""
    breaker.note_failure(connection, failure)
    if failure.pauses:
        recording.pause_connection(connection, failure)
    words = storable(f"{failure.told} {failure.detail}".strip())
    if failure.is_uncertain:
        BulkJob.objects.filter(pk=job.pk).update(words=words, next_poll_at=seconds_from_now(FIRST_POLL_SECONDS))
        publish(FOLLOW_JOB, job.pk, countdown=FIRST_POLL_SECONDS)
        return
    wait = failure.retry_after or 0.0 if not failure.permanent else 60.0
    with transaction.atomic():
        if failure.is_queue_full or failure.permanent:
            Connection.objects.filter(pk=connection.pk).update(bulk_wait_until=seconds_from_now(max(wait, 60.0)))
        _end(job, BulkJob.State.REFUSED, words)
        _give_back(_held_by(job), words, Attempt.Outcome.WAITED, was_made=False)
    call_workers(connection.pk)


def _held_by(job: BulkJob) -> QuerySet[Delivery]:
    """The job's deliveries that still wait for its word."""
    return Delivery.objects.filter(job=job, state=State.SENDING, claim=job.claim)


def _give_back(
    rows: QuerySet[Delivery], words: str, outcome: str, *, was_made: bool | None, alone: bool = False
) -> None:
    """Pending again at once. `was_made`: False where it is sure that no ticket was made; None where it is not."""
    ids = list(rows.values_list("pk", flat=True))
    _complete_attempts(ids, outcome, words)
    changes: dict[str, Any] = {"is_uncertain": False, "look_up_next": False} if was_made is False else {}
    if alone:
        # A retry goes alone: what is refused among others would go round and round with them.
        changes["lane"] = Delivery.Lane.RETRY
    rows.filter(pk__in=ids).update(
        state=State.PENDING, next_attempt_at=Now(), claim=None, claimed_until=None, key_used_at=None, **changes
    )


def _complete_attempts(delivery_ids: list[int], outcome: str, words: str) -> None:
    begun = Attempt.objects.filter(
        delivery__in=delivery_ids, finished_at__isnull=True, number=F("delivery__attempt_count")
    )
    begun.update(finished_at=Now(), outcome=outcome, meaning=storable(words))


def _end(job: BulkJob, state: str, words: str) -> None:
    BulkJob.objects.filter(pk=job.pk).update(
        state=state, words=storable(words), finished_at=Now(), next_poll_at=None, polling_until=None
    )


# --- Follow ----------------------------------------------------------------------------------------------------------


def under_way() -> QuerySet[BulkJob]:
    """Jobs to be asked about now."""
    open_ids = Connection.objects.filter(Connection.open_now()).values("pk")
    due = BulkJob.objects.filter(state__in=["sending", "running"], next_poll_at__lte=Now(), connection__in=open_ids)
    return due.exclude(polling_until__gt=Now())


def follow(job_id: int) -> None:
    """Asks how far a job is and records each result. Safe to call at any time: one process at a time asks."""
    claimed = (
        under_way().filter(pk=job_id).update(polling_until=seconds_from_now(POLLING_SECONDS), polls=F("polls") + 1)
    )
    if not claimed:
        return
    job = BulkJob.objects.select_related("connection").get(pk=job_id)
    try:
        if job.number:
            _follow_number(job)
        else:
            _settle(job)
    except NotItsTurn as later:
        _ask_again(job, later.seconds)
    except Failure as failure:
        breaker.note_failure(job.connection, failure)
        if failure.pauses:
            recording.pause_connection(job.connection, failure)
        if (failure.permanent and not failure.pauses) or _age(job) >= JOB_TOLD_WITHIN_SECONDS:
            _give_up(job, f"{failure.told} {failure.detail}".strip())
        else:
            _ask_again(job, max(failure.retry_after or 0.0, 10.0))


def _ask_again(job: BulkJob, seconds: float) -> None:
    BulkJob.objects.filter(pk=job.pk).update(next_poll_at=seconds_from_now(seconds), polling_until=None)
    if seconds <= LONGEST_POLL_SECONDS:
        publish(FOLLOW_JOB, job.pk, countdown=seconds)


def _follow_number(job: BulkJob) -> None:
    connection, destination = job.connection, DESTINATIONS[job.connection.kind]
    line = line_to(connection, 20.0, Turns(connection.pk, 10.0))
    news = ask(connection, destination, line, lambda signed_in: destination.read_job(line, job.number, signed_in))
    if not news.has_ended and _age(job) >= JOB_TOLD_WITHIN_SECONDS:
        _give_up(job, "The job did not end within twenty minutes.")
    elif not news.has_ended:
        _ask_again(job, min(FIRST_POLL_SECONDS * 1.5 ** min(job.polls, 10), LONGEST_POLL_SECONDS))
    else:
        record_results(job, news)


def record_results(job: BulkJob, news: JobNews) -> None:
    """A ticket for each item that has one; what was refused goes alone, to learn why; the rest is looked up."""
    items = {item.index: item for item in news.items}
    rows = {row.pk: row for row in Delivery.objects.filter(pk__in=job.delivery_ids)}
    made, refused = 0, []
    for index, row_id in enumerate(job.delivery_ids):
        item = items.get(index)
        if item is not None and item.number:
            made += _record_ticket(job, rows[row_id], item)
        elif item is not None:
            refused.append((row_id, item.problem))
    with transaction.atomic():
        for row_id, problem in refused:
            words = f"Not made together with others: {problem} It is sent alone."
            _give_back(_held_by(job).filter(pk=row_id), words, Attempt.Outcome.RETRY, was_made=False, alone=True)
        _give_back(_held_by(job), JOB_DIED, Attempt.Outcome.RETRY, was_made=None)
        _end(job, BulkJob.State.DONE, news.words)
        BulkJob.objects.filter(pk=job.pk).update(made=made, failed=len(refused))
    call_workers(job.connection_id)
    log.info("job ended", job_id=job.pk, made=made, refused=len(refused))


def _record_ticket(job: BulkJob, row: Delivery, item: JobItem) -> int:
    """1 when it is recorded; what cannot be recorded asks a person, and holds up none of the others."""
    connection, destination = job.connection, DESTINATIONS[job.connection.kind]
    receipt: Receipt | None = None
    try:
        address = destination.ticket_url(connection.settings, item.number)
        receipt = receipts.kept(Receipt(item.number, address, "created"), destination.title)
        with transaction.atomic():
            words = f"Created ticket {receipt.number}, together with others."
            _complete_attempts([row.pk], Attempt.Outcome.DELIVERED, words)
            recording.set_delivered(row, receipt)
    except recording.DATABASE_AWAY:
        raise
    except Failure as not_kept:
        _ask_a_person(job, row, not_kept)
        return 0
    except Exception as error:
        log.exception("a ticket of a job could not be recorded", delivery_id=row.pk, ticket=item.number)
        _ask_a_person(job, row, receipts.not_written_down(receipt, destination.title, error))
        return 0
    return 1


def _ask_a_person(job: BulkJob, row: Delivery, failure: Failure) -> None:
    with transaction.atomic():
        if recording.set_unrecorded(_held_by(job).filter(pk=row.pk), failure):
            _complete_attempts([row.pk], Attempt.Outcome.GIVEN_UP, failure.told)


def _settle(job: BulkJob) -> None:
    """A call whose answer nobody has: its job may be queued still. Looked up only when no job is under way any more."""
    age = _age(job)
    connection, destination = job.connection, DESTINATIONS[job.connection.kind]
    line = line_to(connection, 20.0, Turns(connection.pk, 10.0))
    # Those we know the numbers of are not the one that was lost.
    known = set(BulkJob.objects.filter(connection=connection).exclude(number="").values_list("number", flat=True))
    jobs_run = ask(
        connection, destination, line, lambda signed_in: destination.are_jobs_under_way(line, known, signed_in)
    )
    settled = age >= SETTLES_AFTER_SECONDS if jobs_run is None else not jobs_run
    # The call itself may be on its way as long as the lease of whoever made it runs.
    if (age < _lease() or not settled) and age < SETTLED_AT_LAST_SECONDS:
        _ask_again(job, 5.0)
        return
    _give_up(job, job.words)


def _age(job: BulkJob) -> float:
    return (now() - job.started_at).total_seconds()


def _give_up(job: BulkJob, why: str) -> None:
    """What became of it cannot be learnt from the job: each of its deliveries is looked up before it is sent again."""
    with transaction.atomic():
        words = "Whether the tickets were made is not known: each is looked up before it is sent again."
        _give_back(_held_by(job), words, Attempt.Outcome.RETRY, was_made=None)
        _end(job, BulkJob.State.UNKNOWN, f"{why} {words}".strip())
    call_workers(job.connection_id)
    log.warning("job's outcome unknown", job_id=job.pk)
