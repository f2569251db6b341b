"""Calls to Zendesk's API: the look-up by external id, the create.

Contract: developer.zendesk.com, API reference, Ticketing, Tickets ("Create Ticket", "List Tickets" with external_id),
and Ticketing introduction ("Idempotency").
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import LOOK_UP, StatusUpdate
from integrations.destinations.zendesk import answers, ticket_news
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure, NoPermit

CREATE_PATH = "/api/v2/tickets.json"
# Zendesk keeps an idempotency key for two hours; a repeat may be under way for a while.
KEY_TRUSTED_SECONDS = 110 * 60
MOST_READ_AT_ONCE = 100
# The wait after a limit on look-ups that does not say how long.
LIMIT_SECONDS = 15.0


def create(client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
    """Creates the ticket once, or finds it. Raises Failure."""
    external_id = outgoing.external_id
    if outgoing.look_up_first and (found := look_up(client, external_id, credentials)):
        return found
    headers = {**auth_header(credentials), "Content-Type": "application/json", "Idempotency-Key": outgoing.key}
    reply = client.call("POST", CREATE_PATH, headers=headers, body=outgoing.request.encode(), keep_reply=False)
    # A ticket's reply holds the caller's location and address, so only the number of a success is recorded.
    exchange = client.exchanges[-1]
    if not 200 <= reply.status < 300:
        exchange["reply"] = client.without_secrets(reply.text[:2048])
    try:
        receipt = answers.read_created(reply, ticket_url(client))
    except answers.UnreadableSuccess:
        exchange["reply"] = client.without_secrets(answers.excerpt(reply))
        return _after_unreadable_success(client, external_id, credentials)
    except answers.KeyConflict as conflict:
        return _after_key_conflict(client, external_id, credentials, conflict)
    except Failure as failure:
        raise answers.explained(failure, reply, outgoing.request) from None
    exchange["reply"] = f"ticket {receipt.number}"
    return receipt


def _after_unreadable_success(client: HttpClient, external_id: str, credentials: Credentials) -> Receipt:
    with _a_ticket_may_exist("Zendesk answered with success, but the response could not be read."):
        found = look_up(client, external_id, credentials)
    if found:
        return found
    raise Failure(
        "Zendesk answered with success, but the response could not be read, and no ticket with its "
        "external ID is there yet. Casebridge looks for it again before sending anything. If this keeps happening, "
        "check the connection's address.",
        is_uncertain=True,
        look_up_next=True,
    )


def _after_key_conflict(
    client: HttpClient, external_id: str, credentials: Credentials, conflict: answers.KeyConflict
) -> Receipt:
    with _a_ticket_may_exist("Zendesk already received different content under this idempotency key."):
        found = look_up(client, external_id, credentials)
    if found:
        return found
    raise Failure(
        "Zendesk already received different content under this idempotency key, and no ticket with its external "
        "ID exists.",
        conflict.detail,
        permanent=True,
        look_up_next=True,
        status=400,
        remedy="Press “Rebuild” to send it as a new ticket.",
        cause="The idempotency key was already used for different content",
    )


@contextmanager
def _a_ticket_may_exist(what_happened: str) -> Iterator[None]:
    """A look-up that fails here leaves open whether there is a ticket, so the next try has to look up first."""
    try:
        yield
    except NoPermit as later:
        message = f"{what_happened} It cannot be looked up yet because of the rate limit."
        raise Failure(message, retry_after=later.seconds, is_uncertain=True, look_up_next=True) from later
    except Failure as failure:
        failure.message = f"{what_happened} The lookup failed: {failure.message}"
        failure.permanent = failure.permanent and failure.pauses
        failure.is_uncertain = failure.look_up_next = True
        raise


def look_up(client: HttpClient, external_id: str, credentials: Credentials) -> Receipt | None:
    """The ticket with this external id, from the list of tickets: the search index lags. Raises Failure."""
    path = f"{CREATE_PATH}?external_id={quote(external_id, safe='')}"
    reply = client.call("GET", path, headers=auth_header(credentials), budget=LOOK_UP, keep_reply=False)
    if reply.status == 429:
        # Look-ups have a limit of their own, which nothing else has to wait for.
        raise NoPermit(reply.retry_after() or LIMIT_SECONDS, LOOK_UP)
    if not 200 <= reply.status < 300:
        client.exchanges[-1]["reply"] = client.without_secrets(reply.text[:2048])
    found = answers.read_found(reply, external_id, ticket_url(client))
    client.exchanges[-1]["reply"] = f"ticket {found.number}" if found else "no ticket with this external id"
    return found


def read_tickets(client: HttpClient, numbers: Sequence[str], credentials: Credentials) -> list[StatusUpdate]:
    """The news of up to 100 tickets; those that Zendesk does not return are missing. Raises Failure."""
    path = f"/api/v2/tickets/show_many.json?ids={','.join(numbers)}"
    reply = client.call("GET", path, headers=auth_header(credentials), keep_reply=False)
    if not 200 <= reply.status < 300:
        raise answers.failure(reply)
    return ticket_news.read_tickets(reply)


def read_ticket(client: HttpClient, number: str, credentials: Credentials) -> StatusUpdate:
    """The news of one ticket, which may be that it is gone. Raises Failure."""
    reply = client.call("GET", f"/api/v2/tickets/{number}.json", headers=auth_header(credentials), keep_reply=False)
    if reply.status == 404 and answers.error_code(reply) == "RecordNotFound":
        return ticket_news.gone(number, reply)
    if not 200 <= reply.status < 300:
        raise answers.failure(reply)
    matching = [news for news in ticket_news.read_tickets(reply) if news.number == number]
    if not matching:
        raise ticket_news.unreadable(reply)
    return matching[0]


def ticket_url(client: HttpClient) -> str:
    """Where people open a ticket; `{}` stands for its number."""
    return client.origin + "/agent/tickets/{}"


def auth_header(credentials: Credentials) -> dict[str, str]:
    """The header that authenticates a call."""
    if credentials.access_token:
        return {"Authorization": f"Bearer {credentials.access_token}"}
    pair = f"{credentials.settings.get('email', '')}/token:{credentials.secrets.get('api_token', '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
