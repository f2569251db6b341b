"""Pausing and resuming a connection. A pause keeps every delivery waiting; it never stops intake."""

import structlog
from django.db.models import Case, F, IntegerField, Q, QuerySet, When
from django.db.models.functions import Greatest, Now

from integrations import pace
from integrations.credentials import unreadable
from integrations.database_time import seconds_from_now
from integrations.encryption import Secret
from integrations.models import Connection
from integrations.queueing import SWEEP, publish

log = structlog.get_logger(__name__)


def pause(
    connections: QuerySet[Connection], reason: str, seconds: float | None, *, limited: bool = False, by: str = ""
) -> int:
    """Pauses for so many seconds, or until a person resumes when None; returns how many rows it paused.

    A pause until a person acts is never shortened to a timed one, and of two timed ones the later end holds.
    """
    not_paused = Q(paused_at__isnull=True) | Q(paused_until__lte=Now())
    waiting_for_a_person = Q(paused_at__isnull=False, paused_until__isnull=True)
    begun = Case(When(not_paused, then=Now()), default=F("paused_at"))
    in_a_row = Case(
        When(not_paused, then=F("limits_in_a_row") + 1), default=F("limits_in_a_row"), output_field=IntegerField()
    )
    changes = {"paused_at": begun, "pause_reason": reason, "paused_by": by} | (
        {"limits_in_a_row": in_a_row} if limited else {}
    )
    if seconds is None:
        mine_or_nobodys = connections if by else connections.filter(paused_by="")
        return mine_or_nobodys.update(**changes, paused_until=None)
    until = Case(
        When(not_paused, then=seconds_from_now(seconds)),
        default=Greatest(F("paused_until"), seconds_from_now(seconds)),
    )
    return connections.exclude(waiting_for_a_person).update(**changes, paused_until=until)


def resume(connections: QuerySet[Connection]) -> int:
    """Ends every pause, whoever or whatever began it, and lets what waits go on at once."""
    ids = list(connections.values_list("pk", flat=True))
    chosen = Connection.objects.filter(pk__in=ids)
    resumed = chosen.update(
        paused_at=None,
        paused_until=None,
        pause_reason="",
        paused_by="",
        limits_in_a_row=0,
        transport_failures=0,
        breaker_opened_at=None,
        breaker_probe_at=None,
        breaker_reason="",
    )
    for connection_id in ids:
        pace.forget(connection_id)
    publish(SWEEP)
    log.info("connections resumed", connection_ids=ids)
    return resumed


def forget_account(connection: Connection) -> None:
    """The connection goes to another account: users, webhook and limits of the earlier one mean nothing there."""
    connection.requesters.all().delete()
    Connection.objects.filter(pk=connection.pk).update(
        webhook_id="", webhook_secret=Secret(""), webhook_problem="", webhook_heard_at=None, clock_ahead_seconds=0
    )
    pace.forget(connection.pk)


def pause_what_cannot_be_read() -> None:
    """Pauses the connections whose secrets the present key cannot read, before a delivery meets them."""
    for connection in Connection.objects.filter(Connection.open_now()):
        if not connection.secrets.is_readable:
            pause(Connection.objects.filter(pk=connection.pk), unreadable(connection).words, None)
            log.error("connection paused: its secrets cannot be read with the present key", connection_id=connection.pk)
