"""Many counts in one statement: a page that counts twenty things asks once, and all are of the same moment."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet


def counts(rows: Sequence[QuerySet[Any]], most: int) -> list[int]:
    """How many rows each query finds, exact up to `most`; `most` + 1 where there are more."""
    parts: list[str] = []
    values: list[Any] = []
    found = [0] * len(rows)
    for place, query in enumerate(rows):
        try:
            statement, given = query.order_by().values("pk")[: most + 1].query.sql_with_params()
        except EmptyResultSet:
            continue
        parts.append(f"SELECT {place}, (SELECT count(*) FROM ({statement}) AS bounded)")  # noqa: S608 (Django's own SQL)
        values += given
    if not parts:
        return found
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), values)
        for place, count in cursor.fetchall():
            found[place] = count
    return found
