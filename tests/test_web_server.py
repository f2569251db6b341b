"""Slow and wrong clients: no thread waits for what is not there yet, and everybody gets an answer."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import urllib3

from portal.request_framing import LONGEST_HEAD, BadRequest, Incoming
from tests.running_web import RunningWeb, running_web

SLOW_CLIENTS = 200
http = urllib3.PoolManager(maxsize=4)


def incoming(*pieces: bytes, most: int = 1_000_000) -> Incoming:
    request = Incoming()
    for piece in pieces:
        request.add(piece, lambda _head: most)
    return request


HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
A_MEGABYTE = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        ([b"GET / HTTP/1.1\r\nHost: x\r\n"], False),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"], True),
        ([b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"], True),
        ([bytes([each]) for each in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], True),
        ([HEAD + b"Content-Length: 3\r\n\r\nab"], False),
        ([HEAD + b"content-length:3\r\n\r\nab", b"c"], True),
        ([CHUNKED + b"3\r\nabc\r\n"], False),
        ([CHUNKED + b"3\r\nabc\r\n", b"0\r\n", b"\r\n"], True),
        ([CHUNKED + b"0\r\n\r\n"], True),
        ([CHUNKED, *[bytes([each]) for each in b"5;x=y\r\n\r\n0\r\n\r\n"], b"00\r\nEtag: x\r\n", b"\r\n"], True),
        ([CHUNKED + b"5\r\n\r\n0\r\n\r\n"], False),
        ([CHUNKED + b"5\r\nab0\r\n"], False),
        ([HEAD + b"Content-Length: 2000000\r\n\r\n"], False),
        ([HEAD + b"Content-Length: 2000000\r\n\r\n", b"x" * 2_000_000], True),
        ([CHUNKED, *[A_MEGABYTE] * 6], False),
        ([CHUNKED, *[A_MEGABYTE] * 6, b"0\r\n", b"\r\n"], True),
    ],
)
def test_a_request_is_whole_when_its_body_is(pieces: list[bytes], is_whole: bool) -> None:
    assert incoming(*pieces).is_whole == is_whole


UNREADABLE = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n",
    "a length of many digits": b"Content-Length: 0000000000000000000100\r\n\r\n",
    "a length with a sign": b"Content-Length: +2\r\n\r\n",
    "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another coding": b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a folded line": b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "a bare line feed": b"X: y\nTransfer-Encoding: chunked\r\n\r\n",
    "a bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\n\r\n",
    "a blank before the colon": b"Content-Length : 70\r\n\r\n",
    "no colon": b"Content-Length\r\n\r\n",
    "a zero byte": b"X: \x00\r\n\r\n",
    "a chunk without a size": b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "a chunk of another number": b"Transfer-Encoding: chunked\r\n\r\n0x5\r\n",
    "a line of a chunk without an end": b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 5000,
    "a head without an end": b"X: " + b"y" * LONGEST_HEAD,
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_can_be_read_in_two_ways_is_no_request(what: str) -> None:
    with pytest.raises(BadRequest):
        incoming(HEAD + UNREADABLE[what])


def test_a_value_of_many_blanks_is_read_in_no_time() -> None:
    began = time.process_time()
    read = incoming(HEAD + b"X: a" + b" " * 30_000 + b"b" + b" \t" * 300 + b"\r\n\r\n")
    assert time.process_time() - began < 0.1
    assert read.head is not None
    assert read.head.value(b"x") == b"a" + b" " * 30_000 + b"b"


@pytest.mark.parametrize("what", UNREADABLE)
def test_it_is_answered_at_once_and_nothing_behind_it_is_read(web: RunningWeb, what: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=10)) as client:
        client.sendall(HEAD + UNREADABLE[what] + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) in ([b"400"], [b"431"])


@pytest.fixture(autouse=True)
def connections_are_fresh() -> None:
    """One that rested since an earlier test may end at the very moment at which it is used again."""
    http.clear()


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


@pytest.mark.parametrize(
    ("path", "size", "cookie", "statuses"),
    [
        ("/webhooks/khoros/x", 70_000, "", {401}),
        ("/webhooks/khoros/x", 1_000_000, "", {401}),
        ("/webhooks/khoros/x", 1_100_000, "", {413}),
        ("/admin/login/", 60_000, "", {200, 403}),
        ("/admin/login/", 80_000, "", {413}),
        ("/admin/login/", 2_000_000, "sessionid=x", {200, 403}),
    ],
)
def test_a_body_may_be_as_large_as_its_sender_may_send(
    web: RunningWeb, path: str, size: int, cookie: str, statuses: set[int]
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | ({"Cookie": cookie} if cookie else {})
    answer = http.request("POST", web.url + path, body=b"x" * size, headers=headers, timeout=10, retries=False)
    assert answer.status in statuses


def test_who_asks_before_sending_too_much_is_told_at_once(web: RunningWeb) -> None:
    head = b"POST /webhooks/khoros/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n"
    began = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=10)) as client:
        client.sendall(head)
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began < 2


def stalls(web: RunningWeb) -> int:
    """How many of ten calls are not answered within two seconds."""
    late = 0
    for _ in range(10):
        try:
            answer = http.request("POST", f"{web.url}/webhooks/khoros/x", body=b"{}", timeout=2, retries=False)
            assert answer.status == 401
        except urllib3.exceptions.HTTPError:
            late += 1
    return late


@pytest.mark.parametrize(
    "request_that_ends_its_connection",
    [b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET /healthz HTTP/1.0\r\n\r\n", b"?\r\n\r\n"],
)
def test_who_leaves_a_closed_connection_open_holds_up_nobody(
    web: RunningWeb, request_that_ends_its_connection: bytes
) -> None:
    with ExitStack() as opened:
        for _ in range(24):
            client = opened.enter_context(closing(socket.create_connection(("127.0.0.1", web.port))))
            client.sendall(request_that_ends_its_connection)
        assert stalls(web) == 0


def test_who_asks_for_much_and_reads_nothing_holds_up_nobody(web: RunningWeb) -> None:
    asked = b"GET /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ExitStack() as opened:
        for _ in range(60):
            client = opened.enter_context(closing(socket.socket()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", web.port))
            client.sendall(asked * 200)
        assert stalls(web) == 0
