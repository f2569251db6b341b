"""The source context as an internal note: a delivery of its own, with its own tries, that follows the ticket's."""

import structlog
from django.db import OperationalError, transaction

from integrations.delivery.additions import Addition, store_addition
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
        decision = f"Internal note with the source context on {destination.thing} {receipt.number}."
        store_addition(
            whole, Addition(occasion, Delivery.Action.APPEND, receipt.number, external_id, request, decision)
        )
