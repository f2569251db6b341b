"""Calls of an account's webhook about its tickets: verify, store once, answer; apply later.

Promised: nothing is stored for a stranger, who does not learn which part was wrong; what is answered with an id is in
the database; a repeat is only counted; updates are applied once, and none are lost because our own record of the ticket
was slower than the call about it.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from django.db import connection as database
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import StatusUpdate, TellsStatus
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.known_addresses import KnownAddresses, Looks
from integrations.infra.queue import APPLY_TICKET_EVENT, publish
from integrations.infra.text import article, storable
from integrations.infra.webhook import Stored
from integrations.models import Connection, TicketEvent
from integrations.outcomes.status import record_update, update_text

log = structlog.get_logger(__name__)

LONGEST_KEY = 120
CALL_RECORDED_EVERY_SECONDS = 60
# An event this young is still on its way from its call to the queue.
APPLIED_WITHIN_SECONDS = 2
# How long our own record of a ticket may lag behind the webhook's call about it.
RECORDED_WITHIN_SECONDS = 600
# A time further in the future cannot be true, and would outrank every later event.
AHEAD_AT_MOST = timedelta(minutes=10)
MOST_AT_ONCE = 500
KEPT_SECONDS = 30 * 86400
DELETED_AT_ONCE = 1000
MOST_BATCHES = 20


@dataclass(frozen=True, slots=True)
class Source:
    """The connection whose account called, and the destination that reads its calls."""

    connection_id: int
    destination: TellsStatus


# --- The call --------------------------------------------------------------------------------------------------------


def authenticate(address: str, headers: Mapping[str, str], body: bytes) -> Source | None:
    """The connection whose signing secret the call was signed with, else None.

    "Now" is the account's: the database's clock plus how far the account's is known to be ahead. Raises
    UnreadableSecret when the stored secret cannot be read with the present key.
    """
    connection = _connection_at(address)
    destination = DESTINATIONS.get(connection.kind) if connection else None
    if connection is None or not isinstance(destination, TellsStatus):
        return None
    now = connection.now + timedelta(seconds=connection.clock_skew_seconds)
    why_not = destination.verify_webhook(connection.webhook_secret.reveal(), headers, body, now)
    if why_not:
        log.warning("ticket event refused", connection_id=connection.pk, reason=why_not)
        return None
    return Source(connection.pk, destination)


def _all_addresses() -> list[uuid.UUID]:
    return list(Connection.objects.order_by().values_list("uuid", flat=True))


_addresses = KnownAddresses(_all_addresses, Looks())


def _connection_at(address: str) -> Connection | None:
    try:
        connection_uuid = uuid.UUID(address)
    except ValueError:
        return None
    if not _addresses.may_exist(connection_uuid):
        return None
    rows = Connection.objects.filter(uuid=connection_uuid).order_by().annotate(now=Now())
    connection = rows.only("kind", "webhook_secret", "clock_skew_seconds").first()
    if connection is not None:
        _addresses.note(connection_uuid)
    return connection


# Stored or counted in one statement: xmax is 0 in a row that this statement inserted. Runs in autocommit, so the row is
# durable when it returns.
STORE = """
INSERT INTO integrations_ticketevent (connection_id, event_id, kind, ticket_number, body, repeats, message)
VALUES (%s, %s, %s, %s, %s, 0, '')
ON CONFLICT ON CONSTRAINT ticket_event_stored_once
DO UPDATE SET repeats = integrations_ticketevent.repeats + 1
RETURNING id, xmax <> 0
"""


def receive(source: Source, headers: Mapping[str, str], body: bytes) -> Stored:
    """Stores an authenticated call and queues it to be applied. Raises django.db.Error when it cannot be stored."""
    event_id, kind, update = source.destination.read_event(body)
    key = event_id or source.destination.event_key(headers) or f"sha256:{hashlib.sha256(body).hexdigest()}"
    values = (source.connection_id, _short(key), storable(kind), update.number if update else "", body)
    with database.cursor() as cursor:
        cursor.execute(STORE, values)
        stored = Stored(*cursor.fetchone())
    _record_call(source.connection_id)
    if not stored.is_repeat:
        transaction.on_commit(lambda: publish(APPLY_TICKET_EVENT, stored.id), robust=True)
    return stored


def _short(key: str) -> str:
    key = storable(key)
    return key if len(key) <= LONGEST_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _record_call(connection_id: int) -> None:
    """Records that the webhook is alive, at most once a minute."""
    not_lately = Q(webhook_called_at__isnull=True) | Q(
        webhook_called_at__lte=seconds_from_now(-CALL_RECORDED_EVERY_SECONDS)
    )
    Connection.objects.filter(not_lately, pk=connection_id).update(webhook_called_at=Now())


# --- Applying --------------------------------------------------------------------------------------------------------


def apply_event(event_id: int) -> None:
    """Applies the event's update to its deliveries. Safe to repeat, and in any order."""
    young = Q(received_at__gt=seconds_from_now(-RECORDED_WITHIN_SECONDS))
    rows = TicketEvent.objects.filter(pk=event_id, applied_at__isnull=True).select_related("connection")
    event = rows.annotate(is_young=young).first()
    if event is None:
        return
    message = _apply(event)
    if message:
        TicketEvent.objects.filter(pk=event.pk).update(applied_at=Now(), message=message)


def _apply(event: TicketEvent) -> str:
    """A sentence on what was done; empty when it has to wait for our own record of the ticket."""
    destination = DESTINATIONS.get(event.connection.kind)
    if not isinstance(destination, TellsStatus):
        return "Ignored: the connection is now of a different kind."
    thing = destination.thing
    _, _, update = destination.read_event(bytes(event.body))
    if update is None:
        return f"Ignored: not about {article(thing)} {thing}."
    changed = record_update(event.connection_id, _believable(event, update))
    if changed:
        return f"{thing.capitalize()} {update.number}: {update_text(update)}."
    if update.is_ours is False:
        return f"Ignored: {thing} {update.number} was not created by Casebridge."
    if event.is_young:
        return ""
    return f"Ignored: no delivery became {thing} {update.number}."


def _believable(event: TicketEvent, update: StatusUpdate) -> StatusUpdate:
    latest = event.received_at + timedelta(seconds=event.connection.clock_skew_seconds) + AHEAD_AT_MOST
    if update.changed_at is None or update.changed_at <= latest:
        return update
    return replace(update, changed_at=None, ordered_at=None)


def events_to_apply() -> list[int]:
    """Events whose queue message was lost, or that wait for our own record."""
    waiting = TicketEvent.objects.filter(applied_at__isnull=True)
    waiting = waiting.filter(received_at__lte=seconds_from_now(-APPLIED_WITHIN_SECONDS)).order_by("received_at")
    return list(waiting.values_list("pk", flat=True)[:MOST_AT_ONCE])


def forget_old_events() -> None:
    """Deletes what was received more than 30 days ago, the oldest first and few at a time."""
    for _ in range(MOST_BATCHES):
        oldest = TicketEvent.objects.order_by("pk").values("pk")[:DELETED_AT_ONCE]
        old = TicketEvent.objects.filter(pk__in=oldest, received_at__lt=seconds_from_now(-KEPT_SECONDS))
        if old.delete()[0] < DELETED_AT_ONCE:
            return


def latest_events(connection: Connection, count: int) -> list[TicketEvent]:
    """For the connection's page, the newest first."""
    return list(connection.ticket_events.order_by("-pk").defer("body")[:count])
