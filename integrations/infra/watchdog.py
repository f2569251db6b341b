"""Ending what other threads wait for once its time is over: one thread for all, as one for each would cost a lot."""

import os
import threading
import time
from typing import Self

# How late an end may come. Looking ten times a second costs less than being woken for each of a thousand requests.
LOOK_EVERY_SECONDS = 0.1


class Limited:
    """A `with` block with a time limit: if it still runs then, `is_over` is set and `shut` called, by another thread.

    `shut` ends what the block waits for. It runs under `lock`, which protects whatever it ends.
    """

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.is_over = self._is_done = False

    def __enter__(self) -> Self:
        _watchdog.watch(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watchdog.forget(self)
        with self.lock:
            self._is_done = True

    def end(self) -> None:
        with self.lock:
            if not self._is_done:
                self.is_over = True
                self.shut()

    def shut(self) -> None:
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
watched = _watchdog.watched
