"""The load generator: keep-alive connections to one address on this machine, in a process of its own.

Closed loop: each connection sends its next request when the last was answered. Open loop: requests come at a fixed
rate, whatever the answers do, and a latency counts from the moment the request was due.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import notification
from bench.processes import Processes

ANSWER_SECONDS = 15.0
PAUSE_AFTER_LOSS_SECONDS = 0.05


@dataclass(frozen=True)
class Target:
    """Where a load goes: an address on 127.0.0.1 and its bearer token."""

    port: int
    path: str
    token: str


@dataclass(frozen=True)
class Load:
    """How much of it: `rate` 0 is a closed loop. It ends after `seconds`, or after `count` requests if that is less."""

    connections: int
    seconds: float
    rate: float = 0.0
    count: int = 1_000_000
    warm_up: float = 0.5


@dataclass(frozen=True)
class Outcome:
    requests: int
    errors: int
    per_second: float
    p50_ms: float
    p99_ms: float


def run(
    processes: Processes, environment: dict[str, str], target: Target, load: Load, acknowledged: Path | None = None
) -> Outcome:
    """The load, made by another process. `acknowledged`: a file that gets the event uuid of each answer 200."""
    printed = processes.run("load", command(target, load, acknowledged), environment, load.seconds + 60)
    return Outcome(**json.loads(printed.strip().splitlines()[-1]))


def command(target: Target, load: Load, acknowledged: Path | None = None) -> list[str]:
    values = {**asdict(target), **asdict(load)} | ({"acknowledged": acknowledged} if acknowledged else {})
    # With “=”, as a token may begin with a hyphen.
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    return [sys.executable, "-m", "bench.load", *options]


def median(outcomes: list[Outcome]) -> Outcome:
    """Of several rounds: the median of each figure, the sum of the errors."""
    return Outcome(
        requests=sum(outcome.requests for outcome in outcomes),
        errors=sum(outcome.errors for outcome in outcomes),
        per_second=statistics.median(outcome.per_second for outcome in outcomes),
        p50_ms=statistics.median(outcome.p50_ms for outcome in outcomes),
        p99_ms=statistics.median(outcome.p99_ms for outcome in outcomes),
    )


class Client(asyncio.Protocol):
    """One connection: sends a request, reads the whole response and calls `answered` with its status."""

    def __init__(self, answered: Callable[["Client", int], None], lost: Callable[["Client"], None]) -> None:
        self.answered = answered
        self.lost = lost
        self.began = 0.0
        self.number = -1
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes, began: float, number: int) -> None:
        assert self._transport is not None
        self.began, self.number = began, number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= _content_length(head):
            self._received = b""
            self.answered(self, int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    if not found:
        raise ValueError("an answer without a Content-Length")
    return int(rest.partition(b"\r\n")[0])


@dataclass
class Run:
    """A load in progress."""

    target: Target
    load: Load
    run_number: int = field(default_factory=lambda: random.randrange(10**9))
    latencies: list[float] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    errors: int = 0
    sent: int = 0
    open_requests: int = 0
    idle: deque[Client] = field(default_factory=deque)
    due: deque[float] = field(default_factory=deque)
    began: float = 0.0
    counted_from: float = 0.0
    last_answer: float = 0.0
    is_over: bool = False

    def __post_init__(self) -> None:
        body = notification.body(0, 0)
        self._head = (
            f"POST {self.target.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.target.port}\r\n"
            f"Authorization: Bearer {self.target.token}\r\nContent-Type: application/json\r\n"
            f"User-Agent: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()

    async def to_the_end(self) -> Outcome:
        for _ in range(self.load.connections):
            await self._connect()
        self.began = time.perf_counter()
        self.counted_from = self.began + self.load.warm_up
        if self.load.rate:
            await self._keep_the_rate()
        else:
            for client in list(self.idle):
                self._next(client)
            await self._until(lambda: self._is_done() and not self.open_requests, self.load.seconds + ANSWER_SECONDS)
        self.is_over = True
        self.errors += self.open_requests
        return self._outcome()

    async def _keep_the_rate(self) -> None:
        while not self._is_done():
            planned = self.began + (self.sent + len(self.due)) / self.load.rate
            if (wait := planned - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self.due.append(planned)
            if self.idle:
                self._send(self.idle.popleft(), self.due.popleft())
        await self._until(lambda: not self.open_requests and not self.due, ANSWER_SECONDS)
        self.errors += len(self.due)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        until = time.perf_counter() + seconds
        while not condition() and time.perf_counter() < until:
            await asyncio.sleep(0.02)

    def _is_done(self) -> bool:
        return self.sent >= self.load.count or time.perf_counter() - self.began >= self.load.seconds

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, client = await loop.create_connection(
                lambda: Client(self._answered, self._lost), "127.0.0.1", self.target.port
            )
        except OSError:
            self.errors += 1
            self._connect_later()
            return
        self._next(client) if self.began and not self.load.rate else self._take_due(client)

    def _connect_later(self) -> None:
        if not self.is_over and not (self.began and self._is_done()):
            loop = asyncio.get_running_loop()
            loop.call_later(PAUSE_AFTER_LOSS_SECONDS, lambda: loop.create_task(self._connect()))

    def _next(self, client: Client) -> None:
        if not self._is_done():
            self._send(client, time.perf_counter())

    def _take_due(self, client: Client) -> None:
        if self.due:
            self._send(client, self.due.popleft())
        else:
            self.idle.append(client)

    def _send(self, client: Client, began: float) -> None:
        number = self.sent
        self.sent += 1
        self.open_requests += 1
        client.send(self._head + notification.body(self.run_number, number), began, number)

    def _answered(self, client: Client, status: int) -> None:
        moment = time.perf_counter()
        self.open_requests -= 1
        number, client.number = client.number, -1
        if status != 200:
            self.errors += 1
        else:
            self.acknowledged.append(number)
            if client.began >= self.counted_from:
                self.latencies.append(moment - client.began)
                self.last_answer = moment
        if self.load.rate:
            self._take_due(client)
        else:
            self._next(client)

    def _lost(self, client: Client) -> None:
        if client in self.idle:
            self.idle.remove(client)
        if client.number >= 0 and not self.is_over:
            self.open_requests -= 1
            self.errors += 1
        self._connect_later()

    def _outcome(self) -> Outcome:
        ordered = sorted(self.latencies)
        seconds = max(self.last_answer - self.counted_from, 1e-9)
        return Outcome(
            requests=len(ordered),
            errors=self.errors,
            per_second=len(ordered) / seconds,
            p50_ms=_percentile(ordered, 0.50) * 1000,
            p99_ms=_percentile(ordered, 0.99) * 1000,
        )


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--acknowledged", type=Path)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    load = Load(given.connections, given.seconds, given.rate, given.count, given.warm_up)
    running = Run(Target(given.port, given.path, given.token), load)
    gc.disable()
    outcome = asyncio.run(running.to_the_end())
    if given.acknowledged:
        uuids = (notification.event_uuid(running.run_number, number) for number in running.acknowledged)
        given.acknowledged.write_text("".join(f"{uuid}\n" for uuid in uuids))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
