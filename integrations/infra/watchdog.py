"""Ending what other threads wait for once its time is over: one thread for all, as one for each would cost a lot."""

import os
import threading
import time

# How late an end may come. Looking ten times a second costs less than being woken for each of a thousand requests.
LOOK_EVERY_SECONDS = 0.1


class Limited:
    """A `with` block with a time limit: the watchdog's thread calls `end` if the block is still running then."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def end(self) -> None:
        raise NotImplementedError


class _Watchdog:
    def __init__(self) -> None:
        self._watched: set[Limited] = set()
        self._lock = threading.Lock()
        self._has_work = threading.Event()
        self._process: int | None = None

    def watch(self, limited: Limited) -> None:
        with self._lock:
            if self._process != os.getpid():
                # A forked process has none of its parent's threads.
                self._process, self._watched, self._has_work = os.getpid(), set(), threading.Event()
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
            self._watched.add(limited)
        if not self._has_work.is_set():
            self._has_work.set()

    def forget(self, limited: Limited) -> None:
        with self._lock:
            self._watched.discard(limited)

    def watched(self) -> list[Limited]:
        with self._lock:
            return list(self._watched)

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            time.sleep(LOOK_EVERY_SECONDS)
            with self._lock:
                now = time.monotonic()
                over = [limited for limited in self._watched if limited.until <= now]
                self._watched.difference_update(over)
                if not self._watched:
                    self._has_work.clear()
            for limited in over:
                limited.end()


_watchdog = _Watchdog()
watch, forget, watched = _watchdog.watch, _watchdog.forget, _watchdog.watched
