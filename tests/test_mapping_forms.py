"""What an account offers, read from the sandbox; the mapping's form made of it; the check against it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from integrations.connections.lists import next_night, read_account_lists
from integrations.destinations.base import Credentials
from integrations.destinations.zendesk import schema
from integrations.destinations.zendesk.custom_fields import fitting_custom_fields
from integrations.destinations.zendesk.forms import ZendeskMappingForm
from integrations.flow.pause import pause_connections, resume_connections
from integrations.infra import queue
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.models import AccountSchema, Alarm, Connection, Delivery, Mapping, Subscription
from sandbox.ticket_rules import TYPES
from tests.alarms import update_alarms
from tests.factories import AccountSchemaFactory, AlarmFactory, OAuthConnectionFactory, StaffFactory
from tests.queues import swept
from tests.stand_in import StandIn
from tests.test_admin import form_of, new_delivery, page, save

CREDENTIALS = Credentials({"email": "agent@example.com"}, {"api_token": "sandbox-zendesk-token"})


@pytest.fixture
def known(connection: Connection) -> Connection:
    """The connection with its account's lists read."""
    assert read_account_lists(connection.pk)
    return connection


def lists_at(sandbox: StandIn) -> tuple[dict[str, Any], dict[str, str]]:
    return schema.read_lists(HttpClient(sandbox.url, 20), CREDENTIALS)


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_every_list_is_read_in_its_short_form(sandbox: StandIn) -> None:
    lists, problems = lists_at(sandbox)
    assert problems == {}
    assert {"id": 101, "name": "Social care"} in lists["groups"]
    assert {"id": 201, "name": "Example", "active": True} in lists["brands"]
    assert {"id": 406, "name": "Waiting for the network", "category": "pending", "active": True} in lists["statuses"]
    agents = {agent["name"] for agent in lists["agents"]}
    assert agents == {"Agent Example", "Second Agent"}
    assert lists["forms"][0].keys() == {"id", "name", "active", "default", "ticket_field_ids"}
    tier = next(field for field in lists["fields"] if field["id"] == 360002)
    assert (tier["type"], tier["options"][0]) == ("tagger", {"name": "VIP", "value": "vip"})


def test_a_list_that_cannot_be_read_leaves_a_sentence_and_the_others(sandbox: StandIn) -> None:
    sandbox.change_settings(offers_forms=False, offers_custom_statuses=False)
    sandbox.add_fault("answer", status=200, body="<html>", path="/api/v2/brands.json")
    lists, problems = lists_at(sandbox)
    assert set(lists) == {"cut", "groups", "fields", "agents"}
    assert "plan does not include" in problems["forms"]
    assert problems["statuses"] == "The account does not offer custom statuses (404)."
    assert "could not be read" in problems["brands"]


def test_pages_are_followed_by_cursor_and_by_number_and_never_to_another_host(sandbox: StandIn) -> None:
    many = [{"id": number, "name": f"Group {number}"} for number in range(1, 251)]
    sandbox.control("POST", "schema", {"groups": many})
    by_number = {"brands": [{"id": 1, "name": "One"}], "next_page": f"{sandbox.url}/api/v2/brands.json?page=1"}
    sandbox.add_fault("answer", body=json.dumps(by_number), path="/api/v2/brands.json", times=1)
    away = {"ticket_forms": [{"id": 1, "name": "One"}], "next_page": "https://elsewhere.example/api/v2/ticket_forms"}
    sandbox.add_fault("answer", body=json.dumps(away), path="/api/v2/ticket_forms.json", times=1)
    lists, problems = lists_at(sandbox)
    assert len(lists["groups"]) == 250
    assert {brand["id"] for brand in lists["brands"]} == {1, 201, 202}
    assert "different host" in problems["forms"]
    assert "forms" not in lists


