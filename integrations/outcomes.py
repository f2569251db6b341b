"""What became of tickets: news of them are put beside the deliveries they came of; a slow look is the safety net.

News come in any order and more than once. Status and assignee follow the newest change by the account's own clock;
the first solve is the earliest that was ever told. A webhook brings news at once; looking finds what it missed, and
all of it where no webhook is set up.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import redis
import structlog
from django.db import transaction
from django.db.models import Case, DateTimeField, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Least, Now

from integrations import connections, surge
from integrations.database_time import seconds_from_now
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials, TellsStatus, TicketNews
from integrations.http import Failure, Line, NotItsTurn
from integrations.lines import Turns, ask, line_to
from integrations.models import AccountSchema, Connection, Delivery
from integrations.redis_client import client
from integrations.retry import limit_pause_seconds

log = structlog.get_logger(__name__)

DELETED = "deleted"
SOLVED = ("solved", "closed")
FINAL = ("closed", DELETED)

HOUR, DAY = 3600, 86400
# How long after the last look a ticket is looked at again, while it is so young.
LOOKED_AT = ((DAY, HOUR // 4), (7 * DAY, 4 * HOUR), (60 * DAY, DAY))
LOOKED_AT_SECONDS = LOOKED_AT[-1][0]
LOOKED_AT_BESIDE_A_WEBHOOK = 6 * HOUR
WEBHOOK_HEARD_WITHIN = DAY

MOST_NUMBERS = 100
MOST_CALLS = 10
SECONDS_FOR_CALLS = 60.0
LONGEST_WAIT_FOR_A_TURN = 5.0
# What one worker took is left alone for so long; what a refusal met, for longer.
TAKEN_SECONDS = 600
REFUSED_SECONDS = 4 * HOUR
PUT_OFF_SECONDS = 60

BEGIN_BATCH = 1000
BEGIN_BATCHES = 5
BEGUN_DOWN_TO = "casebridge:looks-begun-down-to"
LOOKING_FAILED = "Looking at tickets failed: "


# --- Recording -------------------------------------------------------------------------------------------------------


def record_news(connection_id: int, news: TicketNews) -> int:
    """Updates what is known of the ticket, and returns how many deliveries are of it: 0 when it is not ours.

    Repeatable and in any order. News without a status or a time cannot be put in order: the ticket is looked at soon.
    """
    rows = Delivery.objects.filter(connection=connection_id, ticket_number=news.number)
    if news.is_deleted:
        return _record(rows, DELETED, news, connection_id)
    if not news.status or news.changed_at is None:
        return rows.update(next_look_at=Now())
    return _record(rows, news.status, news, connection_id)


def _record(rows: QuerySet[Delivery], status: str, news: TicketNews, connection_id: int) -> int:
    at: Any = _moment(news, connection_id)
    is_newest = Q(ticket_changed_at__isnull=True) | Q(ticket_changed_at__lte=at)
    changes: dict[str, Any] = {
        "ticket_status": Case(When(is_newest, then=Value(status)), default=F("ticket_status")),
        "ticket_changed_at": Case(When(is_newest, then=at), default=F("ticket_changed_at")),
        "next_look_at": _next_look_after_news(is_newest, status),
    }
    assignee = _assignee(news, connection_id)
    if assignee is not None:
        changes["ticket_assignee"] = Case(When(is_newest, then=Value(assignee)), default=F("ticket_assignee"))
    if status in SOLVED:
        changes["solved_at"] = Least(F("solved_at"), at)  # of an empty one and a time, the time
    return rows.update(**changes)


def _moment(news: TicketNews, connection_id: int) -> Any:
    """When it changed; for a deletion whose time is not told, now by the account's clock."""
    if news.changed_at is not None:
        return Value(news.changed_at, output_field=DateTimeField())
    ahead = Connection.objects.filter(pk=connection_id).values_list("clock_ahead_seconds", flat=True).first()
    return seconds_from_now(ahead or 0)


def _next_look_after_news(is_newest: Q, status: str) -> Case:
    """A ticket that ended is not looked at any more; one that came back to life is looked at again."""
    if status in FINAL:
        return Case(When(is_newest, then=Value(None)), default=F("next_look_at"), output_field=DateTimeField())
    came_back = is_newest & Q(next_look_at__isnull=True, delivered_at__gt=seconds_from_now(-LOOKED_AT_SECONDS))
    later = seconds_from_now(LOOKED_AT_BESIDE_A_WEBHOOK)
    return Case(When(came_back, then=later), default=F("next_look_at"), output_field=DateTimeField())


