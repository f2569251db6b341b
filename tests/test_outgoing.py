"""The one way out: which addresses are called, and what a call may cost."""

import html
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from integrations.infra.http.addresses import AddressRefused, checked_origin, refuse_private
from integrations.infra.http.client import ANSWER_CAP_BYTES, HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import KEPT_BYTES
from integrations.infra.http.transport import adapter
from tests.receiver import Receiver, running_receiver
from tests.stand_in import StandIn


@pytest.fixture
def strict(settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "fe80::1%eth0",
    ],
)
def test_private_addresses_are_refused(strict: None, address: str) -> None:
    with pytest.raises(AddressRefused):
        refuse_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_not(strict: None, address: str) -> None:
    refuse_private(address)


def test_link_local_addresses_stay_refused_where_private_ones_are_allowed(settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    refuse_private("127.0.0.1")
    with pytest.raises(AddressRefused):
        refuse_private("169.254.169.254")


def test_a_name_is_checked_on_the_address_it_leads_to(
    strict: None, monkeypatch: pytest.MonkeyPatch, sandbox: StandIn
) -> None:
    """The resolver is the world outside, and it lies here as an attacker's would."""
    lie = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: lie)
    with pytest.raises(Failure) as caught:
        HttpClient("https://innocent.example.com", 5).call("GET", "/", headers={})
    assert caught.value.pauses
    assert "127.0.0.1 is a private address" in caught.value.message


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://example.zendesk.com", "https://example.zendesk.com"),
        (" example.zendesk.com/ ", "https://example.zendesk.com"),
        ("https://EXAMPLE.zendesk.com/api/v2?x#y", "https://example.zendesk.com"),
        ("https://example.zendesk.com:8443/", "https://example.zendesk.com:8443"),
        ("https://example.zendesk.com:443/", "https://example.zendesk.com"),
    ],
)
def test_an_address_is_kept_as_scheme_and_host(strict: None, written: str, origin: str) -> None:
    assert checked_origin(written) == origin


@pytest.mark.parametrize(
    "path",
    [
        "@{other}/x",
        ".{other}/x",
        ":443@{other}/x",
        "//{other}/x",
        "\\@{other}/x",
        "/\\{other}/x",
        "\\\\{other}/x",
        "http://{other}/x",
        "{own}/x",
        "/\t/{other}/x",
        "\t//{other}/x",
        "/x\r\nHost: {other}",
        "/x y",
        "/x\u2028y",
        "/x\x00",
        "/x\x85",
        "/x\n",
        "x",
        "?page=2",
        "#@{other}/x",
        "",
    ],
)
def test_a_path_that_is_none_is_not_called(sandbox: StandIn, other_host: Receiver, path: str) -> None:
    http = HttpClient(sandbox.url, 5, name="Zendesk")
    hostile = path.format(other=other_host.address, own=sandbox.url)
    with pytest.raises(Failure, match="Nothing was sent") as caught:
        http.call("GET", hostile, headers={"Authorization": "Basic secret"})
    assert (caught.value.permanent, caught.value.is_uncertain, http.exchanges) == (True, False, [])
    assert (other_host.asked, sandbox.calls()) == ([], [])


@pytest.mark.parametrize("origin", ["http:/", "http://[::1"])
def test_a_good_path_behind_a_broken_origin_is_not_called(other_host: Receiver, origin: str) -> None:
    """Together they would be another host's address, or none."""
    with pytest.raises(Failure, match="Nothing was sent"):
        HttpClient(origin, 5).call("GET", f"/{other_host.address}/x", headers={"Authorization": "Basic secret"})
    assert other_host.asked == []


@pytest.mark.parametrize(
    ("path", "arrives_as"),
    [
        ("/", "/"),
        ("/api/v2/users.json?page[size]=2&x=%5B1%5D#part", "/api/v2/users.json?page%5Bsize%5D=2&x=%5B1%5D"),
        ("/a/@b:c//d", "/a/@b:c//d"),
        ("/ü", "/%C3%BC"),
    ],
)
def test_a_path_is_called_whole(other_host: Receiver, path: str, arrives_as: str) -> None:
    HttpClient(other_host.url, 5).call("GET", path, headers={})
    assert [call.path for call in other_host.calls] == [arrives_as]


