"""Writing down what came of a call, for single deliveries and for those sent together."""

import time
from collections.abc import Callable

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from integrations import connections, notes
from integrations.database_pool import release_database
from integrations.database_time import seconds_from_now
from integrations.destinations.base import Receipt
from integrations.http import Failure
from integrations.models import Connection, Delivery, Mapping
from integrations.post import storable
from integrations.queueing import SWEEP, publish
from integrations.retry import limit_pause_seconds

log = structlog.get_logger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)
# Between tries to store a result while the database is away; after so many seconds the lease is left to run out.
STORE_DELAYS = (0.2, 1.0, 3.0)
LONGEST_STORE_SECONDS = 6.0
# When the ticket is looked at for the first time, should no webhook tell of it.
FIRST_LOOK_SECONDS = 15 * 60
LONGEST_WAKE_SECONDS = 60.0


def insist(store: Callable[[], None]) -> None:
    """Stores again when the database is away for a moment: what came of a call exists nowhere else."""
    began = time.monotonic()
    for delay in STORE_DELAYS:
        try:
            return store()
        except DATABASE_AWAY as error:
            if time.monotonic() - began + delay > LONGEST_STORE_SECONDS:
                raise
            log.warning("the result of a call is not stored yet", error=type(error).__name__)
            release_database()
            time.sleep(delay)
    return store()


def set_unrecorded(rows: QuerySet[Delivery], failure: Failure) -> int:
    """Ends a delivery of which something may have been made that could not be recorded: a person has to look."""
    return rows.update(
        state=Delivery.State.FAILED,
        next_attempt_at=None,
        claim=None,
        claimed_until=None,
        last_error=storable(f"{failure.told}\n{failure.detail}".strip()),
        cause=storable(failure.cause)[:250],
        remedy=failure.remedy,
        remedy_at="",
        is_uncertain=True,
        look_up_next=True,
        was_refused=False,
        tries=F("tries") + 1,
    )


def set_delivered(delivery: Delivery, receipt: Receipt, warning: str = "") -> None:
    """The delivery's own row, the note that follows it, and what was dropped noted on the mapping. In a transaction."""
    changed = (
        Delivery.objects.filter(pk=delivery.pk)
        .exclude(state=Delivery.State.DELIVERED)
        .update(
            state=Delivery.State.DELIVERED,
            result=receipt.how,
            ticket_number=receipt.number,
            ticket_url=receipt.url,
            delivered_at=Now(),
            next_look_at=seconds_from_now(FIRST_LOOK_SECONDS),
            next_attempt_at=None,
            claim=None,
            claimed_until=None,
            last_error="",
            cause="",
            remedy="",
            remedy_at="",
            is_uncertain=False,
            was_refused=False,
            tries=F("tries") + 1,
            remarks=storable("\n".join(part for part in (delivery.remarks, _dropped_words(warning)) if part)),
        )
    )
    if changed:
        notes.follow(delivery, receipt)
    if warning:
        Mapping.objects.filter(pk=delivery.mapping_id).update(
            dropped=storable(warning), dropped_at=Now(), dropped_on=delivery.pk
        )


def _dropped_words(warning: str) -> str:
    return f"Zendesk made the ticket, but says of what was sent: {warning}" if warning else ""


def pause_connection(connection: Connection, failure: Failure) -> None:
    seconds = limit_pause_seconds(failure, connection.limits_in_a_row)
    reason = f"{failure.told}\n{failure.detail}".strip()
    # Only if it is still set up as it was when this try began: new credentials must not be paused by the old ones' 401.
    unchanged = Connection.objects.filter(pk=connection.pk, secrets=connection.secrets, settings=connection.settings)
    connections.pause(unchanged, reason, seconds, limited=failure.limited)
    if seconds is not None and seconds <= LONGEST_WAKE_SECONDS:
        # A short pause need not last until the next round of the sweep.
        publish(SWEEP, countdown=seconds + 0.1)
