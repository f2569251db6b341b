"""One rate limiter per connection and budget, shared by all workers through Redis and fed by the last rate headers.

Every call takes a permit first. Permits are spread evenly over the minute at 99 % of the share of the limit that staff
set, and over what the headers say is left when others use the account too; an exhausted budget holds every call until
its window ends. Nothing is limited until headers were seen, nor without Redis: the account's 429 then pauses the
connection. All times are from Redis' clock.
"""

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import redis
import structlog

from integrations.destinations.capabilities import Budget
from integrations.infra.http.failure import NoPermit
from integrations.infra.redis import redis_client

log = structlog.get_logger(__name__)

SHARE_OF_LIMIT = 0.99
# Calls under way are not yet in the headers' count, so a little of what is left stays unused.
SHARE_OF_REMAINING = 0.97
KEPT_MS = 3_600_000
LONGEST_HOLD_SECONDS = 15 * 60
LONGEST_WINDOW_SECONDS = 120

TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local rate = redis.call('HMGET', KEYS[1], 'interval', 'next', 'hold')
local free_at = math.max(now, tonumber(rate[2] or '0'), tonumber(rate[3] or '0'))
if free_at - now > tonumber(ARGV[1]) then return {0, math.ceil(free_at - now)} end
if rate[1] then
  redis.call('HSET', KEYS[1], 'next', tostring(free_at + tonumber(rate[1])))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1, math.ceil(free_at - now)}
"""

RETURN = """
local rate = redis.call('HMGET', KEYS[1], 'interval', 'next')
if rate[1] and rate[2] then
  redis.call('HSET', KEYS[1], 'next', tostring(tonumber(rate[2]) - tonumber(rate[1])))
end
return 1
"""

LEARN = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'interval', ARGV[1], 'limit', ARGV[4]) end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'hold', tostring(now + tonumber(ARGV[2]))) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""

# At most N calls within a window: the times of the last calls are kept for the length of the window.
WITHIN = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local wait = 0
for index, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[index * 2 - 1]), tonumber(ARGV[index * 2])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  if redis.call('ZCARD', key) >= most then
    local first = redis.call('ZRANGE', key, -most, -most, 'WITHSCORES')
    wait = math.max(wait, tonumber(first[2]) + window - now)
  end
end
if wait > 0 or ARGV[#KEYS * 2 + 1] == 'ask' then return math.ceil(wait) end
for index, key in ipairs(KEYS) do
  redis.call('ZADD', key, now, tostring(now) .. ':' .. tostring(math.random()))
  redis.call('PEXPIRE', key, ARGV[index * 2])
end
return 0
"""


@cache
def _script(source: str) -> Any:
    return redis_client().register_script(source)


def _key(connection_id: int, budget: str) -> str:
    return f"casebridge:rate:{connection_id}:{budget}"


def take_permit(connection_id: int, budget: str, longest_wait: float) -> float:
    """Waits for a permit and returns how long that took. Raises NoPermit if it is over `longest_wait` seconds off."""
    try:
        granted, milliseconds = _script(TAKE)(
            keys=[_key(connection_id, budget)], args=[round(longest_wait * 1000), KEPT_MS]
        )
    except redis.RedisError as error:
        log.warning("rate limit not shared: redis unavailable", error=str(error))
        return 0.0
    if not granted:
        raise NoPermit(milliseconds / 1000, budget)
    time.sleep(milliseconds / 1000)
    return float(milliseconds) / 1000


def return_permit(connection_id: int, budget: str) -> None:
    """Returns a permit that is not needed after all."""
    try:
        _script(RETURN)(keys=[_key(connection_id, budget)])
    except redis.RedisError as error:
        log.warning("rate limit not shared: redis unavailable", error=str(error))


