"""Signing in: a connection's secrets in the clear for the length of one try, and its access token kept fresh.

Tokens of the client credentials grant do not end one another, so several processes may fetch one each; within a
process one thread fetches and the others use what it got.
"""

import threading
from collections import defaultdict
from datetime import datetime, timedelta

import structlog
from django.utils import timezone

from integrations.destinations import Destination
from integrations.destinations.base import Credentials
from integrations.encryption import Secret, UnreadableSecret
from integrations.http import Failure, Line
from integrations.models import Connection
from integrations.stored_secrets import read_secrets

log = structlog.get_logger(__name__)

# A token that ends within this time is renewed before it is used.
RENEWED_BEFORE_END = timedelta(seconds=60)

_fetching: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)


def credentials_of(connection: Connection, destination: Destination, line: Line) -> Credentials:
    """Ready to use; fetches an access token when there is no good one. Raises Failure."""
    secrets = _readable_secrets(connection)
    line.secrets = tuple(secrets.values())
    if not destination.needs_token(connection.settings):
        return Credentials(connection.settings, secrets)
    token = _kept_token(connection, timezone.now()) or _renewed(connection, destination, line, secrets, "")
    line.secrets = (*line.secrets, token)
    return Credentials(connection.settings, secrets, token)


def renewed_credentials(
    connection: Connection, destination: Destination, line: Line, refused: Credentials
) -> Credentials:
    """The same with another access token than the refused one. Raises Failure."""
    token = _renewed(connection, destination, line, dict(refused.secrets), refused.access_token)
    line.secrets = (*line.secrets, token)
    return Credentials(refused.settings, refused.secrets, token)


def _readable_secrets(connection: Connection) -> dict[str, str]:
    try:
        return read_secrets(connection)
    except UnreadableSecret:
        raise unreadable(connection) from None


def unreadable(connection: Connection) -> Failure:
    words = f"The secrets of the connection “{connection.name}” {UnreadableSecret.words} on the connection's page."
    return Failure(words, permanent=True, pauses=True)


def _kept_token(connection: Connection, now: datetime) -> str:
    ends = connection.access_token_expires_at
    if not connection.access_token or (ends is not None and ends - now < RENEWED_BEFORE_END):
        return ""
    return connection.access_token.reveal() if connection.access_token.is_readable else ""


def _renewed(
    connection: Connection, destination: Destination, line: Line, secrets: dict[str, str], refused: str
) -> str:
    with _fetching[connection.pk]:
        connection.refresh_from_db(fields=["access_token", "access_token_expires_at"])
        token = _kept_token(connection, timezone.now())
        if token and token != refused:
            return token
        fresh = destination.fetch_token(line, Credentials(connection.settings, secrets))
        _keep(connection, fresh.value, fresh.seconds)
        log.info("access token fetched", connection_id=connection.pk)
        return fresh.value


def _keep(connection: Connection, token: str, seconds: float | None) -> None:
    ends = timezone.now() + timedelta(seconds=seconds) if seconds else None
    # Only beside the sign-in it was fetched with: somebody may have changed that in the meantime.
    unchanged = Connection.objects.filter(pk=connection.pk, secrets=connection.secrets, settings=connection.settings)
    unchanged.update(access_token=Secret.of(token), access_token_expires_at=ends)
