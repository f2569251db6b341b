"""From a notification and a mapping to the request that will be sent: routing, recovery and previews render alike."""

from dataclasses import replace

import structlog
from django.utils.http import parse_header_parameters

from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Context, Rules
from integrations.domain.post import Event, Post, Unreadable
from integrations.infra.text import storable
from integrations.models import Delivery, DeliveryContent, Mapping, Notification, Subscription
from integrations.sources.registry import kind_of, parse

log = structlog.get_logger(__name__)


def read_event(notification: Notification) -> Event:
    """The notification as it is parsed today. Raises Unreadable, also where its content is no longer kept."""
    if not notification.has_content:
        raise Unreadable("The notification's content is no longer kept, so it cannot be read again.")
    event_name = notification.subscription.event_name
    return parse(notification.content.body, declared_charset(notification), subscribed_event=event_name)


def declared_charset(notification: Notification) -> str:
    """The character set that the stored Content-Type names; empty when it names none."""
    _, parameters = parse_header_parameters(notification.content.headers.get("Content-Type", ""))
    return parameters.get("charset", "")


def shared_post(mapping: Mapping, post: Post) -> Post:
    """The post as it may leave the portal: without agents' internal notes, unless the mapping shares them."""
    return post if rules_of(mapping).shares_notes else replace(post, notes=())


def rules_of(mapping: Mapping) -> Rules:
    return DESTINATIONS[mapping.connection.kind].rules(mapping.settings)


def render_into(delivery: Delivery, notification: Notification, event: Event, post: Post, mapping: Mapping) -> None:
    """Puts the rendered request into a delivery and its content, unsaved; if that fails, the delivery says why."""
    content = delivery.content if delivery.has_content else DeliveryContent(delivery=delivery)
    destination = DESTINATIONS[mapping.connection.kind]
    content.external_id = destination.external_id(post.post_id, str(mapping.uuid), delivery.occasion)
    context = context_of(notification, event, mapping, delivery.follows if delivery.follows_id else None)
    post = shared_post(mapping, post)
    try:
        content.request = destination.build(post, context, mapping.settings, content.external_id)
        content.remarks = storable("\n".join(destination.remarks(post, context, mapping.settings)))
        delivery.state, delivery.is_rendered = Delivery.State.PENDING, True
        delivery.last_error = delivery.cause = delivery.remedy = delivery.remedy_at = ""
    except Exception as error:
        # Whatever is wrong with a mapping's templates must not prevent the notification's other tickets.
        log.warning("rendering failed", mapping_id=mapping.pk, post_id=post.post_id, error=str(error))
        content.request = ""
        delivery.state, delivery.is_rendered = Delivery.State.FAILED, False
        delivery.next_attempt_at = None
        delivery.last_error = f"The mapping could not be rendered: {error} Fix the mapping, then press “Rebuild”."
        delivery.cause = storable(f"The mapping could not be rendered: {error}")[:250]
        delivery.remedy = "Fix the mapping, then press “Rebuild”."
        delivery.remedy_at = "mapping"


def context_of(notification: Notification, event: Event, mapping: Mapping, first: Delivery | None = None) -> Context:
    """`first`: the delivery that this one is sent after."""
    subscription = notification.subscription
    thing = first.remote_object if first is not None else None
    return Context(
        label=label_in_texts(subscription),
        event=event.name,
        company=subscription.company_name,
        mapping=mapping.name,
        mapping_uuid=str(mapping.uuid),
        notification_id=str(notification.pk),
        labelled_at=event.happened_at,
        received_at=notification.received_at,
        made_number=thing.number if thing else "",
        made_link=thing.url if thing else "",
        made_status=thing.status if thing else "",
        made_thing=DESTINATIONS[first.connection.kind].thing if first is not None and thing else "",
    )


def label_in_texts(subscription: Subscription) -> str:
    """The label itself; what happened where a subscription listens to everything, or by an expression."""
    if subscription.match == Subscription.Match.LABEL and subscription.label:
        return subscription.label
    return kind_of(subscription.event_name).title


def post_of(delivery: Delivery) -> tuple[Event, Post]:
    """The delivery's post, parsed again from its notification. Raises Unreadable when it is not found there."""
    event = read_event(delivery.notification)
    for post in event.posts:
        if post.post_id == delivery.post_id:
            return event, post
    raise Unreadable("The post can no longer be found in the notification.")
