"""OAuth at Zendesk: client credentials, and a person's consent (authorization code) with its refresh tokens.

Contract: developer.zendesk.com, "OAuth Tokens for Grant Types", and support.zendesk.com article 9182123625370: a
refresh replaces both tokens and deletes the old pair at once. No reply of the token endpoint is ever recorded or
quoted: whatever its shape, it may hold a token.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import Token
from integrations.destinations.zendesk import answers
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.infra.text import is_token, storable

TOKEN_PATH = "/oauth/tokens"  # noqa: S105 (an address, not a password)
AUTHORIZATION_PATH = "/oauth/authorizations/new"
DEFAULT_SCOPES = "read write"
CLIENT_TOKEN_SECONDS = 7200
# Long, as the pair can be lost at each refresh, and below the published bounds of 172,800 and 7,776,000 seconds.
CONSENT_TOKEN_SECONDS = 171_000
REFRESH_TOKEN_SECONDS = 7_700_000
LONGEST_TOKEN_SECONDS = 10 * 365 * 86400
LONGEST_SCOPE = 500
# On this day every API token stops (developer.zendesk.com, "Migrating from API tokens to OAuth access tokens").
API_TOKENS_END = date(2027, 4, 30)


CLIENTS_PAGE = "/admin/apps-integrations/apis/zendesk-api/oauth_clients"
MIGRATION_STEPS = [
    "Open Admin Center as an administrator: Apps and integrations, APIs, OAuth clients.",
    "Click “Add OAuth client”. Name: Casebridge. Client kind: Confidential. A redirect URL is not needed.",
    "Click “Save”. Copy the unique identifier and the secret. The full secret is shown only once.",
]


def end_text(ends: date, days_left: int) -> str:
    """How long API tokens still work."""
    when = f"{ends.day} {ends:%B %Y}"
    if days_left < 0:
        return f"API tokens stopped working on {when}"
    if days_left == 0:
        return f"Zendesk's API tokens stop working today, {when}"
    return f"API tokens stop working on {when} ({days_left} day{'s' if days_left != 1 else ''} left)"


def why_no_consent(error: str, description: str, redirect_uri: str) -> str:
    """What Zendesk's page sent back instead of a code."""
    if error == "access_denied":
        return "Access was denied in Zendesk, so nothing changed. Connect again and press “Allow” there."
    if "redirect" in f"{error} {description}".lower():
        return f"Zendesk does not accept this redirect URL. Enter {redirect_uri} as the OAuth client's redirect URL."
    answer = f"{error} {description}".strip()[:300]
    check = "Check the OAuth client's identifier and scopes, then connect again."
    return f"Zendesk stopped the sign-in: {answer}. {check}"


def scopes_of(settings: Mapping[str, Any]) -> str:
    return str(settings.get("scopes") or DEFAULT_SCOPES)


def authorization_url(settings: Mapping[str, Any], redirect_uri: str, state: str) -> str:
    """Where a person signs in to Zendesk and consents."""
    parameters = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "client_id": settings.get("client_id", ""),
        "scope": scopes_of(settings),
        "state": state,
    }
    return f"{settings.get('address', '')}{AUTHORIZATION_PATH}?{urlencode(parameters)}"


def fetch_token(client: HttpClient, credentials: Credentials) -> Token:
    """An access token by the client credentials grant. Raises Failure."""
    reply = _ask(client, credentials, grant_type="client_credentials", expires_in=CLIENT_TOKEN_SECONDS)
    if not _is_good(reply):
        raise answers.read_token_failure(reply)
    return _read(reply, scopes_of(credentials.settings))


def exchange_code(client: HttpClient, credentials: Credentials, code: str, redirect_uri: str) -> Token:
    """The first pair of tokens for a consent. Raises Failure, with the address to enter where that was wrong."""
    reply = _ask(client, credentials, grant_type="authorization_code", code=code, redirect_uri=redirect_uri, **LIVES)
    if not _is_good(reply):
        raise answers.read_code_failure(reply, redirect_uri)
    return _read(reply, scopes_of(credentials.settings))


def refresh(client: HttpClient, credentials: Credentials, refresh_token: str) -> Token:
    """The next pair of tokens. Raises Failure; `permanent` when only a person's new consent helps."""
    reply = _ask(client, credentials, grant_type="refresh_token", refresh_token=refresh_token, **LIVES)
    if not _is_good(reply):
        raise answers.read_refresh_failure(reply)
    token = _read(reply, scopes_of(credentials.settings))
    # Some servers keep the refresh token; a reply without one does not mean that it is gone.
    return token if token.refresh_token else Token(token.value, token.seconds, refresh_token, token.scope)


LIVES = {"expires_in": CONSENT_TOKEN_SECONDS, "refresh_token_expires_in": REFRESH_TOKEN_SECONDS}


def _ask(client: HttpClient, credentials: Credentials, **grant: Any) -> Reply:
    content = {
        **grant,
        "client_id": credentials.settings.get("client_id", ""),
        "client_secret": credentials.secrets.get("client_secret", ""),
        "scope": scopes_of(credentials.settings),
    }
    body = json.dumps(content).encode()
    headers = {"Content-Type": "application/json"}
    return client.call("POST", TOKEN_PATH, headers=headers, body=body, budget="token", keep_reply=False)


def _is_good(reply: Reply) -> bool:
    return 200 <= reply.status < 300


def _read(reply: Reply, asked_scope: str) -> Token:
    answer = reply.json_object()
    token = answer.get("access_token")
    if not isinstance(token, str) or not token or not is_token(token):
        raise Failure("Zendesk's response to the access token request could not be read.")
    refresh_token, scope = answer.get("refresh_token"), answer.get("scope")
    return Token(
        token,
        _seconds(answer.get("expires_in")),
        refresh_token if isinstance(refresh_token, str) and is_token(refresh_token) else "",
        # If not stated, what was granted is what was asked for (RFC 6749, 5.1).
        storable(scope if isinstance(scope, str) and scope.strip() else asked_scope)[:LONGEST_SCOPE],
    )


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value <= LONGEST_TOKEN_SECONDS else None
