"""Recording how a try ended, and when the next one is due."""

import time
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Case, F, PositiveSmallIntegerField, Value, When
from django.db.models.functions import Now

from integrations.connections import request_lists
from integrations.delivery.cases import wake_next
from integrations.delivery.claim import ClaimedDelivery
from integrations.delivery.prepare import other_way
from integrations.delivery.receipts import unrecorded_failure
from integrations.delivery.requesters import forget_requester
from integrations.delivery.retry import NextStep, next_step, retry_delays
from integrations.delivery.store import LONGEST_CAUSE, add_remark, store_thing, store_unrecorded
from integrations.destinations.base import Receipt
from integrations.destinations.capabilities import no_second
from integrations.flow import record_failure
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import DATABASE_DOWN, store_with_retries
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import storable
from integrations.infra.wakes import LONGEST_WAKE_SECONDS
from integrations.models import Attempt, Connection, Delivery, DeliveryContent

log = structlog.get_logger(__name__)

HOW = {
    "created": "Created {}.",
    "already_there": "An earlier attempt had already created it ({}). No second one was created.",
    "found": "Found {} by its external ID: an earlier call had created it.",
    "appended": "Added to {}.",
    "updated": "Updated {}.",
}


def begin_attempt(claimed: ClaimedDelivery) -> None:
    """Records the attempt before the call: if the process dies now, the row says so."""
    claimed.attempt = Attempt.objects.create(
        delivery=claimed.delivery,
        number=claimed.delivery.attempt_count,
        key_version=claimed.delivery.key_version,
    )


def record_result(claimed: ClaimedDelivery, result: Receipt | Failure | NoPermit) -> None:
    """Records the result of the call. If that fails, a person is needed: it is never sent again because of that."""
    try:
        store_with_retries(lambda: _record(claimed, result))
    except DATABASE_DOWN:
        # The lease expires, and whoever takes over looks up first.
        raise
    except Exception as error:
        log.exception("result not recorded")
        failure = unrecorded_failure(result, claimed.destination, error)
        store_with_retries(lambda: _leave_to_a_person(claimed, failure))


def _record(claimed: ClaimedDelivery, result: Receipt | Failure | NoPermit) -> None:
    if isinstance(result, Receipt):
        _record_receipt(claimed, result)
    elif isinstance(result, NoPermit):
        _record_no_permit(claimed, result)
    else:
        _record_failure(claimed, result)


def _leave_to_a_person(claimed: ClaimedDelivery, failure: Failure) -> None:
    """With our own words only: anything from outside may be what could not be stored."""
    with transaction.atomic():
        if store_unrecorded(claimed.row, failure):
            Attempt.objects.filter(pk=claimed.attempt.pk).update(
                finished_at=Now(), outcome=Attempt.Outcome.GIVEN_UP, meaning=failure.full_message
            )


def _complete_attempt(
    claimed: ClaimedDelivery, outcome: str, meaning: str, detail: str = "", status: int | None = None
) -> None:
    Attempt.objects.filter(pk=claimed.attempt.pk).update(
        finished_at=Now(),
        outcome=outcome,
        status=status or claimed.status,
        duration_ms=round((time.monotonic() - claimed.began) * 1000),
        meaning=storable(meaning),
        detail=storable(detail),
        exchanges=claimed.session.client.exchanges,
    )


# --- Delivered -------------------------------------------------------------------------------------------------------


def _record_receipt(claimed: ClaimedDelivery, receipt: Receipt) -> None:
    """Delivered, whoever holds the claim by now: the ticket exists."""
    delivery = claimed.delivery
    warning, twice = claimed.session.client.without_secrets(receipt.warning), _may_stand_twice(claimed)
    named = f"{claimed.thing} {claimed.destination.shown_number(receipt.number)}".strip()
    meaning = f"{claimed.problem} {HOW[receipt.how].format(named)}".strip()
    with transaction.atomic():
        _complete_attempt(claimed, Attempt.Outcome.DELIVERED, meaning, f"{warning} {twice}".strip())
        store_thing(delivery, receipt, warning)
        if twice:
            add_remark(delivery.pk, twice)
    wake_next(delivery)
    if delivery.connection.consecutive_limits:
        Connection.objects.filter(pk=delivery.connection_id).update(consecutive_limits=0)
    log.info("delivered", number=receipt.number, how=receipt.how)


def _may_stand_twice(claimed: ClaimedDelivery) -> str:
    """An earlier try may have made it as well, and nobody there drops what comes twice."""
    if claimed.repeats_freely or not claimed.delivery.is_uncertain:
        return ""
    return f"The {claimed.thing} may have been sent twice: the outcome of an earlier attempt is unknown."


