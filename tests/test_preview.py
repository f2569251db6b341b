"""Trying a mapping while it is edited: preview, comparison, test ticket. From the real form, with nothing saved."""

import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from integrations.connections.lists import read_account_lists
from integrations.domain.conditions import all_of
from integrations.flow.pause import pause_connections
from integrations.mapping.preview import compare_mappings, preview_choices
from integrations.models import Connection, Delivery, Mapping, Notification, NotificationContent, Subscription
from integrations.routing.route import route_notification
from tests import payloads
from tests.factories import NotificationFactory, ProbeFactory, StaffFactory
from tests.stand_in import StandIn
from tests.test_admin import form_of, page, rows

BASE = "/admin/integrations"


def press(admin: Client, path: str, button: str, value: str = "1", **typed: Any) -> str:
    """The page after a button of the form was pressed with what was typed."""
    values = form_of(page(admin, path)) | typed | {button: value}
    for name in ("action", "_selected_action", "_from_page"):
        values.pop(name, None)
    answer = admin.post(f"{BASE}/{path}", values)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def change_path(mapping: Mapping) -> str:
    return f"mapping/{mapping.pk}/change/"


def notified(subscription: Subscription, *items: dict[str, Any]) -> Notification:
    return NotificationFactory.create(subscription=subscription, content=payloads.notification(*items))


# --- Preview ---------------------------------------------------------------------------------------------------------


def test_the_preview_is_of_what_was_typed_and_saves_nothing(admin: Client, mapping: Mapping) -> None:
    read_account_lists(mapping.connection_id)
    refused = press(admin, change_path(mapping), "_preview", field_360006="many")
    assert "is not a whole number" in refused
    typed = form_of(page(admin, change_path(mapping))) | {"subject": "Typed: {{ author }}", "group_id": "101"}
    with CaptureQueriesContext(database) as queries:
        shown = admin.post(f"{BASE}/{change_path(mapping)}", typed | {"_preview": "1"}).content.decode()
    assert "Typed: " in shown
    assert "Social care (101)" in shown
    assert "agents only (internal)" in shown
    assert "the user Casebridge signs in as" in shown
    assert "This post matches the conditions." in shown
    mapping.refresh_from_db()
    assert "Typed" not in mapping.settings["subject"]
    changing = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    # Each page prolongs the session.
    written = [statement for statement in changing if "django_session" not in statement]
    assert written == []


REFUND = rows(("text", "contains", "refund"))


def test_a_real_notification_can_be_previewed_and_its_refusal_is_said(admin: Client, mapping: Mapping) -> None:
    notification = notified(mapping.subscription, payloads.item(text="My <b>parcel</b> is late"))
    route_notification(notification.pk)
    assert "My &lt;b&gt;parcel&lt;/b&gt; is late" in page(admin, change_path(mapping))
    shown = press(admin, change_path(mapping), "_preview", preview_of=str(notification.pk), **REFUND)
    assert "My &lt;b&gt;parcel&lt;/b&gt; is late" in shown
    assert "This post does not match the conditions" in shown


def test_what_would_be_left_out_is_said(admin: Client, mapping: Mapping) -> None:
    read_account_lists(mapping.connection_id)
    shown = press(admin, change_path(mapping), "_preview", field_360006="{{ author }}")
    assert "The custom field “Followers” was left out" in shown


def test_a_notification_that_cannot_be_read_any_more_is_told(admin: Client, mapping: Mapping) -> None:
    notification = notified(mapping.subscription)
    NotificationContent.objects.update(body=b"no json")
    shown = press(admin, change_path(mapping), "_preview", preview_of=str(notification.pk))
    assert "can no longer be read" in shown


def test_keep_editing_brings_the_form_back_as_it_was_typed(admin: Client, mapping: Mapping) -> None:
    shown = press(admin, change_path(mapping), "_preview", name="Typed", comment="First\n\n{{ text }}")
    answer = admin.post(f"{BASE}/{change_path(mapping)}", form_of(shown) | {"_edit": "1"})
    values = form_of(answer.content.decode())
    assert (values["name"], values["comment"]) == ("Typed", "First\n\n{{ text }}")
    assert "Not saved yet" in answer.content.decode()
    assert Mapping.objects.get().name == "To Zendesk"


def test_save_from_the_preview_saves_what_was_previewed(admin: Client, mapping: Mapping) -> None:
    read_account_lists(mapping.connection_id)
    shown = press(admin, change_path(mapping), "_preview", name="Typed", field_360001="{{ link }}", comment_public="on")
    admin.post(f"{BASE}/{change_path(mapping)}", form_of(shown) | {"_save": "1"})
    mapping.refresh_from_db()
    assert mapping.name == "Typed"
    assert mapping.settings["comment_public"] is True
    assert mapping.settings["custom_fields"] == [{"id": 360001, "value": "{{ link }}", "type": "text"}]


