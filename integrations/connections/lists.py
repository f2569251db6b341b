"""What an account offers to choose from: read at night and on request, stored, and each mapping checked against it.

Reading may be requested at any time and from anywhere: one process reads an account at a time. A list that cannot be
read keeps its earlier content, as long as it is the same account's.
"""

import random
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from integrations.connections.session import Session
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import ChecksMappings, OffersLists
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.queue import READ_LISTS, publish
from integrations.infra.text import REPORT_IT, defect_text, storable
from integrations.models import AccountSchema, Connection, Mapping

log = structlog.get_logger(__name__)

READ_SECONDS = 90.0
CLAIM_SECONDS = 240
PERMIT_SECONDS = 10.0
NIGHT_HOUR = 3
SPREAD_MINUTES = 45
AGAIN_SECONDS = 600
MOST_READ = 4

Lists = dict[str, Any]
Problems = dict[str, str]


# --- Requests --------------------------------------------------------------------------------------------------------


def lists_due() -> list[int]:
    """Connections that may be called and whose lists are due, or were never read; a few at a time."""
    never = Q(schema__isnull=True)
    is_time = Q(schema__next_read_at__lte=Now()) & (
        Q(schema__reading_until__isnull=True) | Q(schema__reading_until__lte=Now())
    )
    rows = Connection.objects.filter(Connection.open_now(), kind__in=offering()).filter(never | is_time)
    return list(rows.values_list("pk", flat=True)[:MOST_READ])


def offering() -> list[str]:
    """The kinds of connections that have lists."""
    return [kind for kind, destination in DESTINATIONS.items() if isinstance(destination, OffersLists)]


def request_lists(connection_id: int, *, older_than: float = 0.0) -> None:
    """Has the lists read as soon as a worker is free, unless they were read within so many seconds or are being read.

    Nothing where the account has none.
    """
    if not Connection.objects.filter(pk=connection_id, kind__in=offering()).exists():
        return
    fresh = Q(read_at__gt=seconds_from_now(-older_than)) | Q(reading_until__gt=Now())
    if older_than and AccountSchema.objects.filter(fresh, pk=connection_id).exists():
        return
    _ensure_row(connection_id)
    AccountSchema.objects.filter(pk=connection_id).update(next_read_at=Now())
    transaction.on_commit(lambda: publish(READ_LISTS, connection_id), robust=True)


def _ensure_row(connection_id: int) -> None:
    AccountSchema.objects.bulk_create([AccountSchema(connection_id=connection_id)], ignore_conflicts=True)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_account_lists(connection_id: int, *, seconds: float = READ_SECONDS) -> bool:
    """Reads an account's lists, stores them and checks its mappings. False when it is being read or may not be called.

    A connection that is paused or switched off is not called: its mappings use what was read before.
    """
    connection = Connection.objects.filter(Connection.open_now(), pk=connection_id).first()
    destination = DESTINATIONS[connection.kind] if connection else None
    if connection is None or not isinstance(destination, OffersLists) or (claim := _claim(connection_id)) is None:
        return False
    try:
        session = Session.limited(connection, seconds=seconds, permit_wait=PERMIT_SECONDS)
        lists, problems = session.ask(lambda credentials: destination.read_lists(session.client, credentials))
    except (Failure, NoPermit) as failure:
        _store(connection, claim, {}, {"account": _why_not_read(failure)})
    except Exception as error:
        log.exception("account lists not read", connection_id=connection_id)
        _store(connection, claim, {}, {"account": f"{defect_text('Reading the lists', error)} {REPORT_IT}"})
    else:
        _store(connection, claim, lists, problems)
    check_mappings(connection)
    return True


def _claim(connection_id: int) -> datetime | None:
    _ensure_row(connection_id)
    free = Q(reading_until__isnull=True) | Q(reading_until__lte=Now())
    rows = AccountSchema.objects.filter(pk=connection_id)
    if not rows.filter(free).update(reading_until=seconds_from_now(CLAIM_SECONDS)):
        return None
    return rows.values_list("reading_until", flat=True).get()


def _why_not_read(failure: Failure | NoPermit) -> str:
    if isinstance(failure, NoPermit):
        return "The account's lists cannot be read right now because of its rate limit. Casebridge tries again soon."
    return failure.text(" ")


# --- Storing ---------------------------------------------------------------------------------------------------------


def _store(connection: Connection, claim: datetime, lists: Lists, problems: Problems) -> None:
    """Replaces the stored lists, if the claim is still ours."""
    with transaction.atomic():
        rows = AccountSchema.objects.select_for_update().filter(pk=connection.pk, reading_until=claim)
        schema = rows.annotate(now=Now()).first()
        if schema is None:
            return
        origin = DESTINATIONS[connection.kind].origin(connection.settings)
        # What failed twice for the same reason waits for the night; a new problem is retried soon.
        is_settled = bool(lists) and problems == schema.problems
        schema.lists = merged(schema.lists, lists, origin)
        schema.problems = {name: storable(message)[:1000] for name, message in problems.items()}
        was_read = any(name != "cut" for name in lists)
        is_well = was_read and (is_settled or not problems)
        schema.next_read_at = next_night(schema.now) if is_well else schema.now + timedelta(seconds=AGAIN_SECONDS)
        schema.read_at = schema.now if was_read else schema.read_at
        schema.reading_until = None
        schema.save(update_fields=["lists", "problems", "next_read_at", "read_at", "reading_until"])
    log.info("account lists read", connection_id=connection.pk, failed=sorted(problems))


def merged(earlier: Lists, lists: Lists, origin: str) -> Lists:
    """The new lists over the earlier ones; those of another account are dropped."""
    kept = earlier if earlier.get("origin") == origin else {}
    cut = [name for name in kept.get("cut", []) if name not in lists] + list(lists.get("cut", []))
    merged_lists = {**kept, **lists, "origin": origin}
    return merged_lists | {"cut": cut} if cut or "cut" in merged_lists else merged_lists


def next_night(now: datetime) -> datetime:
    """Three o'clock (UTC) of the next night and a few minutes, so that not all accounts are read at once."""
    night = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    night += timedelta(days=0 if night > now else 1)
    return night + timedelta(minutes=random.randrange(SPREAD_MINUTES))


# --- Checking mappings -----------------------------------------------------------------------------------------------


def check_mappings(connection: Connection) -> None:
    """Stores on each mapping of the connection what no longer fits the account."""
    lists, destination = AccountSchema.lists_of(connection.pk), DESTINATIONS[connection.kind]
    if not lists or not isinstance(destination, ChecksMappings):
        return
    for mapping in Mapping.objects.filter(connection=connection).only("settings"):
        misfits = destination.misfits(mapping.settings, lists)
        Mapping.objects.filter(pk=mapping.pk, settings=mapping.settings).update(warnings=misfits, checked_at=Now())


def check_mapping(mapping: Mapping) -> None:
    """Sets on an unsaved mapping what does not fit, as far as the account's lists are known."""
    lists = AccountSchema.lists_of(mapping.connection_id)
    mapping.warnings = misfits_of(mapping, lists)
    mapping.checked_at = Now() if lists else None


def misfits_of(mapping: Mapping, lists: Lists) -> list[dict[str, str]]:
    """What of a mapping the account no longer accepts; empty where its lists are unknown or not compared."""
    destination = DESTINATIONS[mapping.connection.kind]
    if not lists or not isinstance(destination, ChecksMappings):
        return []
    return destination.misfits(mapping.settings, lists)
