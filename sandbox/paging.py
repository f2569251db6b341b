"""Pagination in both of Zendesk's ways: by page number, and by cursor if `page[size]` is given.

A cursor is opaque to callers. As recorded, a cursor page has both links even on the last page: only `meta.has_more`
says that there is no more.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from sandbox.exchange import Answer, Request, json_answer, whole_number

PAGE_SIZE = 100
LAST_ROW = 10_000

# Reads `limit` rows from `offset`, so that a store need not read the others.
Slice = Callable[[int, int], list[dict[str, Any]]]


def paged(request: Request, name: str, total: int, rows: Slice, *, only_by_cursor: bool = False) -> Answer:
    """One page of a list, or 400 for an invalid page."""
    try:
        way = _by_cursor if only_by_cursor or is_by_cursor(request) else _by_number
        return json_answer(200, way(request, name, total, rows))
    except ValueError as problem:
        return json_answer(400, {"error": "InvalidPaginationParameter", "description": str(problem)})


def paged_items(
    request: Request, name: str, items: Sequence[dict[str, Any]], *, only_by_cursor: bool = False
) -> Answer:
    """One page of a list that is in memory."""

    def part(limit: int, offset: int) -> list[dict[str, Any]]:
        return list(items[offset : offset + limit])

    return paged(request, name, len(items), part, only_by_cursor=only_by_cursor)


def is_by_cursor(request: Request) -> bool:
    return any(f"page[{each}]" in request.query for each in ("size", "after", "before"))


def _by_number(request: Request, name: str, total: int, rows: Slice) -> dict[str, Any]:
    page = max(1, whole_number(request.query, "page", 1))
    size = min(PAGE_SIZE, max(1, whole_number(request.query, "per_page", PAGE_SIZE)))
    if page * size > LAST_ROW:
        raise ValueError(f"Pages by number end at {LAST_ROW} rows. Use page[size].")
    return {
        name: rows(size, (page - 1) * size),
        "next_page": _address(request, page=page + 1) if page * size < total else None,
        "previous_page": _address(request, page=page - 1) if page > 1 else None,
        "count": total,
    }


def _by_cursor(request: Request, name: str, total: int, rows: Slice) -> dict[str, Any]:
    size = min(PAGE_SIZE, max(1, whole_number(request.query, "page[size]", PAGE_SIZE)))
    first = _first_row(request, size)
    found = rows(size, first)
    last = first + len(found)
    before, after = (_cursor(first), _cursor(last)) if found else (None, None)
    return {
        name: found,
        "meta": {"has_more": last < total, "after_cursor": after, "before_cursor": before},
        "links": {
            "prev": before and _address(request, **{"page[before]": before, "page[after]": None}),
            "next": after and _address(request, **{"page[after]": after, "page[before]": None}),
        },
    }


def _first_row(request: Request, size: int) -> int:
    if "page[after]" in request.query:
        return _row_of(request.query["page[after]"])
    if "page[before]" in request.query:
        return max(0, _row_of(request.query["page[before]"]) - size)
    return 0


def _cursor(row: int) -> str:
    return base64.urlsafe_b64encode(f"row:{row}".encode()).decode()


def _row_of(cursor: str) -> int:
    try:
        word, _, row = base64.urlsafe_b64decode(cursor).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        word, row = "", ""
    if word != "row" or not row.isdecimal() or len(row) > 15:
        raise ValueError("The cursor is not one this list has given.")
    return int(row)


def _address(request: Request, **changes: Any) -> str:
    path = request.path if request.path.endswith(".json") else f"{request.path}.json"
    query = {name: value for name, value in {**request.query, **changes}.items() if value is not None}
    return f"{request.origin}{path}?{urlencode(query)}"
