"""Addresses of webhooks that exist, so that whoever tries others makes no work of it for the database.

Callers are told apart from strangers without a look for each: what exists is read once in a while, all of it, and what
is not among it is looked for a few times a second at most.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable

MOST_LOOKS_A_SECOND = 20
MOST_LOOKS_AT_ONCE = 5
READ_AFTER_SECONDS = 1.0


class Looks:
    """So many looks at the database a second, evenly but for `at_once`."""

    def __init__(self, at_once: int = MOST_LOOKS_AT_ONCE) -> None:
        self._at_once = at_once
        self._left, self._counted_at = float(at_once), time.monotonic()
        self._lock = threading.Lock()

    def may_begin(self) -> bool:
        with self._lock:
            if self._count() < 1:
                return False
            self._left -= 1
            return True

    @property
    def are_used_up(self) -> bool:
        with self._lock:
            return self._count() < 1

    def _count(self) -> float:
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._counted_at) * MOST_LOOKS_A_SECOND)
        self._counted_at = now
        return self._left


class KnownAddresses:
    """`read` returns all that exist; it is called once in READ_AFTER_SECONDS at most, whoever calls."""

    def __init__(self, read: Callable[[], Iterable[uuid.UUID]], looks: Looks) -> None:
        self._read, self._looks = read, looks
        self._known: frozenset[uuid.UUID] = frozenset()
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def may_exist(self, address: uuid.UUID) -> bool:
        """False: surely not, or too many others were looked for just now. Raises what `read` raises."""
        if address in self._known:
            return True
        if self._is_old:
            self._read_anew()
        return address in self._known or not self._was_read or self._looks.may_begin()

    def note(self, address: uuid.UUID) -> None:
        """One that was found by a look of its own."""
        if address not in self._known:
            self._known |= {address}

    def is_surely_unknown(self, address: uuid.UUID) -> bool:
        """Whether `may_exist` would say no without asking anybody."""
        return address not in self._known and not self._is_old and self._looks.are_used_up

    @property
    def _was_read(self) -> bool:
        return self._read_at > float("-inf")

    @property
    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at >= READ_AFTER_SECONDS

    def _read_anew(self) -> None:
        """Nobody waits for another who reads: a database that hangs would hold them up one after the other."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._known = frozenset(self._read())
            self._read_at = time.monotonic()
        finally:
            self._lock.release()
