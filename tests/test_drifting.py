"""Subscriptions changed at Khoros, or here: shown, put right, recorded; nothing falls between old and new."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from integrations.companies.registered import change_other
from integrations.intake import authenticate
from integrations.models import Change, Company, Delivery, Installation, Mapping, Notification, Subscription
from integrations.models.configuration import new_bearer_token
from integrations.subscriptions.catch_up import run_catch_up
from integrations.subscriptions.registration import check_subscription, checks_due, desired_state_of
from integrations.subscriptions.requests import (
    change_bearer_token,
    delete_subscription,
    notice_new_address,
    request_check,
)
from tests import payloads
from tests.factories import BEARER_TOKEN
from tests.stand_in import StandIn

Registration = Subscription.Registration


@pytest.fixture(autouse=True)
def an_address(settings: Any) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"


def check(subscription: Subscription, by: str = "") -> Subscription:
    request_check([subscription.pk], by)
    check_subscription(subscription.pk)
    subscription.refresh_from_db()
    return subscription


def end_the_overlap() -> None:
    """Long ago, so that nothing waits for the older one's events to be read either."""
    Subscription.objects.filter(replaced_at__isnull=False).update(replaced_at=timezone.now() - timedelta(hours=2))


def changed_at_khoros(sandbox: StandIn, uuid: str, **fields: Any) -> None:
    sandbox.control("POST", f"subscriptions/{uuid}", fields)


DRIFTS: dict[str, Callable[[StandIn, str], Any]] = {
    "gone": lambda sandbox, uuid: sandbox.control("POST", "forget", {}),
    "paused": lambda sandbox, uuid: changed_at_khoros(sandbox, uuid, status="PAUSED"),
    "disabled": lambda sandbox, uuid: changed_at_khoros(sandbox, uuid, status="DISABLED"),
    "address": lambda sandbox, uuid: changed_at_khoros(sandbox, uuid, notificationUri="https://else.example.com/"),
    "query": lambda sandbox, uuid: changed_at_khoros(sandbox, uuid, query="Else"),
    "token": lambda sandbox, uuid: changed_at_khoros(sandbox, uuid, bearerToken="somebody-elses-token"),
    "twice": lambda sandbox, uuid: sandbox.control("POST", f"subscriptions/{uuid}/copy", {}),
}


@pytest.mark.parametrize("mode", ["update", "second"])
@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_put_right_by_itself_and_recorded(
    sandbox: StandIn, subscription: Subscription, drift: str, mode: str
) -> None:
    sandbox.change_settings(resubscribe=mode)
    uuid = check(subscription).khoros_uuid
    DRIFTS[drift](sandbox, uuid)
    before = Change.objects.count()
    check(subscription)
    end_the_overlap()
    check(subscription)
    (listed,) = sandbox.subscriptions()
    assert (listed["status"], listed["query"], listed["bearerToken"]) == ("ACTIVE", "CreateCase", BEARER_TOKEN)
    assert listed["notificationUri"].startswith("http://127.0.0.1:8000/webhooks/khoros/")
    assert (subscription.registration, subscription.drift) == (Registration.REGISTERED, [])
    change = Change.objects.order_by("pk")[before]
    assert (change.by, change.is_done) == ("", True)
    assert change.because


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_subscription_that_does_not_repair_itself_shows_its_drift_and_waits_for_a_click(
    sandbox: StandIn, subscription: Subscription, drift: str
) -> None:
    uuid = check(subscription).khoros_uuid
    Subscription.objects.update(auto_repair=False)
    DRIFTS[drift](sandbox, uuid)
    before = sandbox.subscriptions()
    assert check(subscription).registration == Registration.DRIFTED
    assert subscription.drift[0]["message"]
    assert subscription.drift[0]["remedy"]
    assert sandbox.subscriptions() == before
    check(subscription, by="olga")
    end_the_overlap()
    check(subscription)
    (listed,) = sandbox.subscriptions()
    assert (listed["status"], listed["query"]) == ("ACTIVE", "CreateCase")
    assert subscription.registration == Registration.REGISTERED
    assert Change.objects.order_by("-pk").last().by == ""  # type: ignore[union-attr]
    assert Change.objects.filter(by="olga", is_done=True).exists()


