"""Verify, store once, queue: what happens between Khoros' call and our answer.

Promised: nothing is stored for a stranger; what is answered with an id is in the database; a repeat is answered like
the first and only counted; the queue has no part in the answer.
"""

import hashlib
import hmac
import uuid
from dataclasses import dataclass

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
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


def authenticate(address: str, authorization: str) -> Subscription | None:
    """The subscription of this address when the bearer token is its own, else None: which was wrong is not told.

    Raises UnreadableSecret when the stored token cannot be read with the present key.
    """
    subscription = _subscription_at(address)
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip() if scheme.casefold() == "bearer" else ""
    accepted = _accepted_tokens(subscription) if subscription else [""]
    matches = [_same(given, token) for token in accepted]
    return subscription if given and any(matches) else None


def _subscription_at(address: str) -> Subscription | None:
    try:
        return Subscription.objects.filter(uuid=uuid.UUID(address)).first()
    except ValueError:
        return None


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


def receive(subscription: Subscription, body: bytes, headers: dict[str, str], charset: str = "") -> Stored:
    """Stores an authenticated call and queues its routing. Raises django.db.Error when it cannot be stored."""
    envelope = open_envelope(body, charset)
    stored = _store(subscription, envelope, headers)
    if stored.is_repeat:
        _count_repeat(stored.notification_id)
    elif not envelope.unreadable_because and subscription.is_active:
        transaction.on_commit(lambda: publish(ROUTE, stored.notification_id), robust=True)
    log.info("notification stored", notification_id=stored.notification_id, repeat=stored.is_repeat)
    return stored


def _store(subscription: Subscription, envelope: Envelope, headers: dict[str, str]) -> Stored:
    state, reason = _first_state(subscription, envelope)
    try:
        notification = Notification.objects.create(
            subscription=subscription,
            event_key=envelope.event_key,
            event_name=envelope.event_name,
            body=envelope.body,
            headers=headers,
            state=state,
            reason=reason,
        )
    except IntegrityError:
        known = Notification.objects.only("pk").get(subscription=subscription, event_key=envelope.event_key)
        return Stored(known.pk, is_repeat=True)
    return Stored(notification.pk, is_repeat=False)


def _first_state(subscription: Subscription, envelope: Envelope) -> tuple[str, str]:
    if envelope.unreadable_because:
        return Notification.State.UNREADABLE, envelope.unreadable_because
    if not subscription.is_active:
        return Notification.State.UNMATCHED, SUBSCRIPTION_IS_OFF
    return Notification.State.RECEIVED, ""


def _count_repeat(notification_id: int) -> None:
    Notification.objects.filter(pk=notification_id).update(repeats=F("repeats") + 1, last_repeat_at=Now())
