"""Starts the processes of a run, shows what they print, starts again what dies and ends everything in order.

One thread and one loop. That is not thrift: the kernel's promise to end our children when we are killed
(PR_SET_PDEATHSIG) is bound to the thread that started them, and forking with other threads around may deadlock.
"""

import contextlib
import ctypes
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from local.errors import Refusal, StopAsked
from local.output import Log
from local.processes import Known, Record, kill_group, start_of

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 10.0
# What lived shorter than this died at once, and is given more time before each new start.
AT_ONCE_SECONDS = 10.0
LONGEST_LINE = 65536
KEPT_LINES = 15
# Pressed together, or sent to a process group and passed on by make: one request, not two.
SAME_REQUEST_SECONDS = 0.5

PORTAL_STAGE = 3
SANDBOX_STAGE = 2
VALKEY_STAGE = 1
POSTGRES_STAGE = 0

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """Somebody other than root, for a program that refuses to run as root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    stage: int = PORTAL_STAGE  # higher stages are ended first
    account: Account | None = None
    stop_signal: int = signal.SIGTERM
    patience_seconds: float = 10.0
    shown: bool = True
    hidden_lines: re.Pattern[str] | None = None
    own_output: bool = False  # prints to our standard output itself, unprefixed
    before_start: Callable[[], None] = lambda: None  # before the first start and before each one after a death


@dataclass
class Child:
    program: Program
    is_step: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    dying_since: float | None = None
    delay: float = FIRST_DELAY_SECONDS
    start_again_at: float | None = None
    unfinished: bytearray = field(default_factory=bytearray)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))


class Supervisor:
    """Use as a context: on leaving it, nothing that was started in it is running any more."""

    def __init__(self, log: Log, record: Record) -> None:
        self._log = log
        self._record = record
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self._stops_asked = 0
        self._last_stop_asked = 0.0
        self._stopping = False
        self._earlier_handlers: dict[int, object] = {}
        self._wake_reader, self._wake_writer = socket.socketpair()

    def __enter__(self) -> Self:
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        self._handle(signal.SIGCHLD, lambda *_: None)
        self._handle(signal.SIGINT, self._note_stop)
        self._handle(signal.SIGTERM, self._note_stop)
        # Under nohup a closed terminal is meant to be survived.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._handle(signal.SIGHUP, self._note_stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        signal.set_wakeup_fd(-1)
        for number, handler in self._earlier_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def start(self, program: Program) -> Child:
        """Start a program that is to run until the end, and is started again if it ends by itself."""
        child = Child(program)
        self._children.append(child)
        self._spawn(child)
        return child

    def run_step(self, program: Program) -> tuple[int, list[str]]:
        """Run a program to its end: its exit code as a shell would say it, and its last lines."""
        child = Child(program, is_step=True)
        self._children.append(child)
        self._spawn(child)
        if child.process is None:
            raise Refusal(f"{program.name} could not be started: {child.last_lines[-1]}.")
        while child.process.poll() is None:
            self.pause(0.5)
        self._children.remove(child)
        code = child.process.returncode
        self._collect(child)
        return (code if code >= 0 else 128 - code), list(child.last_lines)

    def wait_until(self, ready: Callable[[], bool], child: Child, seconds: float, dying_seconds: float) -> bool:
        """Whether it became ready in time: all of it while the child lives, less when it keeps ending by itself."""
        deadline = time.monotonic() + seconds
        while not ready():
            now = time.monotonic()
            if now > deadline:
                return False
            if child.process is None and child.dying_since and now > child.dying_since + dying_seconds:
                return False
            self.pause(0.1)
        child.delay, child.dying_since = FIRST_DELAY_SECONDS, None
        return True

    def watch(self) -> None:
        """Keep everything running until somebody asks for the end."""
        while True:
            self.pause(60)

    def pause(self, seconds: float) -> None:
        """Let time pass, or less if something happens; all work is done in here."""
        self._turn(seconds)
        if self._stops_asked:
            raise StopAsked

    def stop(self) -> None:
        """End everything, later stages first; each further request to stop kills more instead of waiting for it."""
        self._stopping = True
        requests_so_far = self._stops_asked
        for child in self._children:
            child.start_again_at = None
        for stage in sorted({child.program.stage for child in self._children}, reverse=True):
            self._end([child for child in self._children if child.program.stage == stage], requests_so_far)
        self._children.clear()

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._earlier_handlers[number] = signal.getsignal(number) or signal.SIG_DFL
        signal.signal(number, handler)

    def _note_stop(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._stops_asked or now - self._last_stop_asked > SAME_REQUEST_SECONDS:
            self._stops_asked += 1
        self._last_stop_asked = now

    def _spawn(self, child: Child) -> None:
        program, account = child.program, child.program.account
        child.start_again_at = None
        child.started_at = time.monotonic()
        try:
            program.before_start()
            process = subprocess.Popen(
                list(program.command),
                stdin=subprocess.DEVNULL,
                stdout=None if program.own_output else subprocess.PIPE,
                stderr=None if program.own_output else subprocess.STDOUT,
                env=dict(program.environment),
                cwd=program.directory,
                start_new_session=True,
                preexec_fn=_end_with_us(program.stop_signal, os.getpid()),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            child.last_lines.append(str(error))
            self._note_death(child, f"could not be started ({error})")
            return
        child.process = process
        self._record.add(
            Known(program.name, process.pid, start_of(process.pid), int(program.stop_signal), program.stage)
        )
        if process.stdout:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def _turn(self, seconds: float) -> None:
        due = [child.start_again_at for child in self._children if child.start_again_at is not None]
        if due:
            seconds = max(0.0, min([seconds, min(due) - time.monotonic()]))
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_reader.recv(4096)
            else:
                self._read(key.data)
        for child in list(self._children):
            self._look_after(child)

    def _look_after(self, child: Child) -> None:
        if child.is_step:
            return
        if child.process is not None and child.process.poll() is not None:
            code = child.process.returncode
            self._collect(child)
            if not self._stopping:
                self._note_death(child, f"ended with {told(code)}")
        elif child.start_again_at is not None and time.monotonic() >= child.start_again_at:
            self._spawn(child)

    def _note_death(self, child: Child, what: str) -> None:
        if child.is_step:
            return
        now = time.monotonic()
        if now - child.started_at > AT_ONCE_SECONDS:
            child.delay, child.dying_since = FIRST_DELAY_SECONDS, None
        child.dying_since = child.dying_since or child.started_at
        child.start_again_at = now + child.delay
        self._log.say(f"{child.program.name} {what}; starting it again in {child.delay:.0f} s.")
        child.delay = min(child.delay * 2, LONGEST_DELAY_SECONDS)

    def _collect(self, child: Child) -> None:
        """Take the last output of a process that has ended, and end whatever it left in its group."""
        process, child.process = child.process, None
        if process is None:
            return
        kill_group(process.pid)
        if process.stdout and not process.stdout.closed:
            self._read_from(child, process.stdout.fileno())
            self._forget_output(process)
        if child.unfinished:
            self._take_line(child, bytes(child.unfinished))
            child.unfinished.clear()
        self._record.remove(child.program.name)

    def _read(self, child: Child) -> None:
        process = child.process
        if process and process.stdout and not self._read_from(child, process.stdout.fileno()):
            self._forget_output(process)

    def _read_from(self, child: Child, descriptor: int) -> bool:
        """Read what is there, in turns that leave the others theirs; False once nothing can come any more."""
        for _ in range(64):
            try:
                chunk = os.read(descriptor, LONGEST_LINE)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            child.unfinished += chunk
            *lines, rest = child.unfinished.split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], bytearray()
            child.unfinished = bytearray(rest)
            for line in lines:
                self._take_line(child, bytes(line))
        return True

    def _forget_output(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout and not process.stdout.closed:
            self._selector.unregister(process.stdout)
            process.stdout.close()

    def _take_line(self, child: Child, raw: bytes) -> None:
        text = raw.decode("utf-8", "replace").rstrip()
        hidden = child.program.hidden_lines
        if not text or (hidden and hidden.search(text)):
            return
        child.last_lines.append(text)
        if child.program.shown:
            self._log.line(child.program.name, text)

    def _end(self, children: list[Child], requests_so_far: int) -> None:
        asked_at = time.monotonic()
        for child in children:
            if child.process and child.process.poll() is None:
                child.process.send_signal(child.program.stop_signal)
        while running := [child for child in children if child.process and child.process.poll() is None]:
            self._turn(0.2)
            for child in running:
                waited = time.monotonic() - asked_at
                # Stopping the services properly takes a moment only, and spares the next start a recovery.
                enough = 1 if child.program.stage >= SANDBOX_STAGE else 2
                hurried = self._stops_asked - requests_so_far >= enough
                if child.process and (hurried or waited > child.program.patience_seconds):
                    self._log.say(f"{child.program.name} is killed.")
                    kill_group(child.process.pid)
                    child.process.wait()
        for child in children:
            self._collect(child)


def told(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _end_with_us(stop_signal: int, launcher: int) -> Callable[[], None]:
    """What a new process does before it becomes the program: have the kernel end it when the launcher is killed."""

    def prepare() -> None:
        if _libc is None:
            return
        _libc.prctl(PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        # Killed between the fork and the line above, the launcher would leave this process without a keeper.
        if os.getppid() != launcher:
            os._exit(1)

    return prepare
