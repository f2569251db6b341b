"""From a stored notification to deliveries: each post times each active mapping whose conditions hold.

One delivery per (mapping, post), with its request rendered and stored. Everything happens in one transaction with the
notification's own row locked, so a routing that dies leaves nothing half done and may run again. What came of each
post and mapping is noted on the notification; where nothing was made, it says why.
"""

from dataclasses import dataclass

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from integrations.conditions import why_not
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Context
from integrations.models import Delivery, Mapping, Notification, Subscription
from integrations.post import Event, Post, Unreadable
from integrations.sources.khoros.parse import parse

log = structlog.get_logger(__name__)

KEPT_TEXT = 2000
LONGEST_SUMMARY = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What routing decided for one post and one mapping."""

    post_id: str
    mapping: Mapping
    delivery_id: int | None = None
    is_new: bool = False
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "post": self.post_id,
            "mapping": self.mapping.pk,
            "mapping_name": self.mapping.name,
            "delivery": self.delivery_id,
            "made": self.is_new,
            "reason": self.reason,
        }


def route(notification_id: int) -> list[int]:
    """Makes the deliveries of a notification still to be routed and returns the ids of the new ones.

    Safe to repeat: a notification that was routed already, or is being routed elsewhere, gives an empty list.
    """
    with transaction.atomic():
        notification = (
            Notification.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("subscription__company")
            .filter(pk=notification_id, state=Notification.State.RECEIVED)
            .first()
        )
        if notification is None:
            return []
        outcomes = _route_locked(notification)
    new = [outcome.delivery_id for outcome in outcomes if outcome.is_new and outcome.delivery_id is not None]
    log.info("notification routed", state=notification.state, delivery_ids=new)
    return new


def _route_locked(notification: Notification) -> list[Outcome]:
    try:
        event = parse(bytes(notification.body))
    except Unreadable as unreadable:
        _finish(notification, Notification.State.UNREADABLE, str(unreadable))
        return []
    except Exception as error:
        # A defect of the reader must not be met again and again by the sweep: a person sees it and can route again.
        log.exception("the reader failed")
        _finish(notification, Notification.State.UNREADABLE, f"Casebridge failed to read it ({type(error).__name__}).")
        return []
    notification.summary = summary_of(event.posts)
    if reason := _why_no_mapping_is_asked(notification.subscription, event):
        _finish(notification, Notification.State.UNMATCHED, reason)
        return []
    outcomes = [
        _outcome(notification, event, post, mapping)
        for mapping in _mappings_of(notification.subscription)
        for post in event.posts
    ]
    _finish_with(notification, outcomes)
    return outcomes


def summary_of(posts: tuple[Post, ...]) -> str:
    lines = (f"{post.post_id} {post.author_words}: {' '.join(post.text.split())[:200]}" for post in posts)
    return "\n".join(lines)[:LONGEST_SUMMARY]


def _why_no_mapping_is_asked(subscription: Subscription, event: Event) -> str:
    if not subscription.is_active:
        return "The subscription is switched off here. Switch it on, then use “route again”."
    if event.name != subscription.event_name:
        name = f"“{event.name[:100]}”" if event.name else "without a name"
        return f"The event is {name}, but this subscription is for “{subscription.event_name}”: no mapping was asked."
    if not event.posts:
        return "The notification holds no posts, so there is nothing to make a ticket of."
    return ""


def _mappings_of(subscription: Subscription) -> list[Mapping]:
    return list(subscription.mappings.select_related("connection").order_by("pk"))


def _outcome(notification: Notification, event: Event, post: Post, mapping: Mapping) -> Outcome:
    if not mapping.is_active:
        return Outcome(post.post_id, mapping, reason="the mapping is switched off")
    if not mapping.connection.is_active:
        return Outcome(post.post_id, mapping, reason=f"the connection “{mapping.connection}” is switched off")
    if reason := why_not(mapping.conditions, post):
        return Outcome(post.post_id, mapping, reason=reason)
    delivery, is_new = _make_once(notification, event, post, mapping)
    return Outcome(post.post_id, mapping, delivery.pk, is_new, "" if is_new else "labelled again")


def _make_once(notification: Notification, event: Event, post: Post, mapping: Mapping) -> tuple[Delivery, bool]:
    """The one delivery of this post and mapping; a second label on the same post is counted on the first."""
    delivery = _new_delivery(notification, event, post, mapping)
    made = Delivery.objects.bulk_create([delivery], ignore_conflicts=True)[0]
    existing = Delivery.objects.only("pk", "uuid").get(mapping=mapping, post_id=post.post_id)
    if existing.uuid == made.uuid:
        return existing, True
    Delivery.objects.filter(pk=existing.pk).update(labelled_again=F("labelled_again") + 1, labelled_again_at=Now())
    return existing, False


def _new_delivery(notification: Notification, event: Event, post: Post, mapping: Mapping) -> Delivery:
    delivery = Delivery(
        notification=notification,
        mapping=mapping,
        connection=mapping.connection,
        post_id=post.post_id,
        native_id=post.native_id[:250],
        network=post.network,
        author=post.author_words[:200],
        text=" ".join(post.text.split())[:300],
        link=post.link[:2000],
        posted_at=post.posted_at,
        search_text=f"{post.author} {post.author_handle} {post.text[:KEPT_TEXT]}",
        next_attempt_at=Now(),
    )
    render_into(delivery, notification, event, post, mapping)
    return delivery


def render_into(delivery: Delivery, notification: Notification, event: Event, post: Post, mapping: Mapping) -> None:
    """Puts the rendered request into an unsaved delivery; a template that fails makes it failed and says why."""
    destination = DESTINATIONS[mapping.connection.kind]
    delivery.external_id = destination.external_id(post, str(mapping.uuid))
    try:
        delivery.request = destination.build(
            post, _context(notification, event, mapping), mapping.settings, delivery.external_id
        )
        delivery.state = Delivery.State.PENDING
        delivery.last_error = ""
    except Exception as error:
        # Whatever is wrong with a mapping's templates must not keep the notification's other tickets from being made.
        log.warning("not rendered", mapping_id=mapping.pk, post_id=post.post_id, error=str(error))
        delivery.request = ""
        delivery.state = Delivery.State.FAILED
        delivery.next_attempt_at = None
        delivery.last_error = f"The mapping could not be rendered: {error} Correct the mapping, then use “rebuild”."


def _context(notification: Notification, event: Event, mapping: Mapping) -> Context:
    subscription = notification.subscription
    return Context(
        label=subscription.listens_to,
        event=event.name,
        company=subscription.company.name,
        mapping=mapping.name,
        notification_id=str(notification.pk),
        labelled_at=event.happened_at,
        received_at=notification.received_at,
    )


def _finish_with(notification: Notification, outcomes: list[Outcome]) -> None:
    notification.outcome = [outcome.as_json() for outcome in outcomes]
    if any(outcome.delivery_id for outcome in outcomes):
        _finish(notification, Notification.State.ROUTED, "")
        return
    reasons = [f"{outcome.mapping.name}, {outcome.post_id}: {outcome.reason}." for outcome in outcomes]
    nothing = "No mapping belongs to this subscription. Make one, then use “route again”."
    _finish(notification, Notification.State.UNMATCHED, "\n".join(reasons) or nothing)


def _finish(notification: Notification, state: str, reason: str) -> None:
    notification.state, notification.reason = state, reason
    notification.routed_at = Now()
    notification.save(update_fields=["state", "reason", "routed_at", "summary", "outcome"])


def post_of(delivery: Delivery) -> tuple[Event, Post]:
    """The delivery's post, read anew from its notification. Raises Unreadable when it is no longer found there."""
    event = parse(bytes(delivery.notification.body))
    for post in event.posts:
        if post.post_id == delivery.post_id:
            return event, post
    raise Unreadable("The post is not in the notification any more, as it is read today.")
