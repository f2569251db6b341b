"""`make run`: the whole portal on this machine, from nothing to a login, and back to nothing on Ctrl-C."""

import http.client
import os
import time
from collections.abc import Mapping

from local import ROOT
from local.data import DataFolder, shown
from local.errors import Refusal, StopAsked
from local.output import Log
from local.ports import LOOPBACK, is_listening, wait_for_port
from local.processes import Record, end_leftovers
from local.procfile import read_procfile
from local.services import Services, start_services
from local.settings import Settings, portal_environment, read_settings, without_libpq
from local.supervisor import SANDBOX_STAGE, Child, Program, Supervisor

PYTHON = str(ROOT / ".venv" / "bin" / "python")
LEFTOVER_SECONDS = 8.0
SHORT_SECONDS = 1.0
READY_SECONDS = 60.0
DYING_SECONDS = 20.0
WORKER_SECONDS = 20.0


def run() -> int:
    settings = read_settings(os.environ)
    log = Log()
    data = DataFolder(settings.data_dir)
    with data.locked():
        record = Record(data.path / "processes.json")
        try:
            with Supervisor(log, record) as supervisor:
                prepare_ground(supervisor, record, log, settings)
                start_everything(supervisor, data, log, settings)
                supervisor.watch()
        except StopAsked:
            log.say("Stopped.")
    return 0


def prepare_ground(supervisor: Supervisor, record: Record, log: Log, settings: Settings) -> None:
    killed_before = end_leftovers(record, log.say, supervisor.pause)
    patience = LEFTOVER_SECONDS if killed_before else SHORT_SECONDS
    wait_for_port("PORT", settings.port, patience, supervisor.pause)
    if settings.sandbox_on:
        wait_for_port("SANDBOX_PORT", settings.sandbox_port, patience, supervisor.pause)
        wait_for_port("SANDBOX_MAIL_PORT", settings.mail_port, patience, supervisor.pause)


def start_everything(supervisor: Supervisor, data: DataFolder, log: Log, settings: Settings) -> None:
    if settings.sandbox_off_because:
        log.say(f"The sandbox is off: {settings.sandbox_off_because}.")
    if not settings.database_url:
        data.check_tables()
        data.note_tables()
    services = start_services(
        supervisor,
        data,
        given=Services(settings.database_url, settings.redis_url),
        # What is played through in the sandbox never mixes with real data.
        database="casebridge_sandbox" if settings.sandbox_on else "casebridge",
        redis_database=1 if settings.sandbox_on else 0,
        avoid={settings.port, settings.sandbox_port, settings.mail_port},
    )
    ours = os.environ if settings.database_url else without_libpq(os.environ)
    environment = portal_environment(ours, settings, data.secrets(), services.database_url, services.redis_url)
    commands = read_procfile(ROOT / "Procfile", environment)
    if "web" not in commands:
        raise Refusal("The Procfile names no web process.")
    if settings.sandbox_on:
        start_sandbox(supervisor, data, settings, environment)
    run_step(supervisor, "static", ["collectstatic", "--noinput", "--verbosity", "0"], environment)
    run_step(supervisor, "release", ["release"], environment)
    children = {name: supervisor.start(Program(name, command, environment, ROOT)) for name, command in commands.items()}
    wait_for_portal(supervisor, children["web"], settings)
    log.plain(welcome(data, settings, environment, walls(supervisor, environment) if settings.sandbox_on else []))


def start_sandbox(supervisor: Supervisor, data: DataFolder, settings: Settings, environment: Mapping[str, str]) -> None:
    """Before the release step, which registers the portal there."""
    folder = data.path / "sandbox"
    ports = ["--port", str(settings.sandbox_port), "--mail-port", str(settings.mail_port)]
    command = [PYTHON, "-m", "sandbox", *ports, "--data", str(folder)]
    child = supervisor.start(Program("sandbox", command, environment, ROOT, stage=SANDBOX_STAGE))
    if not supervisor.wait_until(lambda: is_listening(settings.sandbox_port), child, 30.0, 5.0):
        raise Refusal(
            "\n".join([*child.last_lines, "The sandbox does not start; the portal runs without it: SANDBOX=0."])
        )


def walls(supervisor: Supervisor, environment: Mapping[str, str]) -> list[str]:
    """The addresses of the walls."""
    lines = run_step(supervisor, "walls", ["walls"], environment)
    return [line.partition(" ")[0] for line in lines if line.startswith("http")]


def run_step(supervisor: Supervisor, name: str, arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """Its last lines."""
    command = [PYTHON, "manage.py", *arguments]
    code, lines = supervisor.run_step(Program(name, command, environment, ROOT))
    if code:
        raise Refusal(
            f"Preparing the portal failed at manage.py {arguments[0]} (exit code {code}); its output is above."
        )
    return lines


def wait_for_portal(supervisor: Supervisor, web: Child, settings: Settings) -> None:
    answer = Answer(settings.port)
    if not supervisor.wait_until(answer.is_ready, web, READY_SECONDS, DYING_SECONDS):
        raise Refusal(
            "\n".join(
                [
                    "The last lines of web:",
                    *web.last_lines,
                    f"The portal did not become ready: {answer.last}.",
                ]
            )
        )


class Answer:
    """What /readyz said last. Asked without proxies, which the environment may name for other addresses.

    For a while the worker is waited for too, so that the first label applied is seen; then intake alone will do.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._worker_until = time.monotonic() + WORKER_SECONDS
        self.last = "it was not asked"

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=2)
        try:
            connection.request("GET", "/readyz?full=1" if time.monotonic() < self._worker_until else "/readyz")
            response = connection.getresponse()
            self.last = f"/readyz answered {response.status} {response.reason}"
            return response.status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException) as error:
            self.last = f"/readyz did not answer ({error})"
            return False
        finally:
            connection.close()


def welcome(data: DataFolder, settings: Settings, environment: Mapping[str, str], walls: list[str]) -> str:
    user = environment["DJANGO_SUPERUSER_USERNAME"]
    if os.environ.get("DJANGO_SUPERUSER_PASSWORD"):
        login = f"{user} / the password in DJANGO_SUPERUSER_PASSWORD"
    else:
        password = environment["DJANGO_SUPERUSER_PASSWORD"]
        login = f"{user} / {password}   (kept in {shown(data.path / 'admin-password')})"
    sandbox = f"off: {settings.sandbox_off_because}"
    if settings.sandbox_on:
        sandbox = (
            f'{settings.sandbox_url}/   apply the label "{environment["SPREDFAST_LABEL_NAME"]}" to a post there and '
            "watch the ticket appear"
        )
    lines = [
        "",
        "Casebridge is ready.",
        f"  Portal    {settings.portal_url}/admin/",
        f"  Sign in   {login}",
        f"  Sandbox   {sandbox}",
    ]
    if walls:
        lines.append(f'  Wall      {walls[0]}   shows posts with the label "{environment["WALL_LABEL"]}"')
    if settings.sandbox_on:
        lines.append(f"  Mailbox   {settings.sandbox_url}/mailbox   where the portal's mails arrive")
    if settings.sandbox_on and settings.database_url:
        lines.append("  Note      what happens in the sandbox is written to the database in DATABASE_URL")
    return "\n".join([*lines, "  Stop      Ctrl-C", ""])