def test_an_endless_list_is_cut_and_says_so(sandbox: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MOST_PAGES", 2)
    many = [{"id": number, "name": f"Group {number}"} for number in range(1, 251)]
    sandbox.control("POST", "schema", {"groups": many})
    lists, problems = lists_at(sandbox)
    assert (len(lists["groups"]), lists["cut"]) == (200, ["groups"])
    assert "only the first 200" in problems["groups"]
    assert schema.misfits({"group_id": "240"}, lists) == []


def test_deleted_groups_and_odd_entries_are_left_out(sandbox: StandIn) -> None:
    odd = {"groups": [{"id": 1, "name": "Gone", "deleted": True}, {"id": "x"}, 7, {"id": 2, "name": "a\u0000b"}]}
    sandbox.add_fault("answer", body=json.dumps(odd), path="/api/v2/groups/assignable.json")
    lists, _ = lists_at(sandbox)
    assert lists["groups"] == [{"id": 2, "name": "a\ufffdb"}]


def test_a_refused_sign_in_is_no_empty_account(sandbox: StandIn) -> None:
    with pytest.raises(Failure, match="rejected the sign-in"):
        schema.read_lists(HttpClient(sandbox.url, 20), Credentials({"email": "x@example.com"}, {"api_token": "wrong"}))


def test_reading_stores_the_lists_and_comes_again_the_next_night(connection: Connection) -> None:
    assert read_account_lists(connection.pk)
    kept = AccountSchema.objects.get()
    assert kept.read_at is not None
    assert kept.next_read_at is not None
    assert (kept.next_read_at.hour, kept.reading_until) == (3, None)
    assert timedelta(0) < kept.next_read_at - kept.read_at < timedelta(hours=25)


def test_the_next_night_is_the_one_to_come() -> None:
    assert next_night(datetime(2026, 5, 1, 2, 0, tzinfo=UTC)).date().day == 1
    assert next_night(datetime(2026, 5, 1, 3, 0, tzinfo=UTC)).date().day == 2


def test_a_list_that_cannot_be_read_keeps_its_earlier_content(sandbox: StandIn, known: Connection) -> None:
    sandbox.change_settings(offers_forms=False)
    assert read_account_lists(known.pk)
    kept = AccountSchema.objects.get()
    assert [form["id"] for form in kept.lists["forms"]] == [301, 302]
    assert "ticket forms" in kept.problems["forms"]
    assert kept.next_read_at is not None
    assert kept.next_read_at - timezone.now() < timedelta(hours=2, minutes=15)
    read_account_lists(known.pk)
    settled = AccountSchema.objects.get()
    assert settled.next_read_at is not None
    assert settled.next_read_at.hour == 3


def test_a_failure_keeps_everything_and_is_tried_again_in_ten_minutes(sandbox: StandIn, known: Connection) -> None:
    before = AccountSchema.objects.get()
    sandbox.add_fault("answer", status=401, body="{}")
    assert read_account_lists(known.pk)
    kept = AccountSchema.objects.annotate(now=Now()).get()
    assert (kept.lists, kept.read_at) == (before.lists, before.read_at)
    assert "rejected the sign-in" in kept.problems["account"]
    assert kept.next_read_at is not None
    assert timedelta(minutes=9) < kept.next_read_at - kept.now < timedelta(minutes=11)


def test_another_accounts_lists_are_forgotten(known: Connection, sandbox: StandIn) -> None:
    other = sandbox.url.replace("127.0.0.1", "localhost")
    Connection.objects.update(settings=known.settings | {"address": other})
    sandbox.change_settings(offers_forms=False)
    read_account_lists(known.pk)
    assert "forms" not in AccountSchema.objects.get().lists


def test_an_oauth_token_that_was_revoked_is_renewed_once(sandbox: StandIn, portal: Any) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    read_account_lists(connection.pk)
    sandbox.revoke_tokens()
    read_account_lists(connection.pk)
    assert "account" not in AccountSchema.objects.get().problems


def test_paused_connections_are_not_called_and_one_process_reads_at_a_time(
    sandbox: StandIn, connection: Connection
) -> None:
    pause_connections(Connection.objects.all(), "Paused.", None)
    assert not read_account_lists(connection.pk)
    resume_connections(Connection.objects.all())
    AccountSchemaFactory.create(connection=connection, reading_until=timezone.now() + timedelta(hours=3))
    assert not read_account_lists(connection.pk)
    assert sandbox.calls() == []


def test_the_sweep_finds_what_is_due(connection: Connection) -> None:
    assert swept(queue.READ_LISTS) == [connection.pk]
    read_account_lists(connection.pk)
    assert swept(queue.READ_LISTS) == []
    AccountSchema.objects.update(next_read_at=Now())
    assert swept(queue.READ_LISTS) == [connection.pk]


def test_saving_a_connection_and_opening_a_mapping_ask_for_a_reading(
    admin: Client, mapping: Mapping, queued: Any
) -> None:
    asked = ("integrations.jobs.read_lists", mapping.connection_id)
    page(admin, f"mapping/{mapping.pk}/change/")
    assert queued().count(asked) == 1
    read_account_lists(mapping.connection_id)
    page(admin, f"mapping/{mapping.pk}/change/")
    assert queued().count(asked) == 1
    save(admin, f"connection/{mapping.connection_id}/change/")
    assert queued().count(asked) == 2


# --- The form --------------------------------------------------------------------------------------------------------


def test_choices_show_names_and_store_numbers(admin: Client, mapping: Mapping, known: Connection) -> None:
    shown = page(admin, f"mapping/{mapping.pk}/change/")
    assert "Social care" in shown
    assert "Lists from Zendesk last read" in shown
    answer = save(
        admin,
        f"mapping/{mapping.pk}/change/",
        group_id="101",
        brand_id="202",
        ticket_form_id="302",
        assignee_id="9002",
        custom_status_id="406",
        status="open",
    )
    assert b"was changed successfully" in answer.content
    mapping.refresh_from_db()
    names = ("group_id", "brand_id", "ticket_form_id", "assignee_id", "custom_status_id")
    assert [mapping.settings[name] for name in names] == ["101", "202", "302", "9002", "406"]
    assert mapping.warnings == []
    assert mapping.checked_at is not None
    ticket = json.loads(new_delivery(mapping).request)["ticket"]
    assert ticket["custom_status_id"] == 406
    assert "status" not in ticket


def test_a_stored_number_that_is_not_in_the_lists_stays(admin: Client, mapping: Mapping, known: Connection) -> None:
    mapping.settings |= {"group_id": "4711"}
    mapping.save()
    assert "4711 (not in Zendesk&#x27;s lists)" in page(admin, f"mapping/{mapping.pk}/change/")
    save(admin, f"mapping/{mapping.pk}/change/")
    mapping.refresh_from_db()
    assert mapping.settings["group_id"] == "4711"
    assert mapping.warnings[0]["field"] == "group_id"


def test_every_active_custom_field_has_its_input(admin: Client, mapping: Mapping, known: Connection) -> None:
    answer = save(
        admin,
        f"mapping/{mapping.pk}/change/",
        field_360001="{{ link }}",
        field_360002="vip",
        field_360003="true",
        field_360005="{{ posted_at|date:%Y-%m-%d }}",
        field_360006="{{ followers }}",
        field_360008="12-34-56",
        field_360009=["topic_billing", "topic_product"],
        custom_fields="999 = further",
    )
    assert b"was changed successfully" in answer.content
    mapping.refresh_from_db()
    stored = {entry["id"]: entry for entry in mapping.settings["custom_fields"]}
    assert stored[360001] == {"id": 360001, "value": "{{ link }}", "type": "text"}
    assert stored[360003]["value"] is True
    assert stored[360008]["regexp"] == "^[0-9]+-[0-9]+-[0-9]+$"
    assert stored[360009] == {"id": 360009, "value": ["topic_billing", "topic_product"], "type": "multiselect"}
    assert stored[999] == {"id": 999, "value": "further"}
    shown = page(admin, f"mapping/{mapping.pk}/change/")
    assert "field_360011" not in shown
    assert shown.index("field_360009") < shown.index("field_360004")
    values = form_of(shown)
    assert (values["field_360002"], values["field_360003"], values["custom_fields"]) == ("vip", "true", "999 = further")


def test_fields_stored_without_their_type_load_into_their_inputs(
    admin: Client, mapping: Mapping, known: Connection
) -> None:
    old: list[dict[str, Any]] = [
        {"id": 360001, "value": "{{ author }}"},
        {"id": 360002, "value": "{{ network }}"},
        {"id": 360003, "value": False},
        {"id": 360009, "value": ["topic_billing"]},
    ]
    mapping.settings |= {"custom_fields": old}
    mapping.save()
    save(admin, f"mapping/{mapping.pk}/change/")
    mapping.refresh_from_db()
    stored = {entry["id"]: entry for entry in mapping.settings["custom_fields"]}
    assert {number: entry["value"] for number, entry in stored.items()} == {e["id"]: e["value"] for e in old}
    assert {entry["type"] for entry in stored.values()} == {"text", "tagger", "checkbox", "multiselect"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("field_360005", "tomorrow", "is not a date like 2026-04-16"),
        ("field_360006", "many", "is not a whole number"),
        ("field_360007", "much", "is not a number"),
        ("field_360008", "12", "does not match the field"),
        ("field_360001", "{{ nonsense }}", "There is no placeholder"),
        ("field_360002", "gold", "is no longer in Zendesk"),
        ("group_id", "999", "is no longer in Zendesk"),
        ("custom_fields", "360001 = x", "has its own input"),
    ],
)
def test_what_does_not_fit_is_refused_beside_its_input(
    admin: Client, mapping: Mapping, known: Connection, name: str, value: str, message: str
) -> None:
    answer = save(admin, f"mapping/{mapping.pk}/change/", **{name: value})
    assert message in answer.content.decode()
    mapping.refresh_from_db()
    assert "custom_fields" not in mapping.settings


