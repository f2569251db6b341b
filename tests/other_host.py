"""A host that is nobody's account: it notes every request that reaches it, and answers an empty object."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OtherHost:
    """`asked` holds each request as text: request line, headers and body."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """Host and port, without the scheme."""
        return self.url.removeprefix("http://")


@contextmanager
def running_other_host() -> Iterator[OtherHost]:
    host = OtherHost()
    handler = type("Handler", (_Handler,), {"host": host})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    host.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    host: OtherHost

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.host.asked.append(f"{self.requestline}\n{self.headers}\n{body.decode('utf-8', 'replace')}")
        self.send_response_only(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass
