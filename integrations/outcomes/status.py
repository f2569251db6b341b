"""What is known about what deliveries became. Updates arrive in any order and more than once.

Status and assignee follow the newest change by the account's clock; the first solve is the earliest ever reported.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, DateTimeField, F, Q, QuerySet, Value, When
from django.db.models.functions import Least, Now

from integrations.delivery import mark_solved
from integrations.destinations.capabilities import StatusUpdate
from integrations.infra.database_clock import seconds_from_now
from integrations.models import AccountSchema, Connection, RemoteObject

DELETED = "deleted"
SOLVED = ("solved", "closed")
FINAL = ("closed", DELETED)

HOUR, DAY = 3600, 86400
# (age, interval): how often a thing is polled while it is younger than that.
POLL_INTERVALS = ((DAY, HOUR // 4), (7 * DAY, 4 * HOUR), (60 * DAY, DAY))
POLLED_FOR_SECONDS = POLL_INTERVALS[-1][0]
POLLED_BESIDE_A_WEBHOOK = 6 * HOUR


# --- Recording -------------------------------------------------------------------------------------------------------


def record_update(connection_id: int, update: StatusUpdate) -> int:
    """Updates what is known about the thing, and returns 1, or 0 when it is not ours.

    Repeatable and in any order. An update without a status or a time cannot be ordered: the thing is polled soon.
    """
    rows = RemoteObject.objects.filter(connection=connection_id, number=update.number)
    if update.is_deleted:
        return _record(rows, DELETED, update, connection_id)
    if not update.status or update.changed_at is None:
        return rows.update(next_poll_at=Now())
    return _record(rows, update.status, update, connection_id)


def _record(rows: QuerySet[RemoteObject], status: str, update: StatusUpdate, connection_id: int) -> int:
    solved_at: Any = _changed_at(update.changed_at, connection_id)
    changed_at: Any = _changed_at(update.ordered_at or update.changed_at, connection_id)
    is_newest = Q(changed_at__isnull=True) | Q(changed_at__lte=changed_at)
    changes: dict[str, Any] = {
        "status": Case(When(is_newest, then=Value(status)), default=F("status")),
        "changed_at": Case(When(is_newest, then=changed_at), default=F("changed_at")),
        "next_poll_at": _next_poll_after(is_newest, status),
    }
    assignee = _assignee(update, connection_id)
    if assignee is not None:
        changes["assignee"] = Case(When(is_newest, then=Value(assignee)), default=F("assignee"))
    if status not in SOLVED:
        return rows.update(**changes)
    changes["solved_at"] = Least(F("solved_at"), solved_at)  # of an empty one and a time, the time
    with transaction.atomic():
        updated = rows.update(**changes)
        for thing in rows:
            mark_solved(thing)
    return updated


def _changed_at(moment: datetime | None, connection_id: int) -> Any:
    """When it changed; for a deletion without a time, now by the account's clock."""
    if moment is not None:
        return Value(moment, output_field=DateTimeField())
    ahead = Connection.objects.filter(pk=connection_id).values_list("clock_skew_seconds", flat=True).first()
    return seconds_from_now(ahead or 0)


def _next_poll_after(is_newest: Q, status: str) -> Case:
    """What is final is not polled any more; what was restored is polled again."""
    if status in FINAL:
        return Case(When(is_newest, then=Value(None)), default=F("next_poll_at"), output_field=DateTimeField())
    came_back = is_newest & Q(next_poll_at__isnull=True, created_at__gt=seconds_from_now(-POLLED_FOR_SECONDS))
    later = seconds_from_now(POLLED_BESIDE_A_WEBHOOK)
    return Case(When(came_back, then=later), default=F("next_poll_at"), output_field=DateTimeField())


def _assignee(update: StatusUpdate, connection_id: int) -> str | None:
    """The assignee, by name where the account's list of agents has it; None where unknown."""
    if update.assignee_id is None:
        return update.assignee_name[:200] or None
    if not update.assignee_id:
        return ""
    name = agent_names(connection_id).get(update.assignee_id)
    return (name or update.assignee_name or f"agent {update.assignee_id}")[:200]


def agent_names(connection_id: int) -> Mapping[str, str]:
    lists = AccountSchema.objects.filter(connection=connection_id).values_list("lists__agents", flat=True).first()
    rows = lists if isinstance(lists, list) else []
    return {str(row.get("id")): str(row.get("name") or "") for row in rows if isinstance(row, dict)}


def update_text(update: StatusUpdate) -> str:
    if update.is_deleted:
        return DELETED
    return (
        update.status
        if update.status and update.changed_at
        else "the event has no status or no time, so it is asked for"
    )
