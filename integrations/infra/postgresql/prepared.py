"""Statements of the hot path that PostgreSQL plans once for each connection, instead of at every call.

Planning the one that stores a notification takes twice as long as running it. Behind a pooler that hands out another
session for each transaction a prepared statement may be missing, or be there already: PostgreSQL then has run nothing,
and this process goes on without prepared statements.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from django.db import ProgrammingError, connection

log = structlog.get_logger(__name__)

NOT_KEPT = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)

_are_kept = True


class PreparingCursor(psycopg.Cursor[Any]):
    """Values go to the server apart from the statement, which is prepared at its first run on a connection."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> "PreparingCursor":
        # Django's own statements carry their values in their text: each is another one, and not worth preparing.
        self.connection.prepare_threshold = 0
        try:
            super().execute(query, params, prepare=True)
            return self
        finally:
            self.connection.prepare_threshold = None


def row_of(statement: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The one row that the statement returns. Raises django.db.Error."""
    global _are_kept
    # Within a transaction the statement could not be run again.
    if _are_kept and not connection.in_atomic_block:
        try:
            return _run(_cursor(), statement, values)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, NOT_KEPT):
                raise
            _are_kept = False
            log.info("going on without prepared statements", reason=str(error).strip())
    return _run(connection.cursor(), statement, values)


def _cursor() -> Any:
    """Like any of Django's: its errors are Django's, and it is logged like the others."""
    connection.ensure_connection()
    return connection._prepare_cursor(PreparingCursor(connection.connection))  # type: ignore[attr-defined]


def _run(cursor: Any, statement: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    with cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] = cursor.fetchone()
        return row
