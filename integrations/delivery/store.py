"""Storing a delivery's result in its row: shared by single tries and batches."""

from typing import Any

import structlog
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from integrations.delivery.bursts import lock_burst, record_report
from integrations.delivery.following import wake_followers
from integrations.delivery.notes import add_note
from integrations.delivery.solved import mark_if_solved
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Receipt
from integrations.destinations.capabilities import TellsStatus
from integrations.infra.http.failure import Failure
from integrations.infra.text import storable
from integrations.models import Burst, Delivery, DeliveryContent, Mapping
from integrations.models.deliveries import DeliveryQuerySet

log = structlog.get_logger(__name__)

# When the status is first polled, should no webhook report it.
FIRST_POLL_SECONDS = 15 * 60
LONGEST_CAUSE = 250


# Delivered, and what it became: one row however many posts went into the thing. That belongs to the case of its first
# post, and response times count from the earliest. A delivery that is delivered already stays unchanged.
DELIVERED = """
WITH thing AS (
  INSERT INTO integrations_remoteobject
    (connection_id, mapping_id, number, url, case_key, posted_at, next_poll_at)
  VALUES (%(connection)s, %(mapping)s, %(number)s, %(url)s, %(case)s, %(posted_at)s, now() + %(poll)s * interval '1 s')
  ON CONFLICT ON CONSTRAINT remote_object_known_once DO UPDATE SET
    last_delivered_at = CASE WHEN %(adds)s THEN now() ELSE integrations_remoteobject.last_delivered_at END,
    posted_at = least(integrations_remoteobject.posted_at, excluded.posted_at)
  RETURNING id
)
UPDATE integrations_delivery AS delivery SET
  state = 'delivered', remote_object_id = thing.id, result = %(how)s, delivered_at = now(), next_attempt_at = NULL,
  is_uncertain = false, was_refused = false, tries = tries + 1, claim = NULL, claimed_until = NULL,
  last_error = '', cause = '', remedy = '', remedy_at = ''
FROM thing WHERE delivery.id = %(delivery)s AND delivery.state <> 'delivered'
RETURNING EXISTS (SELECT FROM integrations_delivery AS follower
  WHERE follower.follows_id = delivery.id AND NOT follower.is_rendered)
"""


def store_thing(delivery: Delivery, receipt: Receipt, warning: str = "") -> None:
    """Stores that it is delivered, as what, and any warning; adds the note; wakes what waits. In a transaction."""
    is_polled = isinstance(DESTINATIONS[delivery.connection.kind], TellsStatus)
    values: dict[str, Any] = {
        "delivery": delivery.pk,
        "connection": delivery.connection_id,
        "mapping": delivery.mapping_id,
        "number": receipt.number,
        "url": receipt.url,
        "how": receipt.how,
        "case": delivery.case_key,
        "posted_at": delivery.posted_at,
        "poll": FIRST_POLL_SECONDS if is_polled else None,
        # An update is no post of the case.
        "adds": delivery.action != Delivery.Action.UPDATE,
    }
    burst = lock_burst(delivery)
    with connection.cursor() as cursor:
        cursor.execute(DELIVERED, values)
        updated = cursor.fetchone()
    if updated is not None:
        _let_others_follow(delivery, receipt, burst, are_waiting=updated[0])
    if warning:
        _store_warning(delivery, warning)


def _let_others_follow(delivery: Delivery, receipt: Receipt, burst: Burst | None, *, are_waiting: bool) -> None:
    """What comes of it: a note, what waited for it, the posts that it counts, the word that its ticket is solved."""
    add_note(delivery, receipt)
    if burst is not None:
        record_report(burst, delivery.pk)
    elif are_waiting:
        wake_followers(delivery.pk, receipt.status)
    if delivery.follows_id is not None:
        mark_if_solved(delivery.pk)


def _store_warning(delivery: Delivery, warning: str) -> None:
    """On the delivery and on its mapping: the account dropped something."""
    add_remark(delivery.pk, _dropped_text(delivery, warning))
    Mapping.objects.filter(pk=delivery.mapping_id).update(
        dropped=storable(warning), dropped_at=Now(), dropped_on=delivery.pk
    )


def add_remark(delivery_id: int, sentence: str) -> None:
    content = DeliveryContent.objects.filter(pk=delivery_id)
    remarks = content.values_list("remarks", flat=True).first() or ""
    content.update(remarks=storable("\n".join(part for part in (remarks, sentence) if part)))


def _dropped_text(delivery: Delivery, warning: str) -> str:
    destination = DESTINATIONS[delivery.connection.kind]
    return f"{destination.title} created the {destination.thing} with a warning: {warning}"


def store_unrecorded(rows: DeliveryQuerySet, failure: Failure) -> int:
    """Fails deliveries of which something may have been created that cannot be recorded: a person has to look."""
    return rows.fail(
        last_error=storable(failure.text()),
        cause=storable(failure.cause)[:LONGEST_CAUSE],
        remedy=failure.remedy,
        remedy_at="",
        is_uncertain=True,
        look_up_next=True,
        was_refused=False,
        tries=F("tries") + 1,
    )
