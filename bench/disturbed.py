"""The acknowledgement while something else goes wrong: Zendesk slow or down, Redis gone or silent.

A worker takes its share of the same cores, whatever Zendesk does. So each state with a worker is compared with a worker
whose Zendesk answers at once, and shown beside the portal whose worker stands still (SIGSTOP) as well.
"""

import contextlib
import signal
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from bench import load
from bench.ground import Ground, Portal, StandIn, closed_port, silent_port
from bench.load import Load, Outcome
from bench.processes import Started
from bench.report import Row, Section

GOAL = 1.3
CONNECTIONS = 16
OPEN_RATE = 200.0
# A baseline that itself falls behind the rate measures its own queue: no verdict follows from it.
KEPT_SHARE = 0.97
# Rows there before the first round, so that the worker never runs out of work while it is measured beside.
BACKLOG_SECONDS = 4.0


@dataclass(frozen=True)
class Scene:
    """One state of the world. `baseline` is the state its goal compares with."""

    name: str
    portal: Portal
    enter: Callable[[], None]
    baseline: str = ""


def measure(ground: Ground) -> Section:
    rounds, seconds = (1, 2.0) if ground.quick else (3, 2.0)
    with contextlib.ExitStack() as ending:
        stand_in = ending.enter_context(ground.stand_in())
        portal = ending.enter_context(ground.portal(stand_in.url))
        portal.start("web")
        worker = portal.start_worker()
        ending.callback(worker.signal_group, signal.SIGCONT)
        scenes = [
            *_worker_scenes(portal, worker, stand_in),
            *_redis_scenes(ground, portal, worker, ending),
        ]
        scenes[0].enter()
        portal.load(Load(CONNECTIONS, BACKLOG_SECONDS))
        found = _rounds(ground, scenes, rounds, seconds)
    return Section("Acknowledgement while others fail", _rows(scenes, found), [REMARK])


REMARK = (
    "Closed loop with 16 connections, and open loop of 200/s. The worker has a backlog in every state, so its share of "
    "the cores is in both sides of the ratio; beside “worker stands still” it is in one only. "
    "Undecided: the baseline itself did not keep up with 200/s. Publishing costs something too, so with Redis gone the "
    "portal may well be faster than beside a live one."
)


def _worker_scenes(portal: Portal, worker: Started, stand_in: StandIn) -> list[Scene]:
    def still() -> None:
        worker.signal_group(signal.SIGSTOP)

    def at_work(address: str, milliseconds: int) -> Callable[[], None]:
        def enter() -> None:
            stand_in.delay(milliseconds)
            portal.execute(
                "UPDATE integrations_connection SET settings = jsonb_set(settings, '{address}', to_jsonb(%s::text)), "
                "paused_at = NULL, paused_until = NULL, pause_reason = ''",
                address,
            )
            portal.execute("UPDATE integrations_delivery SET next_attempt_at = now() WHERE state = 'pending'")
            worker.signal_group(signal.SIGCONT)

        return enter

    nobody = f"http://127.0.0.1:{closed_port()}"
    return [
        Scene("worker stands still", portal, still),
        Scene("worker, Zendesk at once", portal, at_work(stand_in.url, 0)),
        Scene("worker, Zendesk of 300 ms", portal, at_work(stand_in.url, 300), "worker, Zendesk at once"),
        Scene("worker, Zendesk down", portal, at_work(nobody, 0), "worker, Zendesk at once"),
    ]


def _redis_scenes(ground: Ground, portal: Portal, worker: Started, ending: contextlib.ExitStack) -> list[Scene]:
    """Two more web processes on the same database, whose Redis refuses connections or never answers."""

    def still() -> None:
        worker.signal_group(signal.SIGSTOP)

    scenes = []
    for name, port in (("Redis gone", closed_port()), ("Redis silent", ending.enter_context(silent_port()))):
        own_port = ground.port()
        environment = portal.environment | {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "PORT": str(own_port)}
        other = Portal(ground, environment, portal.path, portal.token)
        ending.callback(other.end)
        other.start("web")
        scenes.append(Scene(name, other, still, "worker stands still"))
    return scenes


Outcomes = dict[tuple[str, str], Outcome]


def _rounds(ground: Ground, scenes: list[Scene], rounds: int, seconds: float) -> Outcomes:
    loads = {"closed": Load(CONNECTIONS, seconds), "open": Load(64, seconds + 1, OPEN_RATE)}
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for number in range(rounds):
        for scene in scenes:
            scene.enter()
            for shape, amount in loads.items():
                found[scene.name, shape].append(scene.portal.load(amount))
            closed, opened = (found[scene.name, shape][-1] for shape in loads)
            ground.say(
                f"round {number + 1}, {scene.name}: {closed.per_second:.0f}/s, p99 {closed.p99_ms:.0f} ms; "
                f"at 200/s p99 {opened.p99_ms:.1f} ms"
            )
    return {key: load.median(outcomes) for key, outcomes in found.items()}


def _rows(scenes: list[Scene], found: Outcomes) -> list[Row]:
    rows = []
    still = scenes[0].name
    for scene in scenes:
        for shape, label in (("closed", "c=16"), ("open", "200/s")):
            outcome = found[scene.name, shape]
            figure = f"{outcome.per_second:.0f}/s, p99 {outcome.p99_ms:.1f} ms, {outcome.errors} errors"
            baselines = [] if scene.name == still else list(dict.fromkeys(filter(None, [scene.baseline, still])))
            if not baselines:
                rows.append(Row(f"{scene.name}, {label}", figure))
            for baseline in baselines:
                is_goal = baseline == scene.baseline
                beside = found[baseline, shape]
                is_decided = shape == "closed" or beside.per_second >= OPEN_RATE * KEPT_SHARE
                what = f"{scene.name}, {label}"
                rows.append(_compared(what, figure, outcome, baseline, beside, is_goal=is_goal, is_decided=is_decided))
    return rows


def _compared(
    what: str, figure: str, outcome: Outcome, baseline: str, beside: Outcome, *, is_goal: bool, is_decided: bool
) -> Row:
    slower = beside.per_second / outcome.per_second
    later = outcome.p99_ms / beside.p99_ms
    return Row(
        what,
        figure,
        f"{baseline}: {beside.per_second:.0f}/s, p99 {beside.p99_ms:.1f} ms",
        f"{slower:.2f}x slower, p99 {later:.2f}x",
        f"within {GOAL}x{'' if is_decided else ' (undecided)'}" if is_goal else "",
        (slower <= GOAL and later <= GOAL and not outcome.errors) if is_goal and is_decided else None,
    )
