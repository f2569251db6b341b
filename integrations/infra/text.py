"""Text as it can be stored, and as people read it."""

import re
from datetime import datetime, timedelta, tzinfo

from django.utils import timezone

# PostgreSQL stores no NUL, and half a surrogate pair cannot be encoded as UTF-8.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


TOKEN = re.compile("[\x21-\x7e]*")


def is_token(text: str) -> bool:
    """Whether it has only what keys and tokens are made of, and headers can carry: visible ASCII characters."""
    return TOKEN.fullmatch(text) is not None


def storable(text: str) -> str:
    """The text without the few characters that neither a database nor UTF-8 can hold."""
    return UNSTORABLE.sub("�", text) if UNSTORABLE.search(text) else text


# Controls but tab and line break; what turns the reading direction of all that follows; what XML does not allow.
TRICKY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]")


def harmless(text: str) -> str:
    """Foreign text for pages, feeds and mails of ours, without characters that only serve to deceive."""
    return TRICKY.sub("", storable(text.replace("\r\n", "\n").replace("\r", "\n")))


# --- For people ------------------------------------------------------------------------------------------------------


def span_text(length: timedelta) -> str:
    """ "3 min", "5 h 10 min", "2 d 4 h": two units at most. Clocks differ, so a negative length counts as zero."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def duration_text(seconds: float) -> str:
    if seconds < 90:
        whole = max(round(seconds), 1)
        return f"{whole} second{'s' if whole != 1 else ''}"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds / 3600)} hours"


def shortened(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def defect_text(what: str, error: Exception) -> str:
    """For staff, where an error of ours ended something: `what` begins the sentence, as in "The test"."""
    return f"{what} failed because of an error in Casebridge ({type(error).__name__})."


REPORT_IT = "Report this to whoever runs Casebridge."


def article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def timestamp(at: datetime | None) -> str:
    """In the time zone of whoever looks (portal.time_zone); in UTC where nobody does."""
    if at is None:
        return "–"
    local = in_zone(at, timezone.get_current_timezone())
    return f"{local:%Y-%m-%d %H:%M:%S} {zone_text(local)}"


def in_zone(at: datetime, zone: tzinfo) -> datetime:
    """The same time in another zone; unchanged where the calendar ends before that."""
    try:
        return at.astimezone(zone)
    except (OverflowError, ValueError):
        return at


def zone_text(local: datetime) -> str:
    """ "CET", or "UTC+0530" where a zone has no name of its own."""
    name = local.tzname() or "UTC"
    return f"UTC{local:%z}" if name.startswith(("+", "-")) else name
