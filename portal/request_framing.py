"""Where a request ends, as far as it has come: its head read strictly, its body counted. Pure; no socket is known here.

Whoever answers a request without gunicorn's own parser has to agree with it, and with any proxy in front, on where the
next one begins. So what can be read in two ways is no request (RFC 9112, section 6.3, and what it says of smuggling).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_HEAD = 32 * 1024
LONGEST_LINE = 4096
MOST_TRAILERS = 20

REQUEST_LINE = re.compile(rb"[A-Z]{3,20} [^ \r\n]+ HTTP/1\.[01]")
# Blanks around a value are stripped, not matched: an expression for both takes a square of their number.
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\x00]*)")
LENGTH = re.compile(rb"[0-9]{1,15}")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")


class BadRequest(ValueError):
    """Cannot be read, or only in more than one way."""


class HeadTooLong(BadRequest):
    """Longer than any head that we have a use for."""


@dataclass(frozen=True)
class Head:
    """The first line, the fields by lower-case name (several of one name in a list), and the body's length.

    `length` is None where the body comes in chunks.
    """

    line: bytes
    fields: dict[bytes, list[bytes]]
    length: int | None

    def value(self, name: bytes) -> bytes:
        """Empty where there is none, or more than one."""
        values = self.fields.get(name, [])
        return values[0] if len(values) == 1 else b""


def read_head(raw: bytes) -> Head:
    """The head with its empty line. Raises BadRequest."""
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if not REQUEST_LINE.fullmatch(first):
        raise BadRequest
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        found = FIELD.fullmatch(line)
        if found is None:
            raise BadRequest
        fields.setdefault(found[1].lower(), []).append(found[2].strip(b" \t"))
    return Head(first, fields, _length(fields))


def _length(fields: dict[bytes, list[bytes]]) -> int | None:
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if codings:
        if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
            raise BadRequest
        return None
    if len(lengths) > 1 or any(not LENGTH.fullmatch(length) for length in lengths):
        raise BadRequest
    return int(lengths[0]) if lengths else 0


@dataclass
class Chunks:
    """A body in chunks, followed as it comes: each byte is looked at once."""

    is_complete: bool = False
    _left: int = 0
    _line: bytearray = field(default_factory=bytearray)
    _trailers: int | None = None

    def add(self, data: bytes) -> int:
        """How many of these bytes belong to the body. Raises BadRequest."""
        at = 0
        while at < len(data) and not self.is_complete:
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            at = end
            if len(self._line) > LONGEST_LINE:
                raise BadRequest
            if self._line.endswith(b"\n"):
                self._take_line()
        return at

    def _take_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise BadRequest
        if self._trailers is not None:
            self._trailers += 1
            self.is_complete = line == b"\r\n"
            if self._trailers > MOST_TRAILERS:
                raise BadRequest
            return
        found = CHUNK.fullmatch(line[:-2])
        if found is None:
            raise BadRequest
        size = int(found[1], 16)
        if size:
            self._left = size + 2
        else:
            self._trailers = 0


@dataclass
class Incoming:
    """A request on its way in. `received` holds it; of a body that is larger than it may be, bytes are only counted."""

    received: bytearray = field(default_factory=bytearray)
    head: Head | None = None
    count: int = 0
    is_too_large: bool = False
    _chunks: Chunks = field(default_factory=Chunks)
    _head_length: int = 0

    def add(self, data: bytes, most: Callable[[Head], int]) -> None:
        """`most`: how many bytes of a body are kept, by its head. Raises BadRequest."""
        if self.head is None:
            data = self._add_to_head(data)
        if self.head is None:
            return
        self.count += self._chunks.add(data) if self.head.length is None else len(data)
        if (self.count if self.head.length is None else self.head.length) > most(self.head):
            self.is_too_large = True
            self.received.clear()
        elif not self.is_too_large:
            self.received += data

    def _add_to_head(self, data: bytes) -> bytes:
        """What of the data comes after the head. Raises BadRequest."""
        looked_at = max(len(self.received) - 3, 0)
        self.received += data
        if self.received.startswith(b"\r\n"):
            # Left behind a body by some clients; to be ignored (RFC 9112, section 2.2).
            looked_at = 0
            self.received = bytearray(self.received.lstrip(b"\r\n"))
        end = self.received.find(b"\r\n\r\n", looked_at)
        if (end < 0 and len(self.received) > LONGEST_HEAD) or end > LONGEST_HEAD:
            raise HeadTooLong
        if end < 0:
            return b""
        self._head_length = end + 4
        rest = bytes(self.received[self._head_length :])
        del self.received[self._head_length :]
        self.head = read_head(bytes(self.received))
        return rest

    @property
    def is_whole(self) -> bool:
        if self.head is None:
            return False
        return self._chunks.is_complete if self.head.length is None else self.count >= self.head.length

    @property
    def is_alone(self) -> bool:
        """Whether nothing of a next request has come with it."""
        if self.head is None or self.head.length is None:
            return False
        return len(self.received) == self._head_length + self.head.length
