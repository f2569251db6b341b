"""The day on which a way of signing in ends."""

from datetime import date

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import EndsSignIn
from integrations.infra import database_clock
from integrations.models import Connection

ALARM_DAYS_BEFORE_END = 90


def _end(connection: Connection) -> tuple[EndsSignIn, date, int] | None:
    """(the destination, the day, how many days are left by the database's clock); None where no end is known."""
    destination = DESTINATIONS[connection.kind]
    ends = destination.sign_in_ends(connection.settings) if isinstance(destination, EndsSignIn) else None
    if not isinstance(destination, EndsSignIn) or ends is None:
        return None
    return destination, ends, (ends - database_clock.now().date()).days


def end_text(connection: Connection) -> str:
    """How long the sign-in still works; empty where no end is known."""
    end = _end(connection)
    return end[0].end_text(end[1], end[2]) if end else ""


def end_alarm(connection: Connection) -> str:
    """Why the end of the sign-in is worth an alarm; empty when it is far off or there is none."""
    end = _end(connection)
    if end is None or end[2] > ALARM_DAYS_BEFORE_END:
        return ""
    return f"{end_text(connection)}. Use “Move to OAuth” on the connection's page."
