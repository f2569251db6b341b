"""New deliveries: one for each post that a mapping takes, its request rendered and stored, or waiting for another.

Each is made once, whoever asks and however often: a second label on the same post is counted on the delivery that
there is. In the transaction that routes the notification, which stores their contents beside its posts.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from integrations.delivery.bursts import burst_for, count_posts, join_burst
from integrations.delivery.cases import case_key, join_case
from integrations.delivery.following import begin_to_follow
from integrations.destinations import DESTINATIONS
from integrations.domain.post import Event, Post
from integrations.infra.database_clock import now
from integrations.mapping import render_into, rules_of
from integrations.models import Burst, Delivery, DeliveryContent, FloodHold, Mapping, Notification

LIVE_SECONDS = 15 * 60
LONGEST_CHAIN = 20


@dataclass(frozen=True, slots=True)
class Created:
    """What became of one post. `content` is still to be stored; `reason`: why there is no delivery, or no new one."""

    post_id: str
    delivery_id: int | None = None
    is_new: bool = False
    reason: str = ""
    content: DeliveryContent | None = None


def create_deliveries(notification: Notification, event: Event, posts: list[Post], mapping: Mapping) -> list[Created]:
    """One delivery per post.

    In the order of post ids, so that two notifications with the same posts do not deadlock.
    """
    posts = sorted(posts, key=lambda post: post.post_id)
    occasion = _occasion(notification, mapping)
    deliveries, refused = _unsaved(notification, posts, mapping, occasion)
    burst = _joined_burst(mapping, deliveries, occasion)
    for post, delivery in deliveries.values():
        _render_or_wait(delivery, notification, event, post)
    new = _store(notification, mapping, occasion, {post_id: row for post_id, (_, row) in deliveries.items()})
    if burst is not None:
        count_posts(
            burst, {row.pk: post for post, row in deliveries.values() if row.pk in new and row.burst_id == burst.pk}
        )
    again = [delivery.pk for _, delivery in deliveries.values() if delivery.pk not in new]
    if again:
        Delivery.objects.filter(pk__in=again).update(labelled_again=F("labelled_again") + 1, labelled_again_at=Now())
    return refused + [_created(post_id, row, is_new=row.pk in new) for post_id, (_, row) in deliveries.items()]


def why_not_rendered(notification: Notification, event: Event, post: Post, mapping: Mapping) -> str:
    """Why no request could be made of the post, or nothing. For a trial: nothing is stored."""
    delivery = _unsaved_one(notification, post, mapping, occasion="")
    render_into(delivery, notification, event, post, mapping)
    return delivery.last_error


def _unsaved(
    notification: Notification, posts: list[Post], mapping: Mapping, occasion: str
) -> tuple[dict[str, tuple[Post, Delivery]], list[Created]]:
    """Unsaved deliveries by post id, and why there is none of a post that is not sent without another's."""
    firsts = _firsts(mapping, posts, occasion)
    deliveries: dict[str, tuple[Post, Delivery]] = {}
    refused = []
    for post in posts:
        delivery = _unsaved_one(notification, post, mapping, occasion)
        reason = begin_to_follow(delivery, firsts.get(post.post_id)) if mapping.follows_id else ""
        if reason:
            refused.append(Created(post.post_id, reason=reason))
        else:
            deliveries[post.post_id] = (post, delivery)
    return deliveries, refused


def _unsaved_one(notification: Notification, post: Post, mapping: Mapping, occasion: str) -> Delivery:
    rules = rules_of(mapping)
    return Delivery(
        notification=notification,
        mapping=mapping,
        connection=mapping.connection,
        post_id=post.post_id,
        occasion=occasion,
        case_key=case_key(post, mapping, rules),
        priority=_priority(notification),
        adds_note=rules.adds_note,
        is_prepared=not rules.needs_preparation,
        network=post.network,
        posted_at=post.posted_at,
        event_at=notification.happened_at or notification.received_at,
        next_attempt_at=Now(),
    )


