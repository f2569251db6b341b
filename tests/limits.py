"""A bound on running time that is far above what the code needs and far below what a quadratic one would take."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails when the block is not through in time.

    By a signal, which regular expressions and Python code heed wherever they are; what fails is no Exception, so that
    nothing in the code under test takes it for one of its own.
    """

    def stop(*_: Any) -> None:
        pytest.fail(f"not through within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
