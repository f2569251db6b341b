"""Alarms: raised when something needs a person, ended when it is over, shown in the portal and mailed at both ends.

Each rule looks at stored rows only and says what is wrong, or nothing; `watch` compares that with the open alarms. It
runs every minute. A mail that cannot be sent is tried again at every turn, for a day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations import database_time, incidents, response_clock, volume
from integrations.addresses import NoPublicAddress, public_url
from integrations.companies import token_warning
from integrations.connecting import end_alarm
from integrations.database_pool import release_database
from integrations.models import Alarm, Change, Company, Connection, Mapping, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.post import storable

log = structlog.get_logger(__name__)

# With so many expected and none come, chance is no explanation: e^-7 is about one in a thousand.
EXPECTED_BEFORE_ALARM = 7.0
FAILED_CATCH_UPS = 3
FAILED_CHECKS = 3
PUSHES_LOST_WITHIN = timedelta(hours=1)
PUSHES_MAY_BE_SLOW = timedelta(minutes=5)
MAILED_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a rule found: one open alarm for each kind and feed (or company, connection, mapping)."""

    kind: Alarm.Kind
    words: str
    subscription_id: int | None = None
    company_id: int | None = None
    connection_id: int | None = None
    mapping_id: int | None = None

    @property
    def key(self) -> tuple[str, int | None, int | None, int | None, int | None]:
        return self.kind, self.subscription_id, self.company_id, self.connection_id, self.mapping_id


def key_of(alarm: Alarm) -> tuple[str, int | None, int | None, int | None, int | None]:
    return alarm.kind, alarm.subscription_id, alarm.company_id, alarm.connection_id, alarm.mapping_id


def subject_of(alarm: Alarm) -> tuple[str, int]:
    """What the alarm is about: the name of the model, and its row."""
    for name in ("subscription", "company", "connection", "mapping"):
        if (row_id := getattr(alarm, f"{name}_id")) is not None:
            return name, row_id
    raise ValueError("an alarm is about one of four")


def watch() -> None:
    """Raises what is new, ends what is over, mails both."""
    troubles = {trouble.key: trouble for trouble in _troubles()}
    for alarm in Alarm.objects.filter(ended_at__isnull=True).select_related("subscription"):
        trouble = troubles.pop(key_of(alarm), None)
        if trouble is None and not _is_being_checked(alarm):
            _end(alarm)
        elif trouble is None:
            continue
        elif trouble.words != alarm.words:
            Alarm.objects.filter(pk=alarm.pk).update(words=trouble.words)
    for trouble in troubles.values():
        _raise(trouble)
    _send_mails()


def _is_being_checked(alarm: Alarm) -> bool:
    """Somebody saved the feed: whether the trouble is over is known after the next check."""
    feed = alarm.subscription
    if feed is None or alarm.kind not in (Alarm.Kind.REGISTRATION, Alarm.Kind.DRIFT):
        return False
    return feed.is_active and feed.registration == Subscription.Registration.WAITING


def _raise(trouble: Trouble) -> None:
    try:
        with transaction.atomic():
            Alarm.objects.create(
                kind=trouble.kind,
                words=storable(trouble.words),
                subscription_id=trouble.subscription_id,
                company_id=trouble.company_id,
                connection_id=trouble.connection_id,
                mapping_id=trouble.mapping_id,
            )
    except IntegrityError:
        # Another worker watches at the same moment and was quicker; or the feed is gone.
        return
    log.warning("alarm raised", kind=trouble.kind, reason=trouble.words)


def _end(alarm: Alarm) -> None:
    Alarm.objects.filter(pk=alarm.pk, ended_at__isnull=True).update(ended_at=Now())
    log.info("alarm ended", kind=alarm.kind)


# --- Rules -----------------------------------------------------------------------------------------------------------


def _troubles() -> Iterator[Trouble]:
    for company in Company.objects.defer(*without_lists()):
        if words := token_warning(company):
            yield Trouble(Alarm.Kind.TOKEN, words, company_id=company.pk)
    for subscription in Subscription.objects.filter(deleted_at__isnull=True):
        yield from _of_feed(subscription)
    for connection in Connection.objects.filter(is_active=True):
        yield from _of_connection(connection)
    yield from _of_mappings()
    yield from _of_floods()


def _of_floods() -> Iterator[Trouble]:
    for flood in incidents.floods():
        yield Trouble(Alarm.Kind.FLOOD, flood.words, mapping_id=flood.mapping.pk)


