"""Alarms on their way out: each step of one is stored as a notification of the portal's own subscription.

From there it goes like any other: mappings choose who gets which kinds, deliveries are logged, retried and repaired,
and calls go by the connections' address rule. Where nobody is to be told, nothing is stored.
"""

from django.conf import settings
from django.db import transaction
from django.db.models import F

from integrations.infra import database_clock
from integrations.infra.queue import ROUTE, publish
from integrations.installation import NoPublicAddress, public_url
from integrations.models import Alarm, Delivery, Mapping, Notification, NotificationContent, Subscription
from integrations.sources.portal.alarms import EVENT, AlarmEvent, post_id_of

# Of an alarm that was told again and again the latest are shown.
MOST_STEPS = 50
OWN_LABEL = "Casebridge's alarms"


def portal_subscription() -> Subscription:
    """The one that mappings of alarms belong to."""
    return Subscription.objects.get_or_create(
        company=None,
        defaults={
            "event_name": EVENT,
            "match": Subscription.Match.EVERYTHING,
            "label": OWN_LABEL,
            "receives_by": Subscription.Receives.PUSH,
            "silence_alarm": Subscription.Silence.OFF,
            "registration": Subscription.Registration.REGISTERED,
        },
    )[0]


def mappings_of_alarms() -> list[Mapping]:
    """Who is told."""
    rows = Mapping.objects.filter(subscription__company__isnull=True).select_related("connection")
    return list(rows.order_by("name", "pk"))


def tell(alarm_id: int, step: str) -> None:
    """Stores a step ("raised", "still" or "resolved") and has it routed. In the transaction that made the step."""
    listening = Mapping.objects.filter(subscription__company__isnull=True, is_active=True)
    subscription_id = listening.values_list("subscription", flat=True).first()
    if subscription_id is None:
        return
    Alarm.objects.filter(pk=alarm_id).update(told=F("told") + 1)
    alarm = Alarm.objects.select_related("subscription", "company", "connection", "mapping").get(pk=alarm_id)
    event = AlarmEvent(
        alarm=alarm.pk,
        number=alarm.told,
        step=step,
        kind=alarm.get_kind_display(),
        count=alarm.count,
        message=alarm.message,
        link=f"{portal_address()}{alarm.place_of_repair}",
        at=database_clock.now().isoformat(),
    )
    notification = Notification.objects.create(
        subscription_id=subscription_id,
        event_key=Notification.hashed(event.key),
        source=Notification.Source.PORTAL,
        happened_at=database_clock.now(),
    )
    NotificationContent.objects.create(
        notification=notification, event_key=event.key, event_name=EVENT, body=event.body, headers={}
    )
    transaction.on_commit(lambda: publish(ROUTE, notification.pk), robust=True)


def told_of(alarm: Alarm) -> list[Delivery]:
    """The deliveries that were made of an alarm's steps, in order."""
    keys = [Notification.hashed(f"alarm:{alarm.pk}:{number}") for number in range(1, alarm.told + 1)]
    steps = Notification.objects.filter(subscription__company__isnull=True, event_key__in=keys[-MOST_STEPS:])
    rows = Delivery.objects.filter(
        mapping__in=[mapping.pk for mapping in mappings_of_alarms()],
        post_id__in=[post_id_of(alarm.pk, number) for number in range(1, alarm.told + 1)][-MOST_STEPS:],
        notification__in=list(steps.values_list("pk", flat=True)),
    )
    return list(rows.select_related("mapping", "connection").order_by("pk"))


def portal_address() -> str:
    try:
        return public_url()
    except NoPublicAddress:
        return str(settings.LOCAL_URL)
