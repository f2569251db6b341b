"""The one way out: every outgoing call of Casebridge is made here.

Promised: https only and no private address, checked on the address really connected to; a line calls its own origin
and nothing else; no redirect is followed; no cookie, proxy or .netrc is used; a call ends within its deadline, whatever
the other side does; an answer is read up to a cap. What cannot be reached becomes a `Failure`; what answered becomes a
`Reply`, good or bad.
`OUTBOUND_ALLOW_PRIVATE` opens http, loopback and private addresses for the sandbox and for tests.
"""

import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)
from urllib3.util import parse_url

from integrations.post import storable

CONNECT_SECONDS = 10.0
ANSWER_CAP_BYTES = 2 * 1024 * 1024
KEPT_BYTES = 2048
LONGEST_WAIT_SECONDS = 15 * 60.0
DEFAULT_PORTS = {"https": 443, "http": 80}
# What has no place in a path: readers of addresses differ on it, and one of them may end the host's name elsewhere.
OUT_OF_PLACE = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f]")
USER_AGENT = "Casebridge/0.1"
MASK = "[removed]"


@dataclass(eq=False)
class Failure(Exception):
    """What went wrong with a call, in words for the person who repairs it, and whether waiting can help.

    `detail` holds the other side's own words. `permanent`: waiting does not help. `retry_after`: seconds to wait at
    least. `is_uncertain`: it may have been done all the same. `pauses`: it concerns the whole connection, for
    `pause_seconds`, or until a person acts when that is None. `limited`: a request limit was met. `look_up_next`: the
    next try has to look first. `renew_token`: the access token was refused and a new one may help. `is_transport`: the
    other side was not reached, or only a gateway before it. `is_queue_full`: it takes no more jobs now.
    `is_about_requester`: another requester may help. `is_closed`: the ticket takes no change any more. `was_done`: it
    was no refusal; what was made, or may have been, could not be recorded. `is_not_there`: it was looked up after all
    tries, so it is known now that nothing was made.

    `words` say what happened and what it means, `remedy` what to do, `remedy_at` where that is done ("mapping",
    "connection", or a path at the other side that begins with "/"). Failures with one `cause` are mended together.
    """

    words: str
    detail: str = ""
    permanent: bool = False
    retry_after: float | None = None
    is_uncertain: bool = False
    pauses: bool = False
    pause_seconds: float | None = None
    limited: bool = False
    look_up_next: bool = False
    renew_token: bool = False
    is_transport: bool = False
    is_queue_full: bool = False
    is_about_requester: bool = False
    is_closed: bool = False
    was_done: bool = False
    is_not_there: bool = False
    status: int | None = None
    remedy: str = ""
    remedy_at: str = ""
    cause: str = ""

    def __str__(self) -> str:
        return self.words

    @property
    def told(self) -> str:
        """What happened, what it means, and what to do."""
        return f"{self.words} {self.remedy}".strip()


class AddressRefused(Exception):
    """An address that outgoing calls may not use; the text says why."""


class NotItsTurn(Exception):
    """The shared pace has no turn within the time a worker may wait. `seconds` says when there will be one."""

    def __init__(self, seconds: float, budget: str = "account") -> None:
        super().__init__(f"no turn within {seconds:.1f} s")
        self.seconds = seconds
        self.budget = budget


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: status, headers by lower-case name, and at most ANSWER_CAP_BYTES of the body."""

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
            found = self.json()
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def looks_like_html(self) -> bool:
        return self.body[:500].lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body"))

    def date(self) -> datetime | None:
        """When it was answered, by the other side's own clock."""
        return _http_date(self.headers.get("date", ""))

    def retry_after(self) -> float | None:
        """Seconds from a Retry-After header in either form; a date counts from the answer's own Date."""
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


# --- Addresses -------------------------------------------------------------------------------------------------------


def checked_origin(address: str) -> str:
    """Scheme and host of an address that outgoing calls may use. Raises AddressRefused with words for the field.

    A name is not resolved here: one that leads to a private address is refused when connecting.
    """
    try:
        parts = urlsplit(address.strip() if "://" in address else f"https://{address.strip()}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise AddressRefused("This is not an address. Enter it like https://example.zendesk.com.") from None
    if not host or parts.username or " " in host or ("." not in host and ":" not in host and host != "localhost"):
        raise AddressRefused("This is not an address. Enter it like https://example.zendesk.com.")
    if parts.scheme != "https" and not (parts.scheme == "http" and settings.OUTBOUND_ALLOW_PRIVATE):
        raise AddressRefused("The address must begin with https://.")
    for literal in _literal_addresses(host):
        refuse_private(literal)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != DEFAULT_PORTS.get(parts.scheme) else "")


def origin_of(address: str) -> tuple[str, str, int | None]:
    """Scheme, host and port as a call takes them: the same for one origin, however it is written."""
    try:
        parts = parse_url(address)
    except LocationParseError:
        return "", address, None
    scheme = parts.scheme or ""
    return scheme, (parts.host or "").rstrip("."), parts.port or DEFAULT_PORTS.get(scheme)


