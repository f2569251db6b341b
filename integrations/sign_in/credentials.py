"""Signing in: a connection's secrets in the clear for the length of one try, and its access token kept fresh.

Tokens of the client credentials grant do not invalidate one another, so several processes may fetch one each; within a
process one thread fetches and the others use its token.

A person's consent is different: each renewal replaces both tokens and invalidates the old pair at once. So a single
process renews: it claims the row, calls, and stores the new pair and the end of its claim in one statement. Whoever
else needs a token meanwhile waits for the row to change.

What a person saves during a renewal is never overwritten: new tokens are stored only beside the sign-in they were
fetched with. Expiry is judged by the database's clock.
"""

import threading
import time
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import (
    AsksConsent,
    IssuesSecret,
    SignsInByToken,
    Token,
    token_source,
)
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database, store_with_retries
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.models import Connection

log = structlog.get_logger(__name__)

# A token that expires within this time is renewed before it is used.
RENEWED_BEFORE_END = timedelta(seconds=60)
# Longer than any client's deadline, so that nobody else renews while the claimant's call is under way.
CLAIM_SECONDS = 120.0
LONGEST_WAIT_SECONDS = 20.0
POLL_SECONDS = 0.25

_fetching: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)


def credentials_of(connection: Connection, destination: Destination, client: HttpClient) -> Credentials:
    """Ready to use; fetches an access token when there is no valid one. Raises Failure."""
    secrets = _readable_secrets(connection)
    client.secrets = (*secrets.values(), *_other_secrets(connection))
    source = token_source(destination, connection.settings)
    if source is None:
        return Credentials(connection.settings, secrets)
    token = _valid_token(connection) or _renew(connection, source, client, secrets, "")
    return _with_token(connection, client, secrets, token)


def renewed_credentials(
    connection: Connection, source: SignsInByToken, client: HttpClient, refused: Credentials
) -> Credentials:
    """The same with a new access token in place of the refused one. Raises Failure."""
    token = _renew(connection, source, client, dict(refused.secrets), refused.access_token)
    return _with_token(connection, client, dict(refused.secrets), token)


def is_stored_token(connection: Connection, used: Credentials) -> bool:
    """Whether the token of this try is still the stored one, or none is stored that could be taken instead."""
    return not _newer_token(connection, used.access_token)


def fresh_credentials(connection: Connection, source: SignsInByToken, client: HttpClient) -> Credentials:
    """With a token fetched now, whatever is stored. Only for sign-ins that need no consent. Raises Failure."""
    secrets = _readable_secrets(connection)
    client.secrets = (*secrets.values(), *_other_secrets(connection))
    token = _fetch(connection, source, client, secrets)
    return _with_token(connection, client, secrets, token)


def _other_secrets(connection: Connection) -> list[str]:
    """What is not needed for the call, and must not be recorded when an answer echoes it."""
    stored = (connection.webhook_secret, connection.access_token, connection.refresh_token)
    return [secret.reveal() for secret in stored if secret and secret.is_readable]


def _with_token(connection: Connection, client: HttpClient, secrets: dict[str, str], token: str) -> Credentials:
    client.secrets = (*client.secrets, token)
    return Credentials(connection.settings, secrets, token, connection.granted_scope)


def _readable_secrets(connection: Connection) -> dict[str, str]:
    try:
        return connection.read_secrets()
    except UnreadableSecret:
        raise unreadable_secrets(connection) from None


def unreadable_secrets(connection: Connection) -> Failure:
    message = (
        f"The secrets of the connection “{connection.name}” {UnreadableSecret.message} on the connection's page and "
        "save; it resumes when the test passes."
    )
    if isinstance(DESTINATIONS[connection.kind], IssuesSecret):
        message = (
            f"The secret of the connection “{connection.name}” cannot be read with the present key. Press “Make a new "
            "secret”, give it to the receiver, then press “Test connection”; it resumes when the test passes."
        )
    return Failure(message, permanent=True, pauses=True)


def not_connected(connection: Connection) -> Failure:
    title = DESTINATIONS[connection.kind].title
    message = (
        f"The connection “{connection.name}” has no valid consent in {title}: nobody has given it yet, or it has "
        f"expired. Open its page and press “Connect to {title}”; it resumes after that."
    )
    return Failure(message, permanent=True, pauses=True)


def _valid_token(connection: Connection) -> str:
    ends = connection.access_token_expires_at
    if not connection.access_token or (ends is not None and ends - database_clock.now() < RENEWED_BEFORE_END):
        return ""
    return connection.access_token.reveal() if connection.access_token.is_readable else ""


