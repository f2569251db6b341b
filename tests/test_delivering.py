"""From a delivery to exactly one ticket, over real sockets to the sandbox."""

import base64
import json
import logging
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog
from django.db import connections as databases
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from integrations.delivery.claim import claim
from integrations.delivery.record import begin_attempt, record_result
from integrations.delivery.send import hold_permits, send
from integrations.flow.pause import pause_connections, resume_connections
from integrations.infra import queue
from integrations.infra.encryption import Secret
from integrations.infra.http.failure import Failure
from integrations.infra.redis import redis_client
from integrations.infra.wakes import MOST_WAKES
from integrations.jobs.sweep import sweep
from integrations.models import Attempt, Connection, Delivery, Mapping
from integrations.routing.actions import ActionResult, cancel, rebuild, retry_now
from integrations.routing.route import route_notification
from portal import logs
from tests import payloads
from tests.deliveries import became
from tests.factories import ConnectionFactory, NotificationFactory, OAuthConnectionFactory
from tests.queues import swept
from tests.stand_in import StandIn
from tests.test_connecting import in_thread, somebody_waits_for_a_lock, wait_for

State = Delivery.State
Work = Callable[[], None]


@pytest.fixture
def delivery(mapping: Mapping) -> Delivery:
    return new_delivery(mapping)


def new_delivery(mapping: Mapping, **fields: Any) -> Delivery:
    notification = NotificationFactory.create(
        subscription=mapping.subscription, content=payloads.notification(payloads.item(**fields))
    )
    route_notification(notification.pk)
    return Delivery.objects.get(notification=notification)


def tickets(sandbox: StandIn) -> list[Any]:
    return sandbox.tickets()


def creates(sandbox: StandIn) -> list[Any]:
    return [call for call in sandbox.calls() if call.method == "POST" and "tickets" in call.path]


def look_ups(sandbox: StandIn) -> list[Any]:
    return [call for call in sandbox.calls() if call.method == "GET" and "external_id" in call.path]


def make_due(**changes: Any) -> None:
    """Moves the row in time instead of waiting."""
    a_second_ago = timezone.now() - timedelta(seconds=1)
    Delivery.objects.filter(state=State.PENDING).update(next_attempt_at=a_second_ago, **changes)


def test_a_delivery_becomes_a_ticket(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    work()
    delivery.refresh_from_db()
    (ticket,) = tickets(sandbox)
    assert (delivery.state, delivery.result, delivery.number) == (State.DELIVERED, "created", str(ticket["id"]))
    assert became(delivery).url == f"{sandbox.url}/agent/tickets/{ticket['id']}"
    assert ticket["external_id"] == delivery.external_id
    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.outcome, attempt.status) == (1, "delivered", 201)


