"""Making a delivery final before it is first sent: which ticket its case belongs to, and in whose name it is made.

What was decided, and why, is written on the delivery together with the request that will be sent; from then on the
bytes stay as they are. `other_way` answers the two refusals that another request can: a ticket that was closed in the
meantime, and a requester who is suspended.
"""

from dataclasses import dataclass, field
from typing import Any

import structlog
from django.db.models import QuerySet

from integrations import cases, requesters
from integrations.database_pool import release_database
from integrations.destinations import DESTINATIONS, Destination
from integrations.destinations.base import Credentials, Rules
from integrations.http import Failure, Line
from integrations.models import Delivery
from integrations.post import Unreadable
from integrations.routing import post_of, render_into

log = structlog.get_logger(__name__)

Action = Delivery.Action


@dataclass
class Wait:
    """How long a delivery waits for an earlier one of its case, and why in words."""

    seconds: float
    words: str


@dataclass
class Final:
    """A request as it will be sent, and what was decided on the way."""

    request: str
    action: str = Action.CREATE
    target: str = ""
    decision: str = ""
    remarks: list[str] = field(default_factory=list)


def rules_of(delivery: Delivery) -> Rules:
    return DESTINATIONS[delivery.connection.kind].rules(delivery.mapping.settings)


def is_needed(delivery: Delivery) -> bool:
    """Not for what was made final before, nor where neither a case nor an author has to be asked about."""
    if delivery.is_prepared:
        return False
    return bool(delivery.case_key) or rules_of(delivery).requester == "author"


def needs_a_new_user(delivery: Delivery) -> bool:
    """Whether the account will be asked for the author's user, and may be waited for."""
    if delivery.is_prepared or rules_of(delivery).requester != "author":
        return False
    return requesters.is_new(delivery)


def wait_for_the_case(delivery: Delivery) -> Wait | None:
    """An earlier post of the case that is not decided yet decides what becomes of this one."""
    if delivery.is_prepared or not delivery.case_key:
        return None
    earlier = cases.earlier_under_way(delivery)
    if earlier is None:
        return None
    return Wait(earlier.seconds, f"Waits for the earlier post {earlier.post_id} of the same case.")


def prepare(
    delivery: Delivery, destination: Destination, line: Line, credentials: Credentials, ours: QuerySet[Delivery]
) -> None:
    """Decides and stores. Raises Failure, NotItsTurn; then nothing is stored, and the next try decides anew."""
    rules = rules_of(delivery)
    final = _decided(delivery, destination, line, credentials, rules)
    if rules.requester == "author" and final.action != Action.APPEND:
        _put_in_a_name(final, delivery, destination, line, credentials, rules)
    delivery.request, delivery.action, delivery.target_number = final.request, final.action, final.target
    delivery.decision, delivery.remarks = final.decision, "\n".join(final.remarks)
    delivery.is_prepared = True
    ours.update(
        request=delivery.request,
        action=delivery.action,
        target_number=delivery.target_number,
        decision=delivery.decision,
        remarks=delivery.remarks,
        is_prepared=True,
    )


def _decided(delivery: Delivery, destination: Destination, line: Line, credentials: Credentials, rules: Rules) -> Final:
    remarks = [delivery.remarks] if delivery.remarks else []
    if not delivery.case_key:
        return Final(delivery.request, remarks=remarks)

    if delivery.look_up_next and _is_there(delivery, destination, line, credentials):
        words = "A new ticket: an earlier try had created it already."
        return Final(delivery.request, decision=words, remarks=remarks)

    def status_of(number: str) -> str:
        release_database()
        return destination.ticket_status(line, number, credentials)

    decision = cases.decide(delivery, rules, status_of)
    if decision.action == Action.APPEND:
        request = destination.as_comment(delivery.request, delivery.external_id)
    elif decision.action == Action.FOLLOW_UP:
        request = destination.as_follow_up(delivery.request, decision.number)
    else:
        request = delivery.request
    return Final(request, decision.action, decision.number, decision.words, remarks)


def _is_there(delivery: Delivery, destination: Destination, line: Line, credentials: Credentials) -> bool:
    """Whether an earlier try, whose outcome is unknown, made the ticket: then there is nothing left to decide."""
    release_database()
    return destination.find(line, delivery.external_id, credentials) is not None


def _put_in_a_name(
    final: Final,
    delivery: Delivery,
    destination: Destination,
    line: Line,
    credentials: Credentials,
    rules: Rules,
) -> None:
    found = requesters.requester_for(delivery, destination, line, credentials)
    final.request = destination.with_requester(final.request, found.user_id or rules.intake_user)
    if found.user_id:
        final.remarks.append(f"Requester: {found.name or 'the author'} (user {found.user_id}).")
    else:
        final.remarks.append(f"Requester: {stand_in(rules)}, because {found.problem}.")


def stand_in(rules: Rules) -> str:
    return f"the intake user {rules.intake_user}" if rules.intake_user else "the connection's own user"


def other_way(delivery: Delivery, destination: Destination, failure: Failure) -> dict[str, Any]:
    """What to change in the delivery so that the next try answers the refusal; {} where nothing does."""
    if failure.is_closed and delivery.action == Action.APPEND and not delivery.occasion.startswith("note"):
        return _decide_anew(delivery)
    if failure.is_about_requester and rules_of(delivery).requester == "author":
        return _without_the_author(delivery, destination)
    return {}


def _decide_anew(delivery: Delivery) -> dict[str, Any]:
    """The request of a new ticket is rendered again, and the case asked again: its ticket takes no more comments."""
    fresh = Delivery.objects.select_related("notification__subscription__company", "mapping__connection").get(
        pk=delivery.pk
    )
    try:
        event, post = post_of(fresh)
    except Unreadable:
        return {}
    render_into(fresh, fresh.notification, event, post, fresh.mapping)
    if not fresh.request:
        return {}
    return {
        "meaning": "What becomes of the post is decided again at once.",
        "request": fresh.request,
        "action": Action.CREATE,
        "target_number": "",
        "is_prepared": False,
        "look_up_next": False,
    }


def _without_the_author(delivery: Delivery, destination: Destination) -> dict[str, Any]:
    rules = rules_of(delivery)
    request = destination.with_requester(delivery.request, rules.intake_user)
    if request == delivery.request:
        return {}
    requesters.forget(delivery, "the author's user is suspended in Zendesk")
    words = f"Requester: {stand_in(rules)}, because the author's user is suspended in Zendesk."
    return {"meaning": f"It is sent again at once. {words}", "request": request, "remarks": words, "is_prepared": True}
