"""What people choose for themselves: a time zone, columns, and filters under a name."""

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from integrations.admin.account import MOST_SAVED
from integrations.models import Delivery, Mapping, SavedFilter, Subscription
from integrations.operations import make_roles
from tests.factories import PASSWORD
from tests.test_admin import failed_delivery, page

NOON = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
LIST = "/admin/integrations/delivery/"


def choose(client: Client, zone: str = "UTC", *columns: str) -> Any:
    shown = columns or ("went_to", "became_cell", "age", "problem")
    return client.post("/admin/account/", {"time_zone": zone, "columns": shown}, follow=True)


@pytest.mark.parametrize(
    ("moment", "zone"), [("9999-12-31T23:30Z", "Asia/Tokyo"), ("0001-01-01T00:00Z", "America/New_York")]
)
def test_a_time_at_the_end_of_the_calendar_breaks_no_page(
    admin: Client, mapping: Mapping, moment: str, zone: str
) -> None:
    choose(admin, zone)
    Subscription.objects.update(ticket_target_minutes=60)
    delivery = failed_delivery(mapping)
    Delivery.objects.update(posted_at=datetime.fromisoformat(moment))
    for path in ("delivery/", f"delivery/{delivery.pk}/change/", f"notification/{delivery.notification_id}/change/"):
        assert page(admin, path)
    assert admin.get("/admin/").status_code == 200
    answer = b"".join(admin.get(f"{LIST}csv/").streaming_content)  # type: ignore[attr-defined]
    assert delivery.post_id.encode() in answer


