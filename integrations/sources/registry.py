"""Which source reads which event."""

import json
from datetime import datetime

from integrations.domain.post import Event
from integrations.sources.khoros import events as khoros
from integrations.sources.khoros.examples import example
from integrations.sources.khoros.parse import parse as parse_khoros
from integrations.sources.kinds import EventKind
from integrations.sources.portal.alarms import EVENT as ALARM
from integrations.sources.portal.alarms import KIND as ALARM_KIND
from integrations.sources.portal.alarms import example_alarm, parse_alarm


def kind_of(event_name: str) -> EventKind:
    return ALARM_KIND if event_name == ALARM else khoros.kind_of(event_name)


def parse(body: bytes, charset: str = "", *, subscribed_event: str = "") -> Event:
    """The event in a stored body, with its posts. Raises Unreadable."""
    if subscribed_event == ALARM:
        return parse_alarm(body)
    return parse_khoros(body, charset, subscribed_event=subscribed_event)


def example_of(event_name: str, at: datetime) -> Event:
    """An example, parsed like a real one."""
    body = example_alarm(at) if event_name == ALARM else json.dumps(example(event_name, at=at)).encode()
    return parse(body, subscribed_event=event_name)
