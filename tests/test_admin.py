"""The admin as staff use it: set up, look, repair. Over the real pages, with their real forms."""

import html as markup
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from integrations.admin import log
from integrations.connections.account import pause_unreadable
from integrations.delivery.store import store_thing
from integrations.destinations.base import Receipt
from integrations.domain.conditions import all_of
from integrations.flow.pause import pause_connections
from integrations.infra.encryption import Secret
from integrations.models import Attempt, Company, Connection, Delivery, Mapping, Notification, Subscription
from integrations.routing.route import route_notification
from tests import payloads
from tests.factories import (
    BEARER_TOKEN,
    AttemptFactory,
    ConnectionFactory,
    MappingFactory,
    NotificationFactory,
    StaffFactory,
)
from tests.stand_in import StandIn

BASE = "/admin/integrations"
State = Delivery.State


def new_delivery(mapping: Mapping, **fields: Any) -> Delivery:
    notification = NotificationFactory.create(
        subscription=mapping.subscription, content=payloads.notification(payloads.item(**fields))
    )
    route_notification(notification.pk)
    return Delivery.objects.get(notification=notification)


def failed_delivery(mapping: Mapping, **fields: Any) -> Delivery:
    delivery = new_delivery(mapping)
    Delivery.objects.filter(pk=delivery.pk).update(
        **{"state": State.FAILED, "next_attempt_at": None, "last_error": "It failed.", "was_refused": True} | fields
    )
    return delivery


def act(admin: Client, model: str, action: str, *rows: Any, **more: Any) -> str:
    data = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    answer = admin.post(f"{BASE}/{model}/", data, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def page(admin: Client, path: str) -> str:
    answer = admin.get(f"{BASE}/{path}")
    assert answer.status_code == 200, answer
    return answer.content.decode()


def form_of(html: str) -> dict[str, str]:
    """The values that a browser would send back from the page's form."""
    values = {}
    html = re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL)
    for tag in re.findall(r"<input[^>]*>", html):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        is_unticked = attributes.get("type") == "checkbox" and not re.search(r"\schecked[\s>=]", tag)
        if "name" in attributes and not is_unticked and attributes.get("type") not in ("submit", "search"):
            values[attributes["name"]] = attributes.get("value", "on" if attributes.get("type") == "checkbox" else "")
    for name, body in re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>(.*?)</textarea>', html, re.DOTALL):
        values[name] = body.strip("\r\n").replace("&quot;", '"').replace("&#x27;", "'").replace("&amp;", "&")
    for name, body in re.findall(r'<select[^>]*name="([\w-]+)"[^>]*>(.*?)</select>', html, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)"[^>]*selected', body)
        values[name] = chosen[1] if chosen else ""
    return values


