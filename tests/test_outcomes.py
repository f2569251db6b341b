"""What became of tickets: the webhook's calls, the slow look, the set-up in Zendesk, and the response clock."""

import itertools
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.utils import timezone

from integrations.admin.text.log import response_time_text
from integrations.destinations.capabilities import StatusUpdate
from integrations.destinations.zendesk import ticket_news
from integrations.infra import queue
from integrations.infra.encryption import Secret
from integrations.infra.redis import redis_client
from integrations.infra.text import span_text
from integrations.models import (
    Alarm,
    Connection,
    Delivery,
    Installation,
    Mapping,
    RemoteObject,
    Subscription,
    TicketEvent,
)
from integrations.outcomes.events import apply_event, forget_old_events
from integrations.outcomes.polling import _claim, accounts_to_poll
from integrations.outcomes.status import record_update
from integrations.outcomes.webhook import AccountWebhook
from tests.alarms import update_alarms
from tests.deliveries import became
from tests.factories import (
    AccountSchemaFactory,
    ConnectionFactory,
    DeliveryFactory,
    MappingFactory,
    NotificationFactory,
    OAuthConnectionFactory,
    StaffFactory,
)
from tests.queues import run_task, swept
from tests.stand_in import StandIn
from tests.webhook_cases import OTHER_SECRET, Hook, WebhookCases
from tests.webhook_cases import SECRET as CASES_SECRET

SECRET = "the-webhook's-own-signing-secret"
SIGNATURE, TIMESTAMP = "X-Zendesk-Webhook-Signature", "X-Zendesk-Webhook-Signature-Timestamp"
VECTORS = json.loads((Path(__file__).parent / "fixtures/zendesk/webhook_signature_vectors.json").read_text())
T0 = datetime(2026, 7, 22, 10, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def news(status: str, minutes: float, **fields: Any) -> StatusUpdate:
    return StatusUpdate("501", status=status, changed_at=at(minutes), **fields)


def event(kind: str = "status_changed", number: int | str = 501, **detail: Any) -> dict[str, Any]:
    """After the documented example; ids in `detail` are texts."""
    told = {"id": str(number), "status": "Open", "updated_at": written(at(1)), "external_id": "khoros:x:y"} | detail
    return {
        "type": f"zen:event-type:ticket.{kind}",
        "account_id": 88888888,
        "id": str(uuid.uuid4()),
        "time": told["updated_at"],
        "zendesk_event_version": "2022-11-06",
        "subject": f"zen:ticket:{number}",
        "detail": told,
        "event": {"current": told["status"]},
    }


def delivered(mapping: Mapping, number: str = "501", **fields: Any) -> Delivery:
    three_minutes_ago = timezone.now() - timedelta(minutes=3)
    defaults = {"is_delivered": True, "remote_object__number": number, "posted_at": three_minutes_ago}
    made = DeliveryFactory.create(mapping=mapping, **defaults | fields)
    RemoteObject.objects.filter(deliveries=made).update(posted_at=made.posted_at)
    return made


@pytest.fixture
def ticket(mapping: Mapping) -> Delivery:
    Connection.objects.update(webhook_secret=Secret.of(SECRET))
    return delivered(mapping)


@pytest.fixture
def call(client: Client) -> Callable[..., Any]:
    """Calls the webhook's address as Zendesk does, signed now."""

    def sign_and_send(
        connection: Connection, content: Any, *, secret: str = SECRET, age: float = 0, **more: Any
    ) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        timestamp = more.pop("timestamp", written(timezone.now() - timedelta(seconds=age)))
        signature = more.pop("signature", ticket_news.signature_of(secret, timestamp, body))
        return client.generic(
            "POST",
            f"/webhooks/zendesk/{more.pop('address', connection.uuid)}",
            data=more.pop("sent", body),
            content_type="application/json; charset=utf-8",
            headers={
                SIGNATURE: signature,
                TIMESTAMP: timestamp,
                "X-Zendesk-Webhook-Invocation-Id": more.pop("invocation", "01HANA2B5D5W9XSJS3NE5SQA1J"),
            },
            **more,
        )

    return sign_and_send


def known(row: Delivery) -> tuple[str, str, datetime | None]:
    row.refresh_from_db()
    return became(row).status, became(row).assignee, became(row).solved_at


def apply_all() -> None:
    for event_id in TicketEvent.objects.filter(applied_at=None).values_list("pk", flat=True):
        apply_event(event_id)


# --- Signatures and bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_signatures_are_those_of_the_documented_scheme(vector: dict[str, Any]) -> None:
    made = ticket_news.signature_of(VECTORS["secret"], vector["timestamp"], vector["body"].encode())
    assert (made == vector["signature"]) is vector["valid"]


def test_the_secret_that_zendesk_publishes_is_never_accepted() -> None:
    public = VECTORS["secret"]
    for secret in (public, ""):
        signature = ticket_news.signature_of(secret, written(T0), b"{}")
        assert ticket_news.verify(secret, written(T0), b"{}", signature, T0)


@pytest.mark.parametrize(("seconds", "is_fresh"), [(0, True), (299, True), (-299, True), (301, False), (-301, False)])
def test_a_signature_is_good_for_five_minutes_either_side(seconds: int, is_fresh: bool) -> None:
    signature = ticket_news.signature_of(SECRET, written(T0), b"{}")
    why_not = ticket_news.verify(SECRET, written(T0), b"{}", signature, T0 + timedelta(seconds=seconds))
    assert (why_not == "") is is_fresh


def test_the_documented_event_is_read_with_its_capitalised_status() -> None:
    body = json.loads((Path(__file__).parent / "fixtures/zendesk/webhook_event_ticket.json").read_text())["body"]
    event_id, kind, found = ticket_news.read_event(json.dumps(body).encode())
    assert (event_id, kind) == ("01HNXXXX-CTEXAMPLE", "zen:event-type:ticket.created")
    at = datetime(2024, 4, 17, 17, 18, 10, tzinfo=UTC)
    assert found == StatusUpdate("35436", status="open", changed_at=at, ordered_at=at)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"ticket_id": "35436", "status": "Solved", "assignee": "Ann", "updated_at": "2026-07-22T10:00:00Z"},
            StatusUpdate("35436", status="solved", assignee_name="Ann", changed_at=T0),
        ),
        (
            {"ticket": {"id": 7, "status": "On-hold", "assignee_id": None, "updated_at": "2026-07-22T12:00:00+02:00"}},
            StatusUpdate("7", status="hold", assignee_id="", changed_at=T0),
        ),
        # Minutes only, and a status in the account's own words: both have to be asked for.
        ({"ticket_id": "#9", "status": "Warten", "updated_at": "2026-07-22T10:00Z"}, StatusUpdate("9")),
        ({"ticket_id": "8"}, StatusUpdate("8")),
    ],
)
def test_bodies_that_an_administrator_writes_are_read(body: dict[str, Any], expected: StatusUpdate) -> None:
    assert ticket_news.read_event(json.dumps(body).encode())[2] == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[1]",
        b'{"detail": {"id": "x"}}',
        b'{"ticket_id": {"a": 1}}',
        b"[" * 100_000,
        b'{"type": "zen:event-type:user.created", "id": "1", "detail": {"id": "5"}}',
        json.dumps({"detail": {"id": 10**400}}).encode(),
    ],
)
def test_bodies_that_tell_nothing_of_a_ticket_are_no_errors(body: bytes) -> None:
    assert ticket_news.read_event(body)[2] is None


