"""Which deliveries follow from a notification: each post times each active mapping whose conditions hold; and from what
staff ask afterwards, who retry, rebuild, cancel and route again.

Promised: one delivery per mapping and post with its request rendered and stored, all in one transaction; safe to
repeat; where nothing was made, the notification says why. A row changes only from the state that an action expects, and
each action says which rows it left alone, and why.
"""

from integrations.routing.actions import ActionResult, cancel, rebuild, retry_now
from integrations.routing.background import BACKGROUND
from integrations.routing.flood_hold import NotHeld, find_floods, hold_flood, release_flood
from integrations.routing.reroute import fetch_missing, route_again
from integrations.routing.route import route_notification
from integrations.routing.test_ticket import TestTicket, create_test_ticket

__all__ = [
    "BACKGROUND",
    "ActionResult",
    "NotHeld",
    "TestTicket",
    "cancel",
    "create_test_ticket",
    "fetch_missing",
    "find_floods",
    "hold_flood",
    "rebuild",
    "release_flood",
    "retry_now",
    "route_again",
    "route_notification",
]
