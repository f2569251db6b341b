"""The one way to call a connection's account: signed in, within limits and a deadline, recorded without secrets."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self, TypeVar

import structlog
from django.conf import settings

from integrations.connections.clock_skew import record_clock_skew
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import keeps_here, token_source
from integrations.flow import Permits, observe_reply
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.models import Connection
from integrations.sign_in import credentials_of, fresh_credentials, is_stored_token, renewed_credentials
from integrations.walls import WallStore

log = structlog.get_logger(__name__)

LONGEST_CALLS_SECONDS = 60.0
# The share of the lease that the calls of one try may take; with the permits waited for it stays below the whole.
SHARE_FOR_CALLS = 0.6

MOST_RENEWALS = 3

Result = TypeVar("Result")


def client_for(destination: Destination, **options: Any) -> Any:
    """What this destination calls with: of its own class, or the store that stands for it here."""
    kind = WallStore if keeps_here(destination) else destination.client_class
    return kind(name=destination.title, kept_headers=destination.kept_headers, **options)


class Session:
    """The calls of one try: signed in, within one deadline, each with its permit, recorded without secrets.

    Replies are observed on the way: limits, that the account can be reached, how far its clock is ahead. Without
    `permits`, calls are not rate limited: for the few that a person waits for.
    """

    def __init__(self, connection: Connection, *, seconds: float | None = None, permits: Permits | None = None) -> None:
        self.connection = connection
        self.destination = DESTINATIONS[connection.kind]
        self.client = client_for(
            self.destination,
            origin=self.destination.origin(connection.settings),
            seconds=seconds or min(LONGEST_CALLS_SECONDS, settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_CALLS),
            before_call=permits.take if permits else lambda _budget: release_database(),
            on_reply=self._on_reply,
        )

    @classmethod
    def limited(cls, connection: Connection, *, seconds: float, permit_wait: float) -> Self:
        """For calls outside deliveries: all within `seconds`, each waiting at most `permit_wait` for its permit."""
        return cls(connection, seconds=seconds, permits=Permits(connection, permit_wait))

    def ask(self, question: Callable[[Credentials], Result], *, with_fresh_token: bool = False) -> Result:
        """The result of `question`, called signed in and holding no database connection. Raises Failure, NoPermit.

        A refused access token is renewed once and the question repeated. One that somebody else has replaced meanwhile
        says nothing: the stored one is taken.
        """
        credentials = self._credentials(with_fresh_token)
        source = token_source(self.destination, self.connection.settings)
        for number in range(MOST_RENEWALS + 1):
            release_database()
            try:
                return question(credentials)
            except Failure as failure:
                if not failure.renew_token or source is None or number == MOST_RENEWALS:
                    raise
                if number and is_stored_token(self.connection, credentials):
                    # A new token is refused as well: another one would be too.
                    raise
            credentials = renewed_credentials(self.connection, source, self.client, credentials)
        raise AssertionError("unreachable")

    def use(self, permits: Permits) -> None:
        """Takes these permits from now on."""
        self.client.before_call = permits.take

    def restart(self, permits: Permits) -> None:
        """Starts a new deadline with these permits; further calls are recorded with the earlier ones."""
        self.client = replace(self.client, before_call=permits.take)

    def without_secrets(self, text: str) -> str:
        return self.client.without_secrets(text)

    def _credentials(self, with_fresh_token: bool) -> Credentials:
        source = token_source(self.destination, self.connection.settings) if with_fresh_token else None
        if source is not None:
            return fresh_credentials(self.connection, source, self.client)
        return credentials_of(self.connection, self.destination, self.client)

    def _on_reply(self, budget: str, reply: Reply) -> None:
        try:
            record_clock_skew(self.connection, reply)
            observe_reply(self.connection, budget, reply)
        except Exception:
            # Odd headers must not cost us the receipt that they came with.
            log.exception("reply not observed")
