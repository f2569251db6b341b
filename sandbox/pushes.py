"""Pushes events to the addresses subscriptions named, in the background.

Every push is made once: the service documents no second try. What became of it is written beside it, in words
a person can read. A push that was waiting when the sandbox ended is not made later, and says so.
"""

import http.client
import queue
import sqlite3
import threading
import time
from urllib.parse import urlsplit

from sandbox.state import State, timestamp

WORKERS = 16
SECONDS_TO_ANSWER = 10

CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Pusher:
    """Worker threads that make the pushes whose ids they are given."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._due: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        state.change(
            "UPDATE pushes SET finished_at = ?, error = 'the sandbox ended before it was sent'"
            " WHERE finished_at IS NULL",
            timestamp(),
        )
        self._workers = [threading.Thread(target=self._work, name="push", daemon=True) for _ in range(WORKERS)]
        for worker in self._workers:
            worker.start()

    def send(self, push_ids: list[int]) -> None:
        for push_id in push_ids:
            self._due.put(push_id)

    def close(self) -> None:
        """Ends the workers once the pushes they hold are done; what still waits is not sent."""
        while not self._due.empty():
            self._due.get()
        for _ in self._workers:
            self._due.put(None)
        for worker in self._workers:
            worker.join(SECONDS_TO_ANSWER + 1)

    def _work(self) -> None:
        while (push_id := self._due.get()) is not None:
            self._make(push_id)

    def _make(self, push_id: int) -> None:
        push = self._state.row("SELECT * FROM pushes JOIN events USING (event_uuid) WHERE pushes.id = ?", push_id)
        if push is None:
            return
        started = time.monotonic()
        status, error = outcome(push)
        self._state.change(
            "UPDATE pushes SET finished_at = ?, milliseconds = ?, status = ?, error = ? WHERE id = ?",
            timestamp(),
            round((time.monotonic() - started) * 1000),
            status,
            error,
            push_id,
        )


def outcome(push: sqlite3.Row) -> tuple[int | None, str | None]:
    """Makes one push and returns the status it was answered with, or else why there was no answer."""
    try:
        return _post(push["uri"], push["bearer_token"], push["envelope"].encode()), None
    except ConnectionRefusedError:
        return None, "connection refused"
    except TimeoutError:
        return None, f"no answer within {SECONDS_TO_ANSWER} seconds"
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return None, f"{type(problem).__name__}: {problem}"[:300]


def _post(uri: str, bearer_token: str | None, body: bytes) -> int:
    address = urlsplit(uri)
    if address.scheme not in CONNECTIONS or not address.hostname:
        raise ValueError("the address is not http or https")
    headers = {"Content-Type": "application/json"}
    if bearer_token:
        headers["Authorization"] = f"Bearer {bearer_token}"
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    connection = CONNECTIONS[address.scheme](address.hostname, address.port, timeout=SECONDS_TO_ANSWER)
    try:
        connection.request("POST", target, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()
