"""Secrets that a destination takes from us: issued here, shown once."""

import json

from django.db import transaction

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import IssuesSecret
from integrations.infra import database_clock
from integrations.infra.encryption import Secret
from integrations.models import Connection


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
            stored, shown = destination.issue_secret(connection.read_secrets(), database_clock.now())
            connection.secrets = Secret.of(json.dumps(stored))
        connection.save(update_fields=["secrets"])
    return shown
