"""Many posts within a minute on one mapping become one message that counts them, without anybody being asked.

Each post keeps its delivery, which waits for the burst's message and is delivered with it. The message is a delivery
too, the burst's *report*: pending while posts come in, its text written anew for each, so that what is sent counts them
all. Once it is sent, the next report follows: an update, as long as posts come; and one that says that it is over, when
they no longer come too fast. Where a message cannot be updated, there is none between the first and the last.

A burst is *closed* when it takes no more posts, and *ended* when its last report was sent. Locks are taken in one
order, burst before report: by routing, which adds posts, and by recording, which ends reports.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from integrations.delivery.additions import Addition, store_addition
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import BurstNews, CountedPost, CountsBursts
from integrations.domain.post import Post
from integrations.infra.database_clock import now, seconds_from_now
from integrations.infra.text import shortened, storable
from integrations.installation import NoPublicAddress, public_url
from integrations.mapping import rules_of
from integrations.models import Burst, Delivery, DeliveryContent, Mapping
from integrations.models.deliveries import NO_PROBLEM

log = structlog.get_logger(__name__)

Action, State = Delivery.Action, Delivery.State
WINDOW_SECONDS = 60
# After so long without a post, the next one is none of this burst's.
QUIET_SECONDS = 60
# A message that is updated more often than this tells nobody more.
UPDATE_SECONDS = 15
MOST_LATEST = 5
LONGEST_AUTHOR, LONGEST_TEXT = 60, 120
TO_BE_COUNTED = "To be counted in one message with others, as more than {} posts came within a minute."
COUNTED = "Counted in one message with others, as too many posts came within a minute."
WAITS_AGAIN = "To be counted in one message with others."
NOT_COUNTED = "Not sent: the message that would have counted it was cancelled."
MENDS = "Fix the cause, then press “Rebuild” here: its posts are counted then."


# --- Routing: what joins a burst -------------------------------------------------------------------------------------


def burst_for(mapping: Mapping, posts: Sequence[Post], occasion: str) -> Burst | None:
    """The burst that these posts join, locked: the open one, or a new one if they are too many. In a transaction."""
    most = rules_of(mapping).gathers_over
    if not most or not posts or not isinstance(DESTINATIONS[mapping.connection.kind], CountsBursts):
        return None
    ids = [post.post_id for post in posts]
    new = len(ids) - Delivery.objects.filter(mapping=mapping, post_id__in=ids, occasion=occasion).count()
    if not new:
        return None
    are_too_many = _posts_of_the_last_minute(mapping) + new > most
    open_one = _open_burst(mapping)
    if open_one is not None and are_too_many and open_one.last_post_at > _seconds_ago(QUIET_SECONDS):
        return open_one
    if open_one is not None:
        _close(open_one)
    if not are_too_many:
        return None
    Burst.objects.bulk_create([Burst(mapping=mapping, connection=mapping.connection)], ignore_conflicts=True)
    log.warning("burst begins", mapping_id=mapping.pk)
    return _open_burst(mapping)


def _seconds_ago(seconds: float) -> datetime:
    return now() - timedelta(seconds=seconds)


def _open_burst(mapping: Mapping) -> Burst | None:
    """Locked. One whose message was cancelled takes no more posts."""
    burst = _bursts().filter(mapping=mapping, closed_at__isnull=True).first()
    if burst is None or burst.report is None or burst.report.state != State.CANCELLED:
        return burst
    burst.closed_at = now()
    burst.save()
    return None


def _bursts() -> Any:
    rows = Burst.objects.select_for_update(of=("self",))
    return rows.select_related("mapping__connection", "mapping__subscription", "report")


def _posts_of_the_last_minute(mapping: Mapping) -> int:
    lately = Delivery.objects.filter(mapping=mapping, created_at__gt=seconds_from_now(-WINDOW_SECONDS))
    besides = Q(occasion__startswith=Delivery.BURST) | Q(occasion__startswith=Delivery.SOLVED)
    return lately.exclude(besides).exclude(state=State.CANCELLED).order_by().count()


def join_burst(delivery: Delivery, burst: Burst) -> None:
    """An unsaved delivery waits to be counted by the burst's report; `count_posts` does so once it is stored."""
    if burst.report_id is None:
        _new_report(burst, delivery)
    delivery.burst = burst
    delivery.state, delivery.is_rendered, delivery.next_attempt_at = State.WAITING, False, None
    delivery.is_prepared, delivery.case_key = True, ""
    delivery.decision = TO_BE_COUNTED.format(rules_of(delivery.mapping).gathers_over)