def _priority(notification: Notification) -> int:
    """What happened a while ago (fetched late, routed again) does not go before what is live."""
    is_fetched = notification.source == Notification.Source.CAUGHT_UP
    when = (notification.happened_at if is_fetched else None) or notification.received_at
    if when < now() - timedelta(seconds=LIVE_SECONDS):
        return Delivery.Priority.BULK
    # Where events are only fetched, fetched ones are the live ones.
    return Delivery.Priority.RETRY if is_fetched and notification.subscription.is_pushed else Delivery.Priority.LIVE


def _firsts(mapping: Mapping, posts: list[Post], occasion: str) -> dict[str, Delivery]:
    """By post: the delivery of the mapping that this one is sent after, from whichever notification."""
    if mapping.follows_id is None:
        return {}
    ids = [post.post_id for post in posts]
    rows = Delivery.objects.filter(mapping=mapping.follows_id, post_id__in=ids, occasion=occasion)
    return {delivery.post_id: delivery for delivery in rows.select_related("remote_object")}


def _occasion(notification: Notification, mapping: Mapping) -> str:
    """What tells several deliveries of one post and mapping apart: the event, as any copy of the portal knows it.

    What follows a mapping that makes several of a post makes as many.
    """
    first = mapping
    for _ in range(LONGEST_CHAIN):
        if rules_of(first).case == "always":
            return f"e{notification.event_key.hex}"
        if first.follows is None:
            break
        first = first.follows
    return ""


def _joined_burst(mapping: Mapping, deliveries: dict[str, tuple[Post, Delivery]], occasion: str) -> Burst | None:
    """The burst that they join, if they are too many; what is not sent anyway begins none and joins none."""
    sent = [(post, delivery) for post, delivery in deliveries.values() if delivery.state != Delivery.State.CANCELLED]
    burst = burst_for(mapping, [post for post, _ in sent], occasion)
    if burst is not None:
        for _, delivery in sent:
            join_burst(delivery, burst)
    return burst


def _render_or_wait(delivery: Delivery, notification: Notification, event: Event, post: Post) -> None:
    """The request is rendered once: now, or when what it is sent after exists."""
    if not delivery.is_rendered:
        destination = DESTINATIONS[delivery.connection.kind]
        known_as = destination.external_id(post.post_id, str(delivery.mapping.uuid), delivery.occasion)
        delivery.content = DeliveryContent(delivery=delivery, external_id=known_as, request="")
        return
    render_into(delivery, notification, event, post, delivery.mapping)
    hold_id = FloodHold.open_on(delivery.mapping)
    if delivery.state == Delivery.State.PENDING and hold_id is not None:
        delivery.state, delivery.flood_hold_id, delivery.next_attempt_at = Delivery.State.HELD, hold_id, None


def _store(notification: Notification, mapping: Mapping, occasion: str, deliveries: dict[str, Delivery]) -> set[int]:
    """Stores those that are not there yet, and gives each its id. Returns the ids of those that are new."""
    same = Delivery.objects.filter(mapping=mapping, post_id__in=deliveries, occasion=occasion)
    # What an earlier routing of the same notification made is not new.
    before = set(same.values_list("post_id", flat=True)) if notification.routed_at else set()
    Delivery.objects.bulk_create(deliveries.values(), ignore_conflicts=True, batch_size=500)
    stored = {delivery.post_id: delivery for delivery in same.only("pk", "post_id", "notification_id")}
    new = set()
    for post_id, delivery in deliveries.items():
        delivery.pk = stored[post_id].pk
        if post_id not in before and stored[post_id].notification_id == notification.pk:
            new.add(delivery.pk)
            join_case(delivery)
    return new


def _created(post_id: str, delivery: Delivery, *, is_new: bool) -> Created:
    if not is_new:
        return Created(post_id, delivery.pk, reason="labelled again")
    content = delivery.content
    content.delivery = delivery
    return Created(post_id, delivery.pk, is_new=True, content=content)