def _assignee(news: TicketNews, connection_id: int) -> str | None:
    """Whose it is, by name where the account's list of agents has it; None where nothing is told of it."""
    if news.assignee_id is None:
        return news.assignee_name[:200] or None
    if not news.assignee_id:
        return ""
    named = agent_names(connection_id).get(news.assignee_id)
    return (named or news.assignee_name or f"agent {news.assignee_id}")[:200]


def agent_names(connection_id: int) -> Mapping[str, str]:
    lists = AccountSchema.objects.filter(connection=connection_id).values_list("lists__agents", flat=True).first()
    rows = lists if isinstance(lists, list) else []
    return {str(row.get("id")): str(row.get("name") or "") for row in rows if isinstance(row, dict)}


def words(news: TicketNews) -> str:
    if news.is_deleted:
        return DELETED
    return news.status if news.status and news.changed_at else "it is asked for, as this tells no status or no time"


# --- Looking ---------------------------------------------------------------------------------------------------------


def to_look_at() -> list[int]:
    """Open connections with tickets that are due for a look."""
    due = Delivery.objects.filter(connection=OuterRef("pk"), next_look_at__lte=Now())
    rows = Connection.objects.filter(Connection.open_now(), Exists(due), kind__in=_kinds())
    return list(rows.values_list("pk", flat=True))


def _kinds() -> list[str]:
    return [kind for kind, destination in DESTINATIONS.items() if isinstance(destination, TellsStatus)]


def look_at_tickets(connection_id: int) -> None:
    """Asks for the tickets that are due, in ten calls at most and behind all deliveries. Safe to run anywhere."""
    connection = Connection.objects.filter(Connection.open_now(), pk=connection_id).first()
    destination = DESTINATIONS.get(connection.kind) if connection else None
    if connection is None or destination is None or not isinstance(destination, TellsStatus):
        return
    if surge.live_backlog(connection.pk):
        # New posts first: their tickets are looked at when there is room again.
        return
    _Looking(connection, destination, destination).run()


class _Looking:
    """One run over the tickets of a connection that are due."""

    def __init__(self, connection: Connection, destination: Destination, teller: TellsStatus) -> None:
        self.connection, self.destination, self.teller = connection, destination, teller
        self.line: Line = line_to(connection, SECONDS_FOR_CALLS, Turns(connection.pk, LONGEST_WAIT_FOR_A_TURN))
        self.calls = 0

    def run(self) -> None:
        taken: dict[int, str] = {}
        try:
            while self.calls < MOST_CALLS and (taken := _take(self.connection.pk)):
                self._look_at(taken)
            _note_trouble(self.connection.pk, "")
        except NotItsTurn as later:
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
        _set_next_look([pk for pk, number in taken.items() if number in found], self.connection.pk)

    def _read_many(self, numbers: list[str]) -> list[TicketNews]:
        def question(credentials: Credentials) -> list[TicketNews]:
            return self.teller.read_tickets(self.line, numbers, credentials)

        self.calls += 1
        return ask(self.connection, self.destination, self.line, question)

    def _read_one(self, number: str) -> TicketNews:
        def question(credentials: Credentials) -> TicketNews:
            return self.teller.read_ticket(self.line, number, credentials)

        self.calls += 1
        return ask(self.connection, self.destination, self.line, question)

    def _failed(self, taken: dict[int, str], failure: Failure) -> None:
        """What was taken stays put off; a limit or a refused sign-in concerns the whole connection."""
        _note_trouble(self.connection.pk, failure.words)
        if failure.permanent:
            _put_off(taken, REFUSED_SECONDS)
        if failure.limited or failure.status == 401:
            seconds = limit_pause_seconds(failure, self.connection.limits_in_a_row)
            # Only if it is still set up as it was: new credentials must not be paused by the old ones' 401.
            unchanged = Connection.objects.filter(
                pk=self.connection.pk, secrets=self.connection.secrets, settings=self.connection.settings
            )
            connections.pause(unchanged, failure.words, seconds, limited=failure.limited)
        log.warning("tickets not looked at", connection_id=self.connection.pk, reason=failure.words)


