"""Takes the documentation's pictures from a running portal with its sandbox. Run it with `make screenshots`.

Takes an installed Chromium or Chrome (CHROMIUM names another), else fetches Playwright's.
"""

import json
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, FloatRect, Page, Playwright, ViewportSize, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local.browser import browser_or_why_not
from local.trial import Trial

DOCUMENTS = Path(__file__).resolve().parent
PICTURES = DOCUMENTS / "pictures"
HANDBOOK = Path(__file__).resolve().parent.parent / "static" / "handbook"
SCREEN: ViewportSize = {"width": 1290, "height": 900}
MENU, BAR = 288, 66
WIDE: ViewportSize = {"width": 1360, "height": 850}
LARGE_SCREEN: ViewportSize = {"width": 1920, "height": 1080}
NARROW: ViewportSize = {"width": 400, "height": 800}
PRAISE = (
    (
        "Ann Example",
        "ann_example",
        "Suitcase lost on Sunday, back on Monday morning. Thank you, Priya!",
    ),
    ("佐藤 美咲", "misaki_sato", "返品の手続き、とても親切に教えていただきました。ありがとうございます🙏"),
    ("Jörg Müller", "jmueller", "So einen Kundendienst wünsche ich mir überall."),
    ("منى", "mona", "شكرا جزيلا على المساعدة السريعة!"),
)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Trial(Path(folder) / "data") as trial,
        sync_playwright() as playwright,
    ):
        browser = launched(playwright)
        tell_a_channel(browser, trial)
        make_history(trial)
        take_wall(browser, trial)
        take_guide(browser, trial)
        take_all(browser, trial, WIDE, "")
        take_all(browser, trial, NARROW, "-narrow")
        browser.close()


def are_shown() -> set[str]:
    """The names of the pictures that documents show; others would only go stale."""
    documents = [DOCUMENTS.parent / "README.md", *DOCUMENTS.glob("*.md")]
    return {name for path in documents for name in re.findall(r"pictures/([\w-]+)\.png", path.read_text())}


