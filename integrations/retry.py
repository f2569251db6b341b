"""What happens after a failed try: pure, from the failure, the tries used and the schedule to the next step."""

import random
from dataclasses import dataclass

from integrations.http import Failure

JITTER = 0.1
FIRST_LIMIT_PAUSE_SECONDS = 10.0
LONGEST_LIMIT_PAUSE_SECONDS = 15 * 60.0


@dataclass(frozen=True, slots=True)
class NextStep:
    """`wait`: seconds until the next try; None when there is none. `uses_a_try`: counts towards the schedule."""

    wait: float | None
    uses_a_try: bool
    words: str


def next_step(failure: Failure, tries: int, delays: tuple[float, ...]) -> NextStep:
    """`tries` counts those before this one. A try that ended in a pause of the connection uses up none."""
    if failure.pauses:
        return NextStep(0.0, uses_a_try=False, words="It goes on by itself when the connection is no longer paused.")
    if failure.permanent:
        return NextStep(None, uses_a_try=True, words="It is not tried again by itself.")
    if tries >= len(delays):
        return NextStep(None, uses_a_try=True, words=f"Given up after {tries + 1} tries; a person can retry it.")
    wait = max(delays[tries], failure.retry_after or 0.0) * random.uniform(1.0, 1.0 + JITTER)
    return NextStep(wait, uses_a_try=True, words=f"It is tried again in about {in_words(wait)}.")


def limit_pause_seconds(failure: Failure, limits_in_a_row: int) -> float | None:
    """How long the connection pauses; None means until a person acts. Grows when no Retry-After says how long."""
    if not failure.limited:
        return failure.pause_seconds
    if failure.pause_seconds is not None:
        # "0" and dates gone by are sent too: a limit met again and again is left alone for longer each time.
        least = min(2.0 ** min(limits_in_a_row, 10), LONGEST_LIMIT_PAUSE_SECONDS)
        return max(failure.pause_seconds, least) * random.uniform(1.0, 1.0 + JITTER)
    grown = FIRST_LIMIT_PAUSE_SECONDS * 2 ** min(limits_in_a_row, 10)
    return min(grown, LONGEST_LIMIT_PAUSE_SECONDS) * random.uniform(1.0, 1.0 + JITTER)


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds / 3600)} hours"