def test_an_expression_that_cannot_be_checked_here_says_so(
    admin: Client, mapping: Mapping, sandbox: StandIn, connection: Connection
) -> None:
    sandbox.change_schema("fields", 360008, regexp_for_validation="(?=.*[0-9]).+")
    read_account_lists(connection.pk)
    assert "Casebridge cannot check this expression" in page(admin, f"mapping/{mapping.pk}/change/")
    assert b"was changed successfully" in save(admin, f"mapping/{mapping.pk}/change/", field_360008="abc").content


def test_a_page_opened_before_the_lists_were_read_loses_nothing(
    admin: Client, mapping: Mapping, connection: Connection
) -> None:
    opened = form_of(page(admin, f"mapping/{mapping.pk}/change/"))
    read_account_lists(connection.pk)
    admin.post(f"/admin/integrations/mapping/{mapping.pk}/change/", opened | {"custom_fields": "360001 = {{ author }}"})
    mapping.refresh_from_db()
    assert mapping.settings["custom_fields"] == [{"id": 360001, "value": "{{ author }}", "type": "text"}]


def test_a_field_that_vanished_while_the_page_was_open_is_kept_and_told(
    admin: Client, mapping: Mapping, known: Connection, sandbox: StandIn
) -> None:
    opened = form_of(page(admin, f"mapping/{mapping.pk}/change/")) | {"field_360001": "{{ author }}"}
    sandbox.control(
        "POST", "schema", {"fields": [field for field in sandbox.schema()["fields"] if field["id"] != 360001]}
    )
    read_account_lists(known.pk)
    admin.post(f"/admin/integrations/mapping/{mapping.pk}/change/", opened)
    mapping.refresh_from_db()
    assert mapping.settings["custom_fields"] == [{"id": 360001, "value": "{{ author }}"}]
    assert "no longer exists in Zendesk" in mapping.warnings[0]["message"]


