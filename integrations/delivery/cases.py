"""One case, one ticket: which posts belong together, and whether a post becomes a ticket or a comment on one.

A case is a conversation, or an author's posts within some hours, by the mapping's choice. Its key is set on the
delivery by routing; what the delivery becomes is decided when it is sent, as the case's ticket may be solved by then.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations.destinations.base import Rules
from integrations.domain.post import Post
from integrations.infra.database_clock import now, seconds_from_now
from integrations.infra.wakes import wake_workers
from integrations.models import Delivery, Mapping, RemoteObject

Action, State = Delivery.Action, Delivery.State
LONGEST_KEY = 300
SHORTEST_WAIT, LONGEST_WAIT = 0.5, 30.0
MOST_AHEAD = 60


@dataclass(frozen=True, slots=True)
class Decision:
    action: str
    number: str
    message: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """An undecided earlier delivery of the same case, and the seconds until it may be decided."""

    post_id: str
    seconds: float


def case_key(post: Post, mapping: Mapping, rules: Rules) -> str:
    """The key that the posts of one case share; empty where each post is a case of its own."""
    if rules.case == "conversation":
        return f"conversation:{_conversation(post, mapping)}"[:LONGEST_KEY]
    if rules.case == "author" and (author := post.author_id or post.author_handle.casefold()):
        return f"author:{post.network}:{author}"[:LONGEST_KEY]
    return ""


def _conversation(post: Post, mapping: Mapping) -> str:
    """The root: of a known post that this one belongs to, else as the post names it, else the post itself."""
    roots = [other for other in (post.parent_post, post.in_reply_to) if other]
    known = (
        Delivery.objects.filter(mapping=mapping, post_id__in=roots)
        .filter(case_key__startswith="conversation:")
        .order_by("pk")
        .values_list("case_key", flat=True)
        .first()
    )
    if known:
        return known.removeprefix("conversation:")
    return roots[0] if roots else post.post_id


def join_case(delivery: Delivery) -> None:
    """Moves replies that were routed before the post they answer, and took it for the root, to its own root."""
    mistaken = f"conversation:{delivery.post_id}"[:LONGEST_KEY]
    if delivery.case_key.startswith("conversation:") and delivery.case_key != mistaken:
        for model in (Delivery, RemoteObject):
            of_mapping = model.objects.filter(mapping=delivery.mapping_id, case_key=mistaken)
            of_mapping.update(case_key=delivery.case_key)


def _others_of_case(delivery: Delivery) -> QuerySet[Delivery]:
    same = Delivery.objects.filter(
        mapping=delivery.mapping_id, connection=delivery.connection_id, case_key=delivery.case_key
    )
    return same.exclude(pk=delivery.pk)


def wake_next(delivery: Delivery) -> None:
    """This delivery is decided: makes the one that has waited longest for it due now."""
    if not delivery.case_key:
        return
    waiting = _others_of_case(delivery).filter(state=State.PENDING, attempt_count=0).order_by("pk")
    first = waiting.values_list("pk", flat=True).first()
    if first is not None:
        woken = Delivery.objects.filter(pk=first, state=State.PENDING, next_attempt_at__gt=Now())
        if woken.update(next_attempt_at=Now()):
            wake_workers(delivery.connection_id)


def earlier_under_way(delivery: Delivery) -> Earlier | None:
    """The first delivery of the case that is still to be sent; gets at least the priority of the one that waits for it.

    A later one that is being sent counts too: its routing transaction may have been quicker. Two that see each other
    wait for randomly different times.
    """
    case = _others_of_case(delivery)
    before = Q(pk__lt=delivery.pk, state__in=[State.PENDING, State.SENDING])
    earlier = case.filter(before | Q(state=State.SENDING)).order_by("pk")
    first = earlier.only("pk", "post_id", "state", "priority", "next_attempt_at").first()
    if first is None:
        return None
    if first.state == State.PENDING and first.priority > delivery.priority:
        Delivery.objects.filter(pk=first.pk, state=State.PENDING).update(priority=delivery.priority)
    at = first.next_attempt_at
    ahead = earlier.filter(pk__lt=delivery.pk)[:MOST_AHEAD].count()
    seconds = (at - now()).total_seconds() if first.state == State.PENDING and at else SHORTEST_WAIT
    # In a long queue nobody checks before all earlier ones may be done; each wakes the next when it is.
    seconds = max(seconds, SHORTEST_WAIT * ahead)
    return Earlier(first.post_id, min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT) * random.uniform(1.0, 2.0))


def decide(delivery: Delivery, rules: Rules, status_of: Callable[[str], str] | None, thing: str) -> Decision:
    """A comment on the case's `thing` while that is unsolved, a follow-up once it is closed, else a new ticket.

    `status_of` calls the account; "" means that the ticket is gone. None: things are never solved there.
    """
    number = _number_of_case(delivery, rules)
    what = "conversation" if rules.case == "conversation" else "author"
    if not number:
        if unknown := _unknown_of_case(delivery):
            message = f"New {thing}: whether the earlier post {unknown} of the same {what} has one is not known."
            return Decision(Action.CREATE, "", message)
        within = f" within {rules.case_hours} hours" if rules.case == "author" else ""
        return Decision(Action.CREATE, "", f"New {thing}: no earlier {thing} of the same {what}{within}.")
    earlier = f"{thing} {number} of the same {what}"
    if status_of is None:
        return Decision(Action.APPEND, number, f"Added to {earlier}.")
    status = status_of(number)
    if not status:
        return Decision(Action.CREATE, "", f"New {thing}: {earlier} was deleted.")
    if status == "closed":
        return Decision(Action.FOLLOW_UP, number, f"Follow-up to {earlier}, which is closed.")
    if status == "solved":
        return Decision(Action.CREATE, "", f"New {thing}: {earlier} is already solved.")
    return Decision(Action.APPEND, number, f"Comment on {earlier}, which is still {status}.")


def _unknown_of_case(delivery: Delivery) -> str:
    """The latest post of the case whose attempts ended without an answer; empty where there is none."""
    unknown = _others_of_case(delivery).filter(state__in=[State.FAILED, State.CANCELLED], is_uncertain=True)
    return unknown.order_by("-pk").values_list("post_id", flat=True).first() or ""


def leave_case_open(delivery: Delivery) -> None:
    """What it was to be added to takes nothing more: the case begins anew."""
    things = RemoteObject.objects.filter(connection=delivery.connection_id, number=delivery.target_number)
    things.update(case_key="")


def _number_of_case(delivery: Delivery, rules: Rules) -> str:
    """The thing that a post of the case went into last."""
    case = RemoteObject.objects.filter(
        mapping=delivery.mapping_id, connection=delivery.connection_id, case_key=delivery.case_key
    )
    if rules.case == "author":
        since = seconds_from_now(-3600.0 * rules.case_hours)
        case = case.filter(last_delivered_at__gte=since, last_delivered_at__lte=Now())
    numbers = case.order_by("-last_delivered_at", "-pk")
    return numbers.values_list("number", flat=True).first() or ""