def test_a_mapping_that_is_not_saved_yet_can_be_previewed_compared_and_saved(
    admin: Client, subscription: Subscription, connection: Connection
) -> None:
    notified(subscription)
    path = f"mapping/add/?empty=1&subscription={subscription.pk}"
    shown = press(admin, path, "_preview", name="New")
    assert "Preview: New" in shown
    compared = press(admin, path, "_compare", name="New")
    assert "Of 1 ticket: 0 changed, 0 no longer created, 1 new, 0 unchanged." in compared
    assert not Mapping.objects.exists()
    admin.post(f"{BASE}/{path}", form_of(shown) | {"_save": "1"})
    assert Mapping.objects.get().name == "New"


# --- Comparison ------------------------------------------------------------------------------------------------------


def test_a_comparison_counts_and_shows_what_would_differ(admin: Client, mapping: Mapping) -> None:
    subscription = mapping.subscription
    mapping.conditions = all_of(("network", "is", ["twitter", "facebook"]))
    mapping.settings |= {"tags": ["{{ author }}"]}
    mapping.save()
    notified(
        subscription, payloads.item("twitter:1", text="same"), payloads.item("twitter:2", text="same", author="Ann")
    )
    notified(subscription, payloads.item("facebook:3", author="Bob"))
    notified(subscription, payloads.item("instagram:4"))
    broken = notified(subscription)
    NotificationContent.objects.filter(pk=broken.pk).update(body=b"{")
    test = notified(subscription)
    Notification.objects.filter(pk=test.pk).update(source="test")
    shown = press(
        admin, change_path(mapping), "_compare", **rows(("network", "is", "twitter, instagram")), priority="high"
    )
    assert "Of 4 tickets: 2 changed, 1 no longer created, 1 new, 0 unchanged." in shown
    assert "the last 4 notifications" in shown
    assert "1 notification that can no longer be read was left out" in shown
    assert "<td>Priority</td><td>–</td><td>high</td>" in shown
    assert "No longer created" in shown
    same = press(admin, change_path(mapping), "_compare")
    assert "Of 3 tickets: 0 changed, 0 no longer created, 0 new, 3 unchanged." in same
    assert "1 post matches neither" in same


def test_a_comparison_reads_the_newest_and_no_more_than_asked(mapping: Mapping) -> None:
    for number in range(6):
        notified(mapping.subscription, payloads.item(f"twitter:{number}"))
    edited = Mapping.objects.get()
    edited.settings |= {"priority": "high"}
    found = compare_mappings(mapping, edited, 4)
    assert (found.notifications, found.differ) == (4, 4)
    assert [difference.title.split()[0] for difference in found.shown] == [f"twitter:{n}" for n in (5, 4, 3, 2)]


def test_no_more_than_fifty_differences_are_shown(mapping: Mapping) -> None:
    for number in range(6):
        notified(mapping.subscription, *(payloads.item(f"twitter:{number}0{n}") for n in range(10)))
    edited = Mapping.objects.get()
    edited.settings |= {"priority": "high"}
    found = compare_mappings(mapping, edited, 50)
    assert (found.differ, len(found.shown), found.hidden) == (60, 50, 10)


def test_a_template_that_fails_on_one_side_is_a_difference_and_no_error(mapping: Mapping) -> None:
    notified(mapping.subscription)
    edited = Mapping.objects.get()
    edited.settings |= {"subject": "{{ nonsense }}"}
    found = compare_mappings(mapping, edited, 50)
    assert found.no_longer == 1
    assert "could not be rendered" in found.shown[0].message


def test_posts_are_only_for_those_who_may_see_the_log(client: Client, mapping: Mapping) -> None:
    notification = notified(mapping.subscription, payloads.item(text="a secret of a customer"))
    client.force_login(StaffFactory.create(may="^(view|change)_mapping$"))
    assert "_compare" not in page(client, change_path(mapping))
    shown = press(client, change_path(mapping), "_preview", preview_of=str(notification.pk))
    assert "a secret of a customer" not in shown
    values = form_of(page(client, change_path(mapping))) | {"_compare": "1"}
    assert client.post(f"{BASE}/{change_path(mapping)}", values).status_code == 403


# --- Test ticket -----------------------------------------------------------------------------------------------------


