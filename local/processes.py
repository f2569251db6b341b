"""Who the processes of a run are, so that the next run can end what a killed one left behind and nothing else.

A process is known by its id together with the moment it started: ids are given again, the pair is not.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PATIENCE_SECONDS = 10.0


class Known(NamedTuple):
    name: str
    pid: int
    started: str
    stop_signal: int
    stage: int


def start_of(pid: int) -> str:
    """When the process started, in a form to compare; empty where no such process is running."""
    if sys.platform == "linux":
        return _start_from_proc(pid)
    answer = subprocess.run(
        ["ps", "-o", "lstart=,stat=", "-p", str(pid)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    started, _, state = answer.stdout.strip().rpartition(" ")
    return "" if state.startswith("Z") else started.strip()


def _start_from_proc(pid: int) -> str:
    try:
        # The name in parentheses may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    state, ticks = fields[0], fields[19]
    # A zombie does nothing any more, and in some containers nobody ever collects it.
    return "" if state in "ZX" else f"{ticks}@{boot}"


def command_of(pid: int) -> str:
    """The name of the program that runs under this id; empty where none does."""
    if not start_of(pid):
        return ""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
        return ""
    answer = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def is_running(known: Known) -> bool:
    return start_of(known.pid) == known.started


class Record:
    """The processes of this run, in a file that is there exactly while there are any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Known] = {}

    def add(self, known: Known) -> None:
        self._known[known.name] = known
        self._write()

    def remove(self, name: str) -> None:
        if self._known.pop(name, None):
            self._write()

    def read(self) -> list[Known]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            return [Known(**entry) for entry in entries]
        except (OSError, ValueError, TypeError):
            return []

    def forget(self) -> None:
        self._known.clear()
        self._write()

    def _write(self) -> None:
        if not self._known:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps([known._asdict() for known in self._known.values()]), encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(self._path)


def end_leftovers(record: Record, say: Callable[[str], None], pause: Callable[[float], None]) -> bool:
    """End what an earlier run left, in the order of a normal end. Whether there may have been anything is returned."""
    remembered = record.read()
    alive = [known for known in remembered if is_running(known)]
    if alive:
        say(f"Ending what a killed run left behind: {', '.join(known.name for known in alive)}.")
    for stage in sorted({known.stage for known in alive}, reverse=True):
        _end([known for known in alive if known.stage == stage], pause)
    record.forget()
    return bool(remembered)


def _end(stage: list[Known], pause: Callable[[float], None]) -> None:
    for known in stage:
        if is_running(known):
            with contextlib.suppress(ProcessLookupError):
                os.kill(known.pid, known.stop_signal)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(is_running(known) for known in stage) and time.monotonic() < deadline:
        pause(0.1)
    for known in stage:
        if is_running(known):
            kill_group(known.pid)


def kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
