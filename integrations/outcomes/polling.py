"""What became of tickets: news of them are put beside the deliveries they came of; a slow look is the safety net.

News come in any order and more than once. Status and assignee follow the newest change by the account's own clock;
the first solve is the earliest that was ever told. A webhook brings news at once; looking finds what it missed, and
all of it where no webhook is set up.
"""

from collections.abc import Mapping
from datetime import datetime

import redis
import structlog
from django.db import transaction
from django.db.models import Case, DateTimeField, Exists, OuterRef, Q, Value, When
from django.db.models.functions import Now

from integrations.connections import session_for
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import TellsStatus, TicketNews
from integrations.flow import live_backlog, record_failure
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.redis import redis_client
from integrations.models import Connection, Delivery
from integrations.outcomes.events import forget_old_events
from integrations.outcomes.status import (
    FINAL,
    HOUR,
    POLL_INTERVALS,
    POLLED_BESIDE_A_WEBHOOK,
    POLLED_FOR_SECONDS,
    record_news,
)
from integrations.outcomes.webhook import AccountWebhook

log = structlog.get_logger(__name__)

MOST_NUMBERS = 100
MOST_CALLS = 10
SECONDS_FOR_CALLS = 60.0
PERMIT_SECONDS = 5.0
# What one worker took is left alone for so long; what a refusal met, for longer.
TAKEN_SECONDS = 600
REFUSED_SECONDS = 4 * HOUR
PUT_OFF_SECONDS = 60

BEGIN_BATCH = 1000
BEGIN_BATCHES = 5
BEGUN_DOWN_TO = "casebridge:looks-begun-down-to"
POLLING_FAILED = "Checking tickets failed: "


# --- Looking ---------------------------------------------------------------------------------------------------------


def accounts_to_poll() -> list[int]:
    """Open connections with tickets that are due for a look."""
    due = Delivery.objects.filter(connection=OuterRef("pk"), next_poll_at__lte=Now())
    rows = Connection.objects.filter(Connection.open_now(), Exists(due), kind__in=_kinds())
    return list(rows.values_list("pk", flat=True))


def _kinds() -> list[str]:
    return [kind for kind, destination in DESTINATIONS.items() if isinstance(destination, TellsStatus)]


def poll_tickets(connection_id: int) -> None:
    """Asks for the tickets that are due, in ten calls at most and behind all deliveries. Safe to run anywhere."""
    connection = Connection.objects.filter(Connection.open_now(), pk=connection_id).first()
    destination = DESTINATIONS.get(connection.kind) if connection else None
    if connection is None or destination is None or not isinstance(destination, TellsStatus):
        return
    if live_backlog(connection.pk):
        # New posts first: their tickets are looked at when there is room again.
        return
    _Poll(connection, destination).run()


class _Poll:
    """One run over the tickets of a connection that are due."""

    def __init__(self, connection: Connection, reader: TellsStatus) -> None:
        self.connection, self.reader = connection, reader
        self.session = session_for(connection, seconds=SECONDS_FOR_CALLS, permit_wait=PERMIT_SECONDS)
        self.calls = 0

    def run(self) -> None:
        taken: dict[int, str] = {}
        try:
            while self.calls < MOST_CALLS and (taken := _take(self.connection.pk)):
                self._look_at(taken)
            _note_problem(self.connection.pk, "")
        except NoPermit as later:
            _put_off(taken, max(later.seconds, PUT_OFF_SECONDS))
        except Failure as failure:
            self._failed(taken, failure)

    def _look_at(self, taken: dict[int, str]) -> None:
        numbers = list(dict.fromkeys(taken.values()))
        found = {news.number: news for news in self._read_many(numbers)}
        missing = [number for number in numbers if number not in found]
        # What is not shown among many is asked for alone; for what these calls do not reach, the next run does.
        reached = missing[: MOST_CALLS - self.calls]
        found |= {number: self._read_one(number) for number in reached}
        for news in found.values():
            record_news(self.connection.pk, news)
        _put_off({pk: number for pk, number in taken.items() if number not in found}, 0)
        _set_next_poll([pk for pk, number in taken.items() if number in found], self.connection)

    def _read_many(self, numbers: list[str]) -> list[TicketNews]:
        self.calls += 1
        return self.session.ask(lambda credentials: self.reader.read_tickets(self.session.client, numbers, credentials))

    def _read_one(self, number: str) -> TicketNews:
        self.calls += 1
        return self.session.ask(lambda credentials: self.reader.read_ticket(self.session.client, number, credentials))

    def _failed(self, taken: dict[int, str], failure: Failure) -> None:
        """What was taken stays put off; a limit or a refused sign-in concerns the whole connection."""
        _note_problem(self.connection.pk, failure.message)
        if failure.permanent:
            _put_off(taken, REFUSED_SECONDS)
        record_failure(self.connection, failure, may_pause=failure.limited or failure.status == 401)
        log.warning("tickets not looked at", connection_id=self.connection.pk, reason=failure.message)


