"""Requests and answers as plain values, so that the APIs and the pages know nothing about sockets."""

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

REMEMBERED_REQUESTS = 20_000

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """One request as it arrived. `headers` ignores case in names; `origin` is the sandbox's own address."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes
    origin: str
    raw_query: str = ""

    def json(self) -> Any:
        """The body parsed as JSON. Raises ValueError for anything that cannot be parsed or stored as text."""
        try:
            value = json.loads(self.body)
            # Half a surrogate pair is legal in JSON, yet no UTF-8 store can hold it.
            if rb"\ud" in self.body.lower():
                json.dumps(value, ensure_ascii=False).encode()
        except RecursionError as too_deep:
            raise ValueError("nested too deeply") from too_deep
        return value

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class Manner(Enum):
    """How an answer is sent: normally, byte by byte, or not at all because the socket is closed first."""

    WHOLE = "whole"
    DRIP = "drip"
    HANG_UP = "hang up"


@dataclass(frozen=True)
class Answer:
    """What is sent back. A literal answer gets no headers added except for the framing."""

    status: int
    body: bytes = b""
    headers: Pairs = ()
    manner: Manner = Manner.WHOLE
    seconds_per_byte: float = 1.0
    is_literal: bool = False

    def plus(self, *headers: tuple[str, str]) -> "Answer":
        return replace(self, headers=self.headers + headers)

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


def json_answer(status: int, value: Any, *headers: tuple[str, str], content_type: str = JSON) -> Answer:
    return Answer(status, json.dumps(value).encode(), (("Content-Type", content_type), *headers))


def html_answer(status: int, page: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, page.encode(), (("Content-Type", HTML), *headers))


def text_answer(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, text.encode(), (("Content-Type", TEXT), *headers))


def see_other(location: str) -> Answer:
    return Answer(303, b"", (("Location", location),))


def back_to_application(form: Mapping[str, str], values: dict[str, str]) -> Answer:
    """Sends the browser back to the application, with the `state` it gave."""
    address = urlsplit(form["redirect_uri"])
    told = [*parse_qsl(address.query), *values.items()]
    if form.get("state"):
        told.append(("state", form["state"]))
    return see_other(address._replace(query=urlencode(told)).geturl())


Handler = Callable[..., Answer]


class Routes:
    """Finds the function for a method and a path; captured groups become further arguments."""

    def __init__(self, *routes: tuple[str, str, Handler]) -> None:
        self._routes = [(method, re.compile(pattern), handler) for method, pattern, handler in routes]

    def answer(self, request: Request) -> Answer | None:
        """The answer of the first matching route, or None."""
        for method, pattern, handler in self._routes:
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                return handler(request, *found.groups())
        return None


@dataclass
class Received:
    """One logged API request. `status` is None until it is answered, and stays None after a hang-up."""

    number: int
    api: str
    method: str
    path: str
    headers: dict[str, str]
    body: str
    time: str
    status: int | None = None
    fault: str | None = None


@dataclass
class RequestLog:
    """The last 20,000 API requests, in memory only: headers with credentials never reach the disk."""

    _received: deque[Received] = field(default_factory=lambda: deque(maxlen=REMEMBERED_REQUESTS))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def open(self, api: str, request: Request, time: str) -> Received:
        path = f"{request.path}?{request.raw_query}" if request.raw_query else request.path
        body = request.body.decode("utf-8", "replace")
        with self._lock:
            self._number += 1
            received = Received(self._number, api, request.method, path, dict(request.headers.items()), body, time)
            self._received.append(received)
        return received

    def all(self) -> list[Received]:
        with self._lock:
            return list(self._received)

    def clear(self) -> None:
        with self._lock:
            self._received.clear()


def whole_number(values: Mapping[str, str], name: str, otherwise: int | None = None) -> int:
    """A whole number from a query, 0 or more. Raises ValueError with a sentence for anything else."""
    written = values.get(name, "" if otherwise is None else str(otherwise))
    if not written.isascii() or not written.isdigit() or len(written) > 15:
        raise ValueError(f"{name} must be a whole number.")
    return int(written)


def form_number(form: Mapping[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    """A number from a form. Raises ValueError with a sentence for anything else."""
    try:
        return kind(form.get(name, "").strip())
    except ValueError as problem:
        raise ValueError(f"{name.replace('_', ' ').capitalize()} must be a number.") from problem


def body_of(request: Request) -> dict[str, Any]:
    """The body of a control request, {} if empty. Raises ValueError with a sentence."""
    if not request.body.strip():
        return {}
    try:
        value = request.json()
    except ValueError as problem:
        raise ValueError(f"The body is not JSON: {problem}.") from problem
    if not isinstance(value, dict):
        raise ValueError("The body must be a JSON object.")
    return value


def first_text(values: Iterable[str]) -> str:
    """The first value that is not blank, stripped; "" if all are blank."""
    return next((value.strip() for value in values if value.strip()), "")
