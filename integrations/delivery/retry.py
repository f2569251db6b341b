"""What happens after a failed try. Pure: from the failure, the tries used and the schedule to the next step."""

import random
from dataclasses import dataclass

from integrations.infra.http.failure import Failure
from integrations.infra.text import duration_text

JITTER = 0.1


@dataclass(frozen=True, slots=True)
class NextStep:
    """`wait`: seconds until the next try; None when there is none. `uses_a_try`: counts towards the schedule."""

    wait: float | None
    uses_a_try: bool
    message: str


def next_step(failure: Failure, tries: int, delays: tuple[float, ...]) -> NextStep:
    """`tries` counts those before this one. A try that ended in a pause of the connection uses up none."""
    if failure.pauses:
        return NextStep(0.0, uses_a_try=False, message="It is sent automatically once the connection is resumed.")
    if failure.permanent:
        return NextStep(None, uses_a_try=True, message="It is not retried automatically.")
    if tries >= len(delays):
        return NextStep(
            None,
            uses_a_try=True,
            message=f"Gave up after {tries + 1} attempt{'' if tries == 0 else 's'}. To try again, press “Retry now”.",
        )
    harmless = " Trying again will not create a second ticket." if failure.is_uncertain else ""
    wait = max(delays[tries], failure.retry_after or 0.0) * random.uniform(1.0, 1.0 + JITTER)
    return NextStep(wait, uses_a_try=True, message=f"Next attempt in about {duration_text(wait)}.{harmless}")
