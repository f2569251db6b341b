"""One more look before a delivery is given up whose outcome is unknown: what is there is delivered, and not failed.

Looked up and nothing there: the failure says so. Not looked up: the failure says that something may exist, and where.
"""

import structlog

from integrations import recording, telling
from integrations.destinations import Destination
from integrations.destinations.base import Credentials, Receipt
from integrations.http import Failure, Line, NotItsTurn
from integrations.lines import ask
from integrations.models import Delivery
from integrations.receipts import kept

log = structlog.get_logger(__name__)


def look(failure: Failure, delivery: Delivery, destination: Destination, line: Line) -> Receipt | Failure:
    """What an earlier try made after all, or the failure with what the look told."""
    try:
        found = _find(delivery, destination, line)
    except NotItsTurn:
        return not_looked_up(failure, delivery, "The request limit left no room to look it up.")
    except Failure as trouble:
        if trouble.pauses:
            recording.pause_connection(delivery.connection, trouble)
        return not_looked_up(failure, delivery, f"Looking it up failed: {trouble.words}")
    except Exception as error:
        log.exception("the destination failed to look it up")
        return not_looked_up(failure, delivery, f"Casebridge failed to look it up ({type(error).__name__}).")
    return found or _not_there(failure, delivery, destination.title)


def _find(delivery: Delivery, destination: Destination, line: Line) -> Receipt | None:
    def question(signed_in: Credentials) -> Receipt | None:
        if delivery.action == Delivery.Action.APPEND:
            return destination.find_comment(line, delivery.target_number, delivery.external_id, signed_in)
        return destination.find(line, delivery.external_id, signed_in)

    found = ask(delivery.connection, destination, line, question)
    return None if found is None else kept(found, destination.title)


def _not_there(failure: Failure, delivery: Delivery, title: str) -> Failure:
    found = f"{title} was asked for its external id after that and has no ticket of it."
    if delivery.action == Delivery.Action.APPEND:
        found = f"{title} was asked after that: ticket {delivery.target_number} does not have the comment."
    _add(failure, found)
    failure.is_uncertain, failure.is_not_there = False, True
    return failure


def not_looked_up(failure: Failure, delivery: Delivery, why: str) -> Failure:
    """The failure with the words that something may exist; `why` nobody could look is a sentence."""
    _add(failure, f"{why} {telling.may_exist(delivery)}")
    failure.is_uncertain = True
    return failure


def _add(failure: Failure, words: str) -> None:
    """What was found concerns this delivery alone, so the cause that failures share is kept as it was."""
    failure.cause = failure.cause or failure.words
    failure.words = f"{failure.words} {words}"
    failure.look_up_next = True
