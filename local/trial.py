"""A whole portal for tests, benchmarks and pictures: `make run` as a child, on free ports and its own folder."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local import ROOT
from local.settings import without_configuration

READY = re.compile(r"^Casebridge is ready\.$", re.MULTILINE)
START_SECONDS = 90


@dataclass
class Trial:
    """One portal. Starting it again with the same folder keeps its data. Its output goes to `log`."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = self.port or three_free_ports()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def password(self) -> str:
        return (self.folder / "admin-password").read_text().strip()

    def __enter__(self) -> "Trial":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts and waits until it is ready. Raises RuntimeError with the log's end when it does not come up."""
        began = self.log.stat().st_size if self.log.exists() else 0
        environment = without_configuration(os.environ) | {"PORT": str(self.port), "DATA_DIR": str(self.folder)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "run"],
                cwd=ROOT,
                env=environment | dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while not READY.search(self.log.read_text(errors="replace")[began:]):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"The portal did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of the launcher; what it started ends with it."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        self.process.wait(timeout=40)


def three_free_ports() -> int:
    """A free port whose next two are free too: the portal's, its sandbox's, and the sandbox's mail server's."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except (OSError, OverflowError):
                continue
            return port
    raise RuntimeError("No three neighbouring free ports were found.")
