"""A message says so once the ticket that it was sent after is solved: an update, as a delivery of its own.

Whichever comes last finds the other: recording the solve looks for messages that were sent, recording a message looks
whether its ticket is solved. The ticket's row is locked in both, so that neither misses the other.
"""

import structlog
from django.db import transaction

from integrations.delivery.additions import Addition, store_addition
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import UpdatesThings
from integrations.infra.text import timestamp
from integrations.infra.wakes import wake_workers
from integrations.mapping import rules_of
from integrations.models import Delivery, RemoteObject

log = structlog.get_logger(__name__)

WHOLE = (
    "content__post", "mapping__connection", "connection", "remote_object", "follows__remote_object",
    "follows__connection",
)  # fmt: skip


def mark_solved(ticket: RemoteObject) -> None:
    """Updates what was sent after this. In the transaction that records that it is solved."""
    firsts = Delivery.objects.filter(remote_object=ticket).order_by().values("pk")
    sent = Delivery.objects.filter(follows__in=firsts, state=Delivery.State.DELIVERED, action=Delivery.Action.CREATE)
    # A message that counts many posts says nothing of one of them.
    ids = list(sent.exclude(result=Delivery.Result.COUNTED).values_list("pk", flat=True))
    # Most tickets have none, and the rows of a message are many.
    for delivery in Delivery.objects.filter(pk__in=ids).select_related(*WHOLE) if ids else ():
        _mark(delivery, ticket)


def mark_if_solved(delivery_id: int) -> None:
    """For a message that was sent after a ticket. In the transaction that records that it was sent."""
    delivery = Delivery.objects.select_related(*WHOLE).get(pk=delivery_id)
    first = delivery.follows.remote_object if delivery.follows else None
    if first is None or delivery.action != Delivery.Action.CREATE or not rules_of(delivery.mapping).marks_solved:
        return
    ticket = RemoteObject.objects.select_for_update(no_key=True).get(pk=first.pk)
    if ticket.solved_at is not None:
        _mark(delivery, ticket)


def _mark(delivery: Delivery, ticket: RemoteObject) -> None:
    destination = DESTINATIONS[delivery.connection.kind]
    if not isinstance(destination, UpdatesThings) or not rules_of(delivery.mapping).marks_solved:
        return
    if not destination.can_update(delivery.connection.settings) or not delivery.request or delivery.follows is None:
        return
    thing = DESTINATIONS[delivery.follows.connection.kind].thing
    sentence = f"{thing.capitalize()} {ticket.number} was solved at {timestamp(ticket.solved_at)}."
    occasion = f"{Delivery.SOLVED}{delivery.occasion}"
    store_addition(
        delivery,
        Addition(
            occasion,
            Delivery.Action.UPDATE,
            delivery.number,
            destination.external_id(delivery.post_id, str(delivery.mapping.uuid), occasion),
            destination.as_solved(delivery.request, sentence),
            f"Update of {destination.thing} {delivery.number}: {sentence}",
        ),
    )
    transaction.on_commit(lambda: wake_workers(delivery.connection_id), robust=True)
    log.info("message to be marked as solved", delivery_id=delivery.pk, ticket=ticket.number)