def test_a_test_ticket_is_made_once_after_a_second_press(admin: Client, mapping: Mapping, sandbox: StandIn) -> None:
    notification = notified(mapping.subscription, payloads.item("twitter:7", text="Hello"))
    asked = press(admin, change_path(mapping), "_test", "0", preview_of=str(notification.pk), subject="{{ text }}")
    assert "Yes, create the test ticket" in asked
    assert sandbox.tickets() == []
    values = form_of(asked) | {"_test_now": "0"}
    first = admin.post(f"{BASE}/{change_path(mapping)}", values).content.decode()
    second = admin.post(f"{BASE}/{change_path(mapping)}", values).content.decode()
    ticket = sandbox.tickets()[0]
    assert len(sandbox.tickets()) == 1
    assert ticket["subject"] == "[Test] Hello"
    assert ticket["external_id"] == f"khoros:test:{values['test_uuid']}"
    assert sorted(ticket["tags"]) == ["casebridge_test", "khoros"]
    assert f"Test ticket {ticket['id']} was created." in first
    assert f"/agent/tickets/{ticket['id']}" in first
    assert "already exists" in second
    assert not Delivery.objects.exists()
    noted = LogEntry.objects.filter(object_id=str(mapping.pk), change_message__contains=f"{ticket['id']} was created")
    assert noted.exists()
    mapping.refresh_from_db()
    assert mapping.settings["subject"] != "{{ text }}"


def test_a_test_whose_answer_got_lost_makes_no_second_ticket_when_it_is_repeated(
    admin: Client, mapping: Mapping, sandbox: StandIn
) -> None:
    sandbox.add_fault("hang_up_after", times=1)
    asked = form_of(press(admin, change_path(mapping), "_test", "0")) | {"_test_now": "0"}
    lost = admin.post(f"{BASE}/{change_path(mapping)}", asked).content.decode()
    assert "Pressing the button again will not create a second one" in lost
    asked_again = admin.post(f"{BASE}/{change_path(mapping)}", form_of(lost) | {"_test": "0"}).content.decode()
    shown = admin.post(f"{BASE}/{change_path(mapping)}", form_of(asked_again) | {"_test_now": "0"}).content.decode()
    assert "already exists" in shown
    assert len(sandbox.tickets()) == 1


def test_the_example_makes_one_ticket_too_though_its_time_moves(
    admin: Client, mapping: Mapping, sandbox: StandIn
) -> None:
    values = form_of(press(admin, change_path(mapping), "_test", "0", comment="{{ posted_at }}")) | {"_test_now": "0"}
    admin.post(f"{BASE}/{change_path(mapping)}", values)
    shown = admin.post(f"{BASE}/{change_path(mapping)}", values | {"comment": "other"}).content.decode()
    assert len(sandbox.tickets()) == 1
    assert "already exists" in shown


def test_a_test_ticket_of_an_unsaved_mapping_is_noted_at_its_connection(
    admin: Client, subscription: Subscription, connection: Connection, sandbox: StandIn
) -> None:
    path = f"mapping/add/?empty=1&subscription={subscription.pk}"
    asked = press(admin, path, "_test", "0", name="New")
    admin.post(f"{BASE}/{path}", form_of(asked) | {"_test_now": "0"})
    assert len(sandbox.tickets()) == 1
    assert LogEntry.objects.get(change_message__startswith="Test ticket").object_id == str(connection.pk)


def test_a_refusal_is_told_with_zendesks_own_text(admin: Client, mapping: Mapping, sandbox: StandIn) -> None:
    asked = form_of(press(admin, change_path(mapping), "_test", "0", group_id="4711")) | {"_test_now": "0"}
    shown = admin.post(f"{BASE}/{change_path(mapping)}", asked).content.decode()
    assert "Response:" in shown
    assert sandbox.tickets() == []


def test_nothing_is_sent_through_a_paused_connection(admin: Client, mapping: Mapping, sandbox: StandIn) -> None:
    pause_connections(Connection.objects.all(), "Paused.", None)
    values = form_of(press(admin, change_path(mapping), "_test", "0")) | {"_test_now": "0"}
    assert "is paused" in admin.post(f"{BASE}/{change_path(mapping)}", values).content.decode()
    assert sandbox.calls() == []


@pytest.mark.parametrize("odd", [{"test_uuid": "x"}, {"_test_now": "99"}, {"preview_of": "999999"}])
def test_an_odd_request_creates_nothing_unexpected(
    admin: Client, mapping: Mapping, sandbox: StandIn, odd: dict[str, str]
) -> None:
    values = form_of(page(admin, change_path(mapping))) | {"_test_now": "0", "test_uuid": str(uuid.uuid4())} | odd
    answer = admin.post(f"{BASE}/{change_path(mapping)}", values)
    assert answer.status_code == 200
    assert len(sandbox.tickets()) == (1 if "preview_of" in odd else 0)


def test_probes_are_not_offered(mapping: Mapping) -> None:
    ProbeFactory.create(subscription=mapping.subscription)
    notified(mapping.subscription)
    Notification.objects.update(source="test")
    assert preview_choices(mapping.subscription) == [("example", "Example post")]
    route_notification(Notification.objects.get().pk)
