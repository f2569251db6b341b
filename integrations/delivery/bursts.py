"""Many posts within a minute on one mapping become one message that counts them, without anybody being asked.

Each post keeps its delivery, which waits for the message's and is delivered with it. The message is a delivery too, the
burst's *report*: pending while posts come in, its text written anew for each, so that what is sent counts them all.
Once it is sent, the next report follows: an update, as long as posts come; and one that says that it is over, when a
minute passed without any. Where a message cannot be updated, there is no report between the first and the last.

Locks are taken in one order, burst before report: by routing, which adds posts, and by recording, which ends reports.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from integrations.delivery.additions import Addition, store_addition
from integrations.delivery.content import store_request
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import BurstNews, CountedPost, CountsBursts
from integrations.domain.post import Post
from integrations.infra.database_clock import now, seconds_from_now
from integrations.infra.text import shortened
from integrations.installation import NoPublicAddress, public_url
from integrations.mapping import rules_of
from integrations.models import Burst, Delivery, DeliveryContent, Mapping
from integrations.models.deliveries import NO_PROBLEM

log = structlog.get_logger(__name__)

State = Delivery.State
WINDOW_SECONDS = 60
QUIET_SECONDS = 60
# A message that is updated more often than this tells nobody more.
UPDATE_SECONDS = 15
MOST_LATEST = 5
LONGEST_AUTHOR, LONGEST_TEXT = 60, 120
COUNTED = "Counted in one message with others, as more than {} posts came within a minute."
NOT_COUNTED = "Not sent: the message that would have counted it was cancelled."


# --- Routing: what joins a burst -------------------------------------------------------------------------------------


def burst_for(mapping: Mapping, posts: Sequence[Post], occasion: str) -> Burst | None:
    """The burst that these posts join, locked: the open one, or a new one if they are too many. In a transaction."""
    most = rules_of(mapping).gathers_over
    if not most or not isinstance(DESTINATIONS[mapping.connection.kind], CountsBursts):
        return None
    ids = [post.post_id for post in posts]
    known = Delivery.objects.filter(mapping=mapping, post_id__in=ids, occasion=occasion).count()
    if known == len(ids):
        return None
    open_one = _locked(mapping)
    if open_one is not None or _posts_of_the_last_minute(mapping) + len(ids) - known <= most:
        return open_one
    Burst.objects.bulk_create([Burst(mapping=mapping)], ignore_conflicts=True)
    log.warning("burst begins", mapping_id=mapping.pk)
    return _locked(mapping)


def _locked(mapping: Mapping) -> Burst | None:
    rows = Burst.objects.select_for_update(of=("self",)).select_related("mapping__connection", "mapping__subscription")
    return rows.filter(mapping=mapping, ended_at__isnull=True).first()


def _posts_of_the_last_minute(mapping: Mapping) -> int:
    lately = Delivery.objects.filter(mapping=mapping, created_at__gt=seconds_from_now(-WINDOW_SECONDS))
    of_posts = ~Q(occasion__startswith=Delivery.BURST) & ~Q(occasion__startswith=Delivery.SOLVED)
    return lately.filter(of_posts, action__in=["create", "append"]).order_by().count()


def join_burst(delivery: Delivery, burst: Burst) -> None:
    """An unsaved delivery waits to be counted by the burst's report; `count_posts` does so once it is stored."""
    if burst.report_id is None:
        _new_report(burst, delivery)
    delivery.follows_id = burst.report_id
    delivery.state, delivery.is_rendered, delivery.next_attempt_at = State.WAITING, False, None
    delivery.is_prepared, delivery.case_key = True, ""
    delivery.decision = COUNTED.format(rules_of(delivery.mapping).gathers_over)


def count_posts(burst: Burst, posts: dict[int, Post]) -> None:
    """Adds stored deliveries to the burst, by id with their posts. Its report counts them, else the next one will."""
    report = _locked_report(burst)
    if not posts:
        if burst.count == 0:
            # Another notification with the same posts was quicker.
            Delivery.objects.filter(pk=report.pk).cancel()
            _end(burst)
        return
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


def _locked_report(burst: Burst) -> Delivery:
    """The present report: claims skip what is locked, so its text changes before it is sent or not at all."""
    return Delivery.objects.select_for_update().get(pk=burst.report_id or 0)


# --- Reports ---------------------------------------------------------------------------------------------------------


def _destination(burst: Burst) -> CountsBursts:
    destination = DESTINATIONS[burst.mapping.connection.kind]
    if not isinstance(destination, CountsBursts):
        raise TypeError(f"{destination.title} counts no bursts.")
    return destination


def _can_update(burst: Burst) -> bool:
    return _destination(burst).can_update(burst.mapping.connection.settings)


