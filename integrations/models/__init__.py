"""The tables and their constraints. No network, no queueing, no decisions: those live in the modules of the journey."""

from integrations.models.configuration import (
    AccountSchema,
    Company,
    Connection,
    Installation,
    Mapping,
    Requester,
    Subscription,
)
from integrations.models.deliveries import Attempt, Batch, Delivery, FloodHold
from integrations.models.monitoring import Alarm, CatchUp, Change, HourlyVolume, Probe
from integrations.models.notifications import Notification, TicketEvent

__all__ = [
    "AccountSchema",
    "Alarm",
    "Attempt",
    "Batch",
    "CatchUp",
    "Change",
    "Company",
    "Connection",
    "Delivery",
    "FloodHold",
    "HourlyVolume",
    "Installation",
    "Mapping",
    "Notification",
    "Probe",
    "Requester",
    "Subscription",
    "TicketEvent",
]
