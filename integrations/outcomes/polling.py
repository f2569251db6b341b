"""Polling the status of what deliveries became: the safety net behind the webhook, and all there is without one."""

from collections.abc import Mapping

import structlog
from django.db import transaction
from django.db.models import Case, DateTimeField, Exists, OuterRef, Q, Value, When
from django.db.models.functions import Now

from integrations.connections import Session
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import StatusUpdate, TellsStatus
from integrations.flow import record_failure
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure, NoPermit
from integrations.models import Connection, Delivery, RemoteObject
from integrations.outcomes.status import (
    FINAL,
    HOUR,
    POLL_INTERVALS,
    POLLED_BESIDE_A_WEBHOOK,
    POLLED_FOR_SECONDS,
    record_update,
)
from integrations.outcomes.webhook import AccountWebhook

log = structlog.get_logger(__name__)

MOST_CALLS = 10
SECONDS_FOR_CALLS = 60.0
PERMIT_SECONDS = 5.0
# Claimed tickets are not polled by others for this long; refused ones wait longer.
CLAIMED_SECONDS = 600
REFUSED_SECONDS = 4 * HOUR
POSTPONED_SECONDS = 60

MOST_REQUESTED = 1000
POLLING_FAILED = "Checking the status failed: "


# --- Polling ---------------------------------------------------------------------------------------------------------


def accounts_to_poll() -> list[int]:
    """Open connections with tickets that are due to be polled."""
    due = RemoteObject.objects.filter(connection=OuterRef("pk"), next_poll_at__lte=Now())
    rows = Connection.objects.filter(Connection.open_now(), Exists(due), kind__in=_kinds())
    return list(rows.values_list("pk", flat=True))


def _kinds() -> list[str]:
    return [kind for kind, destination in DESTINATIONS.items() if isinstance(destination, TellsStatus)]


def poll_tickets(connection_id: int) -> None:
    """Polls the tickets that are due, in ten calls at most and only when no live post waits. Safe to run anywhere."""
    connection = Connection.objects.filter(Connection.open_now(), pk=connection_id).first()
    destination = DESTINATIONS.get(connection.kind) if connection else None
    if connection is None or destination is None or not isinstance(destination, TellsStatus):
        return
    if Delivery.objects.filter(connection=connection).live().exists():
        # New posts first: tickets are polled when there is room again.
        return
    _Poll(connection, destination).run()


class _Poll:
    """One run over the tickets of a connection that are due."""

    def __init__(self, connection: Connection, reader: TellsStatus) -> None:
        self.connection, self.reader = connection, reader
        self.session = Session.limited(connection, seconds=SECONDS_FOR_CALLS, permit_wait=PERMIT_SECONDS)
        self.calls = 0

    def run(self) -> None:
        claimed: dict[int, str] = {}
        try:
            while self.calls < MOST_CALLS and (claimed := _claim(self.connection.pk, self.reader.most_read_at_once)):
                self._poll(claimed)
            _store_problem(self.connection.pk, "")
        except NoPermit as later:
            _postpone(claimed, max(later.seconds, POSTPONED_SECONDS))
        except Failure as failure:
            self._record_failure(claimed, failure)

    def _poll(self, claimed: dict[int, str]) -> None:
        numbers = list(dict.fromkeys(claimed.values()))
        updates = {update.number: update for update in self._read_many(numbers)}
        missing = [number for number in numbers if number not in updates]
        # What is missing from the list is read alone; what these calls do not reach is left to the next run.
        reached = missing[: MOST_CALLS - self.calls]
        updates |= {number: self._read_one(number) for number in reached}
        for update in updates.values():
            record_update(self.connection.pk, update)
        _postpone({pk: number for pk, number in claimed.items() if number not in updates}, 0)
        _set_next_poll([pk for pk, number in claimed.items() if number in updates], self.connection)

    def _read_many(self, numbers: list[str]) -> list[StatusUpdate]:
        self.calls += 1
        return self.session.ask(lambda credentials: self.reader.read_many(self.session.client, numbers, credentials))

    def _read_one(self, number: str) -> StatusUpdate:
        self.calls += 1
        return self.session.ask(lambda credentials: self.reader.read_one(self.session.client, number, credentials))

    def _record_failure(self, claimed: dict[int, str], failure: Failure) -> None:
        """What was claimed stays postponed; a limit or a refused sign-in concerns the whole connection."""
        _store_problem(self.connection.pk, failure.message)
        if failure.permanent:
            _postpone(claimed, REFUSED_SECONDS)
        record_failure(self.connection, failure, may_pause=failure.limited or failure.renew_token)
        log.warning("polling failed", connection_id=self.connection.pk, reason=failure.message)


def _claim(connection_id: int, most: int) -> dict[int, str]:
    """Row id -> number of what is due, postponed at once so that no other worker polls it too."""
    due = RemoteObject.objects.filter(connection=connection_id, next_poll_at__lte=Now()).order_by("next_poll_at")
    with transaction.atomic():
        locked = due.select_for_update(skip_locked=True, of=("self",))
        claimed = dict(locked.values_list("pk", "number")[:most])
        _postpone(claimed, CLAIMED_SECONDS)
    return claimed


def _postpone(claimed: Mapping[int, str], seconds: float) -> None:
    RemoteObject.objects.filter(pk__in=list(claimed)).update(next_poll_at=seconds_from_now(seconds))


def _set_next_poll(ids: list[int], connection: Connection) -> None:
    has_webhook = AccountWebhook(connection).is_alive
    RemoteObject.objects.filter(pk__in=ids).update(next_poll_at=_next_poll(has_webhook))


def _next_poll(has_webhook: bool) -> Case:
    """Often while a thing is young, then less and less often, then never."""

    def younger(seconds: float) -> Q:
        return Q(created_at__gt=seconds_from_now(-seconds))

    never = When(status__in=FINAL, then=Value(None))
    if has_webhook:
        steps = [When(younger(POLLED_FOR_SECONDS), then=seconds_from_now(POLLED_BESIDE_A_WEBHOOK))]
    else:
        steps = [When(younger(age), then=seconds_from_now(wait)) for age, wait in POLL_INTERVALS]
    return Case(never, *steps, default=Value(None), output_field=DateTimeField())


def _store_problem(connection_id: int, problem: str) -> None:
    """For the connection's page. Successful polling does not clear a problem of the webhook's set-up."""
    rows = Connection.objects.filter(pk=connection_id)
    if problem:
        rows.update(webhook_problem=f"{POLLING_FAILED}{problem}")
    else:
        rows.filter(webhook_problem__startswith=POLLING_FAILED).update(webhook_problem="")


# --- On request -------------------------------------------------------------------------------------


def request_poll(connection: Connection) -> int:
    """Makes the newest things of the connection due to be polled; returns how many."""
    newest = connection.remote_objects.order_by("-id").values("pk")[:MOST_REQUESTED]
    return RemoteObject.objects.filter(pk__in=newest).exclude(status__in=FINAL).update(next_poll_at=Now())
