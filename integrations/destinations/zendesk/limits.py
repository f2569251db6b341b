"""Zendesk's limits on calls: which there are, and what the headers of a reply say about them.

Facts: developer.zendesk.com, API reference, Introduction, "Rate limits", and Ticketing, "Users" (Create or Update User:
once per second and account, five times per minute and user). Look-ups by external id and updates have limits of their
own; creating many draws on the account's alone.
"""

from integrations.destinations.capabilities import ACCOUNT, JOBS, LOOK_UP, UPDATES, USERS, Budget, Limit
from integrations.infra.http.reply import Reply

LIMITS = {
    ACCOUNT: Limit(),
    LOOK_UP: Limit(is_own=True),
    UPDATES: Limit(is_own=True),
    # Once a second and five times a minute; with some slack for differing clocks.
    USERS: Limit(is_own=True, within={1.3: 1, 62.0: 5}),
    JOBS: Limit(),
}
# Documented per minute: look-ups by external id, changes of tickets.
LIMITS_A_MINUTE = {LOOK_UP, UPDATES}
LONGEST_MINUTE_SECONDS = 75
LONGEST_NUMBER = 19


def read_budgets(budget: str, reply: Reply) -> list[Budget]:
    """The limits in a reply's headers. Names vary by year and service: x-rate-limit, ratelimit-*, rate-limit-*."""
    named = [value for name, value in reply.headers.items() if _concerns(name, budget)]
    budgets = [_limit_a_minute(value) if budget in LIMITS_A_MINUTE else named_limit(value) for value in named]
    if budget == ACCOUNT:
        total = _integer(reply, "ratelimit-limit", "x-rate-limit", "rate-limit")
        remaining = _integer(reply, "ratelimit-remaining", "x-rate-limit-remaining", "rate-limit-remaining")
        reset = _integer(reply, "ratelimit-reset", "rate-limit-reset")
        budgets.append(Budget(total, remaining, reset))
    return [limit for limit in budgets if limit.per_minute or limit.remaining == 0]


def _concerns(header: str, budget: str) -> bool:
    """Limits of their own: `...-tickets-index` for look-ups, `...-ticket-request-create-...` for creates."""
    if not header.startswith(("zendesk-ratelimit-", "zendesk-rate-limit-")):
        return False
    if budget == LOOK_UP:
        return "tickets-index" in header
    if budget == UPDATES:
        return "update" in header
    return budget == ACCOUNT and "ticket" in header and "create" in header


def _limit_a_minute(value: str) -> Budget:
    """A named limit with a window of a minute; one that resets later is a single ticket's and limits nothing else."""
    limit = named_limit(value)
    if limit.reset_seconds is not None and limit.reset_seconds > LONGEST_MINUTE_SECONDS:
        return Budget(None, None, None)
    parts = dict(part.strip().split("=", 1) for part in value.split(";") if "=" in part)
    return Budget(_whole(parts.get("total", "")), limit.remaining, limit.reset_seconds)


def named_limit(value: str) -> Budget:
    """`total=30; remaining=29; resets=468`. Only an exhausted one holds calls: its window's length is unknown."""
    parts = dict(part.strip().split("=", 1) for part in value.split(";") if "=" in part)
    remaining, resets = parts.get("remaining", ""), parts.get("resets", "")
    return Budget(None, _whole(remaining), _whole(resets))


def _integer(reply: Reply, *names: str) -> int | None:
    return _whole(next((reply.headers[name] for name in names if name in reply.headers), ""))


def _whole(raw: str) -> int | None:
    text = raw.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None
