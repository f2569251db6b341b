"""From a stored notification to deliveries: each post times each active mapping whose conditions hold.

One delivery per (mapping, post), with its request rendered and stored. Everything happens in one transaction with the
notification's own row locked, so a routing that dies leaves nothing half done and may run again. The outcome for each
post and mapping is stored on the notification; where no ticket comes of it, it says why.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from django.core.exceptions import ValidationError
from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now

from integrations.delivery import (
    begin_to_follow,
    burst_for,
    case_key,
    count_posts,
    hold_new,
    join_burst,
    join_case,
    with_open_hold,
)
from integrations.destinations import DESTINATIONS
from integrations.domain.conditions import Verdict
from integrations.domain.pairs import pairs_in
from integrations.domain.post import Event, Post, Unreadable
from integrations.infra.database_clock import now
from integrations.infra.text import article
from integrations.intake import SUBSCRIPTION_IS_OFF
from integrations.mapping import author_key, judge_post, read_event, render_into, rules_of
from integrations.models import (
    Burst,
    Delivery,
    DeliveryContent,
    Mapping,
    Notification,
    PostContent,
    Probe,
    Subscription,
)
from integrations.models.configuration import without_lists
from integrations.routing.alarms import tells_of_itself
from integrations.sources.khoros.envelope import PROBE_MARK

log = structlog.get_logger(__name__)

KEPT_TEXT = 2000
LIVE_SECONDS = 15 * 60
LONGEST_AUTHOR = 200
LONGEST_CHAIN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What routing decided for one post and one mapping."""

    post_id: str
    mapping: Mapping
    delivery_id: int | None = None
    is_new: bool = False
    reason: str = ""
    content: DeliveryContent | None = None
    verdict: Verdict | None = None

    def as_json(self) -> dict[str, object]:
        judged = list(self.verdict.lines()) if self.verdict else []
        return {
            "mapping": self.mapping.pk,
            "mapping_name": self.mapping.name,
            "delivery": self.delivery_id,
            "made": self.is_new,
            "reason": self.reason,
            **({"judged": judged} if judged else {}),
        }


