"""Claiming a due delivery, so that a single process works on it, and releasing it."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Greatest

from integrations.connections import Session
from integrations.delivery.retry import MOST_REPEATS
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.capabilities import FindsByExternalId
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure
from integrations.infra.packing import unpack
from integrations.infra.wakes import LONGEST_WAKE_SECONDS
from integrations.models import Attempt, Connection, Delivery, DeliveryContent
from integrations.models.deliveries import DeliveryQuerySet

# While the circuit breaker lets nothing through.
PUT_OFF_SECONDS = 1.0
NOTHING_TO_SEND = "Nothing was sent: what it would send is no longer kept."


@dataclass
class ClaimedDelivery:
    """One claimed delivery on its way through the steps in `deliver`, and what each of them found out."""

    delivery: Delivery
    claim: uuid.UUID
    session: Session
    # As stored; `send` replaces it by the final one.
    request: str
    # Set by `record.begin_attempt`.
    attempt: Attempt = field(init=False)
    began: float = field(default_factory=time.monotonic)
    # Set by `send`: whether the destination was asked to make anything in this try.
    was_sent: bool = False
    # Set by `final_lookup`: what went wrong before it, and how many calls had been made by then.
    problem: str = ""
    calls: int | None = None

    @property
    def destination(self) -> Destination:
        return self.session.destination

    @property
    def thing(self) -> str:
        return self.destination.thing

    @property
    def look_up_first(self) -> bool:
        return self.delivery.look_up_next or self.delivery.connection.look_up_before_create

    def is_repeated(self, failure: Failure) -> bool:
        """Whether the thing may exist after this failure and must not be sent again automatically."""
        return self.is_repeated_after(self.delivery.unknown_outcomes + int(failure.is_uncertain))

    def is_repeated_after(self, unknown_outcomes: int) -> bool:
        """A definite refusal in between changes nothing: nothing was made by that try."""
        return not self.repeats_freely and unknown_outcomes > MOST_REPEATS

    @property
    def repeats_freely(self) -> bool:
        """Whether nothing stands there twice because it is sent again: an update says the same once more."""
        return self.destination.repeats_freely or self.delivery.action == Delivery.Action.UPDATE

    @property
    def status(self) -> int | None:
        """The status of the last reply, without the final look-up, which says nothing about the try."""
        exchanges = self.session.client.exchanges[: self.calls]
        return exchanges[-1].get("status") if exchanges else None

    @property
    def row(self) -> DeliveryQuerySet:
        return self.delivery.claimed_by(self.claim)


# One conditional UPDATE is lock, lease and crash recovery. The right-hand sides see the row as it was before.
# An expired lease means that its process died in the middle, or could not record the result: that try's outcome is
# unknown, so a look-up has to come first; and it counts as a try, or one that kills its process would do so for ever. A
# key older than the destination trusts one is replaced by the next version, and the row says "look up first" before any
# call is made, so a crash in between changes nothing. So it does for what was never sent but whose event is older than
# that (it is late): another copy of the portal may have sent it. Where nothing can be found, none of this applies.
# What is late goes with the bulk, live or not; and while look-ups have no permit, nothing that needs one is taken, so
# that live posts never wait for it.
# The row is selected and locked at once (SKIP LOCKED): two workers at the same moment get two rows. Deliveries of a
# batch are not taken over before its job has ended: until then their tickets may still be created.
TRUSTED_SINCE = "coalesce(now() - %(trusted)s::int * interval '1 second', '-infinity')"
IS_LATE = f"(key_used_at IS NULL AND action NOT IN ('append', 'update') AND event_at < {TRUSTED_SINCE})"
MAY_BE_TAKEN = f"(%(look_ups)s OR NOT (look_up_next OR {IS_LATE} OR coalesce(key_used_at < {TRUSTED_SINCE}, false)))"
DUE = f"""SELECT id FROM integrations_delivery WHERE connection_id = %(connection)s AND state = 'pending'
      AND next_attempt_at <= now() AND {MAY_BE_TAKEN}"""  # noqa: S608 (of the constants above)
FIRST = "ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
CLAIM = f"""
UPDATE integrations_delivery AS delivery SET
  state = 'sending',
  claim = %(claim)s,
  claimed_until = now() + %(lease)s * interval '1 second',
  attempt_count = attempt_count + 1,
  is_uncertain = is_uncertain OR state = 'sending',
  unknown_outcomes = unknown_outcomes + (state = 'sending')::int,
  tries = tries + (state = 'sending')::int,
  look_up_next = look_up_next OR state = 'sending' OR {IS_LATE} OR coalesce(key_used_at < {TRUSTED_SINCE}, false),
  key_version = key_version + coalesce(key_used_at < {TRUSTED_SINCE}, false)::int,
  key_used_at = CASE WHEN coalesce(key_used_at < {TRUSTED_SINCE}, true) THEN now() ELSE key_used_at END
