"""gunicorn's threaded worker, but a thread only gets a request that was received whole.

gunicorn hands a connection to a thread with its first byte, so a dozen half-sent requests hold every thread for as long
as their senders like. Here the main loop receives, for any number of connections at once; what is not whole within
REQUEST_SECONDS is closed. A body over the limit is read and thrown away there too, so that its sender sees
the answer. A webhook's token that is known to be wrong is refused there as well, at a tenth of the cost: whoever tries
tokens takes no thread from Khoros. https ends at a proxy; a worker that ends it itself works as gunicorn's does.
"""

import json
import re
import selectors
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from portal import settings

READ_AT_ONCE = 64 * 1024
# gunicorn refuses longer heads itself.
LONGEST_HEAD = 64 * 1024
LARGEST_BODY = max(settings.INTAKE_MAX_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE) + READ_AT_ONCE
# What a sender of too much may send before it sees no answer but a reset.
THROWN_AWAY_BYTES = 8 * 1024 * 1024

KHOROS_CALL = re.compile(rb"POST /webhooks/khoros/([\w-]{32,36})/? HTTP/1\.1\r\n")
AUTHORIZATION = re.compile(rb"\r\nauthorization:[ \t]*([^\r\n]*)\r\n", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection:[^\r\n]*close")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n")
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked")
EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")
LAST_CHUNK = re.compile(rb"(?:^|\r\n)0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n$")
LONGEST_TAIL = 4096
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def refusal(status: str, message: str, connection: str = "close", more: str = "") -> bytes:
    body = json.dumps({"error": message}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: {connection}\r\n{more}\r\n".encode() + body


TOO_LARGE = refusal("413 Content Too Large", f"A request may have {settings.INTAKE_MAX_BYTES} bytes at most.")
TOO_SLOW = refusal("408 Request Timeout", f"The request was not complete within {settings.REQUEST_SECONDS} s.")


@dataclass(eq=False)
class Receiving:
    """A request on its way in: what has come, and how much it will be."""

    conn: Any
    until: float
    received: bytearray = field(default_factory=bytearray)
    head_ends: int = 0
    length: int | None = None
    is_chunked: bool = False
    count: int = 0
    # The end of what was thrown away.
    tail: bytes = b""
    is_too_large: bool = False
    is_registered: bool = False

    def add(self, data: bytes) -> None:
        self.count += len(data)
        if not self.is_too_large:
            self.received += data
            if not self.head_ends:
                self._read_head()
        is_over = (self.length or 0) > LARGEST_BODY or len(self.received) > LARGEST_BODY + LONGEST_HEAD
        self.is_too_large = self.is_too_large or is_over
        if self.is_too_large:
            self.tail = (self.tail + (bytes(self.received[-LONGEST_TAIL:]) or data))[-LONGEST_TAIL:]
            self.received.clear()

    def _read_head(self) -> None:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        self.head_ends = end + 4
        head = bytes(self.received[: self.head_ends]).lower()
        declared = CONTENT_LENGTH.search(head)
        self.is_chunked = CHUNKED.search(head) is not None
        self.length = None if self.is_chunked else int(declared[1]) if declared else 0
        if EXPECTS.search(head) and len(self.received) == self.head_ends:
            with suppress(OSError):
                self.conn.sock.send(CONTINUE)

    def khoros_call(self) -> tuple[str, str] | None:
        """Address and Authorization of a call to the webhook that is all there is here, and keeps its connection."""
        head = bytes(self.received[: self.head_ends])
        call, authorization = KHOROS_CALL.match(head), AUTHORIZATION.search(head)
        if self.is_chunked or call is None or authorization is None or CLOSES.search(head.lower()):
            return None
        if len(self.received) != self.head_ends + (self.length or 0):
            return None
        return call[1].decode(), authorization[1].decode("latin-1")

    @property
    def is_whole(self) -> bool:
        if self.is_too_large:
            whole = self.head_ends + (self.length or THROWN_AWAY_BYTES)
            return self.count >= min(whole, THROWN_AWAY_BYTES) or self._has_last_chunk
        if not self.head_ends:
            return len(self.received) > LONGEST_HEAD
        if self.is_chunked:
            return self._has_last_chunk
        return len(self.received) - self.head_ends >= (self.length or 0)

    @property
    def _has_last_chunk(self) -> bool:
        """Looks from the line break before the body on, as far as the tail goes back."""
        tail = self.tail or bytes(self.received[-LONGEST_TAIL:])
        begins = max(0, self.head_ends - 2 - self.count + len(tail))
        return self.is_chunked and LAST_CHUNK.search(tail, begins) is not None


def is_refused(receiving: Receiving) -> bool:
    call = receiving.khoros_call()
    if call is None:
        return False
    # The portal is loaded by the time that a request comes, not when the server reads this module.
    from integrations.intake import is_surely_refused

    return is_surely_refused(*call)


class WholeRequestWorker(ThreadWorker):
    """See the module. `enqueue_req` is where gunicorn's main loop hands a connection to the threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiving: set[Receiving] = set()

    def enqueue_req(self, conn: TConn) -> None:
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        receiving = Receiving(conn, time.monotonic() + settings.REQUEST_SECONDS)
        if conn.parser is not None and (ahead := conn.parser.unreader.take_buffered()):
            receiving.add(ahead)
        conn.sock.setblocking(False)
        self._receive(receiving)

    def _receive(self, receiving: Receiving, _socket: Any = None) -> None:
        """Reads what is there; hands over, or waits for more."""
        while not receiving.is_whole:
            try:
                data = receiving.conn.sock.recv(READ_AT_ONCE)
            except (BlockingIOError, InterruptedError):
                self._wait_for_more(receiving)
                return
            except OSError:
                data = b""
            if not data:
                self._end_of_stream(receiving)
                return
            receiving.add(data)
        self._hand_over(receiving)

    def _wait_for_more(self, receiving: Receiving) -> None:
        if receiving.is_registered:
            return
        receiving.is_registered = True
        self._receiving.add(receiving)
        ready = partial(self._receive, receiving)
        self.poller.register(receiving.conn.sock, selectors.EVENT_READ, ready)

    def _end_of_stream(self, receiving: Receiving) -> None:
        """Half a request is for gunicorn to refuse, as it cannot wait for more; nothing at all is a goodbye."""
        if receiving.received:
            self._hand_over(receiving)
        else:
            self._close(receiving)

    def _hand_over(self, receiving: Receiving) -> None:
        if receiving.is_too_large:
            self._close(receiving, TOO_LARGE)
            return
        self._forget(receiving)
        if is_refused(receiving):
            self._refuse(receiving.conn)
            return
        conn = receiving.conn
        conn.sock.setblocking(True)
        conn.init()
        conn.data_ready = True
        conn.parser.unreader.unread(bytes(receiving.received))
        super().enqueue_req(conn)

    def _refuse(self, conn: TConn) -> None:
        """Answers and waits for the connection's next request, as gunicorn does after one that a thread answered."""
        from integrations.intake import REFUSED

        answer = refusal("401 Unauthorized", REFUSED, "keep-alive", "WWW-Authenticate: Bearer\r\n")
        conn.init()
        future: Future[bool] = Future()
        try:
            future.set_result(conn.sock.send(answer) == len(answer))
        except OSError as error:
            future.set_exception(error)
        self.finish_request(conn, future)

    def _close(self, receiving: Receiving, answer: bytes = b"") -> None:
        self._forget(receiving)
        self.nr_conns -= 1
        with suppress(OSError):
            if answer:
                receiving.conn.sock.send(answer)
        receiving.conn.close()

    def _forget(self, receiving: Receiving) -> None:
        self._receiving.discard(receiving)
        if receiving.is_registered:
            receiving.is_registered = False
            with suppress(OSError, KeyError, ValueError):
                self.poller.unregister(receiving.conn.sock)

    def murder_pending(self) -> None:
        """Called by gunicorn's loop about once a second: ends what takes too long."""
        super().murder_pending()
        now = time.monotonic()
        for receiving in [each for each in self._receiving if each.until <= now]:
            too_slow = TOO_SLOW if receiving.received else b""
            self._close(receiving, TOO_LARGE if receiving.is_too_large else too_slow)
