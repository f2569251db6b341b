"""`make test`: every check there is, in the order of what fails fastest, on services that exist for it alone."""

import contextlib
import json
import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from local import ROOT
from local.browser import browser_or_why_not
from local.data import DataFolder
from local.errors import StopAsked
from local.output import Log
from local.processes import Record
from local.run import PYTHON
from local.services import Services, start_services
from local.settings import data_dir, isolated_environment, without_libpq
from local.supervisor import Program, Supervisor

INTERRUPTED = 130


@dataclass(frozen=True)
class Workbench:
    """Services of its own, and the environment that leads to them."""

    supervisor: Supervisor
    environment: dict[str, str]

    def run(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> int:
        """The program prints to our standard output itself: those who read the log look for its own last lines."""
        program = Program(name, command, environment or self.environment, ROOT, own_output=True)
        code, _ = self.supervisor.run_step(program)
        return code


def test(arguments: Sequence[str]) -> int:
    log = Log()
    try:
        with workbench(log, durable=False) as bench:
            return _run_steps(log, bench, steps(bench.environment, arguments), "make test")
    except StopAsked:
        log.plain("Stopped before the tests were complete.")
        return INTERRUPTED


def run_on_workbench(name: str, command: Sequence[str]) -> int:
    """`make bench`: a program on services that keep data as safely as in production."""
    log = Log()
    try:
        with workbench(log, durable=True) as bench:
            return bench.run(name, command)
    except StopAsked:
        log.plain(f"Stopped before {name} was complete.")
        return INTERRUPTED


def lend_services(asker: int) -> int:
    """`python -m local services PID`: prints the environment that leads to services, and ends them with that process.

    The asker's end is seen by ours getting another parent, which no kind of death can keep from happening.
    """
    try:
        with workbench(Log(2), durable=False) as bench:
            print(json.dumps(bench.environment), flush=True)
            while os.getppid() == asker:
                bench.supervisor.pause(0.5)
    except StopAsked:
        pass
    return 0


@contextlib.contextmanager
def workbench(log: Log, *, durable: bool) -> Iterator[Workbench]:
    given = Services(os.environ.get("DATABASE_URL") or "", os.environ.get("REDIS_URL") or "")
    with (
        DataFolder(data_dir(os.environ)).temporary() as data,
        Supervisor(log, Record(data.path / "processes.json")) as supervisor,
    ):
        services = start_services(
            supervisor,
            data,
            given=given,
            database="casebridge",
            redis_database=0,
            avoid=set(),
            durable=durable,
            shown_in_log=False,
        )
        ours = os.environ if given.database_url else without_libpq(os.environ)
        yield Workbench(
            supervisor,
            isolated_environment(ours, data.path, data.secrets(), services.database_url, services.redis_url),
        )


Step = tuple[str, list[str], dict[str, str]]


def lint() -> int:
    """`make lint`: what needs neither a database nor Redis."""
    log = Log()
    try:
        with (
            DataFolder(data_dir(os.environ)).temporary() as data,
            Supervisor(log, Record(data.path / "processes.json")) as supervisor,
        ):
            # The type checker reads the settings, which ask for servers; nothing connects to them.
            environment = isolated_environment(
                os.environ, data.path, data.secrets(), "postgres://user@localhost/none", "redis://localhost"
            )
            return _run_steps(log, Workbench(supervisor, environment), lint_steps(environment), "make lint")
    except StopAsked:
        log.plain("Stopped before the checks were complete.")
        return INTERRUPTED


def _run_steps(log: Log, bench: Workbench, steps: Iterator[Step], command: str) -> int:
    for name, arguments, environment in steps:
        log.plain(f"== {name}")
        if code := bench.run(name, arguments, environment):
            log.plain(f"{command} failed at: {name} (exit code {code}).")
            return code
    return 0


def lint_steps(environment: dict[str, str]) -> Iterator[Step]:
    yield "ruff format --check", ["ruff", "format", "--check", "."], environment
    yield "ruff check", ["ruff", "check", "."], environment
    yield "mypy", ["mypy"], environment
    yield "lint-imports", ["lint-imports", "--no-logo"], environment


def steps(environment: dict[str, str], arguments: Sequence[str]) -> Iterator[Step]:
    browser, why_not = browser_or_why_not(environment)
    if why_not:
        print(f"Browser tests do not run: {why_not}.", flush=True)
    environment = environment | {"CHROMIUM": browser}
    extra = [*shlex.split(os.environ.get("PYTEST_ARGS") or ""), *arguments]
    yield from lint_steps(environment)
    yield "makemigrations --check", [PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"], environment
    deploy = [PYTHON, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    yield "check --deploy", deploy, as_in_production(environment)
    yield "pytest", [PYTHON, "-m", "pytest", "-n", "2", "--dist", "loadgroup", *extra], environment


def as_in_production(environment: dict[str, str]) -> dict[str, str]:
    only_here = ("OUTBOUND_ALLOW_PRIVATE", "LOG_FORMAT", "DEBUG")
    return {
        **{name: value for name, value in environment.items() if name not in only_here},
        "PUBLIC_URL": "https://casebridge.example.com",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ENCRYPTION_KEY": secrets.token_urlsafe(64),
    }
