"""Times are the database's: one clock for all machines."""

import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, Value
from django.db.models.functions import Now


def seconds_from_now(seconds: float) -> ExpressionWrapper:
    """The database's now() plus `seconds`, which may be negative."""
    return ExpressionWrapper(
        Now() + Value(timedelta(seconds=seconds), output_field=DurationField()), output_field=DateTimeField()
    )


# --- The current time ------------------------------------------------------------------------------------------------

SYNC_EVERY_SECONDS = 60.0


class _Clock:
    """The database's clock, carried forward by this process's monotonic one and synchronised once a minute.

    A machine's own clock may be hours off and be corrected in jumps; the monotonic one only counts seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._synced_at: float | None = None
        self._database_time = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        with self._lock:
            passed = time.monotonic() - self._synced_at if self._synced_at is not None else SYNC_EVERY_SECONDS
            if passed < SYNC_EVERY_SECONDS:
                return self._database_time + timedelta(seconds=passed)
        return self._sync()

    def _sync(self) -> datetime:
        with connection.cursor() as cursor:
            # Not now(): inside a transaction that is the time at which it began.
            cursor.execute("SELECT clock_timestamp()")
            (database_time,) = cursor.fetchone()
        with self._lock:
            self._synced_at, self._database_time = time.monotonic(), database_time
        return self._database_time


_clock = _Clock()


def now() -> datetime:
    """The database's current time, for decisions made in Python. Queries the database once a minute."""
    return _clock.now()
