"""The permits that the calls of one try need: each one of the account's, some another one of a limit of their own."""

from dataclasses import dataclass, field

from integrations.flow import rate_limit
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import NoPermit

ACCOUNT, LOOK_UP, UPDATES, USERS, JOBS = "account", "look-up", "updates", "users", "jobs"
# Budgets with a shared limit; fetching a token, managing webhooks and the like do not count as ticket API requests.
LIMITED_BUDGETS = (ACCOUNT, LOOK_UP, USERS, UPDATES, JOBS)
# Those with a limit of their own besides the account's.
OWN_LIMITS = (LOOK_UP, USERS, UPDATES)
# A permit further off than this is not waited for, so that the thread can serve other connections.
LONGEST_PERMIT_WAIT = 1.0
# Users may be created once a second and five times a minute; with some slack for differing clocks.
USERS_WITHIN = {1.3: 1, 62.0: 5}
# Before a try begins, and within one.
LONGEST_WAIT_FOR_A_USER, LONGEST_WAIT_IN_A_TRY = 0.2, 1.5


@dataclass
class Permits:
    """Takes the permits for the calls of one try. `held` were taken beforehand; each covers one call."""

    connection_id: int
    longest_wait: float = LONGEST_PERMIT_WAIT
    held: list[str] = field(default_factory=list)

    def take(self, budget: str) -> None:
        """Raises NoPermit. Every call draws on the account's budget, some on another as well."""
        if budget not in LIMITED_BUDGETS:
            return
        release_database()
        if budget in OWN_LIMITS:
            self._take_one(budget)
        self._take_one(ACCOUNT)

    def hold(self, budget: str, longest_wait: float | None = None) -> None:
        """Takes a permit of this budget now, for a later call. Raises NoPermit."""
        release_database()
        rate_limit.take_permit(self.connection_id, budget, longest_wait or self.longest_wait)
        self.held.append(budget)

    def expect_room_for_a_user(self) -> None:
        """Raises NoPermit when no user could be created soon. The permit itself is taken by the call, if it happens."""
        wait = rate_limit.seconds_until_window_permit(self.connection_id, USERS, USERS_WITHIN)
        if wait > LONGEST_WAIT_FOR_A_USER:
            raise NoPermit(wait, USERS)

    def _take_one(self, budget: str) -> None:
        if budget in self.held:
            self.held.remove(budget)
        elif budget == USERS:
            rate_limit.take_window_permit(self.connection_id, USERS, USERS_WITHIN, LONGEST_WAIT_IN_A_TRY)
        else:
            rate_limit.take_permit(self.connection_id, budget, self.longest_wait)


def wait_for_permit(connection_id: int) -> float:
    """Waits for the account's next permit and returns how long that took. Raises NoPermit when it is too far off."""
    release_database()
    return rate_limit.take_permit(connection_id, ACCOUNT, LONGEST_PERMIT_WAIT)


def return_permit(connection_id: int) -> None:
    """Returns a permit of the account that is not needed after all."""
    rate_limit.return_permit(connection_id, ACCOUNT)
