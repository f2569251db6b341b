"""Slow and wrong clients: no thread waits for what is not there yet, and everybody gets an answer."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import urllib3

from portal.web_worker import LARGEST_BODY, Receiving
from tests.running_web import RunningWeb, running_web

SLOW_CLIENTS = 200
http = urllib3.PoolManager(maxsize=4)


def receiving(*pieces: bytes) -> Receiving:
    request = Receiving(None, 0.0)
    for piece in pieces:
        request.add(piece)
    return request


HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
A_MEGABYTE = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        ([b"GET / HTTP/1.1\r\nHost: x\r\n"], False),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"], True),
        ([HEAD + b"Content-Length: 3\r\n\r\nab"], False),
        ([HEAD + b"content-length:3\r\n\r\nab", b"c"], True),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"], False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n", b"\r\n"], True),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], True),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab0\r\n"], False),
        ([HEAD + b"Content-Length: " + str(LARGEST_BODY + 1).encode() + b"\r\n\r\n"], False),
        ([HEAD + b"Content-Length: 20000000\r\n\r\n", b"x" * 9_000_000], True),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[A_MEGABYTE] * 6], False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[A_MEGABYTE] * 6, b"0\r\n", b"\r\n"], True),
    ],
)
def test_a_request_is_whole_when_its_body_is(pieces: list[bytes], is_whole: bool) -> None:
    assert receiving(*pieces).is_whole == is_whole


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    with running_web(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"POST /webhooks/khoros/x HTTP/1.1\r\nHost: x\r\n",
        b"POST /webhooks/khoros/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{",
        b"POST /webhooks/zendesk/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /admin/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_two_hundred_slow_clients_hold_up_nobody(web: RunningWeb, beginning: bytes) -> None:
    with ExitStack() as opened:
        for _ in range(SLOW_CLIENTS):
            slow = opened.enter_context(closing(socket.create_connection(("127.0.0.1", web.port))))
            slow.sendall(beginning)
        for _ in range(20):
            answer = http.request("POST", f"{web.url}/webhooks/khoros/x", body=b"{}", timeout=5, retries=False)
            assert answer.status == 401


def test_a_request_that_does_not_end_is_answered_and_closed(web: RunningWeb) -> None:
    began = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=30)) as slow:
        slow.sendall(b"POST /webhooks/khoros/x HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 25


def test_two_requests_sent_at_once_are_both_answered(web: RunningWeb) -> None:
    one = b"POST /webhooks/khoros/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=10)) as client:
        client.sendall(one + one.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.count(b"HTTP/1.1 401 ") == 2
