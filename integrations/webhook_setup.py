"""Setting up, by one click or by hand, that an account tells us what becomes of its tickets; and undoing it."""

import structlog

from integrations.addresses import NoPublicAddress, ticket_webhook_url
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials, TellsStatus, Webhook
from integrations.encryption import Secret
from integrations.http import Failure, Line, NotItsTurn
from integrations.lines import Turns, ask, line_to
from integrations.models import Connection

log = structlog.get_logger(__name__)

SECONDS = 20.0
LONGEST_NAME = 100


class NotSetUp(Exception):
    """Nothing was changed here; the text says why, and what the other side said."""


def tells_status(connection: Connection) -> bool:
    """Whether the status of tickets can come back from this kind of connection."""
    return isinstance(DESTINATIONS.get(connection.kind), TellsStatus)


def endpoint(connection: Connection) -> tuple[str, str]:
    """(the address for the account to call, why there is none): one of them is empty."""
    try:
        address = ticket_webhook_url(connection)
    except NoPublicAddress as missing:
        return "", f"This portal has no public address that the account could call. {missing}"
    account = DESTINATIONS[connection.kind].origin(connection.settings)
    if account.startswith("https://") and not address.startswith("https://"):
        return "", f"The account calls https:// addresses only, and this portal is known as {address}. Set PUBLIC_URL."
    return address, ""


def set_up(connection: Connection) -> None:
    """Makes the webhook or takes over the one that is there, and stores its signing secret. Raises NotSetUp."""
    address, why_not = endpoint(connection)
    if not address:
        raise NotSetUp(why_not)
    destination, teller, line = _way_to(connection)
    name = f"Casebridge: {connection.name}"[:LONGEST_NAME]

    def question(credentials: Credentials) -> Webhook:
        return teller.set_up_webhook(line, name, address, credentials)

    try:
        webhook = ask(connection, destination, line, question)
    except (Failure, NotItsTurn) as trouble:
        raise _refused(connection, line, trouble) from trouble
    rows = Connection.objects.filter(pk=connection.pk, settings=connection.settings)
    rows.update(webhook_id=webhook.id, webhook_secret=Secret.of(webhook.secret), webhook_problem="")
    log.info("webhook set up", connection_id=connection.pk, webhook_id=webhook.id)


def remove(connection: Connection) -> None:
    """Removes the webhook at the account and forgets its secret. Raises NotSetUp; then both are kept."""
    destination, teller, line = _way_to(connection)

    def question(credentials: Credentials) -> None:
        teller.remove_webhook(line, connection.webhook_id, credentials)

    try:
        ask(connection, destination, line, question)
    except (Failure, NotItsTurn) as trouble:
        raise _refused(connection, line, trouble) from trouble
    forget(connection)


def forget(connection: Connection) -> None:
    """Forgets the webhook here: its calls are refused from now on."""
    rows = Connection.objects.filter(pk=connection.pk)
    rows.update(webhook_id="", webhook_secret=Secret(""), webhook_problem="", webhook_heard_at=None)
    log.info("webhook forgotten", connection_id=connection.pk)


def take_secret(connection: Connection, secret: str) -> None:
    """Stores the signing secret of a webhook that was made by hand."""
    rows = Connection.objects.filter(pk=connection.pk)
    rows.update(webhook_secret=Secret.of(secret), webhook_problem="")
    log.info("signing secret entered", connection_id=connection.pk)


def _way_to(connection: Connection) -> tuple[Destination, TellsStatus, Line]:
    destination = DESTINATIONS[connection.kind]
    if not isinstance(destination, TellsStatus):
        raise NotSetUp("The status of tickets does not come back from this kind of connection.")
    return destination, destination, line_to(connection, SECONDS, Turns(connection.pk, SECONDS / 4))


def _refused(connection: Connection, line: Line, trouble: Failure | NotItsTurn) -> NotSetUp:
    if isinstance(trouble, NotItsTurn):
        words = "The account's request limit leaves no room now. Try again in a minute."
    else:
        detail = line.without_secrets(trouble.detail)
        words = f"{line.without_secrets(trouble.words)}\n{detail}".strip()
    Connection.objects.filter(pk=connection.pk).update(webhook_problem=words)
    return NotSetUp(words)
