"""The registry of destinations: adding one is a folder beside this file and a line here."""

from integrations.destinations.base import Destination
from integrations.destinations.zendesk import ZENDESK

DESTINATIONS: dict[str, Destination] = {destination.kind: destination for destination in [ZENDESK]}

__all__ = ["DESTINATIONS", "Destination"]
