"""Subscriptions at Khoros: registered as wanted and kept so, and what a push may have missed is fetched.

Promised: one run per subscription at a time; a run that dies is taken up again from what is at Khoros; what was fetched
goes the same way as what was pushed.
"""

from integrations.subscriptions.background import BACKGROUND
from integrations.subscriptions.catch_up import request_catch_up
from integrations.subscriptions.probe import PROBE_POST, probe_notification, request_probe
from integrations.subscriptions.query_preview import preview_query
from integrations.subscriptions.requests import change_bearer_token, delete_subscription, request_check
from integrations.subscriptions.volume import daily_volume, expected_volume

__all__ = [
    "BACKGROUND",
    "PROBE_POST",
    "change_bearer_token",
    "daily_volume",
    "delete_subscription",
    "expected_volume",
    "preview_query",
    "probe_notification",
    "request_catch_up",
    "request_check",
    "request_probe",
]
