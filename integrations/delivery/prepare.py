"""Making a delivery's request final before it is first sent: the ticket of its case, and the requester.

What was decided, and why, is stored on the delivery together with the request; from then on the bytes do not change.
`other_way` resolves the two refusals that another request can: a ticket that was closed in the meantime, and a
suspended requester.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from integrations.connections import Session
from integrations.delivery.cases import decide, earlier_under_way, leave_case_open
from integrations.delivery.requesters import author_suspended, is_new_author, requester_for
from integrations.destinations import Destination
from integrations.destinations.base import Credentials, Rules
from integrations.destinations.capabilities import (
    AnswersInThreads,
    FindsByExternalId,
    KeepsCases,
    KnowsPeople,
    SolvesCases,
)
from integrations.domain.post import Unreadable
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure
from integrations.mapping import post_of, render_into, rules_of
from integrations.models import Delivery, DeliveryContent
from integrations.models.deliveries import DeliveryQuerySet

Action = Delivery.Action


@dataclass
class Wait:
    """How long a delivery waits for an earlier one of its case, and why."""

    seconds: float
    reason: str


@dataclass
class Final:
    """A request as it will be sent, and what was decided for it."""

    request: str
    action: str = Action.CREATE
    target: str = ""
    decision: str = ""
    remarks: list[str] = field(default_factory=list)


def is_needed(delivery: Delivery) -> bool:
    """Not if it is final already, nor if there is neither a case nor an author to resolve."""
    if delivery.is_prepared:
        return False
    return bool(delivery.case_key) or rules_of(delivery.mapping).requester == "author"


def needs_a_new_user(delivery: Delivery) -> bool:
    """Whether the author's user may have to be created, for which there is a limit to wait for."""
    if delivery.is_prepared or rules_of(delivery.mapping).requester != "author":
        return False
    return is_new_author(delivery)


def wait_for_the_case(delivery: Delivery) -> Wait | None:
    """The wait for an undecided earlier post of the case, on which this one depends."""
    if delivery.is_prepared or not delivery.case_key:
        return None
    earlier = earlier_under_way(delivery)
    if earlier is None:
        return None
    return Wait(earlier.seconds, f"Waiting for the earlier post {earlier.post_id} of the same case.")


def prepare(delivery: Delivery, request: str, session: Session, credentials: Credentials, row: DeliveryQuerySet) -> str:
    """Decides, stores and returns the final request. If it raises Failure or NoPermit, the next try decides again."""
    rules = rules_of(delivery.mapping)
    final = _decide(delivery, request, session, credentials, rules)
    if rules.requester == "author" and final.action != Action.APPEND:
        _set_requester(final, delivery, session, credentials, rules)
    delivery.action, delivery.target_number = final.action, final.target
    delivery.decision, delivery.is_prepared = final.decision, True
    with transaction.atomic():
        is_ours = row.update(
            action=delivery.action,
            target_number=delivery.target_number,
            decision=delivery.decision,
            is_prepared=True,
        )
        if is_ours:
            DeliveryContent.store_request(delivery.pk, final.request, "\n".join(final.remarks))
    return final.request


def _decide(delivery: Delivery, first: str, session: Session, credentials: Credentials, rules: Rules) -> Final:
    remarks = [delivery.remarks] if delivery.remarks else []
    destination = session.destination
    if not delivery.case_key or not isinstance(destination, KeepsCases):
        return Final(first, remarks=remarks)

    if delivery.look_up_next and _is_there(delivery, session, credentials):
        message = f"New {destination.thing}: an earlier attempt had already created it."
        return Final(first, decision=message, remarks=remarks)

    decision = decide(delivery, rules, _status_reader(session, credentials), destination.thing)
    if decision.action == Action.APPEND:
        request = destination.as_comment(first, delivery.external_id)
        began_with = _first_request(delivery, decision.number)
        if isinstance(destination, AnswersInThreads) and began_with:
            request = destination.in_thread(request, began_with)
    elif decision.action == Action.FOLLOW_UP and isinstance(destination, SolvesCases):
        request = destination.as_follow_up(first, decision.number)
    else:
        request = first
    return Final(request, decision.action, decision.number, decision.message, remarks)


