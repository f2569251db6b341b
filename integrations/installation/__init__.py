"""Where this portal is reached, and whether its parts work."""

from integrations.installation.health import OK, WORKER_SILENT_AFTER, health_checks, send_heartbeats
from integrations.installation.public_address import (
    NoPublicAddress,
    connection_webhook_url,
    public_url,
    subscription_webhook_url,
)

__all__ = [
    "OK",
    "WORKER_SILENT_AFTER",
    "NoPublicAddress",
    "connection_webhook_url",
    "health_checks",
    "public_url",
    "send_heartbeats",
    "subscription_webhook_url",
]
