"""A flood on one label, held under one ticket at a person's request, and released without loss.

Holding sets waiting deliveries, and those routed meanwhile, to "held": none of them is sent. Releasing sends all of
them in their original order, behind what is live by then. Each post keeps its own delivery throughout.
"""

from dataclasses import dataclass
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from integrations.connections import Session
from integrations.delivery import checked_receipt
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import HoldsFloods
from integrations.flow import usual_rate
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import REPORT_IT, defect_text
from integrations.infra.wakes import MOST_WAKES, wake_workers
from integrations.models import Connection, Delivery, FloodHold, Mapping

log = structlog.get_logger(__name__)

State = Delivery.State
# This many waiting on one mapping are a flood, where no limit says what can be cleared.
FLOOD_POSTS = 500
FEWEST_POSTS = 50
FLOOD_MINUTES = 5
CALL_SECONDS = 15.0


class NotHeld(Exception):
    """Nothing was held; the text says why. `may_exist`: the flood's ticket may have been created all the same."""

    def __init__(self, message: str, *, may_exist: bool = False) -> None:
        super().__init__(message)
        self.may_exist = may_exist


@dataclass(frozen=True, slots=True)
class Flood:
    mapping: Mapping
    waiting: int

    @property
    def message(self) -> str:
        label, thing = self.mapping.subscription.listens_to, DESTINATIONS[self.mapping.connection.kind].thing
        return (
            f"{label}: {self.waiting:,} posts are waiting to become {thing}s in “{self.mapping.name}”. If they are all "
            f"about the same thing, press “Hold this flood under one {thing}” on the mapping's page. Otherwise they "
            "are sent as fast as the rate limit allows."
        )


def find_floods() -> list[Flood]:
    """Mappings on which more waits than the limit clears in five minutes, and that have no open hold."""
    floods = []
    kinds = [kind for kind, destination in DESTINATIONS.items() if isinstance(destination, HoldsFloods)]
    used = Mapping.objects.filter(is_active=True, connection__is_active=True, connection__kind__in=kinds)
    mappings = used.select_related("subscription", "connection")
    for mapping in FloodHold.with_open(mappings):
        if FloodHold.open_on(mapping) is not None:
            continue
        rate = usual_rate(mapping.connection)
        threshold = max(FEWEST_POSTS, rate * FLOOD_MINUTES) if rate else FLOOD_POSTS
        waiting = Delivery.objects.filter(mapping=mapping).count_live()
        if waiting > threshold:
            floods.append(Flood(mapping, waiting))
    return floods


# --- Holding ---------------------------------------------------------------------------------------------------------


def hold_flood(mapping: Mapping, uuid: str, title: str, text: str, by: str) -> FloodHold:
    """Creates the flood's ticket and holds what waits. Pressing twice creates one ticket. Raises NotHeld."""
    if FloodHold.objects.filter(mapping=mapping, ended_at__isnull=True).exists():
        raise NotHeld("This mapping already has a flood hold.")
    number, url = _make_ticket(mapping, uuid, title, text)
    try:
        with transaction.atomic():
            flood_hold = FloodHold.objects.create(mapping=mapping, uuid=uuid, opened_by=by, number=number, url=url)
            held = _hold_waiting(flood_hold)
    except IntegrityError:
        raise NotHeld("Someone else just started a flood hold on this mapping.") from None
    log.warning("flood held", mapping_id=mapping.pk, flood_hold_id=flood_hold.pk, held=held, by=by)
    return flood_hold


def _hold_waiting(flood_hold: FloodHold) -> int:
    """Holds what cannot have become a ticket yet. What is being sent continues."""
    waiting = Delivery.objects.filter(
        mapping=flood_hold.mapping_id, state=State.PENDING, is_uncertain=False, look_up_next=False, action="create"
    )
    return waiting.hold(flood_hold)


def _make_ticket(mapping: Mapping, uuid: str, title: str, text: str) -> tuple[str, str]:
    connection = mapping.connection
    if not Connection.objects.filter(Connection.open_now(), pk=connection.pk).exists():
        raise NotHeld(f"The connection “{connection}” is paused or off. Resume it first.")
    session = Session.limited(connection, seconds=CALL_SECONDS, permit_wait=CALL_SECONDS / 3)
    destination, external_id = session.destination, f"khoros:flood:{uuid}"
    if not isinstance(destination, HoldsFloods):
        raise NotHeld(f"{destination.title} cannot hold a flood.")
    request = destination.build_for_flood(mapping.settings, title, text, external_id)
    outgoing = Outgoing(request, external_id, f"casebridge-flood-{uuid}")

    def send(credentials: Credentials) -> Receipt:
        return checked_receipt(destination.send(session.client, outgoing, credentials), destination.title)

    try:
        receipt = session.ask(send)
    except NoPermit:
        raise NotHeld(
            "The ticket cannot be created right now because of the rate limit. Try again in a minute."
        ) from None
    except Failure as failure:
        what = "No posts are held" if failure.was_done else "The ticket could not be created"
        message = f"{what}: {session.without_secrets(failure.text(' '))}"
        raise NotHeld(message, may_exist=failure.is_uncertain) from None
    except Exception as error:
        log.exception("flood's ticket failed", mapping_id=mapping.pk)
        raise NotHeld(f"{defect_text('Creating the ticket', error)} {REPORT_IT}", may_exist=True) from None
    return receipt.number, receipt.url


# --- Releasing -------------------------------------------------------------------------------------------------------


def release_flood(flood_hold: FloodHold, by: str) -> int:
    """Ends the hold: a ticket for each post after all, in order, behind what is live. Returns how many."""
    with transaction.atomic():
        ended = FloodHold.objects.filter(pk=flood_hold.pk, ended_at__isnull=True)
        ended.update(ended_at=Now(), ended_by=by)
        released = release_leftovers()
    wake_workers(flood_hold.mapping.connection_id, count=MOST_WAKES)
    log.info("flood released", flood_hold_id=flood_hold.pk, released=released, by=by)
    return released


def release_leftovers() -> int:
    """Schedules what is held under an ended hold, including what was routed at the very moment it ended."""
    held: dict[str, Any] = {"state": State.HELD, "flood_hold__ended_at__isnull": False}
    ids = Delivery.objects.filter(**held).values("pk")
    return Delivery.objects.filter(pk__in=ids, state=State.HELD).schedule(priority=Delivery.Priority.BULK)
