"""A batch: while there is a backlog, many things with one call, where the destination takes many.

The call has no idempotency key. So its deliveries are marked "look up first" in the same statement that claims them,
before anything is sent, and only a result removes the mark: a ticket's number, or that it was not created. If a job's
number is lost (the process died during the call, or the reply was lost), the batch waits until the account has no job
under way; then each of its deliveries is looked up by external id before it is sent again.
"""

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from integrations.connections import Session
from integrations.delivery.batch_record import record_accepted, record_not_accepted
from integrations.delivery.claim import key_trusted_seconds
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import ACCOUNT, TakesMany
from integrations.flow import Permits
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import defect_text
from integrations.models import Attempt, Batch, Connection, Delivery

log = structlog.get_logger(__name__)
# Fewer are sent one by one: a job takes a while.
FEWEST_IN_ONE_CALL = 10
# After too few deliveries qualified.
TOO_FEW_WAIT_SECONDS = 5.0
# A call that would start later than this share of the lease is not made: others may have taken over by its end.
SHARE_BEFORE_THE_CALL = 0.3


def deliver_batch(connection: Connection) -> bool:
    """In backlog mode, sends many deliveries with one call. False where they are to go one by one."""
    destination = DESTINATIONS[connection.kind]
    if connection.backlog_since is None or connection.breaker_opened_at is not None:
        return False
    if not isinstance(destination, TakesMany):
        return False
    batch = claim_batch(connection, destination)
    if batch is None:
        return False
    rows = Delivery.objects.select_related("content").in_bulk(batch.delivery_ids)
    deliveries = [rows[row_id] for row_id in batch.delivery_ids]
    _begin_attempts(batch, deliveries, DESTINATIONS[connection.kind].thing)
    result = _send(connection, destination, batch, [row.request for row in deliveries])
    if isinstance(result, str):
        record_accepted(batch, result)
    else:
        record_not_accepted(batch, connection, result)
    return True


# --- Claim -----------------------------------------------------------------------------------------------------------

# Live ones whose request is final, and for which neither an earlier try nor another copy of the portal may have created
# a ticket (what is late goes one by one, looked up first). Marked for a look-up before
# anything is sent: only a result removes the mark. Materialized: as a subquery the selection might run more than once,
# and more be claimed than the limit.
CLAIM_BATCH = """
WITH chosen AS MATERIALIZED (
  SELECT id FROM integrations_delivery WHERE connection_id = %(connection)s AND state = 'pending' AND priority = 0
    AND next_attempt_at <= now() AND is_prepared AND action = 'create' AND case_key = ''
    AND NOT look_up_next AND NOT is_uncertain AND tries = 0
    AND event_at >= coalesce(now() - %(trusted)s::int * interval '1 second', '-infinity')
  ORDER BY next_attempt_at, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE integrations_delivery AS delivery SET
  state = 'sending',
  batch_id = %(batch)s,
  claim = %(claim)s,
  claimed_until = now() + %(lease)s * interval '1 second',
  attempt_count = attempt_count + 1,
  is_uncertain = true,
  look_up_next = true,
  key_used_at = coalesce(key_used_at, now())
FROM chosen WHERE delivery.id = chosen.id AND delivery.state = 'pending'
RETURNING delivery.id, delivery.next_attempt_at
"""


def claim_batch(connection: Connection, destination: TakesMany) -> Batch | None:
    """A batch with its claimed deliveries; None where there are too few, or no room for a job."""
    with transaction.atomic():
        held = Connection.objects.select_for_update(of=("self",), no_key=True).get(pk=connection.pk)
        if not _has_room(held, destination.most_jobs):
            return None
        batch = Batch.objects.create(connection=connection, next_poll_at=seconds_from_now(lease()))
        batch.delivery_ids = _claim_deliveries(batch, destination.most_in_one_call)
        is_enough = len(batch.delivery_ids) >= FEWEST_IN_ONE_CALL
        batch.save(update_fields=["delivery_ids"])
        transaction.set_rollback(not is_enough)
    if not is_enough:
        # What waits does not qualify: not tried again before each single delivery.
        Connection.objects.filter(pk=connection.pk).update(batch_wait_until=seconds_from_now(TOO_FEW_WAIT_SECONDS))
        return None
    log.info("batch claimed", batch_id=batch.pk, count=len(batch.delivery_ids))
    return batch


def _claim_deliveries(batch: Batch, most: int) -> list[int]:
    """Claims at most so many for the batch; returns their ids in queue order."""
    values = {
        "batch": batch.pk,
        "claim": batch.claim,
        "lease": lease(),
        "connection": batch.connection_id,
        "most": most,
        "trusted": key_trusted_seconds(batch.connection),
    }
    claimed = list(Delivery.objects.raw(CLAIM_BATCH, values))
    return [row.pk for row in sorted(claimed, key=lambda row: (row.next_attempt_at, row.pk))]


def _has_room(connection: Connection, most_jobs: int) -> bool:
    open_now = Connection.objects.filter(Connection.open_now(), pk=connection.pk, backlog_since__isnull=False)
    if not open_now.exclude(batch_wait_until__gt=Now()).exists() or connection.look_up_before_create:
        return False
    return Batch.objects.filter(connection=connection, state__in=["sending", "running"]).count() < most_jobs


def lease() -> int:
    return int(settings.DELIVERY_LEASE_SECONDS)


# --- Send ------------------------------------------------------------------------------------------------------------


def _begin_attempts(batch: Batch, deliveries: list[Delivery], thing: str) -> None:
    """Recorded before the call: if the process dies now, each delivery says so."""
    Attempt.objects.bulk_create(
        Attempt(
            delivery=row,
            number=row.attempt_count,
            key_version=row.key_version,
            detail=f"Sent in batch {batch.pk} with {len(deliveries)} {thing}s.",
        )
        for row in deliveries
    )


def _may_still_be_sent(batch: Batch) -> bool:
    """Checked last before the call: a process that stalled must not create what others may be creating by now."""
    latest = seconds_from_now(-lease() * SHARE_BEFORE_THE_CALL)
    return Batch.objects.filter(pk=batch.pk, state=Batch.State.SENDING, started_at__gte=latest).exists()


def _send(connection: Connection, destination: TakesMany, batch: Batch, requests: list[str]) -> str | Failure:
    """The job's number. The account's permit was taken before the claim."""
    session = Session(connection, permits=Permits(connection, held=[ACCOUNT]))

    def send_unless_late(credentials: Credentials) -> str:
        if not _may_still_be_sent(batch):
            raise Failure("This call came too late: another process may have taken over its deliveries.")
        release_database()
        return destination.send_many(session.client, requests, credentials)

    try:
        return session.ask(send_unless_late)
    except NoPermit as later:
        return Failure("Waiting for the rate limit.", retry_after=later.seconds)
    except Failure as failure:
        failure.detail = session.without_secrets(failure.detail)
        return failure
    except Exception as error:
        log.exception("destination failed")
        return Failure(defect_text("Sending", error), is_uncertain=True)
