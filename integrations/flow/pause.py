"""Pausing and resuming connections. A pause keeps deliveries waiting; it never stops intake."""

import random

import structlog
from django.db.models import Case, F, IntegerField, Q, QuerySet, When
from django.db.models.functions import Greatest, Now

from integrations.flow.rate_limit import forget_limits
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure
from integrations.infra.queue import SWEEP, publish
from integrations.infra.wakes import LONGEST_WAKE_SECONDS
from integrations.models import Connection

log = structlog.get_logger(__name__)

JITTER = 0.1
FIRST_LIMIT_PAUSE_SECONDS = 10.0
LONGEST_LIMIT_PAUSE_SECONDS = 15 * 60.0


def pause_connections(
    connections: QuerySet[Connection], reason: str, seconds: float | None, *, limited: bool = False, by: str = ""
) -> int:
    """Pauses for `seconds`, or until a person resumes when None; returns how many rows it paused.

    A pause that waits for a person is never shortened to a timed one, and of two timed ones the later end wins.
    """
    not_paused = Q(paused_at__isnull=True) | Q(paused_until__lte=Now())
    waiting_for_a_person = Q(paused_at__isnull=False, paused_until__isnull=True)
    paused_at = Case(When(not_paused, then=Now()), default=F("paused_at"))
    limits_in_a_row = Case(
        When(not_paused, then=F("consecutive_limits") + 1), default=F("consecutive_limits"), output_field=IntegerField()
    )
    changes = {"paused_at": paused_at, "pause_reason": reason, "paused_by": by} | (
        {"consecutive_limits": limits_in_a_row} if limited else {}
    )
    if seconds is None:
        mine_or_nobodys = connections if by else connections.filter(paused_by="")
        return mine_or_nobodys.update(**changes, paused_until=None)
    until = Case(
        When(not_paused, then=seconds_from_now(seconds)),
        default=Greatest(F("paused_until"), seconds_from_now(seconds)),
    )
    return connections.exclude(waiting_for_a_person).update(**changes, paused_until=until)


def resume_connections(connections: QuerySet[Connection]) -> int:
    """Ends every pause, whoever or whatever started it, and lets waiting deliveries go at once."""
    ids = list(connections.values_list("pk", flat=True))
    chosen = Connection.objects.filter(pk__in=ids)
    resumed = chosen.update(
        paused_at=None,
        paused_until=None,
        pause_reason="",
        paused_by="",
        consecutive_limits=0,
        transport_failures=0,
        breaker_opened_at=None,
        breaker_probe_at=None,
        breaker_reason="",
    )
    for connection_id in ids:
        forget_limits(connection_id)
    publish(SWEEP)
    log.info("connections resumed", connection_ids=ids)
    return resumed


def pause_after(connection: Connection, failure: Failure) -> None:
    seconds = limit_pause_seconds(failure, connection.consecutive_limits)
    reason = failure.text()
    # Only if it is still configured as when this try began: the old credentials' 401 must not pause new ones.
    unchanged = Connection.objects.filter(pk=connection.pk, secrets=connection.secrets, settings=connection.settings)
    pause_connections(unchanged, reason, seconds, limited=failure.limited)
    if seconds is not None and seconds <= LONGEST_WAKE_SECONDS:
        # A short pause need not last until the next sweep.
        publish(SWEEP, countdown=seconds + 0.1)


def limit_pause_seconds(failure: Failure, consecutive_limits: int) -> float | None:
    """How long the connection pauses; None means until a person acts. Grows when no Retry-After says how long."""
    if not failure.limited:
        return failure.pause_seconds
    if failure.pause_seconds is not None:
        # "0" and past dates are sent too: a limit hit again and again is left alone for longer each time.
        least = min(2.0 ** min(consecutive_limits, 10), LONGEST_LIMIT_PAUSE_SECONDS)
        return max(failure.pause_seconds, least) * random.uniform(1.0, 1.0 + JITTER)
    grown = FIRST_LIMIT_PAUSE_SECONDS * 2 ** min(consecutive_limits, 10)
    return min(grown, LONGEST_LIMIT_PAUSE_SECONDS) * random.uniform(1.0, 1.0 + JITTER)
