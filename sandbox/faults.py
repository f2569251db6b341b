"""Faults: the ways the two services are known to fail, switched on for a number of requests or until switched off.

A fault applies before anything else, even authentication and rate limits, so nothing is created. The kinds in AFTER
run the request first and only spoil its answer, so what it created stays. When several faults match a request, every
delay applies, and the oldest of the others. Faults live in memory: a restart ends them.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from email.utils import formatdate
from typing import Any, TypeVar

from sandbox import khoros
from sandbox.exchange import Answer, Manner, Pairs, Request, html_answer, json_answer, text_answer
from sandbox.problems import SUSPENDED, Problem, record_invalid
from sandbox.zendesk_answers import INVALID_TOKEN, NOT_SIGNED_IN, TOO_MANY_REQUESTS, missing_scope

Number = TypeVar("Number", int, float)

APIS = {
    "zendesk": "Zendesk",
    "khoros": "Khoros",
    "slack": "Slack",
    "pagerduty": "PagerDuty",
    "teams": "Microsoft Teams",
    "both": "All of them",
}
OVERSIZED_BYTES = 50_000_000
ELSEWHERE = "https://elsewhere.example.com/"

KINDS = {
    "delay": "wait some seconds, then go on as usual",
    "401": "401: credentials refused",
    "403": "403: a scope is missing",
    "404": "404: no help desk at this address",
    "409": "409: database conflict",
    "422": "422: the ticket is refused",
    "422_suspended": "422: the requester is suspended",
    "429": "429: too many requests",
    "500": "500 as JSON",
    "500_html": "500 as an HTML page",
    "502": "502 as JSON",
    "502_html": "502 as an HTML page",
    "503": "503 as JSON",
    "503_html": "503 as an HTML page",
    "504": "504 as JSON",
    "504_html": "504 as an HTML page",
    "586": "586: Service Not Found (Khoros)",
    "developer_inactive": "the page “Developer Inactive” (Khoros)",
    "redirect": "302 to another address",
    "html_200": "200 with an HTML page",
    "hang_up_before": "hang up before doing anything",
    "hang_up_after": "do it, then hang up without an answer",
    "invalid_json": "do it, then answer something that is not JSON",
    "oversized": "do it, then answer 50 MB",
    "drip": "do it, then answer one byte per second",
    "answer": "an answer given literally",
}

# The four known shapes of error bodies, one per status.
ZENDESK_FAILURES: dict[int, Any] = {
    500: {"error": {"title": "Internal Server Error", "message": "Something went wrong on our side."}},
    502: {"error": "Bad Gateway"},
    503: {"error": "ServiceUnavailable", "description": "The service is temporarily unavailable."},
    504: {"errors": [{"code": "GatewayTimeout", "title": "Gateway Timeout", "detail": "The upstream did not answer."}]},
}
NO_HELP_DESK = {
    "error": {
        "title": "No help desk at example.zendesk.com",
        "message": "There is no help desk configured at this address.",
    }
}
CONFLICT = {"error": "DatabaseConflict", "description": "Database collision"}
GATEWAY_PAGE = (
    "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center><hr>nginx</body></html>"
)
SIGN_IN_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>"
INACTIVE_PAGE = "<html><head><title>403</title></head><body><h1>Developer Inactive</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """One fault. `times` counts down, or is None if it lasts until switched off; `path` is a prefix."""

    api: str
    kind: str
    times: int | None = None
    seconds: float | None = None
    status: int | None = None
    headers: Pairs = ()
    body: str | None = None
    retry_after: str | None = None
    method: str | None = None
    path: str | None = None
    id: int = 0
    fired: int = 0

    def fits(self, api: str, request: Request) -> bool:
        return (
            self.api in (api, "both")
            and self.method in (None, request.method)
            and request.path.startswith(self.path or "")
        )

    def shown(self) -> dict[str, Any]:
        return {**asdict(self), "headers": [list(pair) for pair in self.headers]}


def fault_from(values: Mapping[str, Any]) -> Fault:
    """Parses a fault from JSON. Raises ValueError with a sentence about the first invalid value."""
    known = {each.name for each in fields(Fault)} - {"id", "fired"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"Unknown: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    kind = str(values.get("kind"))
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}.")
    api = values.get("api", "zendesk")
    if api not in APIS:
        raise ValueError(f"api must be one of {', '.join(APIS)}.")
    status = _number(values, "status", int)
    if status is not None and not 200 <= status <= 999:
        raise ValueError("status must be between 200 and 999.")
    return Fault(
        api=api,
        kind=kind,
        times=_times(values),
        seconds=_number(values, "seconds", float),
        status=status,
        headers=_headers(values.get("headers")),
        body=_body(values.get("body")),
        retry_after=_one_line(values.get("retry_after"), "retry_after"),
        method=(_one_line(values.get("method"), "method") or "").upper() or None,
        path=_one_line(values.get("path"), "path") or None,
    )


class Faults:
    """The active faults. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._last_id = 0
        self._ending = threading.Event()

    def add(self, fault: Fault) -> int:
        with self._lock:
            self._last_id += 1
            self._faults.append(replace(fault, id=self._last_id))
            return self._last_id

    def all(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def remove(self, fault_id: int) -> bool:
        with self._lock:
            kept = [fault for fault in self._faults if fault.id != fault_id]
            removed = len(kept) < len(self._faults)
            self._faults = kept
        return removed

    def clear(self) -> int:
        with self._lock:
            count, self._faults = len(self._faults), []
        return count

    def play(self, api: str, request: Request, real: Callable[[], Answer]) -> tuple[Answer, str | None]:
        """The answer to a request as changed by the faults that match it, and the names of those faults."""
        fitting = self._take(api, request)
        names = ", ".join(fault.kind for fault in fitting) or None
        answer = None
        for fault in fitting:
            if fault.kind != "delay":
                answer = spoilt(fault, api, request, real)
            elif self.wait(fault.seconds or 0):
                return Answer(0, manner=Manner.HANG_UP), names
        return (answer if answer is not None else real()), names

    def wait(self, seconds: float) -> bool:
        """Waits; True if the wait was cut short because the sandbox is shutting down."""
        return self._ending.wait(seconds)

    def close(self) -> None:
        """Ends every delay at once."""
        self._ending.set()

    def _take(self, api: str, request: Request) -> list[Fault]:
        """The matching faults, delays first. Counts each down, and switches off those that reach zero."""
        with self._lock:
            fitting = [fault for fault in self._faults if fault.fits(api, request)]
            delays = [fault for fault in fitting if fault.kind == "delay"]
            taken = delays + [fault for fault in fitting if fault.kind != "delay"][:1]
            spent = {fault.id: _spent(fault) for fault in taken}
            after = [spent.get(fault.id, fault) for fault in self._faults]
            self._faults = [fault for fault in after if fault.times != 0]
        return taken


def spoilt(fault: Fault, api: str, request: Request, real: Callable[[], Answer]) -> Answer:
    if fault.kind in AFTER:
        return AFTER[fault.kind](fault, real())
    return BEFORE[fault.kind](fault, api, request)


def _spent(fault: Fault) -> Fault:
    return replace(fault, fired=fault.fired + 1, times=None if fault.times is None else fault.times - 1)


def _refusal(fault: Fault, api: str, request: Request) -> Answer:
    """An error in the format of the API concerned, with Retry-After and further headers if given."""
    words = KHOROS_WORDS if api == "khoros" else ZENDESK_WORDS
    return words[fault.kind](request).plus(*_retry_after(fault), *fault.headers)


def _retry_after(fault: Fault) -> Pairs:
    if not fault.retry_after:
        return ()
    in_seconds = re.fullmatch(r"date:(-?[0-9]+)", fault.retry_after)
    when = formatdate(time.time() + int(in_seconds[1]), usegmt=True) if in_seconds else fault.retry_after
    return (("Retry-After", when),)


def _zendesk_401(request: Request) -> Answer:
    is_bearer = request.headers.get("Authorization", "").lower().startswith("bearer ")
    return json_answer(401, INVALID_TOKEN if is_bearer else NOT_SIGNED_IN)


def _json(status: int, value: Any) -> Callable[[Request], Answer]:
    return lambda request: json_answer(status, value)


def _page(status: int, page: str) -> Callable[[Request], Answer]:
    return lambda request: html_answer(status, page)


def _khoros(status: int, code: str, message: str) -> Callable[[Request], Answer]:
    return lambda request: khoros.failure(status, code, message)


GATEWAY = (500, 502, 503, 504)
UNPROCESSABLE = record_invalid([Problem("subject", "Subject: is refused by a rule of this account")])

SHARED_WORDS: dict[str, Callable[[Request], Answer]] = {
    **{f"{status}_html": _page(status, GATEWAY_PAGE.format(status=status)) for status in GATEWAY},
    "429": lambda request: text_answer(429, TOO_MANY_REQUESTS),
    "586": _page(586, khoros.NOT_FOUND_PAGE),
    "developer_inactive": _page(403, INACTIVE_PAGE),
}
ZENDESK_WORDS: dict[str, Callable[[Request], Answer]] = {
    **SHARED_WORDS,
    **{str(status): _json(status, ZENDESK_FAILURES[status]) for status in GATEWAY},
    "401": _zendesk_401,
    "403": _json(403, missing_scope("write")),
    "404": _json(404, NO_HELP_DESK),
    "409": _json(409, CONFLICT),
    "422": _json(422, UNPROCESSABLE),
    "422_suspended": _json(422, record_invalid([SUSPENDED])),
}
KHOROS_WORDS: dict[str, Callable[[Request], Answer]] = {
    **SHARED_WORDS,
    **{str(status): _khoros(status, "unknown_error", "An unknown error occurred.") for status in GATEWAY},
    "401": _page(401, khoros.REFUSED_PAGE),
    "403": _khoros(403, "unauthorized", "Company 42 does not allow the application."),
    "404": _khoros(404, "not_found", "There is nothing at this address."),
    "409": _khoros(409, "conflict", "The request is in conflict with another."),
    "422": lambda request: text_answer(422, ""),
    "422_suspended": _khoros(422, "validation_error", "The user is suspended."),
}


def _redirect(fault: Fault, api: str, request: Request) -> Answer:
    answer = Answer(302, b"", fault.headers)
    return answer if answer.header("Location") else answer.plus(("Location", ELSEWHERE))


def _hang_up(fault: Fault, api: str, request: Request) -> Answer:
    return Answer(0, manner=Manner.HANG_UP)


def _sign_in_page(fault: Fault, api: str, request: Request) -> Answer:
    return html_answer(200, SIGN_IN_PAGE, *fault.headers)


def _literal(fault: Fault, api: str, request: Request) -> Answer:
    return Answer(fault.status or 200, (fault.body or "").encode(), fault.headers, is_literal=True)


def _hang_up_after(fault: Fault, answer: Answer) -> Answer:
    return replace(answer, manner=Manner.HANG_UP)


def _broken(fault: Fault, answer: Answer) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2] + b"\n... ")


