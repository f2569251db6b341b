"""What the rooms have done in the background, together."""

from collections.abc import Callable, Iterable

from django.db import Error as DatabaseError

from integrations import companies, connections, delivery, flow, operations, outcomes, routing, subscriptions

ROOMS = (flow, connections, delivery, routing, subscriptions, companies, outcomes, operations)
JOBS = tuple(job for room in ROOMS for job in room.BACKGROUND.jobs)
EACH_SWEEP = tuple(step for room in ROOMS for step in room.BACKGROUND.each_sweep)
EACH_WATCH = tuple(step for room in ROOMS for step in room.BACKGROUND.each_watch)


def do_all(steps: Iterable[Callable[[], object]]) -> None:
    """One after the other; a step that fails does not keep the others from theirs.

    Raises what the first one raised that failed, once all have been done; an error of the database at once.
    """
    failed: Exception | None = None
    for step in steps:
        try:
            step()
        except DatabaseError:
            raise
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise failed
