"""Calls to a connection's account, and what a person does about it: test it, sign in, choose from its lists.

Promised: every call goes through a `Session`, which signs in, keeps to the limit and the deadline, and notes what was
said without secrets; a test changes nothing at the account.
"""

from integrations.connections.account import forget_account
from integrations.connections.background import BACKGROUND
from integrations.connections.check import check_and_resume
from integrations.connections.consent import NotConnected, accept_consent, begin_consent, return_address, why_no_consent
from integrations.connections.lists import check_mapping, misfits_of, read_account_lists, request_lists
from integrations.connections.oauth_migration import move_to_oauth
from integrations.connections.session import Session

__all__ = [
    "BACKGROUND",
    "NotConnected",
    "Session",
    "accept_consent",
    "begin_consent",
    "check_and_resume",
    "check_mapping",
    "forget_account",
    "misfits_of",
    "move_to_oauth",
    "read_account_lists",
    "request_lists",
    "return_address",
    "why_no_consent",
]
