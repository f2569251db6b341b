"""Following a batch's job at the account, and recording the result of each of its deliveries."""

import structlog
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from integrations.connections import Session
from integrations.delivery.batch import lease
from integrations.delivery.batch_record import FIRST_POLL_SECONDS, complete_attempts, end_batch, held_by, release
from integrations.delivery.receipts import checked_receipt, unrecorded_failure
from integrations.delivery.store import store_thing, store_unrecorded
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Receipt
from integrations.destinations.capabilities import JobItem, JobNews, TakesMany
from integrations.flow import record_failure
from integrations.infra.database_clock import now, seconds_from_now
from integrations.infra.database_pool import DATABASE_DOWN
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.queue import FOLLOW_BATCH, publish
from integrations.infra.text import storable
from integrations.infra.wakes import wake_workers
from integrations.models import Attempt, Batch, Connection, Delivery

log = structlog.get_logger(__name__)
# A job without results for this long is given up, and its deliveries are looked up.
LONGEST_JOB_SECONDS = 1200.0
LONGEST_POLL_SECONDS = 15.0
POLLING_SECONDS = 60.0
UNREAD_POLL_SECONDS = 5.0
CALL_SECONDS, PERMIT_SECONDS = 20.0, 10.0
# How long a call's job may still start, where the account does not say which jobs are under way.
SETTLES_AFTER_SECONDS = 180.0
SETTLED_AT_LAST_SECONDS = 1200.0
MOST_POLLED = 30
JOB_DIED = "The batch ended without a result for this post, so Casebridge looks it up."


# --- Follow ----------------------------------------------------------------------------------------------------------


def batches_to_follow() -> list[int]:
    """Batches whose job is due to be polled, a few at a time."""
    return list(_due().values_list("pk", flat=True)[:MOST_POLLED])


def _due() -> QuerySet[Batch]:
    open_ids = Connection.objects.filter(Connection.open_now()).values("pk")
    due = Batch.objects.filter(state__in=["sending", "running"], next_poll_at__lte=Now(), connection__in=open_ids)
    return due.exclude(polling_until__gt=Now())


def follow_batch(batch_id: int) -> None:
    """Polls a batch's job and records each result. Safe to call at any time: one process at a time polls."""
    claimed = _due().filter(pk=batch_id).update(polling_until=seconds_from_now(POLLING_SECONDS), polls=F("polls") + 1)
    if not claimed:
        return
    batch = Batch.objects.select_related("connection").get(pk=batch_id)
    try:
        if batch.number:
            _follow_number(batch)
        else:
            _settle(batch, batch.message)
    except NoPermit as later:
        _poll_again(batch, later.seconds)
    except Failure as failure:
        record_failure(batch.connection, failure)
        if _age(batch) >= LONGEST_JOB_SECONDS:
            _give_up(batch, failure.text(" "))
        else:
            _poll_again(batch, max(failure.retry_after or 0.0, 10.0))


def _poll_again(batch: Batch, seconds: float) -> None:
    Batch.objects.filter(pk=batch.pk).update(next_poll_at=seconds_from_now(seconds), polling_until=None)
    if seconds <= LONGEST_POLL_SECONDS:
        publish(FOLLOW_BATCH, batch.pk, countdown=seconds)


def _follow_number(batch: Batch) -> None:
    session, destination = _session(batch.connection), _destination(batch)
    try:
        news = session.ask(lambda credentials: destination.read_job(session.client, batch.number, credentials))
    except Failure as failure:
        if not failure.permanent or failure.pauses:
            raise
        _settle(batch, failure.text(" "))
        return
    if news is None:
        _settle(batch, f"{DESTINATIONS[batch.connection.kind].title} does not know the job.")
    elif not news.has_ended and _age(batch) >= LONGEST_JOB_SECONDS:
        _give_up(batch, "The batch did not finish within twenty minutes.")
    elif not news.has_ended:
        _poll_again(batch, min(FIRST_POLL_SECONDS * 1.5 ** min(batch.polls, 10), LONGEST_POLL_SECONDS))
    else:
        record_results(batch, news)


