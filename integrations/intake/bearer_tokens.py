"""The bearer tokens accepted from a subscription's calls: the current one, and earlier ones during a rotation."""

from datetime import timedelta

from integrations.infra import database_clock
from integrations.infra.encryption import Secret
from integrations.models import Subscription

# Khoros may use any of them until it is told the new one; nobody rotates this often in that time.
MOST_PREVIOUS = 100
TOKEN_OVERLAP = timedelta(days=1)
# Means "something was posted, unknown what": differs from every fingerprint.
POSTED_BEFORE = "before"


def previous_tokens(subscription: Subscription) -> list[str]:
    """Earlier tokens that are still accepted, as far as the present key decrypts them."""
    until, stored = subscription.previous_token_accepted_until, subscription.previous_bearer_token
    if not stored or (until is not None and until <= database_clock.now()) or not stored.is_readable:
        return []
    return stored.reveal().splitlines()


def keep_previous_token(subscription: Subscription) -> None:
    """Keeps the current token valid until Khoros is seen to use the new one, and a day more (unsaved)."""
    tokens = [subscription.bearer_token.reveal(), *previous_tokens(subscription)]
    subscription.previous_bearer_token = Secret.of("\n".join(list(dict.fromkeys(tokens))[:MOST_PREVIOUS]))
    subscription.previous_token_accepted_until = None
    subscription.posted_as = subscription.posted_as or POSTED_BEFORE


def replace_bearer_token(subscription: Subscription, new_token: str) -> None:
    """Sets the new token and keeps the current one beside it, where it can be read (unsaved)."""
    stored = subscription.bearer_token
    if stored and stored.is_readable:
        keep_previous_token(subscription)
    subscription.bearer_token = Secret.of(new_token)
    subscription.token_changed_at = database_clock.now()


BEARER_TOKEN_COLUMNS = (
    "bearer_token",
    "previous_bearer_token",
    "previous_token_accepted_until",
    "token_changed_at",
    "posted_as",
)
