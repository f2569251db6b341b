"""Khoros' calls: authenticated, stored once, acknowledged, queued."""

from integrations.intake.bearer_tokens import BEARER_TOKEN_COLUMNS, TOKEN_OVERLAP, previous_tokens, replace_bearer_token
from integrations.intake.receive import SUBSCRIPTION_IS_OFF, KnownSubscription, receive_batch
from integrations.intake.views import khoros_webhook

__all__ = [
    "BEARER_TOKEN_COLUMNS",
    "SUBSCRIPTION_IS_OFF",
    "TOKEN_OVERLAP",
    "KnownSubscription",
    "khoros_webhook",
    "previous_tokens",
    "receive_batch",
    "replace_bearer_token",
]
