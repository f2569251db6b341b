"""OAuth: the call that issues tokens, and the page where an agent grants access to an application."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sandbox import sign_in, tokens
from sandbox.exchange import Answer, Request, back_to_application, json_answer
from sandbox.rendering import page, problem_page
from sandbox.state import State
from sandbox.tokens import ACCESS_LIVES, REFRESH_LIVES, Lives, Pair

# Browsers apply form-action to the redirect after a form too, so this page sets none.
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"),
    ("Cache-Control", "no-store"),
)
BAD_GRANT = "The provided authorization grant is invalid, expired, revoked, or was issued to another client."


class OAuthCalls:
    """Calls that need no authentication."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._grants = {
            "client_credentials": self._client_credentials,
            "authorization_code": self._authorization_code,
            "refresh_token": self._refresh_token,
        }
        self.routes = (
            ("POST", "/oauth/tokens", self._issue),
            ("GET", "/oauth/authorizations/new", self._ask),
            ("POST", "/oauth/authorizations/new", self._decide),
        )

    def _issue(self, request: Request) -> Answer:
        try:
            wanted = _wanted(request)
            lives = _lives(wanted)
        except (ValueError, TypeError, OverflowError) as problem:
            return _refusal(400, "invalid_request", f"The request could not be read: {problem}.")
        grant = self._grants.get(str(wanted.get("grant_type")))
        if grant is None:
            return _refusal(400, "unsupported_grant_type", "The authorization grant type is not supported.")
        if not sign_in.is_client(self._state, str(wanted.get("client_id")), str(wanted.get("client_secret"))):
            return _refusal(401, "invalid_client", "Client authentication failed due to unknown client.")
        with self._state.transaction():
            pair = grant(wanted, lives)
        return json_answer(200, pair.shown()) if pair else _refusal(400, "invalid_grant", BAD_GRANT)

    def _client_credentials(self, wanted: Mapping[str, Any], lives: Lives) -> Pair:
        scope = sign_in.granted(self._state, str(wanted.get("scope") or "read write"))
        return tokens.issue(self._state, scope, lives, with_refresh=False)

    def _authorization_code(self, wanted: Mapping[str, Any], lives: Lives) -> Pair | None:
        scope = tokens.take_code(self._state, str(wanted.get("code")), str(wanted.get("redirect_uri")))
        return None if scope is None else tokens.issue(self._state, scope, lives, with_refresh=True)

    def _refresh_token(self, wanted: Mapping[str, Any], lives: Lives) -> Pair | None:
        taken = tokens.take_refresh(self._state, str(wanted.get("refresh_token")))
        if taken is None:
            return None
        scope, earlier = taken
        access = lives.access if wanted.get("expires_in") else earlier.access
        refresh = lives.refresh if wanted.get("refresh_token_expires_in") else earlier.refresh
        return tokens.issue(self._state, scope, Lives(access, refresh), with_refresh=True)

    def _ask(self, request: Request) -> Answer:
        asked = request.query
        problem = _problem(asked)
        if problem:
            return _secured(problem_page("Not allowed", problem, 400))
        shown: dict[str, Any] = {
            "system": "Zendesk",
            "owner": "Agent Example",
            "scope": asked.get("scope") or "read write",
        }
        return _secured(page("allow.html", "Allow access", asked=asked, action="/oauth/authorizations/new", **shown))

    def _decide(self, request: Request) -> Answer:
        form = request.form()
        problem = _problem({**form, "response_type": "code"})
        if problem:
            return _secured(problem_page("Not allowed", problem, 400))
        if form.get("decision") != "allow":
            words = "The end-user or authorization server denied the request."
            return back_to_application(form, {"error": "access_denied", "error_description": words})
        scope = sign_in.granted(self._state, form.get("scope") or "read write")
        return back_to_application(form, {"code": tokens.make_code(self._state, form["redirect_uri"], scope)})


def _wanted(request: Request) -> dict[str, Any]:
    """The parameters of a token request, JSON or a form. Raises ValueError for anything else."""
    if request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return {**request.form()}
    wanted = request.json()
    if not isinstance(wanted, dict):
        raise ValueError("it is no object")
    return wanted


def _lives(wanted: Mapping[str, Any]) -> Lives:
    lives = Lives(
        int(wanted.get("expires_in") or tokens.ACCESS_LIFE),
        int(wanted.get("refresh_token_expires_in") or tokens.REFRESH_LIFE),
    )
    if lives.access not in ACCESS_LIVES:
        raise ValueError("expires_in must be between 300 and 172800 seconds")
    if lives.refresh not in REFRESH_LIVES:
        raise ValueError("refresh_token_expires_in must be between 604800 and 7776000 seconds")
    return lives


def _problem(asked: Mapping[str, str]) -> str | None:
    if asked.get("response_type") != "code":
        return "response_type must be code."
    if asked.get("client_id") != sign_in.CLIENT_ID:
        return "There is no such client."
    address = urlsplit(asked.get("redirect_uri", ""))
    if address.scheme not in ("http", "https") or not address.netloc:
        return "redirect_uri must be an http or https address."
    return None


def _refusal(status: int, error: str, description: str) -> Answer:
    return json_answer(status, {"error": error, "error_description": description})


def _secured(answer: Answer) -> Answer:
    return answer.plus(*SECURITY_HEADERS)
