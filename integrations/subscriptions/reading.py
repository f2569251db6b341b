"""One walk over Khoros' list of a subscription's events: pages read, what is unknown handed to intake.

Nothing about the list is documented, so nothing is trusted. Where its order was observed, a regular walk begins at the
newest end and goes on until a whole page was known before the previous walk began, or was read by it: what lies behind
that, the previous walk has read. Otherwise pages are read until they bring nothing unseen, and the beginning again
until it stays the same. A call that fails for a moment is repeated in its place; a walk that could not be finished goes
on where it stopped. Memory holds one page and the keys seen.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from integrations.companies import company_client
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database, store_with_retries
from integrations.infra.http.failure import Failure
from integrations.intake import KnownSubscription, StoredPage, WalkPeriod, store_fetched
from integrations.models import CatchUp, Company, Subscription
from integrations.sources.khoros.client import KhorosClient, TooMuchAtOnce
from integrations.sources.khoros.envelope import Envelope
from integrations.sources.khoros.pull import Order, pulled

log = structlog.get_logger(__name__)

PAGE_SIZE = 100
CALL_SECONDS = 45.0
# Extended with every page; a walk that died is taken over after this long.
CLAIM_SECONDS = 180
MOST_PAGES = 20_000
MOST_PASSES = 8
# Where the order is not known, this many pages in a row without anything unseen end the reading.
PAGES_WITHOUT_NEWS = 3
# A page may be as small as one event, which alone would prove little.
LEAST_KNOWN_EVENTS = 20
REPEAT_AFTER = (0.5, 2.0, 8.0, 20.0)
# A longer wait frees the worker: the walk goes on at the next run.
LONGEST_WAIT_SECONDS = 60.0
STORE_AGAIN_AFTER = (1.0, 3.0, 10.0, 30.0, 60.0)
GAP = (
    "All of the {count} newest events were new, so Casebridge read on until it came to events that it knew. Nothing is "
    "missing. If this happens often, Khoros' calls do not arrive: check the subscription's public address."
)
GAP_WITHOUT_END = (
    "All of the {count} newest events were new, and the list ended before any event that was known: events in between "
    "may be gone from Khoros' list. Compare with Khoros Marketing, and fetch more often (CATCH_UP_SECONDS)."
)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Where an earlier walk stopped, between when it read, and the order it had observed."""

    position: int
    time: WalkPeriod
    order: str


