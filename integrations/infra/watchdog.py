"""Ending what other threads wait for once its time is over: one thread for all, as one for each would cost a lot."""

import heapq
import os
import threading
import time


class Limited:
    """Something with a time limit. The watchdog's thread calls `end` when the time is over, unless it is done."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.is_done = False

    def __lt__(self, other: "Limited") -> bool:
        return self.until < other.until

    def end(self) -> None:
        raise NotImplementedError


class _Watchdog:
    def __init__(self) -> None:
        self._watched: list[Limited] = []
        self._changed = threading.Condition()
        self._process: int | None = None

    def watch(self, limited: Limited) -> None:
        with self._changed:
            if self._process != os.getpid():
                # A forked process has none of its parent's threads.
                self._process, self._watched = os.getpid(), []
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
            heapq.heappush(self._watched, limited)
            if self._watched[0] is limited:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            limited = self._next()
            if not limited.is_done:
                limited.end()

    def _next(self) -> Limited:
        """Waits for the next one that is done or whose time is over."""
        with self._changed:
            while True:
                left = self._watched[0].until - time.monotonic() if self._watched else None
                if left is not None and (left <= 0 or self._watched[0].is_done):
                    return heapq.heappop(self._watched)
                self._changed.wait(left)


_watchdog = _Watchdog()


def watch(limited: Limited) -> None:
    _watchdog.watch(limited)
