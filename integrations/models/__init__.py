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
from integrations.models.feeds import Alarm, CatchUp, Change, HourlyVolume, SelfTest
from integrations.models.log import Attempt, BulkJob, Delivery, Incident, Notification, TicketEvent

__all__ = [
    "AccountSchema",
    "Alarm",
    "Attempt",
    "BulkJob",
    "CatchUp",
    "Change",
    "Company",
    "Connection",
    "Delivery",
    "HourlyVolume",
    "Incident",
    "Installation",
    "Mapping",
    "Notification",
    "Requester",
    "SelfTest",
    "Subscription",
    "TicketEvent",
]