@dataclass
class Walk:
    """One run: reads pages, stores each in one statement, and learns the list's order.

    `last`: between when the last finished walk read; None where there was none.
    """

    subscription: Subscription
    run: CatchUp
    last: WalkPeriod | None = None
    unfinished: Unfinished | None = None
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
        is_recent = self.run.mode == CatchUp.Mode.RECENT
        if is_recent and self.subscription.catch_up_order != "newest":
            self._read_end(uuid)
        elif self.unfinished is not None:
            self._go_on(uuid, self.unfinished)
        elif is_recent:
            self._read_newest(uuid, self.last)
        else:
            self._read_until_stable(uuid)

    def _go_on(self, uuid: str, unfinished: Unfinished) -> None:
        """From where the earlier walk stopped, then what came after it began; a page more, as the list moves."""
        start = max(0, unfinished.position - self.page_size)
        if self.run.mode == CatchUp.Mode.RECENT:
            self._read_newest(uuid, self.last, start)
            self._read_newest(uuid, unfinished.time)
        elif unfinished.order == "oldest":
            self._read_back_and_on(uuid, start, unfinished.time)
        elif not self._read_pages(uuid, start) and start:
            # The list is shorter than it was: the position is worth nothing.
            self._read_until_stable(uuid)
        elif unfinished.order == "newest":
            self._read_newest(uuid, unfinished.time)
        else:
            self._read_until_stable(uuid)

    def _read_newest(self, uuid: str, earlier: WalkPeriod | None, start: int = 0) -> None:
        """Newest first: until a whole page was known to an earlier walk, which has read whatever lies behind.

        Events that arrive meanwhile push what was read back to where it is read again: such a page says nothing.
        """
        offset, known, is_gap = start, 0, False
        before: set[int] = set()
        repeated = 0
        while True:
            page = self._read_page(uuid, offset)
            same = {_fingerprint(event) for event in page}
            repeated, before = (repeated + 1 if same == before else 0), same
            if not page or repeated == PAGES_WITHOUT_NEWS:
                self.message = GAP_WITHOUT_END.format(count=offset) if is_gap and self._has_earlier(earlier) else ""
                return
            stored = self._take(page, earlier, offset + len(page))
            if offset == 0 and stored.new == stored.events >= LEAST_KNOWN_EVENTS:
                is_gap = True
                # Where events are only fetched, a page of new ones is no news.
                self.message = GAP.format(count=len(page)) if self.subscription.is_pushed else ""
                log.warning("gap in what was received", subscription_id=self.subscription.pk, events=len(page))
            offset += len(page)
            if stored.events:
                known = known + stored.events if stored.were_all_known else 0
            if known >= LEAST_KNOWN_EVENTS:
                return

    def _has_earlier(self, earlier: WalkPeriod | None) -> bool:
        if earlier is None:
            return False
        return self.subscription.notifications.filter(received_at__lt=earlier.began).exists()

    def _read_end(self, uuid: str) -> None:
        """Oldest first: from the end that was known last."""
        self._read_back_and_on(uuid, max(0, self.subscription.catch_up_end - self.page_size), self.last)

    def _read_back_and_on(self, uuid: str, start: int, earlier: WalkPeriod | None) -> None:
        """Oldest first: back to a whole page that the earlier walk knew, then on to the end.

        Old events may have fallen off the list, so a place of then may be in the middle of what is new.
        """
        step = self.page_size
        while start > 0:
            page = self._read_page(uuid, start)
            if page and self._take(page, earlier, start).were_all_known:
                break
            step *= 2
            start = max(0, start - step)
        self._read_pages(uuid, start)

    def _read_until_stable(self, uuid: str) -> None:
        """Passes from the beginning until the first page stays as it was: lists may grow, or shrink by reading."""
        for _ in range(MOST_PASSES):
            first = self._read_pages(uuid, 0)
            if not first or self._first_page(uuid) == first:
                return
            self.order.begin_again()

    def _first_page(self, uuid: str) -> set[int]:
        """Stored like any other page: what was read may be gone from the list."""
        page = self._read_page(uuid, 0)
        self._take(page, None, 0)
        return {_fingerprint(event) for event in page}

    def _read_pages(self, uuid: str, start: int) -> set[int]:
        """Reads from an offset on, to the end of what is unseen. Returns the fingerprints of the first page."""
        first: set[int] = set()
        offset, pages_without_news = start, 0
        while pages_without_news < PAGES_WITHOUT_NEWS:
            page = self._read_page(uuid, offset)
            if not page:
                self.end = offset
                break
            self.order.saw(event.happened_at for event in page)
            first = first or {_fingerprint(event) for event in page}
            offset += len(page)
            stored = self._take(page, None, offset)
            pages_without_news = 0 if stored.events else pages_without_news + 1
        return first

    # --- One page ---

    def _read_page(self, uuid: str, offset: int) -> list[Envelope]:
        """Repeats a call that failed for a moment. Raises Failure when it goes on failing."""
        self.pages += 1
        if self.pages > MOST_PAGES:
            raise Failure(f"Khoros' list of events does not end after {MOST_PAGES} pages.")
        for seconds in REPEAT_AFTER:
            try:
                return self._call(uuid, offset)
            except Failure as failure:
                wait = max(seconds, failure.retry_after or 0.0)
                if not _may_pass(failure) or wait > LONGEST_WAIT_SECONDS:
                    raise
                log.info("page of events not read, repeating", offset=offset, seconds=wait, error=failure.message)
                self._keep_claim()
                time.sleep(wait)
        return self._call(uuid, offset)

    def _call(self, uuid: str, offset: int) -> list[Envelope]:
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

    def _keep_claim(self) -> None:
        claimed = Subscription.objects.filter(pk=self.subscription.pk, catching_up_until__isnull=False)
        claimed.update(catching_up_until=seconds_from_now(CLAIM_SECONDS))
        release_database()

    def _take(self, page: list[Envelope], earlier: WalkPeriod | None, position: int) -> StoredPage:
        """Stores what this walk has not seen yet; `position` is where it goes on after this page."""
        unseen = {fingerprint: event for event in page if (fingerprint := _fingerprint(event)) not in self.seen}
        self.seen |= unseen.keys()
        if not unseen:
            return StoredPage(0, 0, 0)
        self.run.position = position
        self.run.order = self.order.direction or self.subscription.catch_up_order
        return self._store(unseen.values(), earlier)

    def _store(self, envelopes: Iterable[Envelope], earlier: WalkPeriod | None) -> StoredPage:
        """What a comparison stores waits to be fetched.

        A database outage of a moment costs no page: Khoros may not send it again.
        """
        known = KnownSubscription(self.subscription.pk, self.subscription.is_active, ())
        waits, page = self.run.mode == CatchUp.Mode.COMPARE, list(envelopes)
        return store_with_retries(
            lambda: store_fetched(known, page, self.run, CLAIM_SECONDS, earlier=earlier, waits=waits),
            STORE_AGAIN_AFTER,
            within=CLAIM_SECONDS,
        )


def _fingerprint(envelope: Envelope) -> int:
    return hash(envelope.event_key)


def _may_pass(failure: Failure) -> bool:
    """Whether a repetition may succeed: a limit, a gateway, a broken connection."""
    return not failure.permanent and (failure.is_transport or failure.status is None or failure.status >= 429)