def take_window_permit(connection_id: int, budget: str, windows: Mapping[float, int], longest_wait: float) -> None:
    """Waits until a call fits into each window (seconds -> most calls). Raises NoPermit if that takes longer."""
    keys, numbers = _windows(connection_id, budget, windows)
    until = time.monotonic() + longest_wait
    while True:
        try:
            milliseconds = _script(WITHIN)(keys=keys, args=numbers)
        except redis.RedisError as error:
            log.warning("rate limit not shared: redis unavailable", error=str(error))
            return
        if not milliseconds:
            return
        if time.monotonic() + milliseconds / 1000 > until:
            raise NoPermit(milliseconds / 1000, budget)
        time.sleep(milliseconds / 1000)


def seconds_until_window_permit(connection_id: int, budget: str, windows: Mapping[float, int]) -> float:
    """How long until a call fits into each window; takes none."""
    keys, numbers = _windows(connection_id, budget, windows)
    try:
        return float(_script(WITHIN)(keys=keys, args=[*numbers, "ask"])) / 1000
    except redis.RedisError:
        return 0.0


def _windows(connection_id: int, budget: str, windows: Mapping[float, int]) -> tuple[list[str], list[int]]:
    keys = [f"{_key(connection_id, budget)}:{seconds:g}" for seconds in windows]
    return keys, [number for seconds, most in windows.items() for number in (most, round(seconds * 1000))]


def learn_limits(connection_id: int, budget: str, limits: list[Budget], share: int = 100) -> None:
    """Sets the rate from the headers of a reply. `share`: our percentage of the limit."""
    interval, hold = interval_ms(limits, share), hold_ms(limits)
    if interval is None and hold is None:
        return
    rates = [limit.per_minute for limit in limits if limit.per_minute]
    try:
        _script(LEARN)(
            keys=[_key(connection_id, budget)],
            args=["" if interval is None else interval, "" if hold is None else hold, KEPT_MS, min(rates, default=0)],
        )
    except redis.RedisError as error:
        log.warning("rate limit not shared: redis unavailable", error=str(error))


def interval_ms(limits: list[Budget], share: int = 100) -> int | None:
    """Milliseconds between permits: the slowest that any limit asks for; None when no limit has a rate."""
    intervals = []
    for limit in limits:
        if limit.per_minute:
            intervals.append(60_000 / (limit.per_minute * SHARE_OF_LIMIT * share / 100))
            # A reset this far off is no duration (some services send a timestamp there).
            if limit.remaining and limit.reset_seconds and limit.reset_seconds <= LONGEST_WINDOW_SECONDS:
                intervals.append(limit.reset_seconds * 1000 / (limit.remaining * SHARE_OF_REMAINING))
    return round(max(intervals)) if intervals else None


def hold_ms(limits: list[Budget]) -> int | None:
    """Milliseconds until an exhausted budget is refilled; None when something is left of each."""
    holds = [limit.reset_seconds or 1.0 for limit in limits if limit.remaining == 0]
    return round(min(max(holds), LONGEST_HOLD_SECONDS) * 1000) if holds else None


def calls_per_minute(connection_id: int) -> float | None:
    """How many calls a minute are allowed at present; None while no limit is known (or Redis is unavailable)."""
    try:
        interval: Any = redis_client().hget(_key(connection_id, "account"), "interval")
    except redis.RedisError:
        return None
    return 60_000 / float(interval) if interval else None


def limit_of(connection_id: int, budget: str) -> int | None:
    """The limit a minute, from the account's last headers."""
    try:
        limit: Any = redis_client().hget(_key(connection_id, budget), "limit")
    except redis.RedisError:
        return None
    return int(float(limit)) or None if limit else None


def forget_limits(connection_id: int) -> None:
    """Forgets the rate: a person resumed the connection, or its account was changed."""
    try:
        redis_client().delete(_key(connection_id, "account"), _key(connection_id, "look-up"))
    except redis.RedisError as error:
        log.warning("rate limit not reset: redis unavailable", error=str(error))
