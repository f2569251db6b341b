"""Connections that check the address they really connect to, and end when the call is out of time."""

import socket
import threading
import time
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from integrations.infra.http.addresses import refuse_private
from integrations.infra.watchdog import Limited

CONNECT_SECONDS = 10.0
USER_AGENT = "Casebridge/0.1"


def open_socket(host: str, port: int, *, may_be_private: bool = False) -> socket.socket:
    """A connection to the first of the host's addresses that answers. Raises OSError, AddressRefused.

    None of them may be private, whichever would answer: unless the administrator of this machine named the host.
    """
    candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not may_be_private:
        for *_, address in candidates:
            refuse_private(str(address[0]))
    last: OSError = OSError("no address")
    for family, kind, protocol, _, address in candidates:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(CONNECT_SECONDS, seconds_left()))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
            continue
        return sock
    raise last


class _Guarded:
    """Connects only where `refuse_private` lets it, and registers its socket with the call's deadline."""

    sock: Any
    host: str
    port: int
    timeout: Any
    socket_options: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        try:
            opened = open_socket(self._dns_host, self.port)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        except OSError as error:
            raise NewConnectionError(self, f"{error}") from error  # type: ignore[arg-type]
        _watch(self, opened)
        return opened

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self, self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]


class _GuardedHTTPConnection(_Guarded, HTTPConnection):
    pass


class _GuardedHTTPSConnection(_Guarded, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPSConnection


class GuardedAdapter(HTTPAdapter):
    """The adapter of every session: its connections are the guarded ones, and are shared by all threads."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


adapter = GuardedAdapter(pool_connections=20, pool_maxsize=64)
_threads = threading.local()


def session() -> requests.Session:
    """This thread's session: it uses neither the environment (proxies, .netrc) nor cookies."""
    current: requests.Session | None = getattr(_threads, "session", None)
    if current is None:
        current = _threads.session = requests.Session()
        current.trust_env = False
        current.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        current.headers.clear()
        current.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"})
        current.mount("https://", adapter)
        current.mount("http://", adapter)
    return current


# --- The deadline ----------------------------------------------------------------------------------------------------

_calls = threading.local()


class Deadline(Limited):
    """Shuts the call's socket when its time is over: a read timeout alone is reset by every byte that drips in."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.connection: Any = None
        self.socket: socket.socket | None = None

    def __enter__(self) -> Self:
        _calls.deadline = self
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        _calls.deadline = None
        super().__exit__()

    def shut(self) -> None:
        for open_socket in (getattr(self.connection, "sock", None), self.socket):
            if open_socket is not None:
                with suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)


def seconds_left() -> float:
    """Until the end of the call that this thread makes; raises ConnectTimeoutError when it is over."""
    deadline: Deadline | None = getattr(_calls, "deadline", None)
    left = deadline.until - time.monotonic() if deadline else CONNECT_SECONDS
    if left <= 0:
        raise ConnectTimeoutError(None, "the time for this call was over before it was sent")
    return left


def _watch(connection: Any, open_socket: socket.socket | None) -> None:
    deadline: Deadline | None = getattr(_calls, "deadline", None)
    if deadline is not None:
        deadline.connection, deadline.socket = connection, open_socket
    seconds_left()
