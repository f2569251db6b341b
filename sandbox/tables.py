"""The tables of the sandbox's file, and the upgrades for files of earlier versions."""

import re

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, content TEXT NOT NULL);
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
    role TEXT NOT NULL, suspended INTEGER NOT NULL DEFAULT 0, external_id TEXT COLLATE NOCASE,
    created_at TEXT, updated_at TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS users_by_external_id ON users (external_id);
CREATE TABLE IF NOT EXISTS identities (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, type TEXT NOT NULL,
    value TEXT NOT NULL COLLATE NOCASE, created_at TEXT NOT NULL, UNIQUE (type, value)
);
CREATE INDEX IF NOT EXISTS identities_by_user ON identities (user_id);
CREATE TABLE IF NOT EXISTS tickets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, external_id TEXT, requester_id INTEGER NOT NULL, ticket TEXT NOT NULL,
    audit TEXT NOT NULL, comment TEXT NOT NULL, idempotency_key TEXT
);
CREATE INDEX IF NOT EXISTS tickets_by_external_id ON tickets (external_id);
CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY, ticket_id INTEGER NOT NULL, audit_id INTEGER NOT NULL, author_id INTEGER NOT NULL,
    body TEXT NOT NULL, html_body TEXT, public INTEGER NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS comments_by_ticket ON comments (ticket_id, id);
CREATE TABLE IF NOT EXISTS audits (
    id INTEGER PRIMARY KEY AUTOINCREMENT, ticket_id INTEGER NOT NULL, audit TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, headers TEXT NOT NULL,
    body BLOB NOT NULL, used_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS access_tokens (token TEXT PRIMARY KEY, scope TEXT NOT NULL, ends_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    token TEXT PRIMARY KEY, access_token TEXT NOT NULL, scope TEXT NOT NULL, access_life INTEGER NOT NULL,
    life INTEGER NOT NULL, ends_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS authorization_codes (
    code TEXT PRIMARY KEY, redirect_uri TEXT NOT NULL, scope TEXT NOT NULL, ends_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, origin TEXT NOT NULL, tickets TEXT NOT NULL,
    item_order TEXT NOT NULL, status TEXT NOT NULL, message TEXT, is_forgotten INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS job_items (
    job_number INTEGER NOT NULL, item_index INTEGER NOT NULL, result TEXT NOT NULL, PRIMARY KEY (job_number, item_index)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS webhook_calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT, webhook_id TEXT NOT NULL, change_id TEXT NOT NULL, event_id TEXT NOT NULL,
    invocation_id TEXT NOT NULL, body BLOB NOT NULL, attempt INTEGER NOT NULL, requested_at REAL NOT NULL,
    due_at REAL NOT NULL, endpoint TEXT, headers TEXT, finished_at TEXT, status INTEGER, error TEXT
);
CREATE TABLE IF NOT EXISTS slack_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, ts TEXT NOT NULL UNIQUE, content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS mails (
    id INTEGER PRIMARY KEY AUTOINCREMENT, received_at TEXT NOT NULL, sender TEXT NOT NULL, recipients TEXT NOT NULL,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, dedup_key TEXT NOT NULL, status TEXT NOT NULL,
    at TEXT NOT NULL, content TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS webhook_calls_to_make ON webhook_calls (id) WHERE finished_at IS NULL;
"""

SCHEMA_VERSION = 3

TABLES = tuple(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", SCHEMA))

# Columns added after their table was; a file that has them already is left alone.
LATER_COLUMNS = (
    ("subscriptions", "company_id", "INTEGER NOT NULL DEFAULT 42"),
    ("users", "external_id", "TEXT COLLATE NOCASE"),
    ("users", "created_at", "TEXT"),
    ("users", "updated_at", "TEXT"),
)

# For each version, the steps that upgrade an earlier file, before and after the tables are created.
# 2: an event belongs to a subscription, not only to a labelling. 3: a ticket can have more than one comment.
UPGRADES = {
    2: (
        """
        ALTER TABLE events RENAME TO first_events;
        DROP INDEX events_by_subscription;
        DROP INDEX events_by_labelling;
        """,
        """
        INSERT INTO events (id, event_uuid, subscription_uuid, labelling_id, envelope)
            SELECT id, event_uuid, subscription_uuid, labelling_id, envelope FROM first_events;
        DROP TABLE first_events;
        """,
    ),
    3: (
        "",
        """
        INSERT INTO comments SELECT id * 1000 + 1, id, id * 1000, json_extract(ticket, '$.submitter_id'),
            json_extract(comment, '$.body'), json_extract(comment, '$.html_body'), json_extract(comment, '$.public'),
            json_extract(ticket, '$.created_at') FROM tickets WHERE id NOT IN (SELECT ticket_id FROM comments);
        """,
    ),
}
