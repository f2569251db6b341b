"""The comments of a ticket: how one is read from a request, kept, and shown."""

import re
import sqlite3
from html import escape, unescape
from typing import Any

from sandbox.state import State

COMMENT_BYTES = 65_535
LARGEST_NUMBER = 5000


def read(given: Any, otherwise: Any = None) -> dict[str, Any]:
    """A comment as a request gives it: an object or just its text. `otherwise` is the text if there is no comment."""
    if not isinstance(given, dict):
        given = {"body": given if isinstance(given, str) else otherwise}
    html_body = _text(given.get("html_body"))
    body = _without_markup(html_body) if html_body.strip() else _text(given.get("body"))
    return {
        "body": _shortened(body),
        "html_body": _shortened(html_body) or None,
        "public": given.get("public") is not False,
        "public_was_sent": isinstance(given.get("public"), bool),
    }


def add(
    state: State, comment: dict[str, Any], *, ticket_id: int, audit_id: int, author_id: int, created_at: str
) -> dict[str, Any]:
    """Stores a comment and returns its event for the audit."""
    comment_id = audit_id + 1
    state.insert(
        "INSERT INTO comments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        comment_id,
        ticket_id,
        audit_id,
        author_id,
        comment["body"],
        comment["html_body"],
        comment["public"],
        created_at,
    )
    return {**_told(comment_id, author_id, comment), "audit_id": audit_id}


def count(state: State, ticket_id: int) -> int:
    return state.count("SELECT count(*) FROM comments WHERE ticket_id = ?", ticket_id)


def page_of(
    state: State, ticket_id: int, limit: int, offset: int, *, newest_first: bool = False
) -> list[dict[str, Any]]:
    """The comments of a ticket as the API shows them, oldest first unless told otherwise."""
    queries = {
        False: "SELECT * FROM comments WHERE ticket_id = ? ORDER BY id LIMIT ? OFFSET ?",
        True: "SELECT * FROM comments WHERE ticket_id = ? ORDER BY id DESC LIMIT ? OFFSET ?",
    }
    return [shown(row) for row in state.rows(queries[newest_first], ticket_id, limit, offset)]


def by_ticket(state: State, first_id: int, last_id: int) -> dict[int, list[dict[str, Any]]]:
    """The comments of every ticket with an id between the two."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in state.rows("SELECT * FROM comments WHERE ticket_id BETWEEN ? AND ? ORDER BY id", first_id, last_id):
        found.setdefault(row["ticket_id"], []).append(shown(row))
    return found


def shown(row: sqlite3.Row) -> dict[str, Any]:
    return {
        **_told(row["id"], row["author_id"], {**dict(row), "public": bool(row["public"])}),
        "audit_id": row["audit_id"],
        "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}},
        "created_at": row["created_at"],
        "metadata": {"system": {}, "custom": {}},
    }


def _told(comment_id: int, author_id: int, comment: dict[str, Any]) -> dict[str, Any]:
    html_body = comment["html_body"] or f'<p dir="auto">{escape(comment["body"])}</p>'
    return {
        "id": comment_id,
        "type": "Comment",
        "author_id": author_id,
        "body": comment["body"],
        "html_body": f'<div class="zd-comment" dir="auto">{html_body}</div>',
        "plain_body": comment["body"],
        "public": comment["public"],
        "attachments": [],
    }


def _without_markup(html_body: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"(?i)<br\s*/?>|</p>", "\n", html_body))).strip()


def _shortened(text: str) -> str:
    """Cuts long comments silently, as Zendesk is said to do."""
    return text.encode()[:COMMENT_BYTES].decode("utf-8", "ignore")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
