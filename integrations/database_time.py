"""Times are the database's: one clock for all machines."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, Value
from django.db.models.functions import Now


def seconds_from_now(seconds: float) -> ExpressionWrapper:
    """The database's now plus (or, negative, minus) so many seconds."""
    return ExpressionWrapper(
        Now() + Value(timedelta(seconds=seconds), output_field=DurationField()), output_field=DateTimeField()
    )


def now() -> datetime:
    """The database's now: this machine's clock may be wrong."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        found: datetime = cursor.fetchone()[0]
    return found
