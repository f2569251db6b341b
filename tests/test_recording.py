"""What came of a call is written down, or a person is asked; nothing is sent again because it could not be."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.test import Client
from django.utils import timezone

from integrations.delivery.batch import _begin_attempts, claim_batch
from integrations.delivery.batch_results import record_results
from integrations.delivery.claim import claim
from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import JobItem, JobNews
from integrations.destinations.zendesk import ZENDESK, Zendesk
from integrations.infra import database_pool
from integrations.infra.http.client import HttpClient
from integrations.models import Attempt, Batch, Connection, Delivery, FloodHold, Mapping
from integrations.routing.actions import retry_now
from integrations.routing.flood_hold import NotHeld, hold_flood
from integrations.routing.test_ticket import create_test_ticket
from tests.deliveries import labelled
from tests.stand_in import StandIn

State = Delivery.State
Work = Callable[[], None]
NUMBER, ADDRESS = "7", "https://example.zendesk.com/agent/tickets/7"
UNKEEPABLE = [
    (Receipt("7" * 300, ADDRESS, "created"), "its number has 300 characters, but at most 250 can be stored"),
    (Receipt("", ADDRESS, "created"), "it has no number"),
    (Receipt(" ", ADDRESS, "created"), "it has no number"),
    (Receipt("7\x00", ADDRESS, "created"), "its number contains characters that cannot be stored"),
    (Receipt("7\ud800", ADDRESS, "created"), "its number contains characters that cannot be stored"),
    (Receipt(7, ADDRESS, "created"), "its number is not text"),  # type: ignore[arg-type]
    (
        Receipt(NUMBER, "https://x.example/" + "a" * 582, "created"),
        "its address has 600 characters, but at most 500 can be stored",
    ),
    (Receipt(NUMBER, None, "created"), "its address is not text"),  # type: ignore[arg-type]
    (Receipt(NUMBER, ADDRESS, "conjured"), "its result is not a known one"),
    (Receipt(NUMBER, ADDRESS, None), "its result is not a known one"),  # type: ignore[arg-type]
    (None, "it is not a receipt"),
    ({"number": "7"}, "it is not a receipt"),
]


class Trial(Zendesk):
    """A destination that answers what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.outgoing: list[Outgoing] = []

    def send(self, http: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        self.outgoing.append(outgoing)
        answer: Receipt = self.answer
        return answer

    def find(self, http: HttpClient, external_id: str, credentials: Credentials) -> Receipt | None:
        return None


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Trial]:
    """Puts a destination that answers this in Zendesk's place."""

    def put(answer: Any) -> Trial:
        destination = Trial(answer)
        monkeypatch.setitem(DESTINATIONS, "zendesk", destination)
        return destination

    return put


@pytest.fixture
def delivery(mapping: Mapping) -> Delivery:
    return labelled(mapping)[0]


def job_of(rows: list[Delivery]) -> Batch:
    """They were handed over together, and the job has not told anything yet."""
    Connection.objects.update(backlog_since=timezone.now())
    job = claim_batch(Connection.objects.get(), ZENDESK)
    assert job is not None
    _begin_attempts(job, list(Delivery.objects.filter(pk__in=[row.pk for row in rows])), "ticket")
    return job


def a_while_passes() -> None:
    """Whatever waits is due, and whatever lease there is has run out."""
    a_second_ago = timezone.now() - timedelta(seconds=1)
    Delivery.objects.filter(state=State.PENDING).update(next_attempt_at=a_second_ago)
    Delivery.objects.filter(state=State.SENDING).update(claimed_until=a_second_ago)


@pytest.fixture
def refuse_to_store(transactional_db: None) -> Iterator[Callable[..., None]]:
    """The database fails so many times to store a delivered row, with this SQLSTATE."""

    def begin(sqlstate: str, times: int) -> None:
        with database.cursor() as cursor:
            cursor.execute("CREATE SEQUENCE refusals")
            cursor.execute(f"""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  IF nextval('refusals') <= {times} THEN RAISE EXCEPTION 'away' USING ERRCODE = '{sqlstate}'; END IF;
                  RETURN NEW;
                END $$""")
            cursor.execute(
                "CREATE TRIGGER refuse BEFORE UPDATE ON integrations_delivery FOR EACH ROW"
                " WHEN (NEW.state = 'delivered') EXECUTE FUNCTION refuse()"
            )

    yield begin
    end_refusals()


