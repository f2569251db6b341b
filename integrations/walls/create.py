"""A new wall, with the connection that mappings send to, and its first address."""

from django.db import transaction

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import keeps_here
from integrations.models import Connection, Wall
from integrations.walls.address import renew_address
from integrations.walls.moderation import tell_readers

# The destination whose connections are made with a wall.
KIND = next(kind for kind, destination in DESTINATIONS.items() if keeps_here(destination))
LONGEST_NAME = Connection._meta.get_field("name").max_length


def create_wall(wall: Wall) -> None:
    """Saves a wall that is not saved yet."""
    with transaction.atomic():
        settings = {"wall": str(wall.uuid)}
        wall.connection = Connection.objects.create(name=_name(wall), kind=KIND, settings=settings)
        wall.save()
        renew_address(wall)


def wall_changed(wall: Wall) -> None:
    """Staff changed it, or are about to delete it: its connection is named after it, and readers see it at once."""
    Connection.objects.filter(pk=wall.connection_id).update(name=_name(wall))
    tell_readers(wall)


def _name(wall: Wall) -> str:
    return f"Wall: {wall.name}"[:LONGEST_NAME]
