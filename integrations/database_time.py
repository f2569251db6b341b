"""Times are the database's: one clock for all machines."""

from datetime import timedelta

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, Value
from django.db.models.functions import Now


def seconds_from_now(seconds: float) -> ExpressionWrapper:
    """The database's now plus (or, negative, minus) so many seconds."""
    return ExpressionWrapper(
        Now() + Value(timedelta(seconds=seconds), output_field=DurationField()), output_field=DateTimeField()
    )
