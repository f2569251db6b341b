"""The one way out: every outgoing call of Casebridge is made here.

Promised: https only and no private address, checked on the address really connected to; a client calls its own origin
and nothing else; no redirect is followed; no cookie, proxy or .netrc is used; a call ends within its deadline, whatever
the other side does; a reply is read up to a cap. No reply is a `Failure`; any reply, good or bad, is a `Reply`.
`OUTBOUND_ALLOW_PRIVATE` opens http, loopback and private addresses for the sandbox and for tests.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError, SSLError

from integrations.infra.client import MASK, Client
from integrations.infra.http.addresses import AddressRefused, checked_origin, is_path, origin_of
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import KEPT_BYTES, Reply
from integrations.infra.http.transport import CONNECT_SECONDS, Deadline, session
from integrations.infra.packing import gunzipped
from integrations.infra.text import is_token

ANSWER_CAP_BYTES = 2 * 1024 * 1024
# Of a reply that is cut: a secret that begins in what is kept is found whole.
MASKED_BYTES = KEPT_BYTES + 64 * 1024
KEPT_HEADERS = {"content-type", "date", "location", "retry-after", "x-request-id"}


@dataclass
class HttpClient(Client):
    """Calls one origin, for one try."""

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
        """One request. Raises Failure when there is no reply, NoPermit when the rate limit has no permit soon.

        `keep_reply`: whether the beginning of the reply is recorded for the log. `cap_bytes`: how much of it is read.
        """
        self._refuse_to_leave(path)
        self._refuse_what_no_header_carries(headers)
        self.before_call(budget)
        self.secrets = (*self.secrets, *_credentials_in(headers))
        exchange = self._begin(method, path, headers, body)
        began = time.monotonic()
        try:
            reply = self._masked(self._send(method, path, headers, body, cap_bytes))
        except Failure as failure:
            exchange["error"] = failure.detail or failure.message
            raise
        finally:
            exchange["duration_ms"] = round((time.monotonic() - began) * 1000)
        self._record(exchange, reply, keep_reply)
        self.on_reply(budget, reply)
        return reply

    def _refuse_to_leave(self, path: str) -> None:
        """A path may come from a reply. Whatever it holds, only the client's own origin is called."""
        if is_path(path) and origin_of(self.origin + path) == origin_of(self.origin):
            return
        raise Failure(
            f"A call to {self.name} was stopped, as it would have led away from its address. Nothing was sent.",
            self.without_secrets(path)[:200],
            permanent=True,
            remedy="Report this to whoever runs Casebridge.",
        )

    def _refuse_what_no_header_carries(self, headers: Mapping[str, str]) -> None:
        if all(is_token(value.replace(" ", "")) for value in headers.values()):
            return
        raise Failure(
            f"The secret for {self.name} contains a character that cannot be sent. Nothing was sent.",
            permanent=True,
            pauses=True,
            remedy="Copy it again, enter it, and save; it resumes when the test passes.",
            remedy_at="connection",
        )

    def _begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> dict[str, Any]:
        shown = {name: MASK if name.lower() == "authorization" else value for name, value in headers.items()}
        url = self.without_secrets(self.origin + path)
        exchange: dict[str, Any] = {"method": method, "url": url, "headers": shown}
        exchange["body_bytes"] = len(body or b"")
        self.exchanges.append(exchange)
        return exchange

    def _masked(self, reply: Reply) -> Reply:
        """The reply without our secrets, before any of it is cut or quoted: gateways echo what they were sent."""
        body = re.sub(self.echoes.pattern.encode("utf-8", "surrogatepass"), MASK.encode(), reply.body)
        if reply.is_cut:
            body = body[:KEPT_BYTES]
        headers = {name: self.without_secrets(value) for name, value in reply.headers.items()}
        return Reply(reply.status, headers, body, reply.is_cut)

    def _record(self, exchange: dict[str, Any], reply: Reply, keep_reply: bool) -> None:
        exchange["status"] = reply.status
        exchange["reply_headers"] = {
            name: value
            for name, value in reply.headers.items()
            if name in KEPT_HEADERS | self.kept_headers or "ratelimit" in name or "rate-limit" in name
        }
        exchange["reply"] = self.without_secrets(reply.text[:KEPT_BYTES]) if keep_reply else ""

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, cap_bytes: int) -> Reply:
        left = self._until - time.monotonic()
        if left <= 0.05:
            raise Failure("The time for this try was used up before the call.", is_uncertain=False)
        with Deadline(left) as deadline:
            try:
                checked_origin(self.origin)
                reply = self._exchange(method, path, headers, body, left, cap_bytes)
            except AddressRefused as refused:
                raise Failure(
                    f"The address of {self.name} may not be called: {refused} Correct the address.", pauses=True
                ) from None
            except (requests.RequestException, HTTPError) as error:
                raise self._unreachable(_cause_of(error), deadline) from error
            if deadline.is_over:
                # The end of a stream that was shut can look like the end of a reply.
                raise self._unreachable(TimeoutError("cut off at the deadline"), deadline)
            return reply

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, left: float, cap_bytes: int
    ) -> Reply:
        response = session().request(
            method,
            self.origin + path,
            data=body,
            headers=dict(headers),
            timeout=(min(CONNECT_SECONDS, left), left),
            allow_redirects=False,
            stream=True,
        )
        received, is_cut = _read_capped(response.raw, cap_bytes)
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=received,
            is_cut=is_cut,
        )

    def _unreachable(self, error: Exception, deadline: Deadline) -> Failure:
        """What a broken call means, and what to do if it keeps happening."""
        failure = self._broken_call(error, deadline)
        failure.detail = self.without_secrets(_plain(error))
        failure.is_transport = True
        failure.remedy = (
            f"If this keeps happening, check the connection's address, and whether this server can reach {self.name}."
        )
        failure.remedy_at = "connection"
        failure.cause = failure.message
        return failure

    def _broken_call(self, error: Exception, deadline: Deadline) -> Failure:
        """Nothing was sent if resolving or connecting failed; otherwise the outcome is unknown."""
        if isinstance(error, ValueError) and not isinstance(error, OSError | HTTPError):
            return Failure(f"The call to {self.name} could not be built ({type(error).__name__}). Nothing was sent.")
        if isinstance(error, NameResolutionError):
            return Failure(f"The name of {self.name}'s address cannot be found ({urlsplit(self.origin).hostname}).")
        if isinstance(error, NewConnectionError | ConnectTimeoutError):
            return Failure(f"{self.name} cannot be reached.")
        if isinstance(error, SSLError):
            return Failure(f"{self.name} cannot be reached safely: its certificate or TLS was not accepted.")
        if deadline.is_over or time.monotonic() >= self._until - 0.05:
            message = f"{self.name} did not respond in time ({self.seconds:.0f} s)."
            return Failure(message, is_uncertain=True)
        return Failure(f"The connection to {self.name} broke before the response was complete.", is_uncertain=True)


def _credentials_in(headers: Mapping[str, str]) -> list[str]:
    """The Authorization header's value, whole and without its scheme."""
    value = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    return [value, value.partition(" ")[2]] if value else []


def _cause_of(error: Exception) -> Exception:
    """The urllib3 error, which requests wraps once or twice."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    return getattr(error, "reason", None) or error


def _read_capped(response: urllib3.BaseHTTPResponse, cap_bytes: int) -> tuple[bytes, bool]:
    received = bytearray()
    for chunk in response.stream(64 * 1024, decode_content=True):
        received += chunk
        if len(received) > cap_bytes:
            response.close()
            return bytes(received[:MASKED_BYTES]), True
    response.release_conn()
    unpacked = gunzipped(bytes(received), cap_bytes)
    return (unpacked[:MASKED_BYTES], True) if len(unpacked) > cap_bytes else (unpacked, False)


def _plain(error: Exception) -> str:
    """The error text without urllib3's object addresses: "[Errno 111] Connection refused"."""
    inner = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], Exception) else None
    text = str(inner or error)
    return text.split("): ", 1)[-1] if "): " in text else text
