"""The data folder: everything a run keeps, and the one lock that says whose it is at the moment."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from local import ROOT
from local.errors import Refusal
from local.processes import Record, end_leftovers

# Without the letters and digits that people mistake for one another.
READABLE = "abcdefghjkmnpqrstuvwxyz23456789"
TEMPORARY = "temporary-"


class DataFolder:
    """Private to its user. As root it can be passed through, since PostgreSQL then runs as somebody else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            make_private_folder(path)
        except OSError as error:
            raise Refusal(f"The data folder {shown(path)} cannot be used: {error.strerror}.") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one run at a time. Python closes the file in every child, so no orphan can hold the lock."""
        try:
            file = open_lock(self.path / "lock")
        except OSError as error:
            raise Refusal(
                f"The data folder {shown(self.path)} cannot be used by this user: {error.strerror}."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refusal(
                    f"The data folder {shown(self.path)} is in use by a run that is still going on: end that one "
                    "first, or choose another folder with DATA_DIR."
                ) from None
            yield

    def secrets(self) -> dict[str, str]:
        """Made once and kept; a secret that a newer Casebridge adds is made when it is first needed."""
        path = self.path / "secrets.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise Refusal(
                f"{shown(path)} cannot be read; put it back from a copy, or delete the data folder."
            ) from error
        complete = {**fresh_secrets(), **kept}
        if complete != kept:
            write_private(path, json.dumps(complete, indent=2) + "\n")
        password_file = self.path / "admin-password"
        if not password_file.exists():
            write_private(password_file, complete["admin_password"] + "\n")
        return complete

    def check_tables(self) -> None:
        """Until the first release the tables are made by one migration that changes in place, so data may not fit."""
        path = self.path / "tables"
        made_by = path.read_text(encoding="utf-8") if path.exists() else ""
        if made_by != made_now() and (self.path / "postgres").exists():
            raise Refusal(
                f"The data in {shown(self.path)} were made by an earlier version of Casebridge, whose tables were "
                "others. Delete the folder, or choose another one with DATA_DIR."
            )

    def note_tables(self) -> None:
        write_private(self.path / "tables", made_now())

    @contextlib.contextmanager
    def temporary(self) -> Iterator["DataFolder"]:
        """A data folder inside this one that goes away again, together with those that killed runs left here."""
        with contextlib.ExitStack() as until_done:
            # Between being made and being locked, a new folder looks like an abandoned one.
            with open_lock(self.path / "lock.temporary") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                self._remove_abandoned()
                inner = DataFolder(Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.path)))
                until_done.enter_context(inner.locked())
            until_done.callback(remove, inner.path)
            inner.path.chmod(private_mode())
            yield inner

    def _remove_abandoned(self) -> None:
        for path in self.path.glob(f"{TEMPORARY}*"):
            with contextlib.suppress(Refusal), DataFolder(path).locked():
                end_leftovers(Record(path / "processes.json"), lambda _: None, time.sleep)
                remove(path)


def made_now() -> str:
    """What makes the tables, in short."""
    return hashlib.sha256((ROOT / "integrations" / "migrations" / "0001_initial.py").read_bytes()).hexdigest()


def open_lock(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")


def fresh_secrets() -> dict[str, str]:
    return {
        "secret_key": secrets.token_urlsafe(64),
        "encryption_key": secrets.token_urlsafe(64),
        "postgres_password": secrets.token_hex(24),
        "valkey_password": secrets.token_hex(24),
        "admin_password": "".join(secrets.choice(READABLE) for _ in range(16)),
        "bearer_token": secrets.token_urlsafe(32),
    }


def make_private_folder(path: Path) -> None:
    """An existing folder keeps its mode: it may be somebody's home or a shared one."""
    if path.is_dir():
        return
    path.mkdir(parents=True)
    path.chmod(private_mode())


def private_mode() -> int:
    return 0o711 if os.geteuid() == 0 else 0o700


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


# Where root keeps PostgreSQL when its account cannot get to the data folder.
ELSEWHERE_RECORD = "postgres-folder"
ELSEWHERE_NAME = re.compile(r"casebridge-[0-9a-f]{32}")


def recorded_elsewhere(data: Path) -> Path | None:
    """The folder that belongs to this data folder, taken seriously only where its name and owner are what we make."""
    record = data / ELSEWHERE_RECORD
    if not record.exists():
        return None
    path = Path(record.read_text(encoding="utf-8").strip())
    if path.is_absolute() and ELSEWHERE_NAME.fullmatch(path.name) and not path.is_symlink():
        return path
    raise Refusal(f"{shown(record)} does not name a folder of Casebridge; put it back from a copy, or delete it.")


def remove(path: Path) -> None:
    with contextlib.suppress(Refusal):
        elsewhere = recorded_elsewhere(path)
        if elsewhere:
            shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def shown(path: Path) -> str:
    """As a person would write it: relative inside the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) and path != ROOT else str(path)
