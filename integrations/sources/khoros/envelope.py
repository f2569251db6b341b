"""The outer part of a notification: parsing it, its key for deduplication, and masking secrets inside it.

The envelope of the documented label-applied example: companyId, eventName, createdDate, uuid (of the subscription),
eventUuid, type, data. `uuid` is called `subscriptionUuid` in the rule-applied example; nothing here depends on it.
"""

import encodings.aliases
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from encodings import normalize_encoding
from typing import Any

from integrations.domain.post import Unreadable
from integrations.infra.text import storable
from integrations.sources.khoros.dates import read_time

LONGEST_EVENT_UUID = 100
# Names of headers and parameters of a CRM call whose values are credentials.
SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|password|passwd|credential|session|signature|api[-_]?key|^key$|^sig$",
    re.IGNORECASE,
)
SECRET_PARAMETER = re.compile(r"((?:^|[?&;])([^=&;#?\s]{1,100})=)[^&;#\s]*")
MASK = "[removed by Casebridge]"
USER_AND_PASSWORD = re.compile(r"(://)[^/@\s\"'<>?#]{1,300}@")
# The text right behind an opening tag; attributes of any tag. Neither goes back over what it has read.
XML_ELEMENT = re.compile(r"(<([^<>/\s]{1,100})(?:\s[^<>]{0,500})?>)[^<]+")
XML_ATTRIBUTE = re.compile(r"(\s([^\s=<>\"']{1,100})=[\"'])[^\"'<>]{0,2000}([\"'])")
# A quoted name, its colon, and where a list begins; in JSON inside a string, quotes are preceded by backslashes.
# Possessive throughout, so that no hostile body causes backtracking.
NAME_PATTERN = re.compile(rb'"([^"\\]{1,200}+)\\*+"\s*+:\s*+(\[\s*+)?+')
OPENING = re.compile(rb'(\\*+)"')
UNQUOTED = re.compile(rb"[^\s\[{,\]}][^,\]}\r\n]*+")
LIST_GOES_ON = re.compile(rb"\s*+,?+\s*+")

# The character sets that are read. Python has further codecs: some take quadratic time, some are no character sets.
CHARSETS = {
    "ascii", "big5", "big5hkscs", "cp932", "cp949", "cp950", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "johab",
    "koi8_r", "koi8_u", "latin_1", "mac_cyrillic", "mac_greek", "mac_latin2", "mac_roman", "mac_turkish", "shift_jis",
    "tis_620", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_8", "utf_8_sig",
    *(f"cp{number}" for number in (874, *range(1250, 1259))),
    *(f"iso8859_{part}" for part in range(1, 17) if part != 12),
}  # fmt: skip
CODECS = {name: name for name in CHARSETS} | {
    alias: codec for alias, codec in encodings.aliases.aliases.items() if codec in CHARSETS
}

# The eventUuid of our own probes begins like this; only who knows the bearer token can send one.
PROBE_MARK = "casebridge-probe-"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What intake needs from a body: its key, its event's name, and the body as it may be stored."""

    event_key: str
    event_name: str
    body: bytes
    unreadable_because: str = ""
    happened_at: datetime | None = None


def open_envelope(body: bytes, charset: str = "") -> Envelope:
    """Never raises: a body that is no JSON object has `unreadable_because`, and its raw bytes as its key."""
    try:
        with too_deep_is_unreadable():
            envelope = read_json_object(body, charset)
            name = storable(str(envelope.get("eventName") or ""))[:100]
            happened_at = read_time(envelope.get("createdDate"))
            return Envelope(event_key(envelope), name, without_secrets(envelope, name, body), happened_at=happened_at)
    except Unreadable as unreadable:
        return Envelope(f"bytes:{hashlib.sha256(body).hexdigest()}", "", _kept_though_unreadable(body), str(unreadable))


def _kept_though_unreadable(body: bytes) -> bytes:
    """The raw bytes; in what looks like a CRM call, credentials are masked by pattern."""
    return _masked_by_pattern(body) if _looks_like_crm_call(body) else body


def _masked_by_pattern(text: bytes) -> bytes:
    """Masks values after a name that suggests a secret without parsing JSON: quoted, bare or truncated."""
    pieces, kept, position = [], 0, 0
    while match := NAME_PATTERN.search(text, position):
        position = match.end()
        if not SECRET_NAME.search(match[1].decode("latin-1")):
            continue
        begins, position = position, (_end_of_list if match[2] else _end_of_value)(text, position)
        if position > begins:
            pieces += [text[kept:begins], f'"{MASK}"'.encode()]
            kept = position
    return b"".join([*pieces, text[kept:]])


def _end_of_list(text: bytes, begins: int) -> int:
    """The position after the last of the single values that a list begins with."""
    position = last = begins
    while (ends := _end_of_value(text, position)) > position:
        further = LIST_GOES_ON.match(text, ends)
        position, last = further.end() if further else ends, ends
    return last


