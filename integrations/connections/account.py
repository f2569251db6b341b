"""A connection as a whole: it moves to another account, or its secrets can no longer be read."""

import structlog

from integrations.flow import forget_limits, pause_connections
from integrations.infra.encryption import Secret
from integrations.models import Connection
from integrations.sign_in import unreadable_secrets

log = structlog.get_logger(__name__)


def forget_account(connection: Connection) -> None:
    """The connection moves to another account, where the users, webhook and limits of the old one mean nothing."""
    connection.requesters.all().delete()
    Connection.objects.filter(pk=connection.pk).update(
        webhook_id="", webhook_secret=Secret(""), webhook_problem="", webhook_called_at=None, clock_skew_seconds=0
    )
    forget_limits(connection.pk)


def pause_unreadable() -> None:
    """Pauses connections whose secrets the present key cannot read, before a delivery fails on them."""
    for connection in Connection.objects.filter(Connection.open_now()):
        if not connection.secrets.is_readable:
            pause_connections(Connection.objects.filter(pk=connection.pk), unreadable_secrets(connection).message, None)
            log.error("connection paused", connection_id=connection.pk, reason="secrets not readable with this key")
