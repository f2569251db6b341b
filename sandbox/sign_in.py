"""Signing in to the simulated Zendesk: which credentials are valid and what each may do.

API tokens may do everything. An OAuth token may do what its scopes allow: `read` and `write` cover everything, and
tickets, users and webhooks have scopes of their own. Any other scope is granted but allows nothing, as documented.
"""

import base64
import binascii
import hmac
import os
import re
from typing import Any

from sandbox import tokens
from sandbox.exchange import Answer, Request, json_answer
from sandbox.state import State
from sandbox.zendesk_answers import INVALID_TOKEN, NOT_ALLOWED, NOT_SIGNED_IN, missing_scope

DEFAULT_EMAIL = "agent@example.com"
DEFAULT_TOKEN = "sandbox-zendesk-token"  # noqa: S105 - opens nothing but this sandbox
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but this sandbox

HABITS: dict[str, Any] = {"allowed_scopes": "", "client_secret": CLIENT_SECRET, "api_tokens": True}

# Paths after /api/v2/ and the resource whose own scopes cover them; identities need the broad scopes.
RESOURCES = (
    (r"users/[0-9]+/identities", None),
    (r"users", "users"),
    (r"tickets", "tickets"),
    (r"job_statuses", "tickets"),
    (r"webhooks", "webhooks"),
)


def accepted_email() -> str:
    return os.environ.get("SANDBOX_ZENDESK_EMAIL", DEFAULT_EMAIL)


def accepted_token() -> str:
    return os.environ.get("SANDBOX_ZENDESK_TOKEN", DEFAULT_TOKEN)


def habits(state: State) -> dict[str, Any]:
    """How the account grants access: the defaults with what the control API has changed."""
    return HABITS | (state.document("oauth") or {})


def change_habits(state: State, values: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError with a sentence for an unknown name or a value of the wrong type."""
    for name, value in values.items():
        if name not in HABITS:
            raise ValueError(f"There is no {name}. Known: {', '.join(HABITS)}.")
        if type(value) is not type(HABITS[name]):
            raise ValueError(f"{name} must be of type {type(HABITS[name]).__name__}.")
    state.keep_document("oauth", {**habits(state), **values})
    return habits(state)


def is_client(state: State, client_id: str, client_secret: str) -> bool:
    is_secret = hmac.compare_digest(client_secret.encode(), str(habits(state)["client_secret"]).encode())
    return client_id == CLIENT_ID and is_secret


def granted(state: State, wanted: str) -> str:
    """The requested scopes that the account allows."""
    allowed = set(habits(state)["allowed_scopes"].split())
    if not allowed:
        return wanted
    return " ".join(scope for scope in wanted.split() if scope in allowed or scope.rpartition(":")[2] in allowed)


def refusal(state: State, request: Request) -> Answer | None:
    """The answer if the caller may not make this request, else None."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _bearer_refusal(state, request, given.strip())
    if scheme.lower() == "basic" and habits(state)["api_tokens"] and _is_api_token(given.strip()):
        return None
    return json_answer(401, NOT_SIGNED_IN)


def role_refusal(state: State, request: Request) -> Answer | None:
    """The answer if the caller is no longer an agent, else None. Everyone may ask who they are."""
    is_agent = state.settings.agent_role != "end-user" and not state.settings.agent_suspended
    return None if is_agent or asks_who(request) else json_answer(403, NOT_ALLOWED)


def asks_who(request: Request) -> bool:
    return request.method == "GET" and request.path in ("/api/v2/users/me", "/api/v2/users/me.json")


def _bearer_refusal(state: State, request: Request, token: str) -> Answer | None:
    scope = tokens.scope_of(state, token)
    if scope is None:
        return json_answer(401, INVALID_TOKEN, ("WWW-Authenticate", 'Bearer error="invalid_token"'))
    needed = "read" if request.method == "GET" else "write"
    resource = _resource(request.path.removeprefix("/api/v2/"))
    good = {needed, f"{resource}:{needed}"} if resource else {needed}
    return None if good & set(scope.split()) else json_answer(403, missing_scope(needed))


def _resource(path: str) -> str | None:
    return next((resource for pattern, resource in RESOURCES if re.match(rf"{pattern}(?:[/.]|$)", path)), None)


def _is_api_token(encoded: str) -> bool:
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{accepted_email()}/token:{accepted_token()}".encode())
