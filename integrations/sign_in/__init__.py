"""How a person signs a connection in."""

from integrations.sign_in.credentials import (
    credentials_of,
    fresh_credentials,
    renewed_credentials,
    store_consent,
    token_columns,
    unreadable_secrets,
)
from integrations.sign_in.expiry import end_alarm, end_text
from integrations.sign_in.secrets import TOKEN_COLUMNS, change_secrets, forget_secrets, forget_tokens, read_secrets

__all__ = [
    "TOKEN_COLUMNS",
    "change_secrets",
    "credentials_of",
    "end_alarm",
    "end_text",
    "forget_secrets",
    "forget_tokens",
    "fresh_credentials",
    "read_secrets",
    "renewed_credentials",
    "store_consent",
    "token_columns",
    "unreadable_secrets",
]
