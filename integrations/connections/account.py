"""What happens to a connection as a whole: it goes to another account, or its secrets cannot be read any more."""

import structlog

from integrations.flow import forget_limits, pause_connections
from integrations.infra.encryption import Secret
from integrations.models import Connection
from integrations.sign_in import unreadable_secrets

log = structlog.get_logger(__name__)


def forget_account(connection: Connection) -> None:
    """The connection goes to another account: users, webhook and limits of the earlier one mean nothing there."""
    connection.requesters.all().delete()
    Connection.objects.filter(pk=connection.pk).update(
        webhook_id="", webhook_secret=Secret(""), webhook_problem="", webhook_called_at=None, clock_skew_seconds=0
    )
    forget_limits(connection.pk)


def pause_unreadable() -> None:
    """Pauses the connections whose secrets the present key cannot read, before a delivery meets them."""
    for connection in Connection.objects.filter(Connection.open_now()):
        if not connection.secrets.is_readable:
            pause_connections(Connection.objects.filter(pk=connection.pk), unreadable_secrets(connection).message, None)
            log.error("connection paused: its secrets cannot be read with the present key", connection_id=connection.pk)