def test_the_bytes_on_the_wire_are_the_stored_ones_under_the_deliverys_key(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    work()
    (call,) = creates(sandbox)
    assert call.body == delivery.request
    assert call.headers["Idempotency-Key"] == delivery.idempotency_key
    assert call.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("kind", ["500", "502_html", "503", "504", "hang_up_before", "hang_up_after", "invalid_json"])
def test_trouble_is_tried_again_with_the_same_bytes_and_key_and_makes_one_ticket(
    sandbox: StandIn, delivery: Delivery, work: Work, kind: str
) -> None:
    sandbox.add_fault(kind, times=1, method="POST")
    work()
    make_due()
    work()
    delivery.refresh_from_db()
    assert (delivery.state, len(tickets(sandbox))) == (State.DELIVERED, 1)
    sent = {(call.body, call.headers["Idempotency-Key"]) for call in creates(sandbox)}
    assert len(sent) == 1


def test_a_lost_answer_is_recognised_by_the_key(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    sandbox.add_fault("hang_up_after", times=1)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain, delivery.tries) == (State.PENDING, True, 1)
    make_due()
    work()
    delivery.refresh_from_db()
    assert (delivery.result, len(tickets(sandbox))) == ("already_there", 1)
    assert not look_ups(sandbox)


def test_when_the_keys_life_is_over_the_ticket_is_looked_up_first(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    sandbox.add_fault("hang_up_after", times=1)
    work()
    sandbox.age_keys(3 * 3600)
    make_due(key_used_at=timezone.now() - timedelta(minutes=111))
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(tickets(sandbox))) == (State.DELIVERED, "found", 1)
    assert len(creates(sandbox)) == 1


def test_when_nothing_is_found_it_is_created_under_the_next_key(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    sandbox.add_fault("hang_up_before", times=1)
    work()
    make_due(key_used_at=timezone.now() - timedelta(minutes=111))
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, delivery.key_version) == (State.DELIVERED, "created", 2)
    assert len(tickets(sandbox)) == 1
    assert len(look_ups(sandbox)) == 1


def test_a_death_between_look_up_and_create_looks_up_again(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    sandbox.add_fault("hang_up_after", times=1)
    work()
    sandbox.age_keys(3 * 3600)
    make_due(key_used_at=timezone.now() - timedelta(minutes=111))
    assert claim(delivery.connection) is not None
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    work()
    assert len(tickets(sandbox)) == 1


def test_a_process_that_died_after_the_ticket_was_made_makes_no_second(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    claimed = claim(delivery.connection)
    assert claimed is not None
    hold_permits(claimed)
    begin_attempt(claimed)
    send(claimed)
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(tickets(sandbox))) == (State.DELIVERED, "found", 1)
    assert len(creates(sandbox)) == 1
    half_written = Attempt.objects.get(number=1)
    assert (half_written.finished_at, half_written.outcome) == (None, "")


def test_only_one_of_many_at_once_wins_the_claim(delivery: Delivery) -> None:
    won: list[object] = []
    start = threading.Barrier(8)

    def try_to_claim() -> None:
        start.wait()
        if (claimed := claim(delivery.connection)) is not None:
            won.append(claimed)
        databases.close_all()

    threads = [threading.Thread(target=try_to_claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_result_that_comes_after_the_lease_was_taken_over_is_kept_if_it_is_a_ticket(delivery: Delivery) -> None:
    late = claim(delivery.connection)
    assert late is not None
    hold_permits(late)
    begin_attempt(late)
    receipt = send(late)
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert claim(delivery.connection) is not None
    record_result(late, receipt)
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_a_late_failure_does_not_disturb_whoever_took_over(sandbox: StandIn, delivery: Delivery) -> None:
    late = claim(delivery.connection)
    assert late is not None
    begin_attempt(late)
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    taken_over = claim(delivery.connection)
    assert taken_over is not None
    record_result(late, Failure("too late"))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.claim) == (State.SENDING, taken_over.claim)


def test_an_unreadable_success_is_looked_up_at_once(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    sandbox.add_fault("invalid_json", times=1)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(tickets(sandbox))) == (State.DELIVERED, "found", 1)


def test_an_unreadable_success_without_a_ticket_looks_up_before_it_sends_again(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    sandbox.add_fault("html_200", times=1, method="POST")
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.look_up_next) == (State.PENDING, True)
    make_due()
    work()
    calls = [call.method for call in sandbox.calls()]
    assert calls == ["POST", "GET", "GET", "POST"]
    assert len(tickets(sandbox)) == 1


def test_a_key_conflict_is_looked_up_and_never_repeated(
    sandbox: StandIn, delivery: Delivery, work: Work, exchange: Any
) -> None:
    answer = exchange("idempotency_mismatch_400")["response"]
    sandbox.add_fault("answer", times=1, status=400, body=answer["body"])
    work()
    delivery.refresh_from_db()
    assert (delivery.state, len(creates(sandbox)), len(look_ups(sandbox))) == (State.FAILED, 1, 1)
    assert "rebuild" in delivery.last_error.lower()


def test_an_oversized_or_dripping_answer_ends_within_the_deadline(
    sandbox: StandIn, delivery: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_LEASE_SECONDS = 3
    sandbox.add_fault("oversized", times=1)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result) == (State.DELIVERED, "found")


def test_a_dripping_answer_is_cut_off_at_the_deadline(
    sandbox: StandIn, delivery: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_LEASE_SECONDS = 3
    sandbox.add_fault("drip", times=1, seconds=0.4)
    work()
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.status) == ("retry", None)
    assert "in time" in attempt.meaning
    assert attempt.duration_ms is not None
    assert attempt.duration_ms < 3000


def test_all_tries_used_up_is_a_failure_a_person_can_retry(
    sandbox: StandIn, delivery: Delivery, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = (1.0, 2.0)
    sandbox.add_fault("500")
    for _ in range(4):
        work()
        make_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.attempt_count) == (State.FAILED, 3, 3)
    assert Attempt.objects.get(number=3).outcome == "given_up"
    assert "Gave up after 3 attempts" in Attempt.objects.get(number=3).meaning


def test_the_next_try_follows_the_schedule(sandbox: StandIn, delivery: Delivery, work: Work, settings: Any) -> None:
    settings.DELIVERY_RETRY_DELAYS = (100.0, 1000.0)
    sandbox.add_fault("500")
    work()
    delivery.refresh_from_db()
    assert delivery.next_attempt_at is not None
    assert 95 < (delivery.next_attempt_at - timezone.now()).total_seconds() < 111


def test_a_retry_after_of_a_503_delays_the_delivery_alone(
    sandbox: StandIn, delivery: Delivery, work: Work, connection: Connection
) -> None:
    sandbox.add_fault("503", times=1, retry_after=300)
    work()
    delivery.refresh_from_db()
    connection.refresh_from_db()
    assert delivery.next_attempt_at is not None
    assert (delivery.next_attempt_at - timezone.now()).total_seconds() > 290
    assert connection.paused_at is None


def test_a_limit_pauses_the_connection_and_uses_up_no_try(
    sandbox: StandIn, delivery: Delivery, work: Work, connection: Connection
) -> None:
    sandbox.add_fault("429", times=1, retry_after=40)
    work()
    delivery.refresh_from_db()
    connection.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.attempt_count) == (State.PENDING, 0, 1)
    assert connection.paused_until is not None
    assert 39 < (connection.paused_until - timezone.now()).total_seconds() < 46
    work()
    assert len(creates(sandbox)) == 1
    Connection.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    work()
    assert len(tickets(sandbox)) == 1


def test_a_limit_without_retry_after_pauses_longer_each_time(
    sandbox: StandIn, delivery: Delivery, work: Work, connection: Connection
) -> None:
    sandbox.add_fault("429", times=3)
    pauses = []
    for _ in range(3):
        work()
        connection.refresh_from_db()
        assert connection.paused_until is not None
        pauses.append((connection.paused_until - timezone.now()).total_seconds())
        Connection.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    assert pauses[0] < pauses[1] < pauses[2]
    assert 9 < pauses[0] < 12


def test_a_refused_sign_in_pauses_until_a_person_acts(
    sandbox: StandIn, mapping: Mapping, delivery: Delivery, work: Work, connection: Connection
) -> None:
    sandbox.add_fault("401")
    other = new_delivery(mapping)
    work()
    connection.refresh_from_db()
    assert connection.paused_at is not None
    assert connection.paused_until is None
    assert "30 April 2027" in connection.pause_reason
    work()
    for row in (delivery, other):
        row.refresh_from_db()
        assert (row.state, row.tries) == (State.PENDING, 0)
    assert len(creates(sandbox)) == 1
    assert swept(queue.DELIVER) == []


@pytest.mark.parametrize("is_oauth", [False, True])
def test_a_redirect_pauses_the_connection_until_its_address_is_corrected(
    sandbox: StandIn, mapping: Mapping, work: Work, is_oauth: bool
) -> None:
    if is_oauth:
        use_oauth(mapping, sandbox)
    rows = [new_delivery(mapping), new_delivery(mapping)]
    sandbox.add_fault("redirect", headers={"Location": "https://renamed.zendesk.com/"})
    work()
    work()
    connection = Connection.objects.get(pk=mapping.connection_id)
    assert (connection.paused_at is None, connection.paused_until) == (False, None)
    assert "https://renamed.zendesk.com/" in connection.pause_reason
    assert "Correct the connection's address" in connection.pause_reason
    for row in rows:
        row.refresh_from_db()
        assert (row.state, row.tries) == (State.PENDING, 0)
    assert len(sandbox.calls()) == 1

    sandbox.clear_faults()
    resume_connections(Connection.objects.all())
    work()
    assert len(tickets(sandbox)) == 2


def test_oauth_fetches_one_token_for_many_tickets(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    use_oauth(mapping, sandbox)
    for _ in range(3):
        new_delivery(mapping)
    work()
    assert len(tickets(sandbox)) == 3
    token_calls = [call for call in sandbox.calls() if call.path == "/oauth/tokens"]
    assert len(token_calls) == 1
    assert json.loads(token_calls[0].body)["grant_type"] == "client_credentials"


def use_oauth(mapping: Mapping, sandbox: StandIn) -> Connection:
    mapping.connection = OAuthConnectionFactory.create(url=sandbox.url, name="OAuth")
    mapping.save()
    return mapping.connection


def test_a_revoked_token_is_renewed_once_and_the_ticket_made(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    use_oauth(mapping, sandbox)
    new_delivery(mapping)
    work()
    sandbox.revoke_tokens()
    second = new_delivery(mapping)
    work()
    second.refresh_from_db()
    assert (second.state, second.attempt_count, len(tickets(sandbox))) == (State.DELIVERED, 1, 2)


def test_a_wrong_oauth_client_pauses_the_connection(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    connection = use_oauth(mapping, sandbox)
    connection.settings["client_id"] = "another"
    connection.save()
    new_delivery(mapping)
    work()
    connection.refresh_from_db()
    assert connection.paused_at is not None
    assert "OAuth client" in connection.pause_reason


def test_unreadable_secrets_pause_the_connection_and_say_what_to_do(
    sandbox: StandIn, delivery: Delivery, work: Work, connection: Connection, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = ["quite another key with enough characters"]
    work()
    connection.refresh_from_db()
    assert connection.paused_at is not None
    assert "cannot be read with the present key: enter it again" in connection.pause_reason
    assert not creates(sandbox)


def test_no_secret_reaches_the_log_or_the_attempt(
    sandbox: StandIn, delivery: Delivery, work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"error": "Couldn't authenticate you with sandbox-zendesk-token"}
    sandbox.add_fault("answer", status=400, body=body, times=1)
    work()
    attempt = Attempt.objects.get()
    told = json.dumps(attempt.exchanges) + attempt.detail + attempt.meaning + capsys.readouterr().out
    told += Delivery.objects.get().last_error
    assert "sandbox-zendesk-token" not in told
    assert "Basic" not in json.dumps(attempt.exchanges)
    assert attempt.exchanges[0]["headers"]["Authorization"] == "[removed]"


def test_look_up_before_every_create_finds_what_a_restored_database_forgot(
    sandbox: StandIn, delivery: Delivery, work: Work
) -> None:
    work()
    Attempt.objects.all().delete()
    fresh = timezone.now() - timedelta(seconds=1)
    forgotten = {"state": State.PENDING, "next_attempt_at": fresh, "remote_object": None, "delivered_at": None}
    Delivery.objects.update(**forgotten, key_version=F("key_version") + 1)
    Connection.objects.update(look_up_before_create=True)
    work()
    delivery.refresh_from_db()
    assert (delivery.result, len(tickets(sandbox))) == ("found", 1)


def test_a_look_up_takes_nobody_elses_ticket(sandbox: StandIn, delivery: Delivery, work: Work, exchange: Any) -> None:
    Connection.objects.update(look_up_before_create=True)
    foreign = {"tickets": [{"id": 1, "external_id": None}, {"id": 2, "external_id": delivery.external_id + "x"}]}
    sandbox.add_fault("answer", status=200, body=foreign, times=1, method="GET")
    work()
    delivery.refresh_from_db()
    assert (delivery.result, len(tickets(sandbox))) == ("created", 1)


def test_a_private_address_is_refused_when_connecting_and_pauses(
    sandbox: StandIn, delivery: Delivery, work: Work, connection: Connection, settings: Any
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    connection.settings["address"] = "https://localhost.localdomain"
    connection.save()
    work()
    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert not creates(sandbox)


def test_an_address_nobody_answers_at_is_tried_again(delivery: Delivery, work: Work, connection: Connection) -> None:
    connection.settings["address"] = "http://127.0.0.1:9"
    connection.save()
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain) == (State.PENDING, False)
    assert "cannot be reached" in delivery.last_error


def test_a_defect_of_our_own_is_recorded_and_counted(delivery: Delivery, work: Work) -> None:
    Connection.objects.update(secrets=Secret.of("[]"))
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == (State.PENDING, 1)
    assert "Sending failed because of an error in Casebridge" in delivery.last_error


def test_a_backlog_needs_few_messages_and_each_sweep_adds_one_at_most(
    mapping: Mapping, queued: Callable[[], list[tuple[str, Any]]]
) -> None:
    for _ in range(40):
        new_delivery(mapping)
    for _ in range(3):
        sweep()
    messages = [argument for task, argument in queued() if task.endswith("deliver")]
    assert messages == [mapping.connection_id] * (MOST_WAKES + 3)


def test_messages_that_were_lost_with_redis_are_sent_anew(
    delivery: Delivery, queued: Callable[[], list[tuple[str, Any]]]
) -> None:
    sweep()
    assert [task for task, _ in queued()].count("integrations.jobs.deliver") == 1
    redis_client().delete("deliver")
    sweep()
    assert [task for task, _ in queued()].count("integrations.jobs.deliver") == 1


def test_the_sweep_takes_up_what_a_dead_process_held(delivery: Delivery) -> None:
    assert claim(delivery.connection) is not None
    assert swept(queue.DELIVER) == []
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert swept(queue.DELIVER) == [delivery.connection_id]


def test_the_sweep_finds_notifications_whose_routing_was_lost(mapping: Mapping) -> None:
    old = NotificationFactory.create(
        subscription=mapping.subscription, received_at=timezone.now() - timedelta(minutes=1)
    )
    NotificationFactory.create(subscription=mapping.subscription)
    assert swept(queue.ROUTE) == [[old.pk]]


# --- Hostile and unlucky answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 403, 404, 422, 429, 500])
@pytest.mark.parametrize("kind", ["invalid_json", "conflict"])
def test_a_look_up_that_fails_leaves_open_whether_there_is_a_ticket(
    sandbox: StandIn, delivery: Delivery, work: Work, admin: Any, status: int, kind: str
) -> None:
    """However it goes on, by itself or by a person's retry, there is one ticket in the end."""
    if kind == "conflict":
        sandbox.add_fault("hang_up_after", times=1)
        work()
        make_due()
        conflict = {"error": "IdempotentRequestError", "description": "x"}
        sandbox.add_fault("answer", status=400, body=conflict, times=1, method="POST")
    else:
        sandbox.add_fault("invalid_json", times=1, method="POST")
    sandbox.add_fault("answer", status=status, body={"error": "x"}, times=1, method="GET")
    work()
    delivery.refresh_from_db()
    assert (delivery.is_uncertain, delivery.look_up_next) == (True, True)
    Connection.objects.update(paused_at=None, paused_until=None)
    retry_now(Delivery.objects.all())
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.result, len(tickets(sandbox))) == (State.DELIVERED, "found", 1)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, '{"details": {"a\\u0000b": [{"description": "x\\u0000"}]}}'),
        (422, '{"details": {"\\ud800": [{"description": "\\ud800"}]}}'),
        (400, '{"error": "\\u0000"}'),
        (201, '{"ticket": {"id": 12345678901234567890123456789012345678901234567890}}'),
        (201, '{"ticket": {"id": "²"}}'),
    ],
)
def test_answers_that_no_column_holds_are_recorded_all_the_same(
    sandbox: StandIn, delivery: Delivery, work: Work, status: int, body: str
) -> None:
    sandbox.add_fault("answer", status=status, body=body, times=1, method="POST")
    work()
    delivery.refresh_from_db()
    assert delivery.state in (State.FAILED, State.PENDING)
    assert Attempt.objects.get().finished_at is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "Wed, 21 Oct 2026 07:28:00 -0000", "Date": "Wed, 21 Oct 2026 07:27:00 GMT"},
        {"Retry-After": "Sun, 22 Nov 2026 10:00:04"},
        {"Retry-After": "0"},
        {"x-rate-limit": "²", "ratelimit-reset": "1790000000", "ratelimit-remaining": "1", "ratelimit-limit": "700"},
    ],
)
def test_odd_headers_of_a_limit_still_pause_the_connection(
    sandbox: StandIn, delivery: Delivery, work: Work, connection: Connection, headers: dict[str, str]
) -> None:
    sandbox.add_fault("answer", status=429, body="", headers=headers, times=1)
    work()
    connection.refresh_from_db()
    assert connection.paused_until is not None
    assert timezone.now() < connection.paused_until < timezone.now() + timedelta(minutes=17)
    assert Attempt.objects.get().outcome == "paused"


