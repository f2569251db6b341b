"""The registry of destinations: adding one is a folder beside this file and a line here."""

from integrations.destinations.base import Destination
from integrations.destinations.email import EMAIL
from integrations.destinations.pagerduty import PAGERDUTY
from integrations.destinations.slack import SLACK
from integrations.destinations.teams import TEAMS
from integrations.destinations.wall import WALL
from integrations.destinations.webhook import WEBHOOK
from integrations.destinations.zendesk import ZENDESK

DESTINATIONS: dict[str, Destination] = {
    destination.kind: destination for destination in (ZENDESK, SLACK, TEAMS, EMAIL, PAGERDUTY, WALL, WEBHOOK)
}

__all__ = ["DESTINATIONS", "Destination"]
