"""How far an account's clock is from the database's, measured by the Date of its replies.

Kept with the connection: what the account signs with a time can only be judged by its own clock.
"""

from integrations.infra import database_clock
from integrations.infra.http.reply import Reply
from integrations.models import Connection

# A reply's Date has whole seconds and was under way for a while: smaller changes are noise.
STORED_FROM_SECONDS = 30
SHOWN_FROM_SECONDS = 60
# Beyond this it is not the clock that is wrong, but the header.
LONGEST_SECONDS = 10 * 365 * 86400


def record_clock_skew(connection: Connection, reply: Reply) -> None:
    """Stores how far the account's clock is ahead; writes only when that changed. Safe with any header."""
    ahead = measured_skew(reply)
    if ahead is None or abs(ahead - connection.clock_skew_seconds) <= STORED_FROM_SECONDS:
        return
    connection.clock_skew_seconds = ahead
    Connection.objects.filter(pk=connection.pk).update(clock_skew_seconds=ahead)


def measured_skew(reply: Reply) -> int | None:
    """Negative where the account's clock is behind the database's; None where the reply has no time."""
    sent_at = reply.date()
    if sent_at is None:
        return None
    ahead = round((sent_at - database_clock.now()).total_seconds())
    return ahead if abs(ahead) <= LONGEST_SECONDS else None


def skew_text(ahead: int) -> str:
    """A sentence for a difference that matters; empty otherwise."""
    if abs(ahead) <= SHOWN_FROM_SECONDS:
        return ""
    direction = "ahead of" if ahead > 0 else "behind"
    return (
        f"The account's clock is {abs(ahead):,} seconds {direction} the portal's database. Casebridge allows for the "
        "difference, but have the database's clock checked."
    )
