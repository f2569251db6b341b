"""When an alarm is due. Each rule reads stored rows only and returns what is wrong, or nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max

from integrations.companies import token_warning
from integrations.infra import database_clock
from integrations.installation import missed_parts
from integrations.models import Alarm, Change, Company, Connection, Mapping, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.outcomes import failure_groups, target_text
from integrations.routing import find_floods
from integrations.sign_in import end_alarm
from integrations.subscriptions import expected_volume

# If this many are expected and none arrive, that is hardly chance: e^-7 is about one in a thousand.
EXPECTED_BEFORE_ALARM = 7.0
FAILED_CATCH_UPS = 3
FAILED_CHECKS = 3
PUSHES_LOST_WITHIN = timedelta(hours=1)
PUSHES_MAY_BE_SLOW = timedelta(minutes=5)


AlarmKey = tuple[str, int | None, int | None, int | None, int | None, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule found: at most one open alarm for each kind and subscription (or company, connection, mapping)."""

    kind: Alarm.Kind
    message: str
    subscription_id: int | None = None
    company_id: int | None = None
    connection_id: int | None = None
    mapping_id: int | None = None
    # Failures of one mapping with another cause are another problem.
    cause: str = ""
    # Another reason for the same alarm is news, and so is ten times as much; another message alone is not.
    reason: str = ""
    count: int = 0

    @property
    def key(self) -> AlarmKey:
        return self.kind, self.subscription_id, self.company_id, self.connection_id, self.mapping_id, self.cause


def key_of(alarm: Alarm) -> AlarmKey:
    return alarm.kind, alarm.subscription_id, alarm.company_id, alarm.connection_id, alarm.mapping_id, alarm.cause


# --- Rules -----------------------------------------------------------------------------------------------------------


def find_problems() -> Iterator[Problem]:
    yield from _of_the_installation()
    yield from _of_failures()
    yield from _of_unreadable()
    for company in Company.objects.defer(*without_lists()):
        if message := token_warning(company):
            yield Problem(Alarm.Kind.TOKEN, message, company_id=company.pk)
    for subscription in Subscription.objects.filter(deleted_at__isnull=True, company__isnull=False):
        yield from _of_subscription(subscription)
    for connection in Connection.objects.filter(is_active=True):
        yield from _of_connection(connection)
    yield from _of_mappings()
    yield from _of_floods()


SILENT_KINDS = {"worker": Alarm.Kind.WORKER, "beat": Alarm.Kind.BEAT, "sweep": Alarm.Kind.SWEEP}
SILENT_TEXTS = {
    "worker": "No worker answers ({since}): notifications are stored, but nothing is sent. Start the process “worker”, "
    "or restart it if it runs, and check that Redis is there.",
    "beat": "The process “beat” is not running ({since}). The workers do its work meanwhile, but nobody would notice "
    "if they stopped too. Start it.",
    "sweep": "Background work has stopped ({since}): retries wait, and nothing that got lost is found. The log of "
    "“beat” and of the workers says why.",
}


def _of_the_installation() -> Iterator[Problem]:
    for part, since in missed_parts().items():
        yield Problem(SILENT_KINDS[part], SILENT_TEXTS[part].format(since=since))


def _of_failures() -> Iterator[Problem]:
    for group in failure_groups():
        count = f"{group.count:,} deliver{'y' if group.count == 1 else 'ies'} failed"
        message = f"{group.mapping.name}: {count}. {group.shown.rstrip('.')}. {group.remedy}".strip()
        yield Problem(Alarm.Kind.FAILED, message, mapping_id=group.mapping.pk, cause=group.cause, count=group.count)


