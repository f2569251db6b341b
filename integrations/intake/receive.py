"""Verify, store once, queue: what happens between Khoros' call and our answer.

Promised: nothing is stored for a stranger; what is answered with an id is in the database; a repeat is answered like
the first and only counted; the queue has no part in the answer.
"""

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import connection, transaction

from integrations.infra.queue import ROUTE, publish
from integrations.infra.webhook import Stored
from integrations.intake.bearer_tokens import previous_tokens
from integrations.models import Notification, Subscription
from integrations.sources.khoros.envelope import Envelope, is_probe, open_envelope

log = structlog.get_logger(__name__)

KEPT_HEADERS = ("Content-Type", "Content-Length", "User-Agent", "Date", "X-Request-Id", "X-Forwarded-For", "Via")


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as the webhook knows it."""

    id: int
    is_active: bool
    tokens: tuple[str, ...]


def authenticate(address: str, authorization: str) -> KnownSubscription | None:
    """The feed of this address when the bearer token is its own, else None: which was wrong is not told.

    Raises UnreadableSecret when the stored token cannot be read with the present key.
    """
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip() if scheme.casefold() == "bearer" else ""
    wanted = _parsed(address)
    feed, was_remembered = _subscription_at(wanted)
    if not _accepts(feed, given) and was_remembered:
        # The token may have been changed a moment ago.
        _forget(wanted)
        feed, _ = _subscription_at(wanted)
    return feed if _accepts(feed, given) else None


def _accepts(feed: KnownSubscription | None, given: str) -> bool:
    matches = [_same(given, token) for token in (feed.tokens if feed else ("",))]
    return bool(given) and any(matches)


# Reading and decrypting a subscription costs as much as storing a notification, so each process remembers one for a
# moment. Only what exists is remembered; what is switched off is looked at again when routing. By its uuid, as one
# address can be written in many ways.
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 1000
_remembered: dict[uuid.UUID, tuple[float, KnownSubscription]] = {}
_remembering = threading.Lock()


def _parsed(address: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(address)
    except ValueError:
        return None


def _subscription_at(wanted: uuid.UUID | None) -> tuple[KnownSubscription | None, bool]:
    """The feed, and whether it was remembered instead of read."""
    if wanted is None:
        return None, False
    until, feed = _remembered.get(wanted, (0.0, None))
    if feed is not None and until > time.monotonic():
        return feed, True
    _forget(wanted)
    subscription = Subscription.objects.filter(uuid=wanted).order_by().first()
    if subscription is None:
        return None, False
    feed = KnownSubscription(subscription.pk, subscription.is_active, tuple(_accepted_tokens(subscription)))
    _remember(wanted, feed)
    return feed, False


def _remember(wanted: uuid.UUID, feed: KnownSubscription) -> None:
    with _remembering:
        _remembered.pop(wanted, None)
        _remembered[wanted] = (time.monotonic() + REMEMBERED_SECONDS, feed)
        while len(_remembered) > MOST_REMEMBERED:
            del _remembered[next(iter(_remembered))]


def _forget(wanted: uuid.UUID | None) -> None:
    with _remembering:
        if wanted is not None:
            _remembered.pop(wanted, None)


def _accepted_tokens(subscription: Subscription) -> list[str]:
    """The current token, and earlier ones while a change of tokens overlaps."""
    return [subscription.bearer_token.reveal(), *previous_tokens(subscription)]


def _same(given: str, token: str) -> bool:
    """Constant-time, also in the length of either; an empty token equals nothing."""
    # Header bytes reach us decoded as Latin-1 (PEP 3333), whatever they were.
    digests = (hashlib.sha256(raw).digest() for raw in (given.encode("latin-1", "replace"), token.encode()))
    return hmac.compare_digest(*digests) and bool(token)


def receive(feed: KnownSubscription, body: bytes, headers: dict[str, str], charset: str = "") -> Stored:
    """Stores an authenticated call and queues its routing. Raises django.db.Error when it cannot be stored."""
    envelope = open_envelope(body, charset)
    stored = _store(feed, envelope, headers)
    if not (stored.is_repeat or envelope.unreadable_because) and feed.is_active:
        transaction.on_commit(lambda: publish(ROUTE, stored.id), robust=True)
    log.info("notification stored", notification_id=stored.id, repeat=stored.is_repeat)
    return stored


# Stored or counted in one statement: xmax is 0 in a row that this statement inserted. One that was known to be missing
# and arrives after all is routed now. It is sent in autocommit, so the row is durable when it returns.
STORE = """
INSERT INTO integrations_notification
  (subscription_id, event_key, event_name, source, body, headers, state, reason, happened_at,
   summary, outcome, repeats)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, '', '[]', 0)
