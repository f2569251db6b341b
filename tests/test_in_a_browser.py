"""What people do in the portal, done in a browser; and nothing on its pages keeps anybody out."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from integrations.models import Delivery, Mapping
from local.barriers import barriers
from tests.browser import PHONE, WIDE, admin_user, chromium, open_page
from tests.factories import AlarmFactory, ConnectionFactory
from tests.test_admin import failed_delivery, new_delivery

__all__ = ["admin_user", "chromium", "open_page"]

pytestmark = pytest.mark.xdist_group("browser")

OpenPage = Callable[..., Page]
PAGES = {
    "overview": "/admin/",
    "list": "/admin/integrations/delivery/",
    "story": "/admin/integrations/delivery/{delivery}/change/",
    "notification": "/admin/integrations/notification/{notification}/change/",
    "causes": "/admin/integrations/delivery/causes/",
    "form": "/admin/integrations/mapping/{mapping}/change/",
    "finding": "/admin/find/?q=ann",
    "handbook": "/admin/handbook/",
    "guide": "/admin/new/",
    "nowhere": "/admin/nowhere/",
}


@pytest.fixture
def failed(mapping: Mapping) -> Delivery:
    return failed_delivery(mapping)


def address(name: str, delivery: Delivery) -> str:
    return PAGES[name].format(delivery=delivery.pk, notification=delivery.notification_id, mapping=delivery.mapping_id)


@pytest.mark.parametrize(("size", "theme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_no_page_keeps_anybody_out(open_page: OpenPage, failed: Delivery, size: Any, theme: str) -> None:
    page = open_page("/admin/", size, theme)
    # `make axe` has all of them at both sizes.
    for name in list(PAGES)[:: 1 if size is WIDE else 2]:
        page.goto(address(name, failed))
        assert barriers(page) == [], name


def test_the_sign_in_page_keeps_nobody_out(open_page: OpenPage) -> None:
    for theme in ("light", "dark"):
        assert barriers(open_page("/admin/login/", theme=theme, sign_in=False)) == []


def test_the_first_tab_leads_past_the_menu(open_page: OpenPage, failed: Delivery) -> None:
    page = open_page("/admin/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelector('#content').contains(document.activeElement)")


def test_filters_menu_and_account_are_reached_by_keyboard(open_page: OpenPage, failed: Delivery) -> None:
    page = open_page("/admin/integrations/delivery/")
    page.get_by_role("button", name="All filters").press("Enter")
    expect(page.locator("#changelist-filter")).to_be_visible()
    page.wait_for_function("document.querySelector('#changelist-filter').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.locator("#changelist-filter")).to_be_hidden()
    page.get_by_role("button", name="operator").press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_newer_rows_come_without_losing_place_or_selection(open_page: OpenPage, mapping: Mapping) -> None:
    older = [failed_delivery(mapping) for _ in range(12)]
    page = open_page("/admin/integrations/delivery/?state=failed", {"width": 1280, "height": 400})
    page.locator(f".action-select[value='{older[3].pk}']").check()
    link = page.locator(f"a[href*='/delivery/{older[0].pk}/change/']")
    link.scroll_into_view_if_needed()
    before = link.bounding_box()
    newer = failed_delivery(mapping)
    new_delivery(mapping)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    page.get_by_role("button", name="1 newer delivery: show").click()
    expect(page.locator(f"a[href*='/delivery/{newer.pk}/change/']")).to_be_focused()
    expect(page.locator(".action-select:checked")).to_have_value(str(older[3].pk))
    expect(page.locator(".action-counter")).to_have_text("1 of 13 selected")
    page.wait_for_function(
        "([path, y]) => Math.abs(document.querySelector(`a[href*='${path}']`).getBoundingClientRect().y - y) < 2",
        arg=[f"/delivery/{older[0].pk}/change/", before["y"] if before else 0],
    )


def test_the_menu_of_a_phone_opens_by_keyboard(open_page: OpenPage, failed: Delivery) -> None:
    page = open_page("/admin/", PHONE)
    expect(page.get_by_role("link", name="Deliveries", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Menu").press("Enter")
    page.get_by_role("link", name="Deliveries", exact=True).press("Enter")
    page.wait_for_url("**/admin/integrations/delivery/")


def test_rows_are_cards_on_a_phone_in_any_list(open_page: OpenPage, failed: Delivery) -> None:
    AlarmFactory.create(message="Something needs a person. " * 20)
    page = open_page("/admin/", PHONE)
    for model in ("delivery", "notification", "alarm", "subscription", "mapping", "connection"):
        page.goto(f"/admin/integrations/{model}/")
        heights = "[...document.querySelectorAll('#result_list tbody')].map(row => row.getBoundingClientRect().height)"
        rows = page.evaluate(heights)
        assert rows, model
        assert max(rows) <= 140, model
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, model


def test_no_control_is_called_by_the_name_of_its_icon(open_page: OpenPage, failed: Delivery) -> None:
    page = open_page(address("form", failed))
    icons = ("dock_to_right", "unfold_more", "filter_list", "edit", "visibility", "add_2")
    for name in ("story", "list", "form"):
        page.goto(address(name, failed))
        tree = page.locator("body").aria_snapshot()
        assert [icon for icon in icons if f'"{icon}' in tree] == []


def test_ctrl_k_finds_a_post_and_tells_its_whole_way(open_page: OpenPage, mapping: Mapping) -> None:
    delivery = new_delivery(mapping)
    page = open_page("/admin/integrations/mapping/")
    page.keyboard.press("Control+k")
    page.keyboard.type(delivery.post_id)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/find/**")
    expect(page.locator("#content").get_by_text("Received").first).to_be_visible()


def test_a_failed_delivery_is_retried_from_the_overview_on(
    open_page: OpenPage, failed: Delivery, work: Callable[[], None]
) -> None:
    page = open_page("/admin/")
    page.get_by_role("link", name="1 delivery failed").click()
    page.get_by_role("link", name="Show it").click()
    page.locator("#result_list a").first.click()
    page.get_by_role("button", name="Retry now").click()
    expect(page.get_by_text("1 queued to be sent now.")).to_be_visible()
    work()
    page.reload()
    expect(page.locator(".cb-head-line")).to_contain_text("Delivered")


def test_only_the_fields_of_the_chosen_sign_in_are_shown(open_page: OpenPage, portal: Any) -> None:
    page = open_page("/admin/integrations/connection/add/?kind=zendesk")
    expect(page.locator("[name=client_id]")).to_be_visible()
    expect(page.locator("[name=api_token]")).to_be_hidden()
    page.select_option("[name=sign_in]", "api_token")
    expect(page.locator("[name=client_id]")).to_be_hidden()
    expect(page.locator("[name=api_token]")).to_be_visible()
    page.fill("[name=name]", "Help desk")
    page.fill("[name=address]", "https://example.zendesk.com")
    page.get_by_role("button", name="Save", exact=True).last.click()
    expect(page.locator("[name=email]")).to_be_visible()
    assert page.locator("[name=address]").input_value() == "https://example.zendesk.com"


def test_another_connection_brings_its_lists_and_keeps_what_was_typed(open_page: OpenPage, mapping: Mapping) -> None:
    other = ConnectionFactory.create(name="Other desk", url=mapping.connection.settings["address"])
    page = open_page(f"/admin/integrations/mapping/add/?empty=1&connection={mapping.connection_id}")
    page.fill("[name=subject]", "Typed before: {{ author }}")
    page.select_option("[name=connection]", str(other.pk))
    expect(page.locator("select[name=group_id] option").nth(1)).to_be_attached()
    assert page.locator("[name=subject]").input_value() == "Typed before: {{ author }}"
    assert page.locator("[name=connection]").input_value() == str(other.pk)
    expect(page.locator(".errorlist")).to_have_count(0)


def test_a_new_operator_gets_from_nothing_to_a_mapping_by_following_what_comes_next(
    open_page: OpenPage, sandbox: Any
) -> None:
    page = open_page("/admin/")
    page.get_by_role("link", name="1. Connect Khoros").click()
    page.fill("[name=name]", "Brand")
    page.fill("[name=company_id]", "42")
    page.fill("[name=new_api_token]", "sandbox-khoros-token")
    page.get_by_role("button", name="Save", exact=True).last.click()
    page.get_by_role("link", name="subscribe to a label").click()
    page.fill("[name=label]", "CreateCase")
    page.get_by_role("button", name="Save", exact=True).last.click()
    page.goto("/admin/integrations/connection/add/?kind=zendesk")
    page.select_option("[name=sign_in]", "api_token")
    page.fill("[name=name]", "Help desk")
    page.fill("[name=address]", sandbox.url)
    page.fill("[name=email]", "agent@example.com")
    page.fill("[name=api_token]", "sandbox-zendesk-token")
    page.get_by_role("button", name="Save", exact=True).last.click()
    page.get_by_role("link", name="add a mapping that uses it").click()
    page.get_by_role("link", name="Begin with an empty form").click()
    page.fill("[name=name]", "Cases")
    page.select_option("[name=subscription]", label="CreateCase")
    page.get_by_role("button", name="Save", exact=True).last.click()
    page.get_by_role("link", name="try “Cases” with a test").click()
    expect(page.locator("#content").get_by_text("Example", exact=True)).to_be_visible()
    assert Mapping.objects.get().name == "Cases"
