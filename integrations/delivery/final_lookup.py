"""A last look-up before giving up on a delivery whose outcome is unknown: what exists is delivered, not failed.

If nothing is found, the failure says so. If the look-up fails, it says that something may exist, and where.
"""

import structlog
from django.conf import settings

from integrations.delivery.claim import PUT_OFF_SECONDS, ClaimedDelivery, release_claim
from integrations.delivery.prepare import other_way
from integrations.delivery.receipts import checked_receipt
from integrations.delivery.record import begin_attempt, record_result
from integrations.delivery.retry import next_step, retry_delays
from integrations.delivery.send import permits_for_try
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials, Receipt
from integrations.destinations.capabilities import ACCOUNT, FindsByExternalId, FindsComments, no_second
from integrations.flow import may_send, record_failure, return_permit
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import article, defect_text
from integrations.models import Delivery

log = structlog.get_logger(__name__)

Result = Receipt | Failure | NoPermit


def look_up_before_giving_up(claimed: ClaimedDelivery, result: Result) -> Result:
    """The result itself, unless there would be no more tries although something may have been created."""
    if not isinstance(result, Failure) or not _is_outcome_unknown(claimed, result):
        return result
    return _look_up(claimed, result) if _is_given_up(claimed, result) else result


def give_up_dead_tries(claimed: ClaimedDelivery) -> None:
    """Ends a delivery that has no try left and no result: its processes died one after the other.

    The same is found where the schedule was made shorter while the delivery waited.
    """
    failure = Failure(
        "No attempt is left: the last ones ended without a result, or the retry schedule was shortened.",
        remedy="Retry it. If this happens again, report it to whoever runs Casebridge.",
        cause="No attempt is left",
    )
    # The look-up itself may have been what its process died of, so it is made once.
    is_first_time = claimed.delivery.tries == len(retry_delays(claimed.delivery.connection)) + 1
    if not (_is_outcome_unknown(claimed, failure) and is_first_time):
        return_permit(claimed.delivery.connection_id)
        begin_attempt(claimed)
        record_result(claimed, _given_up_unseen(claimed, failure))
    elif may_send(claimed.delivery.connection):
        begin_attempt(claimed)
        record_result(claimed, _look_up(claimed, failure, held=[ACCOUNT]))
    else:
        return_permit(claimed.delivery.connection_id)
        release_claim(claimed, PUT_OFF_SECONDS)
        return
    log.error("delivery given up", tries=claimed.delivery.tries)


def _given_up_unseen(claimed: ClaimedDelivery, failure: Failure) -> Failure:
    if not _is_outcome_unknown(claimed, failure):
        return failure
    if not _can_look(claimed):
        return _not_looked_up(failure, claimed.delivery, _cannot_look(claimed))
    return _not_looked_up(failure, claimed.delivery, "Casebridge has not looked for it yet.")


def _cannot_look(claimed: ClaimedDelivery) -> str:
    return f"Casebridge cannot look it up in {claimed.destination.title}."


def _is_given_up(claimed: ClaimedDelivery, failure: Failure) -> bool:
    """Whether there would be no further automatic try."""
    delays = retry_delays(claimed.delivery.connection)
    step = next_step(failure, claimed.delivery.tries, delays, is_repeated=claimed.is_repeated(failure))
    return step.wait is None and not other_way(claimed.delivery, claimed.request, claimed.destination, failure)


def _is_outcome_unknown(claimed: ClaimedDelivery, failure: Failure) -> bool:
    """Whether the tries may have created something; what was certainly created is not looked up."""
    if claimed.delivery.action == Delivery.Action.UPDATE:
        # Made or not, it creates nothing.
        return False
    return (failure.is_uncertain or claimed.delivery.is_uncertain) and not failure.was_done