# --- The webhook -----------------------------------------------------------------------------------------------------


class AccountHook(Hook):
    path = "/webhooks/zendesk/"
    stored, owner = TicketEvent, Connection
    signs_the_body, accepts_the_previous_secret = True, False

    def content(self) -> bytes:
        return json.dumps(event()).encode()

    def proof(self, body: bytes, secret: str) -> dict[str, str]:
        timestamp = written(timezone.now())
        return {SIGNATURE: ticket_news.signature_of(secret, timestamp, body), TIMESTAMP: timestamp}

    def empty_proof(self) -> dict[str, str]:
        return {SIGNATURE: "", TIMESTAMP: ""}

    def replace_secret(self, secret: str) -> None:
        Connection.objects.filter(pk=self.row.pk).update(webhook_secret=Secret.of(secret))

    def end_overlap(self) -> None:
        """There is none: Zendesk signs with the new secret from the moment it has one."""

    def another(self) -> Hook:
        return AccountHook(self.client, ConnectionFactory.create(webhook_secret=Secret.of(OTHER_SECRET)))


class TestAccountWebhook(WebhookCases):
    @pytest.fixture
    def hook(self, client: Client, portal: Installation) -> Hook:
        return AccountHook(client, ConnectionFactory.create(webhook_secret=Secret.of(CASES_SECRET)))


@pytest.mark.parametrize("wrong", [{"age": 600}, {"age": -600}, {"timestamp": "now"}])
def test_a_signature_of_another_time_is_refused(
    call: Callable[..., Any], ticket: Delivery, wrong: dict[str, Any]
) -> None:
    assert call(ticket.connection, {"ticket_id": "501"}, **wrong).status_code == 401
    assert not TicketEvent.objects.exists()


def test_the_secret_that_zendesk_publishes_opens_no_address(call: Callable[..., Any], ticket: Delivery) -> None:
    Connection.objects.update(webhook_secret=Secret.of(VECTORS["secret"]))
    assert call(ticket.connection, event(), secret=VECTORS["secret"]).status_code == 401


def test_a_signed_event_is_stored_answered_and_applied(
    call: Callable[..., Any], ticket: Delivery, queued: Callable[[], Any]
) -> None:
    answer = call(ticket.connection, event(status="Solved", assignee_id="77", updated_at=written(at(5))))
    assert answer.status_code == 200
    stored = TicketEvent.objects.get()
    assert answer.json() == {"id": stored.pk, "repeat": False}
    assert ("integrations.jobs.apply_ticket_event", stored.pk) in queued()
    run_task(queue.APPLY_TICKET_EVENT, stored.pk)
    assert known(ticket) == ("solved", "agent 77", at(5))
    stored.refresh_from_db()
    assert stored.message == "Ticket 501: solved."
    assert Connection.objects.get().webhook_called_at is not None


