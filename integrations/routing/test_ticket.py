"""A test ticket: one real ticket of a mapping, created while staff wait, marked as a test, and not in the log.

Its external id and idempotency key are derived from one uuid: asking twice with the same uuid creates one ticket.
"""

from dataclasses import dataclass

import structlog

from integrations.connections import Session
from integrations.delivery import checked_receipt
from integrations.destinations import Destination
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import MarksTests, no_second
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import REPORT_IT, defect_text
from integrations.models import Connection

log = structlog.get_logger(__name__)

CALL_SECONDS = 15.0
PERMIT_SECONDS = 5.0
HOW = {
    "created": "Test {} was created.",
    "already_there": "Test {} already exists: the button was pressed before.",
    "found": "Test {} already exists: the button was pressed before.",
}


@dataclass(frozen=True, slots=True)
class TestTicket:
    """The ticket, or why there is none, with the account's own words. `may_exist`: there may be one all the same."""

    is_good: bool
    message: str
    detail: str = ""
    number: str = ""
    url: str = ""
    may_exist: bool = False


def create_test_ticket(connection: Connection, request: str, uuid: str) -> TestTicket:
    """Creates the ticket once per uuid and waits for the reply. Problems of the account are in the result."""
    if not Connection.objects.filter(Connection.open_now(), pk=connection.pk).exists():
        return TestTicket(False, f"The connection “{connection}” is paused or off. Resume it first.")
    session = Session.limited(connection, seconds=CALL_SECONDS, permit_wait=PERMIT_SECONDS)
    try:
        receipt = _send(session, request, uuid)
    except NoPermit:
        return TestTicket(False, "The account's rate limit is reached. Try again in a minute.")
    except Failure as failure:
        log.warning("test ticket failed", connection_id=connection.pk, reason=failure.message)
        again = _again(session.destination) if failure.is_uncertain else ""
        detail = session.without_secrets(failure.detail)
        return TestTicket(False, f"{failure.full_message}{again}", detail, may_exist=failure.is_uncertain)
    except Exception as error:
        log.exception("test ticket failed", connection_id=connection.pk)
        again = _again(session.destination)
        return TestTicket(False, f"{defect_text('The test', error)} {REPORT_IT}{again}", may_exist=True)
    log.info("test ticket created", connection_id=connection.pk, ticket=receipt.number)
    named = f"{session.destination.thing} {session.destination.shown_number(receipt.number)}".strip()
    message = HOW[receipt.how].format(named)
    return TestTicket(True, message, session.without_secrets(receipt.warning), receipt.number, receipt.url)


def _again(destination: Destination) -> str:
    """That it may exist all the same, and what pressing the button again would do."""
    harmless = "Pressing the button again will not create a second one."
    return f" The {destination.thing} may exist anyway. {harmless if no_second(destination) else 'Look there first.'}"


def _send(session: Session, request: str, uuid: str) -> Receipt:
    destination = session.destination
    if not isinstance(destination, MarksTests):
        raise Failure(f"{destination.title} takes no tests.", permanent=True)
    marked, external_id = destination.as_test(request, uuid)
    outgoing = Outgoing(marked, external_id, f"casebridge-test-{uuid}")

    def send(credentials: Credentials) -> Receipt:
        return checked_receipt(destination.send(session.client, outgoing, credentials), destination.title)

    return session.ask(send)
