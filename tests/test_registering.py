"""Subscriptions at Khoros: what is wanted is made so, and nothing that is not ours is touched."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.infra.encryption import Secret
from integrations.infra.http.reply import Reply
from integrations.models import Company, Installation, Subscription
from integrations.sources.khoros import plan
from integrations.sources.khoros.client import KhorosClient
from integrations.sources.khoros.plan import DesiredState, Memory
from integrations.subscriptions.registration import CheckResult, _claim, _record, check_subscription, checks_due
from integrations.subscriptions.requests import change_bearer_token, request_check
from tests.factories import BEARER_TOKEN
from tests.stand_in import StandIn

Registration = Subscription.Registration


def register(subscription: Subscription) -> Subscription:
    request_check([subscription.pk])
    check_subscription(subscription.pk)
    subscription.refresh_from_db()
    return subscription


def test_a_subscription_is_registered_with_its_address_query_and_token(
    sandbox: StandIn, subscription: Subscription, portal: Installation, settings: Any
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    registered = register(subscription)
    (listed,) = sandbox.subscriptions()
    assert listed["notificationUri"] == f"http://127.0.0.1:8000/webhooks/khoros/{subscription.uuid}"
    assert (listed["query"], listed["bearerToken"]) == ("CreateCase", BEARER_TOKEN)
    assert listed["externalId"] == f"casebridge-{portal.uuid}-{subscription.uuid}"
    assert (registered.registration, registered.khoros_uuid) == (Registration.REGISTERED, listed["uuid"])
    assert registered.checked_at is not None


def test_registering_again_changes_nothing(sandbox: StandIn, subscription: Subscription) -> None:
    register(subscription)
    before = sandbox.subscriptions()
    register(subscription)
    assert sandbox.subscriptions() == before
    assert [call.method for call in sandbox.calls("khoros")].count("POST") == 1


@pytest.mark.parametrize("mode", ["update", "second"])
def test_a_changed_label_ends_as_one_subscription_whether_khoros_updates_or_makes_a_second(
    sandbox: StandIn, subscription: Subscription, mode: str
) -> None:
    sandbox.change_settings(resubscribe=mode)
    register(subscription)
    subscription.label = "Complaint (urgent)"
    subscription.save()
    register(subscription)
    Subscription.objects.update(replaced_at=timezone.now() - timedelta(hours=2))
    register(subscription)
    (listed,) = sandbox.subscriptions()
    assert (listed["query"], listed["status"]) == (r"Complaint \(urgent\)", "ACTIVE")


def test_a_lost_subscription_is_made_again(sandbox: StandIn, subscription: Subscription) -> None:
    first = register(subscription).khoros_uuid
    sandbox.khoros("DELETE", f"events/subscription/{first}")
    assert register(subscription).khoros_uuid != first
    assert len(sandbox.subscriptions()) == 1


def test_a_paused_subscription_is_activated_and_one_switched_off_here_is_paused(
    sandbox: StandIn, subscription: Subscription
) -> None:
    uuid = register(subscription).khoros_uuid
    sandbox.khoros("PUT", f"events/subscription/{uuid}/DISABLED")
    assert register(subscription).khoros_status == "ACTIVE"
    Subscription.objects.update(is_active=False)
    subscription.refresh_from_db()
    assert register(subscription).khoros_status == "PAUSED"


def test_other_subscriptions_for_the_same_label_are_shown_and_left_alone(
    sandbox: StandIn, subscription: Subscription
) -> None:
    old = {
        "externalId": "send-to-zendesk",
        "eventName": "stream-item-label-applied",
        "query": "CreateCase",
        "notificationUri": "https://old.example.com/createTicket",
    }
    sandbox.khoros("POST", "events/subscription", old)
    sandbox.khoros("POST", "events/subscription", old | {"externalId": "else", "query": "Praise"})
    (other,) = register(subscription).other_subscriptions
    assert (other["externalId"], other["notificationUri"]) == ("send-to-zendesk", old["notificationUri"])
    assert {row["externalId"] for row in sandbox.subscriptions()} >= {"send-to-zendesk", "else"}


def test_a_company_that_the_token_does_not_list_warns_and_registers_all_the_same(
    sandbox: StandIn, subscription: Subscription
) -> None:
    Company.objects.update(company_id="777")
    assert register(subscription).registration == Registration.REGISTERED
    assert "777" in Company.objects.get().warning


@pytest.mark.parametrize("company_id", ["42", "45"])
def test_both_of_khoros_company_ids_are_known(sandbox: StandIn, subscription: Subscription, company_id: str) -> None:
    Company.objects.update(company_id=company_id)
    register(subscription)
    assert Company.objects.get().warning == ""


@pytest.mark.parametrize(
    ("kind", "message", "state"),
    [
        ("401", "did not accept the API token", Registration.REFUSED),
        ("developer_inactive", "Developer Inactive", Registration.REFUSED),
        ("586", "KHOROS_API_URL", Registration.REFUSED),
        ("500", "Khoros has a problem", Registration.UNREACHABLE),
        ("hang_up_before", "broke", Registration.UNREACHABLE),
        ("html_200", "web page", Registration.REFUSED),
    ],
)
def test_a_refusal_is_shown_in_words_and_tried_again(
    sandbox: StandIn, subscription: Subscription, kind: str, message: str, state: str
) -> None:
    sandbox.add_fault(kind, api="khoros")
    refused = register(subscription)
    assert (refused.registration, refused.failed_checks) == (state, 1)
    assert message in refused.khoros_message
    assert refused.next_check_at is not None
    sandbox.clear_faults()
    assert register(subscription).registration == Registration.REGISTERED


def test_khoros_own_words_are_shown(sandbox: StandIn, subscription: Subscription) -> None:
    body = {"status": {"succeeded": False, "error": {"code": "VALIDATION_ERROR", "message": "Query is too long."}}}
    sandbox.add_fault("answer", api="khoros", status=400, body=body, method="POST")
    assert "VALIDATION_ERROR Query is too long." in register(subscription).khoros_message


def test_a_success_that_says_failed_is_a_refusal(sandbox: StandIn, subscription: Subscription) -> None:
    body = {"status": {"succeeded": False, "error": {"code": "UNAUTHORIZED", "message": "no"}}}
    sandbox.add_fault("answer", api="khoros", status=200, body=body, method="POST")
    assert register(subscription).registration != Registration.REGISTERED


def test_without_an_address_that_khoros_reaches_nothing_is_registered_and_a_sentence_says_why(
    sandbox: StandIn, subscription: Subscription, settings: Any
) -> None:
    settings.PUBLIC_URL = ""
    settings.KHOROS_API_URL = "https://api.spredfast.com"
    for name, message in (("", "PUBLIC_URL is not set"), ("old-app.herokuapp.com", "old-app.herokuapp.com")):
        settings.HEROKU_APP_HOST = name
        refused = register(subscription)
        assert refused.registration == Registration.NOT_POSSIBLE
        assert message in refused.khoros_message
    assert not sandbox.calls("khoros")


def test_the_old_heroku_address_counts_once_a_request_has_reached_it(
    client: Any, sandbox: StandIn, subscription: Subscription, settings: Any
) -> None:
    settings.PUBLIC_URL = ""
    settings.HEROKU_APP_HOST = "old-app.herokuapp.com"
    settings.ALLOWED_HOSTS = ["old-app.herokuapp.com"]
    client.get("/admin/login/", headers={"host": "old-app.herokuapp.com"})
    assert register(subscription).registered_address.startswith("https://old-app.herokuapp.com/webhooks/khoros/")


def test_a_new_bearer_token_is_registered_and_the_old_one_accepted_for_a_while(
    sandbox: StandIn, subscription: Subscription
) -> None:
    register(subscription)
    change_bearer_token(subscription, "another-token")
    register(subscription)
    assert sandbox.subscriptions()[0]["bearerToken"] == "another-token"
    assert subscription.previous_bearer_token.reveal() == BEARER_TOKEN
    assert subscription.previous_token_accepted_until is None
    Subscription.objects.update(replaced_at=timezone.now() - timedelta(hours=2))
    register(subscription)
    assert subscription.previous_token_accepted_until is not None
    assert subscription.previous_token_accepted_until > timezone.now() + timedelta(hours=1)


def test_an_unreadable_token_is_told_and_nothing_is_sent(
    sandbox: StandIn, subscription: Subscription, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = ["quite another key with enough characters"]
    assert "cannot be read with the present key" in register(subscription).khoros_message
    assert not sandbox.calls("khoros")


def test_two_runs_at_once_register_once(sandbox: StandIn, subscription: Subscription) -> None:
    request_check([subscription.pk])
    assert _claim(subscription.pk) is not None
    check_subscription(subscription.pk)
    assert not sandbox.subscriptions()


def test_a_subscription_saved_during_a_run_is_checked_again(sandbox: StandIn, subscription: Subscription) -> None:
    request_check([subscription.pk])
    claimed = _claim(subscription.pk)
    assert claimed is not None
    request_check([subscription.pk])
    _record(*claimed, CheckResult(Registration.REGISTERED, ""))
    assert Subscription.objects.filter(checks_due()).exists()


# --- The plan alone --------------------------------------------------------------------------------------------------

WANTED = DesiredState(
    external_id="casebridge-i-s",
    event_name="stream-item-label-applied",
    address="https://portal.example.com/webhooks/khoros/s",
    bearer_token="token",
    query="VIP",
    label="VIP",
    is_active=True,
)


def row(uuid: str, **fields: Any) -> dict[str, Any]:
    return {"uuid": uuid, "status": "ACTIVE", "createdDate": uuid} | WANTED.body() | fields


NO_MEMORY = Memory()


def steps(*rows: dict[str, Any], memory: Memory = NO_MEMORY, just_posted: bool = False) -> list[tuple[str, str]]:
    comparison = plan.compare(WANTED, list(rows), memory, just_posted=just_posted)
    return [(step.action, step.uuid) for step in comparison.steps]


def kinds(*rows: dict[str, Any], memory: Memory = NO_MEMORY) -> list[str]:
    return [drift.kind for drift in plan.compare(WANTED, list(rows), memory).drift]


def test_an_older_one_is_retired_only_beside_an_active_equal_one() -> None:
    old = row("1", query="Old")
    assert steps(old) == [("post", "")]
    assert steps(old, just_posted=True) == []
    assert steps(old, row("2"), just_posted=True) == [("retire", "1")]
    assert steps(old, row("2", status="PAUSED")) == [("activate", "2")]
    assert steps(old, row("2", status="PAUSED"), row("3", query="Other")) == [("activate", "2")]


def test_one_that_was_replaced_stands_until_the_overlap_is_over() -> None:
    noted = Memory(
        posted_as=WANTED.fingerprint, replaces=("1",), replaces_for=WANTED.fingerprint, overlap_is_over=False
    )
    assert steps(row("1", query="Old"), row("2"), memory=noted) == []
    assert steps(row("1", query="Old"), row("2"), memory=replace(noted, overlap_is_over=True)) == [("retire", "1")]
    assert steps(row("1"), memory=noted) == []


def test_a_new_token_is_posted_where_khoros_shows_no_tokens() -> None:
    hidden = {name: value for name, value in row("1").items() if name != "bearerToken"}
    assert steps(hidden, memory=Memory(posted_as=WANTED.fingerprint)) == []
    assert steps(hidden, memory=Memory(posted_as="another")) == [("post", "")]
    died = Memory(posted_as="another", replaces=("1",), replaces_for=WANTED.fingerprint)
    assert steps(hidden, memory=died) == [("post", "")]
    assert steps(hidden, hidden | {"uuid": "2"}, memory=died) == [("retire", "1")]


def test_where_the_new_one_vanished_the_older_is_not_taken_for_it() -> None:
    hidden = {name: value for name, value in row("1").items() if name != "bearerToken"}
    noted = Memory(posted_as=WANTED.fingerprint, current="2", replaces=("1",), replaces_for=WANTED.fingerprint)
    assert steps(hidden, memory=noted) == [("post", "")]


def test_a_second_one_that_is_shown_otherwise_is_not_posted_again_and_again() -> None:
    fingerprint = WANTED.fingerprint
    noted = Memory(posted_as=fingerprint, current="2", replaces=("1",), replaces_for=fingerprint)
    rows = row("1", query="Old"), row("2", query="not as posted")
    assert steps(*rows, memory=noted, just_posted=True) == []
    assert steps(*rows, memory=replace(noted, not_shown=fingerprint)) == []
    assert kinds(*rows, memory=replace(noted, not_shown=fingerprint)) == ["query"]
    assert steps(memory=replace(noted, not_shown=fingerprint)) == [("post", "")]


def test_only_our_own_external_id_is_touched() -> None:
    foreign = row("1", externalId="casebridge-other-s"), row("2", externalId="send-to-zendesk")
    assert steps(*foreign, row("3")) == []


def test_a_masked_or_missing_token_counts_as_equal_and_another_does_not() -> None:
    assert steps(row("1", bearerToken="****")) == []
    assert steps({k: v for k, v in row("1").items() if k != "bearerToken"}) == []
    assert steps(row("1", bearerToken="old")) == [("post", "")]


def test_each_kind_of_drift_has_its_name() -> None:
    known = Memory(posted_as=WANTED.fingerprint)
    assert kinds(memory=known) == ["gone"]
    assert kinds(row("1", status="DISABLED"), memory=known) == ["status"]
    assert kinds(row("1", notificationUri="https://else.example.com"), memory=known) == ["address"]
    assert kinds(row("1", query="Else"), memory=known) == ["query"]
    assert kinds(row("1", bearerToken="else"), memory=known) == ["token"]
    assert kinds(row("1"), row("2"), memory=known) == ["duplicate"]
    assert kinds(row("1", query="Old"), memory=Memory(posted_as="before")) == ["changed_here"]
    assert kinds(row("1"), memory=known) == []


def test_a_subscription_that_is_only_fetched_names_no_address() -> None:
    fetched = replace(WANTED, address="")
    assert fetched.body().keys() == {"externalId", "eventName", "query"}
    there = {"uuid": "1", "status": "ACTIVE", **fetched.body()}
    assert plan.compare(fetched, [there], Memory()).steps == ()


def test_labels_are_escaped_and_expressions_are_not() -> None:
    assert plan.query_for("label", "C++ (new)") == r"C\+\+ \(new\)"
    assert plan.query_for("label", "General Labels - Ideas") == "General Labels - Ideas"
    assert plan.query_for("expression", "VIP|Press") == "VIP|Press"
    assert plan.query_for("everything", "") == ""


def test_the_stored_token_is_never_shown(subscription: Subscription) -> None:
    secret = Secret.of("plain text")
    assert "plain" not in f"{secret} {secret!r} {subscription.__dict__} {secret.stored}"


def test_pages_numbered_from_one_and_short_are_walked_to_the_end(sandbox: StandIn, subscription: Subscription) -> None:
    """Odd servers ignore the size asked for and number from 1."""
    rows = [row(str(number), externalId=f"x{number}") for number in range(9)]
    pages = {0: rows[:4], 1: rows[:4], 2: rows[4:8], 3: rows[8:], 4: []}
    asked: list[int] = []

    class OddLine:
        without_secrets = staticmethod(str)

        def call(self, method: str, path: str, **_: Any) -> Reply:
            page = int(path.partition("pageNumber=")[2].partition("&")[0])
            asked.append(page)
            return Reply(200, {}, json.dumps(pages.get(page, [])).encode())

    assert len(KhorosClient(OddLine(), "token").subscriptions()) == 9  # type: ignore[arg-type]


def test_a_subscription_in_no_list_is_not_posted_again_while_khoros_knows_it(
    sandbox: StandIn, subscription: Subscription
) -> None:
    register(subscription)
    for _ in range(3):
        sandbox.add_fault(
            "answer", api="khoros", status=200, body={"data": []}, path="/v2/events/subscription?", times=2
        )
        register(subscription)
        sandbox.clear_faults()
    assert [call.method for call in sandbox.calls("khoros")].count("POST") == 1


def test_changing_the_event_retires_the_subscription_of_the_old_one() -> None:
    old = row("1", eventName="rule-applied")
    assert steps(old) == [("post", "")]
    assert steps(old, row("2"), just_posted=True) == [("retire", "1")]


def test_what_khoros_answers_fits_into_the_columns(sandbox: StandIn, subscription: Subscription) -> None:
    register(subscription)
    odd = [row("u" * 300, externalId="other\x00", status="S" * 100, notificationUri="h" * 3000)]
    sandbox.add_fault(
        "answer", api="khoros", status=200, body={"data": odd}, method="GET", path="/v2/events/subscription?"
    )
    register(subscription)
    assert subscription.checked_at is not None
