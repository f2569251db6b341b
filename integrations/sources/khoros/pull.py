"""Rows of Khoros' list of events: from any plausible shape to the envelope that a push would have had.

What GET /v2/events/data/{id} returns is not documented. A row may be the envelope, its text, an envelope inside
another object, or only the inner data; the rows may come newest first, oldest first, or in no order.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from integrations.sources.khoros.envelope import Envelope, open_envelope

WRAPPERS = ("event", "notification", "payload", "envelope", "body", "content", "value", "data")
DEEPEST = 50
TOO_DEEP = "[left out by Casebridge: nested too deeply]"
ENVELOPE_NAMES = {"eventName", "eventUuid", "data"}
# The more of these an object has, the more it looks like an envelope.
OUTER_NAMES = {"eventName", "eventUuid", "data", "companyId", "createdDate", "subscriptionUuid", "type"}


def pulled(row: Any, event_name: str) -> Envelope:
    """Never raises: a row that is no event becomes an unreadable envelope. `event_name` is the subscription's."""
    try:
        return _pulled(row, event_name)
    except RecursionError:
        return _pulled(_without_its_depth(row, DEEPEST), event_name)


def _pulled(row: Any, event_name: str) -> Envelope:
    event = _as_event(row)
    if event is None:
        body = row if isinstance(row, str) else json.dumps(row)
        return open_envelope(body.encode("utf-8", "replace"))
    if not event.keys() & ENVELOPE_NAMES:
        event = {"data": {"items": [event]} if "entityId" in event else event}
    if not event.get("eventName"):
        event = {"eventName": event_name, **event} | {"eventName": event_name}
    return open_envelope(json.dumps(event).encode())


def _without_its_depth(value: Any, levels: int) -> Any:
    """The value cut at a depth: one that could just be parsed may be too deep to be serialised."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return TOO_DEEP
    if isinstance(value, list):
        return [_without_its_depth(inner, levels - 1) for inner in value]
    return {name: _without_its_depth(inner, levels - 1) for name, inner in value.items()}


def _as_event(row: Any) -> dict[str, Any] | None:
    """The envelope in a row, unwrapped from text or an outer object; None when there is no object."""
    for _ in range(4):
        if isinstance(row, str):
            row = _read(row)
        if not isinstance(row, dict):
            return None
        name, inner = _wrapped(row)
        if inner is None:
            return row
        outer = {key: value for key, value in row.items() if key != name and key in OUTER_NAMES}
        if not inner.keys() & ENVELOPE_NAMES:
            # The outer object is the envelope, with another name for its data.
            return {**outer, "data": inner}
        row = {**outer, **inner}
    return row if isinstance(row, dict) else None


def _wrapped(row: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """(name, inner object) of a wrapper: what looks more like an envelope than the row itself, or its data."""
    own = len(row.keys() & OUTER_NAMES)
    for name in WRAPPERS:
        raw = row.get(name)
        inner = _read(raw) if isinstance(raw, str) else raw
        if not isinstance(inner, dict) or not inner:
            continue
        if len(inner.keys() & OUTER_NAMES) > own - (name in OUTER_NAMES):
            return name, inner
        if name != "data" and "data" not in row and "eventName" in row:
            return name, inner
    return "", None


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Order:
    """Learns from the events' times whether a list is "newest" or "oldest" first; "" when it is neither."""

    def __init__(self) -> None:
        self.falls = self.rises = 0
        self._last: datetime | None = None

    def saw(self, times: Iterable[datetime | None]) -> None:
        for moment in times:
            if moment is None:
                continue
            if self._last is not None:
                self.falls += moment < self._last
                self.rises += moment > self._last
            self._last = moment

    def begin_again(self) -> None:
        self._last = None

    @property
    def direction(self) -> str:
        # One in fifty may be out of order: what that misses is found by the daily full run.
        if self.falls > 50 * self.rises:
            return "newest"
        return "oldest" if self.rises > 50 * self.falls else ""
