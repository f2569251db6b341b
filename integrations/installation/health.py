"""Whether everything works that Casebridge needs: the database and its migrations, Redis, a worker, beat, the sweep."""

from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.infra.postgresql import outage
from integrations.infra.redis import redis_client
from integrations.models import Installation, Turn

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 10
SILENT_AFTER = timedelta(seconds=60)
OK = "ok"
NOT_SEEN = "not seen yet"
UNKNOWN = "unknown without the database"
PARTS = ("worker", "beat", "sweep")

_is_migrated = False


def health_checks() -> dict[str, str]:
    """Each part with "ok", or what is wrong with it."""
    return {"database": _database(), "redis": _redis(), **_running()}


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


def record_answer() -> None:
    Installation.objects.update(worker_seen_at=Now())


def record_beat() -> None:
    """At most every HEARTBEAT_SECONDS."""
    since = Q(beat_seen_at__isnull=True) | Q(beat_seen_at__lte=database_clock.seconds_from_now(-HEARTBEAT_SECONDS))
    Installation.objects.filter(since).update(beat_seen_at=Now())


def silent_parts() -> dict[str, str]:
    """What has not been heard of for a minute, with since when; raises django.db.Error."""
    row: Any = Installation.objects.values("worker_seen_at", "beat_seen_at").first() or {}
    swept_at = Turn.objects.filter(name=Turn.Name.SWEEP).values_list("done_at", flat=True).first()
    seen = {"worker": row.get("worker_seen_at"), "beat": row.get("beat_seen_at"), "sweep": swept_at}
    return {part: since for part, at in seen.items() if (since := _silence(at))}


def missed_parts() -> dict[str, str]:
    """The silent ones, but for those that a new installation has hardly had the time to start."""
    first_asked = Turn.objects.filter(name=Turn.Name.ASK).values_list("done_at", flat=True).first()
    had_time = first_asked is not None and first_asked < database_clock.now() - SILENT_AFTER
    return {part: since for part, since in silent_parts().items() if had_time or since != NOT_SEEN}


def _silence(last_seen: datetime | None) -> str:
    if last_seen is None:
        return NOT_SEEN
    silent = database_clock.now() - last_seen
    return "" if silent < SILENT_AFTER else f"last seen {silent.total_seconds():.0f} seconds ago"


def _running() -> dict[str, str]:
    try:
        silent = silent_parts() if not outage.is_on() else dict.fromkeys(PARTS, UNKNOWN)
    except DatabaseError:
        silent = dict.fromkeys(PARTS, UNKNOWN)
    return {part: silent.get(part, OK) for part in PARTS}