ON CONFLICT ON CONSTRAINT notification_stored_once
DO UPDATE SET repeats = integrations_notification.repeats + 1, last_repeat_at = now(),
  state = CASE integrations_notification.state WHEN 'missed' THEN 'received' ELSE integrations_notification.state END
RETURNING id, xmax <> 0
"""


def _store(feed: KnownSubscription, envelope: Envelope, headers: dict[str, str]) -> Stored:
    state, reason = _first_state(feed, envelope)
    values = (
        feed.id,
        envelope.event_key,
        envelope.event_name,
        _source_of(envelope).value,
        envelope.body,
        json.dumps(headers),
        state,
        reason,
        envelope.happened_at,
    )
    with connection.cursor() as cursor:
        cursor.execute(STORE, values)
        return Stored(*cursor.fetchone())


def _source_of(envelope: Envelope) -> Notification.Source:
    return Notification.Source.TEST if is_probe(envelope.event_key) else Notification.Source.PUSHED


def _first_state(feed: KnownSubscription, envelope: Envelope) -> tuple[str, str]:
    if envelope.unreadable_because:
        return Notification.State.UNREADABLE.value, envelope.unreadable_because
    if not feed.is_active:
        return Notification.State.UNMATCHED.value, SUBSCRIPTION_IS_OFF
    return Notification.State.RECEIVED.value, ""


# --- What was fetched ------------------------------------------------------------------------------------------------

# A batch in one round trip: what is unknown is stored, the run's counts grow, its claim is extended. Known events are
# left out before inserting, or each reading would use up as many numbers as there are events.
STORE_BATCH = """
WITH batch AS (
  SELECT DISTINCT ON (event_key) *
  FROM unnest(
    %(keys)s::text[], %(names)s::text[], %(bodies)s::bytea[], %(states)s::text[], %(reasons)s::text[],
    %(times)s::timestamptz[]
  ) AS rows (event_key, event_name, body, state, reason, happened_at)
), stored AS (
  INSERT INTO integrations_notification
    (subscription_id, event_key, event_name, source, body, headers, state, reason, happened_at,
     summary, outcome, repeats)
  SELECT %(feed)s, event_key, event_name, 'caught_up', body, '{}', state, reason, happened_at, '', '[]', 0 FROM batch
  WHERE NOT EXISTS (
    SELECT FROM integrations_notification AS known
    WHERE known.subscription_id = %(feed)s AND known.event_key = batch.event_key
  )
  ON CONFLICT ON CONSTRAINT notification_stored_once DO NOTHING
  RETURNING id, state
), counted AS (
  UPDATE integrations_catchup SET
    progressed_at = now(), pages = pages + 1, read = read + %(read)s,
    known = known + %(read)s - (SELECT count(*) FROM stored),
    new = new + (SELECT count(*) FROM stored WHERE state NOT IN ('unreadable', 'missed')),
    missing = missing + (SELECT count(*) FROM stored WHERE state = 'missed'),
    unreadable = unreadable + (SELECT count(*) FROM stored WHERE state = 'unreadable')
  WHERE id = %(run)s
), claimed AS (
  UPDATE integrations_subscription SET catching_up_until = now() + %(claim)s * interval '1 second'
  WHERE id = %(feed)s AND catching_up_until IS NOT NULL
)
SELECT id, state FROM stored
"""


WAITS_TO_BE_FETCHED = "Khoros has this event, but it was never received. Press “Fetch missing” or “Process again”."


def receive_batch(
    feed: KnownSubscription, envelopes: Sequence[Envelope], run_id: int, claim_seconds: int, *, waits: bool = False
) -> int:
    """Stores the unknown ones of some fetched events, queues their routing, and returns how many they were.

    `waits`: they are stored as missed and routed only when somebody asks for it.
    """
    states = [_first_state(feed, envelope) for envelope in envelopes]
    if waits:
        missed = (Notification.State.MISSED.value, WAITS_TO_BE_FETCHED)
        states = [state if state[0] == Notification.State.UNREADABLE else missed for state in states]
    values: dict[str, Any] = {
        "keys": [envelope.event_key for envelope in envelopes],
        "names": [envelope.event_name for envelope in envelopes],
        "bodies": [envelope.body for envelope in envelopes],
        "states": [state for state, _ in states],
        "reasons": [reason for _, reason in states],
        "times": [envelope.happened_at for envelope in envelopes],
        "feed": feed.id,
        "read": len(envelopes),
        "run": run_id,
        "claim": claim_seconds,
    }
    with connection.cursor() as cursor:
        cursor.execute(STORE_BATCH, values)
        stored = cursor.fetchall()
    for notification_id, state in stored:
        if state == Notification.State.RECEIVED:
            publish(ROUTE, notification_id)
    return len(stored)


SUBSCRIPTION_IS_OFF = "The subscription is off. Turn it on, then press “Process again”."