WHERE id = coalesce(
    ({DUE} AND priority = 0 AND NOT {IS_LATE} {FIRST}),
    (SELECT id FROM integrations_delivery AS held WHERE connection_id = %(connection)s AND state = 'sending'
      AND claimed_until <= now() AND %(look_ups)s AND NOT EXISTS (
        SELECT FROM integrations_batch AS batch
        WHERE batch.id = held.batch_id AND batch.state IN ('sending', 'running'))
      ORDER BY claimed_until LIMIT 1 FOR UPDATE SKIP LOCKED),
    ({DUE} AND priority = 1 {FIRST}),
    ({DUE} AND priority = 2 {FIRST}),
    ({DUE} AND priority = 0 {FIRST})
  )
  AND (state = 'pending' AND next_attempt_at <= now() OR state = 'sending' AND claimed_until <= now())
  AND EXISTS (
    SELECT FROM integrations_connection AS connection
    WHERE connection.id = delivery.connection_id AND connection.is_active
      AND (connection.paused_at IS NULL OR connection.paused_until <= now())
      AND (connection.breaker_opened_at IS NULL OR connection.breaker_probe_at <= now())
  )
RETURNING delivery.*,
  (SELECT request FROM integrations_deliverycontent AS content WHERE content.delivery_id = delivery.id) AS packed,
  (SELECT external_id FROM integrations_deliverycontent AS content WHERE content.delivery_id = delivery.id) AS known_as
"""  # noqa: S608 (of the constants above)


def key_trusted_seconds(connection: Connection) -> int | None:
    """How long the account recognises a repeat; None where it finds nothing and a key is used for ever."""
    destination = DESTINATIONS[connection.kind]
    return destination.key_trusted_seconds if isinstance(destination, FindsByExternalId) else None


def claim(connection: Connection, *, look_ups: bool = True) -> ClaimedDelivery | None:
    """Claims the first delivery in the queue; None if the connection is closed or nothing is due.

    `look_ups`: whether one that has to be looked up first may be taken.
    """
    claim_id = uuid.uuid4()
    values = {
        "connection": connection.pk,
        "claim": claim_id,
        "lease": settings.DELIVERY_LEASE_SECONDS,
        "trusted": key_trusted_seconds(connection),
        "look_ups": look_ups,
    }
    rows = list(Delivery.objects.raw(CLAIM, values))
    if not rows:
        return None
    delivery = rows[0]
    delivery.connection = connection
    if not _attach_content(delivery):
        delivery.claimed_by(claim_id).fail(last_error=NOTHING_TO_SEND)
        return claim(connection, look_ups=look_ups)
    return ClaimedDelivery(delivery, claim_id, Session(connection), delivery.request)


def _attach_content(delivery: Delivery) -> bool:
    """What the claim brought along to be sent; False where it is no longer kept. The rest is read when asked for."""
    row: Any = delivery
    if row.packed is None:
        return False
    names, values = ["delivery_id", "external_id", "request"], [row.pk, row.known_as, _request_of(delivery, row.packed)]
    delivery.content = DeliveryContent.from_db(None, names, values)
    return True


def _request_of(delivery: Delivery, packed: Any) -> str:
    """The statement read it before it had the lock; the text of what counts a burst may have grown in between."""
    if delivery.counts_a_burst:
        return DeliveryContent.objects.get(pk=delivery.pk).request
    return unpack(packed).decode()


def demote_late() -> int:
    """Moves live deliveries that are late by now behind what is live: each has to be looked up first."""
    demoted = 0
    for connection in Connection.objects.filter(Connection.open_now()):
        trusted = key_trusted_seconds(connection)
        if trusted is not None:
            waiting = Delivery.objects.filter(connection=connection, state=Delivery.State.PENDING)
            late = waiting.filter(priority=Delivery.Priority.LIVE).late(trusted)
            demoted += late.update(priority=Delivery.Priority.BULK)
    return demoted


def release_claim(claimed: ClaimedDelivery, seconds: float, reason: str = "") -> None:
    """Releases the claim unused: no attempt was made."""
    claimed.row.schedule(
        seconds_from_now(min(seconds, LONGEST_WAKE_SECONDS)),
        attempt_count=Greatest(F("attempt_count") - 1, 0),
        **({"decision": reason} if reason else {}),
    )
