"""The tables and their constraints. No network, no queueing, no decisions: those live in the modules of the journey."""

from integrations.models.configuration import Company, Connection, Installation, Mapping, Subscription
from integrations.models.feeds import Alarm, CatchUp, Change, HourlyVolume, SelfTest
from integrations.models.log import Attempt, Delivery, Notification

__all__ = [
    "Alarm",
    "Attempt",
    "CatchUp",
    "Change",
    "Company",
    "Connection",
    "Delivery",
    "HourlyVolume",
    "Installation",
    "Mapping",
    "Notification",
    "SelfTest",
    "Subscription",
]
