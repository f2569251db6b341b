"""Times are the database's: one clock for all machines."""

import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, Value
from django.db.models.functions import Now


def seconds_from_now(seconds: float) -> ExpressionWrapper:
    """The database's now plus (or, negative, minus) so many seconds."""
    return ExpressionWrapper(
        Now() + Value(timedelta(seconds=seconds), output_field=DurationField()), output_field=DateTimeField()
    )


# --- The present moment ----------------------------------------------------------------------------------------------

ASKED_EVERY_SECONDS = 60.0


class _Clock:
    """How far the database's clock is from this process's monotonic one, asked again each minute.

    A machine's own clock may be hours wrong and is set right in jumps; the monotonic one only counts seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._database_then = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        with self._lock:
            passed = time.monotonic() - self._asked_at if self._asked_at is not None else ASKED_EVERY_SECONDS
            if passed < ASKED_EVERY_SECONDS:
                return self._database_then + timedelta(seconds=passed)
        return self._asked()

    def _asked(self) -> datetime:
        with connection.cursor() as cursor:
            # Not now(): within a transaction that is the moment when the transaction began.
            cursor.execute("SELECT clock_timestamp()")
            (moment,) = cursor.fetchone()
        with self._lock:
            self._asked_at, self._database_then = time.monotonic(), moment
        return self._database_then


_clock = _Clock()


def now() -> datetime:
    """The database's present moment, for decisions made in Python. Asks the database once a minute."""
    return _clock.now()
