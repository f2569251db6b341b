"""Walls: posts that people read outside, on a page for large screens and in feeds, and what staff decide about them.

Promised: only who knows a wall's address reads it, and nobody once it is revoked; what was hidden stays hidden however
often it is labelled; reading costs the database next to nothing, however many read.
"""

from integrations.walls.address import frame_origin, page_address, renew_address, revoke_address
from integrations.walls.create import create_wall, rename_connection
from integrations.walls.moderation import hide, move_down, move_up, pin, show, tell_readers, unpin
from integrations.walls.retention import forget_posts
from integrations.walls.shown import expires_at, has_expired, shown_posts
from integrations.walls.store import WallStore
from integrations.walls.views import wall_feed, wall_json, wall_page, wall_posts

__all__ = [
    "WallStore",
    "create_wall",
    "expires_at",
    "forget_posts",
    "frame_origin",
    "has_expired",
    "hide",
    "move_down",
    "move_up",
    "page_address",
    "pin",
    "rename_connection",
    "renew_address",
    "revoke_address",
    "show",
    "shown_posts",
    "tell_readers",
    "unpin",
    "wall_feed",
    "wall_json",
    "wall_page",
    "wall_posts",
]
