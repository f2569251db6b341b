"""What has to be done every few seconds or minutes, whoever is alive to do it.

Each worker and the process `beat` run this clock. A turn is taken by one conditional UPDATE, so any number of clocks do
each thing once, and one that died or hangs is followed by the next. Nothing of it waits in a queue: a worker that is
busy, or a Redis that is gone, holds up neither sweep nor alarms.
"""

import threading
from contextlib import suppress

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now

from integrations import operations
from integrations.infra import queue
from integrations.infra.database_pool import DATABASE_DOWN
from integrations.installation import HEARTBEAT_SECONDS, record_beat
from integrations.jobs.rooms import EACH_WATCH, StepsFailed, do_all
from integrations.jobs.sweep import queue_space, sweep
from integrations.jobs.turns import end_turn, take_turn
from integrations.models import Turn

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0


def run_clock(ending: threading.Event, *, is_beat: bool = False) -> None:
    """Runs until `ending` is set. `is_beat`: in the process of that name, which is missed when it is silent."""
    while not ending.wait(TICK_SECONDS):
        tick(is_beat=is_beat)
        with suppress(OSError):
            # What a container's health check looks at (portal.alive).
            settings.CLOCK_FILE.touch()


def tick(*, is_beat: bool = False) -> None:
    """Does what is due. Never raises: the next tick tries again."""
    try:
        do_all([*([record_beat] if is_beat else []), _ask_in_turn, _sweep_in_turn, _watch_in_turn])
    except DATABASE_DOWN as error:
        log.warning("clock waits for the database", error=str(error))
    except StepsFailed:
        log.warning("not all of the regular work was done")
    finally:
        _give_connection_back()


def _ask_in_turn() -> None:
    if take_turn(Turn.Name.ASK, HEARTBEAT_SECONDS):
        _ask_workers()


def _sweep_in_turn() -> None:
    if take_turn(Turn.Name.SWEEP, settings.SWEEP_SECONDS):
        sweep()
        end_turn(Turn.Name.SWEEP)


def _watch_in_turn() -> None:
    if not take_turn(Turn.Name.WATCH, settings.WATCH_SECONDS):
        return
    try:
        do_all(EACH_WATCH)
        end_turn(Turn.Name.WATCH)
    finally:
        # Alarms that there are by now are mailed, whatever failed of the rest.
        _mailer.begin()


class _Mailer:
    """Mails in a thread of its own, one round at a time: a mail server that does not answer stops no clock."""

    def __init__(self) -> None:
        self._is_busy = threading.Lock()

    def begin(self) -> None:
        if self._is_busy.acquire(blocking=False):
            threading.Thread(target=self._mail, name="alarm-mail", daemon=True).start()

    def _mail(self) -> None:
        try:
            operations.mail_alarms()
        except Exception:
            log.exception("alarm mails failed")
        finally:
            _give_connection_back()
            self._is_busy.release()


_mailer = _Mailer()


def _ask_workers() -> None:
    """A worker's answer proves that it takes messages and works on them. Nobody asks more where none is taken."""
    Turn.objects.filter(name=Turn.Name.ASK, done_at=None).update(done_at=Now())
    if queue_space("control")[0]:
        queue.publish(queue.ANSWER)


def _give_connection_back() -> None:
    try:
        connection.close()
    except DatabaseError as error:
        log.warning("connection not returned", error=str(error))
