"""Catching up: when Khoros' list of a subscription's events is read, by whom, and what came of it.

Runs in a worker: regularly for subscriptions that fetch, after a time without workers, and by button. One run per
subscription at a time; how the list is walked over is in `reading`. Once a day everything is read.
"""

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from integrations.companies import NoToken
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.failure import Failure
from integrations.infra.queue import CHECK_SUBSCRIPTION, publish
from integrations.infra.text import REPORT_IT, defect_text, storable
from integrations.intake import WalkPeriod
from integrations.models import CatchUp, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.subscriptions.due import longest_due
from integrations.subscriptions.reading import CLAIM_SECONDS, Unfinished, Walk

log = structlog.get_logger(__name__)

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
    walk = _next_walk(subscription)
    try:
        walk.carry_out()
    except Failure as failure:
        message = failure.text(" ", with_remedy=False)
        _end(walk, CatchUp.State.FAILED, message, retry_after=failure.retry_after or 0.0)
        if failure.status == 404:
            _check_at_once(subscription)
        return
    except (NoToken, UnreadableSecret) as error:
        _end(walk, CatchUp.State.FAILED, str(error))
        return
    except Exception as error:
        # A defect of ours is shown and counted like any other failure.
        log.exception("catch-up failed")
        _end(walk, CatchUp.State.FAILED, f"{defect_text('Reading the events', error)} {REPORT_IT}")
        return
    _end(walk, CatchUp.State.DONE, walk.message)


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


def _next_walk(subscription: Subscription) -> Walk:
    finished, stopped = _last_finished(subscription), _stopped(subscription)
    run = _next_run(subscription)
    walk = Walk(subscription, run, last=_period_of(finished) if finished else None)
    if stopped is not None and run.mode != CatchUp.Mode.COMPARE:
        run.mode, run.walk_began_at = stopped.mode, stopped.walk_began_at
        # Should this run stop at its first call, the next one goes on from here all the same.
        run.position, run.order = stopped.position, stopped.order
        run.save(update_fields=["mode", "walk_began_at", "position", "order"])
        walk.unfinished = Unfinished(stopped.position, _period_of(stopped), stopped.order)
    return walk


def _period_of(run: CatchUp) -> WalkPeriod:
    return WalkPeriod(run.walk_began_at, run.progressed_at)


def _last_finished(subscription: Subscription) -> CatchUp | None:
    done = CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.DONE)
    return done.exclude(mode=CatchUp.Mode.COMPARE).first()


def _stopped(subscription: Subscription) -> CatchUp | None:
    """The last run, if it stopped in the middle of this very list."""
    runs = CatchUp.objects.filter(subscription=subscription).exclude(mode=CatchUp.Mode.COMPARE)
    last = runs.exclude(state=CatchUp.State.WAITING).first()
    if last is None or last.state != CatchUp.State.FAILED or not last.position:
        return None
    is_of_this_list = last.khoros_uuid == subscription.khoros_uuid
    return last if is_of_this_list and last.progressed_at > database_clock.now() - DOWNTIME else None


def _next_run(subscription: Subscription) -> CatchUp:
    requested = (
        CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING).order_by("started_at").first()
    )
    run = requested or CatchUp(subscription=subscription, mode=_mode_for(subscription))
    now = database_clock.now()
    run.state, run.started_at, run.progressed_at, run.walk_began_at = CatchUp.State.RUNNING, now, now, now
    run.khoros_uuid = subscription.khoros_uuid
    run.save()
    return run


def _mode_for(subscription: Subscription) -> CatchUp.Mode:
    """Everything at first, after a time without successful runs, once a day, and where no order was observed."""
    last = _last_finished(subscription)
    now = database_clock.now()
    was_down = last is None or last.progressed_at < now - DOWNTIME
    read_whole = subscription.read_whole_at
    if was_down or not subscription.catch_up_order or read_whole is None or read_whole < now - WHOLE_EVERY:
        return CatchUp.Mode.WHOLE
    return CatchUp.Mode.RECENT


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


def _end(walk: Walk, state: CatchUp.State, message: str, *, retry_after: float = 0.0) -> None:
    """Records how the run ended, what it learned, and when the next one is due."""
    subscription, run = walk.subscription, walk.run
    if not _finish(run, state, message):
        # Another worker took over after our claim ran out.
        return
    failures = subscription.failed_catch_ups + 1 if state == CatchUp.State.FAILED else 0
    columns: dict[str, Any] = {"failed_catch_ups": failures, "catching_up_until": None}
    if state == CatchUp.State.DONE and run.mode != CatchUp.Mode.COMPARE:
        columns |= _learned(walk)
        _route_what_was_missing(subscription)
    Subscription.objects.filter(pk=subscription.pk).update(
        next_catch_up_at=_next(subscription, failures, retry_after), **columns
    )
    if CatchUp.objects.filter(subscription=subscription, state=CatchUp.State.WAITING).exists():
        Subscription.objects.filter(pk=subscription.pk).update(next_catch_up_at=Now())
    if subscription.replaced_at is not None and was_read_since(subscription, run.started_at):
        # A replaced subscription at Khoros may have waited for this before it is retired.
        Subscription.objects.filter(pk=subscription.pk, replaced_at__isnull=False).update(next_check_at=Now())
        publish(CHECK_SUBSCRIPTION, subscription.pk)
    log.info("catch-up finished", subscription_id=subscription.pk, state=state, pages=walk.pages)


def _route_what_was_missing(subscription: Subscription) -> None:
    """Where events are fetched anyway, what a comparison found need not wait for a person: the sweep routes it."""
    if subscription.is_fetched and subscription.is_active:
        missed = Notification.objects.filter(subscription=subscription, state=Notification.State.MISSED)
        missed.update(state=Notification.State.RECEIVED, queued_until=None)


def _learned(walk: Walk) -> dict[str, Any]:
    columns: dict[str, Any] = {"catch_up_end": walk.end}
    if walk.run.mode == CatchUp.Mode.WHOLE:
        columns |= {"read_whole_at": Now(), "catch_up_order": walk.order.direction}
    return columns


def _finish(run: CatchUp, state: CatchUp.State, message: str) -> bool:
    ours = CatchUp.objects.filter(pk=run.pk, state=CatchUp.State.RUNNING)
    return bool(ours.update(state=state, finished_at=Now(), progressed_at=Now(), message=storable(message)))


def _check_at_once(subscription: Subscription) -> None:
    """Khoros does not know it: nothing arrives until it is registered anew."""
    Subscription.objects.filter(pk=subscription.pk).update(next_check_at=Now())
    publish(CHECK_SUBSCRIPTION, subscription.pk)


def _next(subscription: Subscription, failures: int, retry_after: float) -> Any:
    if not subscription.is_fetched:
        return None
    pulls = subscription.receives_by == Subscription.Receives.PULL
    seconds = settings.PULL_SECONDS if pulls else settings.CATCH_UP_SECONDS
    wait = min(seconds * 2 ** min(failures, 10), max(LONGEST_WAIT_SECONDS, seconds))
    # A walk that was stopped goes on as soon as Khoros allows it.
    return seconds_from_now(retry_after if retry_after and failures == 1 else max(wait, retry_after))


def forget_idle_runs() -> None:
    """Deletes regular runs of more than a week ago that brought nothing."""
    idle = CatchUp.objects.filter(
        requested_by="", new=0, unreadable=0, started_at__lt=database_clock.now() - timedelta(days=7)
    )
    idle.exclude(state=CatchUp.State.RUNNING).delete()
