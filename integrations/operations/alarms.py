"""Alarms: raised when something needs a person, ended when it is over; told both times, and when there is news.

`update_alarms` runs every WATCH_SECONDS and compares what the rules find with the open alarms. What failed for one
reason is one alarm, mailed at 1, 10, 100 and so on, and when it is over.
"""

import structlog
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from integrations.infra.text import storable
from integrations.models import Alarm, Subscription
from integrations.operations.alarm_rules import Problem, find_problems, key_of
from integrations.operations.telling import tell

log = structlog.get_logger(__name__)

LONGEST_REASON = 500


def update_alarms() -> None:
    """Raises what is new and ends what is over. Mails follow (`alarm_mail`)."""
    problems = {problem.key: problem for problem in find_problems()}
    for alarm in Alarm.objects.open().select_related("subscription"):
        problem = problems.pop(key_of(alarm), None)
        if problem is None and not _is_being_checked(alarm):
            _end(alarm)
        elif problem is not None:
            _update(alarm, problem)
    for problem in problems.values():
        _raise(problem)


def _is_being_checked(alarm: Alarm) -> bool:
    """Somebody saved the subscription: whether the problem is over is known after the next check."""
    subscription = alarm.subscription
    if subscription is None or alarm.kind not in (Alarm.Kind.REGISTRATION, Alarm.Kind.DRIFT):
        return False
    return subscription.is_active and subscription.registration == Subscription.Registration.WAITING


def _update(alarm: Alarm, problem: Problem) -> None:
    """Another reason, or ten times as much as was told, is mailed like a new alarm; a person has not seen that yet."""
    reason = storable(problem.reason)[:LONGEST_REASON]
    is_news = reason != alarm.reason or len(str(problem.count)) > len(str(alarm.count))
    if is_news:
        with transaction.atomic():
            # Of two watchers one is first.
            unchanged = Alarm.objects.filter(pk=alarm.pk, reason=alarm.reason, count=alarm.count)
            is_first = unchanged.update(
                message=storable(problem.message),
                reason=reason,
                count=problem.count,
                has_news=True,
                acknowledged_by="",
                acknowledged_at=None,
                snoozed_until=None,
            )
            if is_first:
                tell(alarm.pk, "still")
        log.warning("alarm has news", kind=problem.kind, reason=problem.message)
    elif problem.message != alarm.message:
        Alarm.objects.filter(pk=alarm.pk).update(message=storable(problem.message))


def _raise(problem: Problem) -> None:
    try:
        with transaction.atomic():
            raised = Alarm.objects.create(
                kind=problem.kind,
                message=storable(problem.message),
                subscription_id=problem.subscription_id,
                company_id=problem.company_id,
                connection_id=problem.connection_id,
                mapping_id=problem.mapping_id,
                cause=problem.cause,
                reason=storable(problem.reason)[:LONGEST_REASON],
                count=problem.count,
            )
            tell(raised.pk, "raised")
    except IntegrityError:
        # Another worker was quicker, or the subscription is gone.
        return
    log.warning("alarm raised", kind=problem.kind, reason=problem.message)


def _end(alarm: Alarm) -> None:
    with transaction.atomic():
        if Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True).update(ended_at=Now()):
            tell(alarm.pk, "resolved")
    log.info("alarm ended", kind=alarm.kind)
