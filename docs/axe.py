"""Looks for what keeps people from using a page, on every page that links lead to. Run it with `make axe`.

Each page is opened at two widths and in both themes, with data of the sandbox, and examined by axe
(https://github.com/dequelabs/axe-core). Ends with 1 where anything serious or critical was found.

With `--pictures FOLDER` a picture of each is kept there, to be looked at.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from screenshots import NARROW, WIDE, control, launched, make_history, sign_in

from local.barriers import barriers
from local.trial import Trial

SIZES: tuple[ViewportSize, ...] = (WIDE, NARROW)
THEMES = ("light", "dark")
# What ends the session, is no page, or would never end.
LEFT_OUT = re.compile(r"/(logout|jsi18n|csv|admin/r/\d+)(/|$)")


def main() -> int:
    parser = argparse.ArgumentParser(description="Opens every page, and says what keeps people out.")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each page")
    pictures: Path | None = parser.parse_args().pictures
    with (
        tempfile.TemporaryDirectory() as folder,
        Trial(Path(folder) / "data") as trial,
        sync_playwright() as playwright,
    ):
        browser = launched(playwright)
        make_history(trial)
        control(trial, "/control/labels", {"label": "Love", "post_ids": [2, 3]})
        paths: list[str] = []
        found: dict[str, set[str]] = {}
        for theme in THEMES:
            for size in SIZES:
                page = _signed_in(browser, trial, size, theme)
                paths = paths or _all_pages(page, trial)
                for path in paths:
                    page.goto(trial.url + path)
                    for barrier in barriers(page):
                        found.setdefault(barrier, set()).add(f"{path} ({theme}, {size['width']} px)")
                    if pictures:
                        _keep(page, pictures / f"{theme}-{size['width']}", path)
                page.close()
        browser.close()
    for barrier, places in sorted(found.items()):
        print(f"{barrier}\n    on {len(places)}: {', '.join(sorted(places)[:3])}")
    print(f"{len(paths)} pages, each at {len(SIZES)} widths and in {len(THEMES)} themes: {len(found)} barriers.")
    return 1 if found else 0


def _signed_in(browser: Browser, trial: Trial, size: ViewportSize, theme: str) -> Page:
    page = browser.new_page(viewport=size, color_scheme="dark" if theme == "dark" else "light")
    page.goto(f"{trial.url}/admin/")
    sign_in(page, trial)
    page.wait_for_url(f"{trial.url}/admin/")
    return page


def _all_pages(page: Page, trial: Trial) -> list[str]:
    """Of pages that differ in numbers or filters alone, one."""
    known: dict[str, str] = {}
    waiting = ["/admin/", "/admin/find/?q=ann", "/admin/nowhere/"]
    while waiting:
        path = waiting.pop(0)
        kind = re.sub(r"\d+", "N", urlsplit(path).path)
        if kind in known or LEFT_OUT.search(path):
            continue
        known[kind] = path
        answer = page.goto(trial.url + path)
        if answer is None or "text/html" not in answer.headers.get("content-type", ""):
            del known[kind]
            continue
        links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
        waiting += [link.removeprefix(trial.url) for link in links if link.startswith(f"{trial.url}/admin/")]
    return sorted(known.values())


def _keep(page: Page, folder: Path, path: str) -> None:
    """As far down as a person scrolls at most."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", path.removeprefix("/admin").lower()).strip("-") or "overview"
    page.screenshot(path=folder / f"{name[:80]}.png", full_page=True)


if __name__ == "__main__":
    raise SystemExit(main())
