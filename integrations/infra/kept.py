"""What many people ask for at once is made once and kept for seconds, in Redis for all processes."""

import json
from collections.abc import Callable
from typing import Any

import redis
import structlog

from integrations.infra.redis import redis_client

log = structlog.get_logger(__name__)


def kept(key: str, seconds: int, make: Callable[[], Any]) -> Any:
    """What `make` returned within the last `seconds`, as JSON gives it back; made anew without Redis or with 0."""
    if not seconds:
        return json.loads(json.dumps(make()))
    own = f"casebridge:kept:{key}"
    try:
        if stored := redis_client().get(own):
            return json.loads(str(stored))
    except redis.RedisError as error:
        log.warning("not kept", key=key, error=str(error))
        return json.loads(json.dumps(make()))
    made = json.dumps(make())
    try:
        redis_client().set(own, made, ex=seconds)
    except redis.RedisError as error:
        log.warning("not kept", key=key, error=str(error))
    return json.loads(made)
