"""How a connection is, in a word."""

from datetime import datetime

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import consent_source
from integrations.models import Connection

COLOURS = {"open": "success", "paused": "danger", "broken": "danger", "failed": "warning", "off": "default"}


def lacks_consent(connection: Connection) -> bool:
    """Whether a person still has to allow access at the account."""
    is_asked = consent_source(DESTINATIONS[connection.kind], connection.settings) is not None
    return is_asked and not connection.refresh_token and not connection.access_token


def condition(connection: Connection, now: datetime) -> tuple[str, str]:
    """(a key of COLOURS, the word)"""
    if not connection.is_active:
        return "off", "Off"
    if connection.is_paused(now):
        return "paused", "Paused"
    if connection.breaker_opened_at:
        return "broken", "Unreachable"
    if lacks_consent(connection):
        return "broken", "Not connected"
    failed = any(found.get("ok") is False for found in connection.checks)
    return ("failed", "Last test failed") if failed else ("open", "Sending")


def health(connection: Connection, now: datetime) -> tuple[str, str]:
    """(the badge's colour, the word)"""
    key, word = condition(connection, now)
    return COLOURS[key], word
