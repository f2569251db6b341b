"""Our own Redis client, for rate limits, wake-ups and health checks. Short timeouts: nothing may hang on it."""

from functools import cache

import redis
from django.conf import settings


@cache
def redis_client() -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        str(settings.CELERY["broker_url"]),
        socket_connect_timeout=0.5,
        socket_timeout=1.0,
        health_check_interval=30,
        max_connections=settings.REDIS_CLIENT_CONNECTIONS,
        timeout=1.0,
        decode_responses=True,
    )
    return redis.Redis(connection_pool=pool)
