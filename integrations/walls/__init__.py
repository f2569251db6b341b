"""Walls: posts that people read outside, on a page for large screens and in feeds, and what staff decide about them.

Promised: only who knows a wall's address reads it, and nobody once it is revoked; what was hidden stays hidden however
often it is labelled; reading costs the database next to nothing, however many read.
"""

from integrations.walls.address import frame_origin, page_address, renew_address, revoke_address
from integrations.walls.create import create_wall, wall_changed
from integrations.walls.moderation import hide, move, pin, show, unpin
from integrations.walls.retention import forget_posts
from integrations.walls.store import WallStore
from integrations.walls.urls import URLS

__all__ = [
    "URLS",
    "WallStore",
    "create_wall",
    "forget_posts",
    "frame_origin",
    "hide",
    "move",
    "page_address",
    "pin",
    "renew_address",
    "revoke_address",
    "show",
    "unpin",
    "wall_changed",
]
