"""Recording how the call of a batch ended, and releasing its deliveries."""

from typing import Any

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from integrations.flow import record_failure
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure
from integrations.infra.queue import FOLLOW_BATCH, publish
from integrations.infra.text import storable
from integrations.infra.wakes import wake_workers
from integrations.models import Attempt, Batch, Connection, Delivery
from integrations.models.deliveries import DeliveryQuerySet

log = structlog.get_logger(__name__)

State = Delivery.State
FIRST_POLL_SECONDS = 1.0


def record_accepted(batch: Batch, number: str) -> None:
    """The job runs: from now on its number leads to the result of each delivery."""
    accepted = Batch.objects.filter(pk=batch.pk, state=Batch.State.SENDING).update(
        state=Batch.State.RUNNING, number=number, next_poll_at=seconds_from_now(FIRST_POLL_SECONDS)
    )
    if not accepted:
        Batch.objects.filter(pk=batch.pk).update(number=number)
        log.error("batch accepted after it was given up", batch_id=batch.pk, number=number)
    publish(FOLLOW_BATCH, batch.pk, countdown=FIRST_POLL_SECONDS)
    log.info("batch accepted", batch_id=batch.pk, number=number)


def record_not_accepted(batch: Batch, connection: Connection, failure: Failure) -> None:
    """Refused: nothing was queued, the deliveries go one by one. Unknown: the batch's follow-up handles them."""
    record_failure(connection, failure)
    message = storable(failure.text(" "))
    if failure.is_uncertain:
        Batch.objects.filter(pk=batch.pk).update(message=message, next_poll_at=seconds_from_now(FIRST_POLL_SECONDS))
        publish(FOLLOW_BATCH, batch.pk, countdown=FIRST_POLL_SECONDS)
        return
    wait = failure.retry_after or 0.0 if not failure.permanent else 60.0
    with transaction.atomic():
        if failure.is_queue_full or failure.permanent:
            Connection.objects.filter(pk=connection.pk).update(batch_wait_until=seconds_from_now(max(wait, 60.0)))
        end_batch(batch, Batch.State.REFUSED, message)
        release(held_by(batch), message, Attempt.Outcome.WAITED, was_made=False)
    wake_workers(connection.pk)


def held_by(batch: Batch) -> DeliveryQuerySet:
    """The batch's deliveries that have no result yet."""
    return Delivery.objects.filter(batch=batch, state=State.SENDING, claim=batch.claim)


def release(rows: DeliveryQuerySet, message: str, outcome: str, *, was_made: bool | None, alone: bool = False) -> None:
    """Makes them pending again at once. `was_made`: False if certainly no ticket was created, None if unknown."""
    ids = list(rows.values_list("pk", flat=True))
    complete_attempts(ids, outcome, message)
    changes: dict[str, Any] = {"is_uncertain": False, "look_up_next": False} if was_made is False else {}
    if alone:
        # A retry goes alone: in another batch it would be refused again and again.
        changes["priority"] = Delivery.Priority.RETRY
    rows.filter(pk__in=ids).schedule(key_used_at=None, **changes)


def complete_attempts(delivery_ids: list[int], outcome: str, message: str) -> None:
    begun = Attempt.objects.filter(
        delivery__in=delivery_ids, finished_at__isnull=True, number=F("delivery__attempt_count")
    )
    begun.update(finished_at=Now(), outcome=outcome, meaning=storable(message))


def end_batch(batch: Batch, state: str, message: str) -> None:
    Batch.objects.filter(pk=batch.pk).update(
        state=state, message=storable(message), finished_at=Now(), next_poll_at=None, polling_until=None
    )
