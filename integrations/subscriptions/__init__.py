"""Subscriptions at Khoros: registered as wanted and kept so, and what a push may have missed is fetched.

Promised: one run per subscription at a time; a run that dies is taken up again from what is at Khoros; what was fetched
goes the same way as what was pushed.
"""

from integrations.subscriptions.catch_up import request_catch_up, run_catch_up, to_catch_up
from integrations.subscriptions.probe import PROBE_POST, probe_notification, probes_to_send, request_probe, send_probe
from integrations.subscriptions.query_preview import preview_query
from integrations.subscriptions.registration import check_subscription, to_check
from integrations.subscriptions.requests import change_bearer_token, delete_subscription, keep_up, request_check
from integrations.subscriptions.volume import daily_volume, expected_volume

__all__ = [
    "PROBE_POST",
    "change_bearer_token",
    "check_subscription",
    "daily_volume",
    "delete_subscription",
    "expected_volume",
    "keep_up",
    "preview_query",
    "probe_notification",
    "probes_to_send",
    "request_catch_up",
    "request_check",
    "request_probe",
    "run_catch_up",
    "send_probe",
    "to_catch_up",
    "to_check",
]