def _renew(
    connection: Connection, source: SignsInByToken, client: HttpClient, secrets: dict[str, str], refused: str
) -> str:
    if isinstance(source, AsksConsent) and source.asks_consent(connection.settings):
        return _renew_once(connection, source, client, secrets, refused)
    with _fetching[connection.pk]:
        token = _newer_token(connection, refused)
        if token:
            return token
        return _fetch(connection, source, client, secrets)


def _fetch(connection: Connection, source: SignsInByToken, client: HttpClient, secrets: dict[str, str]) -> str:
    release_database()
    fresh = source.fetch_token(client, Credentials(connection.settings, secrets))
    _store(_unchanged(connection), connection, fresh)
    log.info("access token fetched", connection_id=connection.pk)
    return fresh.value


def _newer_token(connection: Connection, refused: str) -> str:
    """A valid token that somebody else stored in the meantime; empty when there is none but the refused one."""
    row = _unchanged(connection).values(*Connection.TOKEN_COLUMNS).first()
    if row is None:
        # Tokens of another sign-in must not be sent to where this try goes.
        raise Failure("The connection's sign-in changed during this attempt.", retry_after=1.0)
    for name, value in row.items():
        setattr(connection, name, value)
    token = _valid_token(connection)
    return token if token != refused else ""


# --- A consent: one renews, the others wait --------------------------------------------------------------------------


def _renew_once(
    connection: Connection, source: AsksConsent, client: HttpClient, secrets: dict[str, str], refused: str
) -> str:
    until = time.monotonic() + min(LONGEST_WAIT_SECONDS, client.seconds_left)
    while not (token := _newer_token(connection, refused)):
        if not connection.refresh_token or not connection.refresh_token.is_readable:
            raise not_connected(connection)
        if _claim(connection):
            try:
                return _refresh(connection, source, client, secrets)
            except _Replaced:
                continue
        if time.monotonic() >= until:
            raise Failure(f"Another process is renewing the sign-in to {client.name} right now.", retry_after=10.0)
        release_database()
        time.sleep(POLL_SECONDS)
    return token


class _Replaced(Exception):
    """The pair was refused, but the row changed since it was claimed: somebody consented again, or holds the claim."""


def _claim(connection: Connection) -> bool:
    """Claims the renewal of this very pair: a pair that was replaced in the meantime cannot be claimed."""
    free = _unchanged(connection).filter(
        Q(renewing_until__isnull=True) | Q(renewing_until__lte=Now()), refresh_token=connection.refresh_token
    )
    if not free.update(renewing_until=seconds_from_now(CLAIM_SECONDS)):
        return False
    connection.refresh_from_db(fields=["renewing_until"])
    return True


def _refresh(connection: Connection, source: AsksConsent, client: HttpClient, secrets: dict[str, str]) -> str:
    mine = _unchanged(connection).filter(refresh_token=connection.refresh_token)
    old = connection.refresh_token.reveal()
    client.secrets = (*client.secrets, old)
    release_database()
    try:
        fresh = source.refresh(client, Credentials(connection.settings, secrets), old)
    except Exception:
        if not mine.filter(renewing_until=connection.renewing_until).update(renewing_until=None):
            raise _Replaced from None
        raise
    # Nothing may come between the reply and the store: there is no other copy of the new pair.
    client.secrets = (*client.secrets, fresh.refresh_token)
    store_with_retries(lambda: _store(mine, connection, fresh), on=(DatabaseError,))
    log.info("access token renewed", connection_id=connection.pk)
    return fresh.value


# --- Storing ---------------------------------------------------------------------------------------------------------


def store_consent(connection: Connection, token: Token) -> bool:
    """Stores the first pair of a new consent; False when somebody changed the sign-in since it was read."""
    return _store(_unchanged(connection), connection, token)


def _unchanged(connection: Connection) -> QuerySet[Connection]:
    """The row, unless somebody saved another sign-in."""
    return Connection.objects.filter(pk=connection.pk, secrets=connection.secrets, settings=connection.settings)


def _store(rows: QuerySet[Connection], connection: Connection, token: Token) -> bool:
    values = token_columns(token)
    for name, value in values.items():
        setattr(connection, name, value)
    return rows.update(**values) == 1


def token_columns(token: Token) -> dict[str, Any]:
    """The columns that a token sets on a connection; they end a claim."""
    return {
        "access_token": Secret.of(token.value),
        "access_token_expires_at": _expires_at(token),
        "refresh_token": Secret.of(token.refresh_token),
        "granted_scope": token.scope,
        "renewing_until": None,
    }


def _expires_at(token: Token) -> datetime | None:
    return database_clock.now() + timedelta(seconds=token.seconds) if token.seconds else None
