"""The account's webhook that reports ticket events to us: set up by one click or by hand, and removed."""

import structlog

from integrations.connections import Session
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import TellsStatus
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.encryption import Secret
from integrations.infra.http.failure import Failure, NoPermit
from integrations.installation import NoPublicAddress, connection_webhook_url
from integrations.models import Connection

log = structlog.get_logger(__name__)

SECONDS = 20.0
LONGEST_NAME = 100
ALIVE_WITHIN_SECONDS = 86400


class NotSetUp(Exception):
    """Nothing was changed here; the text says why, with the account's own words."""


class AccountWebhook:
    """The webhook of one connection's account."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._rows = Connection.objects.filter(pk=connection.pk)

    @property
    def is_offered(self) -> bool:
        """Whether the status of tickets can come back from this kind of connection."""
        return isinstance(DESTINATIONS.get(self.connection.kind), TellsStatus)

    @property
    def is_alive(self) -> bool:
        """Whether it is set up and called us within a day: then polling is only the safety net."""
        lately = self._rows.filter(webhook_called_at__gt=seconds_from_now(-ALIVE_WITHIN_SECONDS))
        return lately.exclude(webhook_secret="").exists()

    def endpoint(self) -> tuple[str, str]:
        """(the address for the account to call, why there is none): one of them is empty."""
        try:
            address = connection_webhook_url(self.connection)
        except NoPublicAddress as missing:
            return "", f"This portal has no public address that the account can call. {missing}"
        account = DESTINATIONS[self.connection.kind].origin(self.connection.settings)
        if account.startswith("https://") and not address.startswith("https://"):
            remedy = f"but this portal's address is {address}. Set PUBLIC_URL."
            return "", f"The account calls https:// addresses only, and {remedy}"
        return address, ""

    def steps(self, endpoint: str) -> list[str]:
        """What to do at the account to set it up by hand."""
        return [step.replace("{endpoint}", endpoint) for step in self._reader().webhook_steps]

    def why_unfit(self, secret: str) -> str:
        """Why this cannot be the webhook's signing secret; empty when it may be."""
        return self._reader().why_unfit_secret(secret)

    def set_up(self) -> None:
        """Creates the webhook or takes over the existing one, and stores its signing secret. Raises NotSetUp."""
        address, why_not = self.endpoint()
        if not address:
            raise NotSetUp(why_not)
        reader, session = self._reader(), self._session()
        name = f"Casebridge: {self.connection.name}"[:LONGEST_NAME]
        try:
            webhook = session.ask(lambda credentials: reader.set_up_webhook(session.client, name, address, credentials))
        except (Failure, NoPermit) as problem:
            raise self._refused(session, problem) from problem
        unchanged = self._rows.filter(settings=self.connection.settings)
        unchanged.update(webhook_id=webhook.id, webhook_secret=Secret.of(webhook.secret), webhook_problem="")
        log.info("webhook set up", connection_id=self.connection.pk, webhook_id=webhook.id)

    def remove(self) -> None:
        """Removes the webhook at the account and forgets its secret. If it raises NotSetUp, both are kept."""
        reader, session = self._reader(), self._session()
        webhook_id = self.connection.webhook_id
        try:
            session.ask(lambda credentials: reader.remove_webhook(session.client, webhook_id, credentials))
        except (Failure, NoPermit) as problem:
            raise self._refused(session, problem) from problem
        self.forget()

    def forget(self) -> None:
        """Forgets the webhook here: its calls are refused from now on."""
        self._rows.update(webhook_id="", webhook_secret=Secret(""), webhook_problem="", webhook_called_at=None)
        log.info("webhook forgotten", connection_id=self.connection.pk)

    def store_secret(self, secret: str) -> None:
        """Stores the signing secret of a webhook that was created by hand."""
        self._rows.update(webhook_secret=Secret.of(secret), webhook_problem="")
        log.info("signing secret entered", connection_id=self.connection.pk)

    def _reader(self) -> TellsStatus:
        destination = DESTINATIONS.get(self.connection.kind)
        if not isinstance(destination, TellsStatus):
            raise NotSetUp("This kind of connection does not report ticket status.")
        return destination

    def _session(self) -> Session:
        return Session.limited(self.connection, seconds=SECONDS, permit_wait=SECONDS / 4)

    def _refused(self, session: Session, problem: Failure | NoPermit) -> NotSetUp:
        if isinstance(problem, NoPermit):
            message = "The account's rate limit is reached. Try again in a minute."
        else:
            own, detail = (session.without_secrets(text) for text in (problem.message, problem.detail))
            message = f"{own}\n{detail}".strip()
        self._rows.update(webhook_problem=message)
        return NotSetUp(message)
