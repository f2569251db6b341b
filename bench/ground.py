"""The ground of a measurement: databases of its own, the portal's processes, the stand-in."""

import contextlib
import json
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
import urllib3
from psycopg import sql

from bench.load import Load, Outcome, Target, run
from bench.processes import Processes, Started, wait_until
from local import ROOT
from local.ports import free_port, is_listening
from local.procfile import read_procfile

PYTHON = sys.executable
PREFIX = f"casebridge_bench_{secrets.token_hex(4)}"
# The portal's queues are kept apart from those that the same server may hold for a portal.
REDIS_DATABASE = 9
START_SECONDS = 60.0

http = urllib3.PoolManager(retries=False, timeout=60.0)


@dataclass
class Ground:
    """Where everything runs, for the length of a `with` block of `prepared`."""

    processes: Processes
    folder: Path
    environment: dict[str, str]
    quick: bool
    admin_password: str = field(default_factory=lambda: secrets.token_hex(16))
    copies: int = 0
    _ports: set[int] = field(default_factory=set)

    def port(self) -> int:
        taken = free_port(self._ports)
        self._ports.add(taken)
        return taken

    def say(self, message: str) -> None:
        print(f"   {message}", flush=True)

    @contextlib.contextmanager
    def portal(self, zendesk: str, **environment: str) -> Iterator["Portal"]:
        """A portal on an empty database and empty queues; its processes are started by the measurement."""
        name = f"{PREFIX}_{secrets.token_hex(3)}"
        _administer(self.environment, "CREATE DATABASE {} TEMPLATE {}", name, PREFIX)
        try:
            with contextlib.ExitStack() as ending:
                redis.Redis.from_url(self.environment["REDIS_URL"]).flushdb()
                portal = Portal(self, self._portal_environment(name, environment), own=tuple(environment))
                ending.callback(portal.end)
                portal.set_up(zendesk)
                yield portal
        finally:
            _administer(self.environment, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _portal_environment(self, database: str, more: Mapping[str, str]) -> dict[str, str]:
        port = self.port()
        own = self.folder / database
        own.mkdir()
        return {
            **self.environment,
            "DATABASE_URL": with_database(self.environment["DATABASE_URL"], database),
            "PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "DATA_DIR": str(own),
            "OUTBOUND_ALLOW_PRIVATE": "true",
            "LOG_FORMAT": "json",
            **more,
        }

    @contextlib.contextmanager
    def copy_of(self, portal: "Portal") -> Iterator["Portal"]:
        """Another portal, restored from a dump of this one as it is now, with queues of its own."""
        name = f"{PREFIX}_{secrets.token_hex(3)}"
        source = urlsplit(portal.environment["DATABASE_URL"]).path.removeprefix("/")
        self.copies += 1
        redis_url = with_database(self.environment["REDIS_URL"], str(REDIS_DATABASE + self.copies))
        _administer(self.environment, "CREATE DATABASE {} TEMPLATE {}", name, source)
        try:
            redis.Redis.from_url(redis_url).flushdb()
            more = {"REDIS_URL": redis_url} | {key: portal.environment[key] for key in portal.own}
            copied = Portal(self, self._portal_environment(name, more), portal.path, portal.token, own=portal.own)
            try:
                yield copied
            finally:
                copied.end()
        finally:
            _administer(self.environment, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    @contextlib.contextmanager
    def stand_in(self, **settings: Any) -> Iterator["StandIn"]:
        """Zendesk's stand-in, without limits unless `settings` say otherwise."""
        port = self.port()
        data = self.folder / f"stand-in-{port}"
        command = [PYTHON, "-m", "sandbox", "--port", str(port), "--data", str(data)]
        started = self.processes.start("stand-in", command, self.environment)
        try:
            wait_until(lambda: is_listening(port), START_SECONDS, "the stand-in", started)
            stand_in = StandIn(f"http://127.0.0.1:{port}")
            stand_in.control("POST", "settings", {"rate_limit": 0, "index_limit": 0} | settings)
            yield stand_in
        finally:
            self.processes.end(started)


@dataclass(frozen=True)
class StandIn:
    url: str

    def control(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        answer = http.request(method, f"{self.url}/control/{path}", body=body)
        if answer.status >= 300:
            raise RuntimeError(f"the stand-in answered {answer.status} to {path}: {answer.data[:300]!r}")
        return json.loads(answer.data)

    def delay(self, milliseconds: int) -> None:
        self.control("DELETE", "faults")
        if milliseconds:
            self.control("POST", "faults", {"api": "zendesk", "kind": "delay", "seconds": milliseconds / 1000})

    def external_ids(self) -> list[str]:
        return [ticket["external_id"] for ticket in self.control("GET", "tickets")["tickets"]]

    def statuses(self) -> list[int]:
        return [call["status"] for call in self.control("GET", "requests")["requests"]]


@dataclass
class Portal:
    """One portal: its database, its environment, and those of its processes that were started."""

    ground: Ground
    environment: dict[str, str]
    path: str = ""
    token: str = ""
    started: list[Started] = field(default_factory=list)
    # Names of the variables that the measurement itself set.
    own: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        return int(self.environment["PORT"])

    @property
    def target(self) -> Target:
        return Target(self.port, self.path, self.token)

    def set_up(self, zendesk: str) -> None:
        printed = self.rows("setup", zendesk)
        made = json.loads(printed.strip().splitlines()[-1])
        self.path, self.token = made["path"], made["token"]

    def rows(self, *arguments: str) -> str:
        command = [PYTHON, "-m", "bench.rows", *arguments]
        return self.ground.processes.run("rows", command, self.environment, 120)

    def manage(self, *arguments: str) -> None:
        self.ground.processes.run(arguments[0], [PYTHON, "manage.py", *arguments], self.environment, 120)

    def start(self, *names: str) -> list[Started]:
        """Processes of the Procfile. `web` is waited for."""
        commands = read_procfile(ROOT / "Procfile", self.environment)
        programs = [self.ground.processes.start(name, commands[name], self.environment) for name in names]
        self.started += programs
        for program in programs:
            if program.name == "web":
                wait_until(lambda: is_listening(self.port), START_SECONDS, "the web process", program)
        return programs

    def start_worker(self) -> Started:
        """Waits until it takes messages: its first heartbeat is in the database."""
        self.execute("UPDATE integrations_installation SET worker_seen_at = NULL")
        [worker] = self.start("worker")
        self.wait_for_worker(worker)
        return worker

    def wait_for_worker(self, worker: Started) -> None:
        is_seen = "SELECT count(worker_seen_at) FROM integrations_installation"
        wait_until(lambda: self.number(is_seen) == 1, START_SECONDS, "the worker", worker)

    def end(self) -> None:
        self.ground.processes.end(*self.started)
        self.started.clear()

    def load(self, load: Load, acknowledged: Path | None = None) -> Outcome:
        return run(self.ground.processes, self.environment, self.target, load, acknowledged)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement, committed; the rows it returns, if any."""
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            found = connection.execute(statement.encode(), values or None)
            return found.fetchall() if found.description else []

    def number(self, statement: str, *values: Any) -> Any:
        return self.execute(statement, *values)[0][0]


@contextlib.contextmanager
def prepared(processes: Processes, folder: Path, environment: Mapping[str, str], *, quick: bool) -> Iterator[Ground]:
    """Makes the database that all others are copied from. `environment` has what `make bench` gives."""
    redis_url = with_database(environment["REDIS_URL"], str(REDIS_DATABASE))
    ground = Ground(processes, folder, dict(environment) | {"REDIS_URL": redis_url}, quick)
    _administer(environment, "CREATE DATABASE {}", PREFIX)
    try:
        release = ground._portal_environment(PREFIX, {"DJANGO_SUPERUSER_PASSWORD": ground.admin_password})
        processes.run("release", [PYTHON, "manage.py", "release", "--verbosity", "0"], release, 120)
        yield ground
    finally:
        redis.Redis.from_url(redis_url).flushdb()
        _administer(environment, "DROP DATABASE IF EXISTS {} WITH (FORCE)", PREFIX)


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _administer(environment: Mapping[str, str], statement: str, *names: str) -> None:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def closed_port() -> int:
    """A port where nobody listens."""
    return free_port(set())


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield int(server.getsockname()[1])
