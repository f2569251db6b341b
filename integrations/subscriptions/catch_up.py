"""Catching up: reads Khoros' list of a feed's events and hands intake what never arrived.

Runs in a worker: regularly for feeds that fetch, when a worker starts after a while without one, and by button. One
run per feed at a time. Nothing about the list is documented, so nothing is trusted: pages are read until they bring
nothing new, the beginning is read again until it stays the same, and a stored position only ever shortens the reading
of a list whose order was seen; once a day everything is read. Memory holds one page and the keys seen.
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
# Extended with every page; a run that died is taken up again after this long.
CLAIM_SECONDS = 180
MOST_PAGES = 20_000
MOST_PASSES = 8
# So many pages in a row without anything unseen (or unknown, where the order is known) end the reading.
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
    """Feeds whose turn has come: those that fetch by themselves, and those that somebody asked for."""
    asked = Exists(CatchUp.objects.filter(subscription=OuterRef("pk"), state=CatchUp.State.WAITING))
    by_itself = Q(is_active=True) & ~Q(receives_by=Subscription.Receives.PUSH) & ~Q(khoros_uuid="")
    nobody_runs = Q(catching_up_until__isnull=True) | Q(catching_up_until__lte=Now())
    return Q(next_catch_up_at__lte=Now()) & nobody_runs & (by_itself | Q(asked))


def request_catch_up(subscription: Subscription, mode: CatchUp.Mode, by: str) -> CatchUp:
    """Asks for a run as soon as a worker is free; one that already waits in the same mode is that run."""
    there = CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING, mode=mode).first()
    run = there or CatchUp.objects.create(subscription=subscription, mode=mode, requested_by=by[:150])
    Subscription.objects.filter(pk=subscription.pk).update(next_catch_up_at=Now())
    return run


def run_catch_up(subscription_id: int) -> None:
    """Makes the run that is due for a feed, if one is and nobody else makes it. Safe to repeat."""
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
        log.exception("the list of events could not be read")
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
    asked = (
        CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING).order_by("started_at").first()
    )
    run = asked or CatchUp(subscription=subscription, mode=_mode_for(subscription))
    run.state, run.started_at, run.progressed_at = CatchUp.State.RUNNING, database_clock.now(), database_clock.now()
    run.save()
    return run


def _mode_for(subscription: Subscription) -> CatchUp.Mode:
    """Everything at first, after a time without runs or with failing ones, once a day, and where no order was seen."""
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
    """One run: reads pages, stores or compares each in one statement, and learns the list's order."""

    subscription: Subscription
    run: CatchUp
    order: Order = field(default_factory=Order)
    seen: set[int] = field(default_factory=set)
    page_size: int = PAGE_SIZE
    pages: int = 0
    end: int = 0
    message: str = ""

    def carry_out(self) -> None:
        """Raises Failure, NoToken, UnreadableSecret; what was stored until then stays."""
        if self.subscription.company.api_version == Company.ApiVersion.V1:
            raise Failure("Version 1 of the Khoros API has no list of events.", permanent=True)
        if not self.subscription.khoros_uuid:
            raise Failure(
                "The subscription is not registered at Khoros, so there is no list of events to read.", permanent=True
            )
        for older in self._older_ones():
            self._read_older(older)
        self.order.begin_again()
        self._read(self.subscription.khoros_uuid)

    def _older_ones(self) -> list[str]:
        noted = self.subscription.replaces if isinstance(self.subscription.replaces, dict) else {}
        return [uuid for uuid in noted.get("uuids", ()) if uuid != self.subscription.khoros_uuid]

    def _read_older(self, uuid: str) -> None:
        """One that is being replaced may hold events that the new one never had; it may also be gone."""
        try:
            self._read_until_still(uuid)
        except Failure as failure:
            if failure.status != 404:
                raise

    def _read(self, uuid: str) -> None:
        if self.run.mode != CatchUp.Mode.RECENT:
            self._read_until_still(uuid)
        elif self.subscription.catch_up_order == "newest":
            self._read_pages(uuid, 0, stop_when_known=True)
        else:
            self._read_the_end(uuid)

    def _read_the_end(self, uuid: str) -> None:
        start = max(0, self.subscription.catch_up_end - WINDOW_PAGES * PAGE_SIZE)
        first = self._read_pages(uuid, start)
        if not first and start:
            # The list is shorter than it was: what we know of its end is worth nothing.
            self._read_until_still(uuid)

    def _read_until_still(self, uuid: str) -> None:
        """Passes from the beginning until the first page stays as it was: lists may grow, or shrink by reading."""
        for _ in range(MOST_PASSES):
            first = self._read_pages(uuid, 0)
            if not first or self._first_page(uuid) == first:
                return
            self.order.begin_again()

    def _first_page(self, uuid: str) -> set[int]:
        """Kept like any other: what is read may be gone from the list."""
        page = {_fingerprint(event): event for event in self._ask_for(uuid, 0)}
        if unseen := page.keys() - self.seen:
            self._keep([page[mark] for mark in unseen])
            self.seen |= unseen
        return set(page)

    def _read_pages(self, uuid: str, start: int, *, stop_when_known: bool = False) -> set[int]:
        """Reads from an offset on, to the end of what is new. Returns the fingerprints of the first page."""
        first: set[int] = set()
        offset, without_news = start, 0
        while without_news < WINDOW_PAGES:
            page = self._ask_for(uuid, offset)
            if not page:
                self.end = offset
                break
            self.order.saw(event.happened_at for event in page)
            marks = [_fingerprint(event) for event in page]
            first = first or set(marks)
            unseen = {mark: event for mark, event in zip(marks, page, strict=True) if mark not in self.seen}
            self.seen |= unseen.keys()
            offset += len(page)
            kept = self._keep(unseen.values()) if unseen else 0
            is_news = kept > 0 if stop_when_known else bool(unseen)
            without_news = 0 if is_news else without_news + 1
        return first

    def _ask_for(self, uuid: str, offset: int) -> list[Envelope]:
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
        """A new line for each call: each has a deadline of its own."""
        return company_client(self.subscription.company, CALL_SECONDS, self.subscription.bearer_token.reveal())

    def _keep(self, envelopes: Iterable[Envelope]) -> int:
        """Stores what is unknown and returns how much that was. A comparison stores it too, but lets it wait.

        A database that is away for a moment costs no page: Khoros may not tell it again.
        """
        feed = KnownSubscription(self.subscription.pk, self.subscription.is_active, ())
        waits, page = self.run.mode == CatchUp.Mode.COMPARE, list(envelopes)
        for seconds in STORE_AGAIN_AFTER:
            try:
                return receive_batch(feed, page, self.run.pk, CLAIM_SECONDS, waits=waits)
            except OperationalError as error:
                log.warning("a page could not be stored; it is tried again", error=str(error))
                release_database()
                time.sleep(seconds)
        return receive_batch(feed, page, self.run.pk, CLAIM_SECONDS, waits=waits)


