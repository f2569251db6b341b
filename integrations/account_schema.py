"""What an account offers to choose from: read at night and when asked, kept, and each mapping checked against it.

Reading is safe to ask for at any time and from anywhere: one process reads an account at a time. A list that could
not be read keeps its earlier content, as long as it is the same account's.
"""

import random
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations.credentials import credentials_of, renewed_credentials
from integrations.database_pool import release_database
from integrations.database_time import seconds_from_now
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials
from integrations.http import Failure, NotItsTurn
from integrations.lines import Turns, line_to
from integrations.models import AccountSchema, Connection, Mapping
from integrations.post import storable
from integrations.queueing import READ_SCHEMA, publish

log = structlog.get_logger(__name__)

READ_SECONDS = 90.0
CLAIM_SECONDS = 240
TURN_SECONDS = 10.0
NIGHT_HOUR = 3
SPREAD_MINUTES = 45
AGAIN_SECONDS = 600
OLD_SECONDS = 600

Lists = dict[str, Any]
Problems = dict[str, str]


# --- Asking for it ---------------------------------------------------------------------------------------------------


def due() -> QuerySet[Connection]:
    """Connections that may be called and whose lists are to be read now; those never read are."""
    never = Q(schema__isnull=True)
    is_time = Q(schema__next_read_at__lte=Now()) & (
        Q(schema__reading_until__isnull=True) | Q(schema__reading_until__lte=Now())
    )
    return Connection.objects.filter(Connection.open_now()).filter(never | is_time)


def wish(connection_id: int) -> None:
    """Asks for a reading as soon as a worker is free."""
    _row_of(connection_id)
    AccountSchema.objects.filter(pk=connection_id).update(next_read_at=Now())
    transaction.on_commit(lambda: publish(READ_SCHEMA, connection_id), robust=True)


def wish_if_old(connection_id: int, seconds: float = OLD_SECONDS) -> None:
    """The same, unless the lists were read within so many seconds or are being read."""
    fresh = Q(read_at__gt=seconds_from_now(-seconds)) | Q(reading_until__gt=Now())
    if not AccountSchema.objects.filter(fresh, pk=connection_id).exists():
        wish(connection_id)


def lists_of(connection_id: int | None) -> Lists:
    """What was read last; empty where nothing ever was."""
    found = AccountSchema.objects.filter(pk=connection_id).values_list("lists", flat=True).first()
    return found or {}


def _row_of(connection_id: int) -> None:
    AccountSchema.objects.bulk_create([AccountSchema(connection_id=connection_id)], ignore_conflicts=True)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(connection_id: int, *, seconds: float = READ_SECONDS) -> bool:
    """Reads an account's lists, stores them and checks its mappings. False when it is being read or may not be called.

    A connection that is paused or switched off is not called: its mappings use what was read before.
    """
    connection = Connection.objects.filter(Connection.open_now(), pk=connection_id).first()
    claim = _claim(connection_id) if connection else None
    if connection is None or claim is None:
        return False
    try:
        lists, problems = _call(connection, seconds)
    except (Failure, NotItsTurn) as failure:
        _store(connection, claim, {}, {"account": _why_not_read(failure)})
    else:
        _store(connection, claim, lists, problems)
    check_mappings(connection)
    return True


def _claim(connection_id: int) -> datetime | None:
    _row_of(connection_id)
    free = Q(reading_until__isnull=True) | Q(reading_until__lte=Now())
    rows = AccountSchema.objects.filter(pk=connection_id)
    if not rows.filter(free).update(reading_until=seconds_from_now(CLAIM_SECONDS)):
        return None
    return rows.values_list("reading_until", flat=True).get()


def _call(connection: Connection, seconds: float) -> tuple[Lists, Problems]:
    """The lists; an access token that was refused is renewed once. Raises Failure, NotItsTurn."""
    destination = DESTINATIONS[connection.kind]
    line = line_to(connection, seconds, Turns(connection.pk, TURN_SECONDS))
    credentials = credentials_of(connection, destination, line)

    def once(signed_in: Credentials) -> tuple[Lists, Problems]:
        release_database()
        return destination.read_lists(line, signed_in)

    try:
        return once(credentials)
    except Failure as failure:
        if not (failure.renew_token and destination.needs_token(connection.settings)):
            raise
    return once(renewed_credentials(connection, destination, line, credentials))


def _why_not_read(failure: Failure | NotItsTurn) -> str:
    if isinstance(failure, NotItsTurn):
        return "The account's request limit leaves no room to read its lists just now. It is tried again in a while."
    return f"{failure.told} {failure.detail}".strip()


# --- Storing ---------------------------------------------------------------------------------------------------------


def _store(connection: Connection, claim: datetime, lists: Lists, problems: Problems) -> None:
    """Puts the new lists in place of the earlier ones, if the claim still is ours."""
    with transaction.atomic():
        rows = AccountSchema.objects.select_for_update().filter(pk=connection.pk, reading_until=claim)
        schema = rows.annotate(now=Now()).first()
        if schema is None:
            return
        origin = DESTINATIONS[connection.kind].origin(connection.settings)
        # What could not be read twice for the same reason waits for the night; anything new is tried again soon.
        is_settled = bool(lists) and problems == schema.problems
        schema.lists = merged(schema.lists, lists, origin)
        schema.problems = {name: storable(words)[:1000] for name, words in problems.items()}
        was_read = any(name != "cut" for name in lists)
        is_well = was_read and (is_settled or not problems)
        schema.next_read_at = next_night(schema.now) if is_well else schema.now + timedelta(seconds=AGAIN_SECONDS)
        schema.read_at = schema.now if was_read else schema.read_at
        schema.reading_until = None
        schema.save(update_fields=["lists", "problems", "next_read_at", "read_at", "reading_until"])
    log.info("account read", connection_id=connection.pk, unread=sorted(problems))


def merged(earlier: Lists, lists: Lists, origin: str) -> Lists:
    """The new lists over the earlier ones; those of another account are forgotten."""
    kept = earlier if earlier.get("origin") == origin else {}
    cut = [name for name in kept.get("cut", []) if name not in lists] + list(lists.get("cut", []))
    found = {**kept, **lists, "origin": origin}
    return found | {"cut": cut} if cut or "cut" in found else found


def next_night(now: datetime) -> datetime:
    """Three o'clock (UTC) of the next night and a few minutes, so that not all accounts are read at once."""
    night = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    night += timedelta(days=0 if night > now else 1)
    return night + timedelta(minutes=random.randrange(SPREAD_MINUTES))


# --- Checking mappings -----------------------------------------------------------------------------------------------


def check_mappings(connection: Connection) -> None:
    """Notes on each mapping of the connection what no longer fits the account."""
    lists = lists_of(connection.pk)
    if not lists:
        return
    for mapping in Mapping.objects.filter(connection=connection).only("settings"):
        found = DESTINATIONS[connection.kind].misfits(mapping.settings, lists)
        Mapping.objects.filter(pk=mapping.pk, settings=mapping.settings).update(warnings=found, checked_at=Now())


def check(mapping: Mapping) -> None:
    """Puts into an unsaved mapping what does not fit, as far as the account's lists are known."""
    lists = lists_of(mapping.connection_id)
    mapping.warnings = DESTINATIONS[mapping.connection.kind].misfits(mapping.settings, lists) if lists else []
    mapping.checked_at = Now() if lists else None