def is_path(path: str) -> bool:
    """Whether this, put behind an origin, is called there."""
    return path.startswith("/") and not path.startswith("//") and not OUT_OF_PLACE.search(path)


def path_within(origin: str, address: str) -> str:
    """The path of an address that an answer names, or the path it names; "" where it leads away from the origin."""
    if is_path(address):
        return address
    if OUT_OF_PLACE.search(address) or origin_of(address) != origin_of(origin):
        return ""
    path = parse_url(address).request_uri
    return path if is_path(path) else ""


def _literal_addresses(host: str) -> list[str]:
    """The address a host spells out itself, in any of the forms a resolver takes for one (127.1, 0x7f000001, ...)."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    with suppress(OSError):
        return [socket.inet_ntoa(socket.inet_aton(host))]
    return []


def refuse_private(address: str) -> None:
    """Raises AddressRefused for an address that is not public, or not loopback or private where that is allowed."""
    ip = ipaddress.ip_address(address.split("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if mapped is not None:
        ip = mapped
    if settings.OUTBOUND_ALLOW_PRIVATE and (ip.is_loopback or (ip.is_private and not ip.is_link_local)):
        return
    in_nat64 = ip.version == 6 and ip in ipaddress.ip_network("64:ff9b::/96")
    if not ip.is_global or ip.is_multicast or ip.is_reserved or in_nat64:
        raise AddressRefused(f"{address} is a private address: outgoing calls go to public addresses only.")


class _Guarded:
    """Connects only to addresses that `refuse_private` lets through, and tells the call's deadline its socket."""

    sock: Any
    host: str
    port: int
    timeout: Any
    socket_options: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        for *_, address in found:
            refuse_private(str(address[0]))
        return self._first_that_answers(found)

    def _first_that_answers(self, found: list[Any]) -> socket.socket:
        last: Exception = OSError("no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(min(CONNECT_SECONDS, _seconds_left()))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
            except OSError as error:
                sock.close()
                last = error
                continue
            _watch(self, sock)
            return sock
        raise NewConnectionError(self, f"{last}") from last  # type: ignore[arg-type]

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


_pools = urllib3.PoolManager(num_pools=20, maxsize=64, block=False)
_pools.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

# --- The deadline ----------------------------------------------------------------------------------------------------

_calls = threading.local()


class _Deadline:
    """Shuts the call's socket when its time is over: a read timeout alone is reset by every byte that drips in."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self.until = time.monotonic() + seconds
        self.connection: Any = None
        self.socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> "_Deadline":
        _calls.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _calls.deadline = None

    def _end(self) -> None:
        self.is_over = True
        for open_socket in (getattr(self.connection, "sock", None), self.socket):
            if open_socket is not None:
                with suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)


def _seconds_left() -> float:
    """Until the end of the call that this thread makes; raises ConnectTimeoutError when it is over."""
    deadline: _Deadline | None = getattr(_calls, "deadline", None)
    left = deadline.until - time.monotonic() if deadline else CONNECT_SECONDS
    if left <= 0:
        raise ConnectTimeoutError(None, "the time for this call was over before it was sent")
    return left


def _watch(connection: Any, open_socket: socket.socket | None) -> None:
    deadline: _Deadline | None = getattr(_calls, "deadline", None)
    if deadline is not None:
        deadline.connection, deadline.socket = connection, open_socket
    _seconds_left()


# --- Calls -----------------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """A line to one address for the calls of one try: they share a deadline and are noted, secrets removed.

    `turn` is asked before each call, with the name of the budget the call draws on, and may wait or raise NotItsTurn;
    `heard` is given each reply. `secrets` are texts that must not appear in what is noted.
    """

    origin: str
    seconds: float
    name: str = "the other side"
    secrets: tuple[str, ...] = ()
    turn: Callable[[str], None] = lambda _budget: None
    heard: Callable[[str, Reply], None] = lambda _budget, _reply: None
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    _until: float = field(default=0.0)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    @property
    def seconds_left(self) -> float:
        """Until the deadline that the calls of this line share; negative when it is over."""
        return self._until - time.monotonic()

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        budget: str = "account",
        keep_reply: bool = True,
        cap_bytes: int = ANSWER_CAP_BYTES,
    ) -> Reply:
        """One request. Raises Failure when there was no answer, NotItsTurn when the pace has no turn soon.

        `keep_reply`: whether the beginning of the answer is noted for the log. `cap_bytes`: how much is read of it.
        """
        self._refuse_to_leave(path)
        self.turn(budget)
        self.secrets = (*self.secrets, *_credentials_in(headers))
        exchange = self._begin(method, path, headers, body)
        began = time.monotonic()
        try:
            reply = self._masked(self._send(method, path, headers, body, cap_bytes))
        except Failure as failure:
            exchange["error"] = failure.detail or failure.words
            raise
        finally:
            exchange["duration_ms"] = round((time.monotonic() - began) * 1000)
        self._note(exchange, reply, keep_reply)
        self.heard(budget, reply)
        return reply

    def _refuse_to_leave(self, path: str) -> None:
        """A path may come out of an answer. Whatever it holds, nobody but the line's own origin hears from us."""
        if is_path(path) and origin_of(self.origin + path) == origin_of(self.origin):
            return
        raise Failure(
            f"A call to {self.name} was stopped, as it would have led away from its address. Nothing was sent.",
            self.without_secrets(path)[:200],
            permanent=True,
            remedy="Report this to whoever runs Casebridge.",
        )

    def _begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> dict[str, Any]:
        shown = {name: MASK if name.lower() == "authorization" else value for name, value in headers.items()}
        exchange: dict[str, Any] = {"method": method, "url": self.origin + path, "headers": shown}
        exchange["body_bytes"] = len(body or b"")
        self.exchanges.append(exchange)
        return exchange

    def _masked(self, reply: Reply) -> Reply:
        """The reply without our secrets, before anything of it is cut or quoted: gateways echo what they were sent."""
        body = reply.body
        for secret in self.secrets:
            if len(secret) >= 4 and secret.encode() in body:
                body = body.replace(secret.encode(), MASK.encode())
        headers = {name: self.without_secrets(value) for name, value in reply.headers.items()}
        return Reply(reply.status, headers, body, reply.is_cut)

    def _note(self, exchange: dict[str, Any], reply: Reply, keep_reply: bool) -> None:
        exchange["status"] = reply.status
        exchange["reply_headers"] = {
            name: value
            for name, value in reply.headers.items()
            if name in NOTED_HEADERS or "ratelimit" in name or "rate-limit" in name
        }
        exchange["reply"] = self.without_secrets(reply.text[:KEPT_BYTES]) if keep_reply else ""

    def without_secrets(self, text: str) -> str:
        """The text without the line's secrets, and without what a database cannot hold."""
        for secret in self.secrets:
            if len(secret) >= 4:
                text = text.replace(secret, MASK)
        return storable(text)

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, cap_bytes: int) -> Reply:
        left = self._until - time.monotonic()
        if left <= 0.05:
            raise Failure("The time for this try was used up before the call.", is_uncertain=False)
        with _Deadline(left) as deadline:
            try:
                checked_origin(self.origin)
                return self._exchange(method, path, headers, body, left, cap_bytes)
            except AddressRefused as refused:
                raise Failure(
                    f"The address of {self.name} may not be called: {refused} Correct the address.", pauses=True
                ) from None
            except HTTPError as error:
                raise self._unreachable(error, deadline) from error

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, left: float, cap_bytes: int
    ) -> Reply:
        response = _pools.urlopen(
            method,
            self.origin + path,
            body=body,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, left), read=left),
        )
        received, is_cut = _read_capped(response, cap_bytes)
        return Reply(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=received,
            is_cut=is_cut,
        )

    def _unreachable(self, error: HTTPError, deadline: _Deadline) -> Failure:
        """What a broken call means, and what to do when it goes on."""
        failure = self._broken_call(error, deadline)
        failure.detail = self.without_secrets(_plain(error))
        failure.is_transport = True
        failure.remedy = f"If this goes on, check the connection's address and whether {self.name} works in a browser."
        failure.remedy_at = "connection"
        failure.cause = failure.words
        return failure

    def _broken_call(self, error: HTTPError, deadline: _Deadline) -> Failure:
        """Nothing was sent when the name or the connection failed; else what became of it is unknown."""
        if isinstance(error, NameResolutionError):
            return Failure(f"The name of {self.name}'s address cannot be found ({urlsplit(self.origin).hostname}).")
        if isinstance(error, NewConnectionError | ConnectTimeoutError):
            return Failure(f"{self.name} cannot be reached.")
        if isinstance(error, SSLError):
            return Failure(f"{self.name} cannot be reached safely: its certificate or TLS was not accepted.")
        if deadline.is_over or time.monotonic() >= self._until - 0.05:
            words = f"{self.name} did not answer in time ({self.seconds:.0f} s)."
            return Failure(words, is_uncertain=True)
        return Failure(f"The connection to {self.name} broke before the answer was complete.", is_uncertain=True)


def _credentials_in(headers: Mapping[str, str]) -> list[str]:
    """The Authorization header's value, whole and without its scheme."""
    value = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    return [value, value.partition(" ")[2]] if value else []


NOTED_HEADERS = {"content-type", "date", "location", "retry-after", "x-request-id", "x-idempotency-lookup"} | {
    "x-zendesk-api-warn"
}


def _read_capped(response: urllib3.BaseHTTPResponse, cap_bytes: int) -> tuple[bytes, bool]:
    received = bytearray()
    for chunk in response.stream(64 * 1024):
        received += chunk
        if len(received) > cap_bytes:
            response.close()
            return bytes(received[:KEPT_BYTES]), True
    response.release_conn()
    return bytes(received), False


def _plain(error: Exception) -> str:
    """The error without urllib3's object addresses: "[Errno 111] Connection refused"."""
    inner = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], Exception) else None
    text = str(inner or error)
    return text.split("): ", 1)[-1] if "): " in text else text
