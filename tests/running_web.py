"""The web server as the Procfile starts it, on the tests' own PostgreSQL and Redis; strangers need no more."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from local.ports import free_port
from local.procfile import read_procfile

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30
# Long enough for the slow clients of a test to be there while others call.
REQUEST_SECONDS = 4


@dataclass(frozen=True)
class RunningWeb:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_web(folder: Path) -> Iterator[RunningWeb]:
    server = RunningWeb(free_port(set()))
    environment = os.environ | {
        "PORT": str(server.port),
        "DATA_DIR": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PUBLIC_URL": server.url,
        "REQUEST_SECONDS": str(REQUEST_SECONDS),
    }
    (folder / "static").mkdir()
    command = read_procfile(ROOT / "Procfile", environment)["web"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(server)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=40)


def _wait_for(server: RunningWeb) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib3.request("GET", f"{server.url}/healthz", retries=False)
        except urllib3.exceptions.HTTPError:
            assert time.monotonic() < until, "the web server did not start"
            time.sleep(0.1)
        else:
            return
