"""The acknowledgement beside callers who mean harm or know no better: half-sent requests, and wrong bearer tokens."""

import contextlib
import secrets
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from bench import load
from bench.acknowledgement import floors
from bench.ground import Ground, Portal
from bench.load import Load, Outcome, Target
from bench.report import Row, Section

SLOW_CONNECTIONS = 200
WRONG_RATE = 1000.0
OWN_RATE = 100.0
GOAL = 2.0
DRIP_SECONDS = 2.0

REMARK = (
    f"Khoros calls {OWN_RATE:.0f} times a second. Slow: {SLOW_CONNECTIONS} connections, half of them to addresses that "
    "do not exist, drip one byte every two seconds and come again when they are closed. Wrong calls: "
    f"{WRONG_RATE:.0f} a second, or half of what the floors' server answers to them where that is less; who sends them "
    "works on the same cores."
)


def measure(ground: Ground) -> Section:
    seconds, rounds = (5.0, 1) if ground.quick else (10.0, 3)
    with ground.portal("http://127.0.0.1:9") as portal:
        portal.start("web")
        wrong_rate = _wrong_rate(portal)
        nowhere = replace(portal.target, path=f"{portal.target.path.rpartition('/')[0]}/{uuid.uuid4()}")
        scenes: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
            "alone": contextlib.nullcontext,
            f"{SLOW_CONNECTIONS} slow connections": lambda: slow_connections(portal.target),
            f"{wrong_rate:.0f} wrong tokens/s": lambda: _wrong_calls(portal, portal.target, wrong_rate, seconds),
            f"{wrong_rate:.0f} calls/s to no address": lambda: _wrong_calls(portal, nowhere, wrong_rate, seconds),
        }
        found: dict[str, list[Outcome]] = {name: [] for name in scenes}
        for _ in range(rounds):
            for name, scene in scenes.items():
                with scene():
                    found[name].append(portal.load(Load(16, seconds, OWN_RATE, warm_up=1.0)))
                ground.say(f"{name}: p99 {found[name][-1].p99_ms:.1f} ms")
    alone, *others = ((name, load.median(outcomes)) for name, outcomes in found.items())
    return Section("Acknowledgement beside strangers", [_row(name, one, alone[1]) for name, one in others], [REMARK])


def _row(name: str, found: Outcome, alone: Outcome) -> Row:
    ratio = found.p99_ms / alone.p99_ms
    return Row(
        f"{name}: p99",
        f"{found.p99_ms:.1f} ms, {found.errors} errors",
        f"{alone.p99_ms:.1f} ms",
        f"{ratio:.2f}x",
        f"<= {GOAL:.0f}x",
        ratio <= GOAL and not found.errors,
    )


def _wrong_rate(portal: Portal) -> float:
    """Half of what a server with hardly any work answers, as its callers share the cores with it."""
    with floors(portal) as targets:
        outcome = load.run(
            portal.ground.processes, portal.environment, _with_wrong_token(targets["stored"]), Load(16, 3)
        )
    return min(WRONG_RATE, outcome.errors / 3 / 2)


def _with_wrong_token(target: Target) -> Target:
    return replace(target, token=secrets.token_hex(16))


@contextlib.contextmanager
def _wrong_calls(portal: Portal, target: Target, rate: float, seconds: float) -> Iterator[None]:
    command = load.command(_with_wrong_token(target), Load(32, seconds + 2, rate))
    sender = portal.ground.processes.start("wrong-tokens", command, portal.environment)
    try:
        yield
    finally:
        portal.ground.processes.end(sender)


@contextlib.contextmanager
def slow_connections(target: Target) -> Iterator[None]:
    """Half-sent requests that grow by a byte now and then, for as long as the block lasts."""
    is_over = threading.Event()
    thread = threading.Thread(target=_drip, args=(target, is_over))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _drip(target: Target, is_over: threading.Event) -> None:
    senders: list[socket.socket] = []
    while True:
        while len(senders) < SLOW_CONNECTIONS:
            senders.append(_half_sent(target, len(senders)))
        if is_over.wait(DRIP_SECONDS):
            break
        senders = [sender for sender in senders if _is_still_open(sender)]
    for sender in senders:
        sender.close()


def _half_sent(target: Target, number: int) -> socket.socket:
    path = target.path if number % 2 else f"{target.path.rpartition('/')[0]}/nobody-{number}"
    sender = socket.create_connection(("127.0.0.1", target.port), timeout=5)
    sender.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n{{".encode())
    return sender


def _is_still_open(sender: socket.socket) -> bool:
    try:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sender.recv(4096)
            sender.close()
            return False
        sender.sendall(b" ")
    except OSError:
        sender.close()
        return False
    return True