def _oversized(fault: Fault, answer: Answer) -> Answer:
    return replace(answer, body=b'{"padding": "' + b"x" * OVERSIZED_BYTES + b'"}')


def _dripped(fault: Fault, answer: Answer) -> Answer:
    return replace(answer, manner=Manner.DRIP, seconds_per_byte=fault.seconds or 1.0)


BEFORE: dict[str, Callable[[Fault, str, Request], Answer]] = {
    **dict.fromkeys(ZENDESK_WORDS, _refusal),
    "redirect": _redirect,
    "hang_up_before": _hang_up,
    "html_200": _sign_in_page,
    "answer": _literal,
}
AFTER: dict[str, Callable[[Fault, Answer], Answer]] = {
    "hang_up_after": _hang_up_after,
    "invalid_json": _broken,
    "oversized": _oversized,
    "drip": _dripped,
}


def _times(values: Mapping[str, Any]) -> int | None:
    times = _number(values, "times", int)
    if times is not None and times < 1:
        raise ValueError("times must be at least 1, or null until switched off.")
    return times


def _number(values: Mapping[str, Any], name: str, kind: type[Number]) -> Number | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != kind(value):
        raise ValueError(f"{name} must be a number, and not a negative one.")
    return kind(value)


def _one_line(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or re.search(r"[\r\n]", str(value)):
        raise ValueError(f"{name} must be a text of one line.")
    return str(value)


def _body(value: Any) -> str | None:
    """A literal body; anything but text is written as JSON, because recorded answers are often stored that way."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _headers(value: Any) -> Pairs:
    if value is None:
        return ()
    pairs = value.items() if isinstance(value, dict) else value
    try:
        return tuple((_header_word(name), _header_word(text)) for name, text in pairs)
    except (TypeError, ValueError) as problem:
        raise ValueError("headers must be an object or a list of pairs, each of one line.") from problem


def _header_word(value: Any) -> str:
    word = _one_line(value, "header")
    if word is None:
        raise ValueError("A header needs a value.")
    return word