def test_the_same_event_twice_is_stored_once_and_counted(call: Callable[..., Any], ticket: Delivery) -> None:
    told = event()
    answers = [call(ticket.connection, told, invocation=name).json() for name in ("first", "second")]
    assert [answer["repeat"] for answer in answers] == [False, True]
    assert TicketEvent.objects.get().repeats == 1


def test_bodies_without_an_id_are_told_apart_by_their_invocation(call: Callable[..., Any], ticket: Delivery) -> None:
    for invocation in ("one", "one", "two", "", ""):
        call(ticket.connection, {"ticket_id": "501"}, invocation=invocation)
    assert sorted(TicketEvent.objects.values_list("repeats", flat=True)) == [0, 1, 1]


def test_fresh_is_meant_by_the_account_s_clock(call: Callable[..., Any], ticket: Delivery) -> None:
    Connection.objects.update(clock_skew_seconds=7200)
    assert call(ticket.connection, event()).status_code == 401
    assert call(ticket.connection, event(), age=-7200).status_code == 200


def test_a_body_that_is_not_needed_is_kept_and_answered_well(call: Callable[..., Any], ticket: Delivery) -> None:
    assert call(ticket.connection, b"\xff not json").status_code == 200
    apply_all()
    assert TicketEvent.objects.get().message == "Ignored: not about a ticket."


def test_an_event_that_is_faster_than_our_own_record_waits_for_it(
    call: Callable[..., Any], mapping: Mapping, ticket: Delivery
) -> None:
    call(mapping.connection, event(number=900, status="open"))
    apply_all()
    stored = TicketEvent.objects.get()
    assert stored.applied_at is None
    TicketEvent.objects.update(received_at=timezone.now() - timedelta(seconds=5))
    assert swept(queue.APPLY_TICKET_EVENT) == [stored.pk]
    late = delivered(mapping, "900")
    apply_all()
    assert known(late)[0] == "open"
    assert swept(queue.APPLY_TICKET_EVENT) == []


def test_an_event_of_a_ticket_that_is_not_ours_does_not_wait(call: Callable[..., Any], ticket: Delivery) -> None:
    call(ticket.connection, event(number=900, external_id="somebody-elses"))
    call(ticket.connection, event(number=901))
    apply_all()
    TicketEvent.objects.filter(applied_at=None).update(received_at=timezone.now() - timedelta(minutes=11))
    apply_all()
    assert list(TicketEvent.objects.order_by("pk").values_list("message", flat=True)) == [
        "Ignored: ticket 900 was not created by Casebridge.",
        "Ignored: no delivery became ticket 901.",
    ]
    assert known(ticket)[0] == ""


def test_events_are_forgotten_after_thirty_days(call: Callable[..., Any], ticket: Delivery) -> None:
    for _ in range(2):
        call(ticket.connection, event())
    TicketEvent.objects.filter(pk=TicketEvent.objects.earliest("pk").pk).update(
        received_at=timezone.now() - timedelta(days=31)
    )
    forget_old_events()
    assert TicketEvent.objects.count() == 1


# --- Recording -------------------------------------------------------------------------------------------------------

STORY = [
    news("open", 1, assignee_id="7"),
    news("solved", 5, assignee_id="7"),
    news("open", 8, assignee_id="8"),
    news("solved", 12, assignee_id="8"),
    news("closed", 20, assignee_id="8"),
]


def test_in_every_order_and_however_often_the_outcome_is_the_same(ticket: Delivery) -> None:
    for order in itertools.permutations(STORY):
        RemoteObject.objects.update(status="", assignee="", changed_at=None, solved_at=None)
        for told in (*order, *order[:2]):
            record_update(ticket.connection_id, told)
        assert known(ticket) == ("closed", "agent 8", at(5))
        assert became(ticket).changed_at == at(20)


def test_two_changes_in_one_second_are_ordered_by_the_events_own_time_and_place(ticket: Delivery) -> None:
    def told(status: str, milliseconds: int, position: int) -> Any:
        body = event(number=ticket.number, status=status)
        body["time"] = (at(1) + timedelta(milliseconds=milliseconds)).isoformat()
        body["event"]["meta"] = {"sequence": {"id": "x", "position": position, "total": 3}}
        update = ticket_news.read_event(json.dumps(body).encode())[2]
        assert update is not None
        return update

    in_order = [told("Open", 100, 1), told("Pending", 700, 1), told("Solved", 700, 2)]
    for order in itertools.permutations(in_order):
        RemoteObject.objects.update(status="", changed_at=None, solved_at=None)
        for update in order:
            record_update(ticket.connection_id, update)
        assert known(ticket)[0] == "solved"
        assert became(ticket).solved_at == at(1)


