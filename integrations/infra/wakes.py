"""Waking workers for a connection's deliveries: few messages for any backlog, counted in Redis, and none without it."""

import redis

from integrations.infra.queue import DELIVER, publish
from integrations.infra.redis import redis_client

# Messages for one connection that may be queued at a time: a worker goes on with each until nothing is due.
MOST_WAKES = 16
WAKES_COUNTED_SECONDS = 30
LONGEST_WAKE_SECONDS = 60.0


def wake_workers(connection_id: int, *, count: int = 1, countdown: float | None = None) -> None:
    """Asks for workers on a connection. A few messages are enough for any backlog: which delivery is sent is decided
    once there is a permit, so a message never pins an older delivery ahead of a more urgent one.
    """
    for _ in range(count):
        if countdown is None and not _has_room_for_wake(connection_id):
            return
        publish(DELIVER, connection_id, countdown=countdown)


def wake_one_worker(connection_id: int) -> None:
    """One message past the count: the sweep's own, in case all others were lost."""
    publish(DELIVER, connection_id)


def wake_later(connection_id: int, seconds: float) -> None:
    """Brings one worker back for the next permit, however many found it too far off."""
    try:
        is_first = redis_client().set(
            f"casebridge:wakes:{connection_id}:later", 1, nx=True, px=max(round(seconds * 1000), 1)
        )
    except redis.RedisError:
        return
    if is_first:
        wake_workers(connection_id, countdown=seconds)


def wake_received(connection_id: int) -> None:
    """A message for this connection left the queue."""
    try:
        if redis_client().decr(_wakes_key(connection_id)) < 0:
            redis_client().delete(_wakes_key(connection_id))
    except redis.RedisError:
        return


def forget_wakes(connection_ids: list[int]) -> None:
    """The queue is empty: messages still counted as queued were lost."""
    try:
        for connection_id in connection_ids:
            redis_client().delete(_wakes_key(connection_id), f"casebridge:wakes:{connection_id}:later")
    except redis.RedisError:
        return


def _has_room_for_wake(connection_id: int) -> bool:
    """Counts one more; without Redis nothing can be queued anyway."""
    try:
        queued = redis_client().incr(_wakes_key(connection_id))
        if queued == 1:
            # Never extended: a count whose messages were lost (with a process, with Redis) expires.
            redis_client().expire(_wakes_key(connection_id), WAKES_COUNTED_SECONDS)
        if queued > MOST_WAKES:
            redis_client().decr(_wakes_key(connection_id))
            return False
    except redis.RedisError:
        return False
    return True


def _wakes_key(connection_id: int) -> str:
    return f"casebridge:wakes:{connection_id}"