def save(admin: Client, path: str, **changes: Any) -> Any:
    values = {
        k: v for k, v in form_of(page(admin, path)).items() if k not in ("action", "_selected_action", "_from_page")
    }
    values |= {name: value for name, value in changes.items() if value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        values.pop(name, None)
    return admin.post(f"{BASE}/{path}", values, follow=True)


def rows(*conditions: tuple[str, str, str]) -> dict[str, str]:
    """What the form sends for a group of these conditions: (field, test, value) each."""
    parts = ("field", "test", "value")
    return {
        f"conditions-0-{number}-{part}": value
        for number, row in enumerate(conditions)
        for part, value in zip(parts, row, strict=True)
    }


# --- Configuration ---------------------------------------------------------------------------------------------------


def test_staff_set_up_a_whole_way_from_label_to_ticket(admin: Client, sandbox: StandIn, queued: Any) -> None:
    save(admin, "company/add/", name="Brand", company_id="42", new_api_token="sandbox-khoros-token")
    save(admin, "subscription/add/", company=str(Company.objects.get().pk), label="VIP", match="label")
    save(
        admin,
        "connection/add/",
        name="Support",
        address=sandbox.url,
        sign_in="api_token",
        email="agent@example.com",
        api_token="sandbox-zendesk-token",
    )
    save(
        admin,
        "mapping/add/?empty=1",
        name="VIP",
        subscription=str(Subscription.objects.get().pk),
        connection=str(Connection.objects.get().pk),
        tags="Social_Care, {{ network }}",
        custom_fields="360001 = {{ author }}\n360003 = true",
        comment_public="on",
        **rows(("network", "is", "twitter, facebook"), ("followers", "at_least", "10")),
    )
    mapping = Mapping.objects.get()
    assert mapping.conditions == all_of(("network", "is", ["twitter", "facebook"]), ("followers", "at_least", 10))
    assert mapping.settings["tags"] == ["social_care", "{{ network }}"]
    assert mapping.settings["custom_fields"] == [{"id": 360001, "value": "{{ author }}"}, {"id": 360003, "value": True}]
    assert mapping.settings["comment_public"] is True
    assert Connection.objects.get().read_secrets() == {"api_token": "sandbox-zendesk-token"}
    assert ("integrations.jobs.check_subscription", Subscription.objects.get().pk) in queued()


def test_opening_and_saving_a_mapping_changes_nothing(admin: Client, mapping: Mapping) -> None:
    mapping.settings |= {"custom_fields": [{"id": 5, "value": ["a", "b"]}], "group_id": "7"}
    mapping.conditions = all_of(("text", "contains", ["x", "y z"]), ("followers", "at_most", 5))
    mapping.save()
    before = (mapping.settings, mapping.conditions)
    assert b"was changed successfully" in save(admin, f"mapping/{mapping.pk}/change/").content
    mapping.refresh_from_db()
    assert mapping.conditions == before[1]
    assert {k: v for k, v in mapping.settings.items() if v not in ("", [])} == {
        k: v for k, v in before[0].items() if v not in ("", [])
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("subject", "{{ nonsense }}", "There is no placeholder “nonsense”"),
        ("comment", "{{ text", "is not a placeholder"),
        ("comment", "{nonsense}", "two braces"),
        ("tags", "two words", "is not a valid tag"),
        ("tags", "bad!", "is not a valid tag"),
        ("custom_fields", "abc = 1", "is not a Zendesk ID"),
        ("custom_fields", "360001", "has no equals sign"),
        ("custom_fields", "1 = {{ nonsense }}", "There is no placeholder"),
        ("group_id", "Support", "is not a Zendesk ID"),
    ],
)
def test_wrong_input_in_a_mapping_is_refused_beside_the_field(
    admin: Client, mapping: Mapping, field: str, value: str, message: str
) -> None:
    answer = save(admin, f"mapping/{mapping.pk}/change/", **{field: value})
    errors = answer.context["adminform"].form.errors
    assert list(errors) == [field]
    assert message in str(errors[field])
    assert escape(message) in answer.content.decode()