def _of_mappings() -> Iterator[Trouble]:
    """What no longer fits the account, as last read; mappings that make nothing are left out."""
    used = Mapping.objects.filter(is_active=True, connection__is_active=True, subscription__is_active=True)
    for mapping in used.exclude(warnings=[]).select_related("connection"):
        found = " ".join(str(entry.get("words")) for entry in mapping.warnings)
        words = f"{mapping.name}: no longer fits “{mapping.connection}”. {found}"
        yield Trouble(Alarm.Kind.MAPPING, words, mapping_id=mapping.pk)


def _of_feed(subscription: Subscription) -> Iterator[Trouble]:
    rules = {
        Alarm.Kind.REGISTRATION: _registration,
        Alarm.Kind.DRIFT: _drift,
        Alarm.Kind.CATCH_UP: _catch_up,
        Alarm.Kind.PUSHES_LOST: _pushes_lost,
        Alarm.Kind.SILENCE: silence,
        Alarm.Kind.TARGET: response_clock.target_words,
    }
    for kind, rule in rules.items():
        if subscription.is_active and (words := rule(subscription)):
            yield Trouble(kind, f"{subscription.listens_to}: {words}", subscription_id=subscription.pk)


def _of_connection(connection: Connection) -> Iterator[Trouble]:
    if words := _waits_for_a_person(connection):
        yield Trouble(Alarm.Kind.CONNECTION, f"{connection.name}: {words}", connection_id=connection.pk)
    if connection.breaker_opened_at is not None and connection.paused_at is None:
        words = f"{connection.name}: not reached {connection.transport_failures} times in a row, deliveries wait. "
        yield Trouble(Alarm.Kind.BREAKER, words + connection.breaker_reason, connection_id=connection.pk)
    if words := end_alarm(connection):
        yield Trouble(Alarm.Kind.TOKEN_END, f"{connection.name}: {words}", connection_id=connection.pk)


def _waits_for_a_person(connection: Connection) -> str:
    """Why an answer paused the connection without an end; limits have one, and who paused it by hand knows."""
    if connection.paused_at is None or connection.paused_until is not None or connection.paused_by:
        return ""
    return f"paused, deliveries wait. {connection.pause_reason}"


def _registration(subscription: Subscription) -> str:
    Registration = Subscription.Registration
    is_refused = subscription.registration == Registration.REFUSED and subscription.failed_checks > 1
    if is_refused or subscription.registration == Registration.NOT_POSSIBLE:
        return f"{subscription.get_registration_display()}. {subscription.khoros_message}"
    if subscription.registration == Registration.UNREACHABLE and subscription.failed_checks >= FAILED_CHECKS:
        return f"Khoros was not reached {subscription.failed_checks} times in a row. {subscription.khoros_message}"
    return ""


def _drift(subscription: Subscription) -> str:
    if subscription.registration != Subscription.Registration.DRIFTED:
        return ""
    found = " ".join(str(entry.get("words")) for entry in subscription.drift)
    return f"Not as wanted at Khoros, and waiting for a click on “Repair at Khoros now”. {found}"


def _catch_up(subscription: Subscription) -> str:
    if not subscription.is_fetched or subscription.failed_catch_ups < FAILED_CATCH_UPS:
        return ""
    last = subscription.catch_ups.filter(state="failed").first()
    return f"Fetching failed {subscription.failed_catch_ups} times in a row. {last.words if last else ''}".strip()


def _pushes_lost(subscription: Subscription) -> str:
    """Events that only fetching brought, a while ago, with no push since: one that was merely slow is no alarm."""
    if subscription.receives_by != Subscription.Receives.PUSH_AND_CATCH_UP or subscription.last_caught_up_at is None:
        return ""
    now, last_push = database_time.now(), subscription.last_pushed_at
    if subscription.last_caught_up_at < now - PUSHES_LOST_WITHIN:
        return ""
    lost = Notification.objects.filter(
        subscription=subscription,
        source=Notification.Source.CAUGHT_UP,
        received_at__gte=max(last_push or now - PUSHES_LOST_WITHIN, now - PUSHES_LOST_WITHIN),
        received_at__lte=now - PUSHES_MAY_BE_SLOW,
        repeats=0,
    )[:1000].count()
    if not lost:
        return ""
    return (
        f"{lost} notifications came only by fetching, and no push since: either the portal was down, or Khoros' pushes "
        "do not reach it. Nothing is lost. Use the self-test on the subscription's page to see where they end."
    )


