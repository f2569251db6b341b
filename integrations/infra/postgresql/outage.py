"""PostgreSQL is away: web requests are told so within seconds, and noticed it is when it is back.

A server that is frozen, or behind a cut cable, refuses nothing: a statement waits for ever, and soon every thread does.
So each web request has a limit (`Limit`); when it is over, its connection's socket is shut and the statement fails.
After the first failure one thread tries to connect; until it can, no request touches the database (`is_on`). What
still hangs when it cannot is shut as well. Workers have no limits: they wait, as nobody waits for them.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Self

import psycopg
import structlog
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

from integrations.infra.watchdog import Limited, watched

log = structlog.get_logger(__name__)

# A healthy server lets the probe in within milliseconds: for so long a request waits to learn that nothing is wrong.
VERDICT_SECONDS = 0.3
PROBE_EVERY_SECONDS = 0.5
# https://www.postgresql.org/docs/current/errcodes-appendix.html: too_many_connections; connection exceptions, and the
# server's shutting down or starting up.
TOO_MANY = "53300"
SAYS_FAREWELL = ("08", "57P0")

_threads = threading.local()


class Limit(Limited):
    """The time that this thread's request may use the database for; a `with` statement around the request.

    `in_all`: from the beginning of the block. Else each time from taking a connection on: a page that waits for another
    system gives its connection back meanwhile, and that time says nothing about the database.
    """

    def __init__(self, seconds: float, *, in_all: bool = True) -> None:
        super().__init__(seconds if in_all else float("inf"))
        self._seconds, self._in_all = seconds, in_all
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> Self:
        _threads.limit = self
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        _threads.limit = None
        super().__exit__()

    def use(self, connection: psycopg.Connection | None) -> None:
        """The connection that the request uses from now on; None when it was given back."""
        with self.lock:
            self._connection = connection
            if not self._in_all and not self.is_over:
                self.until = time.monotonic() + self._seconds if connection is not None else float("inf")
            if self.is_over:
                self.shut()

    def shut(self) -> None:
        """Ends the stream, so that whoever waits for the server reads its end. The descriptor stays libpq's."""
        if self._connection is None or self._connection.closed:
            return
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as shared:
            shared.shutdown(socket.SHUT_RDWR)


def using(connection: psycopg.Connection) -> None:
    """Called by the backend: this thread has taken a connection."""
    limit: Limit | None = getattr(_threads, "limit", None)
    if limit is not None:
        limit.use(connection)


def no_longer_using() -> None:
    limit: Limit | None = getattr(_threads, "limit", None)
    if limit is not None:
        limit.use(None)


def is_time_over() -> bool:
    limit: Limit | None = getattr(_threads, "limit", None)
    return limit is not None and limit.is_over


# --- Away and back ---------------------------------------------------------------------------------------------------


class _Outage:
    """Whether PostgreSQL is believed to be away, as this process sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._since: float | None = None

    def suspect(self) -> None:
        with self._lock:
            if self._since is not None:
                return
            self._since = time.monotonic()
            self._over.clear()
        threading.Thread(target=self._watch_for_return, name="database-probe", daemon=True).start()

    def is_on(self) -> bool:
        since = self._since
        if since is None:
            return False
        self._over.wait(max(0.0, since + VERDICT_SECONDS - time.monotonic()))
        return self._since is not None

    def _watch_for_return(self) -> None:
        is_told = False
        while not _lets_us_in():
            if not is_told:
                log.error("PostgreSQL is away: calls and pages are answered 503 until it is back")
                is_told = True
            # Whoever began before it was known would wait to the end of the limit, and keep a thread from others.
            for limited in watched():
                if isinstance(limited, Limit):
                    limited.end()
            time.sleep(PROBE_EVERY_SECONDS)
        if is_told and self._since is not None:
            log.warning("PostgreSQL is back", seconds=round(time.monotonic() - self._since, 1))
        with self._lock:
            self._since = None
            self._over.set()


def _lets_us_in() -> bool:
    """One connection, outside the pool, opened and closed. A frozen server is given up after two seconds."""
    try:
        parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()
        psycopg.connect(**parameters | {"connect_timeout": 2}).close()
    except psycopg.Error as error:
        return _is_full(error)
    return True


def _is_full(error: psycopg.Error) -> bool:
    """Refused for want of a slot: the server is there, and works for whoever has a connection."""
    return error.sqlstate == TOO_MANY or any(words in str(error) for words in ("too many c", "connection slots"))


_outage = _Outage()


def is_on() -> bool:
    """Whether a request should be answered 503 without touching the database. Waits 0.3 s at most for the verdict."""
    return _outage.is_on()


def _was_answered(error: BaseException) -> bool:
    """Whether the server itself sent this error, about the statement: a deadlock, a time-out of its own."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return bool(state) and not state.startswith(SAYS_FAREWELL)


def suspect(error: BaseException | None) -> bool:
    """Called with what went wrong: when it can mean that PostgreSQL is away, finds out. Returns whether it can."""
    if not isinstance(error, OperationalError | InterfaceError) or _was_answered(error):
        return False
    _outage.suspect()
    return True
