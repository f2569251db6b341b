"""Where this portal is reached, and whether its parts work."""

from integrations.installation.health import WORKER_SILENT_AFTER
from integrations.installation.public_address import (
    NoPublicAddress,
    connection_webhook_url,
    public_url,
    subscription_webhook_url,
)

__all__ = [
    "WORKER_SILENT_AFTER",
    "NoPublicAddress",
    "connection_webhook_url",
    "public_url",
    "subscription_webhook_url",
]
