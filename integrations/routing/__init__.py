"""From a stored notification to deliveries."""

from integrations.routing.route import route_notification

__all__ = [
    "route_notification",
]