@pytest.mark.parametrize("shows_token", [True, False])
@pytest.mark.parametrize("mode", ["update", "second"])
@pytest.mark.parametrize("what", ["label", "address", "token"])
def test_a_change_here_is_registered_anew_with_an_overlap(
    sandbox: StandIn, subscription: Subscription, settings: Any, what: str, mode: str, shows_token: bool
) -> None:
    sandbox.change_settings(resubscribe=mode, list_shows_token=shows_token)
    first = check(subscription).khoros_uuid
    if what == "label":
        Subscription.objects.update(label="VIP")
    elif what == "address":
        settings.PUBLIC_URL = "http://127.0.0.1:9000"
    else:
        change_bearer_token(subscription, "the-new-token-of-this-subscription")
    check(subscription)
    standing = {row["uuid"] for row in sandbox.subscriptions()}
    assert standing == ({first} if mode == "update" else {first, subscription.khoros_uuid})
    assert check(subscription)
    assert {row["uuid"] for row in sandbox.subscriptions()} == standing
    end_the_overlap()
    check(subscription)
    (listed,) = sandbox.control("GET", "subscriptions")["subscriptions"]
    wanted = desired_state_of(subscription)
    assert (listed["query"], listed["notificationUri"]) == (wanted.query, wanted.address)
    assert listed["status"] == "ACTIVE"
    posts = [call for call in sandbox.calls("khoros") if call.method == "POST"]
    assert len(posts) == 2
    assert wanted.bearer_token in posts[-1].body


def test_during_the_overlap_old_and_new_token_are_accepted_and_no_post_is_doubled(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Any
) -> None:
    subscription = mapping.subscription
    sandbox.change_settings(resubscribe="second")
    check(subscription)
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    change_bearer_token(subscription, "and-yet-another-new-token")
    check(subscription)
    item = payloads.item("twitter:1")
    for token in (BEARER_TOKEN, "the-new-token-of-this-subscription", "and-yet-another-new-token"):
        assert push(payloads.notification(item), token=token).status_code == 200
    work()
    assert Notification.objects.count() == 3
    assert Delivery.objects.get().labelled_again == 2
    assert len(sandbox.tickets()) == 1


def test_earlier_tokens_end_a_day_after_khoros_was_seen_to_use_the_new_one(
    sandbox: StandIn, subscription: Subscription, push: Any
) -> None:
    check(subscription)
    sandbox.add_fault("500", api="khoros")
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    assert check(subscription).registration == Registration.UNREACHABLE
    assert subscription.previous_token_accepted_until is None
    sandbox.clear_faults()
    check(subscription)
    assert subscription.previous_token_accepted_until is None
    end_the_overlap()
    check(subscription)
    assert subscription.previous_token_accepted_until is not None
    assert push(token=BEARER_TOKEN).status_code == 200
    Subscription.objects.update(previous_token_accepted_until=timezone.now())
    assert push(token=BEARER_TOKEN).status_code == 401


