"""Zendesk's limits: windows of one minute, and the headers that tell what is left."""

import math
import threading
import time
from dataclasses import dataclass

from sandbox.exchange import Answer, Pairs, json_answer

WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit after one request was counted."""

    limit: int
    remaining: int
    resets: int
    exceeded: bool

    def words(self) -> str:
        return f"total={self.limit}; remaining={self.remaining}; resets={self.resets}"


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


class Limits:
    """The windows of one account."""

    def __init__(self) -> None:
        self.account = Window()
        self.look_ups = Window()
        self.updates = Window()

    def reopen(self) -> None:
        """Lets the next request open a new minute, as after a change of the limits."""
        for window in (self.account, self.look_ups, self.updates):
            window.reopen()


def account_headers(allowance: Allowance) -> Pairs:
    return (
        ("x-rate-limit", str(allowance.limit)),
        ("x-rate-limit-remaining", str(allowance.remaining)),
        ("ratelimit-limit", str(allowance.limit)),
        ("ratelimit-remaining", str(allowance.remaining)),
        ("ratelimit-reset", str(allowance.resets)),
    )


def named_header(name: str, words: str) -> tuple[str, str]:
    """The header of a limit that has a name of its own."""
    return f"zendesk-ratelimit-{name}", words


def limit_reached(allowance: Allowance) -> Answer:
    return json_answer(429, {}, ("Retry-After", str(allowance.resets)))
