"""Where this portal is reached from outside, and whether its parts work.

Promised: an address is only given out when somebody outside can reach it, else a sentence says what to set; a health
check never hangs and never raises.
"""

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
