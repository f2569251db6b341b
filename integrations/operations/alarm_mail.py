"""Mails about alarms, raised and ended. One that cannot be sent is retried every minute for a day."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.infra.database_pool import release_database
from integrations.infra.text import storable
from integrations.installation import NoPublicAddress, public_url
from integrations.models import Alarm
from integrations.operations.alarm_rules import alarm_subject

log = structlog.get_logger(__name__)
MAILED_WITHIN = timedelta(days=1)


def can_mail() -> bool:
    return bool(settings.ALERT_EMAILS)


def send_mails() -> None:
    recent = database_clock.now() - MAILED_WITHIN
    raised = Alarm.objects.filter(mailed_at__isnull=True, raised_at__gte=recent)
    ended = Alarm.objects.filter(mailed_at__isnull=False, ended_at__gte=recent, end_mailed_at__isnull=True)
    if can_mail():
        for alarm in raised.filter(ended_at__isnull=True):
            _mail(alarm, f"Casebridge: {alarm.get_kind_display()}", "mailed_at")
        for alarm in ended:
            _mail(alarm, f"Casebridge: resolved: {alarm.get_kind_display()}", "end_mailed_at")


def _mail(alarm: Alarm, subject: str, column: str) -> None:
    """Claims the row first, so that two workers do not both send; releases it when sending fails."""
    if not Alarm.objects.filter(Q(**{f"{column}__isnull": True}), pk=alarm.pk).update(**{column: Now()}):
        return
    release_database()
    try:
        message = EmailMessage(subject, _body(alarm), settings.ALERT_FROM, settings.ALERT_EMAILS)
        message.send(fail_silently=False)
    except Exception as error:
        # Whatever the mail server does: the alarm stays visible in the portal, and the mail is retried.
        log.warning("alarm mail not sent", error=str(error))
        Alarm.objects.filter(pk=alarm.pk).update(**{column: None}, mail_problem=storable(str(error))[:500])
    else:
        Alarm.objects.filter(pk=alarm.pk).update(mail_problem="")


def _body(alarm: Alarm) -> str:
    lines = [alarm.message, "", f"Raised at {alarm.raised_at:%Y-%m-%d %H:%M:%S} UTC."]
    if alarm.ended_at:
        lines.append(f"Resolved at {alarm.ended_at:%Y-%m-%d %H:%M:%S} UTC.")
    try:
        address = public_url()
    except NoPublicAddress:
        address = settings.LOCAL_URL
    kind, row_id = alarm_subject(alarm)
    return "\n".join([*lines, "", f"{address}/admin/integrations/{kind}/{row_id}/change/"])
