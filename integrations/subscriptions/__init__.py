"""Subscriptions at Khoros."""

from integrations.subscriptions.catch_up import is_catch_up_due, request_catch_up, run_catch_up, to_catch_up
from integrations.subscriptions.probe import PROBE_POST, probe_notification, probes_to_send, request_probe, send_probe
from integrations.subscriptions.query_preview import match_verdicts, query_text
from integrations.subscriptions.registration import check_subscription, is_check_due, to_check
from integrations.subscriptions.requests import change_bearer_token, delete_subscription, keep_up, request_check
from integrations.subscriptions.volume import daily_volume, expected_volume

__all__ = [
    "PROBE_POST",
    "change_bearer_token",
    "check_subscription",
    "daily_volume",
    "delete_subscription",
    "expected_volume",
    "is_catch_up_due",
    "is_check_due",
    "keep_up",
    "match_verdicts",
    "probe_notification",
    "probes_to_send",
    "query_text",
    "request_catch_up",
    "request_check",
    "request_probe",
    "run_catch_up",
    "send_probe",
    "to_catch_up",
    "to_check",
]
