"""From an authenticated call to a stored notification, and its routing queued.

Promised: what is answered with an id is in the database; a repeat is recognised, counted, and answered with the same
id; the answer does not depend on the queue.
"""

import json
from typing import Any

import structlog
from django.db import transaction

from integrations.infra.packing import pack
from integrations.infra.postgresql.prepared import row_of
from integrations.infra.queue import ROUTE, publish
from integrations.infra.webhook import Stored
from integrations.intake.authenticate import KnownSubscription
from integrations.models import Notification
from integrations.sources.khoros.envelope import Envelope, is_probe, open_envelope

log = structlog.get_logger(__name__)

SUBSCRIPTION_IS_OFF = "The subscription is off. Turn it on, then press “Process again”."


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
    state, reason = first_state(subscription, envelope)
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


def first_state(subscription: KnownSubscription, envelope: Envelope) -> tuple[str, str]:
    if envelope.unreadable_because:
        return Notification.State.UNREADABLE.value, envelope.unreadable_because
    if not subscription.is_active:
        return Notification.State.UNMATCHED.value, SUBSCRIPTION_IS_OFF
    return Notification.State.RECEIVED.value, ""
