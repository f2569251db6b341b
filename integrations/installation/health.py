"""Whether everything works that Casebridge needs: the database and its migrations, Redis, a worker."""

import time
from datetime import timedelta
from typing import Any

import redis
import structlog
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.infra.postgresql import outage
from integrations.infra.redis import redis_client
from integrations.models import Installation

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 10
WORKER_SILENT_AFTER = timedelta(seconds=60)
OK = "ok"

_is_migrated = False


def health_checks() -> dict[str, str]:
    """Each part with "ok", or what is wrong with it."""
    return {"database": _database(), "redis": _redis(), "worker": _worker()}


def _database() -> str:
    if outage.is_on():
        return "cannot be reached"
    try:
        missing = _missing_migrations()
    except DatabaseError as error:
        outage.suspect(error)
        log.warning("database unreachable", error=str(error))
        return "cannot be reached"
    return f"{missing} migrations are missing: run manage.py release" if missing else OK


def _missing_migrations() -> int:
    """How many; once there are none, this only checks that the database answers: this code needs no more of them."""
    global _is_migrated
    if _is_migrated:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return 0
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    _is_migrated = missing == 0
    return missing


def _redis() -> str:
    try:
        redis_client().ping()
    except redis.RedisError as error:
        log.warning("redis unreachable", error=str(error))
        return "cannot be reached"
    return OK


def send_heartbeats() -> None:
    """Runs in a thread of each worker that delivers, for as long as it lives."""
    while True:
        try:
            Installation.objects.update(worker_seen_at=Now())
            connection.close()
        except DatabaseError as error:
            log.warning("heartbeat not written", error=str(error))
        time.sleep(HEARTBEAT_SECONDS)


def _worker() -> str:
    if outage.is_on():
        return "unknown without the database"
    try:
        last_seen: Any = Installation.objects.values_list("worker_seen_at", flat=True).first()
    except DatabaseError:
        return "unknown without the database"
    if last_seen is None:
        return "not seen yet"
    silent = database_clock.now() - last_seen
    return OK if silent < WORKER_SILENT_AFTER else f"last seen {silent.total_seconds():.0f} seconds ago"
