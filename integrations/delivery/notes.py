"""The source context as an internal note: a delivery of its own, with its own tries, that follows the ticket's."""

import structlog
from django.db import OperationalError, transaction
from django.db.models.functions import Now

from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Receipt
from integrations.destinations.capabilities import AddsNotes
from integrations.infra.text import storable
from integrations.mapping import context_of, post_of, shared_post
from integrations.models import Delivery, DeliveryContent

log = structlog.get_logger(__name__)


def add_note(delivery: Delivery, receipt: Receipt) -> None:
    """Adds the note's delivery where the mapping asks for one. In the transaction that records the ticket."""
    if not delivery.adds_note or delivery.is_note:
        return
    whole = Delivery.objects.select_related(
        "content__post", "notification__content", "notification__subscription__company", "mapping__connection"
    ).get(pk=delivery.pk)
    try:
        with transaction.atomic():
            _make(whole, receipt)
    except OperationalError:
        raise
    except Exception as error:
        # Whatever is wrong with the note must not cost us the ticket's receipt.
        log.exception("internal note failed", delivery_id=delivery.pk)
        message = storable(f"The internal note with the source context could not be created: {error}")
        remarks = f"{whole.remarks}\n{message}".strip()
        DeliveryContent.objects.filter(pk=delivery.pk).update(remarks=remarks)


def _make(whole: Delivery, receipt: Receipt) -> None:
    destination = DESTINATIONS[whole.connection.kind]
    if not isinstance(destination, AddsNotes):
        return
    occasion = f"{Delivery.NOTE}{whole.occasion}"
    event, post = post_of(whole)
    external_id = destination.external_id(post.post_id, str(whole.mapping.uuid), occasion)
    context = context_of(whole.notification, event, whole.mapping)
    request = destination.build_note(shared_post(whole.mapping, post), context, whole.mapping.settings, external_id)
    if request:
        _store(whole, receipt, occasion, external_id, request, destination.thing)


def _store(delivery: Delivery, receipt: Receipt, occasion: str, external_id: str, request: str, thing: str) -> None:
    note = Delivery(
        notification_id=delivery.notification_id,
        mapping_id=delivery.mapping_id,
        connection_id=delivery.connection_id,
        post_id=delivery.post_id,
        occasion=occasion,
        network=delivery.network,
        posted_at=delivery.posted_at,
        event_at=delivery.event_at,
        action=Delivery.Action.APPEND,
        target_number=receipt.number,
        is_prepared=True,
        decision=f"Internal note with the source context on {thing} {receipt.number}.",
        # Behind tickets that are still to be created.
        priority=max(delivery.priority, Delivery.Priority.RETRY),
        next_attempt_at=Now(),
    )
    Delivery.objects.bulk_create([note], ignore_conflicts=True)
    same = Delivery.objects.filter(mapping=delivery.mapping_id, post_id=delivery.post_id, occasion=occasion)
    stored_id = same.values_list("pk", flat=True).get()
    content = DeliveryContent(delivery_id=stored_id, external_id=external_id, request=request, post=delivery.post)
    DeliveryContent.objects.bulk_create([content], ignore_conflicts=True)
