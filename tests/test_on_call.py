"""PagerDuty and Microsoft Teams: from the webhook's address to what stands there, and what their refusals mean."""

import json
from typing import Any

import pytest
from django.test import Client

from integrations.delivery.alarm_steps import OVERTAKEN
from integrations.infra.encryption import Secret
from integrations.models import Attempt, Connection, Delivery, Mapping, Subscription
from integrations.operations import portal_subscription
from integrations.routing.actions import retry_now
from sandbox.on_call import ROUTING_KEY, SIGNATURE, WORKFLOW_PATH
from tests.alarms import update_alarms
from tests.deliveries import move
from tests.factories import MappingFactory, PagerDutyFactory, TeamsFactory
from tests.stand_in import StandIn
from tests.test_admin import BASE, act, form_of, page, save
from tests.test_preview import change_path, press
from tests.test_slack import push_post
from tests.test_telling import goes_wrong, is_repaired, settings_of

CONNECTION = "connection/add/?kind="
CALLING = {"summary": "{{ author }}: {{ text|short:200 }}", "severity": "critical"}
POSTING = {"title": "{{ author }} on {{ network }}", "text": "{{ text }}"}


@pytest.fixture
def calls(sandbox: StandIn, subscription: Subscription) -> Mapping:
    """A mapping to PagerDuty."""
    connection = PagerDutyFactory.create(url=sandbox.url)
    return MappingFactory.create(name="Call", subscription=subscription, connection=connection, settings=CALLING)


@pytest.fixture
def posts(sandbox: StandIn, subscription: Subscription) -> Mapping:
    """A mapping to Teams."""
    connection = TeamsFactory.create(url=sandbox.url)
    return MappingFactory.create(name="Post", subscription=subscription, connection=connection, settings=POSTING)


@pytest.fixture
def on_call(portal: Any, sandbox: StandIn) -> Mapping:
    """A mapping of alarms to PagerDuty."""
    return MappingFactory.create(
        name="To whoever is on call",
        subscription=portal_subscription(),
        connection=PagerDutyFactory.create(url=sandbox.url),
        settings=settings_of("pagerduty:alarms"),
    )


def only(mapping: Mapping) -> Delivery:
    return Delivery.objects.select_related("remote_object", "connection").get(mapping=mapping)


# --- PagerDuty -------------------------------------------------------------------------------------------------------


def test_a_post_is_an_alert_with_what_whoever_is_called_needs(
    push: Any, work: Any, calls: Mapping, sandbox: StandIn
) -> None:
    push_post(push, "twitter:1", text="The site is down", author="Ann", link="https://x.example/1")
    work()
    (alert,) = sandbox.alerts()
    (event,) = alert["events"]
    assert alert["status"] == "triggered"
    assert alert["dedup_key"].endswith(str(calls.uuid))
    assert event["payload"]["summary"].endswith("The site is down")
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["custom_details"]["text"] == "The site is down"
    assert event["links"] == [{"href": "https://x.example/1", "text": "Open it"}]
    delivery = only(calls)
    assert delivery.state == "delivered"
    assert ROUTING_KEY not in delivery.request
    assert ROUTING_KEY not in json.dumps(list(Attempt.objects.values_list("exchanges", flat=True)))


def test_a_second_try_makes_no_second_alert(push: Any, work: Any, calls: Mapping, sandbox: StandIn) -> None:
    sandbox.add_fault("hang_up_after", api="pagerduty", times=1)
    push_post(push, "twitter:1")
    work()
    Delivery.objects.update(next_attempt_at="2026-01-01T00:00Z")
    work()
    assert only(calls).state == "delivered"
    (alert,) = sandbox.alerts()
    assert len(alert["events"]) == 2