def _new_report(burst: Burst, like: Delivery) -> Delivery:
    """A delivery of its own beside `like`, one of the mapping's. It is still to be written."""
    is_update = bool(burst.number) and _can_update(burst)
    occasion = f"{Delivery.BURST}{burst.pk}-{burst.reports}"
    external_id = DESTINATIONS[burst.mapping.connection.kind].external_id(
        like.post_id, str(burst.mapping.uuid), occasion
    )
    burst.report_id = store_addition(
        like,
        Addition(
            occasion,
            Delivery.Action.UPDATE if is_update else Delivery.Action.CREATE,
            burst.number if is_update else "",
            external_id,
            "{}",
            "Counts the posts of a burst." if burst.reports == 0 else "Counts the posts of a burst further.",
        ),
    )
    burst.reports += 1
    return Delivery.objects.get(pk=burst.report_id)


def _write(burst: Burst, report: Delivery, *, up_to: int, is_over: bool) -> None:
    """The report's text: all posts so far, which are those up to this delivery. It is sent when that is due."""
    burst.counted_up_to, burst.says_over = up_to, is_over
    external_id = DeliveryContent.objects.values_list("external_id", flat=True).get(pk=report.pk)
    request = _destination(burst).build_burst(_news(burst), burst.mapping.settings, external_id)
    store_request(report.pk, request, "")
    if report.state == State.PENDING:
        Delivery.objects.filter(pk=report.pk).update(next_attempt_at=_due(burst), connection=burst.mapping.connection)


def _news(burst: Burst) -> BurstNews:
    return BurstNews(
        count=burst.count,
        listens_to=burst.mapping.subscription.listens_to,
        began_at=burst.began_at,
        last_at=burst.last_post_at,
        is_over=burst.says_over,
        latest=tuple(CountedPost(**post) for post in burst.latest),
        address=_address_of(burst.mapping),
    )


def _address_of(mapping: Mapping) -> str:
    """The mapping's deliveries in the log; empty where the portal does not know its own address."""
    path = reverse("admin:integrations_delivery_changelist")
    try:
        return f"{public_url()}{path}?mapping__id__exact={mapping.pk}"
    except NoPublicAddress:
        return ""


def _due(burst: Burst) -> datetime:
    if burst.told_at is None:
        return now()
    if burst.says_over:
        return burst.last_post_at + timedelta(seconds=QUIET_SECONDS)
    return max(now(), burst.told_at + timedelta(seconds=UPDATE_SECONDS))


# --- Recording: what a report that was sent means --------------------------------------------------------------------


def lock_burst(report: Delivery) -> Burst | None:
    """The burst that this delivery reports on. In the transaction that records it, before the report's own row."""
    if not report.counts_a_burst:
        return None
    rows = Burst.objects.select_for_update(of=("self",)).select_related("mapping__connection", "mapping__subscription")
    return rows.filter(report=report.pk).first()


def record_report(burst: Burst, report_id: int) -> None:
    """Delivers the posts that it counts, and has the next report follow, unless it said that the burst is over."""
    report = Delivery.objects.select_related("remote_object", "content__post").get(pk=report_id)
    waiting = Delivery.objects.filter(follows=report, state=State.WAITING)
    waiting.filter(pk__lte=burst.counted_up_to).deliver_with(report)
    late = list(waiting.order_by("pk").values_list("pk", flat=True))
    burst.told_at, burst.number = now(), burst.number or report.number
    if burst.says_over and not late:
        burst.ended_at = now()
    else:
        following, goes_on = _new_report(burst, report), bool(late) and _can_update(burst)
        _write(burst, following, up_to=late[-1] if late else burst.counted_up_to, is_over=not goes_on)
        Delivery.objects.filter(pk__in=late).update(follows=following)
    burst.save()
    log.info("burst told", burst_id=burst.pk, count=burst.count, is_over=burst.ended_at is not None)


# --- What staff do with a report -------------------------------------------------------------------------------------


def rewrite_report(report_id: int, priority: int) -> bool:
    """Writes a report with today's mapping and makes it due. False where it is sent, being sent, or another's turn."""
    with transaction.atomic():
        rows = Burst.objects.select_for_update(of=("self",)).select_related("mapping__connection")
        burst = rows.filter(report=report_id).first()
        report = Delivery.objects.filter(pk=report_id).changeable()
        if burst is None or not report.schedule(tries=0, priority=priority, **NO_PROBLEM):
            return False
        _write(burst, report.get(), up_to=burst.counted_up_to, is_over=burst.says_over)
        report.update(next_attempt_at=Now())
        burst.save()
    return True


def end_cancelled_bursts() -> int:
    """For the sweep: where staff cancelled the report, the posts that it would have counted are cancelled too."""
    cancelled = Burst.objects.filter(ended_at__isnull=True, report__state=State.CANCELLED)
    for burst_id in list(cancelled.values_list("pk", flat=True)):
        with transaction.atomic():
            burst = cancelled.select_for_update(of=("self",)).filter(pk=burst_id).first()
            if burst is not None:
                _end(burst)
    return len(cancelled)


def _end(burst: Burst) -> None:
    waiting = Delivery.objects.filter(follows=burst.report_id, state=State.WAITING)
    waiting.update(decision=NOT_COUNTED)
    waiting.cancel()
    burst.ended_at = now()
    burst.save()
