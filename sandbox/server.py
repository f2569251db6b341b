"""The HTTP server: reads requests, routes them, and sends each answer in one piece.

`running_sandbox` runs a sandbox on a free port for a `with` block. When the block ends, every connection is closed and
every thread of the sandbox has ended.
"""

import socket
import socketserver
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox import inbox
from sandbox.control import ControlApi
from sandbox.controls import Controls
from sandbox.exchange import Answer, Manner, Request, RequestLog, json_answer, text_answer
from sandbox.faults import Faults
from sandbox.jobs import JobRunner
from sandbox.khoros import KhorosApi
from sandbox.mailbox import Mailbox
from sandbox.on_call import PagerDutyApi, TeamsApi
from sandbox.pages import Pages
from sandbox.pushes import Pusher
from sandbox.slack import SlackApi
from sandbox.state import State, timestamp
from sandbox.webhook_sender import WebhookSender
from sandbox.zendesk import ZendeskApi, with_request_id

LARGEST_BODY = 10_000_000
SECONDS_TO_END = 5.0
REASONS = {586: "Service Not Found"} | {status.value: status.phrase for status in HTTPStatus}
API_PREFIXES = {
    "/v1/": "khoros",
    "/v2/enqueue": "pagerduty",
    "/v2/": "khoros",
    "/v3/": "khoros",
    "/api/v2/": "zendesk",
    "/oauth/": "zendesk",
    "/api/": "slack",
    "/services/": "slack",
    "/powerautomate/": "teams",
}


class Sandbox:
    """A sandbox listening at `url`. `state` is its memory; `faults`, `requests` and `controls` steer it."""

    def __init__(self, data_folder: Path | str, host: str = "127.0.0.1", port: int = 0, mail_port: int = 0) -> None:
        self.state = State(Path(data_folder))
        try:
            self.mailbox = Mailbox(self.state, host, mail_port)
        except (OSError, OverflowError):
            self.state.close()
            raise
        try:
            self._server = SandboxServer(host, port, self)
        except (OSError, OverflowError):
            self.mailbox.close()
            self.state.close()
            raise
        shown_host = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown_host}:{self._server.server_port}"
        if self.state.is_new:
            inbox.plant(self.state)
        self.faults = Faults()
        self.requests = RequestLog()
        self._pusher = Pusher(self.state)
        self._job_runner = JobRunner(self.state)
        self._webhook_sender = WebhookSender(self.state)
        khoros, zendesk, slack = KhorosApi(self.state), ZendeskApi(self.state, self._job_runner), SlackApi(self.state)
        self._apis = {"khoros": khoros.answer, "zendesk": zendesk.answer, "slack": slack.answer}
        self._apis |= {"pagerduty": PagerDutyApi(self.state).answer, "teams": TeamsApi(self.state).answer}
        self.controls = Controls(
            state=self.state,
            faults=self.faults,
            requests=self.requests,
            pusher=self._pusher,
            zendesk=zendesk,
            slack=slack,
            mailbox=self.mailbox,
        )
        self._control_api = ControlApi(self.controls)
        self._pages = Pages(self.controls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.mailbox.start()

    def close(self) -> None:
        """Stops listening, closes every connection and waits for the threads that served them."""
        self.faults.close()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()
        self._pusher.close()
        self._job_runner.close()
        self._webhook_sender.close()
        self.mailbox.close()
        self.state.close()

    def answer(self, request: Request) -> Answer:
        """The answer to any request. Unexpected exceptions are printed and answered with 500."""
        try:
            return self._routed(request)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return json_answer(500, {"error": "The sandbox itself failed. What happened is in its output."})

    def _routed(self, request: Request) -> Answer:
        api = next((api for prefix, api in API_PREFIXES.items() if request.path.startswith(prefix)), None)
        if api:
            return self._api_answer(api, request)
        if request.method != "GET" and request.headers.get("Sec-Fetch-Site") == "cross-site":
            return text_answer(403, "Other sites may not steer this sandbox.")
        if request.path.startswith("/control/"):
            return self._control_api.answer(request)
        return self._pages.answer(request)

    def _api_answer(self, api: str, request: Request) -> Answer:
        received = self.requests.open(api, request, timestamp())

        def real() -> Answer:
            return self._apis[api](request)

        answer, received.fault = self.faults.play(api, request, real)
        received.status = None if answer.manner is Manner.HANG_UP else answer.status
        return with_request_id(answer) if api == "zendesk" and not answer.is_literal else answer


class SandboxServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, host: str, port: int, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__((host, port), SandboxHandler)

    def server_bind(self) -> None:
        # The base class would look up the host name, which can take seconds if no name server answers.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        # Recorded here, not in the new thread, so that closing does not miss a connection just accepted.
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def close_connections(self) -> None:
        """Closes every open connection and waits for its thread to end."""
        with self._changed:
            for connection in self._open:
                _shut(connection)
            self._changed.wait_for(lambda: not self._open, SECONDS_TO_END)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints everything but connection errors: callers may disconnect at any moment."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class SandboxHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SandboxServer

    def exchange(self) -> None:
        body = self._body()
        if isinstance(body, Answer):
            self.close_connection = True
            self._send(body)
        else:
            self._send(self.server.sandbox.answer(self._request(body)))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = exchange

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing: the request log shows more, and printing would slow every answer."""

    def _body(self) -> bytes | Answer:
        """The request body, or the answer refusing it."""
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdigit():
            return text_answer(411, "Send a Content-Length.")
        if int(length) > LARGEST_BODY:
            return text_answer(413, "The request is too large.")
        return self.rfile.read(int(length))

    def _request(self, body: bytes) -> Request:
        address = urlsplit(self.path)
        return Request(
            method="GET" if self.command == "HEAD" else self.command,
            path=unquote(address.path),
            query=dict(parse_qsl(address.query, keep_blank_values=True)),
            headers=self.headers,
            body=body,
            origin=self.server.sandbox.url,
            raw_query=address.query,
        )

    def _send(self, answer: Answer) -> None:
        if answer.manner is Manner.HANG_UP:
            self.close_connection = True
            return
        if self.command == "HEAD":
            answer = replace(answer, manner=Manner.WHOLE)
        head = self._head(answer)
        if answer.manner is Manner.DRIP:
            self._drip(head, answer)
        else:
            self.wfile.write(head if self.command == "HEAD" else head + answer.body)

    def _head(self, answer: Answer) -> bytes:
        if answer.header("Content-Length") or answer.header("Transfer-Encoding"):
            # A literal length may be wrong on purpose, so nothing else may follow on this connection.
            self.close_connection = True
            lengths: list[tuple[str, str]] = []
        else:
            lengths = [("Content-Length", str(len(answer.body)))]
        if self.close_connection:
            lengths.append(("Connection", "close"))
        headers = [("Date", formatdate(usegmt=True)), *answer.headers, *lengths]
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _drip(self, head: bytes, answer: Answer) -> None:
        self.wfile.write(head)
        for number in range(len(answer.body)):
            self.wfile.write(answer.body[number : number + 1])
            if self.server.sandbox.faults.wait(answer.seconds_per_byte):
                break
        self.close_connection = True


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other side closed it first.
        return


@contextmanager
def running_sandbox(
    data_folder: Path | str, *, host: str = "127.0.0.1", port: int = 0, mail_port: int = 0
) -> Iterator[Sandbox]:
    """A running sandbox; a port 0 takes a free one. The same folder can be used again afterwards."""
    sandbox = Sandbox(data_folder, host, port, mail_port)
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.close()