def end_refusals() -> None:
    with database.cursor() as cursor:
        cursor.execute("DROP TRIGGER IF EXISTS refuse ON integrations_delivery")
        cursor.execute("DROP FUNCTION IF EXISTS refuse")
        cursor.execute("DROP SEQUENCE IF EXISTS refusals")


# --- A receipt that cannot be kept -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "problem"), UNKEEPABLE)
def test_a_receipt_that_cannot_be_kept_asks_a_person_and_is_not_sent_again(
    sandbox: StandIn, delivery: Delivery, work: Work, trial: Callable[[Any], Trial], answer: Any, problem: str
) -> None:
    destination = trial(answer)
    for _ in range(3):
        with suppress(Exception):
            work()
        a_while_passes()
    delivery.refresh_from_db()
    assert len(destination.outgoing) == 1
    assert (delivery.state, delivery.is_uncertain, delivery.look_up_next) == (State.FAILED, True, True)
    assert f"Something was created in Zendesk, but the response could not be recorded: {problem}" in delivery.last_error
    assert "Look for it in Zendesk" in delivery.remedy
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.finished_at is None) == ("given_up", False)


def test_a_person_who_retries_what_could_not_be_recorded_looks_first(
    sandbox: StandIn, delivery: Delivery, work: Work, trial: Callable[[Any], Trial]
) -> None:
    destination = trial(Receipt("7" * 300, ADDRESS, "created"))
    work()
    retry_now(Delivery.objects.all())
    work()
    first, second = destination.outgoing
    assert (first.look_up_first, second.look_up_first) == (False, True)
    assert first.key == second.key


def test_the_page_of_what_could_not_be_recorded_does_not_call_it_refused(
    sandbox: StandIn, delivery: Delivery, work: Work, trial: Callable[[Any], Trial], admin: Client
) -> None:
    trial(Receipt("7" * 300, ADDRESS, "created"))
    work()
    html = admin.get(f"/admin/integrations/delivery/{delivery.pk}/change/").content.decode()
    assert "its number has 300 characters, but at most 250 can be stored" in html
    assert "would be refused again" not in html


@pytest.mark.parametrize("warning", ["w" * 100_000, "\x00\ud800", None, 7])
def test_a_warning_never_costs_the_receipt(
    sandbox: StandIn, delivery: Delivery, work: Work, trial: Callable[[Any], Trial], warning: Any
) -> None:
    trial(Receipt(NUMBER, ADDRESS, "created", warning))
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.number) == (State.DELIVERED, NUMBER)
    assert len(delivery.remarks) < 3000


def test_a_jobs_number_that_cannot_be_kept_asks_a_person_and_holds_up_no_other(
    sandbox: StandIn, mapping: Mapping, work: Work
) -> None:
    job = job_of(labelled(mapping, 12))
    items = tuple(JobItem(index, number="7" * 300 if index == 0 else str(100 + index)) for index in range(12))
    record_results(job, JobNews(has_ended=True, message="", items=items))
    bad = Delivery.objects.get(pk=job.delivery_ids[0])
    assert (bad.state, bad.is_uncertain, bad.look_up_next) == (State.FAILED, True, True)
    assert "its number has 300 characters, but at most 250 can be stored" in bad.last_error
    assert bad.attempts.get().outcome == "given_up"
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 11
    assert Batch.objects.get().made == 11
    work()
    assert not sandbox.tickets()


def test_a_flood_holds_ticket_that_cannot_be_recorded_holds_nothing_and_says_so(
    sandbox: StandIn, mapping: Mapping, trial: Callable[[Any], Trial]
) -> None:
    labelled(mapping, 3)
    trial(Receipt("7" * 300, ADDRESS, "created"))
    with pytest.raises(NotHeld, match=r"No posts are held: .* number has 300 characters") as why:
        hold_flood(mapping, "6f2f8a35-3b3f-4a2c-9c2e-0f0f0f0f0f0f", "Outage", "One thing", "ann")
    assert why.value.may_exist
    assert not FloodHold.objects.exists()


