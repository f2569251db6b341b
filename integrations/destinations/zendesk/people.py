"""Social authors as users of the account: looked up by our own id, created where there is none.

Contract: developer.zendesk.com, API reference, Ticketing, "Users" (Search Users, Create or Update User: once per second
and account, five times per minute and user) and "User Identities". Most social authors have no e-mail address; the
network's own identity (a screen name, a numeric id) is added where Zendesk has a type for it.
"""

import json
from typing import Any
from urllib.parse import quote

from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import USERS, Author, Person
from integrations.destinations.zendesk import answers
from integrations.destinations.zendesk.tickets import auth_header
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.http.reply import Reply

LONGEST_NAME = 255
# The wait after a limit on users that does not say how long.
LIMIT_SECONDS = 15.0


def find_person(client: HttpClient, author: Author, credentials: Credentials) -> Person:
    """The author's user. A Person without an id says why there can be none. Raises Failure, NoPermit."""
    path = f"/api/v2/users/search.json?external_id={quote(author.external_id, safe='')}"
    reply = client.call("GET", path, headers=auth_header(credentials), keep_reply=False)
    if 200 <= reply.status < 300:
        users = _with_our_id(reply, author)
        client.exchanges[-1]["reply"] = f"{len(users)} users with this external id"
        if len(users) > 1:
            return Person("", problem=f"{len(users)} users in Zendesk have the external ID {author.external_id}")
        if users:
            return _usable(users[0])
    elif reply.status not in (403, 404):
        raise answers.failure(reply)
    return _create(client, author, credentials)


def user_name(client: HttpClient, user_id: str, credentials: Credentials) -> str:
    """The user's name; "" where there is no such user, or one who is suspended. Raises Failure."""
    reply = client.call("GET", f"/api/v2/users/{user_id}.json", headers=auth_header(credentials), keep_reply=False)
    if reply.status == 404:
        return ""
    if not 200 <= reply.status < 300:
        raise answers.failure(reply)
    user = reply.json_object().get("user")
    if not isinstance(user, dict) or user.get("suspended"):
        return ""
    return str(user.get("name") or user_id)


def _with_our_id(reply: Reply, author: Author) -> list[dict[str, Any]]:
    users = reply.json_object().get("users")
    our_id = author.external_id.casefold()
    return [
        user
        for user in (users if isinstance(users, list) else [])
        if isinstance(user, dict) and str(user.get("external_id") or "").casefold() == our_id
    ]


def _create(client: HttpClient, author: Author, credentials: Credentials) -> Person:
    user: dict[str, Any] = {
        "name": author.name[:LONGEST_NAME],
        "external_id": author.external_id,
        "skip_verify_email": True,
    }
    if identity := identity_of(author):
        user["identities"] = [identity]
    headers = {**auth_header(credentials), "Content-Type": "application/json"}
    body = json.dumps({"user": user}, ensure_ascii=False).encode()
    path = "/api/v2/users/create_or_update.json"
    reply = client.call("POST", path, headers=headers, body=body, budget=USERS, keep_reply=False)
    exchange = client.exchanges[-1]
    if reply.status == 429:
        raise NoPermit(reply.retry_after() or LIMIT_SECONDS, USERS)
    if reply.status in (403, 422):
        exchange["reply"] = client.without_secrets(reply.text[:2048])
        return Person("", problem=_why_not(reply))
    if not 200 <= reply.status < 300:
        exchange["reply"] = client.without_secrets(reply.text[:2048])
        raise answers.failure(reply)
    created = reply.json_object().get("user")
    if not isinstance(created, dict) or answers.ticket_number(created) is None:
        raise Failure("Zendesk's response about a user could not be read.", status=reply.status)
    exchange["reply"] = f"user {created['id']}"
    return _usable(created)


def identity_of(author: Author) -> dict[str, str] | None:
    """The network's identity, for the networks that Zendesk has a type for."""
    if author.network == "twitter" and author.handle:
        return {"type": "twitter", "value": author.handle}
    if author.network == "facebook" and author.network_id.isdigit():
        return {"type": "facebook", "value": author.network_id}
    return None


def _usable(user: dict[str, Any]) -> Person:
    name = str(user.get("name") or "")[:LONGEST_NAME]
    if user.get("suspended"):
        return Person("", name, f"the author's user {user.get('id')} is suspended in Zendesk")
    number = answers.ticket_number(user)
    return Person(str(number), name) if number else Person("", name, "the user in Zendesk has no ID")


def _why_not(reply: Reply) -> str:
    message = answers.own_text(reply)
    if reply.status == 403:
        return f"the connection is not allowed to manage end users ({message})"
    if "DuplicateValue" in reply.text:
        return f"the author's identity already belongs to another user ({message})"
    return f"Zendesk rejected the author as a user ({message})"
