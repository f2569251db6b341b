"""What a person does about signing in: consent at the account, and the move from an API token to an OAuth client.

A consent begins with `begin_consent`, whose `state` is kept in the person's session, and ends with `accept_code`. A
move is tested first and then made in one statement, or not at all: what uses the connection is untouched either way.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db.models import QuerySet
from django.urls import reverse

from integrations import connection_test, connections, database_time
from integrations.addresses import NoPublicAddress, public_url
from integrations.credentials import listened, note_last, store_consent, token_columns, unreadable
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Check, Credentials, Token
from integrations.encryption import Secret, UnreadableSecret
from integrations.http import Failure
from integrations.models import Connection
from integrations.stored_secrets import read_secrets

CONSENT_WITHIN = timedelta(minutes=10)
ALARM_DAYS_BEFORE_END = 90
CHANGED_MEANWHILE = (
    "The connection's sign-in was changed by somebody while this was under way. Look at it and begin anew."
)


# --- Consent ---------------------------------------------------------------------------------------------------------


class NotConnected(Exception):
    """The consent did not lead to a sign-in; the text says why and what to do."""


def consent_address() -> str:
    """Where the account sends people back to, to be entered there as the redirect URL. Raises NoPublicAddress."""
    return public_url() + reverse("admin:integrations_connection_consented")


def consent_address_words() -> str:
    try:
        return consent_address()
    except NoPublicAddress as missing:
        return f"Not known yet. {missing}"


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent under way, as the session keeps it: for one connection, one person, ten minutes, one answer."""

    state: str
    connection_id: int
    user_id: int
    began: str
    origin: str = ""

    def fits(self, state: str, user_id: int | None) -> bool:
        is_same = secrets.compare_digest(self.state.encode(), state.encode()) and self.user_id == user_id
        return is_same and database_time.now() - datetime.fromisoformat(self.began) < CONSENT_WITHIN

    def is_still_at(self, connection: Connection) -> bool:
        """Whether the connection goes where the person consented: no other address is told the code."""
        return self.origin == DESTINATIONS[connection.kind].origin(connection.settings)


def begin_consent(connection: Connection, user_id: int) -> tuple[Consent, str]:
    """What to keep in the session, and the address at the account to go to. Raises NoPublicAddress."""
    destination = DESTINATIONS[connection.kind]
    began, origin = database_time.now().isoformat(), destination.origin(connection.settings)
    consent = Consent(secrets.token_urlsafe(32), connection.pk, user_id, began, origin)
    return consent, destination.authorization_url(connection.settings, consent_address(), consent.state)


def elsewhere(host: str) -> str:
    """The public address, where people are sent back to and must be signed in; empty when they are there."""
    address = public_url()
    return "" if urlsplit(address).netloc == host else address


def refused_words(error: str, description: str) -> str:
    """What the account's page answered instead of a code."""
    if error == "access_denied":
        return "Access was denied in Zendesk, so nothing was changed. Connect again and press “Allow” there."
    if "redirect" in f"{error} {description}".lower():
        return f"Zendesk does not know this redirect address. Enter {consent_address_words()} in its OAuth client."
    told = f"{error} {description}".strip()[:300]
    return f"Zendesk did not go on: {told}. Check the OAuth client's identifier and scopes, then connect again."


def accept_code(connection: Connection, code: str) -> None:
    """Exchanges the code for tokens, stores them, lets waiting deliveries go on. Raises NotConnected."""
    destination = DESTINATIONS[connection.kind]
    line = connection_test.test_line(destination, connection.settings)
    try:
        plain = read_secrets(connection)
        line.secrets = (*plain.values(), code)
        with listened(line) as heard:
            token = destination.exchange_code(line, Credentials(connection.settings, plain), code, consent_address())
    except UnreadableSecret:
        raise NotConnected(unreadable(connection).words) from None
    except NoPublicAddress as missing:
        raise NotConnected(str(missing)) from None
    except Failure as failure:
        raise NotConnected(f"{failure.words} {line.without_secrets(failure.detail)}".strip()) from None
    if not store_consent(connection, token):
        raise NotConnected(CHANGED_MEANWHILE)
    note_last(connection, heard)
    resume_if_an_answer_paused(connection)


