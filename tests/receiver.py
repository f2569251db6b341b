"""A server that keeps every call that reaches it and answers what a test sets: a receiver, or somebody else's host."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NO_ANSWER = 0


@dataclass(frozen=True)
class Call:
    """A call as it was received; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The whole call: request line, headers, body."""
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.method} {self.path}\n{headers}\n{self.body.decode('utf-8', 'replace')}"


@dataclass
class Receiver:
    """`calls` are those received, oldest first."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def address(self) -> str:
        """Host and port, without the scheme."""
        return self.url.removeprefix("http://")

    @property
    def asked(self) -> list[str]:
        return [call.text for call in self.calls]

    def answer(self, status: int, body: str = "", **headers: str) -> None:
        """To every call from now on. NO_ANSWER breaks the connection once the call is read."""
        self.status, self.body = status, body.encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def running_receiver(status: int = 204, body: bytes = b"") -> Iterator[Receiver]:
    receiver = Receiver(status=status, body=body)
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.calls.append(Call(self.command, self.path, headers, body))
        if self.receiver.status == NO_ANSWER:
            return
        self.send_response_only(self.receiver.status)
        for name, value in self.receiver.headers.items():
            self.send_header(name, value)
        if self.receiver.status != 204:
            self.send_header("Content-Length", str(len(self.receiver.body)))
        self.end_headers()
        self.wfile.write(self.receiver.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass
