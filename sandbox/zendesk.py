"""The Zendesk API: signing in, creating tickets exactly once per key, finding them, and the rate limits.

A key belongs to the ticket it made. While it lives, the same key with the same bytes gets the first answer
again and makes nothing; with other bytes it is refused. A create that was refused leaves its key unused.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
import os
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from sandbox import tickets
from sandbox.exchange import Answer, Pairs, Request, Routes, json_answer, text_answer, whole_number
from sandbox.state import ADMIN_ID, State

DEFAULT_EMAIL = "agent@example.com"
DEFAULT_TOKEN = "sandbox-zendesk-token"  # noqa: S105 - opens nothing but this sandbox
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but this sandbox

TOKEN_LIFE_SECONDS = 1800
SHORTEST_TOKEN_LIFE = 300
LONGEST_TOKEN_LIFE = 172_800
WINDOW_SECONDS = 60.0
KEY_CHARACTERS = 255
PAGE_SIZE = 100

NOT_FOUND = {"error": "RecordNotFound", "description": "Not found"}
NO_SUCH_ENDPOINT = {"error": "InvalidEndpoint", "description": "Not found"}
NOT_SIGNED_IN = {"error": "Couldn't authenticate you"}
INVALID_TOKEN = {
    "error": "invalid_token",
    "error_description": "The access token provided is expired, revoked, malformed or invalid for other reasons.",
}
KEY_MISMATCH = {
    "error": "IdempotentRequestError",
    "description": "Request parameters don't match the given idempotency key",
}
NOT_JSON = {"error": "BadRequest", "description": "Server could not parse JSON"}
NOT_A_TICKET = {
    "error": {
        "title": "Invalid attribute",
        "message": "You passed an invalid value for the ticket attribute. Invalid parameter: ticket must be an object",
    }
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


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit after one request was counted."""

    limit: int
    remaining: int
    resets: int
    exceeded: bool


class Window:
    """A fixed window of one minute that opens with the first request after the last one ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends = 0.0
        self._used = 0

    def spend(self, limit: int) -> Allowance:
        with self._lock:
            moment = time.monotonic()
            if moment >= self._ends:
                self._ends, self._used = moment + WINDOW_SECONDS, 0
            self._used += 1
            resets = max(1, math.ceil(self._ends - moment))
            return Allowance(limit, max(0, limit - self._used), resets, self._used > limit)

    def reopen(self) -> None:
        with self._lock:
            self._ends = 0.0


class ZendeskApi:
    def __init__(self, state: State) -> None:
        self._state = state
        self._account = Window()
        self._look_ups = Window()
        suffix = r"(?:\.json)?"
        self._routes = Routes(
            ("POST", f"/api/v2/tickets{suffix}", self._create_ticket),
            ("GET", f"/api/v2/tickets{suffix}", self._list_tickets),
            ("GET", rf"/api/v2/tickets/([0-9]+){suffix}", self._show_ticket),
            ("GET", f"/api/v2/groups/assignable{suffix}", self._assignable_groups),
        )

    def answer(self, request: Request) -> Answer:
        if request.path == "/oauth/tokens" and request.method == "POST":
            return self._issue_token(request)
        limit = self._state.settings.rate_limit
        if not limit:
            return self._within_limits(request)
        allowance = self._account.spend(limit)
        answer = self._too_many(allowance) if allowance.exceeded else self._within_limits(request)
        return answer.plus(*_rate_headers(allowance))

    def reopen_windows(self) -> None:
        """Lets the next request open a new minute, as after a change of the limits."""
        self._account.reopen()
        self._look_ups.reopen()

    def _within_limits(self, request: Request) -> Answer:
        refusal = self._refusal(request)
        if request.path in ("/api/v2/users/me", "/api/v2/users/me.json") and request.method == "GET":
            # Show Self is open to everyone: without a valid sign-in it answers 200 for nobody.
            return self._show_self(anonymous=refusal is not None)
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

    def _create_ticket(self, request: Request) -> Answer:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return self._created(request, None)
        if not 0 < len(key) <= KEY_CHARACTERS:
            return json_answer(400, {"error": "IdempotentRequestError", "description": "Invalid idempotency key"})
        fingerprint = hashlib.sha256(request.body).hexdigest()
        # The transaction makes a repeat wait while the first call with this key is still at work.
        with self._state.transaction():
            earlier = self._earlier_answer(key, fingerprint)
            if earlier is not None:
                return earlier
            answer = self._created(request, key)
            if answer.status == 201:
                self._keep_answer(key, fingerprint, answer)
        return answer.plus(("x-idempotency-lookup", "miss"))

    def _earlier_answer(self, key: str, fingerprint: str) -> Answer | None:
        oldest = time.time() - self._state.settings.idempotency_age_seconds
        used = self._state.row("SELECT * FROM idempotency_keys WHERE key = ? AND used_at > ?", key, oldest)
        if used is None:
            return None
        if used["fingerprint"] != fingerprint:
            return json_answer(400, KEY_MISMATCH)
        headers: Pairs = tuple((name, value) for name, value in json.loads(used["headers"]))
        return Answer(used["status"], used["body"], headers).plus(("x-idempotency-lookup", "hit"))

    def _keep_answer(self, key: str, fingerprint: str, answer: Answer) -> None:
        self._state.insert(
            "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
            key,
            fingerprint,
            answer.status,
            json.dumps(answer.headers),
            answer.body,
            time.time(),
        )

    def _created(self, request: Request, key: str | None) -> Answer:
        try:
            body = request.json()
        except ValueError:
            return json_answer(400, NOT_JSON)
        ticket = body.get("ticket") if isinstance(body, dict) else None
        if not isinstance(ticket, dict):
            return json_answer(400, NOT_A_TICKET)
        with self._state.transaction():
            problems = tickets.problems(self._state, ticket)
            if problems:
                return json_answer(422, tickets.record_invalid(problems))
            made = tickets.create(self._state, ticket, request.origin, key)
        return json_answer(201, made, ("Location", made["ticket"]["url"]), *_warning(ticket))

    def _list_tickets(self, request: Request) -> Answer:
        limits = self._state.settings
        if not limits.rate_limit or not limits.index_limit:
            return self._ticket_page(request)
        allowance = self._look_ups.spend(limits.index_limit)
        words = f"total={allowance.limit}; remaining={allowance.remaining}; resets={allowance.resets}"
        answer = (
            json_answer(429, {}, ("Retry-After", str(allowance.resets)))
            if allowance.exceeded
            else self._ticket_page(request)
        )
        return answer.plus(("zendesk-ratelimit-tickets-index", words))

    def _ticket_page(self, request: Request) -> Answer:
        try:
            page = max(1, whole_number(request.query, "page", 1))
            size = min(PAGE_SIZE, max(1, whole_number(request.query, "per_page", PAGE_SIZE)))
        except ValueError as problem:
            return json_answer(400, {"error": "InvalidPaginationParameter", "description": str(problem)})
        shown, total = tickets.page_of(self._state, request.query.get("external_id"), size, (page - 1) * size)
        return json_answer(
            200,
            {
                "tickets": shown,
                "next_page": _page_address(request, page + 1) if page * size < total else None,
                "previous_page": _page_address(request, page - 1) if page > 1 else None,
                "count": total,
            },
        )

    def _show_ticket(self, request: Request, ticket_id: str) -> Answer:
        # Longer numbers do not fit the column of ids, so no ticket can have them.
        ticket = tickets.find(self._state, int(ticket_id)) if len(ticket_id) <= 18 else None
        return json_answer(200, {"ticket": ticket}) if ticket else json_answer(404, NOT_FOUND)

    def _assignable_groups(self, request: Request) -> Answer:
        groups = [
            {
                "url": f"{request.origin}/api/v2/groups/{group_id}.json",
                "id": group_id,
                "is_public": True,
                "name": name,
                "description": "",
                "default": group_id == min(tickets.GROUPS),
                "deleted": False,
                "created_at": "2023-09-09T23:52:02Z",
                "updated_at": "2023-09-09T23:52:02Z",
            }
            for group_id, name in tickets.GROUPS.items()
        ]
        return json_answer(200, {"groups": groups, "next_page": None, "previous_page": None, "count": len(groups)})

    def _show_self(self, anonymous: bool) -> Answer:
        known: dict[str, Any] = {"id": ADMIN_ID, "name": "Agent Example", "email": accepted_email(), "role": "admin"}
        nobody: dict[str, Any] = {"id": None, "name": "Anonymous user", "email": "invalid@example.com"}
        shared = {"locale": "en-US", "time_zone": "UTC", "active": True, "suspended": False, "verified": not anonymous}
        person = {**nobody, "role": "end-user"} if anonymous else known
        return json_answer(200, {"user": {**person, **shared}})

    def _too_many(self, allowance: Allowance) -> Answer:
        return text_answer(429, TOO_MANY_REQUESTS, ("Retry-After", str(allowance.resets)))


def _rate_headers(allowance: Allowance) -> Pairs:
    return (
        ("x-rate-limit", str(allowance.limit)),
        ("x-rate-limit-remaining", str(allowance.remaining)),
        ("ratelimit-limit", str(allowance.limit)),
        ("ratelimit-remaining", str(allowance.remaining)),
        ("ratelimit-reset", str(allowance.resets)),
    )


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


def _warning(ticket: dict[str, Any]) -> Pairs:
    dropped = tickets.unpermitted_keys(ticket)
    if not dropped:
        return ()
    # json.dumps escapes line ends and other characters a header cannot carry.
    keys = json.dumps(dropped)
    words = f':controller=>"tickets", :action=>"create", :unpermitted_keys=>{keys}, :invalid_values=>[]'
    return (("x-zendesk-api-warn", f"{{:allowed_parameters=>{{{words}}}}}"),)


def _page_address(request: Request, page: int) -> str:
    return f"{request.origin}/api/v2/tickets.json?{urlencode({**request.query, 'page': page})}"