@pytest.mark.parametrize("mode", ["update", "second"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_process_killed_during_a_call_leaves_one_subscription_with_the_new_token(
    sandbox: StandIn, subscription: Subscription, settings: Any, method: str, mode: str
) -> None:
    """The stand-in goes on with the call that the dead process made: what was asked for happens at Khoros."""
    sandbox.change_settings(resubscribe=mode, list_shows_token=False)
    check(subscription)
    change_bearer_token(subscription, new_bearer_token())
    kill_during(sandbox, subscription, method, settings.PUBLIC_URL)
    finish_after_the_death(subscription)
    (listed,) = sandbox.subscriptions()
    posted = [call.body for call in sandbox.calls("khoros") if call.method == "POST"][-1]
    assert subscription.bearer_token.reveal() in posted
    assert (listed["status"], subscription.registration) == ("ACTIVE", Registration.REGISTERED)


def test_a_process_killed_while_it_retires_the_older_one_leaves_the_new_one(
    sandbox: StandIn, subscription: Subscription, settings: Any
) -> None:
    sandbox.change_settings(resubscribe="second", list_shows_token=False)
    check(subscription)
    change_bearer_token(subscription, new_bearer_token())
    new = check(subscription).khoros_uuid
    end_the_overlap()
    kill_during(sandbox, subscription, "DELETE", settings.PUBLIC_URL)
    finish_after_the_death(subscription)
    assert [row["uuid"] for row in sandbox.subscriptions()] == [new]


def kill_during(sandbox: StandIn, subscription: Subscription, method: str, public_url: str) -> None:
    """Checks the subscription in a process of its own, and kills it with -9 in the middle of its first such call."""
    sandbox.control("DELETE", "requests")
    sandbox.add_fault("delay", api="khoros", seconds=1.5, times=1, method=method, path="/v2/events/subscription")
    request_check([subscription.pk])
    code = "from integrations.subscriptions.registration import check_subscription as check; "
    code += f"check({subscription.pk})"
    process = subprocess.Popen([sys.executable, "manage.py", "shell", "-c", code], env=environment(sandbox, public_url))
    wait_until(lambda: any(call.method == method and "whoami" not in call.path for call in sandbox.calls("khoros")))
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    wait_until(lambda: all(call.status for call in sandbox.calls("khoros")))


def environment(sandbox: StandIn, public_url: str) -> dict[str, str]:
    database = connection.settings_dict
    address = f"{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    wanted = {"DATABASE_URL": f"postgres://{address}", "KHOROS_API_URL": sandbox.url, "PUBLIC_URL": public_url}
    return os.environ | wanted


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.05)


def finish_after_the_death(subscription: Subscription) -> None:
    """The dead process's claim runs out, and the overlap ends."""
    for _ in range(3):
        Subscription.objects.update(checking_until=None)
        check(subscription)
        end_the_overlap()


def test_a_refused_status_is_told_in_text(sandbox: StandIn, subscription: Subscription) -> None:
    uuid = check(subscription).khoros_uuid
    changed_at_khoros(sandbox, uuid, status="DISABLED")
    sandbox.change_settings(refuse_status_changes=True)
    assert check(subscription).registration == Registration.REFUSED
    assert "refuses this change" in subscription.khoros_message
    last = Change.objects.order_by("-pk").first()
    assert last is not None
    assert not last.is_done
    assert "refuses" in last.message


@pytest.mark.parametrize(
    "odd",
    [
        {"list_first_page": 1},
        {"list_largest_page": 1},
        {"list_largest_page": 2, "list_repeats": True},
        {"list_shape": "bare"},
        {"list_shape": "data_items", "list_largest_page": 1, "list_first_page": 1},
    ],
)
def test_odd_lists_are_read_to_their_end(sandbox: StandIn, subscription: Subscription, odd: dict[str, Any]) -> None:
    sandbox.change_settings(**odd)
    foreign = {"externalId": "x", "eventName": "rule-applied"}
    for number in range(5):
        sandbox.control("POST", "subscriptions", foreign | {"externalId": f"x{number}"})
    check(subscription)
    check(subscription)
    assert len([row for row in sandbox.subscriptions() if row["externalId"].startswith("casebridge-")]) == 1
    assert len(Company.objects.get().listed) == 6


def test_deleting_here_retires_there_and_keeps_the_history(
    sandbox: StandIn, mapping: Mapping, push: Any, portal: Installation
) -> None:
    subscription = mapping.subscription
    check(subscription)
    push()
    sandbox.add_fault("500", api="khoros")
    delete_subscription(subscription, by="olga")
    check_subscription(subscription.pk)
    assert len(sandbox.subscriptions()) == 1
    sandbox.clear_faults()
    assert check(subscription).registration == Registration.RETIRED
    assert not sandbox.subscriptions()
    assert Notification.objects.count() == 1
    assert push().status_code == 200
    assert not Mapping.objects.get().is_active
    assert Change.objects.filter(action="retire", by="olga", is_done=True).exists()


def test_staging_and_production_share_a_token_and_leave_each_other_alone(
    sandbox: StandIn, subscription: Subscription, portal: Installation
) -> None:
    check(subscription)
    theirs = sandbox.subscriptions()[0]
    Installation.objects.update(uuid="11111111-1111-1111-1111-111111111111")
    Subscription.objects.update(khoros_uuid="", posted_as="")
    check(subscription)
    assert theirs in sandbox.subscriptions()
    assert len(sandbox.subscriptions()) == 2
    (other,) = subscription.other_subscriptions
    assert other["uuid"] == theirs["uuid"]


def test_a_foreign_one_is_paused_only_when_asked_for(sandbox: StandIn, subscription: Subscription) -> None:
    old = {"externalId": "send-to-zendesk", "eventName": "stream-item-label-applied", "query": "CreateCase"}
    uuid = sandbox.control("POST", "subscriptions", old)["uuid"]
    check(subscription)
    change_other(subscription.company, uuid, Change.Action.PAUSE_OTHER, "olga", subscription)
    assert next(row for row in sandbox.subscriptions() if row["uuid"] == uuid)["status"] == "PAUSED"
    change = Change.objects.get(action="pause_other")
    assert (change.by, change.is_done) == ("olga", True)


def test_only_what_bears_our_mark_and_is_known_no_more_can_be_retired(
    sandbox: StandIn, subscription: Subscription, portal: Installation
) -> None:
    check(subscription)
    forgotten = {"externalId": f"casebridge-{portal.uuid}-22222222-2222-2222-2222-222222222222", "eventName": "x"}
    uuid = sandbox.control("POST", "subscriptions", forgotten)["uuid"]
    for wrong in (subscription.khoros_uuid, "unknown"):
        with pytest.raises(LookupError):
            change_other(subscription.company, wrong, Change.Action.RETIRE_OTHER, "olga")
    change_other(subscription.company, uuid, Change.Action.RETIRE_OTHER, "olga")
    assert [row["uuid"] for row in sandbox.subscriptions()] == [subscription.khoros_uuid]


def test_version_1_registers_once_and_says_what_it_cannot_do(sandbox: StandIn, subscription: Subscription) -> None:
    Company.objects.update(api_version="v1")
    assert check(subscription).registration == Registration.REGISTERED
    assert "cannot check, pause or delete" in subscription.khoros_message
    check(subscription)
    posts = [call for call in sandbox.calls("khoros") if call.method == "POST"]
    assert [call.path for call in posts] == ["/v1/events/company/42/subscription"]
    assert '"companyId": 42' in posts[0].body
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    check(subscription)
    assert len([call for call in sandbox.calls("khoros") if call.method == "POST"]) == 2


def test_a_subscription_that_is_only_fetched_needs_no_public_address(
    sandbox: StandIn, subscription: Subscription, settings: Any
) -> None:
    settings.PUBLIC_URL = settings.LOCAL_URL = ""
    Subscription.objects.update(receives_by=Subscription.Receives.PULL)
    assert check(subscription).registration == Registration.REGISTERED
    (listed,) = sandbox.subscriptions()
    assert "notificationUri" not in listed
    assert "bearerToken" not in listed


@pytest.mark.parametrize(("fault", "posts"), [("invalid_json", 2), ("hang_up_after", 2), ("oversized", 2)])
def test_a_post_whose_answer_says_nothing_is_not_made_again_where_the_list_tells(
    sandbox: StandIn, subscription: Subscription, fault: str, posts: int
) -> None:
    sandbox.change_settings(resubscribe="second", list_shows_token=False)
    check(subscription)
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    sandbox.add_fault(fault, api="khoros", method="POST", times=1)
    for _ in range(3):
        check(subscription)
    end_the_overlap()
    for _ in range(3):
        check(subscription)
    assert len([call for call in sandbox.calls("khoros") if call.method == "POST"]) == posts
    (listed,) = sandbox.subscriptions()
    assert listed["status"] == "ACTIVE"
    assert subscription.registration == Registration.REGISTERED


def test_a_post_that_may_have_updated_in_place_is_made_once_more(sandbox: StandIn, subscription: Subscription) -> None:
    """Without tokens in the list nothing else tells whether it was made."""
    sandbox.change_settings(resubscribe="update", list_shows_token=False)
    check(subscription)
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    sandbox.add_fault("hang_up_after", api="khoros", method="POST", times=1)
    for _ in range(3):
        check(subscription)
    assert len([call for call in sandbox.calls("khoros") if call.method == "POST"]) == 3
    assert len(sandbox.subscriptions()) == 1


def shown_as(sandbox: StandIn, **fields: Any) -> None:
    """From now on Khoros lists what stands there with these fields written otherwise."""
    sandbox.clear_faults()
    body = {"data": [row | fields for row in sandbox.subscriptions()]}
    sandbox.add_fault("answer", api="khoros", status=200, body=body, method="GET", path="/v2/events/subscription")


def test_what_khoros_shows_otherwise_than_posted_is_said_and_not_posted_for_ever(
    sandbox: StandIn, subscription: Subscription
) -> None:
    check(subscription)
    shown_as(sandbox, query="something else")
    for _ in range(5):
        check(subscription)
        end_the_overlap()
    assert subscription.registration == Registration.DRIFTED
    assert "lists different values" in subscription.khoros_message
    assert subscription.drift[0]["kind"] == "query"
    assert len([call for call in sandbox.calls("khoros") if call.method == "POST"]) == 2
    check(subscription, by="olga")
    assert len([call for call in sandbox.calls("khoros") if call.method == "POST"]) == 3
    sandbox.clear_faults()
    assert check(subscription).registration == Registration.REGISTERED


@pytest.mark.parametrize(
    "fields", [{"bearerToken": "****t-xy"}, {"bearerToken": "the-…"}, {"query": " CreateCase "}, {"slash": True}]
)
def test_khoros_own_way_of_writing_is_no_drift(
    sandbox: StandIn, subscription: Subscription, fields: dict[str, Any]
) -> None:
    check(subscription)
    if "slash" in fields:
        fields = {"notificationUri": f"{sandbox.subscriptions()[0]['notificationUri'].upper()[:4].lower()}"
                  f"{sandbox.subscriptions()[0]['notificationUri'][4:]}/"}  # fmt: skip
    shown_as(sandbox, **fields)
    assert check(subscription).registration == Registration.REGISTERED
    assert subscription.drift == []


def test_switching_off_during_an_overlap_does_not_make_the_older_one_the_present_one(
    sandbox: StandIn, subscription: Subscription
) -> None:
    sandbox.change_settings(resubscribe="second", list_shows_token=False)
    first = check(subscription).khoros_uuid
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    second = check(subscription).khoros_uuid
    for is_active in (False, True):
        Subscription.objects.update(is_active=is_active)
        check(subscription)
    end_the_overlap()
    check(subscription)
    (listed,) = sandbox.subscriptions()
    assert listed["uuid"] == second != first


def test_a_copy_that_somebody_made_is_retired_only_after_its_events_were_read(
    sandbox: StandIn, subscription: Subscription
) -> None:
    uuid = check(subscription).khoros_uuid
    copy = sandbox.control("POST", f"subscriptions/{uuid}/copy", {})["uuid"]
    sandbox.change_settings(push=False)
    sandbox.control("POST", "events/bulk", {"count": 3, "label": "CreateCase"})
    assert check(subscription).registration == Registration.REGISTERED
    assert len(sandbox.subscriptions()) == 2
    run_catch_up(subscription.pk)
    assert Notification.objects.count() == 6
    check(subscription)
    assert [row["uuid"] for row in sandbox.subscriptions()] == [uuid] != [copy]


def test_a_new_token_is_accepted_at_once_by_a_process_that_remembers_the_old_one(
    sandbox: StandIn, subscription: Subscription, push: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(authenticate, "CACHED_SECONDS", 60.0)
    assert push().status_code == 200
    change_bearer_token(subscription, "the-new-token-of-this-subscription")
    assert push(token="the-new-token-of-this-subscription").status_code == 200
    assert push(token="a-wrong-token").status_code == 401


def test_a_token_in_use_outlives_many_changes_while_khoros_is_out_of_reach(
    sandbox: StandIn, subscription: Subscription, push: Any
) -> None:
    check(subscription)
    sandbox.add_fault("500", api="khoros")
    for _ in range(12):
        change_bearer_token(subscription, new_bearer_token())
        check(subscription)
    assert push(token=BEARER_TOKEN).status_code == 200


def test_an_unreadable_list_is_not_quoted_as_it_may_hold_others_tokens(
    sandbox: StandIn, subscription: Subscription
) -> None:
    body = '{"data": [{"externalId": "x", "bearerToken": "somebody-elses-secret"'
    sandbox.add_fault("answer", api="khoros", status=200, body=body, method="GET", path="/v2/events/subscription")
    assert "could not be read" in check(subscription).khoros_message
    assert "somebody-elses-secret" not in subscription.khoros_message


def test_a_new_public_address_is_noticed_before_the_next_regular_check(
    sandbox: StandIn, subscription: Subscription, settings: Any
) -> None:
    check(subscription)
    notice_new_address()
    due = Subscription.objects.filter(checks_due())
    assert not due.exists()
    settings.PUBLIC_URL = "http://127.0.0.1:9000"
    notice_new_address()
    assert due.exists()
    check_subscription(subscription.pk)
    assert sandbox.subscriptions()[0]["notificationUri"].startswith("http://127.0.0.1:9000/")
    notice_new_address()
    assert not due.exists()


def test_a_call_to_the_old_host_name_is_heard(subscription: Subscription, push: Any) -> None:
    assert push(headers={"Host": "the-old-name.example.com"}).status_code == 200


def test_one_that_khoros_paused_and_leaves_out_of_its_list_is_activated(
    sandbox: StandIn, subscription: Subscription
) -> None:
    uuid = check(subscription).khoros_uuid
    sandbox.change_settings(list_leaves_out_paused=True)
    changed_at_khoros(sandbox, uuid, status="PAUSED")
    assert check(subscription).registration == Registration.REGISTERED
    (row,) = sandbox.subscriptions()
    assert (row["uuid"], row["status"]) == (uuid, "ACTIVE")


@pytest.mark.parametrize("mode", ["update", "second"])
@pytest.mark.parametrize("shown_as", ["redacted", "hash"])
def test_a_token_that_khoros_masks_in_its_list_is_taken_for_ours_and_one_active_stays_one(
    sandbox: StandIn, subscription: Subscription, shown_as: str, mode: str
) -> None:
    sandbox.change_settings(list_shows_token_as=shown_as, resubscribe=mode)
    uuid = check(subscription).khoros_uuid
    for _ in range(3):
        assert check(subscription).registration == Registration.REGISTERED
    assert [row["uuid"] for row in sandbox.subscriptions()] == [uuid]
    change_bearer_token(subscription, new_bearer_token())
    for _ in range(3):
        check(subscription)
        end_the_overlap()
    assert check(subscription).registration == Registration.REGISTERED
    assert [row["status"] for row in sandbox.subscriptions()] == ["ACTIVE"]
    assert Change.objects.filter(action=Change.Action.POST).count() == 2


def test_another_token_is_noticed_behind_a_mask_that_tells_tokens_apart(
    sandbox: StandIn, subscription: Subscription
) -> None:
    sandbox.change_settings(list_shows_token_as="hash")
    uuid = check(subscription).khoros_uuid
    changed_at_khoros(sandbox, uuid, bearerToken="somebody else's")
    Subscription.objects.update(auto_repair=False)
    checked = check(subscription)
    assert checked.registration == Registration.DRIFTED
    assert checked.drift[0]["kind"] == "token"
