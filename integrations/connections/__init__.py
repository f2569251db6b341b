"""Calls to a connection's account."""

from integrations.connections.account import forget_account, pause_unreadable
from integrations.connections.check import check_and_resume
from integrations.connections.consent import (
    Consent,
    NotConnected,
    accept_code,
    begin_consent,
    consent_address_text,
    other_address,
    refusal_text,
)
from integrations.connections.lists import (
    check_mapping,
    lists_due,
    read_account_lists,
    request_lists,
    request_lists_if_old,
)
from integrations.connections.oauth_migration import move_to_oauth
from integrations.connections.session import Session, session_for

__all__ = [
    "Consent",
    "NotConnected",
    "Session",
    "accept_code",
    "begin_consent",
    "check_and_resume",
    "check_mapping",
    "consent_address_text",
    "forget_account",
    "lists_due",
    "move_to_oauth",
    "other_address",
    "pause_unreadable",
    "read_account_lists",
    "refusal_text",
    "request_lists",
    "request_lists_if_old",
    "session_for",
]
