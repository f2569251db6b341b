"""Authenticate, store once, queue: everything between Khoros' call and our answer.

Promised: nothing is stored for a stranger; what is answered with an id is in the database; a repeat is answered like
the first call and only counted; the answer does not depend on the queue.
"""

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, transaction

from integrations.infra.known_addresses import KnownAddresses, Looks
from integrations.infra.packing import pack
from integrations.infra.postgresql.prepared import row_of
from integrations.infra.queue import ROUTE, ROUTE_FETCHED, publish
from integrations.infra.webhook import Stored
from integrations.intake.bearer_tokens import previous_tokens
from integrations.models import CatchUp, Notification, Subscription
from integrations.sources.khoros.envelope import Envelope, is_probe, open_envelope

log = structlog.get_logger(__name__)

KEPT_HEADERS = ("Content-Type", "Content-Length", "User-Agent", "Date", "X-Request-Id", "X-Forwarded-For", "Via")
SUBSCRIPTION_IS_OFF = "The subscription is off. Turn it on, then press “Process again”."
WAITS_TO_BE_FETCHED = "Khoros has this event, but it was never received. Press “Fetch missing” or “Process again”."

# Reading and decrypting a subscription costs as much as storing a notification, so each process caches it for a moment.
# Only existing ones are cached; whether one is switched on is checked again by routing. Keyed by uuid, as the same
# address can be written in many ways.
CACHED_SECONDS = 1.0
MOST_CACHED = 1000
# While one thread reads it anew, the others go on with what was known.
REFRESH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as the webhook knows it."""

    id: int
    is_active: bool
    tokens: tuple[str, ...]


def authenticate(address: str, authorization: str) -> KnownSubscription | None:
    """The subscription at this address if the bearer token is its own, else None, whichever of the two was wrong.

    Raises UnreadableSecret when the stored token cannot be read with the present key.
    """
    given = _bearer_token(authorization)
    subscription_uuid = _parse_uuid(address)
    subscription, was_cached = _subscription_at(subscription_uuid)
    if was_cached and not _accepts(subscription, given) and _looks.may_begin():
        # The token may have been rotated a moment ago.
        subscription = _read(subscription_uuid)
    return subscription if _accepts(subscription, given) else None


def is_surely_refused(address: str, authorization: str) -> bool:
    """Whether `authenticate` would refuse without a look at the database. For a web server that strangers try.

    An address that is none, or one that does not exist or whose subscription is cached, once the looks are used up.
    """
    subscription_uuid = _parse_uuid(address)
    if subscription_uuid is None:
        return True
    until, known = _cache.get(subscription_uuid, (0.0, None))
    if known is None or until <= time.monotonic():
        return _addresses.is_surely_unknown(subscription_uuid)
    return _looks.are_used_up and not _accepts(known, _bearer_token(authorization))


def _bearer_token(authorization: str) -> str:
    scheme, _, given = authorization.strip().partition(" ")
    return given.strip() if scheme.casefold() == "bearer" else ""


def _all_addresses() -> list[uuid.UUID]:
    return list(Subscription.objects.filter(company__isnull=False).order_by().values_list("uuid", flat=True))


_looks = Looks()
_addresses = KnownAddresses(_all_addresses, _looks)


def _accepts(subscription: KnownSubscription | None, given: str) -> bool:
    matches = [_equals(given, token) for token in (subscription.tokens if subscription else ("",))]
    return bool(given) and any(matches)


_cache: dict[uuid.UUID, tuple[float, KnownSubscription]] = {}
_cache_lock = threading.Lock()


def _parse_uuid(address: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(address)
    except ValueError:
        return None


def _subscription_at(subscription_uuid: uuid.UUID | None) -> tuple[KnownSubscription | None, bool]:
    """The subscription, and whether it came from the cache."""
    if subscription_uuid is None:
        return None, False
    known = _cached(subscription_uuid)
    if known is not None:
        return known, True
    return (_read(subscription_uuid) if _addresses.may_exist(subscription_uuid) else None), False


def _cached(subscription_uuid: uuid.UUID) -> KnownSubscription | None:
    """Not expired; of those who find it expired the first is to read it anew."""
    with _cache_lock:
        until, known = _cache.get(subscription_uuid, (0.0, None))
        now = time.monotonic()
        if known is None or until > now:
            return known
        _cache[subscription_uuid] = (now + min(REFRESH_SECONDS, CACHED_SECONDS), known)
        return None


def _read(subscription_uuid: uuid.UUID | None) -> KnownSubscription | None:
    if subscription_uuid is None:
        return None
    row = Subscription.objects.filter(uuid=subscription_uuid, company__isnull=False).order_by().first()
    if row is None:
        _drop_from_cache(subscription_uuid)
        return None
    known = KnownSubscription(row.pk, row.is_active, tuple(_accepted_tokens(row)))
    _store_in_cache(subscription_uuid, known)
    _addresses.note(subscription_uuid)
    return known


def _store_in_cache(subscription_uuid: uuid.UUID, subscription: KnownSubscription) -> None:
    with _cache_lock:
        _cache.pop(subscription_uuid, None)
        _cache[subscription_uuid] = (time.monotonic() + CACHED_SECONDS, subscription)
        while len(_cache) > MOST_CACHED:
            del _cache[next(iter(_cache))]


def _drop_from_cache(subscription_uuid: uuid.UUID | None) -> None:
    with _cache_lock:
        if subscription_uuid is not None:
            _cache.pop(subscription_uuid, None)


def _accepted_tokens(subscription: Subscription) -> list[str]:
    """The current token, and earlier ones during a rotation."""
    return [subscription.bearer_token.reveal(), *previous_tokens(subscription)]


def _equals(given: str, token: str) -> bool:
    """Constant-time, also in the length of either; an empty token equals nothing."""
    # Header bytes reach us decoded as Latin-1 (PEP 3333), whatever they were.
    digests = (hashlib.sha256(raw).digest() for raw in (given.encode("latin-1", "replace"), token.encode()))
    return hmac.compare_digest(*digests) and bool(token)


def receive(subscription: KnownSubscription, body: bytes, headers: dict[str, str], charset: str = "") -> Stored:
    """Stores an authenticated call and queues its routing. Raises django.db.Error when it cannot be stored."""
    envelope = open_envelope(body, charset)
    stored, is_to_route = _store(subscription, envelope, headers)
    if is_to_route:
        transaction.on_commit(lambda: publish(ROUTE, stored.id), robust=True)
    log.info("notification stored", notification_id=stored.id, repeat=stored.is_repeat)
    return stored


# Stored or counted in one statement: xmax is 0 in a row that this statement inserted. The last column says whether the
# row has to be routed now: a new one in the state received, or one that was found missing and arrives after all (the
# subselect still sees the row as it was before). Runs in autocommit, so the row is durable when it returns.
STORE = """
WITH stored AS (
  INSERT INTO integrations_notification (subscription_id, event_key, source, state, reason, happened_at, repeats)
  VALUES (%(subscription)s, %(key_hash)s, %(source)s, %(state)s, %(reason)s, %(happened_at)s, 0)
  ON CONFLICT ON CONSTRAINT notification_stored_once
  DO UPDATE SET repeats = integrations_notification.repeats + 1, last_repeat_at = now(),
    state = CASE integrations_notification.state WHEN 'missed' THEN 'received' ELSE integrations_notification.state END
  RETURNING id, xmax <> 0 AS is_repeat, CASE WHEN xmax = 0 THEN state = 'received' ELSE (
    SELECT known.state = 'missed' FROM integrations_notification AS known WHERE known.id = integrations_notification.id
  ) END AS is_to_route
), content AS (
  INSERT INTO integrations_notificationcontent (notification_id, event_key, event_name, body, headers)
  SELECT id, %(key)s, %(name)s, %(body)s, %(headers)s FROM stored WHERE NOT is_repeat
)
SELECT id, is_repeat, is_to_route FROM stored
"""


def _store(subscription: KnownSubscription, envelope: Envelope, headers: dict[str, str]) -> tuple[Stored, bool]:
    """The stored row, and whether it is to be routed now."""
    state, reason = _first_state(subscription, envelope)
    values: dict[str, Any] = {
        "subscription": subscription.id,
        "key": envelope.event_key,
        "key_hash": Notification.hashed(envelope.event_key),
        "name": envelope.event_name,
        "source": _source_of(envelope).value,
        "state": state,
        "reason": reason,
        "happened_at": envelope.happened_at,
        "body": pack(envelope.body),
        "headers": pack(json.dumps(headers).encode()),
    }
    notification_id, is_repeat, is_to_route = row_of(STORE, values)
    return Stored(notification_id, is_repeat), bool(is_to_route)


def _source_of(envelope: Envelope) -> Notification.Source:
    return Notification.Source.TEST if is_probe(envelope.event_key) else Notification.Source.PUSHED


def _first_state(subscription: KnownSubscription, envelope: Envelope) -> tuple[str, str]:
    if envelope.unreadable_because:
        return Notification.State.UNREADABLE.value, envelope.unreadable_because
    if not subscription.is_active:
        return Notification.State.UNMATCHED.value, SUBSCRIPTION_IS_OFF
    return Notification.State.RECEIVED.value, ""


# --- Fetched events --------------------------------------------------------------------------------------------------

# A page in one round trip: unknown events are stored, the run's counts grow, its claim is extended. Known events are
# filtered before the insert, or each run would use up as many ids as there are events.
STORE_BATCH = """
WITH batch AS (
  SELECT DISTINCT ON (key_hash) *
  FROM unnest(
    %(keys)s::text[], %(hashes)s::uuid[], %(names)s::text[], %(bodies)s::bytea[], %(states)s::text[],
    %(reasons)s::text[], %(times)s::timestamptz[]
  ) AS rows (event_key, key_hash, event_name, body, state, reason, happened_at)
), stored AS (
  INSERT INTO integrations_notification (subscription_id, event_key, source, state, reason, happened_at, repeats)
  SELECT %(subscription)s, key_hash, 'caught_up', state, reason, happened_at, 0
  FROM batch
  WHERE NOT EXISTS (
    SELECT FROM integrations_notification AS known
    WHERE known.subscription_id = %(subscription)s AND known.event_key = batch.key_hash
  )
  ON CONFLICT ON CONSTRAINT notification_stored_once DO NOTHING
  RETURNING id, state, event_key
), content AS (
  INSERT INTO integrations_notificationcontent (notification_id, event_key, event_name, body)
  SELECT stored.id, batch.event_key, batch.event_name, batch.body
  FROM stored JOIN batch ON batch.key_hash = stored.event_key
), counted AS (
  UPDATE integrations_catchup SET
    progressed_at = now(), pages = pages + 1, read = read + %(read)s, position = %(position)s, "order" = %(order)s,
    known = known + %(read)s - (SELECT count(*) FROM stored),
    new = new + (SELECT count(*) FROM stored WHERE state NOT IN ('unreadable', 'missed')),
    missing = missing + (SELECT count(*) FROM stored WHERE state = 'missed'),
    unreadable = unreadable + (SELECT count(*) FROM stored WHERE state = 'unreadable')
  WHERE id = %(run)s
), claimed AS (
  UPDATE integrations_subscription SET catching_up_until = now() + %(claim)s * interval '1 second'
  WHERE id = %(subscription)s AND catching_up_until IS NOT NULL
)
SELECT
  (SELECT count(*) FROM batch),
  (SELECT count(*) FROM stored),
  (SELECT count(*) FROM batch JOIN integrations_notification AS known
    ON known.subscription_id = %(subscription)s AND known.event_key = batch.key_hash
    WHERE known.received_at < %(began)s::timestamptz
      OR known.source = 'caught_up' AND known.received_at <= %(ended)s::timestamptz),
  ARRAY(SELECT id FROM stored WHERE state = 'received')
