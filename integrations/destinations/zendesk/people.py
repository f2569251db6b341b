"""Social authors as users of the account: looked up by our own id, made where there is none.

Contract: developer.zendesk.com, API reference, Ticketing, "Users" (Search Users, Create or Update User: once per second
and account, five times per minute and user) and "User Identities". Most social authors have no e-mail address; the
network's own identity (a screen name, a numeric id) is added where Zendesk has a type for it.
"""

import json
from typing import Any
from urllib.parse import quote

from integrations.destinations.base import Author, Credentials, Person
from integrations.destinations.zendesk import answers
from integrations.destinations.zendesk.tickets import signed
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.http.reply import Reply

LONGEST_NAME = 255
# Wait so long where a limit on users is met that does not say how long.
LIMIT_SECONDS = 15.0


def find_person(client: HttpClient, author: Author, credentials: Credentials) -> Person:
    """The author's user. A Person without an id says why there can be none. Raises Failure, NotItsTurn."""
    path = f"/api/v2/users/search.json?external_id={quote(author.external_id, safe='')}"
    reply = client.call("GET", path, headers=signed(credentials), keep_reply=False)
    if 200 <= reply.status < 300:
        found = _with_our_id(reply, author)
        client.exchanges[-1]["reply"] = f"{len(found)} users with this external id"
        if len(found) > 1:
            return Person("", problem=f"{len(found)} users in Zendesk have the external ID {author.external_id}")
        if found:
            return _usable(found[0])
    elif reply.status not in (403, 404):
        raise answers.failure(reply)
    return _make(client, author, credentials)


def user_name(client: HttpClient, user_id: str, credentials: Credentials) -> str:
    """The user's name; "" where there is no such user, or one who is suspended. Raises Failure."""
    reply = client.call("GET", f"/api/v2/users/{user_id}.json", headers=signed(credentials), keep_reply=False)
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
    wanted = author.external_id.casefold()
    return [
        user
        for user in (users if isinstance(users, list) else [])
        if isinstance(user, dict) and str(user.get("external_id") or "").casefold() == wanted
    ]


def _make(client: HttpClient, author: Author, credentials: Credentials) -> Person:
    user: dict[str, Any] = {
        "name": author.name[:LONGEST_NAME],
        "external_id": author.external_id,
        "skip_verify_email": True,
    }
    if identity := identity_of(author):
        user["identities"] = [identity]
    headers = {**signed(credentials), "Content-Type": "application/json"}
    body = json.dumps({"user": user}, ensure_ascii=False).encode()
    path = "/api/v2/users/create_or_update.json"
    reply = client.call("POST", path, headers=headers, body=body, budget="users", keep_reply=False)
    exchange = client.exchanges[-1]
    if reply.status == 429:
        raise NoPermit(reply.retry_after() or LIMIT_SECONDS, "users")
    if reply.status in (403, 422):
        exchange["reply"] = client.without_secrets(reply.text[:2048])
        return Person("", problem=_why_not(reply))
    if not 200 <= reply.status < 300:
        exchange["reply"] = client.without_secrets(reply.text[:2048])
        raise answers.failure(reply)
    made = reply.json_object().get("user")
    if not isinstance(made, dict) or answers.ticket_number(made) is None:
        raise Failure("Zendesk's response about a user could not be read.", status=reply.status)
    exchange["reply"] = f"user {made['id']}"
    return _usable(made)


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
