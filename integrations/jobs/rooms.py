"""What the rooms have done in the background, together."""

from collections.abc import Callable, Iterable

import structlog
from django.db import connection

from integrations import companies, connections, delivery, flow, operations, outcomes, routing, subscriptions
from integrations.infra.database_pool import DATABASE_DOWN

log = structlog.get_logger(__name__)

ROOMS = (flow, connections, delivery, routing, subscriptions, companies, outcomes, operations)
JOBS = tuple(job for room in ROOMS for job in room.BACKGROUND.jobs)
EACH_SWEEP = tuple(step for room in ROOMS for step in room.BACKGROUND.each_sweep)
EACH_WATCH = tuple(step for room in ROOMS for step in room.BACKGROUND.each_watch)


class StepsFailed(Exception):
    """Some of the regular work was not done; the log has each of its errors."""


def do_all(steps: Iterable[Callable[[], object]]) -> None:
    """One after the other; a step that fails does not keep the others from theirs.

    Raises StepsFailed once all have been done, and what the database raised, at once, when it is away.
    """
    some_failed = False
    for step in steps:
        try:
            step()
        except StepsFailed:
            some_failed = True
        except Exception as error:
            # A statement that took too long, or a value that no column holds, is one step's own failure.
            if isinstance(error, DATABASE_DOWN) and not connection.is_usable():
                raise
            log.exception("a step of the regular work failed", step=getattr(step, "__name__", str(step)))
            some_failed = True
    if some_failed:
        raise StepsFailed
