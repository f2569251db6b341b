"""Looking once more before a delivery is given up whose outcome is unknown: what is there is delivered, not failed.

Looked up and nothing there: the failure says so. Not looked up: the failure says that something may exist, and where.
"""

import structlog
from django.conf import settings

from integrations.delivery.claim import PUT_OFF_SECONDS, ClaimedDelivery, release_claim
from integrations.delivery.prepare import other_way
from integrations.delivery.receipts import checked_receipt
from integrations.delivery.record import begin_attempt, record_result
from integrations.delivery.retry import next_step
from integrations.delivery.send import permits_of_a_try
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, Receipt
from integrations.flow import may_send, record_failure, return_permit
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure, NoPermit
from integrations.models import Delivery

log = structlog.get_logger(__name__)

Result = Receipt | Failure | NoPermit


def look_up_before_giving_up(claimed: ClaimedDelivery, result: Result) -> Result:
    """The result itself, unless nothing more would be tried although something may have been made."""
    if not isinstance(result, Failure) or not _is_outcome_unknown(claimed, result):
        return result
    return _look_up(claimed, result) if _is_given_up(claimed, result) else result


def give_up_dead_tries(claimed: ClaimedDelivery) -> None:
    """Ends a delivery that has no try left and no result: its processes died one after the other.

    The same is found where the schedule was made shorter while the delivery waited.
    """
    failure = Failure(
        "No try is left: the last ones ended without a result, or the retry schedule was shortened.",
        remedy="Retry it. If this happens again, report it to whoever runs Casebridge.",
        cause="No try is left",
    )
    # The look-up itself may have been what its process died of: it is made once.
    is_first_time = claimed.delivery.tries == len(settings.DELIVERY_RETRY_DELAYS) + 1
    if not (_is_outcome_unknown(claimed, failure) and is_first_time):
        return_permit(claimed.delivery.connection_id)
        begin_attempt(claimed)
        record_result(claimed, _given_up_unseen(claimed, failure))
    elif may_send(claimed.delivery.connection):
        begin_attempt(claimed)
        record_result(claimed, _look_up(claimed, failure, held=["account"]))
    else:
        return_permit(claimed.delivery.connection_id)
        release_claim(claimed, PUT_OFF_SECONDS)
        return
    log.error("no try left", tries=claimed.delivery.tries)


def _given_up_unseen(claimed: ClaimedDelivery, failure: Failure) -> Failure:
    if not _is_outcome_unknown(claimed, failure):
        return failure
    return _not_looked_up(failure, claimed.delivery, "Casebridge has not looked for it yet.")


def _is_given_up(claimed: ClaimedDelivery, failure: Failure) -> bool:
    """Whether nothing more would be tried by itself."""
    step = next_step(failure, claimed.delivery.tries, settings.DELIVERY_RETRY_DELAYS)
    return step.wait is None and not other_way(claimed.delivery, claimed.destination, failure)


def _is_outcome_unknown(claimed: ClaimedDelivery, failure: Failure) -> bool:
    """Whether it is unknown what the tries made; what was made for certain is not asked about."""
    return (failure.is_uncertain or claimed.delivery.is_uncertain) and not failure.was_done


def _look_up(claimed: ClaimedDelivery, failure: Failure, held: list[str] | None = None) -> Receipt | Failure:
    """Within a lease and a deadline of its own, as the try may have used up the first; at the account's rate."""
    if not claimed.row.update(claimed_until=seconds_from_now(settings.DELIVERY_LEASE_SECONDS)):
        return failure
    client = claimed.session.client
    failure.detail = client.without_secrets(failure.detail)
    claimed.problem, claimed.calls = failure.message, len(client.exchanges)
    claimed.session.restart(permits_of_a_try(claimed, held or []))
    return _what_is_there(claimed, failure)


def _what_is_there(claimed: ClaimedDelivery, failure: Failure) -> Receipt | Failure:
    """What an earlier try made after all, or the failure with what the look-up told."""
    delivery = claimed.delivery
    try:
        found = claimed.session.ask(lambda credentials: _find(claimed, credentials))
    except NoPermit:
        return _not_looked_up(failure, delivery, "Casebridge could not look for it because of the rate limit.")
    except Failure as problem:
        record_failure(delivery.connection, problem)
        return _not_looked_up(failure, delivery, f"Looking for it failed: {problem.message}")
    except Exception as error:
        log.exception("the destination failed to look it up")
        return _not_looked_up(
            failure, delivery, f"Looking for it failed because of an error in Casebridge ({type(error).__name__})."
        )
    return found or _not_there(failure, delivery, claimed.destination.title)


def _find(claimed: ClaimedDelivery, credentials: Credentials) -> Receipt | None:
    delivery, destination, client = claimed.delivery, claimed.destination, claimed.session.client
    if delivery.action == Delivery.Action.APPEND:
        found = destination.find_comment(client, delivery.target_number, delivery.external_id, credentials)
    else:
        found = destination.find(client, delivery.external_id, credentials)
    return None if found is None else checked_receipt(found, destination.title)


def _not_there(failure: Failure, delivery: Delivery, title: str) -> Failure:
    found = f"Casebridge then searched {title} for the external ID and found no ticket."
    if delivery.action == Delivery.Action.APPEND:
        found = f"Casebridge then checked {title}: ticket {delivery.target_number} does not have the comment."
    _add(failure, found)
    failure.is_uncertain, failure.is_not_there = False, True
    return failure


def _not_looked_up(failure: Failure, delivery: Delivery, why: str) -> Failure:
    """The failure with the words that something may exist; `why` nobody could look is a sentence."""
    _add(failure, f"{why} {may_exist_text(delivery)}")
    failure.is_uncertain = True
    return failure


def _add(failure: Failure, sentence: str) -> None:
    """What was found concerns this delivery alone, so the cause that failures share is kept as it was."""
    failure.cause = failure.cause or failure.message
    failure.message = f"{failure.message} {sentence}"
    failure.look_up_next = True


def may_exist_text(delivery: Delivery) -> str:
    """Of a delivery whose outcome is unknown: what there may be, where to look for it, and that a retry does so."""
    title = DESTINATIONS[delivery.connection.kind].title
    search = f"To check, search there for the external ID {delivery.external_id}. Trying again will not create a second"
    if delivery.action == Delivery.Action.APPEND:
        where = f"on ticket {delivery.target_number} in {title}, although none is recorded here"
        return f"A comment may exist {where}. {search} comment: “Retry now” looks for it first."
    return (
        f"A ticket may exist in {title}, although none is recorded here. {search} ticket: “Retry now” looks for it "
        "first."
    )
