"""The permits that the calls of one try need: each one of the account's, some another one of a limit of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import ACCOUNT, HasLimits, Limit
from integrations.flow import rate_limit
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import NoPermit
from integrations.models import Connection

# A permit further off than this is not waited for, so that the thread can serve other connections.
LONGEST_PERMIT_WAIT = 1.0
# For limits with a fixed window: before a try begins, and within one.
LONGEST_WAIT_FOR_ROOM, LONGEST_WAIT_IN_A_TRY = 0.2, 1.5


def limits_of(kind: str) -> Mapping[str, Limit]:
    """The limits on calls to connections of this kind, by budget; empty where none are known."""
    destination = DESTINATIONS[kind]
    return destination.limits if isinstance(destination, HasLimits) else {}


@dataclass
class Permits:
    """Takes the permits for the calls of one try. `held` were taken beforehand; each covers one call."""

    connection: Connection
    longest_wait: float = LONGEST_PERMIT_WAIT
    held: list[str] = field(default_factory=list)
    limits: Mapping[str, Limit] = field(init=False)

    def __post_init__(self) -> None:
        self.limits = limits_of(self.connection.kind)

    def take(self, budget: str) -> None:
        """Raises NoPermit. Every limited call draws on the account's budget, some on another as well."""
        if budget not in self.limits:
            return
        release_database()
        if self.limits[budget].is_own:
            self._take_one(budget)
        self._take_one(ACCOUNT)

    def hold(self, budget: str, longest_wait: float | None = None) -> None:
        """Takes a permit of this budget now, for a later call. Raises NoPermit."""
        if budget not in self.limits:
            return
        release_database()
        rate_limit.take_permit(self.connection.pk, budget, longest_wait or self.longest_wait)
        self.held.append(budget)

    def expect_room(self, budget: str) -> None:
        """Raises NoPermit when no call of this budget fits soon. The permit is taken by the call, if it happens."""
        if budget not in self.limits:
            return
        wait = rate_limit.seconds_until_window_permit(self.connection.pk, budget, self.limits[budget].within)
        if wait > LONGEST_WAIT_FOR_ROOM:
            raise NoPermit(wait, budget)

    def _take_one(self, budget: str) -> None:
        if budget in self.held:
            self.held.remove(budget)
        elif within := self.limits[budget].within:
            rate_limit.take_window_permit(self.connection.pk, budget, within, LONGEST_WAIT_IN_A_TRY)
        else:
            rate_limit.take_permit(self.connection.pk, budget, self.longest_wait)


def wait_for_permit(connection_id: int) -> float:
    """Waits for the account's next permit and returns how long that took. Raises NoPermit when it is too far off."""
    release_database()
    return rate_limit.take_permit(connection_id, ACCOUNT, LONGEST_PERMIT_WAIT)


def return_permit(connection_id: int) -> None:
    """Returns a permit of the account that is not needed after all."""
    rate_limit.return_permit(connection_id, ACCOUNT)
