"""What the sandbox remembers: one SQLite file, including the settings.

Whatever an answer has confirmed survives killing the process: the write-ahead log is handed to the operating system
before the answer is sent. It need not survive a power cut, hence synchronous=OFF. One connection behind one lock
serves every thread, so a transaction is also a critical section.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sandbox.settings import Settings
from sandbox.tables import LATER_COLUMNS, SCHEMA, SCHEMA_VERSION, TABLES, UPGRADES

Derived = TypeVar("Derived")

FIRST_TICKET_ID = 4001
ADMIN_ID = 9001
ACCOUNT_ID = 18525119
SECONDS = "%Y-%m-%dT%H:%M:%SZ"

PEOPLE = (
    (ADMIN_ID, "Agent Example", "agent@example.com", "admin", 0),
    (9002, "Second Agent", "second.agent@example.com", "agent", 0),
    (9003, "Social intake", "intake@example.com", "end-user", 0),
    (9004, "Suspended Person", "suspended@example.com", "end-user", 1),
)


def now() -> datetime:
    return datetime.now(UTC)


def timestamp() -> str:
    """The current time in ISO 8601 with milliseconds, UTC."""
    return now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp(moment: datetime | None = None) -> str:
    """The current time, or the one given, as Zendesk writes it: without fractions of a second."""
    return (moment or now()).strftime(SECONDS)


class State:
    """The file in `folder`, created if missing. Thread-safe.

    `webhooks_due` is set when there is a webhook to call. It may be set inside a transaction: a reader then waits for
    the transaction to end.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._documents: dict[str, Any] = {}
        self._derived: dict[str, Any] = {}
        self.webhooks_due = threading.Event()
        self._connection = sqlite3.connect(
            folder / "sandbox.sqlite3", check_same_thread=False, isolation_level=None, cached_statements=256
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._build()
        self.is_new = self.row("SELECT 1 FROM users") is None
        if self.is_new:
            self.clear()
        self._settings = self._stored_settings()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and one at a time. A transaction inside another is part of the outer one."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                self._documents.clear()
                self._derived.clear()
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def insert(self, sql: str, *values: Any) -> int:
        """Runs an INSERT and returns the id of the new row."""
        with self._lock:
            return self._connection.execute(sql, values).lastrowid or 0

    def change(self, sql: str, *values: Any) -> int:
        """Runs an UPDATE or DELETE and returns how many rows it touched."""
        with self._lock:
            return self._connection.execute(sql, values).rowcount

    def count(self, sql: str, *values: Any) -> int:
        found = self.row(sql, *values)
        return int(found[0]) if found else 0

    @property
    def settings(self) -> Settings:
        return self._settings

    def change_settings(self, values: Mapping[str, Any]) -> Settings:
        """Replaces some settings at once for every thread. Raises ValueError for a bad one, changing nothing."""
        with self.transaction():
            changed = self._settings.changed(values)
            for name, value in asdict(changed).items():
                self.insert("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, json.dumps(value))
            self._settings = changed
        return changed

    def document(self, name: str) -> Any:
        """The document stored under a name, or None. It is shared: do not change it in place."""
        with self._lock:
            if name not in self._documents:
                row = self.row("SELECT content FROM documents WHERE name = ?", name)
                self._documents[name] = json.loads(row["content"]) if row else None
            return self._documents[name]

    def keep_document(self, name: str, content: Any) -> None:
        with self._lock:
            self.insert("INSERT OR REPLACE INTO documents VALUES (?, ?)", name, json.dumps(content))
            self._documents[name] = content
            self._derived.clear()

    def derived(self, name: str, make: Callable[[], Derived]) -> Derived:
        """The result of `make`, cached until a document changes. It is shared: do not change it in place."""
        with self._lock:
            if name not in self._derived:
                self._derived[name] = make()
            found: Derived = self._derived[name]
            return found

    def clear(self) -> None:
        """Deletes everything except the people every sandbox starts with; ids start again."""
        with self.transaction():
            for table in TABLES:
                self.change(f"DELETE FROM {table}")  # noqa: S608 - the names are the constant above
            self.change("DELETE FROM sqlite_sequence")
            self.insert("INSERT INTO sqlite_sequence (name, seq) VALUES ('tickets', ?)", FIRST_TICKET_ID - 1)
            for person in PEOPLE:
                self.insert("INSERT INTO users (id, name, email, role, suspended) VALUES (?, ?, ?, ?, ?)", *person)
            self._settings = Settings()
            self._documents.clear()
            self._derived.clear()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _build(self) -> None:
        """Creates the tables of a new file, or upgrades those of an older sandbox, all or nothing."""
        is_known = self.row("SELECT 1 FROM sqlite_master WHERE name = 'events'") is not None
        version = self.count("PRAGMA user_version") if is_known else SCHEMA_VERSION
        due = [UPGRADES[each] for each in sorted(UPGRADES) if each > max(version, 1)]
        columns = self._missing_columns() if is_known else []
        steps = [before for before, _ in due] + columns + [SCHEMA] + [after for _, after in due]
        script = f"BEGIN IMMEDIATE; {' '.join(steps)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        self._connection.executescript(script)

    def _missing_columns(self) -> list[str]:
        known = {
            table: {row["name"] for row in self.rows(f"PRAGMA table_info({table})")} for table, _, _ in LATER_COLUMNS
        }
        return [
            f"ALTER TABLE {table} ADD COLUMN {column} {kind};"
            for table, column, kind in LATER_COLUMNS
            if known[table] and column not in known[table]
        ]

    def _stored_settings(self) -> Settings:
        known = {each.name for each in fields(Settings)}
        stored = {row["name"]: json.loads(row["value"]) for row in self.rows("SELECT name, value FROM settings")}
        return Settings(**{name: value for name, value in stored.items() if name in known})
