"""What a delivery sends, while it is still to be sent: replaced only here, and kept with the attempts that sent it."""

from typing import Any

from integrations.delivery.cases import case_key
from integrations.domain.post import Post
from integrations.mapping import rules_of
from integrations.models import Attempt, Delivery, DeliveryContent


def store_request(delivery_id: int, request: str, remarks: str) -> None:
    """The request that is sent from now on, and what staff should know about it."""
    DeliveryContent.objects.filter(pk=delivery_id).update(request=request, remarks=remarks)


def store_rendered(content: DeliveryContent) -> None:
    """What was rendered anew, with what it is found by."""
    content.save(update_fields=["external_id", "request", "remarks"])


def rendered_columns(delivery: Delivery, post: Post) -> dict[str, Any]:
    """The columns of a delivery that was rendered anew: what rendering found, and what the mapping asks for today.

    The mapping may have been moved to another connection since: what was written is for that one.
    """
    rules = rules_of(delivery.mapping)
    return {
        "is_rendered": delivery.is_rendered,
        "cause": delivery.cause,
        "remedy": delivery.remedy,
        "remedy_at": delivery.remedy_at,
        "connection": delivery.mapping.connection,
        "case_key": case_key(post, delivery.mapping, rules),
        "adds_note": rules.adds_note,
        "is_prepared": not rules.needs_preparation,
    }


def keep_with_attempts(delivery_id: int) -> None:
    """Earlier attempts sent the request that is about to be replaced: the log keeps it with them."""
    sent = DeliveryContent.objects.filter(pk=delivery_id).values_list("request", flat=True).first()
    if sent:
        Attempt.objects.filter(delivery=delivery_id, request=b"").update(request=sent)
