"""What the account's replies, or their absence, mean for the calls that follow."""

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import ACCOUNT, HasLimits
from integrations.flow import circuit_breaker
from integrations.flow.pause import pause_after
from integrations.flow.permits import limits_of
from integrations.flow.rate_limit import learn_limits
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.models import Connection


def observe_reply(connection: Connection, budget: str, reply: Reply) -> None:
    """A reply means that the account can be reached; its headers have the limits."""
    if reply.status < 500:
        circuit_breaker.record_answer(connection)
    destination = DESTINATIONS[connection.kind]
    if budget not in limits_of(connection.kind) or not isinstance(destination, HasLimits):
        return
    for known in dict.fromkeys((ACCOUNT, budget)):
        learn_limits(connection.pk, known, destination.read_budgets(known, reply), connection.limit_share)


def record_failure(connection: Connection, failure: Failure, *, may_pause: bool = True) -> None:
    """Counts towards the circuit breaker, and pauses the connection where the failure concerns all its calls."""
    circuit_breaker.count_failure(connection, failure)
    if failure.pauses and may_pause:
        pause_after(connection, failure)