@pytest.mark.parametrize(
    "address",
    [
        "http://example.zendesk.com",
        "https://127.0.0.1",
        "https://10.0.0.7",
        "https://[::1]",
        "https://169.254.169.254",
        "https://localhost",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::ffff:10.0.0.1]",
        "ftp://example.zendesk.com",
        "https://user@example.zendesk.com",
        "nonsense",
        "https://",
        "https://100.64.0.1",
    ],
)
def test_addresses_that_must_not_be_called_are_refused_beside_the_field(
    admin: Client, connection: Connection, settings: Any, address: str
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    answer = save(admin, f"connection/{connection.pk}/change/", address=address)
    assert list(answer.context["adminform"].form.errors) == ["address"]


def test_a_public_address_is_taken_without_its_path(admin: Client, connection: Connection, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    address = "https://example.zendesk.com/agent/dashboard"
    save(admin, f"connection/{connection.pk}/change/", address=address, api_token="entered-anew")
    connection.refresh_from_db()
    assert connection.settings["address"] == "https://example.zendesk.com"


def test_a_bad_regular_expression_of_a_subscription_is_refused_beside_the_field(
    admin: Client, subscription: Subscription
) -> None:
    answer = save(admin, f"subscription/{subscription.pk}/change/", match="expression", label="(a")
    assert list(answer.context["adminform"].form.errors) == ["label"]
    assert (
        save(admin, f"subscription/{subscription.pk}/change/", match="label", label="(a").context.get("errors") is None
    )


def test_a_label_is_needed_unless_everything_is_wanted(admin: Client, subscription: Subscription) -> None:
    path = f"subscription/{subscription.pk}/change/"
    assert list(save(admin, path, label="").context["adminform"].form.errors) == ["label"]
    save(admin, path, label="", match="everything")
    subscription.refresh_from_db()
    assert (subscription.match, subscription.label) == ("everything", "")


def test_secrets_are_write_only_and_an_empty_field_keeps_them(admin: Client, connection: Connection) -> None:
    path = f"connection/{connection.pk}/change/"
    assert "sandbox-zendesk-token" not in page(admin, path)
    save(admin, path, name="Renamed")
    connection.refresh_from_db()
    assert (connection.name, connection.read_secrets()["api_token"]) == ("Renamed", "sandbox-zendesk-token")
    save(admin, path, api_token="another-token")
    connection.refresh_from_db()
    assert connection.read_secrets()["api_token"] == "another-token"


def test_changing_the_way_to_sign_in_asks_for_what_it_needs(admin: Client, connection: Connection) -> None:
    answer = save(admin, f"connection/{connection.pk}/change/", sign_in="oauth_client")
    assert set(answer.context["adminform"].form.errors) == {"client_id", "client_secret"}


def test_new_credentials_resume_a_connection_that_a_401_had_paused(
    admin: Client, connection: Connection, queued: Any
) -> None:
    pause_connections(Connection.objects.all(), "refused", None)
    save(admin, f"connection/{connection.pk}/change/", api_token="new")
    connection.refresh_from_db()
    assert connection.paused_at is None


def test_pages_open_with_the_wrong_encryption_key_and_say_what_to_do(
    admin: Client, mapping: Mapping, settings: Any, queued: Any
) -> None:
    settings.ENCRYPTION_KEYS = ["quite another key with enough characters"]
    for path in (
        f"connection/{mapping.connection_id}/change/",
        f"subscription/{mapping.subscription_id}/change/",
        f"company/{mapping.subscription.company_id}/change/",
        "connection/",
        "company/",
    ):
        html = page(admin, path)
        assert path == "connection/" or "cannot be read with the present key: enter it again" in html
    pause_unreadable()
    assert "cannot be read" in page(admin, "connection/")
    save(admin, f"connection/{mapping.connection_id}/change/", api_token="entered-again")
    assert Connection.objects.get().read_secrets() == {"api_token": "entered-again"}
    assert Connection.objects.get().paused_at is None


@pytest.mark.parametrize("model", ["mapping", "connection", "company"])
def test_what_the_log_points_at_cannot_be_deleted(admin: Client, mapping: Mapping, model: str) -> None:
    new_delivery(mapping)
    rows = {
        "mapping": mapping,
        "connection": mapping.connection,
        "company": mapping.subscription.company,
    }
    path = f"{BASE}/{model}/{rows[model].pk}/delete/"
    for answer in (admin.get(path), admin.post(path, {"post": "yes"})):
        assert "cannot be deleted" in answer.content.decode()
    assert type(rows[model])._default_manager.filter(pk=rows[model].pk).exists()
    if model in ("mapping", "connection"):
        assert "Turn off" in admin.get(path).content.decode()
        act(admin, model, "switch_off", rows[model])
        rows[model].refresh_from_db()
        assert not getattr(rows[model], "is_active")  # noqa: B009 (only some of these models have it)


def test_an_unused_mapping_can_be_deleted(admin: Client, mapping: Mapping) -> None:
    admin.post(f"{BASE}/mapping/{mapping.pk}/delete/", {"post": "yes"})
    assert not Mapping.objects.exists()


def test_the_environments_other_secret_is_told_and_can_be_taken(
    admin: Client, subscription: Subscription, connection: Connection, settings: Any, queued: Any
) -> None:
    Company.objects.update(from_environment=True)
    Connection.objects.update(from_environment=True)
    settings.SEED = settings.SEED | {
        "api_token": "new-khoros-token",
        "zendesk_url": connection.settings["address"],
        "zendesk_email": "agent@example.com",
        "zendesk_token": "new-zendesk-token",
    }
    company = Company.objects.get()
    for model, row in (("company", company), ("connection", connection)):
        path = f"{model}/{row.pk}/change/"
        assert "hold a different secret" in page(admin, path)
        act(admin, model, "take_secret_from_environment", row)
        assert "hold a different secret" not in page(admin, path)
    assert Company.objects.get().api_token.reveal() == "new-khoros-token"
    assert Connection.objects.get().read_secrets() == {"api_token": "new-zendesk-token"}


@pytest.mark.parametrize("address", ["https://example.zendesk.com", "", "not an address"])
def test_the_environments_secret_is_not_taken_for_another_address_than_the_environments(
    admin: Client, connection: Connection, settings: Any, address: str
) -> None:
    Connection.objects.update(from_environment=True)
    settings.SEED = settings.SEED | {
        "zendesk_url": address,
        "zendesk_email": "agent@example.com",
        "zendesk_token": "new-zendesk-token",
    }
    assert "hold a different secret" not in page(admin, f"connection/{connection.pk}/change/")
    assert "for a different address" in act(admin, "connection", "take_secret_from_environment", connection)
    assert Connection.objects.get().read_secrets() == {"api_token": "sandbox-zendesk-token"}


# --- The log ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["notification", "delivery", "attempt"])
def test_history_is_read_only_delete_included(admin: Client, mapping: Mapping, model: str) -> None:
    delivery = new_delivery(mapping)
    AttemptFactory.create(delivery=delivery)
    row = {"notification": Notification, "delivery": Delivery, "attempt": Attempt}[model]._default_manager.get()
    assert admin.get(f"{BASE}/{model}/add/").status_code == 403
    assert admin.get(f"{BASE}/{model}/{row.pk}/delete/").status_code == 403
    assert admin.post(f"{BASE}/{model}/{row.pk}/change/", {"state": "cancelled"}).status_code == 403
    html = page(admin, f"{model}/")
    assert "delete_selected" not in html
    assert page(admin, f"{model}/{row.pk}/change/")


def is_ticket_4711(delivery: Delivery, url: str = "") -> None:
    store_thing(delivery, Receipt("4711", url, "created"))


def test_the_list_shows_what_staff_need(admin: Client, mapping: Mapping) -> None:
    delivery = new_delivery(mapping, author="Ann", authorScreenName="ann_b", text="My parcel is late")
    is_ticket_4711(delivery, "https://example.zendesk.com/agent/tickets/4711")
    html = page(admin, "delivery/")
    for shown in ("Delivered", "twitter", "Ann", "My parcel is late", "CreateCase", "To Zendesk", "4711"):
        assert shown in html
    assert 'href="https://example.zendesk.com/agent/tickets/4711"' in html
    assert f"{delivery.created_at:%Y-%m-%d}" in html


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("twitter:123456", True),
        ("123456", True),
        ("4711", True),
        ("#4711", True),
        ("Ann Author", True),
        ("ann author", True),
        ("PARCEL", True),
        ("twitter:12345", False),
        ("nowhere to be found", False),
        ("%", False),
        ("'; DROP TABLE", False),
    ],
)
def test_search_finds_by_post_ticket_author_and_text(
    admin: Client, mapping: Mapping, query: str, is_found: bool
) -> None:
    is_ticket_4711(new_delivery(mapping, entity_id="twitter:123456", author="Ann Author", text="My parcel is late"))
    assert ("My parcel is late" in page(admin, "delivery/?" + f"q={query.replace('#', '%23')}")) is is_found


