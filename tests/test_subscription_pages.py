"""Companies and subscriptions as staff use them: is it healthy, what is wrong, which button mends it."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from integrations.companies.check import check_company
from integrations.companies.labels import refresh_labels
from integrations.infra import queue
from integrations.models import Alarm, CatchUp, Company, Installation, Mapping, Notification, Probe, Subscription
from integrations.sources.khoros import token
from integrations.subscriptions.catch_up import run_catch_up
from integrations.subscriptions.query_preview import match_verdicts
from integrations.subscriptions.registration import check_subscription
from integrations.subscriptions.requests import request_check
from tests import payloads
from tests.alarms import update_alarms
from tests.factories import StaffFactory, SubscriptionFactory
from tests.queues import run_task
from tests.stand_in import StandIn
from tests.test_admin import BASE, act, form_of, page

Registration = Subscription.Registration


@pytest.fixture(autouse=True)
def an_address(settings: Any) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"


@pytest.fixture
def registered(sandbox: StandIn, mapping: Mapping) -> Subscription:
    Installation.objects.update(worker_seen_at=timezone.now())
    return check(mapping.subscription)


def check(subscription: Subscription) -> Subscription:
    request_check([subscription.pk])
    check_subscription(subscription.pk)
    subscription.refresh_from_db()
    return subscription


def jwt(**content: Any) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded}.c2lnbmF0dXJl"


# --- Company ---------------------------------------------------------------------------------------------------------


def test_test_connection_says_who_the_token_is_what_it_sees_and_when_it_ends(
    admin: Client, registered: Subscription
) -> None:
    html = act(admin, "company", "test_connection", registered.company)
    assert "John Doe (johndoe@example.com)" in html
    assert "Example Corp (12345), Example Company (42)" in html
    assert "Subscriptions at Khoros: 1, of which 1 created by this installation." in html
    assert "24 months after it was entered" in html


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "html_200"}, "web page"),
        ({"kind": "developer_inactive"}, "Developer Inactive"),
        ({"kind": "586"}, "586"),
        ({"kind": "401"}, "did not accept the API token"),
        ({"kind": "hang_up_before"}, "broke"),
        (
            {"kind": "answer", "status": 403, "body": "Company 42 does not allow the application Casebridge"},
            "Ask Khoros' support to allow it",
        ),
        (
            {"kind": "answer", "status": 200,
             "body": {"status": {"succeeded": False, "error": {"code": "IP_ADDRESS_REJECTED", "message": "no"}}}},
            "refuses calls from this server",
        ),
    ],
)  # fmt: skip
def test_every_documented_failure_is_told_in_text(
    admin: Client, registered: Subscription, sandbox: StandIn, fault: dict[str, Any], message: str
) -> None:
    sandbox.add_fault(fault.pop("kind"), api="khoros", **fault)
    assert escape(message) in act(admin, "company", "test_connection", registered.company)


def test_a_token_tells_its_own_end_where_it_can_be_read(admin: Client, registered: Subscription) -> None:
    form = form_of(page(admin, f"company/{registered.company_id}/change/"))
    ends = datetime.now(UTC) + timedelta(days=40)
    admin.post(
        f"{BASE}/company/{registered.company_id}/change/", form | {"new_api_token": jwt(exp=int(ends.timestamp()))}
    )
    html = page(admin, f"company/{registered.company_id}/change/")
    assert f"{ends:%Y-%m-%d}, in 39 days (from the token itself)" in html
    assert "Create a new one in Khoros Marketing" in html
    update_alarms()
    assert Alarm.objects.get().kind == "token"


def test_odd_tokens_tell_nothing_and_break_nothing() -> None:
    for odd in ("", "plain", "a.b.c", "a.e30.c", jwt(exp="soon"), jwt(exp=10**30), "é.é.é"):
        assert token.expiry(odd) is None
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    assert token.expiry(jwt(iat=issued.timestamp())) == issued + timedelta(days=730)
    assert token.expiry(jwt(exp=1_767_225_600_000)) == datetime(2026, 1, 1, tzinfo=UTC)


def test_what_stands_at_khoros_is_shown_and_a_foreign_one_paused_after_a_question(
    admin: Client, registered: Subscription, sandbox: StandIn
) -> None:
    old = {"externalId": "send-to-zendesk", "eventName": "stream-item-label-applied", "query": "CreateCase"}
    uuid = sandbox.control("POST", "subscriptions", old)["uuid"]
    check(registered)
    html = page(admin, f"company/{registered.company_id}/change/")
    assert "send-to-zendesk" in html
    question = f"company/{registered.company_id}/at-khoros/{uuid}/pause/?subscription={registered.pk}"
    assert escape(question.partition("company/")[2]) in page(admin, f"subscription/{registered.pk}/change/")
    assert "Casebridge did not create this subscription" in page(admin, question)
    assert {row["status"] for row in sandbox.subscriptions()} == {"ACTIVE"}
    answer = admin.post(f"{BASE}/{question}", follow=True)
    assert "Paused (created by someone else): send-to-zendesk." in answer.content.decode()
    assert next(row for row in sandbox.subscriptions() if row["uuid"] == uuid)["status"] == "PAUSED"


def test_our_own_cannot_be_paused_by_the_foreign_button(
    admin: Client, registered: Subscription, sandbox: StandIn
) -> None:
    for change in ("retire", "pause"):
        path = f"{BASE}/company/{registered.company_id}/at-khoros/{registered.khoros_uuid}/{change}/"
        admin.post(path, follow=True)
    (listed,) = sandbox.subscriptions()
    assert listed["status"] == "ACTIVE"


def test_labels_are_read_cached_and_offered_and_a_failure_keeps_the_old_ones(
    admin: Client, registered: Subscription, sandbox: StandIn
) -> None:
    Company.objects.update(initiatives="5")
    assert " labels." in act(admin, "company", "refresh_labels", registered.company)
    labels = Company.objects.get().labels
    names = {label["name"] for label in labels}
    assert {"CreateCase", "VIP (urgent)", "C++"} <= names
    assert len(labels) > 120
    assert any("initiative 5" in label["set"] for label in labels)
    assert '<option value="VIP (urgent)">' in page(admin, "subscription/add/")
    sandbox.add_fault("500", api="khoros")
    assert "the previous ones are kept" in act(admin, "company", "refresh_labels", registered.company)
    assert Company.objects.get().labels == labels


# --- Subscription ----------------------------------------------------------------------------------------------------


def test_one_page_answers_whether_the_subscription_is_healthy(
    admin: Client, registered: Subscription, push: Any
) -> None:
    push()
    html = page(admin, f"subscription/{registered.pk}/change/")
    for message in ("Healthy", "Expected", "At Khoros", "Last push", "Last catch-up", "Last match", "Silence alarm"):
        assert message in html
    assert registered.khoros_uuid in html
    assert "Generate a new bearer token" in html


def test_the_page_says_how_the_last_catch_up_ended(admin: Client, registered: Subscription) -> None:
    CatchUp.objects.create(
        subscription=registered, mode="recent", state="done", read=7, known=7, finished_at=timezone.now()
    )
    assert (
        "7 read, 7 already known"
        in page(admin, f"subscription/{registered.pk}/change/").partition("Last catch-up")[2][:200]
    )


def test_drift_is_shown_with_what_will_be_done_and_repaired_by_a_click(
    admin: Client, registered: Subscription, sandbox: StandIn
) -> None:
    Subscription.objects.update(auto_repair=False)
    sandbox.control("POST", f"subscriptions/{registered.khoros_uuid}", {"query": "Else"})
    check(registered)
    update_alarms()
    html = page(admin, f"subscription/{registered.pk}/change/")
    assert "Needs attention" in html
    assert "Khoros uses a different query" in html
    assert "Casebridge registers it again with the settings here" in html
    act(admin, "subscription", "repair_now", registered)
    check_subscription(registered.pk)
    assert sandbox.subscriptions()[0]["query"] == "CreateCase"
    assert "operator" in page(admin, f"subscription/{registered.pk}/change/")


def test_rotating_the_token_is_one_button(admin: Client, registered: Subscription, sandbox: StandIn, push: Any) -> None:
    before = registered.bearer_token.reveal()
    act(admin, "subscription", "rotate_token", registered)
    check_subscription(registered.pk)
    registered.refresh_from_db()
    after = registered.bearer_token.reveal()
    assert after != before
    assert sandbox.subscriptions()[0]["bearerToken"] == after
    assert {push(token=each).status_code for each in (before, after)} == {200}


def test_switching_off_and_on_pauses_and_resumes_at_khoros(
    admin: Client, registered: Subscription, sandbox: StandIn
) -> None:
    for action, status in (("switch_off", "PAUSED"), ("switch_on", "ACTIVE")):
        act(admin, "subscription", action, registered)
        check_subscription(registered.pk)
        assert sandbox.subscriptions()[0]["status"] == status


def test_deleting_asks_first_retires_at_khoros_and_keeps_the_history(
    admin: Client, registered: Subscription, sandbox: StandIn, push: Any
) -> None:
    push()
    path = f"subscription/{registered.pk}/delete/"
    assert "already received stay in the log" in page(admin, path)
    assert sandbox.subscriptions()
    admin.post(f"{BASE}/{path}", {"post": "yes"})
    check_subscription(registered.pk)
    assert not sandbox.subscriptions()
    assert Notification.objects.count() == 1
    assert ">CreateCase<" not in page(admin, "subscription/").partition("result_list")[2]
    assert "CreateCase" in page(admin, "subscription/?deleted=yes").partition("result_list")[2]
    assert "Deleted" in page(admin, f"subscription/{registered.pk}/change/")


def test_saving_asks_khoros_in_the_name_of_the_person(
    admin: Client, registered: Subscription, sandbox: StandIn
) -> None:
    form = form_of(page(admin, f"subscription/{registered.pk}/change/"))
    assert form["receives_by"] == "both"
    admin.post(f"{BASE}/subscription/{registered.pk}/change/", form | {"label": "VIP", "silence_hours": "12"})
    registered.refresh_from_db()
    assert (registered.label, registered.silence_hours, registered.requested_by) == ("VIP", 12, "operator")
    check_subscription(registered.pk)
    assert sandbox.subscriptions()[0]["query"] == "VIP"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"silence_alarm": "hours", "silence_hours": ""}, "Enter the number of hours"),
        ({"match": "expression", "label": "(["}, "Not a valid regular expression"),
        ({"receives_by": "push"}, ""),
    ],
)
def test_wrong_input_is_refused_beside_its_field(
    admin: Client, registered: Subscription, fields: dict[str, str], message: str
) -> None:
    form = form_of(page(admin, f"subscription/{registered.pk}/change/"))
    answer = admin.post(f"{BASE}/subscription/{registered.pk}/change/", form | fields)
    assert answer.status_code == (200 if message else 302)
    assert escape(message) in answer.content.decode()


def test_version_1_takes_only_subscriptions_that_are_pushed(admin: Client, registered: Subscription) -> None:
    Company.objects.update(api_version="v1")
    form = form_of(page(admin, f"subscription/{registered.pk}/change/"))
    answer = admin.post(f"{BASE}/subscription/{registered.pk}/change/", form)
    assert "Choose “Push only”" in answer.content.decode()


def test_a_label_that_khoros_does_not_have_is_taken_with_a_warning(admin: Client, registered: Subscription) -> None:
    refresh_labels(registered.company)
    form = form_of(page(admin, f"subscription/{registered.pk}/change/"))
    answer = admin.post(f"{BASE}/subscription/{registered.pk}/change/", form | {"label": "CreateCas"}, follow=True)
    assert "No label “CreateCas”" in answer.content.decode()


# --- Label tester ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "label", "tried", "outcome"),
    [
        ("label", "CreateCase", "CreateCase", [True, True, True, True]),
        ("label", "C++", "C++", [True, True, True, True]),
        ("label", "Case", "CreateCase", [True, True, False, True]),
        ("label", "createcase", "CreateCase", [False, False, False, True]),
        ("label", "Social care - VIP", "Social care - VIP", [False, True, False, False]),
        ("expression", "^(VIP|Press)$", "Press", [True, False, True, True]),
        ("expression", "(?<=a)b", "ab", [None, None, None, None]),
        ("everything", "", "anything", [True, True, True, True]),
    ],
)
def test_the_tester_tells_each_plausible_way_of_comparing(
    match: str, label: str, tried: str, outcome: list[bool | None]
) -> None:
    found = [verdict.matches for verdict in match_verdicts(match, label, tried)]
    assert found == outcome if match != "everything" else found[0] is True


def test_the_tester_is_a_page_that_changes_nothing(admin: Client, registered: Subscription) -> None:
    html = page(admin, f"subscription/{registered.pk}/query-preview/?match=label&label=Case&tried=CreateCase")
    assert "assumed by Casebridge" in html
    assert "does not match" in html
    registered.refresh_from_db()
    assert registered.label == "CreateCase"


# --- Reconciliation and probe ----------------------------------------------------------------------------------------


def test_reconciliation_counts_what_came_and_fetches_what_is_missing(
    admin: Client, registered: Subscription, sandbox: StandIn, push: Any, work: Any
) -> None:
    Subscription.objects.update(receives_by="push")
    push()
    push(payloads.notification(eventName="unknown"))
    work()
    sandbox.change_settings(push=False)
    sandbox.control("POST", "events/bulk", {"count": 3, "label": "CreateCase"})
    path = f"subscription/{registered.pk}/reconciliation/"
    admin.post(f"{BASE}/{path}", {"compare": "1"})
    assert "Waiting for a worker" in page(admin, path)
    run_catch_up(registered.pk)
    html = page(admin, path)
    assert "<b>3</b> missing" in html
    assert "Last compared" in html
    admin.post(f"{BASE}/{path}", {"fetch": "1"})
    run_catch_up(registered.pk)
    work()
    html = page(admin, path)
    assert "<b>0</b> missing" in html
    counts = {message: number for number, message in _counts(html)}
    assert counts == {
        "pushed": 2, "fetched": 3, "repeats": 0, "matched a mapping": 4,
        "matched no mapping": 1, "unreadable": 0, "waiting to be processed": 0, "delivered": 4,
        "failed": 0, "waiting or being sent": 0, "held in a flood": 0, "cancelled": 0,
    }  # fmt: skip
    assert CatchUp.objects.filter(requested_by="operator").count() == 2
    yesterday = (timezone.now() - timedelta(days=1)).date()
    html = page(admin, f"{path}?begins={yesterday}&ends={yesterday}")
    assert {number for number, _ in _counts(html)} == {0}


def _counts(html: str) -> list[tuple[int, str]]:
    return [(int(n), message) for n, message in re.findall(r'class="cb-count">(\d+)</td><td>([^<]*)', html)]


@pytest.mark.parametrize(
    "query",
    [
        "begins=9999-12-31&ends=9999-12-31",
        "begins=x&ends=y",
        "begins=2026-01-02&ends=2026-01-01",
        "begins=2020-01-01&ends=2026-01-01",
    ],
)
def test_odd_periods_are_refused_in_text(admin: Client, registered: Subscription, query: str) -> None:
    assert "cb-trouble" in page(admin, f"subscription/{registered.pk}/reconciliation/?{query}")


def test_the_probe_page_sends_one_and_shows_its_path(admin: Client, registered: Subscription) -> None:
    path = f"subscription/{registered.pk}/probe/"
    admin.post(f"{BASE}/{path}", {})
    test = Probe.objects.get()
    assert (test.requested_by, test.makes_tickets) == ("operator", False)
    assert "Waiting for a worker" in page(admin, path)


def test_without_a_public_address_the_probe_says_so(admin: Client, registered: Subscription, settings: Any) -> None:
    settings.PUBLIC_URL, settings.KHOROS_API_URL = "", "https://api.spredfast.com"
    answer = admin.post(f"{BASE}/subscription/{registered.pk}/probe/", {}, follow=True)
    assert "PUBLIC_URL is not set" in answer.content.decode()


# --- Alarms, overview, rights ----------------------------------------------------------------------------------------


def test_open_alarms_stand_on_the_overview_and_can_be_marked_as_seen(admin: Client, registered: Subscription) -> None:
    Subscription.objects.update(registration="refused", khoros_message="No.", failed_checks=2)
    update_alarms()
    alarm = Alarm.objects.get()
    html = admin.get("/admin/").content.decode()
    assert "Registration refused" in html
    assert "ALERT_EMAILS" in html
    act(admin, "alarm", "acknowledge", alarm)
    assert "taken by operator" in admin.get("/admin/").content.decode()
    assert LogEntry.objects.filter(change_message="Taken").exists()


def test_who_may_only_look_sees_pages_without_buttons_and_changes_nothing(
    client: Client, registered: Subscription, sandbox: StandIn
) -> None:
    client.force_login(StaffFactory.create(may="^view_"))
    uuid = sandbox.control("POST", "subscriptions", {"externalId": "x", "eventName": "stream-item-label-applied"})[
        "uuid"
    ]
    check(registered)
    for name in ("change", "reconciliation", "probe", "query-preview"):
        html = page(client, f"subscription/{registered.pk}/{name}/")
        assert 'name="fetch"' not in html
        assert "Send a test notification" not in html
        assert "Pause at Khoros …" not in html
    assert "Test connection</button>" not in page(client, f"company/{registered.company_id}/change/")
    paths = (
        f"subscription/{registered.pk}/reconciliation/",
        f"subscription/{registered.pk}/probe/",
        f"company/{registered.company_id}/at-khoros/{uuid}/pause/",
        f"subscription/{registered.pk}/delete/",
    )
    for path in paths:
        assert client.post(f"{BASE}/{path}", {"post": "yes", "fetch": "1"}).status_code == 403
    assert {row["status"] for row in sandbox.subscriptions()} == {"ACTIVE"}


def test_a_page_with_an_unreadable_token_opens_and_says_what_to_do(
    admin: Client, registered: Subscription, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = ["quite another key with enough characters"]
    assert "cannot be read with the present key" in page(admin, f"company/{registered.company_id}/change/")
    assert "cannot be read with the present key" in page(admin, f"subscription/{registered.pk}/change/")
    assert "cannot be read with the present key" in act(admin, "company", "test_connection", registered.company)
    act(admin, "subscription", "rotate_token", registered)
    registered.refresh_from_db()
    assert registered.bearer_token.is_readable


def offered_first(html: str) -> list[str]:
    """What a condition may be about, without what the event does not have."""
    own, _, _ = html[html.index('name="conditions-0-0-field"') :].partition("<optgroup")
    return re.findall(r'<option value="(\w+)"', own)


def test_a_mapping_is_offered_what_its_event_knows(admin: Client, registered: Subscription) -> None:
    rule = SubscriptionFactory.create(event_name="credential-deauth", every_event=True)
    html = page(admin, f"mapping/add/?empty=1&subscription={rule.pk}")
    assert "credential_name" in html
    assert "account" in offered_first(html)
    assert "followers" not in offered_first(html)
    html = page(admin, f"mapping/add/?empty=1&subscription={registered.pk}")
    assert "followers" in offered_first(html)
    assert "account" not in offered_first(html)
    mapping = Mapping.objects.get()
    assert "What the saved mapping makes of an example" in page(admin, f"mapping/{mapping.pk}/change/")


def test_a_new_company_is_asked_for_its_labels_so_that_the_first_subscription_can_choose_one(
    admin: Client, sandbox: StandIn, queued: Any
) -> None:
    form = form_of(page(admin, "company/add/"))
    admin.post(
        f"{BASE}/company/add/",
        form | {"name": "Brand", "company_id": "42", "api_version": "v2", "new_api_token": "sandbox-khoros-token"},
    )
    company = Company.objects.get()
    assert ("integrations.jobs.read_company", company.pk) in queued()
    run_task(queue.READ_COMPANY, company.pk)
    assert '<option value="CreateCase">' in page(admin, "subscription/add/")
    assert "John Doe" in page(admin, f"company/{company.pk}/change/")


def test_who_am_i_is_asked_with_a_closing_slash_too(registered: Subscription, sandbox: StandIn) -> None:
    sandbox.add_fault("answer", api="khoros", status=404, body={}, path="/v2/whoami", times=1)
    assert check_company(registered.company)[0].is_good
    assert [call.path for call in sandbox.calls("khoros") if "whoami" in call.path][-2:] == [
        "/v2/whoami",
        "/v2/whoami/",
    ]


def test_a_subscription_by_version_1_is_healthy_and_says_what_is_assumed(
    admin: Client, sandbox: StandIn, mapping: Mapping
) -> None:
    Installation.objects.update(worker_seen_at=timezone.now())
    Company.objects.update(api_version="v1")
    Subscription.objects.update(receives_by="push")
    html = page(admin, f"subscription/{check(mapping.subscription).pk}/change/")
    assert "Healthy" in html
    assert "Casebridge assumes the subscription is still" in html
    assert "cannot be detected with version 1" in html
