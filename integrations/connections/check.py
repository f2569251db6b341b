"""Testing a connection: signs in, makes the calls that deliveries need, and reports findings. Changes nothing there.

`check_connection` tests what is stored and keeps the findings with the connection; `check_sign_in` tests a sign-in
before it is saved. Neither raises: whatever goes wrong is a finding.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog
from django.db.models import QuerySet
from django.db.models.functions import Now

from integrations.connections.clock_skew import measured_skew, skew_text
from integrations.connections.session import Session, client_for
from integrations.destinations import Destination
from integrations.destinations.base import Check, Credentials
from integrations.destinations.capabilities import Token, consent_source, token_source
from integrations.flow import resume_connections
from integrations.infra.client import Client
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.http.reply import Reply
from integrations.infra.text import REPORT_IT, defect_text, storable
from integrations.models import Connection

log = structlog.get_logger(__name__)

TEST_SECONDS = 15.0
LONGEST_MESSAGE = 2000


def check_connection(connection: Connection) -> list[Check]:
    """Tests what is stored. The findings are kept, for the connection's page."""
    checks = _checks(connection)
    checks += skew_checks(connection.clock_skew_seconds)
    keep_checks(connection, checks)
    log.info("connection checked", connection_id=connection.pk, is_good=is_good(checks))
    return checks


def is_good(checks: list[Check]) -> bool:
    return all(check.ok is not False for check in checks)


def keep_checks(connection: Connection, checks: list[Check]) -> None:
    connection.checks = [asdict(check) | {"message": storable(check.message)[:LONGEST_MESSAGE]} for check in checks]
    Connection.objects.filter(pk=connection.pk).update(checks=connection.checks, checked_at=Now())


def _checks(connection: Connection) -> list[Check]:
    session = Session(connection, seconds=TEST_SECONDS)
    destination, settings = session.destination, connection.settings
    # With a new token, where fetching costs nothing: a stored one may outlive the id and secret it came from.
    fresh = token_source(destination, settings) is not None and consent_source(destination, settings) is None
    try:
        checks = session.ask(lambda credentials: destination.check(session.client, credentials), with_fresh_token=fresh)
    except (Failure, NoPermit) as problem:
        return [_failed(session.client, problem)]
    except Exception as error:
        log.exception("connection check failed")
        return [Check(False, f"{defect_text('The test', error)} {REPORT_IT}")]
    return _token_checks(destination, settings) + checks


def _token_checks(destination: Destination, settings: Mapping[str, Any]) -> list[Check]:
    if token_source(destination, settings) is None:
        return []
    return [Check(True, f"{destination.title} issued an access token.")]


def _failed(client: Client, problem: Failure | NoPermit) -> Check:
    detail = problem.detail if isinstance(problem, Failure) else ""
    return Check(False, f"{problem} {client.without_secrets(detail)}".strip())


def skew_checks(ahead: int) -> list[Check]:
    message = skew_text(ahead)
    return [Check(None, message)] if message else []


# --- Resuming --------------------------------------------------------------------------------------------------------


def resume_if_an_answer_paused(connection: Connection) -> bool:
    """Not a pause that a person started: that is for a person to end."""
    return _resume(Connection.objects.filter(pk=connection.pk, paused_at__isnull=False, paused_by=""))


def _resume(paused: QuerySet[Connection]) -> bool:
    if not paused.exists():
        return False
    resume_connections(paused)
    return True


def check_and_resume(connection: Connection) -> tuple[list[Check], bool]:
    """Tests what is stored; if all is well, ends a pause that waits for a person. Returns whether it did.

    Only a pause that a reply started, and only while the sign-in is the one that was tested.
    """
    checks = check_connection(connection)
    if connection.paused_at is None or not is_good(checks):
        return checks, False
    paused = Connection.objects.filter(
        pk=connection.pk, paused_at=connection.paused_at, paused_until__isnull=True, paused_by="",
        settings=connection.settings, secrets=connection.secrets,
    )  # fmt: skip
    return checks, _resume(paused)


# --- Before anything is saved ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignInCheck:
    """The findings about a sign-in that is not saved, and the token where it got one."""

    checks: list[Check]
    token: Token | None = None

    @property
    def is_good(self) -> bool:
        return is_good(self.checks)


def check_sign_in(destination: Destination, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> SignInCheck:
    """Tests a sign-in that needs no consent, with settings and secrets that are not stored."""
    replies: list[Reply] = []
    client = client_for(
        destination,
        origin=destination.origin(settings),
        seconds=TEST_SECONDS,
        secrets=tuple(secrets.values()),
        before_call=lambda _budget: release_database(),
        on_reply=lambda _budget, reply: replies.append(reply),
    )
    credentials, token = Credentials(settings, secrets), None
    try:
        if source := token_source(destination, settings):
            token = source.fetch_token(client, credentials)
            client.secrets = (*client.secrets, token.value)
            credentials = replace(credentials, access_token=token.value, scope=token.scope)
        checks = _token_checks(destination, settings) + destination.check(client, credentials)
    except (Failure, NoPermit) as problem:
        return SignInCheck([_failed(client, problem)])
    except Exception as error:
        log.exception("sign-in check failed")
        return SignInCheck([Check(False, f"{defect_text('The test', error)} {REPORT_IT}")])
    ahead = measured_skew(replies[-1]) if replies else None
    return SignInCheck(checks + skew_checks(ahead or 0), token)
