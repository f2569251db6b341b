"""What happens after a failed try: from the failure, the tries used and the schedule to the next step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from integrations.infra.http.failure import Failure
from integrations.infra.text import duration_text
from integrations.models import Connection

JITTER = 0.1
# How often what may exist is sent again where nobody drops what comes twice.
MOST_REPEATS = 1


@dataclass(frozen=True, slots=True)
class NextStep:
    """`wait`: seconds until the next try; None when there is none. `uses_a_try`: counts towards the schedule."""

    wait: float | None
    uses_a_try: bool
    message: str


def retry_delays(connection: Connection) -> Sequence[float]:
    """Seconds between the tries of a connection's deliveries: its own schedule, or the installation's."""
    return connection.retry_delays or settings.DELIVERY_RETRY_DELAYS


def next_step(
    failure: Failure, tries: int, delays: Sequence[float], reassurance: str = "", *, is_repeated: bool = False
) -> NextStep:
    """`tries` counts those before this one. A try that ended in a pause of the connection uses up none.

    `reassurance`: what to say where a try may have taken effect. `is_repeated`: what may exist is not sent again.
    """
    if failure.pauses:
        return NextStep(0.0, uses_a_try=False, message="It is sent automatically once the connection is resumed.")
    if failure.permanent:
        return NextStep(None, uses_a_try=True, message="It is not retried automatically.")
    if is_repeated:
        return NextStep(
            None, uses_a_try=True, message="It is not sent again automatically, as that might duplicate it."
        )
    if tries >= len(delays):
        return NextStep(
            None,
            uses_a_try=True,
            message=f"Gave up after {tries + 1} attempt{'' if tries == 0 else 's'}. To try again, press “Retry now”.",
        )
    harmless = f" {reassurance}" if failure.is_uncertain and reassurance else ""
    wait = max(delays[tries], failure.retry_after or 0.0) * random.uniform(1.0, 1.0 + JITTER)
    return NextStep(wait, uses_a_try=True, message=f"Next attempt in about {duration_text(wait)}.{harmless}")
