"""What the sandbox remembers: one SQLite file and the switches kept in it.

Whatever an answer has confirmed survives a kill of the process: the write-ahead log is handed to the
operating system before the answer leaves. It need not survive a power cut, hence synchronous=OFF.
One connection behind one lock serves every thread, so a transaction here is also a critical section.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIRST_TICKET_ID = 4001
ADMIN_ID = 9001

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, entity_id TEXT NOT NULL UNIQUE, network TEXT NOT NULL, item TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS labellings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT NOT NULL, applied_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS labelled_posts (
    labelling_id INTEGER NOT NULL, post_id INTEGER NOT NULL, PRIMARY KEY (labelling_id, post_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labelled_posts_by_post ON labelled_posts (post_id);
CREATE TABLE IF NOT EXISTS subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, external_id TEXT, event_name TEXT NOT NULL,
    status TEXT NOT NULL, query TEXT, notification_uri TEXT, bearer_token TEXT, version INTEGER,
    created_at TEXT NOT NULL, company_id INTEGER NOT NULL DEFAULT 42
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_uuid TEXT NOT NULL, subscription_uuid TEXT NOT NULL,
    labelling_id INTEGER, envelope TEXT NOT NULL, is_collected INTEGER NOT NULL DEFAULT 0,
    UNIQUE (event_uuid, subscription_uuid)
);
CREATE INDEX IF NOT EXISTS events_by_subscription ON events (subscription_uuid, id);
CREATE INDEX IF NOT EXISTS events_by_labelling ON events (labelling_id);
CREATE TABLE IF NOT EXISTS pushes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_uuid TEXT NOT NULL, subscription_uuid TEXT NOT NULL,
    uri TEXT NOT NULL, bearer_token TEXT, requested_at TEXT NOT NULL,
    finished_at TEXT, milliseconds INTEGER, status INTEGER, error TEXT
);
CREATE INDEX IF NOT EXISTS pushes_by_event ON pushes (event_uuid);
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT UNIQUE COLLATE NOCASE,
    role TEXT NOT NULL, suspended INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tickets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, external_id TEXT, requester_id INTEGER NOT NULL, ticket TEXT NOT NULL,
    audit TEXT NOT NULL, comment TEXT NOT NULL, idempotency_key TEXT
);
CREATE INDEX IF NOT EXISTS tickets_by_external_id ON tickets (external_id);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, headers TEXT NOT NULL,
    body BLOB NOT NULL, used_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS access_tokens (token TEXT PRIMARY KEY, scope TEXT NOT NULL, ends_at REAL NOT NULL);
"""

# A file of the first version has events that belong to a labelling each, and subscriptions of one company.
SCHEMA_VERSION = 2
BEFORE_SCHEMA = """
ALTER TABLE subscriptions ADD COLUMN company_id INTEGER NOT NULL DEFAULT 42;
ALTER TABLE events RENAME TO first_events;
DROP INDEX events_by_subscription;
DROP INDEX events_by_labelling;
"""
AFTER_SCHEMA = """
INSERT INTO events (id, event_uuid, subscription_uuid, labelling_id, envelope)
    SELECT id, event_uuid, subscription_uuid, labelling_id, envelope FROM first_events;
DROP TABLE first_events;
"""

TABLES = (
    "settings",
    "posts",
    "labellings",
    "labelled_posts",
    "subscriptions",
    "events",
    "pushes",
    "users",
    "tickets",
    "idempotency_keys",
    "access_tokens",
)

PEOPLE = (
    (ADMIN_ID, "Agent Example", "agent@example.com", "admin", 0),
    (9002, "Second Agent", "second.agent@example.com", "agent", 0),
    (9003, "Social intake", "intake@example.com", "end-user", 0),
    (9004, "Suspended Person", "suspended@example.com", "end-user", 1),
)