def count_posts(burst: Burst, posts: dict[int, Post]) -> None:
    """Adds stored deliveries to the burst, by id with their posts. Its report counts them, else the next one will."""
    report = _locked_report(burst)
    if not posts:
        if burst.count == 0:
            # Another notification with the same posts was quicker.
            Delivery.objects.filter(pk=report.pk).cancel()
            _end(burst)
        return
    # Counted by adding: of thousands of posts, each would count all the others.
    burst.count += len(posts)
    burst.last_post_at = now()
    newest = [_latest(post) for post in list(posts.values())[-MOST_LATEST:]]
    burst.latest = (burst.latest + newest)[-MOST_LATEST:]
    if report.state in (State.PENDING, State.FAILED):
        _write(burst, report, up_to=max(posts), is_over=burst.told_at is not None and not _can_update(burst))
    burst.save()


def _latest(post: Post) -> dict[str, str]:
    return {
        "author": shortened(post.author_text, LONGEST_AUTHOR),
        "text": shortened(post.title or post.text, LONGEST_TEXT),
        "link": post.link[:2000],
    }


def _close(burst: Burst) -> None:
    """It takes no more posts. What is still to be sent says that it is over, and need not wait for that."""
    burst.closed_at = now()
    report = _locked_report(burst)
    if report.state in (State.PENDING, State.FAILED):
        _write(burst, report, up_to=burst.counted_up_to, is_over=True)
    burst.save()


def _locked_report(burst: Burst) -> Delivery:
    """The present report: claims skip what is locked, so its text changes before it is sent or not at all."""
    return Delivery.objects.select_for_update().get(pk=burst.report_id or 0)


# --- Reports ---------------------------------------------------------------------------------------------------------


def _can_update(burst: Burst) -> bool:
    """Whether the message that stands there can be updated by the mapping's connection as it is today."""
    connection = burst.mapping.connection
    destination = DESTINATIONS[connection.kind]
    is_there = burst.connection_id == connection.pk
    return is_there and isinstance(destination, CountsBursts) and destination.can_update(connection.settings)


def _new_report(burst: Burst, like: Delivery) -> None:
    """A delivery of its own beside `like`, one of the mapping's. It is still to be written."""
    is_update = bool(burst.number) and _can_update(burst)
    occasion = f"{Delivery.BURST}{burst.pk}-{burst.reports}"
    destination = DESTINATIONS[burst.mapping.connection.kind]
    addition = Addition(
        occasion,
        Action.UPDATE if is_update else Action.CREATE,
        burst.number if is_update else "",
        destination.external_id(like.post_id, str(burst.mapping.uuid), occasion),
        "{}",
        "Counts the posts of a burst." if burst.reports == 0 else "Counts the posts of a burst further.",
    )
    burst.report_id = store_addition(like, addition)
    Delivery.objects.filter(pk=burst.report_id).update(connection=burst.mapping.connection)
    burst.reports += 1


def _write(burst: Burst, report: Delivery, *, up_to: int, is_over: bool) -> None:
    """The report's text: all posts so far, which are those up to this delivery. It is sent when that is due.

    One that was tried already keeps the time of its next try.
    """
    burst.counted_up_to, burst.says_over = up_to, is_over
    row = Delivery.objects.filter(pk=report.pk)
    try:
        DeliveryContent.store_request(report.pk, _request(burst, report), "")
    except Exception as error:
        # Whatever is wrong with the message must not cost the notification's other deliveries.
        log.exception("burst cannot be told", burst_id=burst.pk)
        message = storable(f"The message that counts a burst could not be written: {error}")
        row.fail(last_error=f"{message} {MENDS}", cause=message[:250], remedy=MENDS, remedy_at="mapping")
        return
    if report.state == State.PENDING and report.attempt_count == 0:
        row.update(next_attempt_at=_due(burst))


def _request(burst: Burst, report: Delivery) -> str:
    destination = DESTINATIONS[burst.mapping.connection.kind]
    if not isinstance(destination, CountsBursts):
        raise TypeError(f"{destination.title} counts no bursts. Cancel it, or move the mapping back.")
    external_id = DeliveryContent.objects.values_list("external_id", flat=True).get(pk=report.pk)
    return destination.build_burst(_news(burst), burst.mapping.settings, external_id)


def _news(burst: Burst) -> BurstNews:
    return BurstNews(
        count=burst.count,
        listens_to=burst.mapping.subscription.listens_to,
        began_at=burst.began_at,
        last_at=burst.last_post_at,
        is_over=burst.says_over,
        is_updated=_can_update(burst),
        latest=tuple(CountedPost(**post) for post in burst.latest),
        address=_address_of(burst),
        mapping_uuid=str(burst.mapping.uuid),
    )


def _address_of(burst: Burst) -> str:
    """The burst's posts in the log; empty where the portal does not know its own address."""
    path = reverse("admin:integrations_delivery_changelist")
    try:
        return f"{public_url()}{path}?burst__id__exact={burst.pk}"
    except NoPublicAddress:
        return ""