def launched(playwright: Playwright) -> Browser:
    """Raises SystemExit where there is no browser."""
    path, why_not = browser_or_why_not()
    if why_not:
        raise SystemExit(f"Without a browser this cannot be done: {why_not}.")
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def control(trial: Trial, path: str, content: dict[str, object]) -> Any:
    request = urllib.request.Request(
        trial.sandbox_url + path,
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    return json.loads(urllib.request.urlopen(request, timeout=10).read())


def sign_in(page: Page, trial: Trial) -> None:
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", trial.password)
    page.click("button[type=submit]")


def tell_a_channel(browser: Browser, trial: Trial) -> None:
    """The recipe for a message after each ticket, as a person uses it."""
    page = browser.new_page(viewport=WIDE)
    page.goto(f"{trial.url}/admin/")
    sign_in(page, trial)
    page.goto(f"{trial.url}/admin/integrations/mapping/add/")
    page.locator("section:has-text('Tell a channel about each ticket') a:has-text('CreateCase')").click()
    page.select_option("select[name=target]", label="#social-care")
    fill_in_conditions(page)
    page.click("button:has-text('Preview')")
    page.click("button:has-text('Save mapping')")
    page.wait_for_load_state()
    page.close()


def fill_in_conditions(page: Page) -> None:
    """That hold for all posts of the sandbox's inbox."""
    page.click("button:has-text('Add a group')")
    for place, field, test, value in (
        ("0-0", "network", "is", "twitter, facebook, instagram, linkedin"),
        ("1-0", "text", "matches", "(?i)giveaway|lottery"),
    ):
        page.select_option(f"select[name=conditions-{place}-field]", field)
        page.select_option(f"select[name=conditions-{place}-test]", test)
        page.fill(f"input[name=conditions-{place}-value]", value)
    page.select_option("select[name=conditions-1-match]", "none")
    # The bar at the foot of the window would cover them.
    page.set_viewport_size({"width": WIDE["width"], "height": 4000})
    page.locator("[data-conditions]").screenshot(path=PICTURES / "conditions.png")
    page.set_viewport_size(WIDE)


def make_history(trial: Trial) -> None:
    """Six tickets, one refusal, and one retry that waits."""
    control(trial, "/control/labels", {"label": "CreateCase", "post_ids": [1, 2, 3, 4, 5, 6]})
    time.sleep(3)
    control(trial, "/control/faults", {"api": "zendesk", "kind": "422_suspended", "times": 1})
    control(trial, "/control/labels", {"label": "CreateCase", "post_ids": [7]})
    time.sleep(3)
    control(trial, "/control/faults", {"api": "zendesk", "kind": "503_html", "times": 1})
    control(trial, "/control/labels", {"label": "CreateCase", "post_ids": [8]})
    control(trial, "/control/labels", {"label": "CreateCase", "post_ids": [1]})
    time.sleep(3)


def take_wall(browser: Browser, trial: Trial) -> None:
    """The wall that stands ready, with some praise, on a large screen."""
    for author, handle, text in PRAISE:
        post = control(
            trial, "/control/posts", {"network": "twitter", "author": author, "handle": handle, "text": text}
        )
        control(trial, "/control/labels", {"label": "Love", "post_ids": [post["id"]]})
    time.sleep(4)
    address = re.findall(r"^  Wall +(\S+)", trial.log.read_text(), re.MULTILINE)[-1]
    page = browser.new_page(viewport=LARGE_SCREEN, color_scheme="dark")
    page.goto(address)
    page.wait_for_selector(".post")
    page.screenshot(path=PICTURES / "wall.png")
    page.close()
    print("took wall.png")


def take_guide(browser: Browser, trial: Trial) -> None:
    """The handbook's pictures: a new integration, as a person makes one."""
    HANDBOOK.mkdir(exist_ok=True)
    page = browser.new_page(viewport=SCREEN)
    page.goto(f"{trial.url}/admin/")
    sign_in(page, trial)
    page.goto(f"{trial.url}/admin/new/")
    page.locator(".cb-choices a").first.click()
    take_part(page, "where-posts-go", 530)
    page.locator(".cb-choices a:has-text('Each post becomes a ticket')").click()
    page.fill("[name=name]", "Help desk")
    page.fill("[name=address]", "https://example.zendesk.com")
    page.fill("[name=client_id]", "casebridge")
    page.fill("[name=client_secret]", "the secret that Zendesk shows once")
    take_part(page, "zendesk", 740)
    page.go_back()
    page.locator(".cb-choices a:has-text('Zendesk')").first.click()
    page.get_by_text("Another label").click()
    page.fill("[name=label]", "Complaint")
    take_part(page, "label", 330)
    page.locator("#submit-row [name=_save]").click()
    page.wait_for_load_state()
    take_part(page, "mapping", 700)
    page.locator("#submit-row [name=_save]").click()
    page.get_by_role("button", name="Create a test ticket").click()
    take_part(page, "test", 640)
    page.close()


def take_part(page: Page, name: str, height: float) -> None:
    """What a person sees beside the menu."""
    page.wait_for_load_state("networkidle")
    clip: FloatRect = {"x": MENU, "y": BAR, "width": SCREEN["width"] - MENU, "height": height}
    page.screenshot(path=HANDBOOK / f"{name}.png", clip=clip)
    print(f"took handbook/{name}.png")


def take_all(browser: Browser, trial: Trial, size: ViewportSize, suffix: str) -> None:
    page = browser.new_page(viewport=size)
    shown, complaints = are_shown(), list[str]()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{trial.url}/admin/")
    sign_in(page, trial)
    admin = f"{trial.url}/admin/integrations"
    for name, address in {
        "overview": f"{trial.url}/admin/",
        "deliveries": f"{admin}/delivery/",
        "delivery": f"{admin}/delivery/13/change/",
        "notification": f"{admin}/notification/1/change/",
        "subscription": f"{admin}/subscription/1/change/",
        "mapping": f"{admin}/mapping/1/change/",
        "recipes": f"{admin}/mapping/add/",
        "slack": f"{trial.sandbox_url}/slack",
        "reconciliation": f"{admin}/subscription/1/reconciliation/",
        "label-tester": f"{admin}/subscription/1/query-preview/?match=label&label=CreateCase&tried=createcase",
        "alarms": f"{admin}/alarm/",
        "wall-page": f"{admin}/wall/1/change/",
    }.items():
        if f"{name}{suffix}" in shown:
            page.goto(address)
            take(page, f"{name}{suffix}")
    page.close()
    for complaint in complaints:
        print("The browser complained:", complaint)


def take(page: Page, name: str) -> None:
    """The whole page as one window: a bar that sticks to the window's foot stays at the foot."""
    page.wait_for_load_state("networkidle")
    size = page.viewport_size or WIDE
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(max(int(height), 600), 4000)})
    page.screenshot(path=PICTURES / f"{name}.png")
    page.set_viewport_size(size)
    print(f"took {name}.png")


if __name__ == "__main__":
    main()
