"""Storing a delivery's result in its row: shared by single tries and batches."""

import time
from collections.abc import Callable

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import F
from django.db.models.functions import Now

from integrations.delivery.notes import add_note
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Receipt
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure
from integrations.infra.text import storable
from integrations.models import Delivery, Mapping
from integrations.models.deliveries import DeliveryQuerySet

log = structlog.get_logger(__name__)

DATABASE_DOWN = (OperationalError, InterfaceError)
# Between tries to store a result during a database outage; after LONGEST_STORE_SECONDS the lease is left to expire.
STORE_DELAYS = (0.2, 1.0, 3.0)
LONGEST_STORE_SECONDS = 6.0
# When the ticket's status is first polled, should no webhook report it.
FIRST_POLL_SECONDS = 15 * 60
LONGEST_CAUSE = 250


def store_with_retries(store: Callable[[], None]) -> None:
    """Retries during a database outage of a moment: there is no other copy of a call's result."""
    began = time.monotonic()
    for delay in STORE_DELAYS:
        try:
            return store()
        except DATABASE_DOWN as error:
            if time.monotonic() - began + delay > LONGEST_STORE_SECONDS:
                raise
            log.warning("result not stored, retrying", error=type(error).__name__)
            release_database()
            time.sleep(delay)
    return store()


def store_ticket(delivery: Delivery, receipt: Receipt, warning: str = "") -> None:
    """Stores the ticket, adds the note, and records on the mapping what the account dropped. In a transaction."""
    dropped = _dropped_text(delivery, warning)
    delivered = Delivery.objects.filter(pk=delivery.pk).deliver(
        number=receipt.number,
        url=receipt.url,
        result=receipt.how,
        next_poll_at=seconds_from_now(FIRST_POLL_SECONDS),
        remarks=storable("\n".join(part for part in (delivery.remarks, dropped) if part)),
    )
    if delivered:
        add_note(delivery, receipt)
    if warning:
        Mapping.objects.filter(pk=delivery.mapping_id).update(
            dropped=storable(warning), dropped_at=Now(), dropped_on=delivery.pk
        )


def _dropped_text(delivery: Delivery, warning: str) -> str:
    destination = DESTINATIONS[delivery.connection.kind]
    return f"{destination.title} created the {destination.thing} with a warning: {warning}" if warning else ""


def store_unrecorded(rows: DeliveryQuerySet, failure: Failure) -> int:
    """Fails deliveries of which something may have been created that cannot be recorded: a person has to look."""
    return rows.fail(
        last_error=storable(f"{failure.full_message}\n{failure.detail}".strip()),
        cause=storable(failure.cause)[:LONGEST_CAUSE],
        remedy=failure.remedy,
        remedy_at="",
        is_uncertain=True,
        look_up_next=True,
        was_refused=False,
        tries=F("tries") + 1,
    )
