"""The browser of the tests and of the documentation's pictures: one that is installed, else Playwright's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FETCH_SECONDS = 30
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)


def installed_browser(environment: Mapping[str, str] = os.environ) -> str:
    """The program's path: CHROMIUM's, or of what is installed; empty where there is none."""
    if given := environment.get("CHROMIUM"):
        return given
    found = [shutil.which(name, path=environment.get("PATH")) for name in NAMES]
    there = [path for path in (*found, *APPLICATIONS, _fetched()) if path and Path(path).is_file()]
    return there[0] if there else ""


def browser_or_why_not(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """(path, why there is none): fetches Playwright's where none is installed, for FETCH_SECONDS at most."""
    if path := installed_browser(environment):
        return path, ""
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    try:
        subprocess.run(command, check=True, timeout=FETCH_SECONDS, capture_output=True, env=dict(environment))
    except subprocess.TimeoutExpired:
        return "", f"no Chromium or Chrome is installed, and Playwright's was not here after {FETCH_SECONDS} s"
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        return (
            "",
            f"no Chromium or Chrome is installed, and Playwright's could not be fetched ({(said or ['?'])[-1][:200]})",
        )
    path = _fetched()
    return path, "" if path else "no Chromium or Chrome is installed, and Playwright fetched none"


def _fetched() -> str:
    """Playwright's own, where it keeps it."""
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or (
        Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ms-playwright"
    )
    shells = sorted(Path(folder).glob("chromium_headless_shell-*/chrome-*/headless_shell"))
    shells += sorted(Path(folder).glob("chromium_headless_shell-*/chrome-*/chrome-headless-shell"))
    return str(shells[-1]) if shells else ""
