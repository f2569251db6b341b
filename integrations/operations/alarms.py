"""Alarms: raised when something needs a person, ended when it is over, shown in the portal and mailed at both ends.

Each rule looks at stored rows only and says what is wrong, or nothing; `watch` compares that with the open alarms. It
runs every minute. A mail that cannot be sent is tried again at every turn, for a day.
"""

import structlog
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from integrations.infra.text import storable
from integrations.models import Alarm, Subscription
from integrations.models.configuration import without_lists
from integrations.operations.alarm_mail import send_mails
from integrations.operations.alarm_rules import Problem, find_problems, key_of

log = structlog.get_logger(__name__)


def update_alarms() -> None:
    """Raises what is new, ends what is over, mails both."""
    troubles = {trouble.key: trouble for trouble in find_problems()}
    for alarm in Alarm.objects.filter(ended_at__isnull=True).select_related("subscription"):
        trouble = troubles.pop(key_of(alarm), None)
        if trouble is None and not _is_being_checked(alarm):
            _end(alarm)
        elif trouble is None:
            continue
        elif trouble.message != alarm.message:
            Alarm.objects.filter(pk=alarm.pk).update(message=trouble.message)
    for trouble in troubles.values():
        _raise(trouble)
    send_mails()


def _is_being_checked(alarm: Alarm) -> bool:
    """Somebody saved the feed: whether the trouble is over is known after the next check."""
    feed = alarm.subscription
    if feed is None or alarm.kind not in (Alarm.Kind.REGISTRATION, Alarm.Kind.DRIFT):
        return False
    return feed.is_active and feed.registration == Subscription.Registration.WAITING


def _raise(trouble: Problem) -> None:
    try:
        with transaction.atomic():
            Alarm.objects.create(
                kind=trouble.kind,
                message=storable(trouble.message),
                subscription_id=trouble.subscription_id,
                company_id=trouble.company_id,
                connection_id=trouble.connection_id,
                mapping_id=trouble.mapping_id,
            )
    except IntegrityError:
        # Another worker watches at the same moment and was quicker; or the feed is gone.
        return
    log.warning("alarm raised", kind=trouble.kind, reason=trouble.message)


def _end(alarm: Alarm) -> None:
    Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True).update(ended_at=Now())
    log.info("alarm ended", kind=alarm.kind)


def open_alarms() -> QuerySet[Alarm]:
    rows = Alarm.objects.filter(ended_at__isnull=True).select_related(
        "subscription", "company", "connection", "mapping"
    )
    return rows.defer(*without_lists("company__"))