def _of_unreadable() -> Iterator[Problem]:
    unreadable = Notification.objects.filter(state=Notification.State.UNREADABLE)
    counted = unreadable.order_by().values("subscription").annotate(count=Count("pk"), newest=Max("pk"))
    rows = list(counted.order_by("subscription"))
    subscriptions = Subscription.objects.in_bulk([row["subscription"] for row in rows])
    reasons = dict(Notification.objects.filter(pk__in=[row["newest"] for row in rows]).values_list("pk", "reason"))
    for row in rows:
        count = f"{row['count']:,} notification{'' if row['count'] == 1 else 's'} could not be read"
        name = subscriptions[row["subscription"]].listens_to
        message = f"{name}: {count}, and no ticket was made. The newest: {reasons.get(row['newest'], '')}"
        yield Problem(Alarm.Kind.UNREADABLE, message, subscription_id=row["subscription"], count=row["count"])


def _first_line(text: str) -> str:
    """What was said, without the details that differ from one call to the next."""
    return text.partition("\n")[0]


def _in_words(text: str) -> str:
    """Without the raw reply behind them: that is on the connection's page."""
    return re.split(r"\s*(?:\{\s*\"|<html|<!DOCTYPE)", text, maxsplit=1)[0].strip()


def _of_floods() -> Iterator[Problem]:
    for flood in find_floods():
        yield Problem(Alarm.Kind.FLOOD, flood.message, mapping_id=flood.mapping.pk)


def _of_mappings() -> Iterator[Problem]:
    """Mappings that no longer fit the account, as last read; inactive ones are left out."""
    used = Mapping.objects.filter(is_active=True, connection__is_active=True, subscription__is_active=True)
    for mapping in used.exclude(warnings=[]).select_related("connection"):
        misfits = " ".join(str(entry.get("message")) for entry in mapping.warnings)
        message = f"{mapping.name} no longer matches “{mapping.connection}” and needs fixing. {misfits}"
        yield Problem(Alarm.Kind.MAPPING, message, mapping_id=mapping.pk)


def _of_subscription(subscription: Subscription) -> Iterator[Problem]:
    rules = {
        Alarm.Kind.REGISTRATION: _registration,
        Alarm.Kind.DRIFT: _drift,
        Alarm.Kind.CATCH_UP: _catch_up,
        Alarm.Kind.PUSHES_LOST: _pushes_lost,
        Alarm.Kind.SILENCE: silence,
        Alarm.Kind.TARGET: target_text,
    }
    for kind, rule in rules.items():
        if subscription.is_active and (message := rule(subscription)):
            reason = _first_line(subscription.khoros_message) if kind == Alarm.Kind.REGISTRATION else ""
            text = f"{subscription.listens_to}: {message}"
            yield Problem(kind, text, subscription_id=subscription.pk, reason=reason)


def _of_connection(connection: Connection) -> Iterator[Problem]:
    if message := _waits_for_a_person(connection):
        text = f"{connection.name}: {message}"
        yield Problem(
            Alarm.Kind.CONNECTION, text, connection_id=connection.pk, reason=_first_line(connection.pause_reason)
        )
    if connection.breaker_opened_at is not None and connection.paused_at is None:
        message = f"{connection.name}: unreachable, so deliveries wait. {_in_words(connection.breaker_reason)}"
        yield Problem(
            Alarm.Kind.BREAKER,
            message,
            connection_id=connection.pk,
            reason=_first_line(connection.breaker_reason.partition(". ")[2]),
        )
    if message := end_alarm(connection):
        yield Problem(Alarm.Kind.TOKEN_END, f"{connection.name}: {message}", connection_id=connection.pk)


def _waits_for_a_person(connection: Connection) -> str:
    """Why a reply paused the connection indefinitely; limits end, and whoever paused it by hand knows."""
    if connection.paused_at is None or connection.paused_until is not None or connection.paused_by:
        return ""
    return f"paused, so deliveries wait. {_in_words(connection.pause_reason)}"


