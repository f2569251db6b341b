"""One pace per connection and budget, shared by all workers through Redis, taken from the last rate headers.

A call takes a turn first. Turns are spread evenly over the minute at 99 % of the limit, and over what the headers say
is left when others use up the account too; an emptied budget holds every call until its window ends. Until headers
were heard there is no pace. Without Redis there is none either: the limit's own 429 then pauses the connection.
"""

import time
from functools import cache
from typing import Any

import redis
import structlog

from integrations.destinations.base import Budget
from integrations.http import NotItsTurn
from integrations.redis_client import client

log = structlog.get_logger(__name__)

SHARE_OF_LIMIT = 0.99
# Calls on their way are not yet in the headers' count, so a little of what is left stays untouched.
SHARE_OF_REMAINING = 0.97
KEPT_MS = 3_600_000
LONGEST_HOLD_SECONDS = 15 * 60
LONGEST_WINDOW_SECONDS = 120

TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local pace = redis.call('HMGET', KEYS[1], 'interval', 'next', 'hold')
local turn = math.max(now, tonumber(pace[2] or '0'), tonumber(pace[3] or '0'))
if turn - now > tonumber(ARGV[1]) then return {0, math.ceil(turn - now)} end
if pace[1] then
  redis.call('HSET', KEYS[1], 'next', tostring(turn + tonumber(pace[1])))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1, math.ceil(turn - now)}
"""

HEAR = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'interval', ARGV[1]) end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'hold', tostring(now + tonumber(ARGV[2]))) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


@cache
def _script(source: str) -> Any:
    return client().register_script(source)


def _key(connection_id: int, budget: str) -> str:
    return f"casebridge:pace:{connection_id}:{budget}"


def take_turn(connection_id: int, budget: str, longest_wait: float) -> None:
    """Waits for a turn. Raises NotItsTurn when the next one is further off than `longest_wait` seconds."""
    try:
        granted, milliseconds = _script(TAKE)(
            keys=[_key(connection_id, budget)], args=[round(longest_wait * 1000), KEPT_MS]
        )
    except redis.RedisError as error:
        log.warning("no shared pace without Redis", error=str(error))
        return
    if not granted:
        raise NotItsTurn(milliseconds / 1000)
    time.sleep(milliseconds / 1000)


def hear(connection_id: int, budget: str, limits: list[Budget]) -> None:
    """Takes the pace from what an answer's headers said."""
    interval, hold = interval_ms(limits), hold_ms(limits)
    if interval is None and hold is None:
        return
    try:
        _script(HEAR)(
            keys=[_key(connection_id, budget)],
            args=["" if interval is None else interval, "" if hold is None else hold, KEPT_MS],
        )
    except redis.RedisError as error:
        log.warning("no shared pace without Redis", error=str(error))


def interval_ms(limits: list[Budget]) -> int | None:
    """Milliseconds between turns: the slowest that any limit asks for; None when no limit tells a rate."""
    intervals = []
    for limit in limits:
        if limit.per_minute:
            intervals.append(60_000 / (limit.per_minute * SHARE_OF_LIMIT))
            # A reset far off is no length of time (some services send a date's number there).
            if limit.remaining and limit.reset_seconds and limit.reset_seconds <= LONGEST_WINDOW_SECONDS:
                intervals.append(limit.reset_seconds * 1000 / (limit.remaining * SHARE_OF_REMAINING))
    return round(max(intervals)) if intervals else None


def hold_ms(limits: list[Budget]) -> int | None:
    """Milliseconds until an emptied budget is filled again; None when something is left of each."""
    holds = [limit.reset_seconds or 1.0 for limit in limits if limit.remaining == 0]
    return round(min(max(holds), LONGEST_HOLD_SECONDS) * 1000) if holds else None


def forget(connection_id: int) -> None:
    """Forgets the pace: a person resumed the connection, or its account was changed."""
    try:
        client().delete(_key(connection_id, "account"), _key(connection_id, "look-up"))
    except redis.RedisError as error:
        log.warning("the pace was not forgotten: Redis is away", error=str(error))