@pytest.fixture
def failed(mapping: Mapping) -> Delivery:
    made = failed_delivery(mapping)
    Delivery.objects.filter(pk=made.pk).update(created_at=NOON, posted_at=NOON)
    return made


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2026-03-01 12:00:05 UTC"),
        ("Europe/Berlin", "2026-03-01 13:00:05 CET"),
        ("Asia/Kathmandu", "2026-03-01 17:45:05 UTC+0545"),
    ],
)
def test_times_are_in_the_chosen_zone_on_pages_and_in_downloads(
    admin: Client, failed: Delivery, zone: str, shown: str
) -> None:
    assert choose(admin, zone).status_code == 200
    html = page(admin, f"delivery/{failed.pk}/change/")
    assert shown.partition(" ")[0] in html
    assert shown in page(admin, "delivery/"), "beside the age, for who points at it"
    answer = b"".join(admin.get(f"{LIST}csv/").streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    row = next(csv.DictReader(io.StringIO(answer)))
    assert row[f"Made ({zone})"] == shown[:19]


def test_the_zone_is_the_person_s_own_and_there_after_signing_in_again(failed: Delivery, client: Client) -> None:
    for name in ("one", "two"):
        User.objects.create_superuser(name, password=PASSWORD)
    one, two = Client(), Client()
    for name, browser in (("one", one), ("two", two)):
        browser.post("/admin/login/", {"username": name, "password": PASSWORD})
    choose(one, "Asia/Tokyo")
    again = Client()
    again.post("/admin/login/", {"username": "one", "password": PASSWORD})
    assert "JST" in again.get(f"{LIST}{failed.pk}/change/").content.decode()
    assert "JST" not in two.get(f"{LIST}{failed.pk}/change/").content.decode()


def test_what_is_no_time_zone_is_refused(admin: Client) -> None:
    answer = admin.post("/admin/account/", {"time_zone": "../../etc/passwd"})
    assert "is not one of the available choices" in answer.content.decode()


def test_what_a_webhook_stores_has_nothing_to_do_with_it(admin: Client, push: Any, work: Any, mapping: Mapping) -> None:
    choose(admin, "Asia/Tokyo")
    assert push().status_code == 200
    work()
    assert "JST" not in str(Delivery.objects.get().content.request)


def test_columns_are_left_out_for_who_chose_so(admin: Client, failed: Delivery) -> None:
    choose(admin, "UTC", "age")
    heads = re.findall(r'class="[^"]*column-(\w+)', page(admin, "delivery/"))
    assert heads == ["state_label", "post", "age"]


def save_as(client: Client, name: str, query: str, **more: str) -> str:
    answer = client.post("/admin/filters/save/", {"name": name, "query": query, **more}, follow=True)
    return answer.content.decode()


def test_filters_are_saved_under_a_name_and_replaced_by_the_same_name(admin: Client, failed: Delivery) -> None:
    assert "Save these filters under a name" in page(admin, "delivery/?state__exact=failed")
    html = save_as(admin, "To do", "state__exact=failed&p=3")
    assert "Saved as “To do”." in html
    assert '<a class="cb-link" href="?state__exact=failed">To do</a>' in html
    save_as(admin, "To do", "state__exact=held")
    assert [(one.name, one.query) for one in SavedFilter.objects.all()] == [("To do", "state__exact=held")]
    assert "Not saved" in save_as(admin, "", "state__exact=held")
    assert "Not saved" in save_as(admin, "Nothing", "p=2")


def person(role: str) -> Client:
    user = User.objects.create_user(role.lower(), password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def test_a_filter_is_one_s_own_unless_it_is_shared(portal: Any, failed: Delivery) -> None:
    make_roles()
    operator, viewer = person("Operator"), person("Viewer")
    save_as(operator, "Mine", "state__exact=failed")
    save_as(operator, "Ours", "state__exact=held", is_shared="on")
    save_as(viewer, "Not for all", "time=day", is_shared="on")
    assert (">Mine<" in (seen := viewer.get(LIST).content.decode()), ">Ours<" in seen) == (False, True)
    assert ">Not for all<" not in operator.get(LIST).content.decode(), "only operators share"
    ours = SavedFilter.objects.get(name="Ours")
    assert viewer.post(f"/admin/filters/{ours.pk}/delete/").status_code == 404
    assert "Deleted “Ours”" in operator.post(f"/admin/filters/{ours.pk}/delete/", follow=True).content.decode()


def test_one_s_own_filters_come_before_those_of_others_however_many(portal: Any, failed: Delivery) -> None:
    make_roles()
    operator, viewer = person("Operator"), person("Viewer")
    for number in range(MOST_SAVED + 5):
        save_as(operator, f"A{number}", f"state__exact=failed&cause={number}", is_shared="on")
    save_as(viewer, "Mine", "time=day")
    assert ">Mine<" in viewer.get(LIST).content.decode()


def test_what_was_shared_stays_when_its_owner_leaves_and_operators_clear_it(portal: Any, failed: Delivery) -> None:
    make_roles()
    operator, viewer = person("Operator"), person("Viewer")
    save_as(operator, "Mine", "state__exact=failed")
    save_as(operator, "Ours", "state__exact=held", is_shared="on")
    User.objects.get(username="operator").delete()
    assert [one.name for one in SavedFilter.objects.all()] == ["Ours"]
    assert ">Ours<" in viewer.get(LIST).content.decode()
    other = User.objects.create_user("other", is_staff=True)
    other.groups.add(Group.objects.get(name="Operator"))
    client = Client()
    client.force_login(other)
    assert "somebody who is gone" in client.get("/admin/account/").content.decode()
    client.post(f"/admin/filters/{SavedFilter.objects.get().pk}/delete/")
    assert not SavedFilter.objects.exists()


def test_the_zone_is_the_same_in_all_sessions_of_a_person(failed: Delivery, admin: Client) -> None:
    other = Client()
    other.force_login(User.objects.get(username="operator"))
    assert "JST" not in other.get("/admin/").content.decode()
    choose(admin, "Asia/Tokyo")
    assert "JST" in other.get("/admin/").content.decode()


def test_strangers_save_nothing(client: Client, portal: Any) -> None:
    for path in ("/admin/account/", "/admin/filters/save/", "/admin/filters/1/delete/"):
        assert client.post(path, {"name": "x", "query": "p=1", "time_zone": "UTC"}).status_code == 302
    assert not SavedFilter.objects.exists()
