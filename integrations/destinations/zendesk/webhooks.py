"""Calls to Zendesk's webhooks API: find or create the webhook that calls us, read its signing secret, remove it.

Contract: developer.zendesk.com, API reference, Webhooks, "Webhooks" and "Verifying webhook authenticity". The API has
request limits of its own, so its calls draw on a budget of their own.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import Webhook
from integrations.destinations.zendesk import answers, oauth, tickets
from integrations.destinations.zendesk.paging import next_page
from integrations.destinations.zendesk.ticket_news import PUBLIC_TEST_SECRET
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply

PATH = "/api/v2/webhooks"
BUDGET = "webhooks"
SCOPE = "webhooks:read webhooks:write"
MOST_PAGES = 20
LONGEST_ID = 80
SUBSCRIPTIONS = [
    "zen:event-type:ticket.status_changed",
    "zen:event-type:ticket.custom_status_changed",
    "zen:event-type:ticket.agent_assignment_changed",
    "zen:event-type:ticket.soft_deleted",
    "zen:event-type:ticket.undeleted",
]
EVENTS_STEP = (
    "Choose “Zendesk events” and select these ticket events: status changed, custom status changed, agent assignment "
    "changed, deleted, undeleted."
)
# What an administrator does by hand; the address is filled in.
STEPS = (
    "In Admin Center, open Apps and integrations, Webhooks, and create a webhook.",
    EVENTS_STEP,
    'Or use a trigger on changed tickets with the body {"ticket_id": "{{ticket.id}}"}: the ticket is then read.',
    "Endpoint URL: {endpoint} Request method POST, request format JSON, no authentication.",
    "Save the webhook, open it again, reveal the signing secret and paste it here:",
)
# A webhook for triggers: its kind was fixed at creation, and an administrator writes its bodies.
OF_TRIGGERS = "conditional_ticket_events"


def set_up(client: HttpClient, name: str, endpoint: str, credentials: Credentials) -> Webhook:
    """The webhook that calls `endpoint`: the existing one, corrected where needed, or a new one. Raises Failure.

    Safe to repeat: what an interrupted run created is found by its endpoint.
    """
    credentials = _for_webhooks(client, credentials)
    existing = next((row for row in _listed(client, credentials) if _calls(row, endpoint)), None)
    if existing is None:
        webhook_id = _create(client, name, endpoint, credentials)
    else:
        webhook_id = _id_of(existing)
        _correct(client, existing, credentials)
    return Webhook(webhook_id, _signing_secret(client, webhook_id, credentials))


def remove(client: HttpClient, webhook_id: str, credentials: Credentials) -> None:
    """Removes the webhook; one that is gone already counts as removed. Raises Failure."""
    reply = _call(client, "DELETE", _path_of(webhook_id), _for_webhooks(client, credentials))
    if reply.status != 404 or answers.error_code(reply) == "InvalidEndpoint":
        _accepted(reply)


def _for_webhooks(client: HttpClient, credentials: Credentials) -> Credentials:
    """Where the connection's scopes do not cover webhooks, another token of its client is used and not stored."""
    scopes = oauth.scopes_of(credentials.settings).split()
    if credentials.settings.get("sign_in") != "oauth_client" or "write" in scopes:
        return credentials
    wider = Credentials({**credentials.settings, "scopes": SCOPE}, credentials.secrets)
    token = oauth.fetch_token(client, wider).value
    client.secrets = (*client.secrets, token)
    return Credentials(credentials.settings, credentials.secrets, token)


def _listed(client: HttpClient, credentials: Credentials) -> Iterator[dict[str, Any]]:
    path = f"{PATH}?page%5Bsize%5D=100"
    for _ in range(MOST_PAGES):
        content = _accepted(_call(client, "GET", path, credentials))
        rows = content.get("webhooks")
        yield from (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
        following = next_page(client, content)
        if not following or following == path:
            return
        path = following


def _calls(row: dict[str, Any], endpoint: str) -> bool:
    return str(row.get("endpoint") or "").rstrip("/") == endpoint.rstrip("/") and bool(_id_of(row))


def _create(client: HttpClient, name: str, endpoint: str, credentials: Credentials) -> str:
    webhook = {
        "name": name,
        "endpoint": endpoint,
        "http_method": "POST",
        "request_format": "json",
        "status": "active",
        "subscriptions": SUBSCRIPTIONS,
    }
    content = _accepted(_call(client, "POST", PATH, credentials, {"webhook": webhook}))
    created = content.get("webhook")
    webhook_id = _id_of(created) if isinstance(created, dict) else ""
    if not webhook_id:
        raise Failure("Zendesk reported that it created the webhook, but the response could not be read. Try again.")
    return webhook_id


def _correct(client: HttpClient, row: dict[str, Any], credentials: Credentials) -> None:
    """Activates it and subscribes it to what we need besides what it had."""
    current = [str(name) for name in row.get("subscriptions") or []]
    changes: dict[str, Any] = {}
    if str(row.get("status")).lower() != "active":
        changes["status"] = "active"
    if OF_TRIGGERS not in current and not set(SUBSCRIPTIONS) <= set(current):
        changes["subscriptions"] = list(dict.fromkeys([*current, *SUBSCRIPTIONS]))
    if changes:
        _accepted(_call(client, "PATCH", _path_of(_id_of(row)), credentials, {"webhook": changes}))


def _signing_secret(client: HttpClient, webhook_id: str, credentials: Credentials) -> str:
    content = _accepted(_call(client, "GET", f"{_path_of(webhook_id)}/signing_secret", credentials))
    holder = content.get("signing_secret")
    secret = holder.get("secret") if isinstance(holder, dict) else None
    if not isinstance(secret, str) or not secret or secret == PUBLIC_TEST_SECRET:
        # Not quoted: whatever its shape, it may hold the secret.
        raise Failure("The webhook exists, but Zendesk's response with its signing secret could not be read.")
    return secret


def _call(client: HttpClient, method: str, path: str, credentials: Credentials, content: Any = None) -> Reply:
    headers = tickets.auth_header(credentials) | ({"Content-Type": "application/json"} if content is not None else {})
    body = None if content is None else json.dumps(content).encode()
    return client.call(method, path, headers=headers, body=body, budget=BUDGET, keep_reply=False)


def _accepted(reply: Reply) -> dict[str, Any]:
    """The reply's object. Raises Failure worded for webhooks: refusals here are not about tickets."""
    if 200 <= reply.status < 300:
        return reply.json_object()
    refused = answers.failure(reply)
    refused.message = _text(reply.status) or refused.message
    raise refused


def _text(status: int) -> str:
    if status == 403:
        return (
            "Zendesk does not allow this sign-in to manage webhooks (403). It needs an administrator and, for an OAuth "
            f"client, the scopes {SCOPE.replace(' ', ' and ')}."
        )
    if status in (400, 422):
        return f"Zendesk rejected the webhook ({status}). Its response below says why."
    if status == 404:
        return "This Zendesk account does not offer webhooks (404)."
    if status == 429:
        return "Zendesk's rate limit for webhook changes is reached (429). Try again in a minute."
    return ""


def _id_of(row: dict[str, Any]) -> str:
    webhook_id = row.get("id")
    return str(webhook_id) if isinstance(webhook_id, str | int) and 0 < len(str(webhook_id)) <= LONGEST_ID else ""


def _path_of(webhook_id: str) -> str:
    return f"{PATH}/{quote(webhook_id, safe='')}"