def test_a_ticket_that_is_reopened_keeps_its_first_solve(ticket: Delivery) -> None:
    for told in STORY[:3]:
        record_update(ticket.connection_id, told)
    assert known(ticket) == ("open", "agent 8", at(5))


def test_closed_without_a_solve_counts_as_solved(ticket: Delivery) -> None:
    record_update(ticket.connection_id, news("closed", 20))
    assert known(ticket) == ("closed", "", at(20))


def test_news_concern_every_delivery_of_the_ticket_and_no_other_connection(ticket: Delivery, sandbox: StandIn) -> None:
    beside = delivered(ticket.mapping)
    assert became(beside) == became(ticket)
    other = ConnectionFactory.create(url=sandbox.url, name="Another account")
    elsewhere = delivered(MappingFactory.create(subscription=ticket.mapping.subscription, connection=other))
    assert record_update(ticket.connection_id, news("pending", 3)) == 1
    assert [known(row)[0] for row in (ticket, beside, elsewhere)] == ["pending", "pending", ""]


def test_assignees_are_named_as_the_account_s_list_has_them(ticket: Delivery) -> None:
    AccountSchemaFactory.create(connection=ticket.connection, lists={"agents": [{"id": 77, "name": "Ann Agent"}]})
    names = []
    for minute, assignee in enumerate(("77", "78", "", None)):
        record_update(ticket.connection_id, news("open", minute, assignee_id=assignee))
        names.append(known(ticket)[1])
    assert names == ["Ann Agent", "agent 78", "", ""]


def test_a_deleted_ticket_is_told_and_may_come_back(ticket: Delivery, call: Callable[..., Any]) -> None:
    deleted = event("soft_deleted", status="DELETED") | {"time": written(at(9))}
    call(ticket.connection, deleted)
    apply_all()
    assert known(ticket)[0] == "deleted"
    assert became(ticket).next_poll_at is None
    call(ticket.connection, event("undeleted", status="open") | {"time": written(at(10))})
    apply_all()
    assert known(ticket)[0] == "open"
    assert became(ticket).next_poll_at is not None


def test_news_without_status_or_time_make_the_ticket_due_for_a_look(ticket: Delivery, call: Callable[..., Any]) -> None:
    call(ticket.connection, {"ticket_id": "501", "status": "Warten"})
    apply_all()
    assert known(ticket)[0] == ""
    assert became(ticket).next_poll_at is not None
    assert accounts_to_poll() == [ticket.connection_id]


def test_a_time_far_in_the_future_does_not_keep_out_what_comes_after(
    ticket: Delivery, call: Callable[..., Any]
) -> None:
    call(ticket.connection, event(status="solved", updated_at="2999-01-01T00:00:00Z"))
    apply_all()
    assert known(ticket)[0] == ""
    assert became(ticket).next_poll_at is not None


# --- Looking ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(mapping: Mapping, sandbox: StandIn, work: Callable[[], None]) -> Delivery:
    """A ticket that exists in the sandbox, due for a look."""
    NotificationFactory.create(subscription=mapping.subscription)
    work()
    RemoteObject.objects.update(next_poll_at=timezone.now())
    return Delivery.objects.get()


def test_a_look_brings_status_and_assignee(made: Delivery, sandbox: StandIn) -> None:
    changed = sandbox.change_ticket(int(made.number), status="solved")
    assert swept(queue.POLL_TICKETS) == [made.connection_id]
    run_task(queue.POLL_TICKETS, made.connection_id)
    made.refresh_from_db()
    assert became(made).status == "solved"
    assert became(made).solved_at is not None
    assert changed
    (read,) = [call for call in sandbox.calls() if call.method == "GET"]
    assert read.path == f"/api/v2/tickets/show_many.json?ids={made.number}"
    assert swept(queue.POLL_TICKETS) == []


@pytest.mark.parametrize(
    ("age", "webhook_heard", "expected"),
    [
        (timedelta(hours=1), None, timedelta(minutes=15)),
        (timedelta(days=2), None, timedelta(hours=4)),
        (timedelta(days=8), None, timedelta(days=1)),
        (timedelta(days=61), None, None),
        (timedelta(hours=1), timedelta(hours=2), timedelta(hours=6)),
        (timedelta(hours=1), timedelta(days=2), timedelta(minutes=15)),
    ],
)
def test_the_older_a_ticket_the_more_seldom_it_is_looked_at(
    made: Delivery, age: timedelta, webhook_heard: timedelta | None, expected: timedelta | None
) -> None:
    now = timezone.now()
    RemoteObject.objects.update(created_at=now - age)
    if webhook_heard:
        Connection.objects.update(webhook_secret=Secret.of(SECRET), webhook_called_at=now - webhook_heard)
    run_task(queue.POLL_TICKETS, made.connection_id)
    made.refresh_from_db()
    if expected is None:
        assert became(made).next_poll_at is None
    else:
        polled_at = became(made).next_poll_at
        assert polled_at is not None
        assert abs(polled_at - now - expected) < timedelta(seconds=30)


