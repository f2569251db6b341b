"""Three kinds of people: what each is shown, and what each may do."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from integrations.models import Delivery, Mapping, WallPost
from integrations.operations import ROLES, make_roles
from tests.factories import AlarmFactory, StaffFactory, WallFactory
from tests.test_admin import BASE, failed_delivery, form_of, page


def signed_in_as(client: Client, role: str) -> User:
    make_roles()
    person: User = StaffFactory.create()
    person.groups.add(Group.objects.get(name=role))
    client.force_login(person)
    return person


def links_of(html: str) -> list[str]:
    """Every page of the portal that this page leads to."""
    found = re.findall(r'href="(/admin/[^"#]*)"', html)
    return sorted({link.replace("&amp;", "&") for link in found if "/logout" not in link and "/jsi18n" not in link})


@pytest.fixture
def something_of_everything(portal: Any, mapping: Mapping) -> Delivery:
    WallFactory.create()
    AlarmFactory.create()
    return failed_delivery(mapping)


@pytest.mark.parametrize("role", ROLES)
def test_nobody_is_offered_a_page_that_is_not_theirs(
    client: Client, something_of_everything: Delivery, role: str
) -> None:
    signed_in_as(client, role)
    seen: set[str] = set()
    waiting = ["/admin/"]
    while waiting and len(seen) < 150:
        address = waiting.pop(0)
        if address in seen or re.search(r"[?&](_facets|o|p)=", address):
            continue
        seen.add(address)
        answer = client.get(address)
        assert answer.status_code in (200, 302), (address, answer.status_code)
        if answer.status_code == 200 and not answer.streaming and address.count("/") < 6:
            waiting += links_of(answer.content.decode())
    assert len(seen) > 15


def test_a_viewer_sees_everything_and_changes_nothing(client: Client, something_of_everything: Delivery) -> None:
    signed_in_as(client, "Viewer")
    delivery = something_of_everything
    assert 'value="retry_now"' not in page(client, f"delivery/{delivery.pk}/change/")
    for path, action in (("delivery", "cancel"), ("connection", "pause"), ("alarm", "acknowledge"), ("wall", "revoke")):
        client.post(f"{BASE}/{path}/", {"action": action, "_selected_action": [1, delivery.pk]})
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.FAILED
    assert client.get(f"{BASE}/mapping/add/").status_code == 403
    assert client.get("/admin/auth/user/").status_code == 403
    assert not WallPost.objects.filter(state="hidden").exists()


def test_an_operator_sets_up_and_repairs_but_decides_about_nobody(
    client: Client, something_of_everything: Delivery
) -> None:
    signed_in_as(client, "Operator")
    delivery = something_of_everything
    assert 'value="retry_now"' in page(client, f"delivery/{delivery.pk}/change/")
    client.post(f"{BASE}/delivery/", {"action": "cancel", "_selected_action": [delivery.pk]})
    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.CANCELLED
    for path in ("company", "subscription", "connection", "mapping", "wall"):
        assert client.get(f"{BASE}/{path}/add/").status_code == 200, path
    assert client.get("/admin/auth/user/").status_code == 403
    assert "Users" not in client.get("/admin/").content.decode()


def test_an_administrator_adds_people_by_role_without_permissions_to_pick(client: Client, portal: Any) -> None:
    signed_in_as(client, "Administrator")
    html = client.get("/admin/auth/user/add/").content.decode()
    assert "Viewer sees everything and changes nothing." in html
    viewer = Group.objects.get(name="Viewer")
    values = {
        "username": "new",
        "password1": "a long password 7",
        "password2": "a long password 7",
        "groups": [viewer.pk],
    }
    client.post("/admin/auth/user/add/", values | {"usable_password": "true"})
    person = User.objects.get(username="new")
    assert (person.is_staff, list(person.groups.all())) == (True, [viewer])
    html = client.get(f"/admin/auth/user/{person.pk}/change/").content.decode()
    assert "user_permissions" not in html
    assert "is_superuser" not in form_of(html)


def test_an_administrator_gets_no_power_over_those_who_may_do_everything(client: Client, portal: Any) -> None:
    above = User.objects.create_superuser("root", password="a long password 7")
    person = signed_in_as(client, "Administrator")
    assert client.get(f"/admin/auth/user/{above.pk}/password/").status_code in (302, 403)
    client.post(f"/admin/auth/user/{above.pk}/change/", {"username": "root", "is_active": ""})
    client.post(f"/admin/auth/user/{above.pk}/delete/", {"post": "yes"})
    client.post("/admin/auth/user/", {"action": "delete_selected", "_selected_action": [above.pk], "post": "yes"})
    above.refresh_from_db()
    assert above.is_active
    own = f"/admin/auth/user/{person.pk}/change/"
    client.post(own, form_of(client.get(own).content.decode()) | {"is_superuser": "on"})
    person.refresh_from_db()
    assert not person.is_superuser


def test_pages_that_are_not_there_or_not_theirs_are_told_within_the_portals_frame(client: Client, portal: Any) -> None:
    assert "There is no such page" in client.get("/nothing/here").content.decode()
    signed_in_as(client, "Viewer")
    for address, status, said in (
        ("/admin/integrations/delivery/4711/change/", 302, ""),
        ("/admin/nothing/", 404, "There is no such page"),
        (f"{BASE}/mapping/add/", 403, "This page is not for your role"),
    ):
        answer = client.get(address)
        assert answer.status_code == status, address
        assert said in answer.content.decode()
        assert not said or "Deliveries" in answer.content.decode(), "the menu is there"
    strict = Client(enforce_csrf_checks=True)
    assert "Nothing was changed" in strict.post("/admin/login/", {}).content.decode()


def test_everybody_can_read_the_handbook_and_each_of_its_places_exists(client: Client, portal: Any) -> None:
    signed_in_as(client, "Viewer")
    html = client.get("/admin/handbook/").content.decode()
    places, links = re.findall(r'href="#(\w+)"', html), links_of(html)
    assert len(places) > 5 < len(links)
    for place in places:
        assert f'id="{place}"' in html
    signed_in_as(client, "Administrator")
    for link in links:
        assert client.get(link).status_code in (200, 302), link


def test_somebody_without_a_role_is_told_whom_to_ask(client: Client, portal: Any) -> None:
    client.force_login(StaffFactory.create())
    assert "Ask an administrator for access" in client.get("/admin/").content.decode()


def test_the_roles_are_as_they_should_be_after_each_migration(portal: Any) -> None:
    make_roles()
    viewer = Group.objects.get(name="Viewer")
    viewer.permissions.clear()
    make_roles()
    assert {permission.codename.partition("_")[0] for permission in viewer.permissions.all()} == {"view"}
    assert Group.objects.count() == 3
