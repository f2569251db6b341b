"""From a stored notification to its deliveries: each post times each active mapping whose conditions hold.

Promised: one delivery per mapping and post with its request rendered and stored, all in one transaction; safe to
repeat; where nothing was made, the notification says why.
"""

from integrations.routing.route import route_notification

__all__ = [
    "route_notification",
]
