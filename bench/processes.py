"""The processes of a benchmark: started in a group of their own each, and every one of them ended at the end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from local import ROOT

PATIENCE_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Started:
    """A running program with everything it forks: its process group."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """kill -9 of the program and of all it forked, at once."""
        self.signal_group(signal.SIGKILL)
        self.process.wait()

    def last_lines(self) -> str:
        return self.output.read_text(errors="replace")[-2000:]


class Processes:
    """Use as a context: on leaving it, nothing that was started in it is running any more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Started] = []
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(*reversed(self._started))

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Started:
        self._number += 1
        output = self._folder / f"{self._number:03}-{name}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_us(os.getpid()),
            )
        started = Started(name, process, output)
        self._started.append(started)
        return started

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str], seconds: float) -> str:
        """A program to its end: what it printed. Raises RuntimeError when it fails or takes longer."""
        started = self.start(name, command, environment)
        try:
            code = started.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise RuntimeError(f"{name} failed (exit code {code}):\n{started.last_lines()}")
        self.forget(started)
        return started.output.read_text(errors="replace")

    def end(self, *ended: Started) -> None:
        """Ends programs in order: asked first, killed when they take too long."""
        for started in ended:
            started.signal_group(signal.SIGCONT)
            started.process.terminate()
        until = time.monotonic() + PATIENCE_SECONDS
        for started in ended:
            with suppress(subprocess.TimeoutExpired):
                started.process.wait(max(until - time.monotonic(), 0.1))
            started.signal_group(signal.SIGKILL)
            started.process.wait()
            self.forget(started)

    def forget(self, started: Started) -> None:
        if started in self._started:
            self._started.remove(started)


def wait_until(ready: Callable[[], bool], seconds: float, what: str, started: Started | None = None) -> None:
    """Raises RuntimeError when it does not come true in time, or the program that should do it has ended."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until or (started is not None and not started.is_running()):
            raise RuntimeError(f"{what}: not within {seconds:.0f} s.\n{started.last_lines() if started else ''}")
        time.sleep(0.1)


def memory_mb(*programs: Started) -> float:
    """Proportional set size in MB of the programs with their forks: pages they share are counted once in sum."""
    return sum(_pss_kb(pid) for pid in _members({started.process.pid for started in programs})) / 1024


def _members(groups: set[int]) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if _group_of(pid) in groups]


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _end_with_us(parent: int) -> Callable[[], None]:
    """In a new process, before it becomes the program: have the kernel end it when we are killed."""

    def prepare() -> None:
        if _libc is None:
            return
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
