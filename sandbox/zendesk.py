"""The Zendesk API: signing in, the account's rate limit, and who answers which call."""

import base64
import binascii
import hmac
import os
import secrets
import time
from typing import Any
from uuid import uuid4

from sandbox import people
from sandbox.exchange import Answer, Request, Routes, json_answer, text_answer
from sandbox.jobs import JobRunner
from sandbox.limits import Allowance, Limits, account_headers
from sandbox.state import ADMIN_ID, State
from sandbox.zendesk_answers import NO_SUCH_ENDPOINT
from sandbox.zendesk_jobs import JobCalls
from sandbox.zendesk_lists import ListCalls
from sandbox.zendesk_tickets import TicketCalls

DEFAULT_EMAIL = "agent@example.com"
DEFAULT_TOKEN = "sandbox-zendesk-token"  # noqa: S105 - opens nothing but this sandbox
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but this sandbox

TOKEN_LIFE_SECONDS = 1800
SHORTEST_TOKEN_LIFE = 300
LONGEST_TOKEN_LIFE = 172_800

NOT_SIGNED_IN = {"error": "Couldn't authenticate you"}
INVALID_TOKEN = {
    "error": "invalid_token",
    "error_description": "The access token provided is expired, revoked, malformed or invalid for other reasons.",
}
NOBODY: dict[str, Any] = {
    "id": None,
    "name": "Anonymous user",
    "email": "invalid@example.com",
    "role": "end-user",
    "locale": "en-US",
    "time_zone": "UTC",
    "active": True,
    "suspended": False,
    "verified": False,
}
TOO_MANY_REQUESTS = "Number of allowed API requests per minute exceeded"


def accepted_email() -> str:
    return os.environ.get("SANDBOX_ZENDESK_EMAIL", DEFAULT_EMAIL)


def accepted_token() -> str:
    return os.environ.get("SANDBOX_ZENDESK_TOKEN", DEFAULT_TOKEN)


def missing_scope(scope: str) -> dict[str, str]:
    return {"error": "Forbidden", "description": f"You are missing the following required scopes: {scope}"}


def with_request_id(answer: Answer) -> Answer:
    return answer if answer.header("x-request-id") else answer.plus(("x-request-id", uuid4().hex))


class ZendeskApi:
    def __init__(self, state: State, runner: JobRunner) -> None:
        self._state = state
        self._limits = Limits()
        self._routes = Routes(
            *TicketCalls(state, self._limits).routes,
            *JobCalls(state, runner).routes,
            *ListCalls(state).routes,
        )

    def answer(self, request: Request) -> Answer:
        if request.path == "/oauth/tokens" and request.method == "POST":
            return self._issue_token(request)
        limit = self._state.settings.rate_limit
        if not limit:
            return self._within_limits(request)
        allowance = self._limits.account.spend(limit)
        answer = _too_many(allowance) if allowance.exceeded else self._within_limits(request)
        return answer.plus(*account_headers(allowance))

    def reopen_windows(self) -> None:
        """Lets the next request open a new minute, as after a change of the limits."""
        self._limits.reopen()

    def _within_limits(self, request: Request) -> Answer:
        refusal = self._refusal(request)
        if request.path in ("/api/v2/users/me", "/api/v2/users/me.json") and request.method == "GET":
            # Show Self is open to everyone: without a valid sign-in it answers 200 for nobody.
            return self._show_self(request, anonymous=refusal is not None)
        return refusal or self._routes.answer(request) or json_answer(404, NO_SUCH_ENDPOINT)

    def _refusal(self, request: Request) -> Answer | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._bearer_refusal(given.strip(), "read" if request.method == "GET" else "write")
        if scheme.lower() == "basic" and _is_api_token(given.strip()):
            return None
        return json_answer(401, NOT_SIGNED_IN)

    def _bearer_refusal(self, token: str, needed: str) -> Answer | None:
        issued = self._state.row("SELECT scope FROM access_tokens WHERE token = ? AND ends_at > ?", token, time.time())
        if issued is None:
            return json_answer(401, INVALID_TOKEN, ("WWW-Authenticate", 'Bearer error="invalid_token"'))
        granted = {scope.rpartition(":")[2] for scope in issued["scope"].split()}
        return None if needed in granted else json_answer(403, missing_scope(needed))

    def _issue_token(self, request: Request) -> Answer:
        try:
            wanted = request.json()
            lives = int(wanted.get("expires_in") or TOKEN_LIFE_SECONDS)
        except (ValueError, TypeError, AttributeError, OverflowError):
            return _token_refusal(400, "invalid_request", "The request body could not be read.")
        if wanted.get("grant_type") != "client_credentials":
            return _token_refusal(400, "unsupported_grant_type", "The authorization grant type is not supported.")
        if not _is_client(str(wanted.get("client_id")), str(wanted.get("client_secret"))):
            return _token_refusal(401, "invalid_client", "Client authentication failed due to unknown client.")
        if not SHORTEST_TOKEN_LIFE <= lives <= LONGEST_TOKEN_LIFE:
            return _token_refusal(400, "invalid_request", "expires_in must be between 300 and 172800 seconds.")
        token, scope = secrets.token_hex(32), str(wanted.get("scope") or "read write")
        self._state.insert("INSERT INTO access_tokens VALUES (?, ?, ?)", token, scope, time.time() + lives)
        return json_answer(200, {"access_token": token, "token_type": "bearer", "scope": scope, "expires_in": lives})

    def _show_self(self, request: Request, anonymous: bool) -> Answer:
        row = people.one(self._state, "id", ADMIN_ID)
        if anonymous or row is None:
            return json_answer(200, {"user": NOBODY})
        known = {"email": accepted_email(), "authenticity_token": secrets.token_urlsafe(32)}
        return json_answer(200, {"user": {**people.shown(row, request.origin), **known}})


def _too_many(allowance: Allowance) -> Answer:
    return text_answer(429, TOO_MANY_REQUESTS, ("Retry-After", str(allowance.resets)))


def _is_api_token(encoded: str) -> bool:
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{accepted_email()}/token:{accepted_token()}".encode())


def _is_client(client_id: str, client_secret: str) -> bool:
    return client_id == CLIENT_ID and hmac.compare_digest(client_secret.encode(), CLIENT_SECRET.encode())


def _token_refusal(status: int, error: str, description: str) -> Answer:
    return json_answer(status, {"error": error, "error_description": description})
