"""A line to a connection's account: its address and deadline, its turns, and what its answers tell of limits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from django.conf import settings

from integrations import breaker, pace
from integrations.clock import note_clock
from integrations.credentials import credentials_of, renewed_credentials
from integrations.database_pool import release_database
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials
from integrations.http import Failure, Line, Reply
from integrations.models import Connection

log = structlog.get_logger(__name__)

LONGEST_CALLS_SECONDS = 60.0
# The share of the lease that the calls of one try may take; with the turns waited for it stays below the whole.
SHARE_FOR_CALLS = 0.6
# A turn further off than this is not waited for: the thread is free for other connections meanwhile.
LONGEST_TURN_SECONDS = 1.0
# Users may be made once a second, and five times a minute; a little more is left for clocks that differ.
USERS_WITHIN = {1.3: 1, 62.0: 5}
# Before a try begins, and within one.
LONGEST_WAIT_FOR_A_USER, LONGEST_WAIT_IN_A_TRY = 0.2, 1.5


# The budgets whose turns are shared; a token, a webhook and the like are no requests to the ticket API.
PACED = ("account", "look-up", "users", "updates", "jobs")

Found = TypeVar("Found")


@dataclass
class Turns:
    """Takes the turns of one try's calls. `taken` are those waited for beforehand; each counts for one call."""

    connection_id: int
    longest_wait: float
    taken: list[str] = field(default_factory=list)

    def take(self, budget: str) -> None:
        """Raises NotItsTurn. Every call draws on the account's budget, some on another as well."""
        if budget not in PACED:
            return
        release_database()
        if budget in ("look-up", "users", "updates"):
            self._take_one(budget)
        self._take_one("account")

    def _take_one(self, budget: str) -> None:
        if budget in self.taken:
            self.taken.remove(budget)
        elif budget == "users":
            pace.take_place(self.connection_id, "users", USERS_WITHIN, LONGEST_WAIT_IN_A_TRY)
        else:
            pace.take_turn(self.connection_id, budget, self.longest_wait)


def line_to(connection: Connection, seconds: float | None = None, turns: Turns | None = None) -> Line:
    """For the calls of one try, which share the deadline."""
    destination = DESTINATIONS[connection.kind]

    def heard(budget: str, reply: Reply) -> None:
        try:
            note_clock(connection, reply)
            if reply.status < 500:
                breaker.note_answer(connection)
            for named in dict.fromkeys(("account", budget)) if budget in PACED else ():
                pace.hear(connection.pk, named, destination.read_budgets(named, reply), connection.limit_share)
        except Exception:
            # Odd headers must not cost us the receipt that came with them.
            log.exception("the limits could not be read")

    line = Line(
        origin=destination.origin(connection.settings),
        seconds=seconds or min(LONGEST_CALLS_SECONDS, settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_CALLS),
        name=destination.title,
        heard=heard,
    )
    if turns is not None:
        line.turn = turns.take
    return line


def ask(
    connection: Connection, destination: Destination, line: Line, question: Callable[[Credentials], Found]
) -> Found:
    """What `question` finds, signed in and holding no database connection. Raises Failure, NotItsTurn.

    A refused access token is renewed once and the question asked again.
    """
    credentials = credentials_of(connection, destination, line)
    release_database()
    try:
        return question(credentials)
    except Failure as failure:
        if not (failure.renew_token and destination.needs_token(connection.settings)):
            raise
    credentials = renewed_credentials(connection, destination, line, credentials)
    release_database()
    return question(credentials)