def test_a_test_ticket_whose_answer_cannot_be_kept_is_told_in_text(
    sandbox: StandIn, mapping: Mapping, delivery: Delivery, trial: Callable[[Any], Trial]
) -> None:
    trial(Receipt(NUMBER, ADDRESS, "conjured"))
    result = create_test_ticket(mapping.connection, delivery.request, "6f2f8a35-3b3f-4a2c-9c2e-0f0f0f0f0f0f")
    assert not result.is_good
    assert "its result is not a known one" in result.message


# --- Recording that fails --------------------------------------------------------------------------------------------


def test_a_result_that_the_database_will_not_hold_asks_a_person_and_is_not_sent_again(
    sandbox: StandIn, delivery: Delivery, work: Work, refuse_to_store: Callable[..., None]
) -> None:
    refuse_to_store("22001", times=1)
    for _ in range(3):
        with suppress(Exception):
            work()
        a_while_passes()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain, delivery.look_up_next) == (State.FAILED, True, True)
    (ticket,) = sandbox.tickets()
    assert f"ticket {ticket['id']}" in delivery.last_error
    assert "could not be stored" in delivery.last_error
    assert Attempt.objects.get().outcome == "given_up"
    assert len([call for call in sandbox.calls() if call.method == "POST"]) == 1

    retry_now(Delivery.objects.all())
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(sandbox.tickets())) == (State.DELIVERED, "found", 1)


def test_calls_that_cannot_be_noted_ask_a_person_and_are_not_made_again(
    sandbox: StandIn, delivery: Delivery, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noting(Trial):
        def send(self, http: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
            http.exchanges.append({"reply": b"no text"})
            return super().send(http, outgoing, credentials)

    destination = Noting(Receipt(NUMBER, ADDRESS, "created"))
    monkeypatch.setitem(DESTINATIONS, "zendesk", destination)
    for _ in range(3):
        with suppress(Exception):
            work()
        a_while_passes()
    delivery.refresh_from_db()
    assert (delivery.state, len(destination.outgoing)) == (State.FAILED, 1)


def test_a_jobs_result_that_the_database_will_not_hold_asks_a_person(
    sandbox: StandIn, mapping: Mapping, refuse_to_store: Callable[..., None]
) -> None:
    job = job_of(labelled(mapping, 12))
    refuse_to_store("22001", times=1)
    items = tuple(JobItem(index, number=str(100 + index)) for index in range(12))
    record_results(job, JobNews(has_ended=True, message="", items=items))
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 11
    bad = Delivery.objects.exclude(state=State.DELIVERED).get()
    assert (bad.state, bad.is_uncertain, bad.look_up_next) == (State.FAILED, True, True)


def test_a_database_that_is_away_for_a_moment_costs_nothing(
    sandbox: StandIn, delivery: Delivery, work: Work, refuse_to_store: Callable[..., None]
) -> None:
    refuse_to_store("57P01", times=2)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, delivery.attempt_count) == (State.DELIVERED, "created", 1)


def test_a_database_that_stays_away_leaves_the_ticket_to_be_looked_up_when_the_lease_has_run_out(
    sandbox: StandIn,
    delivery: Delivery,
    work: Work,
    refuse_to_store: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_pool, "STORE_DELAYS", (0.01, 0.01))
    refuse_to_store("57P01", times=1000)
    with pytest.raises(OperationalError):
        work()
    delivery.refresh_from_db()
    assert delivery.state == State.SENDING
    end_refusals()
    a_while_passes()
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(sandbox.tickets())) == (State.DELIVERED, "found", 1)
    assert len([call for call in sandbox.calls() if call.method == "POST"]) == 1


# --- A lease that ran out --------------------------------------------------------------------------------------------


def test_whoever_takes_over_a_dead_processs_delivery_looks_first(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    assert claim(delivery.connection) is not None
    a_while_passes()
    taken_over = claim(delivery.connection)
    assert taken_over is not None
    assert taken_over.look_up_first
    a_while_passes()
    work()
    assert [call.method for call in sandbox.calls()] == ["GET", "POST"]


def test_a_person_who_retries_a_dead_processs_delivery_looks_first(delivery: Delivery) -> None:
    assert claim(delivery.connection) is not None
    a_while_passes()
    retry_now(Delivery.objects.all())
    delivery.refresh_from_db()
    assert (delivery.state, delivery.look_up_next) == (State.PENDING, True)
