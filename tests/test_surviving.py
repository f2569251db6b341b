"""The running portal, as a newcomer starts it: processes killed with -9, bodies over sockets, services away."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import urllib3

from local.processes import command_of
from local.trial import Trial
from tests import payloads
from tests.stand_in import StandIn

PATIENCE_SECONDS = 45
# A server that was killed flushes its whole folder before it lets anybody in; a busy disk takes its time for that.
RECOVERY_SECONDS = 90
OUTAGE_SECONDS = 5
http_client = urllib3.PoolManager()
pytestmark = pytest.mark.xdist_group("one running portal")


@pytest.fixture(scope="module")
def portal_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    quick = {
        "SWEEP_SECONDS": "1",
        "CATCH_UP_SECONDS": "5",
        "DELIVERY_LEASE_SECONDS": "6",
        "DELIVERY_RETRY_DELAYS": "1,1,2,2,4,4,8,8",
    }
    with Trial(tmp_path_factory.mktemp("trial") / "data", quick) as trial:
        yield trial


@pytest.fixture
def zendesk(portal_process: Trial) -> Iterator[StandIn]:
    stand_in = StandIn(portal_process.sandbox_url)
    wait_until(lambda: bool(stand_in.subscriptions_to("CreateCase")))
    yield stand_in
    stand_in.clear_faults()


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.2)


def push(trial: Trial, zendesk: StandIn, entity_ids: list[str]) -> list[str]:
    """Calls the webhook once for each post, as Khoros does; returns those whose call was acknowledged."""
    (subscription,) = zendesk.subscriptions_to("CreateCase")
    acknowledged = []
    for entity_id in entity_ids:
        try:
            answer = http_client.request(
                "POST",
                subscription["notificationUri"],
                body=json.dumps(payloads.notification(payloads.item(entity_id))).encode(),
                headers={"Authorization": f"Bearer {subscription['bearerToken']}", "Content-Type": "application/json"},
                retries=False,
                timeout=10,
            )
        except urllib3.exceptions.HTTPError:
            continue
        if answer.status == 200:
            acknowledged.append(entity_id)
    return acknowledged


def tickets_by_post(zendesk: StandIn) -> Counter[str]:
    """How many tickets each post has; the external id is khoros:{network}:{id}:{mapping}."""
    ids = (str(ticket["external_id"]) for ticket in zendesk.tickets())
    return Counter(":".join(one.split(":")[1:3]) for one in ids)


def some_posts(count: int) -> list[str]:
    return [f"twitter:{uuid.uuid4().int % 10**15}" for _ in range(count)]


def pids_of(trial: Trial, *names: str) -> list[int]:
    return [
        entry["pid"] for entry in json.loads((trial.folder / "processes.json").read_text()) if entry["name"] in names
    ]


def kill_9(trial: Trial, *names: str) -> None:
    for pid in pids_of(trial, *names):
        os.kill(pid, signal.SIGKILL)


def test_a_label_in_the_inbox_becomes_a_ticket(portal_process: Trial, zendesk: StandIn) -> None:
    post = zendesk.add_post(network="twitter", author="Ann", text="Where is my parcel?")
    zendesk.apply_label("CreateCase", post["id"])
    wait_until(lambda: tickets_by_post(zendesk)[post["entityId"]] == 1)


def test_workers_killed_in_the_middle_make_no_second_ticket(portal_process: Trial, zendesk: StandIn) -> None:
    zendesk.add_fault("delay", seconds=0.5)
    posts = push(portal_process, zendesk, some_posts(40))
    for _ in range(2):
        kill_9(portal_process, "worker", "beat")
        time.sleep(1.5)
    zendesk.clear_faults()
    assert len(posts) == 40
    wait_until(lambda: set(posts) <= set(tickets_by_post(zendesk)))
    assert max(tickets_by_post(zendesk).values()) == 1


def test_everything_killed_loses_nothing_that_was_acknowledged(portal_process: Trial, zendesk: StandIn) -> None:
    zendesk.add_fault("delay", seconds=0.3)
    acknowledged = push(portal_process, zendesk, some_posts(20))
    kill_9(portal_process, "web", "worker", "beat", "valkey", "postgres")
    portal_process.kill()
    portal_process.start()
    wait_until(lambda: bool(zendesk.subscriptions_to("CreateCase")))
    acknowledged += push(portal_process, zendesk, some_posts(5))
    assert len(acknowledged) >= 25
    wait_until(lambda: set(acknowledged) <= set(tickets_by_post(zendesk)))
    assert max(tickets_by_post(zendesk).values()) == 1


def test_a_stopped_redis_neither_slows_nor_fails_the_acknowledgement(portal_process: Trial, zendesk: StandIn) -> None:
    (redis,) = pids_of(portal_process, "valkey")
    os.kill(redis, signal.SIGSTOP)
    try:
        posts = push(portal_process, zendesk, some_posts(10))
    finally:
        os.kill(redis, signal.SIGCONT)
    assert len(posts) == 10
    wait_until(lambda: set(posts) <= set(tickets_by_post(zendesk)))


@dataclass(frozen=True)
class Call:
    """One call of the webhook: its status (0 for silence), and how long the caller waited."""

    began: float
    status: int
    seconds: float
    entity_id: str


class SteadyCalls:
    """Twenty calls a second, each from a caller of its own, for as long as the block lasts."""

    PER_SECOND = 20
    SILENCE_SECONDS = 10

    def __init__(self, zendesk: StandIn) -> None:
        (self.subscription,) = zendesk.subscriptions_to("CreateCase")
        self.calls: list[Call] = []
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "SteadyCalls":
        self._clock = threading.Thread(target=self._run)
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._clock.join()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1 / self.PER_SECOND):
            self._threads.append(threading.Thread(target=self._call))
            self._threads[-1].start()

    def _call(self) -> None:
        (entity_id,) = some_posts(1)
        body = json.dumps(payloads.notification(payloads.item(entity_id))).encode()
        headers = {"Authorization": f"Bearer {self.subscription['bearerToken']}"}
        began = time.monotonic()
        try:
            with urllib3.PoolManager() as caller:
                answer = caller.request(
                    "POST",
                    self.subscription["notificationUri"],
                    body=body,
                    headers=headers,
                    retries=False,
                    timeout=self.SILENCE_SECONDS,
                )
            status = answer.status
        except urllib3.exceptions.HTTPError:
            status = 0
        self.calls.append(Call(began, status, time.monotonic() - began, entity_id))


def postgres_is_frozen(trial: Trial) -> None:
    (server,) = pids_of(trial, "postgres")
    for pid in (server, *children_of(server)):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(OUTAGE_SECONDS)
    for pid in (server, *children_of(server)):
        os.kill(pid, signal.SIGCONT)


def postgres_is_dead(trial: Trial) -> None:
    until = time.monotonic() + OUTAGE_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            kill_9(trial, "postgres")
        time.sleep(0.1)
    wait_until(lambda: postgres_answers(trial), RECOVERY_SECONDS)


def postgres_answers(trial: Trial) -> bool:
    try:
        with psycopg.connect(database_address(trial), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def database_address(trial: Trial) -> str:
    """The one that the web process was given."""
    (web,) = pids_of(trial, "web")
    variables = Path(f"/proc/{web}/environ").read_text().split("\0")
    (address,) = (one.partition("=")[2] for one in variables if one.startswith("DATABASE_URL="))
    return address


@pytest.mark.parametrize("outage", [postgres_is_frozen, postgres_is_dead])
def test_while_postgres_is_away_every_call_is_answered_and_nothing_acknowledged_is_lost(
    portal_process: Trial, zendesk: StandIn, outage: Callable[[Trial], None]
) -> None:
    with SteadyCalls(zendesk) as steady:
        time.sleep(1)
        outage(portal_process)
        back = time.monotonic()
        time.sleep(3)
    statuses = Counter(call.status for call in steady.calls)
    assert set(statuses) == {200, 503}
    assert max(call.seconds for call in steady.calls) < 3
    assert next(call.began for call in steady.calls if call.began > back and call.status == 200) - back < 3
    acknowledged = {call.entity_id for call in steady.calls if call.status == 200}
    wait_until(lambda: acknowledged <= set(tickets_by_post(zendesk)))
    assert max(tickets_by_post(zendesk).values()) == 1
    assert http_client.request("GET", f"{portal_process.url}/readyz").status == 200


def test_postgres_starts_again_beside_an_empty_lock_file(portal_process: Trial) -> None:
    """As one is left that was killed while it wrote it."""
    with psycopg.connect(database_address(portal_process)) as connection:
        ((folder,),) = connection.execute("SHOW data_directory").fetchall()
    kill_9(portal_process, "postgres")
    Path(folder, "postmaster.pid").write_bytes(b"")
    wait_until(lambda: postgres_answers(portal_process), RECOVERY_SECONDS)


def test_postgres_starts_again_although_a_child_of_the_killed_one_hangs(portal_process: Trial) -> None:
    (server,) = pids_of(portal_process, "postgres")
    hanging = children_of(server)[0]
    os.kill(hanging, signal.SIGSTOP)
    kill_9(portal_process, "postgres")
    wait_until(lambda: postgres_answers(portal_process), RECOVERY_SECONDS)
    assert not command_of(hanging)


@pytest.fixture
def raw_call(portal_process: Trial, zendesk: StandIn) -> Callable[..., Any]:
    """One request with the subscription's token over a plain socket: (status, answer)."""
    (subscription,) = zendesk.subscriptions_to("CreateCase")
    path = subscription["notificationUri"].removeprefix(portal_process.url)

    def call(body: Any, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {subscription['bearerToken']}"} | headers
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", portal_process.port, timeout=20)) as connection:
            connection.request("POST", path, body=body, headers=sent, encode_chunked="Transfer-Encoding" in headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    return call


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", f"/webhooks/khoros/{uuid.UUID(int=1)}", 401), ("GET", "/healthz", 200), ("GET", "/admin/login/", 200)],
)
def test_an_answer_says_how_long_it_is(portal_process: Trial, method: str, path: str, status: int) -> None:
    answer = http_client.request(method, portal_process.url + path)
    assert (answer.status, answer.headers["Content-Length"]) == (status, str(len(answer.data)))


def test_tokens_may_be_tried_a_hundred_times_and_the_right_one_is_accepted_all_the_while(
    portal_process: Trial, zendesk: StandIn
) -> None:
    (subscription,) = zendesk.subscriptions_to("CreateCase")
    path = subscription["notificationUri"].removeprefix(portal_process.url)
    answers: Counter[tuple[bool, int, bool]] = Counter()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", portal_process.port, timeout=20)) as connection:
        for number in range(200):
            token = f"wrong-{number}" if number % 10 else subscription["bearerToken"]
            body = json.dumps(payloads.notification(payloads.item())).encode()
            connection.request("POST", path, body=body, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            answers[number % 10 == 0, answer.status, "error" in json.loads(answer.read())] += 1
    assert answers == {(True, 200, False): 20, (False, 401, True): 180}


def test_a_body_sent_in_chunks_is_read_whole(raw_call: Any, zendesk: StandIn) -> None:
    content = json.dumps(payloads.notification(payloads.item("twitter:60601"))).encode()
    chunks = iter([content[:100], content[100:700], content[700:]])
    assert raw_call(chunks, **{"Transfer-Encoding": "chunked"})[0] == 200
    wait_until(lambda: tickets_by_post(zendesk)["twitter:60601"] == 1)


@pytest.mark.parametrize("megabytes", [2, 6])
def test_a_body_over_the_limit_gets_its_answer_and_not_a_reset(raw_call: Any, megabytes: int) -> None:
    status, answer = raw_call(b"x" * megabytes * 1024 * 1024)
    assert (status, "1048576" in answer["error"]) == (413, True)
    chunks = (b"x" * 65536 for _ in range(megabytes * 16))
    assert raw_call(chunks, **{"Transfer-Encoding": "chunked"})[0] == 413


def test_half_a_body_stores_nothing(portal_process: Trial, zendesk: StandIn) -> None:
    (subscription,) = zendesk.subscriptions_to("CreateCase")
    path = subscription["notificationUri"].removeprefix(portal_process.url)
    with socket.create_connection(("127.0.0.1", portal_process.port)) as sock:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {subscription['bearerToken']}\r\n"
        sock.sendall(f"{head}Content-Length: 500\r\n\r\n{{".encode())
    wait_until(lambda: http_client.request("GET", f"{portal_process.url}/healthz").status == 200)
    assert b"Traceback" not in portal_process.log.read_bytes()[-2000:]


def test_what_was_never_pushed_becomes_a_ticket_all_the_same_even_if_the_workers_are_killed(
    portal_process: Trial, zendesk: StandIn
) -> None:
    post = zendesk.add_post(text="Nobody pushed this", entity_id="twitter:70701")
    zendesk.change_settings(push=False)
    zendesk.apply_label("CreateCase", post["id"])
    kill_9(portal_process, "worker", "beat")
    wait_until(lambda: tickets_by_post(zendesk)["twitter:70701"] == 1)
    zendesk.change_settings(push=True)


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(child) for child, parent in map(str.split, listed.splitlines()) if int(parent) == pid]


def test_ctrl_c_ends_everything_and_the_data_is_kept(portal_process: Trial, zendesk: StandIn) -> None:
    pids = pids_of(portal_process, "web", "worker", "beat", "valkey", "postgres", "sandbox")
    before = {ticket["id"] for ticket in zendesk.tickets()}
    portal_process.stop()
    assert portal_process.process is not None
    assert portal_process.process.returncode == 0
    assert [pid for pid in pids if _is_alive(pid)] == []
    portal_process.start()
    wait_until(lambda: before <= {ticket["id"] for ticket in zendesk.tickets()})
    assert set(tickets_by_post(zendesk).values()) == {1}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
