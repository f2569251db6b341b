"""Khoros' OAuth: the page where a person allows access, and the call that turns a code into a token.

As documented: a wrong secret is answered with status 500, an unknown client with a page.
"""

import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from sandbox.exchange import TEXT, Answer, Request, Routes, back_to_application, html_answer, json_answer
from sandbox.rendering import page, problem_page
from sandbox.state import State

CLIENT_ID, CLIENT_SECRET = "sandbox-khoros-client", "sandbox-khoros-secret"
TOKEN_SECONDS = 730 * 86400
CODE_SECONDS = 120
BAD_CLIENT_PAGE = "<html><head><title>Unauthorized</title></head><body><h1>Unknown client</h1></body></html>"


class KhorosOAuth:
    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = Routes(
            ("GET", "/v3/oauth/authorize", self._ask),
            ("POST", "/v3/oauth/authorize", self._decide),
            ("POST", "/v3/oauth/token", self._issue),
        )

    def answer(self, request: Request) -> Answer | None:
        return self._routes.answer(request)

    def _ask(self, request: Request) -> Answer:
        if problem := _problem(request.query):
            return problem_page("Not allowed", problem, 400)
        shown: dict[str, Any] = {"system": "Khoros", "owner": "John Doe", "action": "/v3/oauth/authorize"}
        return page("allow.html", "Allow access", asked=request.query, **shown)

    def _decide(self, request: Request) -> Answer:
        form = request.form()
        if problem := _problem({**form, "response_type": "code"}):
            return problem_page("Not allowed", problem, 400)
        if form.get("decision") != "allow":
            return back_to_application(form, {"error": "access_denied"})
        code = secrets.token_hex(16)
        codes = self._state.document("khoros_codes") or {}
        kept = {"redirect_uri": form["redirect_uri"], "ends": time.time() + CODE_SECONDS}
        self._state.keep_document("khoros_codes", {**codes, code: kept})
        return back_to_application(form, {"code": code})

    def _issue(self, request: Request) -> Answer:
        form = request.form()
        if form.get("client_id") != CLIENT_ID:
            return html_answer(401, BAD_CLIENT_PAGE)
        if form.get("client_secret") != CLIENT_SECRET:
            return html_answer(500, "<html><body><h1>Internal Server Error</h1></body></html>")
        codes = self._state.document("khoros_codes") or {}
        code = codes.pop(form.get("code", ""), None)
        self._state.keep_document("khoros_codes", codes)
        if code is None or code["ends"] < time.time() or code["redirect_uri"] != form.get("redirect_uri"):
            problem = {"status": {"succeeded": False, "error": {"code": "VALIDATION_ERROR", "message": "Bad code."}}}
            return json_answer(400, problem, content_type=TEXT)
        token = f"khoros-{secrets.token_hex(24)}"
        self._state.keep_document("khoros_tokens", [*(self._state.document("khoros_tokens") or []), token])
        expires = int((time.time() + TOKEN_SECONDS) * 1000)
        data = {"sfEntityType": "Token", "accessToken": token, "expiryTime": expires}
        return json_answer(200, {"data": data, "status": {"succeeded": True}}, content_type=TEXT)


def issued_tokens(state: State) -> list[str]:
    found: list[str] = state.document("khoros_tokens") or []
    return found


def _problem(asked: Any) -> str:
    if asked.get("response_type") != "code":
        return "response_type must be code."
    if asked.get("client_id") != CLIENT_ID:
        return "There is no such client."
    address = urlsplit(asked.get("redirect_uri", ""))
    is_address = address.scheme in ("http", "https") and address.netloc
    return "" if is_address else "redirect_uri must be an http or https address."