def test_a_closed_ticket_is_not_looked_at_again(made: Delivery, sandbox: StandIn) -> None:
    sandbox.change_ticket(int(made.number), status="closed")
    run_task(queue.POLL_TICKETS, made.connection_id)
    made.refresh_from_db()
    assert (became(made).status, became(made).next_poll_at) == ("closed", None)


def test_a_ticket_that_is_gone_is_marked_deleted_after_it_was_asked_for_alone(made: Delivery, sandbox: StandIn) -> None:
    sandbox.delete_ticket(int(made.number))
    run_task(queue.POLL_TICKETS, made.connection_id)
    made.refresh_from_db()
    assert (became(made).status, became(made).next_poll_at) == ("deleted", None)
    assert sandbox.calls()[-1].path == f"/api/v2/tickets/{made.number}.json"


def test_an_account_that_is_gone_deletes_no_ticket(made: Delivery, sandbox: StandIn) -> None:
    sandbox.add_fault("answer", path="/api/v2/tickets/show_many", status=200, body='{"tickets": []}')
    sandbox.add_fault("404", path=f"/api/v2/tickets/{made.number}")
    run_task(queue.POLL_TICKETS, made.connection_id)
    made.refresh_from_db()
    assert became(made).status == ""
    assert became(made).next_poll_at is not None
    assert "Checking the status failed" in Connection.objects.get().webhook_problem
    sandbox.clear_faults()
    RemoteObject.objects.update(next_poll_at=timezone.now())
    run_task(queue.POLL_TICKETS, made.connection_id)
    assert Connection.objects.get().webhook_problem == ""


def test_a_hundred_are_asked_for_in_one_call_and_ten_calls_are_the_most(mapping: Mapping, sandbox: StandIn) -> None:
    notification = NotificationFactory.create(subscription=mapping.subscription)
    due = timezone.now() - timedelta(minutes=1)
    for number in range(120):
        delivered(mapping, str(90_000 + number), notification=notification, remote_object__next_poll_at=due)
    run_task(queue.POLL_TICKETS, mapping.connection_id)
    calls = [call.path for call in sandbox.calls()]
    assert len(calls) == 10
    assert len(calls[0].split(",")) == 100
    # None of them exists: nine were asked for alone, and the rest is due for the next run.
    assert Delivery.objects.filter(remote_object__status="deleted").count() == 9
    assert accounts_to_poll() == [mapping.connection_id]


def test_paused_connections_are_left_alone(made: Delivery, sandbox: StandIn) -> None:
    Connection.objects.update(paused_at=timezone.now(), pause_reason="because")
    before = len(sandbox.calls())
    assert accounts_to_poll() == []
    run_task(queue.POLL_TICKETS, made.connection_id)
    assert len(sandbox.calls()) == before


def test_a_limit_that_a_look_meets_pauses_the_connection(made: Delivery, sandbox: StandIn) -> None:
    sandbox.add_fault("429", path="/api/v2/tickets/show_many", retry_after="30")
    run_task(queue.POLL_TICKETS, made.connection_id)
    assert Connection.objects.get().paused_until is not None
    made.refresh_from_db()
    polled_at = became(made).next_poll_at
    assert polled_at is not None
    assert polled_at > timezone.now()


def test_a_refused_sign_in_pauses_the_connection_and_says_so(made: Delivery, sandbox: StandIn) -> None:
    sandbox.add_fault("401", path="/api/v2/tickets/show_many")
    run_task(queue.POLL_TICKETS, made.connection_id)
    connection = Connection.objects.get()
    assert (connection.paused_at is not None, connection.paused_until) == (True, None)
    assert "rejected the sign-in (401)" in connection.webhook_problem


def test_a_refused_access_token_is_renewed_and_the_look_repeated(made: Delivery, sandbox: StandIn) -> None:
    oauth = OAuthConnectionFactory.create(url=sandbox.url, name="OAuth")
    for model in (Delivery, RemoteObject):
        model._default_manager.update(connection=oauth)
    made.refresh_from_db()
    sandbox.add_fault("401", path="/api/v2/tickets/show_many", times=1)
    run_task(queue.POLL_TICKETS, made.connection_id)
    made.refresh_from_db()
    assert became(made).status == "new"


def test_two_workers_do_not_take_the_same_tickets(made: Delivery) -> None:
    assert len(_claim(made.connection_id, 100)) == 1
    assert _claim(made.connection_id, 100) == {}


def test_without_a_permit_soon_the_look_is_put_off_quietly(made: Delivery, sandbox: StandIn) -> None:
    now = int(redis_client().time()[0])
    redis_client().hset(f"casebridge:rate:{made.connection_id}:account", "hold", str((now + 120) * 1000))
    before = len(sandbox.calls())
    run_task(queue.POLL_TICKETS, made.connection_id)
    assert len(sandbox.calls()) == before
    made.refresh_from_db()
    polled_at = became(made).next_poll_at
    assert polled_at is not None
    assert polled_at > timezone.now() + timedelta(seconds=60)
    assert Connection.objects.get().webhook_problem == ""


