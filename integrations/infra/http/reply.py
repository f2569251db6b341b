"""A reply as it was received."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

KEPT_BYTES = 2048
LONGEST_WAIT_SECONDS = 15 * 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it was received: status, headers by lower-case name, and at most ANSWER_CAP_BYTES of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON, whatever its declared type. Raises ValueError when it is none."""
        if self.is_cut:
            raise ValueError("the answer is longer than the cap")
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("the answer is nested too deeply") from None

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one when it is anything else."""
        try:
            content = self.json()
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def looks_like_html(self) -> bool:
        return self.body[:500].lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body"))

    def date(self) -> datetime | None:
        """When the reply was sent, by the other side's clock."""
        return _http_date(self.headers.get("date", ""))

    def retry_after(self) -> float | None:
        """Seconds from a Retry-After header in either form; a date is relative to the reply's own Date."""
        raw = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]*)?", raw):
            return min(float(raw), LONGEST_WAIT_SECONDS)
        until, now = _http_date(raw), _http_date(self.headers.get("date", ""))
        if until is None:
            return None
        seconds = (until - (now or datetime.now(UTC))).total_seconds()
        return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def _http_date(raw: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(raw)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
