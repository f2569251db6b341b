"""Events as Khoros' list of them may hold them: from any plausible row to the envelope that a push would have had.

What GET /v2/events/data/{id} answers with is not documented. A row may be the envelope, its text, an envelope inside
another object, or only the inner data; the rows may come newest first, oldest first, or in no order.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from integrations.sources.khoros.envelope import Envelope, open_envelope

WRAPPERS = ("event", "notification", "payload", "envelope", "body", "content", "value")
ENVELOPE_NAMES = {"eventName", "eventUuid", "data"}


def pulled(row: Any, event_name: str) -> Envelope:
    """Never raises: a row that is no event becomes an unreadable envelope. `event_name` is the feed's own."""
    event = _as_event(row)
    if event is None:
        body = row if isinstance(row, str) else json.dumps(row)
        return open_envelope(body.encode("utf-8", "replace"))
    if not event.keys() & ENVELOPE_NAMES:
        event = {"eventName": event_name, "data": event}
    elif not event.get("eventName"):
        event = {**event, "eventName": event_name}
    return open_envelope(json.dumps(event).encode())


def _as_event(row: Any) -> dict[str, Any] | None:
    """The object in a row, out of its text or its wrapper; None when there is none."""
    for _ in range(3):
        if isinstance(row, str):
            row = _read(row)
        if not isinstance(row, dict):
            return None
        inner = next((row[name] for name in WRAPPERS if isinstance(row.get(name), dict | str)), None)
        if row.keys() & ENVELOPE_NAMES or not _holds_an_event(inner):
            return row
        row = inner
    return row if isinstance(row, dict) else None


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _holds_an_event(inner: Any) -> bool:
    found = _read(inner) if isinstance(inner, str) else inner
    return isinstance(found, dict) and bool(found.keys() & ENVELOPE_NAMES)


class Order:
    """Learns from the events' times whether a list comes "newest" or "oldest" first; "" when neither is seen."""

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
    def word(self) -> str:
        if self.falls and not self.rises:
            return "newest"
        return "oldest" if self.rises and not self.falls else ""
