"""The connections of a small database, and its outages of a moment."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection

log = structlog.get_logger(__name__)

DATABASE_DOWN = (OperationalError, InterfaceError)
# Between tries to store what there is no other copy of; after LONGEST_STORE_SECONDS it is given up.
STORE_DELAYS = (0.2, 1.0, 3.0)
LONGEST_STORE_SECONDS = 6.0

Stored = TypeVar("Stored")


def release_database() -> None:
    """Returns this thread's connection before waiting for others: a small database allows few at a time."""
    if not connection.in_atomic_block:
        connection.close()


def store_with_retries(
    store: Callable[[], Stored],
    delays: Sequence[float] | None = None,
    *,
    within: float = LONGEST_STORE_SECONDS,
    on: tuple[type[Exception], ...] = DATABASE_DOWN,
) -> Stored:
    """Retries during a database outage, `within` seconds, as there is no other copy. Raises the last error.

    `on`: the errors that may pass.
    """
    began = time.monotonic()
    for delay in STORE_DELAYS if delays is None else delays:
        try:
            return store()
        except on as error:
            if time.monotonic() - began + delay > within:
                raise
            log.warning("not stored, retrying", error=type(error).__name__)
            release_database()
            time.sleep(delay)
    return store()
