"""Catching up: reads Khoros' list of a subscription's events and hands intake what never arrived.

Runs in a worker: regularly for subscriptions that fetch, after a time without workers, and by button. One run per
subscription at a time. Nothing about the list is documented, so nothing is trusted: pages are read until they bring
nothing new, the beginning is read again until it stays the same, and a stored position only shortens the reading of a
list whose order was observed; once a day everything is read. Memory holds one page and the keys seen.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import OperationalError
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from integrations.companies import NoToken, company_client
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.failure import Failure
from integrations.infra.queue import CHECK_SUBSCRIPTION, publish
from integrations.infra.text import storable
from integrations.intake import KnownSubscription, receive_batch
from integrations.models import CatchUp, Company, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.sources.khoros.client import KhorosClient, TooMuchAtOnce
from integrations.sources.khoros.envelope import Envelope
from integrations.sources.khoros.pull import Order, pulled
from integrations.subscriptions.due import longest_due

log = structlog.get_logger(__name__)

PAGE_SIZE = 100
CALL_SECONDS = 45.0
# Extended with every page; a run that died is taken over after this long.
CLAIM_SECONDS = 180
MOST_PAGES = 20_000
MOST_PASSES = 8
# This many pages in a row without anything unseen (or unknown, where the order is known) end the reading.
WINDOW_PAGES = 3
STORE_AGAIN_AFTER = (1.0, 3.0, 10.0, 30.0, 60.0)
WHOLE_EVERY = timedelta(days=1)
DOWNTIME = timedelta(hours=1)
LONGEST_WAIT_SECONDS = 3600


def to_catch_up() -> list[int]:
    """The longest due first, and few at a time."""
    return longest_due(catch_ups_due(), "next_catch_up_at", "catching_up_until")


def is_due(subscription_id: int) -> bool:
    return Subscription.objects.filter(catch_ups_due(), pk=subscription_id).exists()


def catch_ups_due() -> Q:
    """Subscriptions that are due: those that fetch regularly, and those that somebody requested."""
    is_requested = Exists(CatchUp.objects.filter(subscription=OuterRef("pk"), state=CatchUp.State.WAITING))
    is_regular = Q(is_active=True) & ~Q(receives_by=Subscription.Receives.PUSH) & ~Q(khoros_uuid="")
    is_unclaimed = Q(catching_up_until__isnull=True) | Q(catching_up_until__lte=Now())
    return Q(next_catch_up_at__lte=Now()) & is_unclaimed & (is_regular | Q(is_requested))


def request_catch_up(subscription: Subscription, mode: CatchUp.Mode, by: str) -> CatchUp:
    """Requests a run as soon as a worker is free; one already waiting in the same mode is reused."""
    waiting = CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING, mode=mode).first()
    run = waiting or CatchUp.objects.create(subscription=subscription, mode=mode, requested_by=by[:150])
    Subscription.objects.filter(pk=subscription.pk).update(next_catch_up_at=Now())
    return run


def run_catch_up(subscription_id: int) -> None:
    """Carries out the run that is due for a subscription, if there is one and nobody else has it. Safe to repeat."""
    subscription = _claim(subscription_id)
    if subscription is None:
        return
    run = _next_run(subscription)
    reading = Reading(subscription, run)
    try:
        reading.carry_out()
    except Failure as failure:
        _end(reading, CatchUp.State.FAILED, f"{failure.message} {failure.detail}".strip())
        return
    except (NoToken, UnreadableSecret) as error:
        _end(reading, CatchUp.State.FAILED, str(error))
        return
    except Exception as error:
        # A defect of ours is shown and counted like any other failure.
        log.exception("catch-up failed")
        message = (
            f"Reading the events failed because of an error in Casebridge ({type(error).__name__}). Report this to "
            "whoever runs it."
        )
        _end(reading, CatchUp.State.FAILED, message)
        return
    _end(reading, CatchUp.State.DONE, reading.message)


def _claim(subscription_id: int) -> Subscription | None:
    chosen = Subscription.objects.filter(catch_ups_due(), pk=subscription_id)
    if not chosen.update(catching_up_until=seconds_from_now(CLAIM_SECONDS)):
        return None
    died = CatchUp.objects.filter(subscription=subscription_id, state=CatchUp.State.RUNNING)
    died.update(
        state=CatchUp.State.FAILED,
        finished_at=Now(),
        message="Interrupted: the process stopped. Events stored before that are kept.",
    )
    return Subscription.objects.select_related("company").defer(*without_lists("company__")).get(pk=subscription_id)


def _next_run(subscription: Subscription) -> CatchUp:
    requested = (
        CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING).order_by("started_at").first()
    )
    run = requested or CatchUp(subscription=subscription, mode=_mode_for(subscription))
    run.state, run.started_at, run.progressed_at = CatchUp.State.RUNNING, database_clock.now(), database_clock.now()
    run.save()
    return run


def _mode_for(subscription: Subscription) -> CatchUp.Mode:
    """Everything at first, after a time without successful runs, once a day, and where no order was observed."""
    last = (
        CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.DONE)
        .exclude(mode=CatchUp.Mode.COMPARE)
        .first()
    )
    now = database_clock.now()
    was_down = last is None or last.progressed_at < now - DOWNTIME or subscription.failed_catch_ups > 0
    read_whole = subscription.read_whole_at
    if was_down or not subscription.catch_up_order or read_whole is None or read_whole < now - WHOLE_EVERY:
        return CatchUp.Mode.WHOLE
    return CatchUp.Mode.RECENT


@dataclass
class Reading:
    """One run: reads pages, stores each in one statement, and learns the list's order."""

    subscription: Subscription
    run: CatchUp
    order: Order = field(default_factory=Order)
    seen: set[int] = field(default_factory=set)
    page_size: int = PAGE_SIZE
    pages: int = 0
    end: int = 0
    message: str = ""

    def carry_out(self) -> None:
        """Raises Failure, NoToken, UnreadableSecret; what was stored by then stays."""
        if self.subscription.company.api_version == Company.ApiVersion.V1:
            raise Failure("Version 1 of the Khoros API has no list of events.", permanent=True)
        if not self.subscription.khoros_uuid:
            raise Failure(
                "The subscription is not registered at Khoros, so there is no list of events to read.", permanent=True
            )
        for replaced in self._replaced_uuids():
            self._read_replaced(replaced)
        self.order.begin_again()
        self._read(self.subscription.khoros_uuid)

    def _replaced_uuids(self) -> list[str]:
        replaces = self.subscription.replaces if isinstance(self.subscription.replaces, dict) else {}
        return [uuid for uuid in replaces.get("uuids", ()) if uuid != self.subscription.khoros_uuid]

    def _read_replaced(self, uuid: str) -> None:
        """A subscription that is being replaced may hold events that the new one never had; it may also be gone."""
        try:
            self._read_until_stable(uuid)
        except Failure as failure:
            if failure.status != 404:
                raise

    def _read(self, uuid: str) -> None:
        if self.run.mode != CatchUp.Mode.RECENT:
            self._read_until_stable(uuid)
        elif self.subscription.catch_up_order == "newest":
            self._read_pages(uuid, 0, stop_when_known=True)
        else:
            self._read_end(uuid)

    def _read_end(self, uuid: str) -> None:
        start = max(0, self.subscription.catch_up_end - WINDOW_PAGES * PAGE_SIZE)
        first = self._read_pages(uuid, start)
        if not first and start:
            # The list is shorter than it was: the stored position is worth nothing.
            self._read_until_stable(uuid)

    def _read_until_stable(self, uuid: str) -> None:
        """Passes from the beginning until the first page stays as it was: lists may grow, or shrink by reading."""
        for _ in range(MOST_PASSES):
            first = self._read_pages(uuid, 0)
            if not first or self._first_page(uuid) == first:
                return
            self.order.begin_again()

    def _first_page(self, uuid: str) -> set[int]:
        """Stored like any other page: what was read may be gone from the list."""
        page = {_fingerprint(event): event for event in self._read_page(uuid, 0)}
        if unseen := page.keys() - self.seen:
            self._store([page[fingerprint] for fingerprint in unseen])
            self.seen |= unseen
        return set(page)

    def _read_pages(self, uuid: str, start: int, *, stop_when_known: bool = False) -> set[int]:
        """Reads from an offset on, to the end of what is new. Returns the fingerprints of the first page."""
        first: set[int] = set()
        offset, pages_without_news = start, 0
        while pages_without_news < WINDOW_PAGES:
            page = self._read_page(uuid, offset)
            if not page:
                self.end = offset
                break
            self.order.saw(event.happened_at for event in page)
            fingerprints = [_fingerprint(event) for event in page]
            first = first or set(fingerprints)
            unseen = {
                fingerprint: event
                for fingerprint, event in zip(fingerprints, page, strict=True)
                if fingerprint not in self.seen
            }
            self.seen |= unseen.keys()
            offset += len(page)
            stored = self._store(unseen.values()) if unseen else 0
            is_news = stored > 0 if stop_when_known else bool(unseen)
            pages_without_news = 0 if is_news else pages_without_news + 1
        return first

    def _read_page(self, uuid: str, offset: int) -> list[Envelope]:
        self.pages += 1
        if self.pages > MOST_PAGES:
            raise Failure(f"Khoros' list of events does not end after {MOST_PAGES} pages.")
        release_database()
        while True:
            try:
                rows = self._client().events(uuid, offset, self.page_size)
            except TooMuchAtOnce:
                if self.page_size == 1:
                    raise
                self.page_size = max(1, self.page_size // 10)
                continue
            return [pulled(row, self.subscription.event_name) for row in rows]

    def _client(self) -> KhorosClient:
        """A new client for each call: each has a deadline of its own."""
        return company_client(self.subscription.company, CALL_SECONDS, self.subscription.bearer_token.reveal())

    def _store(self, envelopes: Iterable[Envelope]) -> int:
        """Stores what is unknown and returns how much that was. What a comparison stores waits to be fetched.

        A database outage of a moment costs no page: Khoros may not send it again.
        """
        known = KnownSubscription(self.subscription.pk, self.subscription.is_active, ())
        waits, page = self.run.mode == CatchUp.Mode.COMPARE, list(envelopes)
        for seconds in STORE_AGAIN_AFTER:
            try:
                return receive_batch(known, page, self.run.pk, CLAIM_SECONDS, waits=waits)
            except OperationalError as error:
                log.warning("page not stored, retrying", error=str(error))
                release_database()
                time.sleep(seconds)
        return receive_batch(known, page, self.run.pk, CLAIM_SECONDS, waits=waits)


def _fingerprint(envelope: Envelope) -> int:
    return hash(envelope.event_key)


def was_read_since(subscription: Subscription, moment: datetime) -> bool:
    """Whether a run that began after the moment has read everything, the subscriptions being replaced included.

    Where Khoros' list could never be read (it may not be offered at all), a failed run counts as well.
    """
    runs = subscription.catch_ups.exclude(mode=CatchUp.Mode.COMPARE)
    since = runs.filter(started_at__gte=moment)
    if since.filter(state=CatchUp.State.DONE).exists():
        return True
    was_ever_read = runs.filter(state=CatchUp.State.DONE).exists()
    return not was_ever_read and since.filter(state=CatchUp.State.FAILED).exists()


def _end(reading: Reading, state: CatchUp.State, message: str) -> None:
    """Records how the run ended, what it learned, and when the next one is due."""
    subscription, run = reading.subscription, reading.run
    if not _finish(run, state, message):
        # Another worker took over after our claim ran out.
        return
    failures = subscription.failed_catch_ups + 1 if state == CatchUp.State.FAILED else 0
    columns: dict[str, Any] = {"failed_catch_ups": failures, "catching_up_until": None}
    if state == CatchUp.State.DONE and run.mode != CatchUp.Mode.COMPARE:
        columns |= _learned(reading)
        _route_what_was_missing(subscription)
    Subscription.objects.filter(pk=subscription.pk).update(next_catch_up_at=_next(subscription, failures), **columns)
    if CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING).exists():
        Subscription.objects.filter(pk=subscription.pk).update(next_catch_up_at=Now())
    if subscription.replaced_at is not None and was_read_since(subscription, run.started_at):
        # A replaced subscription at Khoros may have waited for this before it is retired.
        Subscription.objects.filter(pk=subscription.pk, replaced_at__isnull=False).update(next_check_at=Now())
        publish(CHECK_SUBSCRIPTION, subscription.pk)
    log.info("catch-up finished", subscription_id=subscription.pk, state=state, pages=reading.pages)