SECRET = 'a+b/c=d&é"5'


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET)[1:-1].replace("/", "\\/"),
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        SECRET.replace("=", "\\u003d").replace("&", "\\u0026").replace('"', "\\u0022").replace("é", "\\u00E9"),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        html.escape(SECRET),
        SECRET.replace("/", "&#x2F;").replace("=", "&#61;"),
    ],
)
def test_a_secret_is_not_recorded_however_a_reply_spells_it(spelled: str) -> None:
    with running_receiver(400, f"1{spelled}2".encode()) as host:
        client = HttpClient(host.url, 5, secrets=("other", SECRET))
        reply = client.call("GET", "/", headers={})
    assert (reply.text, client.exchanges[0]["reply"]) == ("1[removed]2", "1[removed]2")
    assert client.without_secrets(f"1{spelled}2") == "1[removed]2"


def test_a_secret_is_not_recorded_in_part_where_a_long_reply_is_cut() -> None:
    secret = "s" * 39
    body = b"x" * (KEPT_BYTES - 20) + secret.encode() + b"x" * ANSWER_CAP_BYTES
    with running_receiver(200, body) as host:
        client = HttpClient(host.url, 5, secrets=(secret,))
        reply = client.call("GET", "/", headers={})
    assert (reply.is_cut, len(reply.body) <= KEPT_BYTES, "s" in client.exchanges[0]["reply"]) == (True, True, False)


def test_a_redirect_is_an_answer_and_not_followed(sandbox: StandIn) -> None:
    sandbox.add_fault("redirect", headers={"Location": f"{sandbox.url}/api/v2/users/me.json"})
    reply = HttpClient(sandbox.url, 5).call("GET", "/api/v2/tickets.json", headers={"Authorization": "Basic secret"})
    assert reply.status == 302
    assert len(sandbox.calls()) == 1


def test_an_oversized_answer_is_read_up_to_the_cap(sandbox: StandIn) -> None:
    sandbox.add_fault("oversized", method="GET")
    reply = HttpClient(sandbox.url, 10).call("GET", "/api/v2/users/me.json", headers={})
    assert reply.is_cut
    with pytest.raises(ValueError, match="longer than the cap"):
        reply.json()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts and sends a header line a byte at a time, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                if ended.wait(0.05):
                    return
                try:
                    sock.send(bytes([byte]))
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    ended.set()
    thread.join()
    listener.close()


def test_a_header_that_drips_in_is_cut_off_at_the_deadline(silent_server: str) -> None:
    http = HttpClient(silent_server, 0.6)
    with pytest.raises(Failure) as caught:
        http.call("GET", "/", headers={})
    assert caught.value.is_uncertain
    assert "in time" in caught.value.message
    assert http.exchanges[0]["duration_ms"] < 2000


def test_the_calls_of_a_try_share_one_deadline(sandbox: StandIn) -> None:
    sandbox.add_fault("delay", seconds=0.5)
    http = HttpClient(sandbox.url, 0.8)
    http.call("GET", "/api/v2/users/me.json", headers={})
    with pytest.raises(Failure):
        http.call("GET", "/api/v2/users/me.json", headers={})


def test_nothing_from_the_environment_steers_a_call(sandbox: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert HttpClient(sandbox.url, 5).call("GET", "/api/v2/users/me.json", headers={}).status == 200


def test_connections_are_kept_for_the_next_call(sandbox: StandIn) -> None:
    before = requests_and_connections()
    for _ in range(3):
        HttpClient(sandbox.url, 5).call("GET", "/api/v2/users/me.json", headers={})
    requests, connections = requests_and_connections()
    assert requests - before[0] == 3
    assert connections - before[1] <= 1


def requests_and_connections() -> tuple[int, int]:
    """How many there were until now, at all addresses: a pool's key holds more than the address."""
    pools = [adapter.poolmanager.pools[key] for key in adapter.poolmanager.pools.keys()]  # noqa: SIM118 not a dict
    return sum(pool.num_requests for pool in pools), sum(pool.num_connections for pool in pools)
