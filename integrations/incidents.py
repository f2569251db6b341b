"""A flood on one label, held under one incident ticket once a person has said yes, and released without loss.

Holding keeps what waits, and what is routed meanwhile, as "held": nothing is sent of it. Releasing lets all of it go in
the order it came in, behind what is live by then. Each post keeps its own delivery all the time.
"""

from dataclasses import dataclass
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from integrations import receipts, surge
from integrations.database_pool import release_database
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.http import Failure, NotItsTurn
from integrations.lines import Turns, ask, line_to
from integrations.models import Connection, Delivery, Incident, Mapping
from integrations.queueing import MOST_CALLS, call_workers

log = structlog.get_logger(__name__)

State = Delivery.State
# So many waiting on one mapping are a flood, where the limit does not say what can be cleared.
FLOOD_POSTS = 500
FEWEST_POSTS = 50
FLOOD_MINUTES = 5
MOST_COUNTED = 20_000
CALL_SECONDS = 15.0


class NotHeld(Exception):
    """Nothing was held; the text says why. `may_exist`: the incident's ticket may have been made all the same."""

    def __init__(self, words: str, *, may_exist: bool = False) -> None:
        super().__init__(words)
        self.may_exist = may_exist


@dataclass(frozen=True, slots=True)
class Flood:
    mapping: Mapping
    waiting: int

    @property
    def words(self) -> str:
        label = self.mapping.subscription.listens_to
        return (
            f"{label}: {self.waiting:,} posts wait for their tickets in “{self.mapping.name}”. If they are about one "
            "thing, hold them under one incident ticket (on the mapping's page); otherwise they go as fast as the "
            "limit allows."
        )


def waiting_on(mapping_id: int) -> int:
    live = Delivery.objects.filter(mapping=mapping_id, state=State.PENDING, lane=Delivery.Lane.LIVE)
    return live.filter(next_attempt_at__lte=Now())[:MOST_COUNTED].count()


def floods() -> list[Flood]:
    """Mappings on which more waits than the limit clears in five minutes, and no incident is open."""
    found = []
    mappings = Mapping.objects.filter(is_active=True, connection__is_active=True).select_related(
        "subscription", "connection"
    )
    for mapping in with_open_incident(mappings):
        rate = surge.usual_rate(mapping.connection)
        threshold = max(FEWEST_POSTS, rate * FLOOD_MINUTES) if rate else FLOOD_POSTS
        if open_incident_of(mapping) is None and (waiting := waiting_on(mapping.pk)) > threshold:
            found.append(Flood(mapping, waiting))
    return found


# --- Holding ---------------------------------------------------------------------------------------------------------


def with_open_incident(mappings: QuerySet[Mapping]) -> QuerySet[Mapping]:
    """The mappings in their order, each knowing its open incident (see `open_incident_of`)."""
    open_one = Incident.objects.filter(mapping=OuterRef("pk"), ended_at__isnull=True).values("pk")[:1]
    return mappings.annotate(open_incident_id=Subquery(open_one)).order_by("pk")


def open_incident_of(mapping: Mapping) -> int | None:
    found: int | None = getattr(mapping, "open_incident_id", None)
    return found


def hold_new(delivery: Delivery, mapping: Mapping) -> None:
    """An unsaved delivery of a mapping whose flood is held waits with the others."""
    incident_id = open_incident_of(mapping)
    if incident_id is not None:
        delivery.state, delivery.incident_id, delivery.next_attempt_at = State.HELD, incident_id, None


def hold(mapping: Mapping, uuid: str, title: str, text: str, by: str) -> Incident:
    """Makes the incident's ticket and holds what waits. Pressing twice makes one ticket. Raises NotHeld."""
    if Incident.objects.filter(mapping=mapping, ended_at__isnull=True).exists():
        raise NotHeld("An incident is open on this mapping already.")
    number, url = _make_ticket(mapping, uuid, title, text)
    try:
        with transaction.atomic():
            incident = Incident.objects.create(
                mapping=mapping, uuid=uuid, opened_by=by, ticket_number=number, ticket_url=url
            )
            held = _hold_waiting(incident)
    except IntegrityError:
        raise NotHeld("An incident was opened on this mapping at the same moment.") from None
    log.warning("flood held", mapping_id=mapping.pk, incident_id=incident.pk, held=held, by=by)
    return incident


def _hold_waiting(incident: Incident) -> int:
    """What no try may have made a ticket of yet. What is being sent goes on."""
    waiting = Delivery.objects.filter(
        mapping=incident.mapping_id, state=State.PENDING, is_uncertain=False, look_up_next=False, action="create"
    )
    return waiting.update(state=State.HELD, incident=incident, next_attempt_at=None)


def _make_ticket(mapping: Mapping, uuid: str, title: str, text: str) -> tuple[str, str]:
    connection = mapping.connection
    if not Connection.objects.filter(Connection.open_now(), pk=connection.pk).exists():
        raise NotHeld(f"The connection “{connection}” is paused or switched off: resume it first.")
    destination = DESTINATIONS[connection.kind]
    external_id = f"khoros:incident:{uuid}"
    request = destination.build_incident(mapping.settings, title, text, external_id)
    line = line_to(connection, CALL_SECONDS, Turns(connection.pk, CALL_SECONDS / 3))
    outgoing = Outgoing(request, external_id, f"casebridge-incident-{uuid}")

    def send(signed_in: Credentials) -> Receipt:
        return receipts.kept(destination.send(line, outgoing, signed_in), destination.title)

    release_database()
    try:
        receipt = ask(connection, destination, line, send)
    except NotItsTurn:
        raise NotHeld("The request limit leaves no room for the incident's ticket just now. Try again.") from None
    except Failure as failure:
        detail = line.without_secrets(failure.detail)
        what = "Nothing is held" if failure.was_done else "The incident's ticket could not be made"
        words = f"{what}: {failure.told} {detail}".strip()
        raise NotHeld(words, may_exist=failure.is_uncertain) from None
    return receipt.number, receipt.url


# --- Releasing -------------------------------------------------------------------------------------------------------


def release(incident: Incident, by: str) -> int:
    """A ticket for each post after all, in the order they came in, behind what is live. Returns how many."""
    with transaction.atomic():
        ended = Incident.objects.filter(pk=incident.pk, ended_at__isnull=True)
        ended.update(ended_at=Now(), ended_by=by, ending="released")
        released = let_go()
    call_workers(incident.mapping.connection_id, count=MOST_CALLS)
    log.info("flood released", incident_id=incident.pk, released=released, by=by)
    return released


def let_go() -> int:
    """What is held under an incident that is over goes on; also what was routed at the very moment of its end."""
    held: dict[str, Any] = {"state": State.HELD, "incident__ended_at__isnull": False}
    ids = Delivery.objects.filter(**held).values("pk")
    return Delivery.objects.filter(pk__in=ids, state=State.HELD).update(
        state=State.PENDING, lane=Delivery.Lane.BULK, next_attempt_at=Now()
    )
