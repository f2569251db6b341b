"""Before a delivery is given up whose outcome is unknown, its ticket is looked up: "failed" never hides a ticket."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations.delivery.batch_results import follow_batch
from integrations.delivery.claim import claim
from integrations.delivery.deliver import deliver_next
from integrations.delivery.final_lookup import give_up_dead_tries
from integrations.delivery.record import begin_attempt
from integrations.delivery.send import hold_permits, send
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import Budget
from integrations.destinations.zendesk import Zendesk
from integrations.flow.rate_limit import learn_limits
from integrations.infra.http.client import HttpClient
from integrations.models import Attempt, Batch, Connection, Delivery, Mapping
from integrations.outcomes.failure_groups import failure_groups
from integrations.routing.actions import cancel, retry_now
from tests.deliveries import labelled
from tests.stand_in import StandIn

State = Delivery.State
Work = Callable[[], None]
TICKETS, COMMENTS = "/api/v2/tickets.json", "/comments.json"


@pytest.fixture
def delivery(mapping: Mapping) -> Delivery:
    return labelled(mapping)[0]


@pytest.fixture(autouse=True)
def two_tries(settings: Any) -> None:
    settings.DELIVERY_RETRY_DELAYS = (1.0,)


def try_until_it_ends(work: Work) -> None:
    for _ in range(4):
        work()
        a_second_ago = timezone.now() - timedelta(seconds=1)
        Delivery.objects.filter(state=State.PENDING).update(next_attempt_at=a_second_ago)
        Delivery.objects.filter(state=State.SENDING).update(claimed_until=a_second_ago)


def calls(sandbox: StandIn, method: str, part: str = "tickets") -> list[Any]:
    return [call for call in sandbox.calls() if call.method == method and part in call.path]


def lose_the_first_answer(sandbox: StandIn, then: str = "500", method: str | None = "POST") -> None:
    """The ticket is made, but nobody hears of it; whatever is sent after that fails."""
    sandbox.add_fault("hang_up_after", times=1, method="POST")
    sandbox.add_fault(then, method=method)


@pytest.mark.parametrize("then", ["500", "503_html", "hang_up_before", "422", "html_200"])
def test_a_ticket_whose_answer_was_lost_is_found_before_the_delivery_is_given_up(
    sandbox: StandIn, delivery: Delivery, work: Work, then: str
) -> None:
    lose_the_first_answer(sandbox, then)
    try_until_it_ends(work)
    delivery.refresh_from_db()
    (ticket,) = sandbox.tickets()
    assert (delivery.state, delivery.result, delivery.number) == (State.DELIVERED, "found", str(ticket["id"]))
    assert (delivery.is_uncertain, delivery.last_error, delivery.attempt_count) == (False, "", 2)
    attempt = Attempt.objects.get(number=2)
    assert attempt.outcome == "delivered"
    assert f"Found ticket {ticket['id']} by its external ID" in attempt.meaning


def test_an_answer_that_is_lost_at_the_last_try_is_looked_up_within_it(
    sandbox: StandIn, delivery: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    sandbox.add_fault("hang_up_after", times=1, method="POST")
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, delivery.attempt_count) == (State.DELIVERED, "found", 1)
    attempt = Attempt.objects.get()
    assert [exchange["method"] for exchange in attempt.exchanges] == ["POST", "GET"]
    assert "broke before the response was complete" in attempt.meaning


def test_a_try_that_used_up_its_time_has_some_left_for_the_last_look(
    sandbox: StandIn, delivery: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    settings.DELIVERY_LEASE_SECONDS = 3
    sandbox.add_fault("drip", times=1, seconds=0.4, method="POST")
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result) == (State.DELIVERED, "found")


def test_where_nothing_is_found_the_failure_says_that_zendesk_was_asked(
    sandbox: StandIn, delivery: Delivery, work: Work, admin: Client
) -> None:
    sandbox.add_fault("500", method="POST")
    try_until_it_ends(work)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain, delivery.look_up_next) == (State.FAILED, False, True)
    assert "Zendesk has a problem (status 500)" in delivery.last_error
    assert "Casebridge then searched Zendesk for the external ID and found no ticket" in delivery.last_error
    assert len(calls(sandbox, "GET")) == 1
    last = Attempt.objects.get(number=2)
    assert (last.outcome, last.status) == ("given_up", 500)
    html = admin.get(f"/admin/integrations/delivery/{delivery.pk}/change/").content.decode()
    assert "found no ticket" in html
    assert "may exist" not in html

    sandbox.clear_faults()
    retry_now(Delivery.objects.all())
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(sandbox.tickets())) == (State.DELIVERED, "created", 1)
    assert [call.method for call in sandbox.calls()][-2:] == ["GET", "POST"]


def test_a_broken_call_is_not_given_the_answer_of_the_look_that_followed(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    sandbox.add_fault("hang_up_before", method="POST")
    try_until_it_ends(work)
    delivery.refresh_from_db()
    assert (delivery.state, Attempt.objects.get(number=2).status) == (State.FAILED, None)


@pytest.mark.parametrize("then", ["500", "hang_up_before", "401", "429", "403", "redirect"])
def test_where_nobody_could_look_the_page_says_that_a_ticket_may_exist(
    sandbox: StandIn, delivery: Delivery, work: Work, admin: Client, then: str
) -> None:
    lose_the_first_answer(sandbox)
    sandbox.add_fault(then, method="GET")
    try_until_it_ends(work)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain, delivery.look_up_next) == (State.FAILED, True, True)
    told = [
        "A ticket may exist in Zendesk, although none is recorded here",
        f"the external ID {delivery.external_id}",
        "Trying again will not create a second ticket",
    ]
    html = admin.get(f"/admin/integrations/delivery/{delivery.pk}/change/").content.decode()
    for message in told:
        assert message in delivery.last_error
        assert html.count(message) >= 2

    sandbox.clear_faults()
    Connection.objects.update(paused_at=None, paused_until=None)
    admin.post(
        "/admin/integrations/delivery/", {"action": "retry_now", "_selected_action": delivery.pk, "_from_page": "1"}
    )
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(sandbox.tickets())) == (State.DELIVERED, "found", 1)


def test_a_cancelled_delivery_still_says_that_a_ticket_may_exist(
    sandbox: StandIn, delivery: Delivery, work: Work, admin: Client
) -> None:
    sandbox.add_fault("hang_up_after", times=1, method="POST")
    work()
    cancel(Delivery.objects.filter(pk=delivery.pk))
    delivery.refresh_from_db()
    assert (delivery.state, len(sandbox.tickets())) == (State.CANCELLED, 1)
    html = admin.get(f"/admin/integrations/delivery/{delivery.pk}/change/").content.decode()
    assert "it was cancelled" in html
    assert "A ticket may exist in Zendesk" in html


def test_a_last_look_waits_for_its_permit_as_any_other(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    lose_the_first_answer(sandbox)
    learn_limits(delivery.connection_id, "look-up", [Budget(None, 0, 600.0)])
    try_until_it_ends(work)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain) == (State.FAILED, True)
    assert "could not look for it because of the rate limit" in delivery.last_error
    assert not calls(sandbox, "GET")


def test_a_definite_refusal_of_a_first_try_is_not_looked_up(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    sandbox.add_fault("422")
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain) == (State.FAILED, False)
    assert not calls(sandbox, "GET")


def test_a_refusal_that_pauses_the_connection_gives_nothing_up(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    lose_the_first_answer(sandbox, "401")
    try_until_it_ends(work)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == (State.PENDING, 1)
    assert not calls(sandbox, "GET")


def test_failures_with_one_cause_stay_together_whatever_the_look_found(
    sandbox: StandIn, mapping: Mapping, work: Work
) -> None:
    labelled(mapping, 3)
    sandbox.add_fault("500", method="POST")
    sandbox.add_fault("500", method="GET", times=1)
    try_until_it_ends(work)
    (group,) = failure_groups()
    assert group.count == 3
    assert "khoros:" not in group.cause
    assert Delivery.objects.filter(is_uncertain=True).count() == 1


# --- Tries that died -------------------------------------------------------------------------------------------------


def die(delivery: Delivery, *, after_sending: bool) -> None:
    claimed = claim(delivery.connection)
    assert claimed is not None
    hold_permits(claimed)
    begin_attempt(claimed)
    if after_sending:
        send(claimed)
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))


def test_a_delivery_whose_tries_died_is_looked_up_before_it_is_given_up(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    die(delivery, after_sending=False)
    die(delivery, after_sending=True)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(sandbox.tickets())) == (State.DELIVERED, "found", 1)
    assert len(calls(sandbox, "POST")) == 1


def test_a_delivery_whose_tries_died_before_anything_was_sent_fails_without_a_ticket(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    for _ in range(2):
        die(delivery, after_sending=False)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain, delivery.look_up_next) == (State.FAILED, False, True)
    assert "No attempt is left" in delivery.last_error
    assert "found no ticket" in delivery.last_error


def test_a_last_look_that_kills_its_process_too_is_not_made_for_ever(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    for _ in range(3):
        die(delivery, after_sending=False)
    sandbox.control("DELETE", "requests")
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain) == (State.FAILED, True)
    assert "A ticket may exist in Zendesk" in delivery.last_error
    assert not sandbox.calls()


def test_a_last_look_leaves_an_open_breaker_to_its_probe(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    for _ in range(2):
        die(delivery, after_sending=False)
    sandbox.control("DELETE", "requests")
    connection = Connection.objects.get()
    taken = claim(connection)
    assert taken is not None
    later = timezone.now() + timedelta(minutes=1)
    Connection.objects.update(breaker_opened_at=timezone.now(), breaker_probe_at=later)
    taken.delivery.connection.refresh_from_db()
    give_up_dead_tries(taken)
    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert not sandbox.calls()


# --- Comments --------------------------------------------------------------------------------------------------------


@pytest.fixture
def reply(sandbox: StandIn, mapping: Mapping, work: Work) -> Delivery:
    """A post that becomes a comment on the ticket of its conversation."""
    mapping.settings |= {"case": "conversation"}
    mapping.save()
    labelled(mapping, entity_id="twitter:1")
    work()
    return labelled(mapping, entity_id="twitter:2", parentPost="twitter:1")[0]


def test_a_comment_whose_answer_was_lost_is_found_before_the_delivery_is_given_up(
    sandbox: StandIn, reply: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    sandbox.add_fault("hang_up_after", times=1, method="PUT")
    work()
    reply.refresh_from_db()
    assert (reply.state, reply.result, reply.attempt_count) == (State.DELIVERED, "already_there", 1)
    assert len(calls(sandbox, "PUT")) == 1


def test_a_comment_that_nobody_could_look_for_names_the_ticket_it_may_be_on(
    sandbox: StandIn, reply: Delivery, work: Work, settings: Any, admin: Client
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    sandbox.add_fault("hang_up_after", times=1, method="PUT")
    number = str(sandbox.tickets()[0]["id"])
    sandbox.add_fault("500", method="GET", path=f"/api/v2/tickets/{number}/comments.json")
    work()
    reply.refresh_from_db()
    assert (reply.state, reply.is_uncertain, reply.look_up_next) == (State.FAILED, True, True)
    html = admin.get(f"/admin/integrations/delivery/{reply.pk}/change/").content.decode()
    message = f"A comment may exist on ticket {number} in Zendesk, although none is recorded here"
    assert message in html
    assert message in reply.last_error


def test_a_comment_that_is_not_there_is_known_not_to_be(
    sandbox: StandIn, reply: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    sandbox.add_fault("500", method="PUT")
    work()
    reply.refresh_from_db()
    assert (reply.state, reply.is_uncertain, reply.look_up_next) == (State.FAILED, False, True)
    assert f"ticket {reply.target_number} does not have the comment" in reply.last_error


# --- Sent together ---------------------------------------------------------------------------------------------------


def follow_until_ended(job: Batch) -> None:
    for _ in range(100):
        a_while_ago = timezone.now() - timedelta(minutes=30)
        Batch.objects.update(next_poll_at=a_while_ago, polling_until=None, started_at=a_while_ago)
        follow_batch(job.pk)
        job.refresh_from_db()
        if job.finished_at:
            return


def test_what_was_sent_together_and_fails_in_the_end_says_that_a_ticket_may_exist(
    sandbox: StandIn, mapping: Mapping, work: Work
) -> None:
    labelled(mapping, 12)
    Connection.objects.update(backlog_since=timezone.now())
    sandbox.add_fault("hang_up_after", path="/api/v2/tickets/create_many.json", times=1)
    deliver_next(mapping.connection_id)
    follow_until_ended(Batch.objects.get())
    assert len(sandbox.tickets()) == 12
    sandbox.add_fault("500", path=TICKETS)
    Connection.objects.update(backlog_since=None)
    try_until_it_ends(work)
    failed = Delivery.objects.filter(state=State.FAILED, is_uncertain=True, look_up_next=True)
    assert failed.count() == 12
    assert all("A ticket may exist in Zendesk" in row.last_error for row in failed)

    sandbox.clear_faults()
    retry_now(Delivery.objects.all())
    work()
    assert Delivery.objects.filter(state=State.DELIVERED, result="found").count() == len(sandbox.tickets()) == 12


# --- Another destination ---------------------------------------------------------------------------------------------


def test_a_destinations_defect_in_looking_leaves_the_outcome_unknown(
    sandbox: StandIn, delivery: Delivery, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trial(Zendesk):
        title = "Trial"

        def send(self, http: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
            raise ValueError("a defect")

        def find(self, http: HttpClient, external_id: str, credentials: Credentials) -> Receipt | None:
            return Receipt("7" * 300, "", "found")

    monkeypatch.setitem(DESTINATIONS, "zendesk", Trial())
    try_until_it_ends(work)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain, delivery.look_up_next) == (State.FAILED, True, True)
    assert "A ticket may exist in Trial, although none is recorded here" in delivery.last_error