def test_refreshing_reads_now_and_keeps_what_was_typed(
    admin: Client, mapping: Mapping, sandbox: StandIn, known: Connection
) -> None:
    sandbox.control("POST", "schema/groups/102", {"name": "Renamed just now"})
    path = f"mapping/{mapping.pk}/change/"
    values = form_of(page(admin, path)) | {"name": "Typed, not saved", "_refresh": "1"}
    shown = admin.post(f"/admin/integrations/{path}", values).content.decode()
    assert "Renamed just now" in shown
    assert 'value="Typed, not saved"' in shown
    mapping.refresh_from_db()
    assert mapping.name == "To Zendesk"


def test_a_new_mapping_is_offered_the_only_account(
    admin: Client, known: Connection, subscription: Subscription
) -> None:
    values = form_of(page(admin, f"mapping/add/?empty=1&subscription={subscription.pk}"))
    assert values["connection"] == str(known.pk)
    assert "field_360001" in values


def test_who_may_only_look_sees_no_buttons(client: Client, mapping: Mapping) -> None:
    client.force_login(StaffFactory.create(may="^view_mapping$"))
    shown = page(client, f"mapping/{mapping.pk}/change/")
    assert "Refresh" not in shown
    assert "_preview" not in shown
    assert "What the saved mapping makes of an example" in shown
    answer = client.post(f"/admin/integrations/mapping/{mapping.pk}/change/", {"_preview": "1"})
    assert answer.status_code == 403