def _take(connection_id: int) -> dict[int, str]:
    """Delivery -> ticket number of what is due, put off at once so that no other worker takes it, too."""
    due = Delivery.objects.filter(connection=connection_id, next_poll_at__lte=Now()).order_by("next_poll_at")
    with transaction.atomic():
        locked = due.select_for_update(skip_locked=True, of=("self",))
        taken = dict(locked.values_list("pk", "ticket_number")[:MOST_NUMBERS])
        _put_off(taken, TAKEN_SECONDS)
    without_a_ticket = [pk for pk, number in taken.items() if not number]
    Delivery.objects.filter(pk__in=without_a_ticket).update(next_poll_at=None)
    return {pk: number for pk, number in taken.items() if number}


def _put_off(taken: Mapping[int, str], seconds: float) -> None:
    Delivery.objects.filter(pk__in=list(taken)).update(next_poll_at=seconds_from_now(seconds))


def _set_next_poll(ids: list[int], connection: Connection) -> None:
    has_webhook = AccountWebhook(connection).is_alive
    Delivery.objects.filter(pk__in=ids).update(next_poll_at=_next_poll(has_webhook))


def _next_poll(has_webhook: bool) -> Case:
    """Often while it is young, then ever more seldom, then never."""

    def younger(seconds: float) -> Q:
        return Q(delivered_at__gt=seconds_from_now(-seconds))

    never = When(Q(ticket_status__in=FINAL) | Q(delivered_at__isnull=True), then=Value(None))
    if has_webhook:
        steps = [When(younger(POLLED_FOR_SECONDS), then=seconds_from_now(POLLED_BESIDE_A_WEBHOOK))]
    else:
        steps = [When(younger(age), then=seconds_from_now(wait)) for age, wait in POLL_INTERVALS]
    return Case(never, *steps, default=Value(None), output_field=DateTimeField())


def _note_problem(connection_id: int, trouble: str) -> None:
    """For the connection's page. What a set-up left there is not touched by a look that went well."""
    rows = Connection.objects.filter(pk=connection_id)
    if trouble:
        rows.update(webhook_problem=f"{POLLING_FAILED}{trouble}")
    else:
        rows.filter(webhook_problem__startswith=POLLING_FAILED).update(webhook_problem="")


# --- Asked for, and begun --------------------------------------------------------------------------------------------


def request_poll(connection: Connection) -> int:
    """Makes the newest tickets of the connection due for a look; how many they are."""
    newest = connection.deliveries.order_by("-created_at", "-id").values("pk")[:BEGIN_BATCH]
    rows = Delivery.objects.filter(pk__in=newest, state=Delivery.State.DELIVERED).exclude(ticket_number="")
    return rows.exclude(ticket_status__in=FINAL).update(next_poll_at=Now())


def keep_up() -> None:
    """Every minute: older tickets begin to be polled, old events are forgotten."""
    begin_polling()
    forget_old_events()


def begin_polling() -> None:
    """Tickets of the last 60 days that were made before Casebridge looked at any are looked at, too.

    Walks down the log once, by number, so no table is scanned; where it stands is kept in Redis. If that is lost it
    walks again, which changes nothing: it takes only rows of which nothing is known and that wait for no look.
    """
    try:
        for _ in range(BEGIN_BATCHES):
            stands = redis_client().get(BEGUN_DOWN_TO)
            below = None if stands is None else int(stands)
            if below == 0:
                return
            redis_client().set(BEGUN_DOWN_TO, _begin_below(below))
    except redis.RedisError as error:
        log.warning("not looked for older tickets: Redis is away", error=str(error))


def _begin_below(number: int | None) -> int:
    """Takes one batch; the number below which the next begins, 0 when there is none."""
    rows = Delivery.objects.all() if number is None else Delivery.objects.filter(pk__lt=number)
    batch: list[tuple[int, datetime]] = list(rows.order_by("-pk").values_list("pk", "created_at")[:BEGIN_BATCH])
    if not batch:
        return 0
    ids = [pk for pk, _ in batch]
    young = Delivery.objects.filter(pk__in=ids, delivered_at__gt=seconds_from_now(-POLLED_FOR_SECONDS))
    unknown = young.filter(state=Delivery.State.DELIVERED, ticket_status="", next_poll_at__isnull=True)
    there = Connection.objects.filter(kind__in=_kinds())
    unknown.filter(connection__in=there).exclude(ticket_number="").update(next_poll_at=Now())
    # Twice as long: what was made that long ago can hardly have been delivered within the time that counts.
    is_older = Delivery.objects.filter(pk=ids[-1], created_at__lt=seconds_from_now(-2 * POLLED_FOR_SECONDS)).exists()
    return 0 if is_older else ids[-1]
