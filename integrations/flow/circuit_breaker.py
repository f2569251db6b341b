"""A connection's circuit breaker: after repeated failures to reach the account, only one delivery at a time is tried.

It opens after five failures in a row, and when half of a minute's calls failed.

Closed: everything is sent. Open: nothing is sent until `breaker_probe_at`; then one delivery goes as a probe. A reply,
good or bad, closes the circuit; another failure keeps it open for longer. Waiting deliveries use up no try. Staff may
close it by hand (resume) or turn it off for a connection. Only failures to reach the account count: a refusal is a
reply.
"""

import threading
import time
from collections import defaultdict, deque

import structlog
from django.conf import settings
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from integrations.infra.database_clock import now, seconds_from_now
from integrations.infra.http.failure import Failure
from integrations.infra.queue import SWEEP, publish
from integrations.models import Connection

log = structlog.get_logger(__name__)

OPENS_AFTER = 5
# Or when this share of the calls that this process made within the window failed, and they are enough to tell.
WINDOW_SECONDS = 60.0
OPENS_AT_SHARE = 0.5
LEAST_CALLS = 10
MOST_CALLS = 200
FIRST_PROBE_SECONDS = 10.0
LONGEST_PROBE_SECONDS = 60.0


class _RecentCalls:
    """How the calls of this process to each account went, for the length of the window."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, deque[tuple[float, bool]]] = defaultdict(lambda: deque(maxlen=MOST_CALLS))

    def add(self, connection_id: int, *, is_failure: bool) -> tuple[int, int]:
        """(failed, all) within the window, this one included."""
        now = time.monotonic()
        with self._lock:
            calls = self._calls[connection_id]
            calls.append((now, is_failure))
            while calls[0][0] < now - WINDOW_SECONDS:
                calls.popleft()
            return sum(failed for _, failed in calls), len(calls)

    def forget(self, connection_id: int) -> None:
        with self._lock:
            self._calls.pop(connection_id, None)


_recent = _RecentCalls()


def count_failure(connection: Connection, failure: Failure) -> None:
    """Counts a failure to reach the account; opens the circuit, or keeps it open for longer."""
    if not failure.is_transport:
        if failure.status is not None:
            record_answer(connection)
        return
    failed, calls = _recent.add(connection.pk, is_failure=True)
    row = Connection.objects.filter(pk=connection.pk)
    row.update(transport_failures=F("transport_failures") + 1)
    failures, is_enabled = row.values_list("transport_failures", "breaker_enabled").get()
    has_share = calls >= LEAST_CALLS and failed >= calls * OPENS_AT_SHARE
    if not is_enabled or (failures < OPENS_AFTER and not has_share):
        return
    how_often = f"{failed} of {calls} calls failed" if failures < OPENS_AFTER else f"{failures} calls failed in a row"
    seconds = FIRST_PROBE_SECONDS
    if connection.breaker_opened_at is not None:
        # This was a probe: the longer the circuit has been open, the rarer they get.
        open_for = (now() - connection.breaker_opened_at).total_seconds()
        seconds = min(max(open_for, FIRST_PROBE_SECONDS * 2), LONGEST_PROBE_SECONDS)
    elif row.filter(breaker_opened_at__isnull=False).exists():
        # It was under way when another failure opened the circuit.
        return
    row.update(
        breaker_opened_at=Case(When(breaker_opened_at__isnull=True, then=Now()), default=F("breaker_opened_at")),
        breaker_probe_at=seconds_from_now(seconds),
        breaker_reason=f"{how_often}. {failure.text()}",
    )
    log.warning("circuit breaker opened", connection_id=connection.pk, failures=failures, next_probe_seconds=seconds)
    if seconds <= 60:
        publish(SWEEP, countdown=seconds + 0.1)


def record_answer(connection: Connection) -> None:
    """The account replied: whatever it said, it can be reached."""
    if not connection.transport_failures and connection.breaker_opened_at is None:
        _recent.add(connection.pk, is_failure=False)
        return
    close_circuit(connection.pk, was_open=connection.breaker_opened_at is not None)


def close_circuit(connection_id: int, *, was_open: bool = True) -> None:
    """Closes the circuit and lets waiting deliveries go at once. What came before it opened counts no more."""
    if was_open:
        _recent.forget(connection_id)
    else:
        _recent.add(connection_id, is_failure=False)
    counted = Connection.objects.filter(Q(transport_failures__gt=0) | Q(breaker_opened_at__isnull=False)).filter(
        pk=connection_id
    )
    closed = counted.update(transport_failures=0, breaker_opened_at=None, breaker_probe_at=None, breaker_reason="")
    if closed:
        log.info("circuit breaker closed", connection_id=connection_id)
        publish(SWEEP)


def may_send(connection: Connection) -> bool:
    """Whether a delivery may be sent: always with a closed circuit, one at a time as a probe with an open one."""
    if connection.breaker_opened_at is None:
        return True
    probe = Connection.objects.filter(pk=connection.pk, breaker_opened_at__isnull=False, breaker_probe_at__lte=Now())
    taken = probe.update(breaker_probe_at=seconds_from_now(settings.DELIVERY_LEASE_SECONDS))
    return bool(taken) or not Connection.objects.filter(pk=connection.pk, breaker_opened_at__isnull=False).exists()