def _registration(subscription: Subscription) -> str:
    Registration = Subscription.Registration
    is_refused = subscription.registration == Registration.REFUSED and subscription.failed_checks > 1
    if is_refused or subscription.registration == Registration.NOT_POSSIBLE:
        return f"{subscription.get_registration_display()}. {subscription.khoros_message}"
    if subscription.registration == Registration.UNREACHABLE and subscription.failed_checks >= FAILED_CHECKS:
        return f"Khoros was unreachable {subscription.failed_checks} times in a row. {subscription.khoros_message}"
    return ""


def _drift(subscription: Subscription) -> str:
    if subscription.registration != Subscription.Registration.DRIFTED:
        return ""
    differences = " ".join(str(entry.get("message")) for entry in subscription.drift)
    return f"Out of sync at Khoros. To fix it, press “Repair at Khoros”. {differences}"


def _catch_up(subscription: Subscription) -> str:
    if not subscription.is_fetched or subscription.failed_catch_ups < FAILED_CATCH_UPS:
        return ""
    last = subscription.catch_ups.filter(state="failed").first()
    return f"Catch-up failed {subscription.failed_catch_ups} times in a row. {last.message if last else ''}".strip()


def _pushes_lost(subscription: Subscription) -> str:
    """Events that only fetching brought, with no push for a while since: a push that is merely slow is no alarm."""
    if subscription.receives_by != Subscription.Receives.PUSH_AND_CATCH_UP or subscription.last_caught_up_at is None:
        return ""
    now, last_push = database_clock.now(), subscription.last_pushed_at
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
        f"{lost} notification{'' if lost == 1 else 's'} arrived only by catch-up and no push since: the portal was "
        "down, or Khoros' pushes do not reach it. Nothing is lost. Send a test notification from the subscription's "
        "page to see where pushes get stuck."
    )


def silence(subscription: Subscription) -> str:
    """Why the subscription's silence is worth an alarm; empty when it is not."""
    now, last = database_clock.now(), last_received(subscription)
    if subscription.registration != Subscription.Registration.REGISTERED:
        return ""
    last = max(last, _switched_on(subscription) or last)
    hours = (now - last).total_seconds() / 3600
    usual = subscription.usual_volume
    if subscription.silence_alarm == Subscription.Silence.LEARNED and usual:
        count = expected_volume(usual, last, now)
        if count < EXPECTED_BEFORE_ALARM:
            return ""
        return f"Silent for {hours:.0f} hours. Usually about {count:.0f} notifications arrive in that time."
    limit = subscription.silence_hours
    if subscription.silence_alarm == Subscription.Silence.OFF or limit is None or hours < limit:
        return ""
    return f"Silent for {hours:.0f} hours (alarm threshold: {limit})."


def last_received(subscription: Subscription) -> datetime:
    """When the last notification arrived; before the first one, when the subscription was created."""
    received = [at for at in (subscription.last_pushed_at, subscription.last_caught_up_at) if at is not None]
    return max(received) if received else subscription.created_at


def _switched_on(subscription: Subscription) -> datetime | None:
    """When it last started to receive: silence before that is no surprise."""
    begins = subscription.changes.filter(action__in=[Change.Action.POST, Change.Action.ACTIVATE], is_done=True)
    return begins.values_list("started_at", flat=True).first()


def silence_text(subscription: Subscription) -> str:
    """How the silence alarm is set, as a sentence."""
    if subscription.silence_alarm == Subscription.Silence.OFF:
        return "Off: no alarm is raised."
    hours = subscription.silence_hours
    if subscription.silence_alarm == Subscription.Silence.HOURS:
        return f"After {hours} hour{'' if hours == 1 else 's'} without a notification."
    if subscription.usual_volume:
        week = sum(subscription.usual_volume)
        return (
            f"Learned: about {week:.0f} notifications a week. Raised when about {EXPECTED_BEFORE_ALARM:.0f} are "
            "overdue."
        )
    until_then = f"it is raised after {hours} quiet hours" if hours else "no alarm is raised unless you set quiet hours"
    return f"Still learning (needs two weeks of history). Until then, {until_then}."
