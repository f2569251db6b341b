"""Calling an account outside of deliveries: at its shared pace, but behind them, and with a token renewed once."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from integrations import pace
from integrations.credentials import credentials_of, renewed_credentials
from integrations.database_pool import release_database
from integrations.destinations import Destination
from integrations.destinations.base import Credentials
from integrations.http import Failure, Line, Reply
from integrations.models import Connection

log = structlog.get_logger(__name__)

Found = TypeVar("Found")
# The budgets whose turns are shared; an access token and the like are no requests to the ticket API.
PACED = ("account", "look-up")


def line_to(connection: Connection, destination: Destination, *, seconds: float, longest_wait: float) -> Line:
    """A line whose calls wait for their turns, `longest_wait` seconds each at most; then they raise NotItsTurn."""

    def turn(budget: str) -> None:
        if budget in PACED:
            pace.take_turn(connection.pk, budget, longest_wait)

    def heard(budget: str, reply: Reply) -> None:
        try:
            pace.hear(connection.pk, budget, destination.read_budgets(budget, reply))
        except Exception:
            # Odd headers must not cost us the answer that came with them.
            log.exception("the limits could not be read")

    return Line(
        origin=destination.origin(connection.settings),
        seconds=seconds,
        name=destination.title,
        turn=turn,
        heard=heard,
    )


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
