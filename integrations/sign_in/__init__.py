"""As whom an account is called: a connection's secrets, its access tokens, and when its way of signing in ends.

Promised: secrets are in the clear only for the length of one try and only for the address they were entered for; a
refresh token is used by one process at a time, and its successor is never lost while the database can be reached.
"""

from integrations.sign_in.credentials import (
    credentials_of,
    fresh_credentials,
    is_stored_token,
    renewed_credentials,
    store_consent,
    token_columns,
    unreadable_secrets,
)
from integrations.sign_in.expiry import end_alarm, end_text
from integrations.sign_in.secrets import issue_first_secret, issue_secret

__all__ = [
    "credentials_of",
    "end_alarm",
    "end_text",
    "fresh_credentials",
    "is_stored_token",
    "issue_first_secret",
    "issue_secret",
    "renewed_credentials",
    "store_consent",
    "token_columns",
    "unreadable_secrets",
]
