"""The day on which a way of signing in ends."""

from datetime import date

from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.models import Connection

ALARM_DAYS_BEFORE_END = 90


def days_left(connection: Connection) -> int | None:
    """Days until this way of signing in ends, by the database's clock; None where no end is known."""
    ends = DESTINATIONS[connection.kind].sign_in_ends(connection.settings)
    return (ends - database_clock.now().date()).days if ends else None


def end_text(connection: Connection) -> str:
    """How long the sign-in still works; empty where no end is known."""
    ends = DESTINATIONS[connection.kind].sign_in_ends(connection.settings)
    return countdown(ends, database_clock.now().date()) if ends else ""


def countdown(ends: date, today: date) -> str:
    when, left = f"{ends.day} {ends:%B %Y}", (ends - today).days
    if left < 0:
        return f"API tokens stopped working on {when}"
    if left == 0:
        return f"Zendesk's API tokens stop working today, {when}"
    return f"API tokens stop working on {when} ({left} day{'s' if left != 1 else ''} left)"


def end_alarm(connection: Connection) -> str:
    """Why the end of the sign-in is worth an alarm; empty when it is far off or there is none."""
    left = days_left(connection)
    if left is None or left > ALARM_DAYS_BEFORE_END:
        return ""
    return f"{end_text(connection)}. Use “Move to OAuth” on the connection's page."
