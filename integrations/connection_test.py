"""Testing a connection: signs in, makes the calls that deliveries need, and says what was found. Changes nothing there.

`carry_out` tests what is stored and keeps the findings with the connection; `try_out` tests a sign-in before anything
of it is saved. Neither raises: whatever goes wrong is a finding in words.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog
from django.db.models.functions import Now

from integrations import clock
from integrations.credentials import credentials_of, fresh_credentials, listened, note_last, renewed_credentials
from integrations.database_pool import release_database
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Check, Credentials, Token
from integrations.http import Failure, Line, NotItsTurn, Reply
from integrations.models import Connection
from integrations.post import storable

log = structlog.get_logger(__name__)

TEST_SECONDS = 15.0
LONGEST_WORDS = 2000


def carry_out(connection: Connection) -> list[Check]:
    """Tests what is stored; what was found is kept, and shown on the connection's page."""
    destination = DESTINATIONS[connection.kind]
    line = test_line(destination, connection.settings)
    with listened(line) as heard:
        checks = _checks(connection, destination, line)
    note_last(connection, heard)
    checks += clock_checks(connection.clock_ahead_seconds)
    keep(connection, checks)
    log.info("connection tested", connection_id=connection.pk, is_good=is_good(checks))
    return checks


def is_good(checks: list[Check]) -> bool:
    return all(check.ok is not False for check in checks)


def keep(connection: Connection, checks: list[Check]) -> None:
    connection.checks = [asdict(check) | {"words": storable(check.words)[:LONGEST_WORDS]} for check in checks]
    Connection.objects.filter(pk=connection.pk).update(checks=connection.checks, checked_at=Now())


def test_line(destination: Destination, settings: Mapping[str, Any]) -> Line:
    """A line for one test: all its calls end within the time that a person waits for a page."""
    return Line(
        destination.origin(settings), TEST_SECONDS, name=destination.title, turn=lambda _budget: release_database()
    )


def _checks(connection: Connection, destination: Destination, line: Line) -> list[Check]:
    try:
        credentials = _signed_in(connection, destination, line)
        try:
            found = destination.check(line, credentials)
        except Failure as failure:
            if not (failure.renew_token and destination.needs_token(connection.settings)):
                raise
            credentials = renewed_credentials(connection, destination, line, credentials)
            found = destination.check(line, credentials)
    except (Failure, NotItsTurn) as problem:
        return [_failed(line, problem)]
    except Exception as error:
        log.exception("the test of the connection failed")
        return [Check(False, f"Casebridge failed to test it ({type(error).__name__}). Report this to whoever runs it.")]
    return _token_checks(destination, connection.settings) + found


def _signed_in(connection: Connection, destination: Destination, line: Line) -> Credentials:
    """With a token just fetched where that costs nothing: a kept one may outlive the id and secret it came from."""
    if destination.needs_token(connection.settings) and not destination.asks_consent(connection.settings):
        return fresh_credentials(connection, destination, line)
    return credentials_of(connection, destination, line)


def _token_checks(destination: Destination, settings: Mapping[str, Any]) -> list[Check]:
    if not destination.needs_token(settings):
        return []
    return [Check(True, f"{destination.title} gave an access token.")]


def _failed(line: Line, problem: Failure | NotItsTurn) -> Check:
    detail = problem.detail if isinstance(problem, Failure) else ""
    return Check(False, f"{problem} {line.without_secrets(detail)}".strip())


def clock_checks(ahead: int) -> list[Check]:
    words = clock.words(ahead)
    return [Check(None, words)] if words else []


# --- Before anything is saved ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """What a sign-in that is not saved led to; the token is there where one was given."""

    checks: list[Check]
    token: Token | None = None

    @property
    def is_good(self) -> bool:
        return is_good(self.checks)


def try_out(destination: Destination, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> Trial:
    """Tests a sign-in that needs nobody's consent, with settings and secrets that are stored nowhere."""
    line = test_line(destination, settings)
    line.secrets = tuple(secrets.values())
    heard: list[Reply] = []
    line.heard = lambda _budget, reply: heard.append(reply)
    credentials, token = Credentials(settings, secrets), None
    try:
        if destination.needs_token(settings):
            token = destination.fetch_token(line, credentials)
            line.secrets = (*line.secrets, token.value)
            credentials = replace(credentials, access_token=token.value, scope=token.scope)
        found = _token_checks(destination, settings) + destination.check(line, credentials)
    except (Failure, NotItsTurn) as problem:
        return Trial([_failed(line, problem)])
    except Exception as error:
        log.exception("the test of a sign-in failed")
        words = f"Casebridge failed to test it ({type(error).__name__}). Report this to whoever runs it."
        return Trial([Check(False, words)])
    ahead = clock.seconds_ahead(heard[-1]) if heard else None
    return Trial(found + clock_checks(ahead or 0), token)
