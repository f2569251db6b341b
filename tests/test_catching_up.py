"""Catching up: what Khoros holds and never pushed is fetched, once, in whatever shape and order the list comes."""

import json
import threading
import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.admin.text.subscription import _problems
from integrations.infra import queue
from integrations.models import CatchUp, Delivery, Mapping, Notification, NotificationContent, Subscription
from integrations.routing.reroute import fetch_missing
from integrations.sources.khoros.parse import parse
from integrations.sources.khoros.pull import pulled
from integrations.subscriptions import reading
from integrations.subscriptions.catch_up import _claim, catch_ups_due, request_catch_up, run_catch_up
from integrations.subscriptions.registration import check_subscription
from integrations.subscriptions.requests import request_check
from tests import payloads, queues
from tests.factories import CatchUpFactory
from tests.stand_in import StandIn

Mode, State, Source = CatchUp.Mode, CatchUp.State, Notification.Source


@pytest.fixture
def registered(sandbox: StandIn, mapping: Mapping, settings: Any) -> Subscription:
    """A registered subscription that Khoros cannot reach: everything has to be fetched."""
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    request_check([mapping.subscription.pk])
    check_subscription(mapping.subscription.pk)
    sandbox.change_settings(push=False)
    mapping.subscription.refresh_from_db()
    return mapping.subscription


@pytest.fixture(autouse=True)
def calls_are_repeated_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "REPEAT_AFTER", (0.01, 0.01, 0.01))


def happen(sandbox: StandIn, count: int) -> None:
    sandbox.control("POST", "events/bulk", {"count": count, "label": "CreateCase"})


def run(subscription: Subscription) -> CatchUp:
    Subscription.objects.update(next_catch_up_at=timezone.now())
    run_catch_up(subscription.pk)
    last = CatchUp.objects.order_by("-pk").first()
    assert last is not None
    return last


def counts(of: CatchUp) -> tuple[int, int, int, int]:
    return of.read, of.known, of.new, of.unreadable


SHAPES = ["data", "bare", "data_items", "data_events", "events", "strings"]


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_and_order_is_read_whole_and_kept_once(
    sandbox: StandIn, registered: Subscription, shape: str, order: str
) -> None:
    sandbox.change_settings(pull_shape=shape, pull_order=order)
    happen(sandbox, 250)
    first = run(registered)
    if order == "shuffled":
        run(registered)
    assert first.state == State.DONE
    assert Notification.objects.filter(source=Source.CAUGHT_UP, state="received").count() == 250
    again = run(registered)
    assert (again.new, again.unreadable) == (0, 0)


@pytest.mark.parametrize(
    "habit",
    [
        {"pull_largest_page": 7},
        {"pull_ignores_limit": True},
        {"pull_ignores_offset": True, "pull_ignores_limit": True},
        {"pull_consumes": True},
        {"pull_consumes": True, "pull_order": "oldest"},
        {"pull_consumes": True, "pull_largest_page": 30, "pull_order": "shuffled"},
    ],
)
def test_odd_habits_of_the_list_lose_nothing(sandbox: StandIn, registered: Subscription, habit: dict[str, Any]) -> None:
    sandbox.change_settings(**habit)
    happen(sandbox, 230)
    for _ in range(3):
        run(registered)
    assert Notification.objects.count() == 230
    happen(sandbox, 5)
    for _ in range(2):
        run(registered)
    assert Notification.objects.count() == 235


def test_only_the_data_without_an_envelope_are_read_as_the_subscriptions_event(
    sandbox: StandIn, registered: Subscription
) -> None:
    sandbox.change_settings(pull_shape="inner")
    happen(sandbox, 3)
    assert counts(run(registered)) == (3, 0, 3, 0)
    assert set(NotificationContent.objects.values_list("event_name", flat=True)) == {"stream-item-label-applied"}


def test_what_was_pushed_is_known(sandbox: StandIn, registered: Subscription, push: Any, work: Any) -> None:
    happen(sandbox, 3)
    run(registered)
    stored = Notification.objects.first()
    assert stored is not None
    content = json.loads(stored.content.body)
    assert push(content).json()["repeat"] is True
    Notification.objects.all().delete()
    push(content)
    assert counts(run(registered)) == (3, 1, 2, 0)
    work()
    assert len(sandbox.tickets()) == 3


def test_fetched_events_become_tickets_and_are_marked(sandbox: StandIn, registered: Subscription, work: Any) -> None:
    happen(sandbox, 2)
    run(registered)
    work()
    assert len(sandbox.tickets()) == 2
    assert set(Notification.objects.values_list("source", "state")) == {("caught_up", "routed")}