def silence(subscription: Subscription) -> str:
    """Why the feed's silence is worth an alarm; empty when it is not."""
    now, last = database_time.now(), last_heard(subscription)
    if subscription.registration != Subscription.Registration.REGISTERED:
        return ""
    last = max(last, _switched_on(subscription) or last)
    hours = (now - last).total_seconds() / 3600
    usual = subscription.usual_volume
    if subscription.silence_alarm == Subscription.Silence.LEARNED and usual:
        count = volume.expected(usual, last, now)
        if count < EXPECTED_BEFORE_ALARM:
            return ""
        return f"Silent for {hours:.0f} hours. Usually about {count:.0f} notifications come in that time."
    limit = subscription.silence_hours
    if subscription.silence_alarm == Subscription.Silence.OFF or limit is None or hours < limit:
        return ""
    return f"Silent for {hours:.0f} hours; the alarm is set to {limit}."


def last_heard(subscription: Subscription) -> datetime:
    """The last notification; before the first one, when the feed was set up."""
    heard = [at for at in (subscription.last_pushed_at, subscription.last_caught_up_at) if at is not None]
    return max(heard) if heard else subscription.created_at


def _switched_on(subscription: Subscription) -> datetime | None:
    """When it last began to receive: before that, silence is no wonder."""
    begins = subscription.changes.filter(action__in=[Change.Action.POST, Change.Action.ACTIVATE], is_done=True)
    return begins.values_list("started_at", flat=True).first()


def silence_words(subscription: Subscription) -> str:
    """How the silence alarm is set, in words."""
    if subscription.silence_alarm == Subscription.Silence.OFF:
        return "Never: no alarm is raised."
    hours = subscription.silence_hours
    if subscription.silence_alarm == Subscription.Silence.HOURS:
        return f"Raised after {hours} hours without a notification."
    if subscription.usual_volume:
        week = sum(subscription.usual_volume)
        return f"Learned: about {week:.0f} notifications a week. Raised when {EXPECTED_BEFORE_ALARM:.0f} are overdue."
    until_then = f"it is raised after {hours} hours" if hours else "none is raised (enter hours of silence to have one)"
    return f"Still learning, two weeks of history are needed; until then {until_then}."


# --- Mail ------------------------------------------------------------------------------------------------------------


def can_mail() -> bool:
    return bool(settings.ALERT_EMAILS)


def _send_mails() -> None:
    recent = database_time.now() - MAILED_WITHIN
    raised = Alarm.objects.filter(mailed_at__isnull=True, raised_at__gte=recent)
    ended = Alarm.objects.filter(mailed_at__isnull=False, ended_at__gte=recent, end_mailed_at__isnull=True)
    if can_mail():
        for alarm in raised.filter(ended_at__isnull=True):
            _mail(alarm, f"Casebridge: {alarm.get_kind_display()}", "mailed_at")
        for alarm in ended:
            _mail(alarm, f"Casebridge: over: {alarm.get_kind_display()}", "end_mailed_at")


def _mail(alarm: Alarm, subject: str, column: str) -> None:
    """Claims the row first, so that two workers do not both send; gives it back when sending fails."""
    if not Alarm.objects.filter(Q(**{f"{column}__isnull": True}), pk=alarm.pk).update(**{column: Now()}):
        return
    release_database()
    try:
        message = EmailMessage(subject, _body(alarm), settings.ALERT_FROM, settings.ALERT_EMAILS)
        message.send(fail_silently=False)
    except Exception as error:
        # Whatever the mail server does: the alarm stays visible in the portal, and the mail is tried again.
        log.warning("alert mail not sent", error=str(error))
        Alarm.objects.filter(pk=alarm.pk).update(**{column: None}, mail_problem=storable(str(error))[:500])
    else:
        Alarm.objects.filter(pk=alarm.pk).update(mail_problem="")


def _body(alarm: Alarm) -> str:
    lines = [alarm.words, "", f"Raised {alarm.raised_at:%Y-%m-%d %H:%M} UTC."]
    if alarm.ended_at:
        lines.append(f"Over since {alarm.ended_at:%Y-%m-%d %H:%M} UTC.")
    try:
        address = public_url()
    except NoPublicAddress:
        address = settings.LOCAL_URL
    kind, row_id = subject_of(alarm)
    return "\n".join([*lines, "", f"{address}/admin/integrations/{kind}/{row_id}/change/"])


def open_alarms() -> QuerySet[Alarm]:
    rows = Alarm.objects.filter(ended_at__isnull=True).select_related(
        "subscription", "company", "connection", "mapping"
    )
    return rows.defer(*without_lists("company__"))