def _due(burst: Burst) -> datetime:
    if burst.told_at is None or burst.closed_at is not None:
        return now()
    if burst.says_over:
        return burst.last_post_at + timedelta(seconds=QUIET_SECONDS)
    return max(now(), burst.told_at + timedelta(seconds=UPDATE_SECONDS))


# --- Recording: what a report that was sent means --------------------------------------------------------------------


def lock_burst(report: Delivery) -> Burst | None:
    """The burst that this delivery reports on. In the transaction that records it, before the report's own row."""
    if not report.counts_a_burst:
        return None
    burst: Burst | None = _bursts().filter(report=report.pk).first()
    return burst


def record_report(burst: Burst, report_id: int) -> None:
    """Delivers the posts that it counts, and has the next report follow, unless it said that the burst is over."""
    report = Delivery.objects.select_related("remote_object", "content__post").get(pk=report_id)
    waiting = Delivery.objects.filter(burst=burst, state=State.WAITING)
    waiting.filter(pk__lte=burst.counted_up_to).deliver_with(report, COUNTED)
    late = list(waiting.order_by("pk").values_list("pk", flat=True))
    burst.told_at, burst.number, burst.connection_id = now(), report.number, report.connection_id
    if burst.says_over and not late:
        _end(burst)
    else:
        _new_report(burst, report)
        goes_on = bool(late) and _can_update(burst) and burst.closed_at is None
        _write(burst, _locked_report(burst), up_to=late[-1] if late else burst.counted_up_to, is_over=not goes_on)
        burst.save()
    log.info("burst told", burst_id=burst.pk, count=burst.count, is_over=burst.ended_at is not None)


def _end(burst: Burst) -> None:
    """Nothing more is told of it; what it kept of posts is no longer needed."""
    burst.closed_at = burst.closed_at or now()
    burst.ended_at, burst.latest = now(), []
    burst.save()


# --- What staff do with a report -------------------------------------------------------------------------------------


def resend_report(report_id: int, priority: int, *, anew: bool) -> str:
    """Makes a failed or cancelled report due, with the posts that wait for it. Returns why it was not, or nothing.

    `anew`: written with today's mapping, as a message of its own, so that one that cannot be updated is replaced.
    """
    with transaction.atomic():
        burst = _bursts().filter(report=report_id).first()
        row = Delivery.objects.filter(pk=report_id)
        report = row.select_for_update().first()
        if burst is None or report is None:
            return "a later message counts these posts"
        if report.state not in (State.FAILED, State.CANCELLED):
            return "it is sent by itself when it is due"
        _restore_posts(burst)
        burst.count = _count(burst)
        may_stand_twice = int(report.is_uncertain and report.action != Action.UPDATE)
        own = {"action": Action.CREATE, "target_number": "", "connection": burst.mapping.connection} if anew else {}
        row.schedule(tries=0, unknown_outcomes=may_stand_twice, priority=priority, **NO_PROBLEM, **own)
        if anew:
            burst.number = ""
            _write(burst, row.get(), up_to=burst.counted_up_to, is_over=burst.says_over)
        burst.ended_at = None
        burst.save()
    return ""


def recount(burst_ids: set[int]) -> None:
    """Staff took posts out of these bursts: what is still to be sent counts without them."""
    for burst_id in sorted(burst_ids):
        with transaction.atomic():
            burst = _bursts().filter(pk=burst_id, ended_at__isnull=True).first()
            if burst is None:
                continue
            report = _locked_report(burst)
            burst.count = _count(burst)
            if report.state in (State.PENDING, State.FAILED):
                _write(burst, report, up_to=burst.counted_up_to, is_over=burst.says_over)
            burst.save()


def _count(burst: Burst) -> int:
    """Without those that staff cancelled, or had sent by themselves."""
    return Delivery.objects.filter(burst=burst, state__in=[State.WAITING, State.DELIVERED]).count()


def _restore_posts(burst: Burst) -> None:
    """Those that the sweep cancelled with it; not those that staff did."""
    cancelled = Delivery.objects.filter(burst=burst, state=State.CANCELLED, decision=NOT_COUNTED)
    cancelled.wait(decision=WAITS_AGAIN)


def cancel_uncounted() -> int:
    """For the sweep: what waits for a message that staff cancelled, or that said already that it was over."""
    done = Q(burst__report__state=State.CANCELLED) | Q(burst__ended_at__isnull=False)
    ids = list(Delivery.objects.filter(done, state=State.WAITING).values_list("pk", flat=True))
    rows = Delivery.objects.filter(pk__in=ids, state=State.WAITING)
    rows.update(decision=NOT_COUNTED)
    return rows.cancel()
