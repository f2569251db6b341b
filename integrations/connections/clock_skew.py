"""How far the other side's clock is from the database's, as the Date of its answers tells.

Kept with the connection, because what the other side signs with a time can only be judged by its own clock.
"""

from integrations.infra import database_clock
from integrations.infra.http.reply import Reply
from integrations.models import Connection

# An answer's Date has whole seconds and was on its way for a while: less than this is no news.
NOTED_FROM_SECONDS = 30
TOLD_FROM_SECONDS = 60
# Beyond this it is no clock that is wrong, but a header without sense.
LONGEST_SECONDS = 10 * 365 * 86400


def record_clock_skew(connection: Connection, reply: Reply) -> None:
    """Keeps how far that clock is ahead; writes only when it moved. Safe with any header."""
    ahead = measured_skew(reply)
    if ahead is None or abs(ahead - connection.clock_skew_seconds) <= NOTED_FROM_SECONDS:
        return
    connection.clock_skew_seconds = ahead
    Connection.objects.filter(pk=connection.pk).update(clock_skew_seconds=ahead)


def measured_skew(reply: Reply) -> int | None:
    """Negative where that clock is behind the database's; None where the answer tells no time."""
    told = reply.date()
    if told is None:
        return None
    ahead = round((told - database_clock.now()).total_seconds())
    return ahead if abs(ahead) <= LONGEST_SECONDS else None


def skew_text(ahead: int) -> str:
    """A sentence for a difference that matters; empty otherwise."""
    if abs(ahead) <= TOLD_FROM_SECONDS:
        return ""
    direction = "ahead of" if ahead > 0 else "behind"
    return (
        f"The account's clock is {abs(ahead):,} seconds {direction} the portal's database. Casebridge allows for the "
        "difference, but have the database's clock checked."
    )
