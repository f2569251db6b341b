"""Our own connection to Redis, for the shared pace and for health. Short timeouts: nothing may hang on it."""

from functools import cache

import redis
from django.conf import settings


@cache
def redis_client() -> redis.Redis:
    return redis.Redis.from_url(
        str(settings.CELERY["broker_url"]),
        socket_connect_timeout=0.5,
        socket_timeout=1.0,
        health_check_interval=30,
        max_connections=settings.WORKER_CONCURRENCY + 16,
        decode_responses=True,
    )
