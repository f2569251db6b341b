"""Storing a delivery's result in its row: shared by single tries and batches."""

import time
from collections.abc import Callable

import structlog
from django.db import InterfaceError, OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now

from integrations.delivery.notes import add_note
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Receipt
from integrations.destinations.capabilities import TellsStatus
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure
from integrations.infra.text import storable
from integrations.models import Delivery, DeliveryContent, Mapping
from integrations.models.deliveries import DeliveryQuerySet

log = structlog.get_logger(__name__)

DATABASE_DOWN = (OperationalError, InterfaceError)
# Between tries to store a result during a database outage; after LONGEST_STORE_SECONDS the lease is left to expire.
STORE_DELAYS = (0.2, 1.0, 3.0)
LONGEST_STORE_SECONDS = 6.0
# When the status is first polled, should no webhook report it.
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


def store_thing(delivery: Delivery, receipt: Receipt, warning: str = "") -> None:
    """Stores what it became, adds the note, and records on the mapping what the account dropped. In a transaction."""
    row = Delivery.objects.filter(pk=delivery.pk)
    if row.deliver(_remote_object(delivery, receipt), result=receipt.how):
        add_note(delivery, receipt)
    if warning:
        _store_warning(delivery, warning)


# One row however many posts went into the thing. It belongs to the case of its first post; response times count from
# the earliest.
REMOTE_OBJECT = """
INSERT INTO integrations_remoteobject
  (connection_id, mapping_id, number, url, case_key, posted_at, next_poll_at)
VALUES (%s, %s, %s, %s, %s, %s, now() + %s * interval '1 second')
ON CONFLICT ON CONSTRAINT remote_object_known_once DO UPDATE SET
  last_delivered_at = now(),
  posted_at = least(integrations_remoteobject.posted_at, excluded.posted_at)
RETURNING id
"""


def _remote_object(delivery: Delivery, receipt: Receipt) -> int:
    """The id of its row, made where this is the first delivery that became it."""
    is_polled = isinstance(DESTINATIONS[delivery.connection.kind], TellsStatus)
    values = (
        delivery.connection_id,
        delivery.mapping_id,
        receipt.number,
        receipt.url,
        delivery.case_key,
        delivery.posted_at,
        FIRST_POLL_SECONDS if is_polled else None,
    )
    with connection.cursor() as cursor:
        cursor.execute(REMOTE_OBJECT, values)
        return int(cursor.fetchone()[0])


def _store_warning(delivery: Delivery, warning: str) -> None:
    """On the delivery and on its mapping: the account dropped something."""
    content = DeliveryContent.objects.filter(pk=delivery.pk)
    remarks = content.values_list("remarks", flat=True).first() or ""
    text = "\n".join(part for part in (remarks, _dropped_text(delivery, warning)) if part)
    content.update(remarks=storable(text))
    Mapping.objects.filter(pk=delivery.mapping_id).update(
        dropped=storable(warning), dropped_at=Now(), dropped_on=delivery.pk
    )


def _dropped_text(delivery: Delivery, warning: str) -> str:
    destination = DESTINATIONS[delivery.connection.kind]
    return f"{destination.title} created the {destination.thing} with a warning: {warning}"


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