def _first_request(delivery: Delivery, number: str) -> str:
    """What the case's thing was made with; empty where that is no longer kept."""
    made = DeliveryContent.objects.filter(
        delivery__connection=delivery.connection_id, delivery__remote_object__number=number,
        delivery__action=Action.CREATE,
    )  # fmt: skip
    return str(made.order_by("pk").values_list("request", flat=True).first() or "")


def _status_reader(session: Session, credentials: Credentials) -> Callable[[str], str] | None:
    """Asks for the status of a thing; None where things have none."""
    destination = session.destination
    if not isinstance(destination, SolvesCases):
        return None

    def status_of(number: str) -> str:
        release_database()
        return destination.status_of(session.client, number, credentials)

    return status_of


def _is_there(delivery: Delivery, session: Session, credentials: Credentials) -> bool:
    """Whether an earlier try of unknown outcome created the ticket: then there is nothing left to decide."""
    if not isinstance(session.destination, FindsByExternalId):
        return False
    release_database()
    return session.destination.find(session.client, delivery.external_id, credentials) is not None


def _set_requester(final: Final, delivery: Delivery, session: Session, credentials: Credentials, rules: Rules) -> None:
    if not isinstance(session.destination, KnowsPeople):
        return
    person = requester_for(delivery, session, session.destination, credentials)
    final.request = session.destination.with_requester(final.request, person.user_id or rules.intake_user)
    if person.user_id:
        final.remarks.append(f"Requester: {person.name or 'the author'} (user {person.user_id}).")
    else:
        final.remarks.append(f"Requester: {rules.substitute}, because {person.problem}.")


def other_way(delivery: Delivery, request: str, destination: Destination, failure: Failure) -> dict[str, Any]:
    """What to change in the delivery so that the next try avoids the refusal; {} where nothing helps."""
    if failure.is_closed and delivery.action == Action.APPEND and not delivery.is_note:
        if not isinstance(destination, SolvesCases):
            leave_case_open(delivery)
        return _decide_again(delivery)
    if failure.is_closed and delivery.counts_a_burst:
        meaning = "A new message counts the posts from here."
        return {"meaning": meaning, "request": request, "action": Action.CREATE, "target_number": ""}
    if failure.is_closed and delivery.is_note:
        return _follow_the_post(delivery, request)
    if not isinstance(destination, KnowsPeople) or not failure.is_about_requester:
        return {}
    if rules_of(delivery.mapping).requester == "author":
        return _without_the_author(delivery, request, destination)
    return {}


def _decide_again(delivery: Delivery) -> dict[str, Any]:
    """Renders the request of a new ticket and decides the case again: its ticket takes no more comments."""
    fresh = Delivery.objects.select_related(
        "content", "notification__content", "notification__subscription__company", "mapping__connection"
    ).get(pk=delivery.pk)
    try:
        event, post = post_of(fresh)
    except Unreadable:
        return {}
    render_into(fresh, fresh.notification, event, post, fresh.mapping)
    if not fresh.is_rendered:
        return {}
    return {
        "meaning": "Casebridge decides again right away.",
        "request": fresh.content.request,
        "action": Action.CREATE,
        "target_number": "",
        "is_prepared": False,
        "look_up_next": False,
    }


def _follow_the_post(note: Delivery, request: str) -> dict[str, Any]:
    """A note goes where its post is by now: rebuilt, or moved on to a follow-up, since the note was made."""
    post = Delivery.objects.filter(
        mapping=note.mapping_id, post_id=note.post_id, occasion=note.occasion.removeprefix(Delivery.NOTE)
    )
    number = post.values_list("remote_object__number", flat=True).first()
    if not number or number == note.target_number:
        return {}
    meaning = f"Its post is on {number} now: the note goes there right away."
    return {"meaning": meaning, "request": request, "target_number": number}


def _without_the_author(delivery: Delivery, sent: str, destination: KnowsPeople) -> dict[str, Any]:
    rules = rules_of(delivery.mapping)
    request = destination.with_requester(sent, rules.intake_user)
    if request == sent:
        return {}
    message = f"Requester: {rules.substitute}, because {author_suspended(delivery)}."
    return {
        "meaning": f"It is sent again right away. {message}",
        "request": request,
        "remarks": message,
        "is_prepared": True,
        # The next try has a new key, which does not protect against what an earlier one may have created.
        "look_up_next": delivery.look_up_next or delivery.is_uncertain,
    }