"""


@dataclass(frozen=True, slots=True)
class Period:
    """Between when an earlier walk over the list of events read."""

    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class StoredPage:
    """How many different events a page had, how many were new, and how many an earlier walk knew or read."""

    events: int
    new: int
    known_earlier: int

    @property
    def were_all_known(self) -> bool:
        return self.events == self.known_earlier > 0


def receive_batch(
    subscription: KnownSubscription,
    envelopes: Sequence[Envelope],
    run: CatchUp,
    claim_seconds: int,
    *,
    earlier: Period | None = None,
    waits: bool = False,
) -> StoredPage:
    """Stores those of the fetched events that are unknown, and queues their routing.

    `earlier`: events known before that walk began, or fetched by it, are counted. `waits`: events are stored as missed
    and routed only when somebody asks for it. The run's position and order are stored with its counts.
    """
    states = [_first_state(subscription, envelope) for envelope in envelopes]
    if waits:
        missed = (Notification.State.MISSED.value, WAITS_TO_BE_FETCHED)
        states = [state if state[0] == Notification.State.UNREADABLE else missed for state in states]
    values: dict[str, Any] = {
        "keys": [envelope.event_key for envelope in envelopes],
        "hashes": [Notification.hashed(envelope.event_key) for envelope in envelopes],
        "names": [envelope.event_name for envelope in envelopes],
        "bodies": [pack(envelope.body) for envelope in envelopes],
        "states": [state for state, _ in states],
        "reasons": [reason for _, reason in states],
        "times": [envelope.happened_at for envelope in envelopes],
        "subscription": subscription.id,
        "read": len(envelopes),
        "run": run.pk,
        "position": run.position,
        "order": run.order,
        "claim": claim_seconds,
        "began": earlier.began if earlier else None,
        "ended": earlier.ended if earlier else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(STORE_BATCH, values)
        events, new, known_earlier, to_route = cursor.fetchone()
    for notification_id in to_route:
        publish(ROUTE_FETCHED, notification_id)
    return StoredPage(events, new, known_earlier)