# --- Not delivered ---------------------------------------------------------------------------------------------------


def _record_failure(claimed: ClaimedDelivery, failure: Failure) -> None:
    """Records the failure, and what it means for the delivery and for its connection."""
    client, connection = claimed.session.client, claimed.delivery.connection
    failure.message, failure.detail = storable(failure.message), client.without_secrets(failure.detail)
    if changes := other_way(claimed.delivery, claimed.request, claimed.destination, failure):
        _record_another_way(claimed, failure, changes)
        if failure.is_about_requester:
            forget_requester(claimed.delivery)
        return
    step = next_step(
        failure,
        claimed.delivery.tries,
        retry_delays(claimed.delivery.connection),
        no_second(claimed.destination),
        is_repeated=claimed.is_repeated(failure),
    )
    outcome = _outcome_of(failure, step.wait)
    with transaction.atomic():
        message = f"{failure.full_message} {step.message}"
        _complete_attempt(claimed, outcome, message, failure.detail, failure.status)
        _store_failure(claimed, failure, step)
    record_failure(connection, failure)
    if failure.permanent and failure.remedy_at == "mapping":
        # The account no longer matches its lists: the mapping's page should say so before tonight's reading.
        request_lists(connection.pk, older_than=60)
    log.warning("try failed", outcome=outcome, status=failure.status, reason=failure.message)


def _store_failure(claimed: ClaimedDelivery, failure: Failure, step: NextStep) -> None:
    columns: dict[str, Any] = {
        "priority": _priority_of_next_try(step.uses_a_try),
        "tries": F("tries") + int(step.uses_a_try),
        "last_error": failure.text(),
        "cause": storable(failure.cause or failure.message)[:LONGEST_CAUSE],
        "remedy": failure.remedy,
        "remedy_at": failure.remedy_at,
        "was_refused": _is_refusal(failure),
        "is_uncertain": _uncertainty(failure),
        "unknown_outcomes": 0 if failure.is_not_there else F("unknown_outcomes") + int(failure.is_uncertain),
        "look_up_next": True if failure.look_up_next else F("look_up_next"),
    }
    if step.wait is None:
        claimed.row.fail(**columns)
    else:
        claimed.row.schedule(seconds_from_now(step.wait), **columns)


def _record_another_way(claimed: ClaimedDelivery, failure: Failure, changes: dict[str, Any]) -> None:
    """A definite refusal that another request avoids: that is sent at once, under the next version of the key."""
    with transaction.atomic():
        meaning = f"{failure.message} {changes.pop('meaning')}"
        _complete_attempt(claimed, Attempt.Outcome.RETRY, meaning, failure.detail, failure.status)
        Attempt.objects.filter(pk=claimed.attempt.pk).update(request=claimed.request)
        request, remarks = changes.pop("request"), changes.pop("remarks", "")
        if claimed.row.schedule(tries=F("tries") + 1, key_version=F("key_version") + 1, key_used_at=None, **changes):
            DeliveryContent.store_request(claimed.delivery.pk, request, remarks)


def _record_no_permit(claimed: ClaimedDelivery, later: NoPermit) -> None:
    """The look-up was made, but the create's permit is too far off: uses up no try; the look-up is repeated first."""
    with transaction.atomic():
        message = f"Waiting for the rate limit. Next request in {later.seconds:.0f} s."
        _complete_attempt(claimed, Attempt.Outcome.WAITED, message)
        claimed.row.schedule(seconds_from_now(min(later.seconds, LONGEST_WAKE_SECONDS)))


def _uncertainty(failure: Failure) -> bool | F:
    """A failure that settles nothing keeps what earlier tries left open."""
    if failure.is_not_there:
        return False
    return True if failure.is_uncertain else F("is_uncertain")


def _priority_of_next_try(uses_a_try: bool) -> Case | F:
    """A live delivery that failed becomes a retry; a try that does not count changes nothing."""
    if not uses_a_try:
        return F("priority")
    is_live = When(priority=Delivery.Priority.LIVE, then=Value(Delivery.Priority.RETRY.value))
    return Case(is_live, default=F("priority"), output_field=PositiveSmallIntegerField())


def _outcome_of(failure: Failure, wait: float | None) -> str:
    if failure.pauses:
        return Attempt.Outcome.PAUSED
    if wait is not None:
        return Attempt.Outcome.RETRY
    return Attempt.Outcome.REFUSED if _is_refusal(failure) else Attempt.Outcome.GIVEN_UP


def _is_refusal(failure: Failure) -> bool:
    return failure.permanent and not failure.pauses and not failure.was_done
