"""The steps of an alarm keep their order on their way out, or somebody would be called for what is over.

A later step waits as long as an earlier one is still to be sent; and what a later one has overtaken is not sent any
more, whoever asks for it.
"""

from integrations.delivery.cases import LONGEST_WAIT, SHORTEST_WAIT
from integrations.infra.database_clock import now
from integrations.models import Delivery
from integrations.models.deliveries import DeliveryQuerySet
from integrations.sources.portal.alarms import NETWORK, post_id_of, step_of

MOST_STEPS = 50
OVERTAKEN = "Not sent: a later message about this alarm was sent already."


def seconds_until_its_turn(delivery: Delivery) -> float:
    """0 for whatever need not wait for an earlier step of its alarm."""
    step = _step(delivery)
    if step is None:
        return 0.0
    alarm, number = step
    earlier = _steps(delivery, alarm, range(max(1, number - MOST_STEPS), number))
    first = earlier.filter(state__in=["pending", "sending"]).order_by("pk").only("next_attempt_at").first()
    if first is None:
        return 0.0
    seconds = (first.next_attempt_at - now()).total_seconds() if first.next_attempt_at else SHORTEST_WAIT
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def is_overtaken(delivery: Delivery) -> bool:
    step = _step(delivery)
    if step is None:
        return False
    alarm, number = step
    return _steps(delivery, alarm, range(number + 1, number + MOST_STEPS)).filter(state="delivered").exists()


def _step(delivery: Delivery) -> tuple[int, int] | None:
    is_own = delivery.network == NETWORK and delivery.mapping.subscription.is_own
    return step_of(delivery.post_id) if is_own else None


def _steps(delivery: Delivery, alarm: int, numbers: range) -> DeliveryQuerySet:
    ids = [post_id_of(alarm, number) for number in numbers]
    return Delivery.objects.filter(mapping=delivery.mapping_id, post_id__in=ids, occasion="")