def _route_what_was_missing(subscription: Subscription) -> None:
    """Where events are fetched anyway, what a comparison found need not wait for a person: the sweep routes it."""
    if subscription.is_fetched and subscription.is_active:
        missed = Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED)
        missed.update(state=Notification.State.RECEIVED, queued_until=None)


def _learned(reading: Reading) -> dict[str, Any]:
    columns: dict[str, Any] = {"catch_up_end": reading.end}
    if reading.run.mode == CatchUp.Mode.WHOLE:
        columns |= {"read_whole_at": Now(), "catch_up_order": reading.order.direction}
    return columns


def _finish(run: CatchUp, state: CatchUp.State, message: str) -> bool:
    ours = CatchUp.objects.filter(pk=run.pk, state=CatchUp.State.RUNNING)
    return bool(ours.update(state=state, finished_at=Now(), progressed_at=Now(), message=storable(message)))


def _next(subscription: Subscription, failures: int) -> Any:
    if not subscription.is_fetched:
        return None
    pulls = subscription.receives_by == Subscription.Receives.PULL
    seconds = settings.PULL_SECONDS if pulls else settings.CATCH_UP_SECONDS
    return seconds_from_now(min(seconds * 2 ** min(failures, 10), max(LONGEST_WAIT_SECONDS, seconds)))


def forget_idle_runs() -> None:
    """Deletes regular runs of more than a week ago that brought nothing."""
    idle = CatchUp.objects.filter(
        requested_by="", new=0, unreadable=0, started_at__lt=database_clock.now() - timedelta(days=7)
    )
    idle.exclude(state=CatchUp.State.RUNNING).delete()