def test_an_alarm_is_one_alert_that_is_resolved_with_it(
    on_call: Mapping, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    goes_wrong(mapping)
    update_alarms()
    work()
    assert [alert["status"] for alert in sandbox.alerts()] == ["triggered"]
    is_repaired()
    update_alarms()
    work()
    (alert,) = sandbox.alerts()
    assert alert["status"] == "resolved"
    assert [event["event_action"] for event in alert["events"]] == ["trigger", "resolve"]


def test_an_alarm_that_is_over_calls_nobody_any_more(
    on_call: Mapping, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    sandbox.add_fault("500", api="pagerduty", times=1)
    goes_wrong(mapping)
    update_alarms()
    work()
    is_repaired()
    update_alarms()
    work()
    trigger, resolve = Delivery.objects.filter(connection__kind="pagerduty").order_by("pk")
    assert (trigger.state, resolve.state) == ("pending", "pending")
    assert "earlier message about this alarm" in resolve.decision
    # Somebody sees that it takes too long, cancels the call, and later has second thoughts.
    Delivery.objects.filter(pk=trigger.pk).cancel()
    move()
    work()
    retry_now(Delivery.objects.filter(pk=trigger.pk))
    work()
    trigger.refresh_from_db()
    assert (trigger.state, trigger.decision) == ("cancelled", OVERTAKEN)
    assert sandbox.alerts() == []


def test_a_call_that_was_late_is_still_made_before_it_is_over(
    on_call: Mapping, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    sandbox.add_fault("500", api="pagerduty", times=1)
    goes_wrong(mapping)
    update_alarms()
    work()
    is_repaired()
    update_alarms()
    for _ in range(2):
        move()
        work()
    (alert,) = sandbox.alerts()
    assert (alert["status"], [event["event_action"] for event in alert["events"]]) == (
        "resolved",
        ["trigger", "resolve"],
    )


def test_a_wrong_key_pauses_the_connection_and_says_where_the_key_is(
    push: Any, work: Any, calls: Mapping, sandbox: StandIn
) -> None:
    Connection.objects.update(secrets=Secret.of(json.dumps({"routing_key": "x" * 32})))
    push_post(push, "twitter:1")
    work()
    assert Connection.objects.get(pk=calls.connection_id).paused_at is not None
    assert "Events API V2" in only(calls).last_error
    assert sandbox.alerts() == []


def test_a_limit_waits_for_as_long_as_it_says(push: Any, work: Any, calls: Mapping, sandbox: StandIn) -> None:
    sandbox.add_fault("answer", api="pagerduty", status=429, body="{}", headers=[["Retry-After", "30"]], times=1)
    push_post(push, "twitter:1")
    work()
    delivery = only(calls)
    assert (delivery.state, delivery.tries) == ("pending", 0)


# --- Microsoft Teams -------------------------------------------------------------------------------------------------


def test_a_post_is_a_card_in_which_nothing_is_mark_up(push: Any, work: Any, posts: Mapping, sandbox: StandIn) -> None:
    push_post(push, "twitter:1", text="**Help** me\n[click](https://evil.example)", link="https://x.example/1")
    work()
    (card,) = sandbox.cards()
    assert card["lines"][1:] == ["**Help** me", "[click](https://evil.example)"]
    assert card["links"] == ["https://x.example/1"]
    assert only(posts).state == "delivered"
    assert SIGNATURE not in json.dumps(list(Attempt.objects.values_list("exchanges", flat=True)))


def test_a_card_of_unknown_outcome_is_sent_once_more_at_most(
    push: Any, work: Any, posts: Mapping, sandbox: StandIn
) -> None:
    sandbox.add_fault("hang_up_after", api="teams")
    push_post(push, "twitter:1")
    for _ in range(4):
        work()
        Delivery.objects.filter(state="pending").update(next_attempt_at="2026-01-01T00:00Z")
    assert only(posts).state == "failed"
    assert len(sandbox.cards()) == 2


def test_the_longest_post_fits_into_a_card(push: Any, work: Any, posts: Mapping, sandbox: StandIn) -> None:
    push_post(push, "twitter:1", text="👩‍👩‍👧‍👦\n" * 5000)
    work()
    assert only(posts).state == "delivered"
    (call,) = sandbox.calls("teams")
    assert len(call.body.encode()) <= 28_000


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "WorkflowTriggerIsNotEnabled", "Turn the workflow on"),
        (401, "AuthorizationFailed", "refused the sign-in"),
        (404, "WorkflowNotFound", "does not exist"),
    ],
)
def test_a_workflow_that_cannot_be_reached_pauses_the_connection(
    push: Any, work: Any, posts: Mapping, sandbox: StandIn, status: int, code: str, said: str
) -> None:
    sandbox.add_fault("answer", api="teams", status=status, body=json.dumps({"error": {"code": code}}))
    push_post(push, "twitter:1")
    work()
    assert Connection.objects.get(pk=posts.connection_id).paused_at is not None
    assert said in only(posts).last_error


# --- Setting up, as people do ----------------------------------------------------------------------------------------


def test_both_are_connected_and_tested_in_the_admin(admin: Client, portal: Any, sandbox: StandIn) -> None:
    url = f"{sandbox.url}{WORKFLOW_PATH}?api-version=1&sig={SIGNATURE}"
    save(admin, f"{CONNECTION}pagerduty", name="On call", address=sandbox.url, routing_key=ROUTING_KEY)
    save(admin, f"{CONNECTION}teams", name="Channel", webhook_url=url)
    for connection in Connection.objects.all():
        assert act(admin, "connection", "test_connection", connection)
        connection.refresh_from_db()
        assert connection.settings == {"address": sandbox.url}
        assert [check["ok"] for check in connection.checks] == [True], connection.checks
    assert sandbox.alerts() == sandbox.cards() == []


def test_what_is_no_key_and_no_address_is_refused_beside_its_field(admin: Client, portal: Any) -> None:
    answer = save(admin, f"{CONNECTION}pagerduty", name="On call", routing_key="short")
    assert "at least 32 characters" in answer.content.decode()
    answer = save(admin, f"{CONNECTION}teams", name="Channel", webhook_url="not an address")
    assert "This is not an address" in answer.content.decode()
    assert not Connection.objects.exists()


def test_the_secret_stays_when_it_is_left_empty(admin: Client, posts: Mapping, sandbox: StandIn) -> None:
    before = posts.connection.secrets.reveal()
    answer = save(admin, f"connection/{posts.connection_id}/change/", name="Renamed", webhook_url="")
    connection = Connection.objects.get()
    assert (connection.name, connection.secrets.reveal()) == ("Renamed", before), answer.content.decode()[:500]
    assert connection.settings == {"address": sandbox.url}
    assert "sandbox-signature" not in page(admin, f"connection/{connection.pk}/change/")


@pytest.mark.parametrize("kind", ["calls", "posts"])
def test_a_test_says_that_it_is_one(request: pytest.FixtureRequest, admin: Client, kind: str, sandbox: StandIn) -> None:
    mapping: Mapping = request.getfixturevalue(kind)
    asked = form_of(press(admin, change_path(mapping), "_test", "0"))
    answer = admin.post(f"{BASE}/{change_path(mapping)}", asked | {"_test_now": "0"}).content.decode()
    shown = [event["payload"]["summary"] for alert in sandbox.alerts() for event in alert["events"]]
    shown += [card["lines"][0] for card in sandbox.cards()]
    assert len(shown) == 1, answer
    assert shown[0].startswith("[Test] ")
