"""Pushes events to the subscriptions' addresses, in the background.

Every push is made once, unless the settings say twice: Khoros documents no retries. The outcome is stored with the push
in readable words. A push still waiting when the sandbox stops is not made later, and its outcome says so.
"""

import contextlib
import http.client
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from sandbox.state import State, timestamp

WORKERS = 16
SECONDS_TO_ANSWER = 10
SECONDS_HELD = 3.0

CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Pusher:
    """Worker threads that make the pushes with the given ids; those handed over together go out one after the other."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._due: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()
        self._held: list[int] = []
        self._lock = threading.Lock()
        self._release_later: threading.Timer | None = None
        state.change(
            "UPDATE pushes SET finished_at = ?, error = 'the sandbox ended before it was sent'"
            " WHERE finished_at IS NULL",
            timestamp(),
        )
        self._workers = [threading.Thread(target=self._work, name="push", daemon=True) for _ in range(WORKERS)]
        for worker in self._workers:
            worker.start()

    def send(self, push_ids: list[int]) -> None:
        """Makes the pushes. If they are to be out of order, holds them for a second event, or a few seconds at most."""
        if not self._state.settings.push_out_of_order:
            for push_id in push_ids:
                self._due.put([push_id])
            return
        with self._lock:
            self._held += push_ids
            if self._held and self._event_of(self._held[0]) != self._event_of(self._held[-1]):
                self._release()
            elif self._held and self._release_later is None:
                self._release_later = threading.Timer(SECONDS_HELD, self._release_held)
                self._release_later.daemon = True
                self._release_later.start()

    def forget(self) -> None:
        """Drops every push not yet started."""
        with self._lock:
            self._held = []
        with contextlib.suppress(queue.Empty):
            while True:
                self._due.get_nowait()

    def close(self) -> None:
        """Stops the workers after their current pushes; waiting ones are not sent."""
        self.forget()
        timer = self._release_later
        if timer is not None:
            timer.cancel()
            timer.join()
        for _ in self._workers:
            self._due.put(None)
        for worker in self._workers:
            worker.join(SECONDS_TO_ANSWER + 1)

    def _event_of(self, push_id: int) -> str | None:
        row = self._state.row("SELECT event_uuid FROM pushes WHERE id = ?", push_id)
        return row["event_uuid"] if row else None

    def _release_held(self) -> None:
        with self._lock:
            self._release()

    def _release(self) -> None:
        """Hands over the held pushes, newest first; the caller holds the lock."""
        if self._release_later is not None:
            self._release_later.cancel()
            self._release_later = None
        if self._held:
            self._due.put(sorted(self._held, reverse=True))
            self._held = []

    def _work(self) -> None:
        while (push_ids := self._due.get()) is not None:
            for push_id in push_ids:
                self._make(push_id)

    def _make(self, push_id: int) -> None:
        push = self._state.row(
            "SELECT * FROM pushes JOIN events USING (event_uuid, subscription_uuid) WHERE pushes.id = ?", push_id
        )
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
    """Makes one push and returns the status of the answer, or why there was none."""
    headers = {"Content-Type": "application/json"}
    if push["bearer_token"]:
        headers["Authorization"] = f"Bearer {push['bearer_token']}"
    return sent("POST", push["uri"], push["envelope"].encode(), headers)


def sent(method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> tuple[int | None, str | None]:
    """Makes one request and returns the status of the answer, or why there was none."""
    try:
        return _status(method, uri, body, headers), None
    except ConnectionRefusedError:
        return None, "connection refused"
    except TimeoutError:
        return None, f"no answer within {SECONDS_TO_ANSWER} seconds"
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return None, f"{type(problem).__name__}: {problem}"[:300]


def _status(method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> int:
    address = urlsplit(uri)
    if address.scheme not in CONNECTIONS or not address.hostname:
        raise ValueError("the address is not http or https")
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    connection = CONNECTIONS[address.scheme](address.hostname, address.port, timeout=SECONDS_TO_ANSWER)
    try:
        connection.request(method, target, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()
