"""From Khoros' call to a stored notification.

Promised: nothing is stored for a stranger, and what is answered with a number is in the database, once however often it
is sent. Neither Redis nor a worker has a part in the answer.
"""

from integrations.intake.authenticate import KnownSubscription, is_surely_refused
from integrations.intake.bearer_tokens import BEARER_TOKEN_COLUMNS, TOKEN_OVERLAP, previous_tokens, replace_bearer_token
from integrations.intake.fetched import StoredPage, WalkPeriod, store_fetched
from integrations.intake.receive import SUBSCRIPTION_IS_OFF
from integrations.intake.views import REFUSED, khoros_webhook

__all__ = [
    "BEARER_TOKEN_COLUMNS",
    "REFUSED",
    "SUBSCRIPTION_IS_OFF",
    "TOKEN_OVERLAP",
    "KnownSubscription",
    "StoredPage",
    "WalkPeriod",
    "is_surely_refused",
    "khoros_webhook",
    "previous_tokens",
    "replace_bearer_token",
    "store_fetched",
]
