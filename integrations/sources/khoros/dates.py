"""One tolerant parser for the many forms of time in Khoros' payloads.

Forms: ISO 8601 ("2011-05-26T18:23:31.000Z"), milliseconds or seconds since 1970 as number or text, and Java's
Date.toString ("Wed Apr 12 09:01:11 CDT 2017"). 0 and unreadable text give None: no event is refused for a date. So do
times that no post has, like the year 1 or 9999 that programs write for "never".
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

# Zone abbreviations are ambiguous; Khoros is a company in the United States, so those of the US win.
ZONE_HOURS = {
    "UTC": 0, "GMT": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
    "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10, "BST": 1, "CET": 1, "CEST": 2,
}  # fmt: skip
JAVA_DATE = re.compile(r"^[A-Z][a-z]{2} ([A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2}) (\S+) (\d{4})$")
PLAUSIBLE_YEARS = range(1970, 2200)
MINUTES_OF_A_DAY = 24 * 60
FIRST_MILLISECONDS = 10**11  # smaller numbers are seconds: 10**11 s is the year 5138, 10**11 ms is 1973


def read_time(raw: Any) -> datetime | None:
    """The time in UTC, or None when it cannot be read."""
    moment = _read(raw)
    return moment if moment is not None and moment.year in PLAUSIBLE_YEARS else None


def _read(raw: Any) -> datetime | None:
    if isinstance(raw, bool) or raw is None:
        return None
    if isinstance(raw, int | float):
        return _from_number(raw)
    if not isinstance(raw, str):
        return None
    text = raw.strip()
    if re.fullmatch(r"\d{9,14}", text):
        return _from_number(int(text))
    return _from_java(text) or _from_iso(text)


def _from_number(number: float) -> datetime | None:
    try:
        seconds = number / 1000 if abs(number) >= FIRST_MILLISECONDS else number
        return datetime.fromtimestamp(seconds, UTC) if number else None
    except (OverflowError, ValueError, OSError):
        return None


def _from_iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _from_java(text: str) -> datetime | None:
    match = JAVA_DATE.match(text)
    zone = _zone(match[2]) if match else None
    if match is None or zone is None:
        return None
    try:
        moment = datetime.strptime(f"{match[1]} {match[3]}", "%b %d %H:%M:%S %Y")  # noqa: DTZ007 (zone added below)
        return moment.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(name: str) -> timezone | None:
    if name in ZONE_HOURS:
        return timezone(timedelta(hours=ZONE_HOURS[name]))
    offset = re.fullmatch(r"(?:GMT|UTC)?([+-])(\d{2}):?(\d{2})", name)
    if offset is None:
        return None
    minutes = int(offset[2]) * 60 + int(offset[3])
    if minutes >= MINUTES_OF_A_DAY:
        return None
    return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes))