@pytest.mark.parametrize("name", ["delivery", "notification"])
def test_a_search_says_that_it_shows_only_the_newest_of_many(
    admin: Client, mapping: Mapping, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(log, "MOST_FOUND", 2)
    for number in range(3):
        new_delivery(mapping, entity_id=f"twitter:{number}", text=f"parcel no. {number}")
    html = page(admin, f"{name}/?q=parcel")
    assert "these are the newest 2" in html
    assert [number for number in range(3) if f"parcel no. {number}" in html] == [1, 2]
    html = page(admin, f"{name}/?q=no.%201")
    assert "these are the newest" not in html
    assert "parcel no. 1" in html


def test_filters_narrow_the_list(admin: Client, mapping: Mapping) -> None:
    new_delivery(mapping, entity_id="twitter:1", text="from twitter")
    new_delivery(mapping, entity_id="facebook:2", text="from facebook")
    Delivery.objects.filter(network="facebook").update(created_at=timezone.now() - timedelta(days=40))
    for query, shown in {
        "network=facebook": "from facebook",
        "time=week": "from twitter",
        "time=older": "from facebook",
        "state__exact=pending&network=twitter": "from twitter",
        f"mapping__id__exact={mapping.pk}&network=twitter": "from twitter",
        f"connection__id__exact={mapping.connection_id}&time=hour": "from twitter",
    }.items():
        html = page(admin, f"delivery/?{query}")
        assert {text for text in ("from twitter", "from facebook") if text in html} == {shown}
    assert "from twitter" not in page(admin, "delivery/?state__exact=failed")


def test_a_deliverys_page_tells_its_story(admin: Client, sandbox: StandIn, mapping: Mapping, work: Any) -> None:
    delivery = new_delivery(mapping, text="Where <b>is</b> my parcel?", author="Ann")
    sandbox.add_fault("503_html", times=1)
    work()
    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    work()
    html = page(admin, f"delivery/{delivery.pk}/change/")
    for shown in (
        "Where &lt;b&gt;is&lt;/b&gt; my parcel?",
        "Attempt 1",
        "Attempt 2",
        "Zendesk has a problem",
        "status 503",
    ):
        assert shown in html
    assert "[removed]" in html
    assert "Nothing: the ticket exists" in html
    assert "<b>is</b>" not in html


def test_a_half_written_attempt_is_visible_as_such(admin: Client, mapping: Mapping) -> None:
    delivery = new_delivery(mapping)
    AttemptFactory.create(delivery=delivery)
    html = page(admin, f"delivery/{delivery.pk}/change/")
    assert "Not finished" in html
    assert "outcome of this attempt is unknown" in html


def test_a_post_labelled_again_shows_already_ticket_n(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any
) -> None:
    delivery = new_delivery(mapping, entity_id="twitter:5")
    work()
    again = NotificationFactory.create(
        subscription=mapping.subscription, content=payloads.notification(payloads.item("twitter:5"))
    )
    work()
    number = Delivery.objects.get().number
    assert f"already is ticket {number}" in page(admin, f"notification/{again.pk}/change/")
    assert f"already is ticket {number}" in page(admin, f"delivery/{delivery.pk}/change/")
    assert len(sandbox.tickets()) == 1


# --- Repair ----------------------------------------------------------------------------------------------------------


def test_retry_now_sends_the_same_ticket_under_the_next_key_and_names_rebuild(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any
) -> None:
    delivery = new_delivery(mapping)
    sandbox.add_fault("422", times=1)
    work()
    html = act(admin, "delivery", "retry_now", delivery)
    assert "will probably be refused again" in html
    assert "rebuild" in html
    work()
    first, second = [call for call in sandbox.calls() if call.method == "POST"]
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED
    assert LogEntry.objects.get(object_id=str(delivery.pk)).user.get_username() == "operator"


def test_retry_now_after_exhausted_tries_looks_first_and_keeps_the_key(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    delivery = new_delivery(mapping)
    sandbox.add_fault("hang_up_before", times=1, method="POST")
    sandbox.add_fault("500", times=1, method="GET")
    work()
    assert "will probably be refused" not in act(admin, "delivery", "retry_now", delivery)
    work()
    delivery.refresh_from_db()
    assert (delivery.result, len(sandbox.tickets())) == ("created", 1)
    calls = sandbox.calls()
    assert [call.method for call in calls] == ["POST", "GET", "GET", "POST"]
    assert len({call.headers["Idempotency-Key"] for call in calls if call.method == "POST"}) == 1


def test_rebuild_renders_with_todays_mapping(admin: Client, sandbox: StandIn, mapping: Mapping, work: Any) -> None:
    mapping.settings["priority"] = "wrong"
    mapping.save()
    delivery = new_delivery(mapping)
    work()
    delivery.refresh_from_db()
    assert delivery.state == State.FAILED
    mapping.settings["priority"] = "high"
    mapping.save()
    act(admin, "delivery", "rebuild", delivery)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.key_version) == (State.DELIVERED, 2)
    assert sandbox.tickets()[0]["priority"] == "high"


def test_rebuild_after_an_unknown_outcome_looks_up_before_it_sends(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any
) -> None:
    delivery = new_delivery(mapping)
    sandbox.add_fault("hang_up_after", times=1)
    work()
    act(admin, "delivery", "rebuild", delivery)
    work()
    delivery.refresh_from_db()
    assert (delivery.result, len(sandbox.tickets())) == ("found", 1)


def test_a_delivered_one_is_left_alone_by_every_action(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any
) -> None:
    delivery = new_delivery(mapping)
    work()
    number = Delivery.objects.get().number
    for action in ("retry_now", "rebuild", "cancel"):
        assert f"ticket {number}" in act(admin, "delivery", action, delivery)
    delivery.refresh_from_db()
    assert (delivery.state, len(sandbox.tickets())) == (State.DELIVERED, 1)


def test_cancel_stops_it_and_retry_now_sends_it_after_all(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any
) -> None:
    delivery = new_delivery(mapping)
    act(admin, "delivery", "cancel", delivery)
    work()
    assert (Delivery.objects.get().state, sandbox.tickets()) == (State.CANCELLED, [])
    act(admin, "delivery", "retry_now", delivery)
    work()
    assert len(sandbox.tickets()) == 1


def test_actions_take_all_that_match_the_filter(admin: Client, mapping: Mapping, queued: Any) -> None:
    for _ in range(3):
        failed_delivery(mapping)
    answer = admin.post(
        f"{BASE}/delivery/?state__exact=failed",
        {"action": "retry_now", "_selected_action": [Delivery.objects.first().pk], "select_across": "1"},  # type: ignore[union-attr]
        follow=True,
    )
    assert "3 queued to be sent now." in answer.content.decode()
    assert set(Delivery.objects.values_list("state", "tries")) == {(State.PENDING, 0)}


def test_route_again_after_a_mapping_was_made(
    admin: Client, subscription: Subscription, sandbox: StandIn, work: Any
) -> None:
    notification = NotificationFactory.create(subscription=subscription)
    work()
    notification.refresh_from_db()
    assert notification.state == Notification.State.UNMATCHED
    MappingFactory.create(subscription=subscription, connection=ConnectionFactory.create(url=sandbox.url))
    assert "1 queued to be processed again." in act(admin, "notification", "route_again", notification)
    work()
    notification.refresh_from_db()
    assert (notification.state, len(sandbox.tickets())) == (Notification.State.ROUTED, 1)
    assert "not unmatched, unreadable" in act(admin, "notification", "route_again", notification)


def test_pause_keeps_deliveries_waiting_and_resume_ends_every_pause(
    admin: Client, sandbox: StandIn, mapping: Mapping, work: Any
) -> None:
    new_delivery(mapping)
    act(admin, "connection", "pause", mapping.connection)
    work()
    assert not sandbox.calls()
    assert "Paused by operator" in page(admin, f"connection/{mapping.connection_id}/change/")
    act(admin, "connection", "resume", mapping.connection)
    pause_connections(Connection.objects.all(), "limit", 900, limited=True)
    act(admin, "connection", "resume", mapping.connection)
    work()
    assert len(sandbox.tickets()) == 1
    assert LogEntry.objects.filter(change_message="Pause").exists()


def test_someone_who_may_only_look_cannot_act(client: Client, mapping: Mapping) -> None:
    delivery = failed_delivery(mapping)
    client.force_login(StaffFactory.create(may="^view_"))
    assert b"It failed." in client.get(f"{BASE}/delivery/{delivery.pk}/change/").content
    client.post(f"{BASE}/delivery/", {"action": "retry_now", "_selected_action": [delivery.pk]})
    client.post(f"{BASE}/connection/", {"action": "pause", "_selected_action": [mapping.connection_id]})
    delivery.refresh_from_db()
    assert delivery.state == State.FAILED
    assert Connection.objects.get().paused_at is None


def test_nothing_is_done_by_get(admin: Client, mapping: Mapping) -> None:
    delivery = failed_delivery(mapping)
    for query in ("action=retry_now", f"action=cancel&_selected_action={delivery.pk}"):
        admin.get(f"{BASE}/delivery/?{query}")
    delivery.refresh_from_db()
    assert delivery.state == State.FAILED


def test_every_page_opens_for_strangers_only_at_the_login(client: Client, portal: Any) -> None:
    for path in ("", "integrations/delivery/", "integrations/connection/1/change/", "auth/user/"):
        answer = client.get(f"/admin/{path}")
        assert (answer.status_code, answer["Location"].startswith("/admin/login/")) == (302, True)


def test_secrets_never_reach_the_history(admin: Client, connection: Connection) -> None:
    save(admin, f"connection/{connection.pk}/change/", api_token="a-new-secret-token")
    told = json.dumps(list(LogEntry.objects.values_list("change_message", "object_repr")))
    assert "a-new-secret-token" not in told
    assert "a-new-secret-token" not in page(admin, f"connection/{connection.pk}/history/")


def test_the_stored_form_of_a_secret_is_not_its_text(connection: Connection) -> None:
    assert Connection.objects.filter(secrets__contains="sandbox").count() == 0
    assert Secret(connection.secrets.stored).reveal()


def test_every_page_opens_for_someone_who_may_only_look(client: Client, mapping: Mapping) -> None:
    delivery = failed_delivery(mapping)
    AttemptFactory.create(delivery=delivery)
    client.force_login(StaffFactory.create(may="^view_"))
    rows = {
        "company": mapping.subscription.company,
        "connection": mapping.connection,
        "mapping": mapping,
        "notification": delivery.notification,
        "delivery": delivery,
        "attempt": Attempt.objects.get(),
    }
    for model, row in rows.items():
        assert "sandbox-zendesk-token" not in page(client, f"{model}/")
        html = page(client, f"{model}/{row.pk}/change/")
        assert 'name="_save"' not in html
        assert 'type="password"' not in html


@pytest.mark.parametrize("path", ["connection/add/?kind=x", "mapping/add/?kind=x"])
def test_an_unknown_kind_is_not_found(admin: Client, path: str) -> None:
    assert admin.get(f"{BASE}/{path}").status_code == 404


@pytest.mark.parametrize("query", ["state__exact=%00", "q=%00", "p=99999", "p=x", "time=x", "o=9.9", "state__exact=x"])
def test_odd_questions_to_a_list_are_no_errors(admin: Client, mapping: Mapping, query: str) -> None:
    assert admin.get(f"{BASE}/delivery/?{query}", follow=True).status_code == 200


def test_a_bearer_token_can_be_entered_again(admin: Client, subscription: Subscription, settings: Any) -> None:
    path = f"subscription/{subscription.pk}/change/"
    save(admin, path, new_bearer_token="another-bearer-token")
    subscription.refresh_from_db()
    assert subscription.bearer_token.reveal() == "another-bearer-token"
    assert subscription.previous_bearer_token.reveal() == BEARER_TOKEN
    assert list(save(admin, path, new_bearer_token="short").context["adminform"].form.errors) == ["new_bearer_token"]
    settings.ENCRYPTION_KEYS = ["quite another key with enough characters"]
    save(admin, path)
    subscription.refresh_from_db()
    assert len(subscription.bearer_token.reveal()) > 30


def test_saving_a_page_leaves_alone_what_workers_wrote_meanwhile(
    admin: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = form_of(page(admin, f"connection/{connection.pk}/change/"))
    pause_connections(Connection.objects.all(), "limit", 900, limited=True)
    admin.post(f"{BASE}/connection/{connection.pk}/change/", values | {"name": "Renamed"})
    connection.refresh_from_db()
    assert (connection.name, connection.pause_reason) == ("Renamed", "limit")


def test_a_notification_with_half_an_emoji_has_its_page(admin: Client, mapping: Mapping, push: Any, work: Any) -> None:
    push(json.dumps(payloads.notification(payloads.item(text="half \ud83d of it"))).encode())
    work()
    assert "half" in page(admin, f"notification/{Notification.objects.get().pk}/change/")


# --- What a list says about its filters -------------------------------------------------------------------------------


def chips(html: str) -> list[tuple[str, str]]:
    found = re.findall(r'cb-chip"><span class="cb-quiet">([^<]+):</span> (.*?) <a class="cb-link" href="([^"]+)"', html)
    return [(f"{title}: {value}", markup.unescape(without)) for title, value, without in found]


def test_a_list_says_what_keeps_rows_out_of_it_and_offers_it_without(admin: Client, mapping: Mapping) -> None:
    failed_delivery(mapping, cause="Refused")
    MappingFactory.create(subscription=mapping.subscription, connection=mapping.connection, name="Another")
    query = f"?state__exact=failed&time=day&cause=Refused&mapping__id__exact={mapping.pk}&q=twitter"
    shown = chips(page(admin, f"delivery/{query}"))
    assert [words for words, _ in shown] == [
        "state: Failed", f"mapping: {mapping}", "time: Past 24 hours", "cause: Refused", "search: twitter",
    ]  # fmt: skip
    for words, without in shown:
        left = [other for other, _ in chips(page(admin, f"delivery/{without}"))]
        assert left == [other for other, _ in shown if other != words]
    assert chips(page(admin, "delivery/")) == []


def test_states_stand_above_the_list(admin: Client, mapping: Mapping) -> None:
    failed_delivery(mapping)
    html = page(admin, "delivery/?state__exact=failed")
    assert re.search(r'href="\?state__exact=failed" aria-current="true">Failed<', html)
    assert 'href="?state__exact=under_way">Any that is under way<' in html
    assert "Unmatched" in page(admin, "notification/")