def _take(connection_id: int) -> dict[int, str]:
    """Delivery -> ticket number of what is due, put off at once so that no other worker takes it, too."""
    due = Delivery.objects.filter(connection=connection_id, next_look_at__lte=Now()).order_by("next_look_at")
    with transaction.atomic():
        locked = due.select_for_update(skip_locked=True, of=("self",))
        taken = dict(locked.values_list("pk", "ticket_number")[:MOST_NUMBERS])
        _put_off(taken, TAKEN_SECONDS)
    without_a_ticket = [pk for pk, number in taken.items() if not number]
    Delivery.objects.filter(pk__in=without_a_ticket).update(next_look_at=None)
    return {pk: number for pk, number in taken.items() if number}


def _put_off(taken: Mapping[int, str], seconds: float) -> None:
    Delivery.objects.filter(pk__in=list(taken)).update(next_look_at=seconds_from_now(seconds))


def _set_next_look(ids: list[int], connection_id: int) -> None:
    Delivery.objects.filter(pk__in=ids).update(next_look_at=_next_look(is_heard(connection_id)))


def is_heard(connection_id: int) -> bool:
    """Whether a webhook is set up and was heard within a day: then looking is only the safety net."""
    heard = Q(webhook_heard_at__gt=seconds_from_now(-WEBHOOK_HEARD_WITHIN)) & ~Q(webhook_secret="")
    return Connection.objects.filter(heard, pk=connection_id).exists()


def _next_look(has_webhook: bool) -> Case:
    """Often while it is young, then ever more seldom, then never."""

    def younger(seconds: float) -> Q:
        return Q(delivered_at__gt=seconds_from_now(-seconds))

    never = When(Q(ticket_status__in=FINAL) | Q(delivered_at__isnull=True), then=Value(None))
    if has_webhook:
        steps = [When(younger(LOOKED_AT_SECONDS), then=seconds_from_now(LOOKED_AT_BESIDE_A_WEBHOOK))]
    else:
        steps = [When(younger(age), then=seconds_from_now(wait)) for age, wait in LOOKED_AT]
    return Case(never, *steps, default=Value(None), output_field=DateTimeField())


def _note_trouble(connection_id: int, trouble: str) -> None:
    """For the connection's page. What a set-up left there is not touched by a look that went well."""
    rows = Connection.objects.filter(pk=connection_id)
    if trouble:
        rows.update(webhook_problem=f"{LOOKING_FAILED}{trouble}")
    else:
        rows.filter(webhook_problem__startswith=LOOKING_FAILED).update(webhook_problem="")


# --- Asked for, and begun --------------------------------------------------------------------------------------------


def look_now(connection: Connection) -> int:
    """Makes the newest tickets of the connection due for a look; how many they are."""
    newest = connection.deliveries.order_by("-created_at", "-id").values("pk")[:BEGIN_BATCH]
    rows = Delivery.objects.filter(pk__in=newest, state=Delivery.State.DELIVERED).exclude(ticket_number="")
    return rows.exclude(ticket_status__in=FINAL).update(next_look_at=Now())


def begin_to_look() -> None:
    """Tickets of the last 60 days that were made before Casebridge looked at any are looked at, too.

    Walks down the log once, by number, so no table is scanned; where it stands is kept in Redis. If that is lost it
    walks again, which changes nothing: it takes only rows of which nothing is known and that wait for no look.
    """
    try:
        for _ in range(BEGIN_BATCHES):
            stands = client().get(BEGUN_DOWN_TO)
            below = None if stands is None else int(stands)
            if below == 0:
                return
            client().set(BEGUN_DOWN_TO, _begin_below(below))
    except redis.RedisError as error:
        log.warning("not looked for older tickets: Redis is away", error=str(error))


def _begin_below(number: int | None) -> int:
    """Takes one batch; the number below which the next begins, 0 when there is none."""
    rows = Delivery.objects.all() if number is None else Delivery.objects.filter(pk__lt=number)
    batch: list[tuple[int, datetime]] = list(rows.order_by("-pk").values_list("pk", "created_at")[:BEGIN_BATCH])
    if not batch:
        return 0
    ids = [pk for pk, _ in batch]
    young = Delivery.objects.filter(pk__in=ids, delivered_at__gt=seconds_from_now(-LOOKED_AT_SECONDS))
    unknown = young.filter(state=Delivery.State.DELIVERED, ticket_status="", next_look_at__isnull=True)
    there = Connection.objects.filter(kind__in=_kinds())
    unknown.filter(connection__in=there).exclude(ticket_number="").update(next_look_at=Now())
    # Twice as long: what was made that long ago can hardly have been delivered within the time that counts.
    is_older = Delivery.objects.filter(pk=ids[-1], created_at__lt=seconds_from_now(-2 * LOOKED_AT_SECONDS)).exists()
    return 0 if is_older else ids[-1]