# What a switch of words or with few numbers can be set to; the first is how the sandbox begins.
CHOICES: dict[str, tuple[Any, ...]] = {
    "resubscribe": ("update", "second"),
    "pull_shape": ("data", "bare", "data_items", "data_events", "events", "strings", "inner"),
    "pull_order": ("newest", "oldest", "shuffled"),
    "pull_content_type": ("text/plain", "application/json"),
    "list_first_page": (0, 1),
    "list_shape": ("data", "bare", "data_items"),
}


@dataclass(frozen=True)
class Settings:
    """The switches. `rate_limit` 0 means no limits and no rate headers, the look-up limit included.

    Those that begin with `pull` are about collecting events, those with `list` about the list of subscriptions;
    a largest page of 0 is no limit. `refuse_pushes` counts down with every push that is not made.
    """

    rate_limit: int = 700
    index_limit: int = 100
    resubscribe: str = "update"
    labels_in_payload: bool = False
    push: bool = True
    idempotency_age_seconds: int = 7200
    pull: bool = True
    pull_shape: str = "data"
    pull_order: str = "newest"
    pull_largest_page: int = 0
    pull_ignores_limit: bool = False
    pull_ignores_offset: bool = False
    pull_consumes: bool = False
    pull_content_type: str = "text/plain"
    push_twice: bool = False
    push_out_of_order: bool = False
    refuse_pushes: int = 0
    list_first_page: int = 0
    list_largest_page: int = 0
    list_repeats: bool = False
    list_shape: str = "data"
    list_shows_token: bool = True
    refuse_status_changes: bool = False

    def changed(self, values: Mapping[str, Any]) -> "Settings":
        """These settings with some replaced. Raises ValueError with a sentence about the first bad one."""
        kinds = {each.name: type(getattr(self, each.name)) for each in fields(self)}
        for name, value in values.items():
            if name not in kinds:
                raise ValueError(f"There is no setting called {name}. Known: {', '.join(kinds)}.")
            if type(value) is not kinds[name]:
                raise ValueError(f"{name} must be of type {kinds[name].__name__}.")
            if isinstance(value, int) and value < 0:
                raise ValueError(f"{name} must not be negative.")
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{name} must be {' or '.join(json.dumps(each) for each in CHOICES[name])}.")
        return replace(self, **values)


def now() -> datetime:
    return datetime.now(UTC)


def timestamp() -> str:
    """This moment in ISO 8601 with milliseconds, UTC."""
    return now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


class State:
    """The file in `folder`, which is made where it is missing. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
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
        """Replaces some switches at once for every thread. Raises ValueError and changes nothing for a bad one."""
        with self.transaction():
            changed = self._settings.changed(values)
            for name, value in asdict(changed).items():
                self.insert("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, json.dumps(value))
            self._settings = changed
        return changed

    def clear(self) -> None:
        """Forgets everything but the people every sandbox begins with; numbers start again."""
        with self.transaction():
            for table in TABLES:
                self.change(f"DELETE FROM {table}")  # noqa: S608 - the names are the constant above
            self.change("DELETE FROM sqlite_sequence")
            self.insert("INSERT INTO sqlite_sequence (name, seq) VALUES ('tickets', ?)", FIRST_TICKET_ID - 1)
            for person in PEOPLE:
                self.insert("INSERT INTO users VALUES (?, ?, ?, ?, ?)", *person)
            self._settings = Settings()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _build(self) -> None:
        """Makes the tables of a new file, and brings those of an older sandbox up to date, all or nothing."""
        is_known = self.row("SELECT 1 FROM sqlite_master WHERE name = 'events'") is not None
        is_first = is_known and self.count("PRAGMA user_version") < SCHEMA_VERSION
        steps = (BEFORE_SCHEMA, SCHEMA, AFTER_SCHEMA) if is_first else (SCHEMA,)
        script = f"BEGIN IMMEDIATE; {' '.join(steps)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        self._connection.executescript(script)

    def _stored_settings(self) -> Settings:
        known = {each.name for each in fields(Settings)}
        stored = {row["name"]: json.loads(row["value"]) for row in self.rows("SELECT name, value FROM settings")}
        return Settings(**{name: value for name, value in stored.items() if name in known})
