"""Single values from foreign JSON: text, addresses, numbers, labels. Whatever the input, nothing raises."""

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from integrations.infra.text import harmless, storable

LARGEST_COUNT = 2**63 - 1
# All posts of a notification share its labels: without a bound, thousands of each would multiply.
MOST_LABELS = 100
LONGEST_LABEL = 250


def as_text(raw: Any) -> str:
    if isinstance(raw, str):
        return storable(raw)
    if isinstance(raw, bool) or raw is None:
        return ""
    return str(raw) if isinstance(raw, int | float) else ""


def as_object(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def as_list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else [] if raw is None else [raw]


def web_address(raw: Any) -> str:
    """Addresses from outside become links on our pages: only http and https may."""
    address = as_text(raw).strip()
    return address if address.lower().startswith(("http://", "https://")) else ""


# Their addresses of pictures are signed and end after days, whatever they look like.
PASSING_HOSTS = ("fbcdn.net", "cdninstagram.com", "fbsbx.com", "licdn.com", "tiktokcdn.com", "tiktokcdn-us.com")
PASSING_ARGUMENTS = ("expires", "signature", "sig", "oe", "token", "policy")
LONGEST_PICTURE = 2000


def lasting_picture(raw: Any) -> str:
    """The https address of a picture that will still be there in a year, as far as an address can tell; else ""."""
    address = as_text(raw).strip()
    try:
        parts = urlsplit(address)
        host, arguments = (parts.hostname or "").lower(), [name.lower() for name, _ in parse_qsl(parts.query)]
    except ValueError:
        return ""
    if parts.scheme != "https" or "." not in host or len(address) > LONGEST_PICTURE or parts.username:
        return ""
    passes = any(host == known or host.endswith(f".{known}") for known in PASSING_HOSTS)
    is_signed = any(name in PASSING_ARGUMENTS or name.startswith("x-") for name in arguments)
    is_odd = harmless(address) != address or any(sign.isspace() or sign in "\"'<>\\" for sign in address)
    return "" if passes or is_signed or is_odd else address


def as_count(raw: Any) -> int | None:
    """A whole number that a column holds, or None."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    try:
        count = int(raw.replace(",", "")) if isinstance(raw, str) else int(raw)
    except (ValueError, OverflowError):
        return None
    is_whole = isinstance(raw, str) or count == raw
    return count if is_whole and 0 <= count <= LARGEST_COUNT else None


def read_labels(raw: Any) -> tuple[str, ...]:
    """Labels in any of their shapes. " - " stays inside: Khoros shows labels as "Set - Label"."""
    if isinstance(raw, str):
        raw = raw.split(",")
    if isinstance(raw, dict):
        raw = [raw]
    if not isinstance(raw, list):
        return ()
    names = (_label_name(entry).strip()[:LONGEST_LABEL] for entry in raw)
    return tuple(dict.fromkeys(name for name in names if name))[:MOST_LABELS]


def _label_name(entry: Any) -> str:
    if isinstance(entry, dict):
        return as_text(entry.get("title") or entry.get("name") or entry.get("id"))
    return as_text(entry)


def read_notes(raw: Any) -> tuple[str, ...]:
    """Notes as texts, with their authors where known."""
    notes = (_note(entry).strip() for entry in as_list(raw))
    return tuple(note for note in notes if note)


def _note(entry: Any) -> str:
    if not isinstance(entry, dict):
        return as_text(entry)
    text = as_text(entry.get("text") or entry.get("note") or entry.get("body") or entry.get("content"))
    author = as_text(entry.get("author") or entry.get("authorName") or entry.get("createdBy"))
    return f"{author}: {text}" if author and text else text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