def test_once_the_order_is_known_only_the_new_end_is_read(sandbox: StandIn, registered: Subscription) -> None:
    for order in ("newest", "oldest"):
        sandbox.change_settings(pull_order=order)
        Subscription.objects.update(read_whole_at=None)
        for _ in range(4):
            spread_in_time(sandbox, 200)
        assert run(registered).mode == Mode.WHOLE
        registered.refresh_from_db()
        assert registered.catch_up_order == order
        spread_in_time(sandbox, 4)
        sandbox.control("DELETE", "requests")
        recent = run(registered)
        assert (recent.mode, recent.new) == (Mode.RECENT, 4)
        assert len([call for call in sandbox.calls("khoros") if "/data/" in call.path]) <= 5


moment = 0


def spread_in_time(sandbox: StandIn, count: int) -> None:
    """Events a second apart, in the envelope's own form of time."""
    global moment
    for _ in range(count // 4):
        moment += 1
        at = timezone.now() - timedelta(days=30) + timedelta(seconds=moment)
        created = f"{at:%a %b %d %H:%M:%S} UTC {at:%Y}"
        for _ in range(4):
            data = {"labels": ["CreateCase"], "items": [payloads.item()]}
            event = {"eventName": "stream-item-label-applied", "createdDate": created, "data": data}
            sandbox.control("POST", "events", event | {"text": "CreateCase"})


def pushed(sandbox: StandIn, push: Any, count: int) -> None:
    """Events that happen at Khoros and arrive."""
    before = {event["eventUuid"] for event in sandbox.control("GET", "events")["events"]}
    happen(sandbox, count)
    for event in sandbox.control("GET", "events")["events"]:
        if event["eventUuid"] not in before:
            push(payloads.notification() | {"eventUuid": event["eventUuid"]})


def known_and_in_order(sandbox: StandIn, subscription: Subscription, order: str, **settings: Any) -> None:
    """The state after a regular run: everything known, the list's order observed."""
    sandbox.change_settings(pull_order=order, **settings)
    for _ in range(4):
        spread_in_time(sandbox, 100)
    assert run(subscription).mode == Mode.WHOLE
    subscription.refresh_from_db()
    assert subscription.catch_up_order == order
    Notification.objects.update(received_at=timezone.now() - timedelta(minutes=5))


def test_what_lies_behind_pages_of_pushed_events_is_found(
    sandbox: StandIn, registered: Subscription, push: Any
) -> None:
    known_and_in_order(sandbox, registered, "newest", pull_largest_page=20)
    happen(sandbox, 5)
    pushed(sandbox, push, 80)
    recent = run(registered)
    assert (recent.mode, recent.new) == (Mode.RECENT, 5)


def test_a_walk_ends_at_the_first_page_that_was_known_before_the_last_one_began(
    sandbox: StandIn, registered: Subscription, push: Any
) -> None:
    known_and_in_order(sandbox, registered, "newest")
    pushed(sandbox, push, 150)
    sandbox.control("DELETE", "requests")
    assert run(registered).new == 0
    assert len([call for call in sandbox.calls("khoros") if "/data/" in call.path]) == 3


def test_where_old_events_fall_off_the_list_none_between_two_runs_is_lost(
    sandbox: StandIn, registered: Subscription
) -> None:
    known_and_in_order(sandbox, registered, "oldest", pull_keeps=400)
    happen(sandbox, 350)
    recent = run(registered)
    assert (recent.mode, recent.new) == (Mode.RECENT, 350)


def test_a_first_page_that_is_all_new_is_a_gap_that_is_followed_and_told(
    sandbox: StandIn, registered: Subscription
) -> None:
    known_and_in_order(sandbox, registered, "newest", pull_largest_page=20)
    happen(sandbox, 130)
    recent = run(registered)
    assert recent.new == 130
    assert "All of the 20 newest events were new" in recent.message
    assert "Nothing is missing" in recent.message
    assert any("All of the 20 newest" in problem for problem in _problems(registered))
    sandbox.change_settings(pull_keeps=60)
    happen(sandbox, 200)
    assert "may be gone from Khoros' list" in run(registered).message


@pytest.mark.parametrize("arriving", [19, 20, 25, 60])
def test_what_arrives_while_pages_are_read_hides_nothing_behind_them(
    sandbox: StandIn, registered: Subscription, arriving: int
) -> None:
    known_and_in_order(sandbox, registered, "newest", pull_largest_page=20)
    happen(sandbox, 300)
    sandbox.change_settings(pull_grows_at=100, pull_grows_by=arriving)
    assert run(registered).new == 300
    assert run(registered).new == arriving
    assert Notification.objects.count() == 700 + arriving


def test_old_events_that_fell_off_while_a_walk_stood_still_hide_none_that_follow(
    sandbox: StandIn, registered: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REPEAT_AFTER", ())
    sandbox.change_settings(pull_order="oldest", pull_keeps=400)
    for _ in range(4):
        spread_in_time(sandbox, 100)
    sandbox.change_settings(pull_fails_every=4)
    assert run(registered).read == 300
    spread_in_time(sandbox, 200)
    sandbox.change_settings(pull_fails_every=0)
    assert run(registered).new == 300
    assert Notification.objects.count() == 600


def test_a_walk_that_stops_again_at_its_first_call_still_goes_on_where_it_was(
    sandbox: StandIn, registered: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REPEAT_AFTER", ())
    sandbox.change_settings(pull_order="newest", pull_fails_every=4)
    for _ in range(4):
        spread_in_time(sandbox, 100)
    assert run(registered).read == 300
    sandbox.change_settings(pull_fails_every=1)
    assert run(registered).read == 0
    sandbox.change_settings(pull_fails_every=0)
    sandbox.control("DELETE", "requests")
    run(registered)
    offsets = [call.path.partition("offset=")[2].partition("&")[0] for call in sandbox.calls("khoros")]
    assert offsets[0] == "200"
    assert Notification.objects.count() == 400


def test_ten_thousand_events_arrive_through_a_burst_limit_and_failing_calls(
    sandbox: StandIn, registered: Subscription
) -> None:
    sandbox.change_settings(pull_burst=40, pull_fails_every=40)
    happen(sandbox, 10_000)
    assert counts(run(registered)) == (10_000, 0, 10_000, 0)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_walk_that_could_not_be_finished_goes_on_where_it_stopped(
    sandbox: StandIn, registered: Subscription, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(reading, "REPEAT_AFTER", ())
    sandbox.change_settings(pull_order=order)
    for _ in range(4):
        spread_in_time(sandbox, 100)
    sandbox.change_settings(pull_fails_every=4)
    assert run(registered).state == State.FAILED
    assert Notification.objects.count() == 300
    sandbox.change_settings(pull_fails_every=0)
    spread_in_time(sandbox, 8)
    sandbox.control("DELETE", "requests")
    assert run(registered).state == State.DONE
    assert Notification.objects.count() == 408
    offsets = [call.path.partition("offset=")[2].partition("&")[0] for call in sandbox.calls("khoros")]
    assert offsets[0] == "200"


def test_when_khoros_says_how_long_to_wait_the_next_run_waits_so_long(
    sandbox: StandIn, registered: Subscription
) -> None:
    sandbox.add_fault("429", api="khoros", path="/v2/events/data/", retry_after="600")
    assert run(registered).state == State.FAILED
    registered.refresh_from_db()
    assert registered.next_catch_up_at is not None
    wait = registered.next_catch_up_at - timezone.now()
    assert timedelta(seconds=590) < wait < timedelta(seconds=610)


def test_a_subscription_that_khoros_no_longer_knows_is_registered_anew_at_once(
    sandbox: StandIn, registered: Subscription, work: Any
) -> None:
    Subscription.objects.update(receives_by=Subscription.Receives.PULL)
    request_check([registered.pk])
    check_subscription(registered.pk)
    registered.refresh_from_db()
    run(registered)
    sandbox.control("DELETE", f"subscriptions/{registered.khoros_uuid}")
    assert run(registered).state == State.FAILED
    work()
    (row,) = sandbox.subscriptions()
    assert row["uuid"] != registered.khoros_uuid
    happen(sandbox, 2)
    assert run(registered).new == 2


def test_a_404_after_the_last_page_ends_the_list(sandbox: StandIn, registered: Subscription) -> None:
    sandbox.change_settings(lists_end_with_404=True)
    happen(sandbox, 100)
    assert (run(registered).state, Notification.objects.count()) == (State.DONE, 100)
    request_check([registered.pk])
    check_subscription(registered.pk)
    registered.refresh_from_db()
    assert registered.registration == "registered"


def test_ten_live_posts_have_tickets_within_seconds_behind_ten_thousand_fetched_ones(
    sandbox: StandIn, registered: Subscription, push: Any
) -> None:
    happen(sandbox, 500)
    run(registered)
    for _ in range(10):
        push(payloads.notification(payloads.item()))
    queue.publisher().waiting.join()
    waiting = queues.waiting()
    live = {pk for message in waiting if message.task == queue.ROUTE for pk in message.arguments[0]}
    fetched = {pk for message in waiting if message.task == queue.ROUTE_FETCHED for pk in message.arguments[0]}
    assert (len(live), len(fetched)) == (10, 500)
    assert set(Notification.objects.filter(pk__in=live).values_list("source", flat=True)) == {Source.PUSHED}


def test_a_list_that_became_shorter_is_read_whole(sandbox: StandIn, registered: Subscription) -> None:
    Subscription.objects.update(catch_up_order="oldest", catch_up_end=5000, read_whole_at=timezone.now())
    CatchUpFactory.create(subscription=registered, is_done=True)
    sandbox.change_settings(pull_order="oldest")
    happen(sandbox, 20)
    assert run(registered).new == 20


def test_ten_thousand_events_take_one_statement_for_each_page(sandbox: StandIn, registered: Subscription) -> None:
    happen(sandbox, 2_000)
    with CaptureQueriesContext(database) as queries:
        done = run(registered)
    assert counts(done) == (2000, 0, 2000, 0)
    batches = [query for query in queries if "WITH page" in query["sql"]]
    assert len(batches) == 20
    assert len(queries) < 20 + 25


def test_what_is_no_event_is_kept_as_unreadable_and_known_the_next_time(
    sandbox: StandIn, registered: Subscription
) -> None:
    body = {"data": [17, "not json", None, payloads.notification()]}
    path = "/v2/events/data/"
    sandbox.add_fault("answer", api="khoros", status=200, body=body, path=path, times=1)
    assert counts(run(registered)) == (4, 0, 1, 3)
    assert Notification.objects.filter(state="unreadable").count() == 3
    sandbox.add_fault("answer", api="khoros", status=200, body=body, path=path, times=1)
    assert counts(run(registered)) == (4, 4, 0, 0)


@pytest.mark.parametrize("row", [None, 1, "", "[]", [], {}, {"event": 7}, {"payload": "{"}, {"data": None}, True])
def test_whatever_stands_in_a_row_becomes_an_envelope(row: Any) -> None:
    assert pulled(row, "x").event_key


@pytest.mark.parametrize("wrapper", ["event", "payload", "notification", "body"])
def test_a_wrapped_event_has_the_key_of_the_bare_one(wrapper: str) -> None:
    event = payloads.notification()
    bare = pulled(event, "x").event_key
    assert pulled({"id": 1, wrapper: event}, "x").event_key == bare
    assert pulled({"id": 1, wrapper: json.dumps(event)}, "x").event_key == bare


@pytest.mark.parametrize(
    ("kind", "message"), [("500", "has a problem"), ("html_200", "web page"), ("404", "could not find"), ("586", "586")]
)
def test_a_failing_list_is_told_and_read_again_later(
    sandbox: StandIn, registered: Subscription, kind: str, message: str
) -> None:
    happen(sandbox, 2)
    fault = {"status": 404, "body": {}} if kind == "404" else {}
    sandbox.add_fault("answer" if kind == "404" else kind, api="khoros", path="/v2/events/data/", **fault)
    failed = run(registered)
    assert failed.state == State.FAILED
    assert message in failed.message
    registered.refresh_from_db()
    assert registered.failed_catch_ups == 1
    assert registered.next_catch_up_at is not None
    sandbox.clear_faults()
    assert run(registered).new == 2


def test_a_run_that_died_is_taken_up_again_and_what_it_kept_stays(sandbox: StandIn, registered: Subscription) -> None:
    happen(sandbox, 350)
    sandbox.add_fault("hang_up_after", api="khoros", path="/v2/events/data/")
    assert run(registered).state == State.FAILED
    sandbox.clear_faults()
    CatchUpFactory.create(subscription=registered, state=State.RUNNING)
    Subscription.objects.update(catching_up_until=timezone.now() - timedelta(seconds=1))
    assert run(registered).state == State.DONE
    assert "Interrupted: the process stopped" in CatchUp.objects.filter(state=State.FAILED).order_by("-pk")[0].message
    assert Notification.objects.count() == 350


def test_two_workers_do_not_read_the_same_list_at_once(sandbox: StandIn, registered: Subscription) -> None:
    Subscription.objects.update(next_catch_up_at=timezone.now())
    assert _claim(registered.pk) is not None
    run_catch_up(registered.pk)
    assert not CatchUp.objects.exists()


def test_a_comparison_keeps_what_is_missing_until_somebody_fetches_it(
    sandbox: StandIn, registered: Subscription, work: Any, push: Any
) -> None:
    sandbox.change_settings(pull_consumes=True)
    Subscription.objects.update(receives_by=Subscription.Receives.PUSH)
    happen(sandbox, 3)
    request_catch_up(registered, Mode.COMPARE, "olga")
    compared = run(registered)
    assert (compared.requested_by, compared.read, compared.missing, compared.new) == ("olga", 3, 3, 0)
    work()
    assert not sandbox.tickets()
    late = json.loads(Notification.objects.filter(state="missed")[0].content.body)
    push(late)
    fetch_missing(registered)
    work()
    assert len(sandbox.tickets()) == 3
    registered.refresh_from_db()
    assert registered.next_catch_up_at is None


def test_events_of_the_one_being_replaced_are_read_before_it_is_retired(
    sandbox: StandIn, registered: Subscription, work: Any
) -> None:
    sandbox.change_settings(resubscribe="second")
    Subscription.objects.update(label="CreateCas")
    request_check([registered.pk], "olga")
    check_subscription(registered.pk)
    assert len(sandbox.subscriptions()) == 2
    old = registered.khoros_uuid
    new = Subscription.objects.get().khoros_uuid
    sandbox.control("POST", f"subscriptions/{new}", {"query": "CreateCas", "status": "PAUSED"})
    happen(sandbox, 3)
    sandbox.control("POST", f"subscriptions/{new}", {"status": "ACTIVE"})
    Subscription.objects.update(replaced_at=timezone.now() - timedelta(minutes=5))
    for _ in range(2):
        request_check([registered.pk])
        check_subscription(registered.pk)
    assert len(sandbox.subscriptions()) == 2
    run(registered)
    check_subscription(registered.pk)
    assert [row["uuid"] for row in sandbox.subscriptions()] == [new] != [old]
    work()
    assert len(sandbox.tickets()) == 3


def test_where_events_cannot_be_read_the_older_one_is_retired_all_the_same_after_an_hour(
    sandbox: StandIn, registered: Subscription
) -> None:
    run(registered)
    CatchUp.objects.update(started_at=timezone.now() - timedelta(days=1))
    sandbox.change_settings(resubscribe="second", pull=False)
    Subscription.objects.update(label="Create")
    for hours in (0.0, 0.5, 2.0):
        assert run(registered).state == State.FAILED
        Subscription.objects.filter(replaced_at__isnull=False).update(
            replaced_at=timezone.now() - timedelta(hours=hours)
        )
        request_check([registered.pk], "olga")
        check_subscription(registered.pk)
        assert len(sandbox.subscriptions()) == (1 if hours > 1 else 2)


def test_after_a_downtime_everything_is_read(sandbox: StandIn, registered: Subscription) -> None:
    run(registered)
    Subscription.objects.update(catch_up_order="newest", read_whole_at=timezone.now())
    assert run(registered).mode == Mode.RECENT
    CatchUp.objects.update(progressed_at=timezone.now() - timedelta(hours=2))
    assert run(registered).mode == Mode.WHOLE


def test_a_subscription_that_is_off_or_only_pushed_is_not_fetched(sandbox: StandIn, registered: Subscription) -> None:
    due = Subscription.objects.filter(catch_ups_due())
    assert due.exists()
    Subscription.objects.update(receives_by=Subscription.Receives.PUSH)
    assert not due.exists()
    Subscription.objects.update(receives_by=Subscription.Receives.PULL, is_active=False)
    assert not due.exists()


def test_the_same_post_pushed_and_fetched_under_other_ids_makes_one_ticket(
    sandbox: StandIn, registered: Subscription, push: Any, work: Any
) -> None:
    happen(sandbox, 1)
    run(registered)
    content = json.loads(Notification.objects.get().content.body)
    push(content | {"eventUuid": "another"})
    work()
    assert Notification.objects.count() == 2
    assert Delivery.objects.get().labelled_again == 1


def test_where_events_are_fetched_anyway_a_comparison_keeps_nothing_waiting(
    sandbox: StandIn, registered: Subscription, work: Any
) -> None:
    happen(sandbox, 2)
    request_catch_up(registered, Mode.COMPARE, "olga")
    assert run(registered).missing == 2
    run(registered)
    work()
    assert len(sandbox.tickets()) == 2


@pytest.mark.parametrize(
    "row",
    [
        lambda event: {"data": event},
        lambda event: {
            "eventUuid": event["eventUuid"],
            "payload": {k: v for k, v in event.items() if k != "eventUuid"},
        },
        lambda event: {**{k: v for k, v in event.items() if k != "data"}, "event": event["data"]},
        lambda event: json.dumps({"payload": json.dumps(event)}),
    ],
)
def test_an_event_inside_something_else_is_recognised_as_the_pushed_one(row: Any) -> None:
    event = payloads.notification()
    assert pulled(row(event), "x").event_key == pulled(event, "x").event_key
    assert parse(pulled(row(event), "x").body).posts


def test_a_bare_post_is_read_as_the_subscriptions_event() -> None:
    found = pulled(payloads.item("twitter:5"), "stream-item-label-applied")
    assert [post.post_id for post in parse(found.body).posts] == ["twitter:5"]


def test_a_list_of_lines_is_read_and_one_that_is_no_json_is_a_failure(
    sandbox: StandIn, registered: Subscription
) -> None:
    lines = "\n".join(json.dumps(payloads.notification()) for _ in range(3))
    path = "/v2/events/data/"
    sandbox.add_fault("answer", api="khoros", status=200, body=lines, path=path, times=1)
    assert run(registered).new == 3
    sandbox.add_fault("answer", api="khoros", status=200, body="Coming Soon", path=path, times=1)
    failed = run(registered)
    assert failed.state == State.FAILED
    assert "could not be read" in failed.message


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": []}', '{"data": null, "total": 0}'])
def test_an_empty_list_is_no_failure(sandbox: StandIn, registered: Subscription, body: str) -> None:
    sandbox.add_fault("answer", api="khoros", status=200, body=body, path="/v2/events/data/")
    assert counts(run(registered)) == (0, 0, 0, 0)


def test_a_list_under_a_name_nobody_has_heard_of_is_read(sandbox: StandIn, registered: Subscription) -> None:
    body = {"total": 1, "records": [payloads.notification()]}
    sandbox.add_fault("answer", api="khoros", status=200, body=body, path="/v2/events/data/", times=1)
    assert run(registered).new == 1


def test_a_page_in_hand_survives_a_database_that_breaks_off_while_storing_it(
    sandbox: StandIn, registered: Subscription, monkeypatch: Any
) -> None:
    """What was read is gone at Khoros; the statement that stores it waits for a lock, and its connection is ended."""
    sandbox.change_settings(pull_consumes=True)
    monkeypatch.setattr(reading, "STORE_AGAIN_AFTER", (0.5, 0.5))
    happen(sandbox, 150)
    breaker = threading.Thread(target=end_the_connection_that_waits)
    with transaction_elsewhere() as elsewhere:
        elsewhere.execute("LOCK TABLE integrations_notification IN EXCLUSIVE MODE")
        breaker.start()
        reader = threading.Thread(target=run_apart, args=(registered,))
        reader.start()
        breaker.join(timeout=20)
    reader.join(timeout=20)
    assert CatchUp.objects.get().state == State.DONE
    assert Notification.objects.count() == 150


def run_apart(subscription: Subscription) -> None:
    """In a thread, whose database connection is its own."""
    run(subscription)
    database.close()


def transaction_elsewhere() -> Any:
    settings = database.settings_dict
    return psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        dbname=settings["NAME"],
    )


def end_the_connection_that_waits() -> None:
    with transaction_elsewhere() as elsewhere:
        ended = None
        until = time.monotonic() + 15
        while ended is None and time.monotonic() < until:
            time.sleep(0.05)
            ended = elsewhere.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%WITH page%'"
            ).fetchone()
            elsewhere.rollback()
        assert ended


def test_where_khoros_offers_no_list_of_events_nothing_waits_for_it(sandbox: StandIn, registered: Subscription) -> None:
    sandbox.change_settings(resubscribe="second", pull=False)
    Subscription.objects.update(label="Create")
    request_check([registered.pk], "olga")
    check_subscription(registered.pk)
    Subscription.objects.update(replaced_at=timezone.now() - timedelta(minutes=5))
    request_check([registered.pk])
    check_subscription(registered.pk)
    assert len(sandbox.subscriptions()) == 2
    run_catch_up(registered.pk)
    check_subscription(registered.pk)
    assert len(sandbox.subscriptions()) == 1