def test_odd_headers_of_a_success_do_not_cost_the_receipt(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    headers = {"x-rate-limit": "²", "ratelimit-reset": "1e9", "zendesk-ratelimit-create": "total=;remaining=²"}
    sandbox.add_fault("answer", status=201, body={"ticket": {"id": 7}}, headers=headers, times=1)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.number) == (State.DELIVERED, "7")


def test_an_echoed_credential_is_removed_wherever_it_stands(sandbox: StandIn, delivery: Delivery, work: Work) -> None:
    basic = base64.b64encode(b"agent@example.com/token:sandbox-zendesk-token").decode()
    echo = f"{'x' * 470} {basic} sandbox-zendesk-token {'y' * 1500} sandbox-zendesk-token {basic}"
    sandbox.add_fault("answer", status=400, body=echo, times=1)
    work()
    told = (
        json.dumps(Attempt.objects.get().exchanges) + Attempt.objects.get().detail + Delivery.objects.get().last_error
    )
    assert "sandbox-zen" not in told
    assert basic[:12] not in told


def test_a_token_answer_is_never_quoted(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    use_oauth(mapping, sandbox)
    new_delivery(mapping)
    odd = {"token": {"full_token": "very-secret-access-token"}}
    sandbox.add_fault("answer", status=200, body=odd, times=1, path="/oauth/tokens")
    work()
    told = (
        json.dumps(Attempt.objects.get().exchanges) + Attempt.objects.get().detail + Delivery.objects.get().last_error
    )
    assert "very-secret" not in told


def test_a_traceback_in_the_log_shows_no_local_variables() -> None:
    formatter = structlog.stdlib.ProcessorFormatter(**_formatter_of(logs.configuration("json", "INFO")))
    try:
        password = "a-secret-local-variable"
        raise ValueError(len(password))
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
        line = formatter.format(record)
    assert "a-secret-local-variable" not in line
    assert "ValueError" in line


def _formatter_of(configuration: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in configuration["formatters"]["line"].items() if name != "()"}


def test_a_401_of_the_old_credentials_does_not_pause_the_new_ones(delivery: Delivery, connection: Connection) -> None:
    under_the_old = claim(delivery.connection)
    assert under_the_old is not None
    begin_attempt(under_the_old)
    connection.secrets = Secret.of(json.dumps({"api_token": "new"}))
    connection.save()
    record_result(under_the_old, Failure("refused", permanent=True, pauses=True))
    connection.refresh_from_db()
    assert connection.paused_at is None


def test_a_persons_pause_outlasts_a_limit(delivery: Delivery, connection: Connection) -> None:
    pause_connections(Connection.objects.all(), "by a person", None, by="ann")
    pause_connections(Connection.objects.all(), "limit", 5, limited=True)
    pause_connections(Connection.objects.all(), "401", None)
    connection.refresh_from_db()
    assert (connection.pause_reason, connection.paused_by, connection.paused_until) == ("by a person", "ann", None)


def test_a_try_that_kills_its_process_is_given_up_in_the_end(delivery: Delivery, work: Work, settings: Any) -> None:
    settings.DELIVERY_RETRY_DELAYS = (1.0,)
    for _ in range(2):
        assert claim(delivery.connection) is not None
        Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    work()
    delivery.refresh_from_db()
    assert delivery.state == State.FAILED
    assert "No attempt is left" in delivery.last_error


def test_what_a_dead_process_holds_can_be_cancelled(delivery: Delivery) -> None:
    assert claim(delivery.connection) is not None
    assert cancel(Delivery.objects.all()).changed == []
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert cancel(Delivery.objects.all()).changed == [delivery.pk]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.is_uncertain) == (State.CANCELLED, True)


