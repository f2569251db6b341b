"""Mails about alarms, raised and ended. One that cannot be sent is retried for a day."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.infra.database_pool import release_database
from integrations.infra.text import storable
from integrations.models import Alarm
from integrations.operations.telling import portal_address

log = structlog.get_logger(__name__)
MAILED_WITHIN = timedelta(days=1)


def mail_alarms() -> None:
    """One mail for each alarm that was raised, has news or ended. The first that cannot be sent ends the round."""
    for alarm, subject, claimed in _mails() if settings.ALERT_EMAILS else ():
        if not _mail(alarm, subject, **claimed):
            return


def _mails() -> Iterator[tuple[Alarm, str, dict[str, Any]]]:
    """(alarm, subject, the columns that say that it was mailed)."""
    recent = database_clock.now() - MAILED_WITHIN
    open_ones = Alarm.objects.open()
    for alarm in open_ones.filter(mailed_at__isnull=True, raised_at__gte=recent):
        yield alarm, _subject(alarm), {"mailed_at": Now(), "has_news": False}
    for alarm in open_ones.filter(mailed_at__isnull=False, has_news=True):
        yield alarm, _subject(alarm, "still: "), {"has_news": False}
    ended = Alarm.objects.filter(mailed_at__isnull=False, ended_at__gte=recent, end_mailed_at__isnull=True)
    for alarm in ended:
        yield alarm, _subject(alarm, "resolved: "), {"end_mailed_at": Now()}


def _subject(alarm: Alarm, what: str = "") -> str:
    """How many and why, where that is what a person wants to know from the list of mails."""
    count = f" ({alarm.count:,})" if alarm.count else ""
    return f"Casebridge: {what}{alarm.get_kind_display()}{count}"


def _mail(alarm: Alarm, subject: str, **claimed: Any) -> bool:
    """Claims the row first, so that two clocks do not both send; releases it when sending fails. False if it did."""
    before = {column: getattr(alarm, column) for column in claimed}
    if not Alarm.objects.filter(pk=alarm.pk, **before).update(**claimed):
        return True
    release_database()
    try:
        message = EmailMessage(subject, _body(alarm), settings.ALERT_FROM, settings.ALERT_EMAILS)
        message.send(fail_silently=False)
    except Exception as error:
        # Whatever the mail server does: the alarm stays visible in the portal, and the mail is retried.
        log.warning("alarm mail not sent", error=str(error))
        Alarm.objects.filter(pk=alarm.pk).update(**before, mail_problem=storable(str(error))[:500])
        return False
    Alarm.objects.filter(pk=alarm.pk).update(mail_problem="")
    return True


def _body(alarm: Alarm) -> str:
    lines = [alarm.message, "", f"Raised at {alarm.raised_at:%Y-%m-%d %H:%M:%S} UTC."]
    if alarm.ended_at:
        lines.append(f"Resolved at {alarm.ended_at:%Y-%m-%d %H:%M:%S} UTC.")
    return "\n".join([*lines, "", f"{portal_address()}{alarm.place_of_repair}"])