# --- What fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "author", "sent"),
    [
        ({"type": "integer", "value": "{{ author }}"}, " 12 ", "12"),
        ({"type": "integer", "value": "{{ author }}"}, "twelve", None),
        ({"type": "decimal", "value": "{{ author }}"}, "1.5", "1.5"),
        ({"type": "date", "value": "{{ author }}"}, "2026-02-30", None),
        ({"type": "date", "value": "{{ author }}"}, "2026-02-28", "2026-02-28"),
        ({"type": "regexp", "value": "{{ author }}", "regexp": "^[a-z]+$"}, "ann", "ann"),
        ({"type": "regexp", "value": "{{ author }}", "regexp": "^[a-z]+$"}, "Ann", None),
        ({"type": "regexp", "value": "{{ author }}", "regexp": "(?=x)"}, "Ann", "Ann"),
        ({"type": "text", "value": "{{ author }}"}, "", None),
        ({"type": "text", "value": "{{ author }}"}, "{{ x }}", "{ { x }}"),
        ({"type": "multiselect", "value": ["a", "{{ author }}"]}, "", ["a"]),
        ({"value": "{{ author }}"}, "", ""),
    ],
)
def test_a_rendered_value_that_does_not_fit_its_type_is_left_out(field: Any, author: str, sent: Any) -> None:
    found, remarks = fitting_custom_fields([{"id": 7, **field}], {"author": author})
    assert found == ([] if sent is None else [{"id": 7, "value": sent}])
    assert bool(remarks) is (sent is None)


# --- The check -------------------------------------------------------------------------------------------------------


LISTS = {
    "cut": [],
    "groups": [{"id": 1, "name": "Care"}],
    "brands": [{"id": 1, "name": "Old", "active": False}],
    "forms": [{"id": 1, "name": "Social", "active": True, "default": False, "ticket_field_ids": [10]}],
    "agents": [{"id": 1, "name": "Ann", "active": True, "suspended": True}],
    "statuses": [{"id": 1, "name": "Waiting", "category": "pending", "active": False}],
    "fields": [
        {"id": 10, "type": "tagger", "title": "Tier", "active": True, "required": False, "regexp": "",
         "options": [{"name": "VIP", "value": "vip"}]},
        {"id": 11, "type": "regexp", "title": "Order", "active": True, "required": False, "regexp": "^[0-9]+$",
         "options": []},
        {"id": 12, "type": "text", "title": "Hotline", "active": False, "required": False, "regexp": "", "options": []},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_id": "1"}, None),
        ({"group_id": "2"}, "The group 2 no longer exists in Zendesk"),
        ({"brand_id": "1"}, "“Old” is no longer active"),
        ({"assignee_id": "1"}, "“Ann” is suspended"),
        ({"custom_status_id": "1"}, "“Waiting” is no longer active"),
        ({"ticket_form_id": "9"}, "The form 9 no longer exists"),
        ({"custom_fields": [{"id": 10, "value": "vip"}], "ticket_form_id": "1"}, None),
        ({"custom_fields": [{"id": 11, "value": "5"}], "ticket_form_id": "1"}, "is not on the form “Social”"),
        ({"custom_fields": [{"id": 10, "value": "gold"}]}, "the option “gold” no longer exists"),
        ({"custom_fields": [{"id": 10, "value": "{{ network }}"}]}, None),
        ({"custom_fields": [{"id": 10, "value": "vip", "type": "text"}]}, "type from text to tagger"),
        ({"custom_fields": [{"id": 11, "value": "abc", "type": "regexp"}]}, "does not match"),
        ({"custom_fields": [{"id": 12, "value": "x"}]}, "is inactive"),
        ({"custom_fields": [{"id": 99, "value": "x"}]}, "The custom field 99 no longer exists"),
    ],
)
def test_what_no_longer_fits_is_said(settings: dict[str, Any], message: str | None) -> None:
    found = [entry["message"] for entry in schema.misfits(settings, LISTS)]
    assert len(found) == (0 if message is None else 1)
    assert message is None or message in found[0]
    assert schema.misfits(settings, {}) == []


