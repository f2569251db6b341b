"""From a stored notification to deliveries: each post times each active mapping whose conditions hold.

One delivery per (mapping, post), with its request rendered and stored. Everything happens in one transaction with the
notification's own row locked, so a routing that dies leaves nothing half done and may run again. The outcome for each
post and mapping is stored on the notification; where no ticket comes of it, it says why.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

import structlog
from django.core.exceptions import ValidationError
from django.db import OperationalError, transaction
from django.db.models.functions import Now

from integrations.delivery import create_deliveries, why_not_rendered
from integrations.destinations import DESTINATIONS
from integrations.domain.conditions import Verdict
from integrations.domain.pairs import pairs_in
from integrations.domain.post import Event, Unreadable
from integrations.infra.text import REPORT_IT, article, defect_text
from integrations.intake import SUBSCRIPTION_IS_OFF
from integrations.mapping import author_key, judge_post, read_event
from integrations.models import DeliveryContent, FloodHold, Mapping, Notification, PostContent, Probe, Subscription
from integrations.models.configuration import without_lists
from integrations.routing.alarms import tells_of_itself
from integrations.sources.khoros.envelope import PROBE_MARK

log = structlog.get_logger(__name__)

KEPT_TEXT = 2000
LONGEST_AUTHOR = 200


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
        _finish(notification, Notification.State.UNREADABLE, f"{defect_text('Processing', error)} {REPORT_IT}")
    return []


def _read_and_route(notification: Notification) -> list[Outcome]:
    event = read_event(notification)
    if reason := _why_unroutable(notification.subscription, event):
        _store_posts(notification, event, [])
        _finish(notification, Notification.State.UNMATCHED, reason)
        return []
    mappings = FloodHold.with_open(
        notification.subscription.mappings.select_related("connection", "follows__connection")
    )
    decide = _outcomes if _is_for_real(notification) else _dry_run
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
    by_post = defaultdict(list)
    for outcome in outcomes:
        by_post[outcome.post_id].append(outcome.as_json())
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
            outcome=by_post[post.post_id],
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
        Outcome(post_id, mapping, reason=verdict.reason, verdict=verdict)
        for post_id, verdict in verdicts.items()
        if not verdict.holds
    ]
    made = [
        Outcome(one.post_id, mapping, one.delivery_id, one.is_new, one.reason, one.content, verdicts[one.post_id])
        for one in create_deliveries(notification, event, taken, mapping)
    ]
    return refused + made


def _is_for_real(notification: Notification) -> bool:
    """Whether deliveries are made: of everything but a probe that is only to show what would happen."""
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
            problem = why_not_rendered(notification, event, post, mapping)
            reason = problem or f"it would create {article(thing)} {thing}, but this test notification creates none"
        outcomes.append(Outcome(post.post_id, mapping, reason=reason, verdict=verdict))
    return outcomes


def _why_mapping_makes_nothing(mapping: Mapping) -> str:
    if not mapping.is_active:
        return "the mapping is off"
    return "" if mapping.connection.is_active else f"the connection “{mapping.connection}” is off"


def _finish_routed(notification: Notification, outcomes: list[Outcome]) -> None:
    if any(outcome.delivery_id for outcome in outcomes):
        _finish(notification, Notification.State.ROUTED, "")
        return
    reasons = [f"{outcome.mapping.name}, {outcome.post_id}: {outcome.reason}." for outcome in outcomes]
    is_refused = bool(outcomes) and all(_is_refused(outcome) for outcome in outcomes)
    nothing = "No mapping uses this subscription. Add one, then press “Process again”."
    _finish(notification, Notification.State.UNMATCHED, "\n".join(reasons) or nothing, is_refused=is_refused)


def _is_refused(outcome: Outcome) -> bool:
    return outcome.verdict is not None and not outcome.verdict.holds


def _finish(notification: Notification, state: str, reason: str, *, is_refused: bool = False) -> None:
    notification.state, notification.reason, notification.is_refused = state, reason, is_refused
    notification.routed_at = Now()
    notification.save(update_fields=["state", "reason", "is_refused", "routed_at"])
