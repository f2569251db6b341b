"""A person's consent at the account.

It begins with `begin_consent`, whose result is kept in the person's session, and ends with `accept_consent`.
"""

from django.urls import reverse

from integrations.connections.check import TEST_SECONDS, resume_if_an_answer_paused
from integrations.connections.session import Session
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import AsksConsent, Token
from integrations.infra.consent import PendingConsent
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.failure import Failure
from integrations.installation import NoPublicAddress, public_url
from integrations.models import Connection
from integrations.sign_in import store_consent, unreadable_secrets

CHANGED_MEANWHILE = "Someone changed the connection's sign-in in the meantime. Review it and start again."


class NotConnected(Exception):
    """The consent did not lead to a sign-in; the text says why and what to do."""


def begin_consent(connection: Connection, user_id: int) -> tuple[PendingConsent, str]:
    """What to keep in the person's session, and the address at the account to go to. Raises NoPublicAddress."""
    consent = PendingConsent.begin(connection.pk, user_id, _origin(connection))
    address = _source(connection).authorization_url(connection.settings, _return_address(), consent.state)
    return consent, address


def accept_consent(connection: Connection, code: str) -> None:
    """Exchanges the code for tokens, stores them and resumes the connection. Raises NotConnected."""
    _store(connection, _tokens_for(connection, code))
    resume_if_an_answer_paused(connection)


def return_address() -> str:
    """Where the account sends people back to, for entering it there; a sentence where it is not known."""
    try:
        return _return_address()
    except NoPublicAddress as missing:
        return f"Not known yet. {missing}"


def why_no_consent(connection: Connection, error: str, description: str) -> str:
    """What the account's page answered instead of a code."""
    return _source(connection).why_no_consent(error, description, return_address())


def _origin(connection: Connection) -> str:
    return DESTINATIONS[connection.kind].origin(connection.settings)


def _source(connection: Connection) -> AsksConsent:
    destination = DESTINATIONS[connection.kind]
    if not isinstance(destination, AsksConsent):
        raise TypeError(f"{destination.title} asks for nobody's consent")
    return destination


def _return_address() -> str:
    return public_url() + reverse("admin:integrations_connection_consented")


def _tokens_for(connection: Connection, code: str) -> Token:
    session = Session(connection, seconds=TEST_SECONDS)
    try:
        plain = connection.read_secrets()
        session.client.secrets = (*plain.values(), code)
        credentials = Credentials(connection.settings, plain)
        return _source(connection).exchange_code(session.client, credentials, code, _return_address())
    except UnreadableSecret:
        raise NotConnected(unreadable_secrets(connection).message) from None
    except NoPublicAddress as missing:
        raise NotConnected(str(missing)) from None
    except Failure as failure:
        raise NotConnected(session.without_secrets(failure.text(" ", with_remedy=False))) from None


def _store(connection: Connection, token: Token) -> None:
    if not store_consent(connection, token):
        raise NotConnected(CHANGED_MEANWHILE)
