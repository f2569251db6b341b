"""Comments on existing tickets. A repeat would add the comment again, so each has a reference line.

Contract: developer.zendesk.com, API reference, Ticketing, "Tickets" (Update Ticket) and "Ticket Comments". No
idempotency key is documented for updates: after a try whose outcome is unknown the ticket's comments are read first.
"""

from typing import Any

from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import UPDATES
from integrations.destinations.zendesk import answers
from integrations.destinations.zendesk.paging import next_page
from integrations.destinations.zendesk.tickets import auth_header, ticket_url
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.http.reply import Reply

# A ticket takes 5,000 comments.
MOST_PAGES = 50
# The wait after a limit on updates that does not say how long.
LIMIT_SECONDS = 15.0


def append(client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
    """Adds the comment once. Raises Failure; `is_closed` where the ticket takes no change any more."""
    target = outgoing.target
    if outgoing.look_up_first and (found := find(client, target, outgoing.external_id, credentials)):
        return found
    headers = {**auth_header(credentials), "Content-Type": "application/json"}
    path = f"/api/v2/tickets/{target}.json"
    try:
        body = outgoing.request.encode()
        reply = client.call("PUT", path, headers=headers, body=body, budget=UPDATES, keep_reply=False)
    except Failure as failure:
        failure.look_up_next = failure.is_uncertain
        raise
    if reply.status == 429:
        # Updates have limits of their own (for the account, and for each ticket): only they wait.
        raise NoPermit(reply.retry_after() or LIMIT_SECONDS)
    if not 200 <= reply.status < 300:
        raise _refused(client, reply)
    if str(answers.ticket_number(reply.json_object().get("ticket"))) != target:
        client.exchanges[-1]["reply"] = client.without_secrets(answers.excerpt(reply))
        message = "Zendesk reported that it changed the ticket, but the response could not be read."
        raise Failure(message, status=reply.status, is_uncertain=True, look_up_next=True)
    client.exchanges[-1]["reply"] = f"ticket {target} was changed"
    warning = reply.headers.get("x-zendesk-api-warn", "")[:500]
    return Receipt(target, ticket_url(client).format(target), "appended", warning)


def _refused(client: HttpClient, reply: Reply) -> Failure:
    client.exchanges[-1]["reply"] = client.without_secrets(reply.text[:2048])
    if answers.is_about_the_status_alone(reply):
        return answers.ticket_is_closed(reply)
    failure = answers.failure(reply)
    failure.look_up_next = failure.is_uncertain
    if reply.status == 404 and answers.error_code(reply) == "RecordNotFound":
        # Nothing was changed: the case may get a new ticket instead.
        failure.is_closed = True
        failure.message = "The ticket was deleted or merged in Zendesk (404)."
        failure.remedy = "Press “Rebuild” to create a new ticket."
    return failure


def find(client: HttpClient, number: str, external_id: str, credentials: Credentials) -> Receipt | None:
    """The comment with our reference on this ticket, if there is one. Raises Failure that asks for another look-up."""
    if not _is_there(client, number, external_id, credentials):
        return None
    return Receipt(number, ticket_url(client).format(number), "already_there")


def _is_there(client: HttpClient, number: str, external_id: str, credentials: Credentials) -> bool:
    path = f"/api/v2/tickets/{number}/comments.json?page[size]=100"
    try:
        for _ in range(MOST_PAGES):
            reply = client.call("GET", path, headers=auth_header(credentials), keep_reply=False)
            if reply.status == 404 and answers.error_code(reply) == "RecordNotFound":
                return False
            if not 200 <= reply.status < 300:
                raise _refused(client, reply)
            content = reply.json_object()
            if any(external_id in text for text in _texts(content)):
                client.exchanges[-1]["reply"] = "the comment is there"
                return True
            client.exchanges[-1]["reply"] = "the comment is not on this page"
            path = next_page(client, content)
            if not path:
                return False
    except NoPermit as later:
        message = "An earlier attempt may have added the comment. It cannot be looked up yet because of the rate limit."
        raise Failure(message, retry_after=later.seconds, is_uncertain=True, look_up_next=True) from later
    except Failure as failure:
        failure.is_uncertain = failure.look_up_next = True
        raise
    return False


def _texts(content: dict[str, Any]) -> list[str]:
    comments = content.get("comments")
    rows = comments if isinstance(comments, list) else []
    return [
        str(comment.get(name) or "") for comment in rows if isinstance(comment, dict) for name in ("plain_body", "body")
    ]
