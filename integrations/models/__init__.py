"""The tables and their constraints. No network, no queueing, no decisions: those live in the modules of the journey."""

from integrations.models.alarms import Alarm
from integrations.models.configuration import Company, Installation, Mapping, Subscription
from integrations.models.connections import AccountSchema, Connection, Requester
from integrations.models.content import Attempt, DeliveryContent
from integrations.models.deliveries import Batch, Burst, Delivery, FloodHold
from integrations.models.monitoring import CatchUp, Change, HourlyVolume, Probe, Turn
from integrations.models.notifications import Notification, TicketEvent
from integrations.models.people import Preferences, SavedFilter
from integrations.models.received import NotificationContent, PostContent
from integrations.models.remote import RemoteObject
from integrations.models.walls import Wall, WallPost

__all__ = [
    "AccountSchema",
    "Alarm",
    "Attempt",
    "Batch",
    "Burst",
    "CatchUp",
    "Change",
    "Company",
    "Connection",
    "Delivery",
    "DeliveryContent",
    "FloodHold",
    "HourlyVolume",
    "Installation",
    "Mapping",
    "Notification",
    "NotificationContent",
    "PostContent",
    "Preferences",
    "Probe",
    "RemoteObject",
    "Requester",
    "SavedFilter",
    "Subscription",
    "TicketEvent",
    "Turn",
    "Wall",
    "WallPost",
]
