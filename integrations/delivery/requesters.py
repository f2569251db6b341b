"""The requester of a ticket, where a mapping wants a user for each social author.

A user is looked up or created once and remembered. Where there can be none (no name, suspended, ambiguous, no room
within the account's limits on users for some minutes) the intake user is used, and the delivery says so.
"""

from integrations.connections import Session
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials
from integrations.destinations.capabilities import USERS, Author, KnowsPeople, Person
from integrations.domain.post import Unreadable
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import storable
from integrations.mapping import post_of
from integrations.models import Delivery, Mapping, Requester

REMEMBERED_SECONDS = 30 * 86400.0
# A suspended author may be reinstated, an ambiguous one sorted out.
PROBLEM_REMEMBERED_SECONDS = 86400.0
# Five users a minute are allowed: a flood of new authors holds up tickets no longer than this.
WAITED_FOR_SECONDS = 300.0
CHECK_SECONDS = 6.0


def requester_for(delivery: Delivery, session: Session, destination: KnowsPeople, credentials: Credentials) -> Person:
    """The author's user. Raises Failure (the account has a problem) and NoPermit (no room yet)."""
    author = author_of_delivery(delivery)
    if author is None:
        return Person("", problem="the post has no author")
    if remembered := _remembered(delivery, author):
        return remembered
    release_database()
    try:
        person = destination.find_person(session.client, author, credentials)
    except NoPermit as later:
        if later.budget == USERS and _has_waited_enough(delivery):
            limit = f"{session.destination.title}'s limit on new users"
            return Person("", problem=f"{limit} was reached for several minutes")
        raise
    except Failure as failure:
        if failure.permanent and not failure.pauses:
            return Person("", problem=failure.message.rstrip("."))
        raise
    _remember(delivery, author, person)
    return person


def is_new_author(delivery: Delivery) -> bool:
    """Whether the author is unknown yet; False once the delivery has waited long enough for room."""
    author = author_of_delivery(delivery)
    if author is None or _remembered(delivery, author) is not None:
        return False
    return not _has_waited_enough(delivery)


def intake_user_text(mapping: Mapping) -> tuple[bool, str] | None:
    """The intake user as the account knows it: (whether all is well, a sentence); None where none is needed."""
    destination = DESTINATIONS[mapping.connection.kind]
    rules = destination.rules(mapping.settings)
    number = rules.intake_user
    if not isinstance(destination, KnowsPeople) or rules.requester == "account":
        return None
    if not number:
        return False, "No intake user is set: if an author cannot be the requester, the connection's own user is used."
    session = Session.limited(mapping.connection, seconds=CHECK_SECONDS, permit_wait=CHECK_SECONDS / 2)
    try:
        name = session.ask(lambda credentials: destination.user_name(session.client, number, credentials))
    except (Failure, NoPermit):
        return True, f"Casebridge could not check right now whether the intake user {number} exists."
    if not name:
        return (
            False,
            f"No user {number} can be a requester in this account: {destination.thing}s would be refused. Correct it.",
        )
    return True, f"The intake user is {name} ({number})."


def author_of_delivery(delivery: Delivery) -> Author | None:
    try:
        _, post = post_of(delivery)
    except Unreadable:
        return None
    return Author.of(post)


def _remembered(delivery: Delivery, author: Author) -> Person | None:
    known = Requester.objects.filter(connection=delivery.connection_id, external_id=author.external_id)
    good = known.filter(resolved_at__gte=seconds_from_now(-REMEMBERED_SECONDS)).exclude(user_id="")
    bad = known.filter(resolved_at__gte=seconds_from_now(-PROBLEM_REMEMBERED_SECONDS), user_id="")
    row = good.first() or bad.first()
    return Person(row.user_id, row.name, row.problem) if row else None


def _remember(delivery: Delivery, author: Author, person: Person) -> None:
    Requester.objects.update_or_create(
        connection_id=delivery.connection_id,
        external_id=author.external_id,
        defaults={
            "user_id": person.user_id,
            "name": storable(person.name)[:255],
            "problem": storable(person.problem),
            "resolved_at": seconds_from_now(0),
        },
    )


def author_suspended(delivery: Delivery) -> str:
    """Why the author cannot be the requester after the account refused their user."""
    return f"the author's user is suspended in {DESTINATIONS[delivery.connection.kind].title}"


def forget_requester(delivery: Delivery) -> None:
    """The account refused the author's user: remembers that instead."""
    author = author_of_delivery(delivery)
    if author is not None:
        _remember(delivery, author, Person("", author.name, author_suspended(delivery)))


def _has_waited_enough(delivery: Delivery) -> bool:
    return Delivery.objects.filter(pk=delivery.pk, created_at__lte=seconds_from_now(-WAITED_FOR_SECONDS)).exists()
