"""Verify, store once, queue: what happens between Khoros' call and our answer.

Promised: nothing is stored for a stranger; what is answered with an id is in the database; a repeat is answered like
the first and only counted; the queue has no part in the answer.
"""

import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass

import structlog
from django.db import connection, transaction
from django.utils import timezone

from integrations.models import Notification, Subscription
from integrations.queueing import ROUTE, publish
from integrations.routing import SUBSCRIPTION_IS_OFF
from integrations.sources.khoros.envelope import Envelope, open_envelope

log = structlog.get_logger(__name__)

KEPT_HEADERS = ("Content-Type", "Content-Length", "User-Agent", "Date", "X-Request-Id", "X-Forwarded-For", "Via")


@dataclass(frozen=True, slots=True)
class Stored:
    """The notification's number, and whether it had been stored before."""

    notification_id: int
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class Feed:
    """A subscription as the webhook knows it."""

    id: int
    is_active: bool
    tokens: tuple[str, ...]


def authenticate(address: str, authorization: str) -> Feed | None:
    """The feed of this address when the bearer token is its own, else None: which was wrong is not told.

    Raises UnreadableSecret when the stored token cannot be read with the present key.
    """
    feed = _feed_at(address)
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip() if scheme.casefold() == "bearer" else ""
    matches = [_same(given, token) for token in (feed.tokens if feed else ("",))]
    return feed if given and any(matches) else None


# Reading and decrypting a subscription costs as much as storing a notification, so each process remembers one for a
# moment. Only what exists is remembered; what is switched off is looked at again when routing.
REMEMBERED_SECONDS = 1.0
_remembered: dict[str, tuple[float, Feed]] = {}


def _feed_at(address: str) -> Feed | None:
    until, feed = _remembered.get(address, (0.0, None))
    if feed is not None and until > time.monotonic():
        return feed
    _remembered.pop(address, None)
    try:
        subscription = Subscription.objects.filter(uuid=uuid.UUID(address)).order_by().first()
    except ValueError:
        return None
    if subscription is None:
        return None
    feed = Feed(subscription.pk, subscription.is_active, tuple(_accepted_tokens(subscription)))
    _remembered[address] = (time.monotonic() + REMEMBERED_SECONDS, feed)
    return feed


def _accepted_tokens(subscription: Subscription) -> list[str]:
    """The current token, and the previous one while a change of tokens overlaps."""
    tokens = [subscription.bearer_token.reveal()]
    until, previous = subscription.previous_token_accepted_until, subscription.previous_bearer_token
    if until is not None and until > timezone.now() and previous.is_readable:
        tokens.append(previous.reveal())
    return tokens


def _same(given: str, token: str) -> bool:
    """Constant-time, also in the length of either; an empty token equals nothing."""
    # Header bytes reach us decoded as Latin-1 (PEP 3333), whatever they were.
    digests = (hashlib.sha256(raw).digest() for raw in (given.encode("latin-1", "replace"), token.encode()))
    return hmac.compare_digest(*digests) and bool(token)


def receive(feed: Feed, body: bytes, headers: dict[str, str], charset: str = "") -> Stored:
    """Stores an authenticated call and queues its routing. Raises django.db.Error when it cannot be stored."""
    envelope = open_envelope(body, charset)
    stored = _store(feed, envelope, headers)
    if not (stored.is_repeat or envelope.unreadable_because) and feed.is_active:
        transaction.on_commit(lambda: publish(ROUTE, stored.notification_id), robust=True)
    log.info("notification stored", notification_id=stored.notification_id, repeat=stored.is_repeat)
    return stored


# Stored or counted in one statement: xmax is 0 in a row that this statement inserted. It is sent in autocommit, so the
# row is durable when it returns.
STORE = """
INSERT INTO integrations_notification
  (subscription_id, event_key, event_name, source, body, headers, state, reason, summary, outcome, repeats)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '', '[]', 0)
ON CONFLICT ON CONSTRAINT notification_stored_once
DO UPDATE SET repeats = integrations_notification.repeats + 1, last_repeat_at = now()
RETURNING id, xmax <> 0
"""


def _store(feed: Feed, envelope: Envelope, headers: dict[str, str]) -> Stored:
    state, reason = _first_state(feed, envelope)
    values = (
        feed.id,
        envelope.event_key,
        envelope.event_name,
        Notification.Source.PUSHED.value,
        envelope.body,
        json.dumps(headers),
        state,
        reason,
    )
    with connection.cursor() as cursor:
        cursor.execute(STORE, values)
        return Stored(*cursor.fetchone())


def _first_state(feed: Feed, envelope: Envelope) -> tuple[str, str]:
    if envelope.unreadable_because:
        return Notification.State.UNREADABLE.value, envelope.unreadable_because
    if not feed.is_active:
        return Notification.State.UNMATCHED.value, SUBSCRIPTION_IS_OFF
    return Notification.State.RECEIVED.value, ""
