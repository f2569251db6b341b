"""Plain `pytest` in a checkout: it starts what it needs, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local import ROOT
from local.processes import Known, is_running
from local.settings import without_configuration

PYTEST = ROOT / ".venv" / "bin" / "pytest"
SECONDS = 90


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts pytest as a person does, with nothing of a configuration in the environment."""

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment = without_configuration(environment) | {"DATA_DIR": str(tmp_path)}
        return subprocess.Popen([PYTEST, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    return start


def started(folder: Path) -> list[Known]:
    """The services of the run in this data folder, once both are there."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for record in folder.glob("temporary-*/processes.json"):
            known = [Known(**entry) for entry in json.loads(record.read_text())]
            if {"postgres", "valkey"} <= {each.name for each in known}:
                return known
        time.sleep(0.05)
    raise AssertionError("The services did not start.")


def test_it_starts_its_own_services_and_ends_them(run: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    process = run("tests/test_receiving.py", "-k", "stored_as_received")
    known = started(tmp_path)
    assert process.wait(SECONDS) == 0
    assert not any(is_running(each) for each in known)
    assert not list(tmp_path.glob("temporary-*"))


def test_killed_it_leaves_no_process_behind(run: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    process = run("tests/test_receiving.py")
    known = started(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait(SECONDS)
    until = time.monotonic() + SECONDS
    while (left := [each for each in known if is_running(each)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
