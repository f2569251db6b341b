"""Posts that were labelled and routed, and what of them arrived at the account."""

import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from integrations.models import Delivery, Mapping, RemoteObject
from integrations.routing.route import route_notification
from tests import payloads
from tests.factories import NotificationFactory
from tests.stand_in import StandIn


def labelled(mapping: Mapping, count: int = 1, **fields: Any) -> list[Delivery]:
    """So many posts in one notification, routed and ready to be sent."""
    items = [payloads.item(**fields) for _ in range(count)]
    notification = NotificationFactory.create(subscription=mapping.subscription, content=payloads.notification(*items))
    route_notification(notification.pk)
    return list(Delivery.objects.filter(notification=notification).order_by("next_attempt_at", "pk"))


def creates(sandbox: StandIn) -> list[str]:
    """The external ids of the tickets that were asked for one by one, in order."""
    return [
        json.loads(call.body)["ticket"]["external_id"]
        for call in sandbox.calls()
        if call.method == "POST" and call.path == "/api/v2/tickets.json"
    ]


def move(**fields: Any) -> None:
    """What waits is due now: the row is moved in time instead of waiting."""
    a_second_ago = timezone.now() - timedelta(seconds=1)
    Delivery.objects.filter(state=Delivery.State.PENDING).update(next_attempt_at=a_second_ago, **fields)


def became(delivery: Delivery) -> RemoteObject:
    """What the delivery became."""
    assert delivery.remote_object is not None
    return delivery.remote_object