# --- Setting up ------------------------------------------------------------------------------------------------------


@pytest.fixture
def zendesk(connection: Connection, sandbox: StandIn, settings: Any) -> StandIn:
    settings.PUBLIC_URL = "https://portal.example.com"
    return sandbox


def endpoint(connection: Connection) -> str:
    return f"https://portal.example.com/webhooks/zendesk/{connection.uuid}"


def answers(sandbox: StandIn, method: str, path: str, content: Any, status: int = 200, **more: Any) -> None:
    sandbox.add_fault("answer", method=method, path=path, status=status, body=json.dumps(content), **more)


SIGNING_SECRET = {"signing_secret": {"algorithm": "SHA256", "secret": SECRET}}


def test_one_click_makes_the_webhook_and_keeps_its_secret(
    admin: Client, connection: Connection, zendesk: StandIn
) -> None:
    answers(zendesk, "GET", "/api/v2/webhooks/01HANA/signing_secret", SIGNING_SECRET)
    answers(zendesk, "GET", "/api/v2/webhooks", {"webhooks": [], "links": {"next": None}})
    answers(zendesk, "POST", "/api/v2/webhooks", {"webhook": {"id": "01HANA"}}, 201)
    html = press(admin, connection, "set_up")
    assert "Webhook set up: Zendesk calls this portal" in html
    connection.refresh_from_db()
    assert (connection.webhook_id, connection.webhook_secret.reveal()) == ("01HANA", SECRET)
    (made,) = [call for call in zendesk.calls() if call.method == "POST"]
    assert json.loads(made.body) == {
        "webhook": {
            "name": "Casebridge: Zendesk",
            "endpoint": endpoint(connection),
            "http_method": "POST",
            "request_format": "json",
            "status": "active",
            "subscriptions": [
                "zen:event-type:ticket.status_changed",
                "zen:event-type:ticket.custom_status_changed",
                "zen:event-type:ticket.agent_assignment_changed",
                "zen:event-type:ticket.soft_deleted",
                "zen:event-type:ticket.undeleted",
            ],
        }
    }
    assert SECRET not in html


def test_the_whole_way_from_one_click_to_the_status_of_a_change_in_zendesk(
    made: Delivery, sandbox: StandIn, live_server: Any, settings: Any
) -> None:
    settings.PUBLIC_URL = live_server.url
    for _ in range(2):  # the second time finds what the first one made
        AccountWebhook(made.connection).set_up()
    (there,) = sandbox.control("GET", "webhooks")["webhooks"]
    assert there["endpoint"] == f"{live_server.url}/webhooks/zendesk/{made.connection.uuid}"
    sandbox.change_ticket(int(made.number), status="solved")
    until = time.monotonic() + 20
    while not TicketEvent.objects.filter(kind__endswith="status_changed").exists() and time.monotonic() < until:
        time.sleep(0.1)
    apply_all()
    assert known(made)[0] == "solved"
    assert became(made).solved_at is not None
    AccountWebhook(Connection.objects.get()).remove()
    assert sandbox.control("GET", "webhooks")["webhooks"] == []


def test_a_webhook_with_our_endpoint_is_taken_over_and_put_right(connection: Connection, zendesk: StandIn) -> None:
    ours = {"id": "01OURS", "endpoint": f"{endpoint(connection)}/", "status": "inactive", "subscriptions": ["x"]}
    foreign = {"id": "01FOREIGN", "endpoint": "https://elsewhere.example.com"}
    following = f"{zendesk.url}/api/v2/webhooks?page[after]=abc"
    answers(zendesk, "GET", "/api/v2/webhooks/01OURS/signing_secret", SIGNING_SECRET)
    answers(zendesk, "GET", "/api/v2/webhooks", {"webhooks": [foreign], "links": {"next": following}}, times=1)
    answers(zendesk, "GET", "/api/v2/webhooks", {"webhooks": [ours], "links": {}}, times=1)
    answers(zendesk, "PATCH", "/api/v2/webhooks/01OURS", {}, 204)
    AccountWebhook(connection).set_up()
    connection.refresh_from_db()
    assert connection.webhook_id == "01OURS"
    calls = [(call.method, call.path) for call in zendesk.calls()]
    assert ("GET", "/api/v2/webhooks?page%5Bafter%5D=abc") in calls
    assert not [call for call in calls if call[0] == "POST"]
    (changed,) = [call for call in zendesk.calls() if call.method == "PATCH"]
    assert json.loads(changed.body)["webhook"]["status"] == "active"


def test_where_the_scopes_are_narrow_a_token_for_webhooks_alone_is_asked_for(
    zendesk: StandIn, sandbox: StandIn
) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url, name="OAuth")
    connection.settings["scopes"] = "tickets:read tickets:write"
    connection.save()
    answers(zendesk, "GET", "/api/v2/webhooks/01/signing_secret", SIGNING_SECRET)
    answers(zendesk, "GET", "/api/v2/webhooks", {"webhooks": [{"id": "01", "endpoint": endpoint(connection)}]})
    answers(zendesk, "PATCH", "/api/v2/webhooks/01", {})
    AccountWebhook(connection).set_up()
    scopes = [json.loads(call.body)["scope"] for call in zendesk.calls() if call.path == "/oauth/tokens"]
    assert scopes[-1] == "webhooks:read webhooks:write"
    assert Connection.objects.get(pk=connection.pk).webhook_id == "01"


