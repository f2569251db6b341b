"""gunicorn's threaded worker, but a thread only gets a request that was received whole, and is not held by its reader.

gunicorn hands a connection to a thread with its first byte, so a dozen half-sent requests hold every thread for as long
as their senders like. Here the main loop receives, for any number of connections at once; what is not whole within
REQUEST_SECONDS is answered and closed. Strangers cost little: what cannot be a call of theirs is refused by its head, a
webhook's token that is known to be wrong gets its answer here, and what is received at a time is bounded. A body over
the limit is thrown away, so that its sender sees the answer. https ends at a proxy; a worker that ends it itself works
as gunicorn's does.
"""

import array
import contextlib
import errno
import fcntl
import json
import re
import selectors
import socket
import struct
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from portal import settings
from portal.request_framing import BadRequest, Head, HeadTooLong, Incoming

READ_AT_ONCE = 64 * 1024
# What a page may be sent by somebody who has not signed in.
LARGEST_OF_A_STRANGER = 64 * 1024
# What a sender of too much may send before it sees no answer but a reset.
THROWN_AWAY_BYTES = 8 * 1024 * 1024
# Of all that is on its way in: beyond it, bodies that are larger than usual are refused.
MOST_RECEIVED = 48 * 1024 * 1024
USUAL_BODY = 64 * 1024
# A thread is held by a slow reader for this long at most; most answers fit into what the system sends by itself.
SEND_SECONDS = 5.0
SEND_BUFFER_BYTES = 1024 * 1024
# As the system takes it: seconds and microseconds.
SEND_TIMEOUT = struct.pack("ll", int(SEND_SECONDS), 0)
# How long a closed connection is listened to, so that its client reads the answer before it sees the end.
LINGER_SECONDS = 2.0
LINGER_BYTES = 256 * 1024

TOLD_EVERY_SECONDS = 1.0

WEBHOOKS = b"/webhooks/"
KHOROS_CALL = re.compile(rb"POST /webhooks/khoros/([^ /?]{1,100})/?(?:\?[^ ]*)? HTTP/1\.1")
# Linux: bytes in the send queue that the other side has not acknowledged.
SIOCOUTQ = 0x5411
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def refusal(status: str, message: str, connection: str = "close", more: str = "") -> bytes:
    body = json.dumps({"error": message}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: {connection}\r\n{more}\r\n".encode() + body


UNREADABLE = refusal("400 Bad Request", "This is not a request that can be read in one way only.")
TOO_LARGE = refusal("413 Content Too Large", f"A request may have {settings.INTAKE_MAX_BYTES} bytes at most.")
HEAD_TOO_LARGE = refusal("431 Request Header Fields Too Large", "The head of this request is too long.")
TOO_SLOW = refusal("408 Request Timeout", f"The request was not complete within {settings.REQUEST_SECONDS} s.")
TOO_MUCH_AT_ONCE = refusal("503 Service Unavailable", "Too much at once. Try again later.", more="Retry-After: 10\r\n")


@dataclass(eq=False)
class Receiving:
    """A connection whose request is on its way in."""

    conn: Any
    until: float
    incoming: Incoming = field(default_factory=Incoming)
    is_registered: bool = False
    was_asked_to_go_on: bool = False
    is_refused_by_its_head: bool = False

    def add(self, data: bytes) -> None:
        """Raises BadRequest."""
        incoming = self.incoming
        incoming.add(data, most_of)
        head = incoming.head
        if head is None or self.was_asked_to_go_on:
            return
        self.was_asked_to_go_on = True
        if head.value(b"expect").lower() != b"100-continue" or incoming.count:
            return
        if incoming.is_too_large:
            # Its sender waits for a word before it sends any of it.
            self.is_refused_by_its_head = True
            return
        with suppress(OSError):
            self.conn.sock.send(CONTINUE)

    @property
    def is_whole(self) -> bool:
        incoming = self.incoming
        is_enough = incoming.is_too_large and incoming.count >= THROWN_AWAY_BYTES
        return incoming.is_whole or is_enough or self.is_refused_by_its_head

    def khoros_call(self) -> tuple[str, str] | None:
        """Address and Authorization of a call to the webhook that is all there is here, and keeps its connection."""
        head = self.incoming.head
        call = KHOROS_CALL.fullmatch(head.line) if head else None
        if head is None or call is None or not self.incoming.is_alone or b"connection" in head.fields:
            return None
        return call[1].decode("latin-1"), head.value(b"authorization").decode("latin-1")


def most_of(head: Head) -> int:
    """Bytes of a body that are kept, by who may have sent them."""
    if head.line.split(b" ")[1].startswith(WEBHOOKS):
        return settings.INTAKE_MAX_BYTES
    has_session = settings.SESSION_COOKIE_NAME.encode() in b"".join(head.fields.get(b"cookie", []))
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE if has_session else LARGEST_OF_A_STRANGER


def is_refused(receiving: Receiving) -> bool:
    call = receiving.khoros_call()
    if call is None:
        return False
    # The portal is loaded by the time that a request comes, not when the server reads this module.
    from integrations.intake import is_surely_refused

    return is_surely_refused(*call)


def _has_unsent(sock: socket.socket) -> bool:
    """Whether the other side has not taken all that was sent to it; False where the system does not tell."""
    unsent = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), SIOCOUTQ, unsent)
    except (OSError, ValueError):
        return False
    return unsent[0] > 0


