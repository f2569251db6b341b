"""Makes webhook calls in the background, in order unless the settings say otherwise.

A failing call is tried up to three times, each time with a new time stamp and signature. A refusal ends it.
"""

import base64
import hashlib
import hmac
import json
import sqlite3
import threading
import time
from datetime import timedelta
from typing import Any

from sandbox import webhooks
from sandbox.pushes import SECONDS_TO_ANSWER, sent
from sandbox.state import ACCOUNT_ID, State, now, stamp, timestamp

SECONDS_BEFORE_TRIES = (0.1, 0.4)
SECONDS_HELD = 3.0
SECONDS_BETWEEN_LOOKS = 0.05

WAITING = "SELECT * FROM webhook_calls WHERE finished_at IS NULL ORDER BY id"


class WebhookSender:
    """One thread. Calls not made when the sandbox stops are made in the next run."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        state.webhooks_due.set()
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._state.webhooks_due.set()
        self._thread.join(SECONDS_TO_ANSWER + 1)

    def _work(self) -> None:
        while not self._ending.is_set():
            self._state.webhooks_due.wait()
            self._state.webhooks_due.clear()
            while not self._ending.is_set() and (waiting := self._state.rows(WAITING)):
                self._make_due(waiting)

    def _make_due(self, waiting: list[sqlite3.Row]) -> None:
        """Makes the waiting calls that are due, or waits a moment."""
        is_reversed = self._state.settings.webhooks_out_of_order
        due = [call for call in waiting if call["due_at"] <= time.time()]
        if not due or (is_reversed and _may_be_overtaken(due)):
            self._ending.wait(SECONDS_BETWEEN_LOOKS)
            return
        for call in reversed(due) if is_reversed else due:
            if self._ending.is_set():
                return
            self._make(call)

    def _make(self, call: sqlite3.Row) -> None:
        webhook = webhooks.one(self._state, call["webhook_id"])
        if webhook is None or webhook["status"] != "active":
            self._finish(call, error="the webhook is not active any more")
            return
        is_repeat = call["headers"] is not None
        endpoint = call["endpoint"] if is_repeat else webhook["endpoint"]
        headers = json.loads(call["headers"]) if is_repeat else self._headers(webhook, call)
        status, error = sent(webhook["http_method"], endpoint, call["body"], headers)
        with self._state.transaction():
            self._finish(call, endpoint=endpoint, headers=json.dumps(headers), status=status, error=error)
            if not is_repeat and _is_failure(status) and call["attempt"] <= len(SECONDS_BEFORE_TRIES):
                self._try_again(call)

    def _headers(self, webhook: dict[str, Any], call: sqlite3.Row) -> dict[str, str]:
        signed_at = stamp(now() + timedelta(seconds=self._state.settings.webhook_clock_seconds))
        return {
            "X-Zendesk-Webhook-Signature-Timestamp": signed_at,
            "X-Zendesk-Webhook-Signature": signature(webhook["signing_secret"], signed_at, call["body"]),
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Zendesk Webhook",
            "X-Zendesk-Account-Id": str(ACCOUNT_ID),
            "X-Zendesk-Webhook-Id": webhook["id"],
            "X-Zendesk-Webhook-Invocation-Id": call["invocation_id"],
            **_authorization(webhook.get("authentication")),
            **(webhook.get("custom_headers") or {}),
        }

    def _finish(self, call: sqlite3.Row, **outcome: Any) -> None:
        self._state.change(
            "UPDATE webhook_calls SET finished_at = ?, endpoint = ?, headers = ?, status = ?, error = ? WHERE id = ?",
            timestamp(),
            *(outcome.get(name) for name in ("endpoint", "headers", "status", "error")),
            call["id"],
        )

    def _try_again(self, call: sqlite3.Row) -> None:
        self._state.insert(
            "INSERT INTO webhook_calls (webhook_id, change_id, event_id, invocation_id, body, attempt, requested_at,"
            " due_at) SELECT webhook_id, change_id, event_id, invocation_id, body, attempt + 1, ?, ?"
            " FROM webhook_calls WHERE id = ?",
            time.time(),
            time.time() + SECONDS_BEFORE_TRIES[call["attempt"] - 1],
            call["id"],
        )


def signature(secret: str, signed_at: str, body: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), signed_at.encode() + body, hashlib.sha256).digest()).decode()


def _may_be_overtaken(due: list[sqlite3.Row]) -> bool:
    """Whether to hold calls for a while because they all report the same change."""
    return len({call["change_id"] for call in due}) < 2 and due[0]["requested_at"] > time.time() - SECONDS_HELD


def _is_failure(status: int | None) -> bool:
    return status is None or status == 429 or status >= 500


def _authorization(given: Any) -> dict[str, str]:
    details = given.get("data") if isinstance(given, dict) else None
    if not isinstance(details, dict):
        return {}
    if given.get("type") == "bearer_token":
        return {"Authorization": f"Bearer {details.get('token')}"}
    if given.get("type") == "basic_auth":
        pair = f"{details.get('username')}:{details.get('password')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