def test_a_refusal_is_told_with_the_steps_by_hand(admin: Client, connection: Connection, zendesk: StandIn) -> None:
    answers(zendesk, "GET", "/api/v2/webhooks", {"error": "Forbidden", "description": "You are no admin"}, 403)
    html = press(admin, connection, "set_up")
    assert "does not allow this sign-in to manage webhooks (403)" in html
    assert "You are no admin" in html
    assert "In Admin Center, open Apps and integrations, Webhooks" in html
    assert endpoint(connection) in html
    connection.refresh_from_db()
    assert not connection.webhook_secret
    assert connection.paused_at is None


def test_the_secret_of_a_webhook_made_by_hand_is_pasted_and_never_shown(
    admin: Client, connection: Connection, zendesk: StandIn, call: Callable[..., Any]
) -> None:
    assert "publishes for tests" in press(admin, connection, "paste", signing_secret=VECTORS["secret"])
    html = press(admin, connection, "paste", signing_secret=f" {SECRET} ")
    assert "Signing secret stored: calls signed with it are accepted." in html
    assert SECRET not in html
    assert call(connection, event()).status_code == 200
    assert "status_changed" in page(admin, connection)


def test_it_is_removed_in_zendesk_and_forgotten_here(admin: Client, connection: Connection, zendesk: StandIn) -> None:
    Connection.objects.update(webhook_id="01HANA", webhook_secret=Secret.of(SECRET))
    answers(zendesk, "DELETE", "/api/v2/webhooks/01HANA", {"error": "Forbidden"}, 403, times=1)
    assert "Remove from Casebridge only" in press(admin, connection, "remove")
    assert Connection.objects.get().webhook_id == "01HANA"
    answers(zendesk, "DELETE", "/api/v2/webhooks/01HANA", {"errors": [{"code": "WebhookNotFound"}]}, 404)
    assert "Webhook removed from Zendesk" in press(admin, connection, "remove")
    connection.refresh_from_db()
    assert (connection.webhook_id, bool(connection.webhook_secret)) == ("", False)


def test_without_a_public_address_the_page_says_why(admin: Client, connection: Connection, settings: Any) -> None:
    settings.PUBLIC_URL = settings.LOCAL_URL = ""
    html = page(admin, connection)
    assert "PUBLIC_URL is not set" in html
    assert "one click" not in html


def test_looking_now_asks_for_the_newest_tickets(
    admin: Client, made: Delivery, zendesk: StandIn, queued: Callable[[], Any]
) -> None:
    RemoteObject.objects.update(next_poll_at=None)
    assert "Checking 1 ticket that is not closed" in press(admin, made.connection, "look")
    assert ("integrations.jobs.poll_tickets", made.connection_id) in queued()
    assert accounts_to_poll() == [made.connection_id]


def test_who_may_only_look_sees_the_page_without_buttons(
    client: Client, portal: Installation, connection: Connection, zendesk: StandIn
) -> None:
    client.force_login(StaffFactory.create(may="^view_"))
    assert "Ticket status" in client.get(f"/admin/integrations/connection/{connection.pk}/change/").content.decode()
    html = page(client, connection)
    assert "How ticket status gets back to Casebridge" in html
    assert 'name="look"' not in html
    assert client.post(f"/admin/integrations/connection/{connection.pk}/status/", {"look": "1"}).status_code == 403


def page(client: Client, connection: Connection) -> str:
    answer = client.get(f"/admin/integrations/connection/{connection.pk}/status/")
    assert answer.status_code == 200
    return answer.content.decode()


def press(client: Client, connection: Connection, button: str, **values: str) -> str:
    address = f"/admin/integrations/connection/{connection.pk}/status/"
    answer = client.post(address, {button: "1", **values}, follow=True)
    assert answer.status_code == 200
    html: str = answer.content.decode()
    return html