def _look_up(claimed: ClaimedDelivery, failure: Failure, held: list[str] | None = None) -> Receipt | Failure:
    """With a new lease and a new deadline, as the try may have used up the first ones; within the rate limit."""
    if not _can_look(claimed):
        return _not_looked_up(failure, claimed.delivery, _cannot_look(claimed))
    if not claimed.row.update(claimed_until=seconds_from_now(settings.DELIVERY_LEASE_SECONDS)):
        return failure
    client = claimed.session.client
    failure.detail = client.without_secrets(failure.detail)
    claimed.problem, claimed.calls = failure.message, len(client.exchanges)
    claimed.session.restart(permits_for_try(claimed, held or []))
    return _what_is_there(claimed, failure)


def _can_look(claimed: ClaimedDelivery) -> bool:
    is_comment = claimed.delivery.action == Delivery.Action.APPEND
    return isinstance(claimed.destination, FindsComments if is_comment else FindsByExternalId)


def _what_is_there(claimed: ClaimedDelivery, failure: Failure) -> Receipt | Failure:
    """What an earlier try created after all, or the failure with the result of the look-up."""
    delivery = claimed.delivery
    try:
        found = claimed.session.ask(lambda credentials: _find(claimed, credentials))
    except NoPermit:
        return _not_looked_up(failure, delivery, "Casebridge could not look for it because of the rate limit.")
    except Failure as problem:
        record_failure(delivery.connection, problem)
        return _not_looked_up(failure, delivery, f"Looking for it failed: {problem.message}")
    except Exception as error:
        log.exception("look-up failed")
        return _not_looked_up(failure, delivery, defect_text("Looking for it", error))
    return found or _not_there(failure, delivery, claimed.destination)


def _find(claimed: ClaimedDelivery, credentials: Credentials) -> Receipt | None:
    delivery, destination, client = claimed.delivery, claimed.destination, claimed.session.client
    found = None
    if delivery.action == Delivery.Action.APPEND and isinstance(destination, FindsComments):
        found = destination.find_comment(client, delivery.target_number, delivery.external_id, credentials)
    elif isinstance(destination, FindsByExternalId):
        found = destination.find(client, delivery.external_id, credentials)
    return None if found is None else checked_receipt(found, destination.title)


def _not_there(failure: Failure, delivery: Delivery, destination: Destination) -> Failure:
    title, thing = destination.title, destination.thing
    sentence = f"Casebridge then searched {title} for the external ID and found no {thing}."
    if delivery.action == Delivery.Action.APPEND:
        sentence = f"Casebridge then checked {title}: {thing} {delivery.target_number} does not have the comment."
    _add(failure, sentence)
    failure.is_uncertain, failure.is_not_there = False, True
    return failure


def _not_looked_up(failure: Failure, delivery: Delivery, why: str) -> Failure:
    """The failure, saying that something may exist; `why` it was not looked up is a sentence."""
    _add(failure, f"{why} {may_exist_text(delivery)}")
    failure.is_uncertain = True
    return failure


def _add(failure: Failure, sentence: str) -> None:
    """Adds to the message only: the sentence is about this delivery, and the cause is what failures share."""
    failure.cause = failure.cause or failure.message
    failure.message = f"{failure.message} {sentence}"
    failure.look_up_next = True


def may_exist_text(delivery: Delivery) -> str:
    """For a delivery whose outcome is unknown: what may exist, where to look, and that a retry looks there first."""
    destination = DESTINATIONS[delivery.connection.kind]
    title, thing = destination.title, destination.thing
    search = f"To check, search there for the external ID {delivery.external_id}. Trying again will not create a second"
    if delivery.action == Delivery.Action.APPEND and isinstance(destination, FindsComments):
        where = f"on {thing} {delivery.target_number} in {title}, although none is recorded here"
        return f"A comment may exist {where}. {search} comment: “Retry now” looks for it first."
    exists = f"{article(thing).capitalize()} {thing} may exist in {title}, although none is recorded here."
    if not isinstance(destination, FindsByExternalId):
        harmless = no_second(destination) or f"Look there before you press “Retry now”: {title} may take it twice."
        return f"{exists} {harmless}"
    return f"{exists} {search} {thing}: “Retry now” looks for it first."
