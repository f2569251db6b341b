"""Where this portal is reached from outside, and whether its parts work.

Promised: an address is only given out when somebody outside can reach it, else a sentence says what to set; a health
check never hangs and never raises.
"""

from integrations.installation.health import (
    HEARTBEAT_SECONDS,
    OK,
    SILENT_AFTER,
    health_checks,
    missed_parts,
    record_answer,
    record_beat,
)
from integrations.installation.public_address import (
    NoPublicAddress,
    connection_webhook_url,
    public_url,
    subscription_webhook_url,
)

__all__ = [
    "HEARTBEAT_SECONDS",
    "OK",
    "SILENT_AFTER",
    "NoPublicAddress",
    "connection_webhook_url",
    "health_checks",
    "missed_parts",
    "public_url",
    "record_answer",
    "record_beat",
    "subscription_webhook_url",
]