def route_notification(notification_id: int) -> dict[int, int]:
    """Creates the deliveries of a notification that is to be routed; returns the number of new ones by connection.

    Safe to repeat: empty for a notification that was routed already, or is being routed elsewhere.
    """
    with transaction.atomic():
        notification = (
            Notification.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("content", "subscription__company")
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
        # A defect of ours must not recur at every sweep: staff see it and can route again later.
        log.exception("routing failed")
        message = (
            f"Processing failed because of an error in Casebridge ({type(error).__name__}). Report this to whoever "
            "runs it."
        )
        _finish(notification, Notification.State.UNREADABLE, message)
    return []


def _read_and_route(notification: Notification) -> list[Outcome]:
    event = read_event(notification)
    if reason := _why_unroutable(notification.subscription, event):
        _store_posts(notification, event, [])
        _finish(notification, Notification.State.UNMATCHED, reason)
        return []
    mappings = with_open_hold(notification.subscription.mappings.select_related("connection", "follows__connection"))
    decide = _outcomes if _makes_tickets(notification) else _dry_run
    ordered = firsts_before_followers(list(mappings))
    outcomes = [outcome for mapping in ordered for outcome in decide(notification, event, mapping)]
    outcomes.sort(key=lambda outcome: outcome.mapping.pk)
    _store_posts(notification, event, outcomes)
    _finish_routed(notification, outcomes)
    return outcomes


def firsts_before_followers(mappings: list[Mapping]) -> list[Mapping]:
    """Each after the one that it follows. What follows in a circle, which no form takes, comes last."""
    ordered: list[Mapping] = []
    left = mappings
    while left:
        done = {mapping.pk for mapping in ordered}
        waiting = {mapping.pk for mapping in left}
        ready = [mapping for mapping in left if mapping.follows_id not in waiting or mapping.follows_id in done]
        if not ready:
            return ordered + left
        ordered += ready
        left = [mapping for mapping in left if mapping not in ready]
    return ordered


def _store_posts(notification: Notification, event: Event, outcomes: list[Outcome]) -> None:
    """What lists show of the posts, what was decided for each, and what their new deliveries send."""
    if notification.routed_at is not None:
        PostContent.objects.filter(notification=notification).delete()
    texts = [f"{' '.join(post.author_text.split())[:LONGEST_AUTHOR]}\n{post.text[:KEPT_TEXT]}" for post in event.posts]
    posts = PostContent.objects.bulk_create(
        PostContent(
            notification=notification,
            position=position,
            post_id=post.post_id,
            search_text=texts[position],
            pairs=pairs_in(texts[position]) or None,
            link=post.link[:2000],
            author_key=author_key(notification.subscription.company_id, post),
            outcome=[outcome.as_json() for outcome in outcomes if outcome.post_id == post.post_id],
        )
        for position, post in enumerate(event.posts)
    )
    by_id = {post.post_id: post for post in posts}
    contents = [outcome.content for outcome in outcomes if outcome.content is not None]
    for content in contents:
        content.post = by_id[content.delivery.post_id]
    DeliveryContent.objects.bulk_create(contents)


def _why_unroutable(subscription: Subscription, event: Event) -> str:
    if not subscription.is_active:
        return SUBSCRIPTION_IS_OFF
    if event.name != subscription.event_name:
        name = f"“{event.name[:100]}”" if event.name else "without a name"
        return f"The event is {name}, but this subscription is for “{subscription.event_name}”."
    if not event.posts:
        return "The notification contains no posts, so there is nothing to deliver."
    return ""


def _outcomes(notification: Notification, event: Event, mapping: Mapping) -> list[Outcome]:
    """What becomes of each post under one mapping."""
    reason = _why_mapping_makes_nothing(mapping)
    if not reason and tells_of_itself(notification, mapping):
        reason = "the alarm is about this mapping or its connection, so it goes to the others"
    if reason:
        return [Outcome(post.post_id, mapping, reason=reason) for post in event.posts]
    verdicts = {post.post_id: judge_post(mapping, event, post, notification) for post in event.posts}
    taken = [post for post in event.posts if verdicts[post.post_id].holds]
    refused = [
        Outcome(post_id, mapping, reason=verdict.reason) for post_id, verdict in verdicts.items() if not verdict.holds
    ]
    outcomes = refused + _create_once(notification, event, taken, mapping)
    return [replace(outcome, verdict=verdicts[outcome.post_id]) for outcome in outcomes]


def _firsts(mapping: Mapping, posts: list[Post], occasion: str) -> dict[str, Delivery]:
    """By post: the delivery of the mapping that this one is sent after, from whichever notification."""
    if mapping.follows_id is None:
        return {}
    ids = [post.post_id for post in posts]
    rows = Delivery.objects.filter(mapping=mapping.follows_id, post_id__in=ids, occasion=occasion)
    return {delivery.post_id: delivery for delivery in rows.select_related("remote_object")}


def _makes_tickets(notification: Notification) -> bool:
    """Everything does, except for a probe that was not asked to."""
    if notification.source != Notification.Source.TEST:
        return True
    uuid = notification.content.event_key.removeprefix(f"uuid:{PROBE_MARK}")
    try:
        return Probe.objects.filter(uuid=uuid, makes_tickets=True).exists()
    except ValidationError:
        return False


def _dry_run(notification: Notification, event: Event, mapping: Mapping) -> list[Outcome]:
    """The same decisions without creating anything: for probes."""
    off, thing = _why_mapping_makes_nothing(mapping), DESTINATIONS[mapping.connection.kind].thing
    outcomes = []
    for post in event.posts:
        verdict = judge_post(mapping, event, post, notification)
        reason = off or verdict.reason
        if not reason:
            delivery = _new_delivery(notification, post, mapping, occasion="")
            render_into(delivery, notification, event, post, mapping)
            problem = delivery.last_error
            reason = problem or f"it would create {article(thing)} {thing}, but this test notification creates none"
        outcomes.append(Outcome(post.post_id, mapping, reason=reason, verdict=verdict))
    return outcomes


def _why_mapping_makes_nothing(mapping: Mapping) -> str:
    if not mapping.is_active:
        return "the mapping is off"
    return "" if mapping.connection.is_active else f"the connection “{mapping.connection}” is off"


def _create_once(notification: Notification, event: Event, posts: list[Post], mapping: Mapping) -> list[Outcome]:
    """One delivery per post; a second label on the same post is counted on the existing delivery.

    In the order of post ids, so that two notifications with the same posts do not deadlock.
    """
    posts = sorted(posts, key=lambda post: post.post_id)
    occasion = _occasion(notification, mapping)
    made, outcomes = _new_deliveries(notification, posts, mapping, occasion)
    burst = _joined_burst(mapping, made, occasion)
    for post, delivery in made.values():
        _render_or_wait(delivery, notification, event, post)
    same = Delivery.objects.filter(mapping=mapping, post_id__in=made, occasion=occasion)
    # What an earlier routing of the same notification made is not new.
    before = set(same.values_list("post_id", flat=True)) if notification.routed_at else set()
    Delivery.objects.bulk_create([row for _, row in made.values()], ignore_conflicts=True, batch_size=500)
    stored = {delivery.post_id: delivery for delivery in same.only("pk", "post_id", "notification_id")}
    for post_id, (_, delivery) in made.items():
        delivery.pk = stored[post_id].pk
        is_new = post_id not in before and stored[post_id].notification_id == notification.pk
        if is_new:
            join_case(delivery)
        content = _content_of(delivery) if is_new else None
        outcomes.append(
            Outcome(post_id, mapping, delivery.pk, is_new, "" if is_new else "labelled again", content=content)
        )
    new = {outcome.delivery_id for outcome in outcomes if outcome.is_new}
    if burst is not None:
        count_posts(burst, {row.pk: post for post, row in made.values() if row.pk in new and row.burst_id == burst.pk})
    again = [delivery.pk for _, delivery in made.values() if delivery.pk not in new]
    if again:
        Delivery.objects.filter(pk__in=again).update(labelled_again=F("labelled_again") + 1, labelled_again_at=Now())
    return outcomes


def _new_deliveries(
    notification: Notification, posts: list[Post], mapping: Mapping, occasion: str
) -> tuple[dict[str, tuple[Post, Delivery]], list[Outcome]]:
    """Unsaved deliveries by post id, and why there is none of a post that is not sent without another's."""
    firsts = _firsts(mapping, posts, occasion)
    made: dict[str, tuple[Post, Delivery]] = {}
    refused = []
    for post in posts:
        delivery = _new_delivery(notification, post, mapping, occasion)
        reason = begin_to_follow(delivery, firsts.get(post.post_id)) if mapping.follows_id else ""
        if reason:
            refused.append(Outcome(post.post_id, mapping, reason=reason))
        else:
            made[post.post_id] = (post, delivery)
    return made, refused


def _joined_burst(mapping: Mapping, made: dict[str, tuple[Post, Delivery]], occasion: str) -> Burst | None:
    """The burst that they join, if they are too many; what is not sent anyway begins none and joins none."""
    sent = [(post, delivery) for post, delivery in made.values() if delivery.state != Delivery.State.CANCELLED]
    burst = burst_for(mapping, [post for post, _ in sent], occasion)
    if burst is not None:
        for _, delivery in sent:
            join_burst(delivery, burst)
    return burst


def _content_of(delivery: Delivery) -> DeliveryContent:
    content = delivery.content
    content.delivery = delivery
    return content


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


def _new_delivery(notification: Notification, post: Post, mapping: Mapping, occasion: str) -> Delivery:
    rules = rules_of(mapping)
    return Delivery(
        notification=notification,
        mapping=mapping,
        connection=mapping.connection,
        post_id=post.post_id,
        occasion=occasion,
        case_key=case_key(post, mapping, rules),
        priority=priority_of(notification),
        adds_note=rules.adds_note,
        is_prepared=not rules.needs_preparation,
        network=post.network,
        posted_at=post.posted_at,
        event_at=notification.happened_at or notification.received_at,
        next_attempt_at=Now(),
    )


def _render_or_wait(delivery: Delivery, notification: Notification, event: Event, post: Post) -> None:
    """The request is rendered once: now, or when what it is sent after exists."""
    if not delivery.is_rendered:
        destination = DESTINATIONS[delivery.connection.kind]
        known_as = destination.external_id(post.post_id, str(delivery.mapping.uuid), delivery.occasion)
        delivery.content = DeliveryContent(delivery=delivery, external_id=known_as, request="")
        return
    render_into(delivery, notification, event, post, delivery.mapping)
    if delivery.state == Delivery.State.PENDING:
        hold_new(delivery, delivery.mapping)


def priority_of(notification: Notification) -> int:
    """What happened a while ago (fetched late, routed again) does not go before what is live."""
    is_fetched = notification.source == Notification.Source.CAUGHT_UP
    when = (notification.happened_at if is_fetched else None) or notification.received_at
    if when < now() - timedelta(seconds=LIVE_SECONDS):
        return Delivery.Priority.BULK
    # Where events are only fetched, fetched ones are the live ones.
    return Delivery.Priority.RETRY if is_fetched and notification.subscription.is_pushed else Delivery.Priority.LIVE


def _finish_routed(notification: Notification, outcomes: list[Outcome]) -> None:
    if any(outcome.delivery_id for outcome in outcomes):
        _finish(notification, Notification.State.ROUTED, "")
        return
    reasons = [f"{outcome.mapping.name}, {outcome.post_id}: {outcome.reason}." for outcome in outcomes]
    notification.is_refused = bool(outcomes) and all(_is_refused(outcome) for outcome in outcomes)
    nothing = "No mapping uses this subscription. Add one, then press “Process again”."
    _finish(notification, Notification.State.UNMATCHED, "\n".join(reasons) or nothing)


def _is_refused(outcome: Outcome) -> bool:
    return outcome.verdict is not None and not outcome.verdict.holds


def _finish(notification: Notification, state: str, reason: str) -> None:
    notification.state, notification.reason = state, reason
    notification.routed_at = Now()
    notification.save(update_fields=["state", "reason", "is_refused", "routed_at"])
