"""Storing a page of events that were fetched from Khoros instead of pushed: like pushed ones, once each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from integrations.infra.packing import pack
from integrations.infra.queue import ROUTE_FETCHED, publish
from integrations.intake.authenticate import KnownSubscription
from integrations.intake.receive import first_state
from integrations.models import CatchUp, Notification
from integrations.sources.khoros.envelope import Envelope

WAITS_TO_BE_FETCHED = "Khoros has this event, but it was never received. Press “Fetch missing” or “Process again”."

# A page in one round trip: unknown events are stored, the run's counts grow, its claim is extended. Known events are
# filtered before the insert, or each run would use up as many ids as there are events.
STORE_PAGE = """
WITH page AS (
  SELECT DISTINCT ON (key_hash) *
  FROM unnest(
    %(keys)s::text[], %(hashes)s::uuid[], %(names)s::text[], %(bodies)s::bytea[], %(states)s::text[],
    %(reasons)s::text[], %(times)s::timestamptz[]
  ) AS rows (event_key, key_hash, event_name, body, state, reason, happened_at)
), stored AS (
  INSERT INTO integrations_notification (subscription_id, event_key, source, state, reason, happened_at, repeats)
  SELECT %(subscription)s, key_hash, 'caught_up', state, reason, happened_at, 0
  FROM page
  WHERE NOT EXISTS (
    SELECT FROM integrations_notification AS known
    WHERE known.subscription_id = %(subscription)s AND known.event_key = page.key_hash
  )
  ON CONFLICT ON CONSTRAINT notification_stored_once DO NOTHING
  RETURNING id, state, event_key
), content AS (
  INSERT INTO integrations_notificationcontent (notification_id, event_key, event_name, body)
  SELECT stored.id, page.event_key, page.event_name, page.body
  FROM stored JOIN page ON page.key_hash = stored.event_key
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
  (SELECT count(*) FROM page),
  (SELECT count(*) FROM stored),
  (SELECT count(*) FROM page JOIN integrations_notification AS known
    ON known.subscription_id = %(subscription)s AND known.event_key = page.key_hash
    WHERE known.received_at < %(began)s::timestamptz
      OR known.source = 'caught_up' AND known.received_at <= %(ended)s::timestamptz),
  ARRAY(SELECT id FROM stored WHERE state = 'received')
"""


@dataclass(frozen=True, slots=True)
class WalkPeriod:
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


def store_fetched(
    subscription: KnownSubscription,
    envelopes: Sequence[Envelope],
    run: CatchUp,
    claim_seconds: int,
    *,
    earlier: WalkPeriod | None = None,
    waits: bool = False,
) -> StoredPage:
    """Stores those of the fetched events that are unknown, and queues their routing.

    `earlier`: events known before that walk began, or fetched by it, are counted. `waits`: events are stored as missed
    and routed only when somebody asks for it. The run's position and order are stored with its counts.
    """
    states = [first_state(subscription, envelope) for envelope in envelopes]
    if waits:
        missed = (Notification.State.MISSED.value, WAITS_TO_BE_FETCHED)
        states = [state if state[0] == Notification.State.UNREADABLE else missed for state in states]
    values = _columns(envelopes, states) | {
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
        cursor.execute(STORE_PAGE, values)
        events, new, known_earlier, to_route = cursor.fetchone()
    for notification_id in to_route:
        publish(ROUTE_FETCHED, notification_id)
    return StoredPage(events, new, known_earlier)


def _columns(envelopes: Sequence[Envelope], states: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The page column by column, as the statement takes it."""
    return {
        "keys": [envelope.event_key for envelope in envelopes],
        "hashes": [Notification.hashed(envelope.event_key) for envelope in envelopes],
        "names": [envelope.event_name for envelope in envelopes],
        "bodies": [pack(envelope.body) for envelope in envelopes],
        "states": [state for state, _ in states],
        "reasons": [reason for _, reason in states],
        "times": [envelope.happened_at for envelope in envelopes],
    }