def test_after_every_reading_mappings_are_checked_shown_and_mailed(
    admin: Client, mapping: Mapping, known: Connection, sandbox: StandIn, settings: Any
) -> None:
    settings.ALERT_EMAILS = ["team@example.com"]
    save(admin, f"mapping/{mapping.pk}/change/", group_id="102")
    sandbox.change_schema("groups", 102, deleted=True)
    read_account_lists(known.pk)
    message = "The group 102 no longer exists in Zendesk"
    assert message in page(admin, f"mapping/{mapping.pk}/change/")
    assert "1 to fix" in page(admin, "mapping/")
    update_alarms()
    alarm = Alarm.objects.get()
    assert (alarm.kind, alarm.mapping) == (Alarm.Kind.MAPPING, mapping)
    assert message in admin.get("/admin/").content.decode()
    assert mapping.name in page(admin, f"alarm/{alarm.pk}/change/")
    assert f"/admin/integrations/mapping/{mapping.pk}/change/" in str(mail.outbox[0].body)
    save(admin, f"mapping/{mapping.pk}/change/", group_id="101")
    update_alarms()
    assert Alarm.objects.get().ended_at is not None


def test_a_switched_off_mapping_raises_no_alarm(mapping: Mapping) -> None:
    Mapping.objects.update(warnings=[{"field": "group_id", "message": "Gone."}], is_active=False)
    update_alarms()
    assert not Alarm.objects.exists()


def test_alarms_about_a_connection_have_their_links(admin: Client, connection: Connection) -> None:
    alarm = AlarmFactory.create(connection=connection)
    assert f"/admin/integrations/connection/{connection.pk}/change/" in page(admin, f"alarm/{alarm.pk}/change/")


def test_what_the_account_dropped_is_shown_with_its_delivery(admin: Client, mapping: Mapping) -> None:
    delivery: Delivery = new_delivery(mapping)
    Mapping.objects.update(dropped="unpermitted_keys: <b>", dropped_at=Now(), dropped_on=delivery.pk)
    shown = page(admin, f"mapping/{mapping.pk}/change/")
    assert "unpermitted_keys: &lt;b&gt;" in shown
    assert f"/admin/integrations/delivery/{delivery.pk}/change/" in shown


def test_a_deliverys_page_shows_names(admin: Client, mapping: Mapping, known: Connection) -> None:
    mapping.settings |= {"group_id": "101", "custom_fields": [{"id": 360002, "value": "vip"}]}
    mapping.save()
    shown = page(admin, f"delivery/{new_delivery(mapping).pk}/change/")
    assert "Social care (101)" in shown
    assert "Customer tier (field 360002)" in shown


def test_the_types_to_choose_from_are_those_that_zendesk_takes() -> None:
    offered = [value for value, _ in ZendeskMappingForm.base_fields["type"].choices]  # type: ignore[attr-defined]
    assert offered == ["", *TYPES]
