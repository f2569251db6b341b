"""What a mapping would make of an example of its event. Nothing is stored or sent."""

import json
from typing import Any

from django.utils import timezone

from integrations.conditions import why_not
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Context
from integrations.models import Mapping
from integrations.post import Event
from integrations.sources.khoros.events import kind_of
from integrations.sources.khoros.examples import example
from integrations.sources.khoros.parse import parse
from integrations.templating import TemplateError


def example_event(event_name: str) -> Event:
    """The example notification of an event, read as a real one would be."""
    envelope = example(event_name, at=timezone.now().replace(microsecond=0))
    return parse(json.dumps(envelope).encode(), feed_event=event_name)


def example_ticket(mapping: Mapping) -> dict[str, Any]:
    """The ticket of the example, field by field, and whether the mapping's conditions would take it."""
    event_name = mapping.subscription.event_name
    event = example_event(event_name)
    post = event.posts[0]
    found: dict[str, Any] = {"event": kind_of(event_name).title, "refused": why_not(mapping.conditions, post)}
    destination = DESTINATIONS[mapping.connection.kind]
    reference = destination.external_id(post, str(mapping.uuid))
    try:
        request = destination.build(post, _context(mapping, event), mapping.settings, reference)
    except TemplateError as error:
        return found | {"problem": str(error)}
    return found | {"rows": destination.describe(request)}


def _context(mapping: Mapping, event: Event) -> Context:
    return Context(
        label=mapping.subscription.listens_to,
        event=event.name,
        company=mapping.subscription.company.name,
        mapping=mapping.name,
        notification_id="1",
        labelled_at=event.happened_at,
        received_at=event.happened_at,
    )
