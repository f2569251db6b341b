"""What a delivery sends, while it is still to be sent: replaced only here, and kept with the attempts that sent it."""

from integrations.models import Attempt, DeliveryContent


def store_request(delivery_id: int, request: str, remarks: str) -> None:
    """The request that is sent from now on, and what staff should know about it."""
    DeliveryContent.objects.filter(pk=delivery_id).update(request=request, remarks=remarks)


def store_rendered(content: DeliveryContent) -> None:
    """What was rendered anew, with what it is found by."""
    content.save(update_fields=["external_id", "request", "remarks"])


def keep_with_attempts(delivery_id: int) -> None:
    """Earlier attempts sent the request that is about to be replaced: the log keeps it with them."""
    sent = DeliveryContent.objects.filter(pk=delivery_id).values_list("request", flat=True).first()
    if sent:
        Attempt.objects.filter(delivery=delivery_id, request=b"").update(request=sent)
