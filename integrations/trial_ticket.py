"""A test ticket: one real ticket of a mapping that staff look at, made at once, marked, and apart from the log.

It bears an external id and an idempotency key of its own, both of one uuid: asking twice with it makes one ticket.
"""

from dataclasses import dataclass

import structlog

from integrations import receipts
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.http import Failure, Line, NotItsTurn
from integrations.lines import Turns, ask, line_to
from integrations.models import Connection

log = structlog.get_logger(__name__)

CALL_SECONDS = 15.0
TURN_SECONDS = 5.0
HOW = {
    "created": "Test ticket {} was created.",
    "already_there": "Test ticket {} was there already: the button was pressed before.",
    "found": "Test ticket {} was found by its external id: the button was pressed before.",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of it: the ticket, or why there is none, with the account's own words."""

    is_good: bool
    words: str
    detail: str = ""
    number: str = ""
    url: str = ""


def create(connection: Connection, request: str, uuid: str) -> Result:
    """Creates the ticket once for each uuid, waiting for the answer. Raises nothing that the account can cause."""
    if not Connection.objects.filter(Connection.open_now(), pk=connection.pk).exists():
        return Result(False, f"The connection “{connection}” is paused or switched off: resume it first.")
    line = line_to(connection, CALL_SECONDS, Turns(connection.pk, TURN_SECONDS))
    try:
        receipt = _send(connection, line, request, uuid)
    except NotItsTurn:
        return Result(False, "The account's request limit leaves no room just now. Try again in a minute.")
    except Failure as failure:
        log.warning("no test ticket", connection_id=connection.pk, reason=failure.words)
        again = " It may exist all the same; pressing the button again finds it." if failure.is_uncertain else ""
        return Result(False, f"{failure.told}{again}", line.without_secrets(failure.detail))
    log.info("test ticket", connection_id=connection.pk, ticket=receipt.number)
    words = HOW[receipt.how].format(receipt.number)
    return Result(True, words, line.without_secrets(receipt.warning), receipt.number, receipt.url)


def _send(connection: Connection, line: Line, request: str, uuid: str) -> Receipt:
    destination = DESTINATIONS[connection.kind]
    marked, external_id = destination.as_test(request, uuid)
    outgoing = Outgoing(marked, external_id, f"casebridge-test-{uuid}")

    def send(signed_in: Credentials) -> Receipt:
        return receipts.kept(destination.send(line, outgoing, signed_in), destination.title)

    return ask(connection, destination, line, send)