def test_rebuild_does_not_move_an_uncertain_ticket_to_another_account(
    sandbox: StandIn, mapping: Mapping, delivery: Delivery, work: Work
) -> None:
    sandbox.add_fault("hang_up_after", times=1)
    work()
    mapping.connection = ConnectionFactory.create(url=sandbox.url, name="Another")
    mapping.save()
    done = rebuild(Delivery.objects.all())
    assert done.changed == []
    assert "may have created a ticket" in done.remarks[0]


def test_rebuild_leaves_alone_what_is_tried_while_it_renders(delivery: Delivery) -> None:
    """It reads the row before that try has ended, and comes to store the new request after."""
    done: list[ActionResult] = []
    with transaction.atomic():
        Delivery.objects.update(action="append", target_number="77", is_uncertain=True, attempt_count=1)
        rebuilding = in_thread(lambda: done.append(rebuild(Delivery.objects.all())))
        wait_for(somebody_waits_for_a_lock)
    rebuilding.join()
    delivery.refresh_from_db()
    assert (done[0].changed, delivery.action, delivery.target_number) == ([], "append", "77")
    assert "it was tried in the meantime" in done[0].remarks[0]


def test_the_request_of_an_earlier_attempt_is_kept_when_it_is_rebuilt(
    sandbox: StandIn, mapping: Mapping, delivery: Delivery, work: Work
) -> None:
    sandbox.add_fault("422", times=1)
    work()
    first = Delivery.objects.get().request
    mapping.settings["priority"] = "high"
    mapping.save()
    rebuild(Delivery.objects.all())
    assert Attempt.objects.get().request == first != Delivery.objects.get().request