def record_results(batch: Batch, news: JobNews) -> None:
    """Records a ticket for each item that has one; refused ones go alone, to find out why; the rest is looked up."""
    items = {item.index: item for item in news.items}
    rows = Delivery.objects.select_related("connection").in_bulk(batch.delivery_ids)
    created, refused = 0, []
    for index, row_id in enumerate(batch.delivery_ids):
        item = items.get(index)
        if item is not None and item.number:
            created += _record_ticket(batch, rows[row_id], item)
        elif item is not None:
            refused.append((row_id, item.problem))
    with transaction.atomic():
        for row_id, problem in refused:
            message = f"Not created in the batch: {problem} It is sent on its own."
            release(held_by(batch).filter(pk=row_id), message, Attempt.Outcome.RETRY, was_made=False, alone=True)
        release(held_by(batch), JOB_DIED, Attempt.Outcome.RETRY, was_made=None)
        end_batch(batch, Batch.State.DONE, news.message)
        Batch.objects.filter(pk=batch.pk).update(made=created, failed=len(refused))
    wake_workers(batch.connection_id)
    log.info("batch finished", batch_id=batch.pk, created=created, refused=len(refused))


def _record_ticket(batch: Batch, row: Delivery, item: JobItem) -> int:
    """1 when it is recorded; one that cannot be recorded is left to a person and holds up none of the others."""
    connection, destination = batch.connection, DESTINATIONS[batch.connection.kind]
    receipt: Receipt | None = None
    try:
        address = _destination(batch).url_of(connection.settings, item.number)
        receipt = checked_receipt(Receipt(item.number, address, "created"), destination.title)
        with transaction.atomic():
            message = f"Created {destination.thing} {receipt.number} in a batch."
            complete_attempts([row.pk], Attempt.Outcome.DELIVERED, message)
            store_thing(row, receipt)
    except DATABASE_DOWN:
        raise
    except Failure as not_recordable:
        _leave_to_a_person(batch, row, not_recordable)
        return 0
    except Exception as error:
        log.exception("result of a batch not recorded", delivery_id=row.pk, number=item.number)
        _leave_to_a_person(batch, row, unrecorded_failure(receipt, destination, error))
        return 0
    return 1


def _settle(batch: Batch, why: str) -> None:
    """For a job that cannot be read, or whose number was lost with the reply: it may still be queued, or run.

    Its deliveries are looked up only once no job is under way that may be it. `why` it is not known what became of it.
    """
    age = _age(batch)
    session, destination = _session(batch.connection), _destination(batch)
    # The jobs of other batches are not it.
    others = Batch.objects.filter(connection=batch.connection).exclude(number="").exclude(pk=batch.pk)
    known = set(others.values_list("number", flat=True))
    is_under_way = session.ask(lambda credentials: destination.are_jobs_under_way(session.client, known, credentials))
    # A call whose reply was lost has hardly begun a job, and may be under way itself until its process' lease ends.
    settles_after, begins_within = (SETTLED_AT_LAST_SECONDS, 0) if batch.number else (SETTLES_AFTER_SECONDS, lease())
    is_settled = age >= settles_after if is_under_way is None else not is_under_way
    if (age < begins_within or not is_settled) and age < SETTLED_AT_LAST_SECONDS:
        Batch.objects.filter(pk=batch.pk).update(message=storable(why))
        _poll_again(batch, UNREAD_POLL_SECONDS)
        return
    _give_up(batch, why)


def _destination(batch: Batch) -> TakesMany:
    destination = DESTINATIONS[batch.connection.kind]
    if not isinstance(destination, TakesMany):
        raise TypeError(f"{destination.title} takes no batches")
    return destination


def _session(connection: Connection) -> Session:
    return Session.limited(connection, seconds=CALL_SECONDS, permit_wait=PERMIT_SECONDS)


def _age(batch: Batch) -> float:
    return (now() - batch.started_at).total_seconds()


def _give_up(batch: Batch, why: str) -> None:
    """The job's results are lost: each of its deliveries is looked up before it is sent again."""
    with transaction.atomic():
        things = f"{DESTINATIONS[batch.connection.kind].thing}s"
        message = f"Some {things} may have been created, so each is looked up before it is sent again."
        release(held_by(batch), message, Attempt.Outcome.RETRY, was_made=None)
        end_batch(batch, Batch.State.UNKNOWN, f"{why} {message}".strip())
    wake_workers(batch.connection_id)
    log.warning("batch outcome unknown", batch_id=batch.pk)


def _leave_to_a_person(batch: Batch, row: Delivery, failure: Failure) -> None:
    with transaction.atomic():
        if store_unrecorded(held_by(batch).filter(pk=row.pk), failure):
            complete_attempts([row.pk], Attempt.Outcome.GIVEN_UP, failure.full_message)
