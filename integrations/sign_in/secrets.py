"""A connection's secrets by name: one encrypted JSON object in one column."""

import json
from collections.abc import Mapping

from django.db import transaction

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import IssuesSecret
from integrations.infra import database_clock
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.models import Connection


def read_secrets(connection: Connection) -> dict[str, str]:
    """All of them in the clear. Raises UnreadableSecret."""
    plain = connection.secrets.reveal()
    return json.loads(plain) if plain else {}


def change_secrets(connection: Connection, changes: Mapping[str, str]) -> bool:
    """Sets new values (unsaved) and returns whether anything changed. Empty values keep what is stored."""
    try:
        stored = read_secrets(connection)
    except UnreadableSecret:
        stored = {}
    merged = stored | {name: value for name, value in changes.items() if value}
    if merged == stored:
        return False
    connection.secrets = Secret.of(json.dumps(merged))
    forget_tokens(connection)
    return True


def issue_first_secret(connection: Connection) -> str:
    """Sets (unsaved) a secret of ours where the destination takes one and there is none; returns it, else "".

    One that cannot be read with the present key is as good as none.
    """
    destination = DESTINATIONS[connection.kind]
    if not isinstance(destination, IssuesSecret) or (connection.secrets and connection.secrets.is_readable):
        return ""
    stored, shown = destination.issue_secret({}, database_clock.now())
    connection.secrets = Secret.of(json.dumps(stored))
    return shown


def issue_secret(connection_id: int) -> str:
    """Stores a new secret beside the one so far, and returns it to be shown once; "" where none is issued."""
    with transaction.atomic():
        connection = Connection.objects.select_for_update().get(pk=connection_id)
        destination = DESTINATIONS[connection.kind]
        if not isinstance(destination, IssuesSecret):
            return ""
        shown = issue_first_secret(connection)
        if not shown:
            stored, shown = destination.issue_secret(read_secrets(connection), database_clock.now())
            connection.secrets = Secret.of(json.dumps(stored))
        connection.save(update_fields=["secrets"])
    return shown


def forget_secrets(connection: Connection) -> None:
    """Drops (unsaved) everything entered and fetched for the address that the connection leaves."""
    connection.secrets = Secret("")
    forget_tokens(connection)


# Written by whoever signs in, and by a page only together with another sign-in: a page that writes back what it read a
# moment ago would restore an invalid pair of tokens.
TOKEN_COLUMNS = ("access_token", "access_token_expires_at", "refresh_token", "renewing_until", "granted_scope")


def forget_tokens(connection: Connection) -> None:
    """Drops (unsaved) what was fetched with another sign-in."""
    connection.access_token, connection.refresh_token = Secret(""), Secret("")
    connection.access_token_expires_at = connection.renewing_until = None
    connection.granted_scope = ""
