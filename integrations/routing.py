"""From a stored notification to deliveries: each post times each active mapping whose conditions hold.

One delivery per (mapping, post), with its request rendered and stored. Everything happens in one transaction with the
notification's own row locked, so a routing that dies leaves nothing half done and may run again. What came of each
post and mapping is noted on the notification; where nothing was made, it says why.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.core.exceptions import ValidationError
from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.http import parse_header_parameters

from integrations import cases, incidents
from integrations.conditions import why_not
from integrations.database_time import now
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Context, Rules
from integrations.models import Delivery, Mapping, Notification, SelfTest, Subscription
from integrations.models.configuration import without_lists
from integrations.post import Event, Post, Unreadable, storable
from integrations.sources.khoros.envelope import SELF_TEST_MARK
from integrations.sources.khoros.parse import parse

log = structlog.get_logger(__name__)

KEPT_TEXT = 2000
LIVE_SECONDS = 15 * 60
LONGEST_SUMMARY = 2000
SUBSCRIPTION_IS_OFF = "The subscription is switched off here. Switch it on, then use “route again”."


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


def route(notification_id: int) -> dict[int, int]:
    """Makes the deliveries of a notification still to be routed; returns how many new ones each connection has.

    Safe to repeat: a notification that was routed already, or is being routed elsewhere, gives an empty answer.
    """
    with transaction.atomic():
        notification = (
            Notification.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("subscription__company")
            .defer(*without_lists("subscription__company__"))
            .filter(pk=notification_id, state=Notification.State.RECEIVED)
            .first()
        )
        if notification is None:
            return {}
        outcomes = _route_locked(notification)
    new = [outcome for outcome in outcomes if outcome.is_new and outcome.delivery_id is not None]
    log.info("notification routed", state=notification.state, delivery_ids=[outcome.delivery_id for outcome in new])
    return Counter(outcome.mapping.connection_id for outcome in new)


def _route_locked(notification: Notification) -> list[Outcome]:
    try:
        with transaction.atomic():
            return _read_and_route(notification)
    except Unreadable as unreadable:
        _finish(notification, Notification.State.UNREADABLE, str(unreadable))
    except OperationalError:
        raise
    except Exception as error:
        # A defect of ours must not be met again at every sweep: a person sees it and can route again later.
        log.exception("the notification could not be routed")
        notification.summary, notification.outcome = "", []
        words = f"Casebridge failed to route it ({type(error).__name__}). Report this to whoever runs Casebridge."
        _finish(notification, Notification.State.UNREADABLE, words)
    return []


def _read_and_route(notification: Notification) -> list[Outcome]:
    event = read_event(notification)
    notification.summary = summary_of(event.posts)
    if reason := _why_no_mapping_is_asked(notification.subscription, event):
        _finish(notification, Notification.State.UNMATCHED, reason)
        return []
    mappings = incidents.with_open_incident(notification.subscription.mappings.select_related("connection"))
    decide = _outcomes if _makes_tickets(notification) else _what_would_be
    outcomes = [outcome for mapping in mappings for outcome in decide(notification, event, mapping)]
    _finish_with(notification, outcomes)
    return outcomes


def read_event(notification: Notification) -> Event:
    """The notification as it is read today. Raises Unreadable."""
    feed_event = notification.subscription.event_name
    return parse(bytes(notification.body), declared_charset(notification), feed_event=feed_event)


def declared_charset(notification: Notification) -> str:
    """The character set that the stored Content-Type names; empty when it names none."""
    _, parameters = parse_header_parameters(notification.headers.get("Content-Type", ""))
    return parameters.get("charset", "")


def summary_of(posts: tuple[Post, ...]) -> str:
    lines = (f"{post.post_id} {post.author_words}: {' '.join(post.text.split())[:200]}" for post in posts)
    return "\n".join(lines)[:LONGEST_SUMMARY]


def _why_no_mapping_is_asked(subscription: Subscription, event: Event) -> str:
    if not subscription.is_active:
        return SUBSCRIPTION_IS_OFF
    if event.name != subscription.event_name:
        name = f"“{event.name[:100]}”" if event.name else "without a name"
        return f"The event is {name}, but this subscription is for “{subscription.event_name}”: no mapping was asked."
    if not event.posts:
        return "The notification holds no posts, so there is nothing to make a ticket of."
    return ""


def _outcomes(notification: Notification, event: Event, mapping: Mapping) -> list[Outcome]:
    """What becomes of each post under one mapping."""
    if reason := _why_mapping_makes_nothing(mapping):
        return [Outcome(post.post_id, mapping, reason=reason) for post in event.posts]
    reasons = {post.post_id: why_not(mapping.conditions, post) for post in event.posts}
    taken = [post for post in event.posts if not reasons[post.post_id]]
    refused = [Outcome(post_id, mapping, reason=reason) for post_id, reason in reasons.items() if reason]
    return refused + _make_once(notification, event, taken, mapping)


def _makes_tickets(notification: Notification) -> bool:
    """Everything does, except for a self-test that was not asked to."""
    if notification.source != Notification.Source.TEST:
        return True
    uuid = notification.event_key.removeprefix(f"uuid:{SELF_TEST_MARK}")
    try:
        return SelfTest.objects.filter(uuid=uuid, makes_tickets=True).exists()
    except ValidationError:
        return False


def _what_would_be(notification: Notification, event: Event, mapping: Mapping) -> list[Outcome]:
    """The same decisions without anything made: for self-tests."""
    off = _why_mapping_makes_nothing(mapping)
    found = []
    for post in event.posts:
        reason = off or why_not(mapping.conditions, post)
        if not reason:
            problem = _new_delivery(notification, event, post, mapping).last_error
            reason = problem or "it would make a ticket, but this self-test makes none"
        found.append(Outcome(post.post_id, mapping, reason=reason))
    return found


def _why_mapping_makes_nothing(mapping: Mapping) -> str:
    if not mapping.is_active:
        return "the mapping is switched off"
    return "" if mapping.connection.is_active else f"the connection “{mapping.connection}” is switched off"


def _make_once(notification: Notification, event: Event, posts: list[Post], mapping: Mapping) -> list[Outcome]:
    """One delivery for each post; a second label on the same post is counted on the delivery that is there.

    In the order of the posts' ids, so that two notifications with the same posts do not wait for each other in a ring.
    """
    posts = sorted(posts, key=lambda post: post.post_id)
    wished = {post.post_id: _new_delivery(notification, event, post, mapping) for post in posts}
    Delivery.objects.bulk_create(wished.values(), ignore_conflicts=True, batch_size=500)
    occasions = {delivery.occasion for delivery in wished.values()}
    there = Delivery.objects.filter(mapping=mapping, post_id__in=wished, occasion__in=occasions)
    there = there.only("pk", "uuid", "post_id")
    found = {delivery.post_id: delivery for delivery in there}
    again = [found[post_id].pk for post_id, delivery in wished.items() if found[post_id].uuid != delivery.uuid]
    for post_id, delivery in wished.items():
        if found[post_id].uuid == delivery.uuid:
            cases.join(delivery)
    Delivery.objects.filter(pk__in=again).update(labelled_again=F("labelled_again") + 1, labelled_again_at=Now())
    return [
        Outcome(post_id, mapping, found[post_id].pk, is_new, "" if is_new else "labelled again")
        for post_id, delivery in wished.items()
        for is_new in [found[post_id].uuid == delivery.uuid]
    ]


def _new_delivery(notification: Notification, event: Event, post: Post, mapping: Mapping) -> Delivery:
    rules = rules_of_mapping(mapping)
    delivery = Delivery(
        notification=notification,
        mapping=mapping,
        connection=mapping.connection,
        post_id=post.post_id,
        occasion=f"n{notification.pk}" if rules.case == "always" else "",
        case_key=cases.case_key(post, mapping, rules),
        lane=lane_of(notification),
        adds_note=rules.adds_note,
        is_prepared=not needs_preparing(rules),
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
    if delivery.state == Delivery.State.PENDING:
        incidents.hold_new(delivery, mapping)
    return delivery


def rules_of_mapping(mapping: Mapping) -> Rules:
    return DESTINATIONS[mapping.connection.kind].rules(mapping.settings)


def needs_preparing(rules: Rules) -> bool:
    """Whether a case or an author has to be asked about before the request is final."""
    return rules.case in ("conversation", "author") or rules.requester == "author"


def lane_of(notification: Notification) -> int:
    """What happened a while ago (fetched late, routed again) does not go before what happens now."""
    is_fetched = notification.source == Notification.Source.CAUGHT_UP
    when = (notification.happened_at if is_fetched else None) or notification.received_at
    is_old = when < now() - timedelta(seconds=LIVE_SECONDS)
    return Delivery.Lane.BULK if is_old else Delivery.Lane.LIVE


def render_into(delivery: Delivery, notification: Notification, event: Event, post: Post, mapping: Mapping) -> None:
    """Puts the rendered request into an unsaved delivery; a template that fails makes it failed and says why."""
    destination = DESTINATIONS[mapping.connection.kind]
    delivery.external_id = destination.external_id(post, str(mapping.uuid), delivery.occasion)
    context = context_of(notification, event, mapping)
    try:
        delivery.request = destination.build(post, context, mapping.settings, delivery.external_id)
        delivery.remarks = storable("\n".join(destination.remarks(post, context, mapping.settings)))
        delivery.state = Delivery.State.PENDING
        delivery.last_error = delivery.cause = delivery.remedy = delivery.remedy_at = ""
    except Exception as error:
        # Whatever is wrong with a mapping's templates must not keep the notification's other tickets from being made.
        log.warning("not rendered", mapping_id=mapping.pk, post_id=post.post_id, error=str(error))
        delivery.request = ""
        delivery.state = Delivery.State.FAILED
        delivery.next_attempt_at = None
        delivery.last_error = f"The mapping could not be rendered: {error} Correct the mapping, then use “rebuild”."
        delivery.cause = storable(f"The mapping could not be rendered: {error}")[:250]
        delivery.remedy = "Correct the mapping, then use “rebuild”."
        delivery.remedy_at = "mapping"


def context_of(notification: Notification, event: Event, mapping: Mapping) -> Context:
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
    event = read_event(delivery.notification)
    for post in event.posts:
        if post.post_id == delivery.post_id:
            return event, post
    raise Unreadable("The post is not in the notification any more, as it is read today.")
