"""What is sent besides a delivery, as a delivery of its own: a note on its ticket, an update of its message."""

from dataclasses import dataclass

from django.db.models.functions import Now

from integrations.models import Delivery, DeliveryContent


@dataclass(frozen=True, slots=True)
class Addition:
    """What is sent to the thing numbered `target`. `occasion` tells it apart from the delivery that it belongs to."""

    occasion: str
    action: str
    target: str
    external_id: str
    request: str
    decision: str


def store_addition(delivery: Delivery, addition: Addition) -> int:
    """Stored once, however often it is asked for; to be sent behind what is still to be created. Returns its id."""
    row = Delivery(
        notification_id=delivery.notification_id,
        mapping_id=delivery.mapping_id,
        connection_id=delivery.connection_id,
        post_id=delivery.post_id,
        occasion=addition.occasion[:OCCASION_LENGTH],
        network=delivery.network,
        posted_at=delivery.posted_at,
        event_at=delivery.event_at,
        action=addition.action,
        target_number=addition.target,
        is_prepared=True,
        decision=addition.decision,
        priority=max(delivery.priority, Delivery.Priority.RETRY),
        next_attempt_at=Now(),
    )
    Delivery.objects.bulk_create([row], ignore_conflicts=True)
    same = Delivery.objects.filter(mapping=row.mapping_id, post_id=row.post_id, occasion=row.occasion)
    stored_id = same.values_list("pk", flat=True).get()
    content = DeliveryContent(
        delivery_id=stored_id, external_id=addition.external_id, request=addition.request, post=delivery.post
    )
    DeliveryContent.objects.bulk_create([content], ignore_conflicts=True)
    return stored_id


OCCASION_LENGTH = Delivery._meta.get_field("occasion").max_length or 0