def _end_of_value(text: bytes, begins: int) -> int:
    """The position after the closing quote, or the end of the text where that is missing.

    `begins` itself where there is no single value: an object has names of its own inside.
    """
    opening = OPENING.match(text, begins)
    if opening is None:
        bare = UNQUOTED.match(text, begins)
        return bare.end() if bare else begins
    depth, position = len(opening[1]), opening.end()
    while (quote := text.find(b'"', position)) >= 0:
        inside = text[position:quote]
        backslashes = len(inside) - len(inside.rstrip(b"\\"))
        # Escaped n times, a closing quote is preceded by 2**n - 1 backslashes, plus pairs of escaped ones.
        if (backslashes - depth) % (2 * (depth + 1)) == 0:
            return quote + 1
        position = quote + 1
    return len(text)


def _looks_like_crm_call(body: bytes) -> bool:
    return any(mark in body for mark in (b"error-custom-crm", b"externalCall", b"requestHeaders"))


def read_json_object(body: bytes, charset: str = "") -> dict[str, Any]:
    """The body as a JSON object, whatever Content-Type it came with. Raises Unreadable."""
    if not body.strip():
        raise Unreadable("The body is empty.")
    with too_deep_is_unreadable():
        content = _read_json(body, charset)
    if not isinstance(content, dict):
        raise Unreadable(f"The body is JSON, but {_kind(content)} where an object was expected.")
    return content


def _read_json(body: bytes, charset: str) -> Any:
    try:
        return json.loads(body)
    except UnicodeDecodeError:
        pass
    except ValueError as error:
        raise Unreadable(f"The body is not JSON: {error}.") from None
    codec = _codec(charset) if charset else "latin-1"
    if not codec:
        raise Unreadable(f"The body is not UTF-8, and its character set “{storable(charset[:40])}” is not read here.")
    try:
        return json.loads(body.decode(codec))
    except ValueError as error:
        raise Unreadable(f"The body is neither UTF-8 nor JSON in its declared character set: {error}.") from None


def _codec(charset: str) -> str:
    """The name of the codec for a character set; empty for one that is not read here.

    Unknown names are never looked up in Python: each would be cached for good.
    """
    name = normalize_encoding(charset.strip().lower()) if charset.isascii() else ""
    return CODECS.get(name, "")


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def is_probe(key: str) -> bool:
    return key.startswith(f"uuid:{PROBE_MARK}")


def event_key(envelope: dict[str, Any]) -> str:
    """What makes two calls the same event: Khoros' eventUuid, else the canonical content."""
    event_uuid = envelope.get("eventUuid")
    if isinstance(event_uuid, str | int) and not isinstance(event_uuid, bool) and str(event_uuid).strip():
        key = storable(str(event_uuid).strip())
        return f"uuid:{key}" if len(key) <= LONGEST_EVENT_UUID else f"uuid-hash:{_sha256(key)}"
    content = [envelope.get("eventName"), envelope.get("companyId"), envelope.get("data")]
    return f"content:{_sha256(json.dumps(content, sort_keys=True, separators=(',', ':')))}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def without_secrets(envelope: dict[str, Any], event_name: str, body: bytes) -> bytes:
    """The body as received, except for CRM calls, whose credentials are masked."""
    if event_name.lower() != "error-custom-crm" and not _looks_like_crm_call(body):
        return body
    return json.dumps(_masked(envelope)).encode()


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: MASK if SECRET_NAME.search(str(name)) else _masked(inner) for name, inner in value.items()}
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return _masked_json(value)
    if isinstance(value, str):
        return _masked_text(value)
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _masked_text(text: str) -> str:
    """Secrets in a query string, in front of a host name, and in elements and attributes of XML."""
    text = SECRET_PARAMETER.sub(_masked_parameter, USER_AND_PASSWORD.sub(rf"\1{MASK}@", text))
    if "<" not in text:
        return text
    text = XML_ELEMENT.sub(_masked_element, text)
    return XML_ATTRIBUTE.sub(_masked_attribute, text)


def _masked_element(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}" if SECRET_NAME.search(match[2]) else match[0]


def _masked_attribute(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}{match[3]}" if SECRET_NAME.search(match[2]) else match[0]


def _masked_json(text: str) -> str:
    """JSON inside a string, as the body of the call may be."""
    try:
        # Unescaped: each \\u would double its backslash at every level of nesting.
        return json.dumps(_masked(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return _masked_by_pattern(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def _masked_parameter(match: re.Match[str]) -> str:
    return match[1] + MASK if SECRET_NAME.search(match[2]) else match[0]


@contextmanager
def too_deep_is_unreadable() -> Iterator[None]:
    """For everything that recurses into a body: what could just be parsed may be too deep to be serialised."""
    try:
        yield
    except RecursionError:
        raise Unreadable("The body is nested too deeply to be read.") from None
