"""Zendesk's rate limits: time windows, and the headers that say what is left, in their various spellings."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.exchange import Answer, Pairs, json_answer
from sandbox.state import State

MINUTE = 60.0
USER_UPDATES_PER_MINUTE = 5


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit after counting one request."""

    limit: int
    remaining: int
    resets: int
    exceeded: bool

    def words(self) -> str:
        return f"total={self.limit}; remaining={self.remaining}; resets={self.resets}"


class Window:
    """A fixed window that opens with the first request after the last one ended."""

    def __init__(self, seconds: float = MINUTE) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._ends = 0.0
        self._used = 0

    def spend(self, limit: int, used_by_others: int = 0) -> Allowance:
        """Counts one request; other users of the account spend theirs evenly over the window."""
        with self._lock:
            moment = time.monotonic()
            if moment >= self._ends:
                self._ends, self._used = moment + self._seconds, 0
            self._used += 1
            gone = 1 - (self._ends - moment) / self._seconds
            used = self._used + math.floor(used_by_others * gone)
            resets = max(1, math.ceil(self._ends - moment))
            return Allowance(limit, max(0, limit - used), resets, used > limit)

    def reopen(self) -> None:
        with self._lock:
            self._ends = 0.0


class Limits:
    """The windows of one account."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._account = Window()
        self._look_ups = Window()
        self._updates = Window()
        self._upserts = Window(seconds=1.0)
        self._upserts_of: dict[int, Window] = {}

    def reopen(self) -> None:
        """The next request opens a new window, as after a change of the limits."""
        for window in (self._account, self._look_ups, self._updates, self._upserts):
            window.reopen()
        with self._lock:
            self._upserts_of.clear()

    def of_account(self) -> Allowance | None:
        """Counts a request against the account's limit; None if there is none."""
        settings = self._state.settings
        return self._account.spend(settings.rate_limit, settings.others_use_per_minute) if settings.rate_limit else None

    def look_up(self, answer: Callable[[], Answer]) -> Answer:
        settings = self._state.settings
        limit = settings.index_limit if settings.rate_limit else 0
        return self._named(self._look_ups, limit, "tickets-index", answer)

    def update(self, answer: Callable[[], Answer]) -> Answer:
        return self._named(self._updates, self._state.settings.update_limit, "tickets-update", answer)

    def of_upsert(self) -> Allowance | None:
        """Counts a create_or_update call against the account's limit per second."""
        return self._upserts.spend(1) if self._counts_people() else None

    def of_upsert_of(self, user_id: int) -> Allowance | None:
        """Counts an update of one person against that person's limit per minute."""
        if not self._counts_people():
            return None
        with self._lock:
            window = self._upserts_of.setdefault(user_id, Window())
        return window.spend(USER_UPDATES_PER_MINUTE)

    def account_headers(self, allowance: Allowance) -> Pairs:
        values = (str(allowance.limit), str(allowance.remaining), str(allowance.resets))
        return tuple(
            (name, value)
            for names in SPELLINGS[self._state.settings.rate_headers]
            for name, value in zip(names, values, strict=False)
        )

    def named_header(self, name: str, words: str) -> tuple[str, str]:
        """The header of a limit with its own name."""
        return f"{self._state.settings.named_limit_spelling}{name}", words

    def _named(self, window: Window, limit: int, name: str, answer: Callable[[], Answer]) -> Answer:
        """The answer under a limit with its own name; 0 means no limit and no header."""
        if not limit:
            return answer()
        allowance = window.spend(limit)
        within = limit_reached(allowance) if allowance.exceeded else answer()
        return within.plus(self.named_header(name, allowance.words()))

    def _counts_people(self) -> bool:
        return bool(self._state.settings.rate_limit) and self._state.settings.user_limits


OLDEST = ("x-rate-limit", "x-rate-limit-remaining")
OLD = ("rate-limit", "rate-limit-remaining", "rate-limit-reset")
NEW = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")

# The names of the headers for limit, remaining and seconds until reset, in this order.
SPELLINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "all": (OLDEST, NEW),
    "new": (NEW,),
    "old": (OLD,),
    "x": (OLDEST,),
    "shouting": (
        ("X-RATE-LIMIT", "x-Rate-LIMIT-Remaining"),
        ("RateLimit-Limit", "RATELIMIT-Remaining", "RateLimit-RESET"),
    ),
    "none": (),
}


def limit_reached(allowance: Allowance) -> Answer:
    return json_answer(429, {}, ("Retry-After", str(allowance.resets)))