def _fingerprint(envelope: Envelope) -> int:
    return hash(envelope.event_key)


def was_read_since(subscription: Subscription, moment: datetime) -> bool:
    """Whether a run that began after the moment has read all there is, older subscriptions of the feed included.

    Where Khoros' list could never be read (it may not be offered at all), a run that failed tells as much.
    """
    runs = subscription.catch_ups.exclude(mode=CatchUp.Mode.COMPARE)
    since = runs.filter(started_at__gte=moment)
    if since.filter(state=CatchUp.State.DONE).exists():
        return True
    was_ever_read = runs.filter(state=CatchUp.State.DONE).exists()
    return not was_ever_read and since.filter(state=CatchUp.State.FAILED).exists()


def _end(reading: Reading, state: CatchUp.State, message: str) -> None:
    """Writes down how the run ended, what it learned, and when the next one is due."""
    subscription, run = reading.subscription, reading.run
    if not _finish(run, state, message):
        # Another worker took over, as our claim had run out: the feed is its own now.
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
        # An older subscription at Khoros may have waited for this, to be retired.
        Subscription.objects.filter(pk=subscription.pk, replaced_at__isnull=False).update(next_check_at=Now())
        publish(CHECK_SUBSCRIPTION, subscription.pk)
    log.info("caught up", subscription_id=subscription.pk, state=state, pages=reading.pages)


def _route_what_was_missing(subscription: Subscription) -> None:
    """Where events are fetched anyway, what a comparison found does not wait for a person: the sweep routes it."""
    if subscription.is_fetched and subscription.is_active:
        missed = Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED)
        missed.update(state=Notification.State.RECEIVED, queued_until=None)


def _learned(reading: Reading) -> dict[str, Any]:
    found: dict[str, Any] = {"catch_up_end": reading.end}
    if reading.run.mode == CatchUp.Mode.WHOLE:
        found |= {"read_whole_at": Now(), "catch_up_order": reading.order.word}
    return found


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
    """Regular runs that brought nothing are not worth keeping for longer than a week."""
    idle = CatchUp.objects.filter(
        requested_by="", new=0, unreadable=0, started_at__lt=database_clock.now() - timedelta(days=7)
    )
    idle.exclude(state=CatchUp.State.RUNNING).delete()
