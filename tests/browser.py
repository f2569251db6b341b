"""A real browser before the portal, over sockets: fixtures and signing in."""

import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from local.browser import installed_browser
from tests.factories import PASSWORD
from tests.stand_in import StandIn

WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 800}
PATIENCE_MS = 8_000


@pytest.fixture(scope="module")
def chromium(shared_sandbox: StandIn) -> Iterator[Browser]:
    """For one module, and after the sandbox: while it is there, its thread can begin no other loop of events."""
    path = installed_browser()
    if not path:
        reason = "no Chromium or Chrome is installed"
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(f"Browser tests are required, but {reason}.")
        pytest.skip(reason)
    # Playwright's loop runs in this thread: without this Django refuses to be called beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def open_page(chromium: Browser, live_server: Any, admin_user: Any) -> Iterator[Callable[..., Page]]:
    """Opens a page of the portal as a signed-in administrator; the test fails where a script does."""
    contexts, problems = [], []

    def opened(path: str, size: ViewportSize = WIDE, theme: str = "light", *, sign_in: bool = True) -> Page:
        context = chromium.new_context(
            viewport=size, color_scheme="dark" if theme == "dark" else "light", base_url=live_server.url
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        if sign_in:
            page.goto("/admin/login/?" + urlencode({"next": path}))
            page.fill("[name=username]", "operator")
            page.fill("[name=password]", PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_url(live_server.url + path)
        else:
            page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def admin_user(portal: Any, django_user_model: Any) -> Any:
    return django_user_model.objects.create_superuser("operator", "operator@example.com", PASSWORD)
