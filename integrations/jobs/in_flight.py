"""How many of a process's threads may wait for one account, so that one that hangs starves no other.

An account may hold as many threads as are free (a dynamic threshold, as switches give to the queues of their ports).
So one that hangs takes half of all, the next one half of the rest, and others still find free ones. Nothing has to be
known about who is slow, and no process per account is needed.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

_lock = threading.Lock()
_held: Counter[str] = Counter()


@contextmanager
def slot(account: str) -> Iterator[bool]:
    """Holds one of this process's threads for calls to an account, or yields False: it has its share already."""
    is_held = _take(account)
    try:
        yield is_held
    finally:
        if is_held:
            _give_back(account)


def _take(account: str) -> bool:
    with _lock:
        free = settings.WORKER_CONCURRENCY - _held.total()
        # The first slot is for everyone: an account that has none would otherwise wait for those that hang.
        if _held[account] and _held[account] >= free:
            return False
        _held[account] += 1
        return True


def _give_back(account: str) -> None:
    with _lock:
        _held[account] -= 1
        if not _held[account]:
            del _held[account]