class WholeRequestWorker(ThreadWorker):
    """See the module. `enqueue_req` is where gunicorn's main loop hands a connection to the threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiving: set[Receiving] = set()
        self._lingering: deque[tuple[float, Any]] = deque()
        self._accepts_again_at = 0.0
        self._told_at = 0.0

    def notify(self) -> None:
        """That this worker lives: enough once within gunicorn's `timeout`, while its loop says it at each event."""
        if (now := time.monotonic()) - self._told_at >= TOLD_EVERY_SECONDS:
            self._told_at = now
            super().notify()

    # --- Receiving ---

    def accept(self, listener: Any) -> None:
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            # Out of descriptors: those who wait are taken once others have gone.
            self._accepts_again_at = time.monotonic() + 1.0
            self.set_accept_enabled(False)

    def set_accept_enabled(self, enabled: bool) -> None:
        if enabled and time.monotonic() < self._accepts_again_at:
            return
        super().set_accept_enabled(enabled)

    def enqueue_req(self, conn: TConn) -> None:
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        receiving = Receiving(conn, time.monotonic() + settings.REQUEST_SECONDS)
        self._receiving.add(receiving)
        conn.sock.setblocking(False)
        with self._answering_for(receiving):
            if conn.parser is not None and (ahead := conn.parser.unreader.take_buffered()):
                receiving.add(ahead)
            self._receive(receiving)

    def _read_more(self, receiving: Receiving, _socket: Any) -> None:
        with self._answering_for(receiving):
            self._receive(receiving)

    @contextlib.contextmanager
    def _answering_for(self, receiving: Receiving) -> Any:
        """What is no request is answered at once."""
        try:
            yield
        except HeadTooLong:
            self._answer(receiving, HEAD_TOO_LARGE)
        except BadRequest:
            self._answer(receiving, UNREADABLE)

    def _receive(self, receiving: Receiving) -> None:
        """Reads what is there; hands over, or waits for more. Raises BadRequest."""
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
            if len(receiving.incoming.received) > USUAL_BODY and self._received_bytes() > MOST_RECEIVED:
                self._answer(receiving, TOO_MUCH_AT_ONCE)
                return
        self._hand_over(receiving)

    def _received_bytes(self) -> int:
        return sum(len(each.incoming.received) for each in self._receiving)

    def _wait_for_more(self, receiving: Receiving) -> None:
        if receiving.is_registered:
            return
        receiving.is_registered = True
        self.poller.register(receiving.conn.sock, selectors.EVENT_READ, partial(self._read_more, receiving))

    def _end_of_stream(self, receiving: Receiving) -> None:
        """Half a request gets an answer; nothing at all is a goodbye."""
        self._answer(receiving, UNREADABLE if receiving.incoming.received else b"")

    def _hand_over(self, receiving: Receiving) -> None:
        if receiving.incoming.is_too_large:
            self._answer(receiving, TOO_LARGE)
            return
        self._forget(receiving)
        if is_refused(receiving):
            self._refuse(receiving.conn)
            return
        conn = receiving.conn
        conn.sock.setblocking(True)
        conn.init()
        conn.data_ready = True
        conn.parser.unreader.unread(bytes(receiving.incoming.received))
        super().enqueue_req(conn)

    def _forget(self, receiving: Receiving) -> None:
        self._receiving.discard(receiving)
        if receiving.is_registered:
            receiving.is_registered = False
            self._unregister(receiving.conn)

    def _unregister(self, conn: TConn) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)

    # --- Answering without a thread ---

    def _refuse(self, conn: TConn) -> None:
        """Answers and waits for the connection's next request, as gunicorn does after one that a thread answered."""
        from integrations.intake import REFUSED

        answer = refusal("401 Unauthorized", REFUSED, "keep-alive", "WWW-Authenticate: Bearer\r\n")
        conn.init()
        is_sent: Future[bool] = Future()
        try:
            is_sent.set_result(conn.sock.send(answer) == len(answer))
        except OSError:
            is_sent.set_result(False)
        self.finish_request(conn, is_sent)

    def _answer(self, receiving: Receiving, answer: bytes) -> None:
        self._forget(receiving)
        with suppress(OSError):
            receiving.conn.sock.send(answer)
        self._linger(receiving.conn)

    # --- In a thread ---

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """What the reader does not take within SEND_SECONDS ends the connection, not the thread's other work.

        The system keeps the time: Python's own would ask before each send whether it may, which costs a call as much as
        reading its head.
        """
        if not getattr(conn, "has_bounds", False):
            conn.has_bounds = True
            with suppress(OSError):
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
        return super().handle_request(req, conn)

    # --- Closing ---

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        """gunicorn's own would drain a connection that is to be closed here, and receive nothing meanwhile."""
        keeps_open = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        if keeps_open and conn.parser.unreader.buf.getvalue() and _has_unsent(conn.sock):
            # The next request has come although this one's answer is not read: threads would wait for its reader.
            keeps_open = False
        if keeps_open or self.cfg.is_ssl:
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """Half-closes, and listens for a moment: a full close while data are on their way would reset the answer."""
        conn.lingered = 0
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError, KeyError):
            self._close(conn)
            return
        self._lingering.append((time.monotonic() + LINGER_SECONDS, conn))

    def _drain(self, conn: TConn, _socket: Any) -> None:
        try:
            data = conn.sock.recv(READ_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        conn.lingered += len(data)
        if not data or conn.lingered > LINGER_BYTES:
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        if getattr(conn, "is_closed", False):
            return
        conn.is_closed = True
        self.nr_conns -= 1
        self._unregister(conn)
        conn.close()

    def murder_pending(self) -> None:
        """Called by gunicorn's loop about once a second: ends what takes too long."""
        super().murder_pending()
        now = time.monotonic()
        for receiving in [each for each in self._receiving if each.until <= now]:
            too_slow = TOO_SLOW if receiving.incoming.received else b""
            self._answer(receiving, TOO_LARGE if receiving.incoming.is_too_large else too_slow)
        while self._lingering and self._lingering[0][0] <= now:
            self._close(self._lingering.popleft()[1])
