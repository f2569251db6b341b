"""Zendesk's consent in small, before the sandbox: codes and rotating pairs of tokens; all else goes on to the sandbox.

A refresh deletes the old pair at once, as Zendesk does. Who bears a living access token is the sandbox's agent.
"""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3

AGENT = base64.b64encode(b"agent@example.com/token:sandbox-zendesk-token").decode()
INVALID_GRANT = (401, {"error": "invalid_grant", "error_description": "The provided authorization grant is invalid"})
WRONG_CLIENT = (401, {"error": "invalid_client", "error_description": "Client authentication failed"})


class Account:
    """What the account knows. Tests read and change it."""

    def __init__(self, sandbox_url: str) -> None:
        self.sandbox_url, self.url = sandbox_url, ""
        self.lock = threading.Lock()
        self.pairs: dict[str, str] = {}  # refresh token: access token
        self.codes: dict[str, str] = {}  # code: redirect address
        self.asked: list[dict[str, Any]] = []
        self.redirect_uri = ""
        self.scope = ""
        self.success = 201
        self.refresh_seconds = 0.0
        self.seconds_ahead = 0.0

    def consent(self, address: str) -> dict[str, str]:
        """What a person does on Zendesk's page: the query that the browser comes back with."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_hex(8)
        self.codes[code] = asked["redirect_uri"]
        return {"code": code, "state": asked["state"]}

    def revoke(self) -> None:
        self.pairs.clear()

    def expire_access(self) -> None:
        """Access tokens die, refresh tokens live."""
        self.pairs = dict.fromkeys(self.pairs, "")

    def refreshes(self) -> list[dict[str, Any]]:
        return [content for content in self.asked if content["grant_type"] == "refresh_token"]

    def token(self, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.asked.append(content)
        if (content.get("client_id"), content.get("client_secret")) != ("sandbox-client", "sandbox-secret"):
            return WRONG_CLIENT
        grant = {"authorization_code": self._by_code, "refresh_token": self._by_refresh}
        return grant[content["grant_type"]](content)

    def _by_code(self, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.redirect_uri and content["redirect_uri"] != self.redirect_uri:
            return 400, {"error": "invalid_request", "error_description": "The redirect URI does not match"}
        if self.codes.pop(content["code"], None) != content["redirect_uri"]:
            return INVALID_GRANT
        return self._pair(content)

    def _by_refresh(self, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            is_known = self.pairs.pop(content["refresh_token"], None) is not None
            answer = self._pair(content) if is_known else INVALID_GRANT
        time.sleep(self.refresh_seconds)
        return answer

    def _pair(self, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self.pairs[refresh] = access
        scope = self.scope or content["scope"]
        lives = content["expires_in"]
        answer = {"access_token": access, "refresh_token": refresh, "scope": scope, "expires_in": lives}
        return self.success, answer | {"token_type": "bearer"}


@contextmanager
def running_account(sandbox_url: str) -> Iterator[Account]:
    account = Account(sandbox_url)
    handler = type("Handler", (_Handler,), {"account": account})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    account.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield account
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    account: Account

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/oauth/tokens":
            status, content = self.account.token(json.loads(body))
            self._answer(status, json.dumps(content).encode())
        else:
            self._pass_on("POST", body)

    def do_GET(self) -> None:
        self._pass_on("GET", None)

    def _pass_on(self, method: str, body: bytes | None) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "authorization")}
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        is_known = bool(bearer) and bearer in self.account.pairs.values()
        headers["Authorization"] = f"Basic {AGENT}" if is_known else f"Bearer {bearer}"
        found = urllib3.request(method, self.account.sandbox_url + self.path, body=body, headers=headers)
        self._answer(found.status, found.data)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string(time.time() + self.account.seconds_ahead))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