def resume_if_an_answer_paused(connection: Connection) -> bool:
    """A person's pause is that person's to end."""
    return _resume(Connection.objects.filter(pk=connection.pk, paused_at__isnull=False, paused_by=""))


def _resume(paused: QuerySet[Connection]) -> bool:
    if not paused.exists():
        return False
    connections.resume(paused)
    return True


# --- Testing ---------------------------------------------------------------------------------------------------------


def test_and_resume(connection: Connection) -> tuple[list[Check], bool]:
    """Tests what is stored. When all is well, a pause that waits for a person is over, and True is told.

    Only a pause that an answer began, and only of the sign-in that was tested: it may have been changed meanwhile.
    """
    checks = connection_test.carry_out(connection)
    if connection.paused_at is None or not connection_test.is_good(checks):
        return checks, False
    paused = Connection.objects.filter(
        pk=connection.pk, paused_at=connection.paused_at, paused_until__isnull=True, paused_by="",
        settings=connection.settings, secrets=connection.secrets,
    )  # fmt: skip
    return checks, _resume(paused)


# --- From an API token to an OAuth client ----------------------------------------------------------------------------


def move_to_oauth(
    connection: Connection, *, client_id: str, client_secret: str, scopes: str
) -> tuple[connection_test.Trial, bool]:
    """Tests the OAuth client and, only when all is well, signs in with it from now on; tells whether it was done."""
    destination = DESTINATIONS[connection.kind]
    settings = destination.moved_settings(connection.settings, client_id, scopes)
    trial = connection_test.try_out(destination, settings, {"client_secret": client_secret})
    if not trial.is_good or trial.token is None:
        return trial, False
    if not _switch(connection, settings, client_secret, trial.token):
        changed = Check(False, CHANGED_MEANWHILE)
        return connection_test.Trial([*trial.checks, changed]), False
    connection_test.keep(connection, trial.checks)
    resume_if_an_answer_paused(connection)
    return trial, True


def _switch(connection: Connection, settings: Mapping[str, Any], client_secret: str, token: Token) -> bool:
    """One statement, and only over the sign-in that the person saw: the API token goes, all else stays."""
    unchanged = Connection.objects.filter(pk=connection.pk, settings=connection.settings, secrets=connection.secrets)
    stored = Secret.of(json.dumps({"client_secret": client_secret}))
    return unchanged.update(settings=dict(settings), secrets=stored, **token_columns(token)) == 1


# --- The end of API tokens -------------------------------------------------------------------------------------------


def days_left(connection: Connection) -> int | None:
    """Days until this way of signing in ends, by the database's date; None where no end is known."""
    ends = DESTINATIONS[connection.kind].sign_in_ends(connection.settings)
    return (ends - database_time.now().date()).days if ends else None


def end_words(connection: Connection) -> str:
    """How long the sign-in still works; empty where no end is known."""
    ends = DESTINATIONS[connection.kind].sign_in_ends(connection.settings)
    return countdown(ends, database_time.now().date()) if ends else ""


def countdown(ends: date, today: date) -> str:
    when, left = f"{ends.day} {ends:%B %Y}", (ends - today).days
    if left < 0:
        return f"API tokens no longer work since {when}"
    if left == 0:
        return f"Zendesk's API tokens stop working today, {when}"
    return f"API token: {left} day{'s' if left != 1 else ''} until {when}, when they stop working"


def end_alarm(connection: Connection) -> str:
    """Why the end of the sign-in is worth an alarm; empty when it is far off or there is none."""
    left = days_left(connection)
    if left is None or left > ALARM_DAYS_BEFORE_END:
        return ""
    return f"{end_words(connection)}. Use “Move to OAuth” on the connection's page."