# --- The response clock ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(-5, "0 s"), (59, "59 s"), (180, "3 min"), (3600, "1 h"), (18_600, "5 h 10 min"), (187_200, "2 d 4 h")],
)
def test_spans_are_told_in_two_units_at_most(seconds: int, message: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == message


def test_the_clock_runs_from_the_post_to_the_first_solve(ticket: Delivery) -> None:
    ticket.posted_at, ticket.delivered_at, became(ticket).status = at(0), at(3), "open"
    assert response_time_text(ticket, at(9)) == "Ticket after 3 min, not solved yet"
    became(ticket).solved_at = at(310)
    assert response_time_text(ticket, at(9)) == "Ticket after 3 min, solved after 5 h 10 min"
    ticket.state, ticket.delivered_at = "failed", None
    assert response_time_text(ticket, at(9)) == "Not delivered yet, 9 min after the post"
    ticket.posted_at = None
    assert "does not say when" in response_time_text(ticket, at(9))


def test_the_delivery_s_page_and_the_list_tell_what_became_of_it(admin: Client, ticket: Delivery) -> None:
    record_update(ticket.connection_id, news("open", 1, assignee_id="77"))
    log = "/admin/integrations/delivery/"
    assert "open, agent 77" in admin.get(log).content.decode()
    assert "open, agent 77" in admin.get(f"{log}?ticket=open").content.decode()
    assert "open, agent 77" not in admin.get(f"{log}?ticket=solved").content.decode()
    html = admin.get(f"{log}{ticket.pk}/change/").content.decode()
    assert "Ticket after 3 min, not solved yet" in html
    assert "2026-07-22 10:01:00 UTC" in html


def test_the_filter_by_status_uses_its_index(ticket: Delivery) -> None:
    rows = Delivery.objects.filter(remote_object__status="open").order_by("-created_at", "-id")[:50]
    with database.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        assert "remote_object_by_status" in rows.explain()
        cursor.execute("RESET enable_seqscan")


@pytest.fixture
def targeted(mapping: Mapping) -> Mapping:
    Subscription.objects.update(ticket_target_minutes=15, solve_target_minutes=1440)
    return mapping


def test_the_overview_tells_the_oldest_post_and_how_targets_are_met(admin: Client, targeted: Mapping) -> None:
    now = timezone.now()
    day = timedelta(days=1)
    waiting: dict[str, Any] = {"state": "failed", "last_error": "refused", "delivered_at": None, "remote_object": None}
    oldest = delivered(targeted, posted_at=now - timedelta(hours=2), created_at=now - timedelta(hours=2), **waiting)
    delivered(targeted, posted_at=now - timedelta(minutes=5), **waiting)
    delivered(targeted, "1", posted_at=now - timedelta(minutes=40), created_at=now - timedelta(minutes=39))
    delivered(
        targeted,
        "2",
        posted_at=now - timedelta(minutes=40),
        created_at=now - timedelta(minutes=39),
        delivered_at=now - timedelta(minutes=39),
    )
    for solved_at in (None, now - timedelta(hours=20)):
        delivered(
            targeted,
            posted_at=now - 1.5 * day,
            created_at=now - 1.5 * day,
            delivered_at=now - 1.5 * day,
            remote_object__number=str(uuid.uuid4().int % 10**9),
            remote_object__status="solved" if solved_at else "open",
            remote_object__solved_at=solved_at,
        )
    # Labelled today, days after it was posted: its target ended long ago.
    delivered(targeted, "3", posted_at=now - 4 * day, remote_object__status="open")
    answer = admin.get("/admin/")
    assert [(row["target"], row["waiting"], row["late_text"], row["share"]) for row in answer.context["targets"]] == [
        ("a ticket within 15 min", "1", "2 of 3", "33 %"),
        ("solved within 1 d", "2", "1 of 2", "50 %"),
    ]
    for row in answer.context["targets"]:
        assert admin.get(row["late_list"]).context["cl"].result_count == row["late"]
        assert str(admin.get(row["waiting_list"]).context["cl"].result_count) == row["waiting"]
    html = answer.content.decode()
    assert f"/admin/integrations/delivery/{oldest.pk}/change/" in html
    assert "2 h</span> since the oldest post that is not delivered" in html
    assert "a ticket within 15 min" in html


def test_a_missed_target_raises_an_alarm_that_ends_when_it_is_met(targeted: Mapping) -> None:
    now = timezone.now()
    long_ago = now - timedelta(minutes=20)
    late = DeliveryFactory.create(mapping=targeted, state="failed", last_error="x", posted_at=long_ago)
    update_alarms()
    alarm = Alarm.objects.get(kind="target", ended_at=None)
    assert "1 post has not become a ticket within 15 min" in alarm.message
    assert alarm.subscription_id == targeted.subscription_id
    Delivery.objects.filter(pk=late.pk).update(state="cancelled")
    update_alarms()
    assert not Alarm.objects.filter(kind="target", ended_at=None).exists()


def test_unsolved_tickets_raise_the_alarm_only_where_their_status_is_known(targeted: Mapping) -> None:
    unsolved = delivered(targeted, posted_at=timezone.now() - timedelta(days=2))
    update_alarms()
    assert not Alarm.objects.filter(kind="target").exists()
    RemoteObject.objects.filter(pk=became(unsolved).pk).update(status="pending")
    update_alarms()
    assert "1 ticket is not solved within 1 d of the post" in Alarm.objects.get(kind="target").message


def test_targets_are_set_on_the_subscription_s_page(admin: Client, subscription: Subscription) -> None:
    html = admin.get(f"/admin/integrations/subscription/{subscription.pk}/change/").content.decode()
    assert 'name="ticket_target_minutes"' in html
    assert 'name="solve_target_minutes"' in html
