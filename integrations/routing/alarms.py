"""Alarms on their way out do not go by the way that they say is broken: they would fail there and raise another."""

from integrations.models import Alarm, Mapping, Notification


def tells_of_itself(notification: Notification, mapping: Mapping) -> bool:
    """Whether the notification tells of an alarm about this very mapping, or about its connection."""
    if notification.source != Notification.Source.PORTAL:
        return False
    _, _, rest = notification.content.event_key.partition(":")
    number = rest.partition(":")[0]
    alarm = Alarm.objects.filter(pk=int(number)).only("mapping", "connection").first() if number.isdecimal() else None
    return alarm is not None and (mapping.pk == alarm.mapping_id or mapping.connection_id == alarm.connection_id)
