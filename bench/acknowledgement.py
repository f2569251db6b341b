"""How fast a notification is acknowledged, beside two floors on the same server, in alternating rounds."""

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Iterator

from bench import load
from bench.floor_table import MAKE_TABLE
from bench.ground import PYTHON, START_SECONDS, Ground, Portal
from bench.load import Load, Outcome, Target
from bench.processes import wait_until
from bench.report import Row, Section
from local.ports import is_listening

CLOSED_P99_GOALS_MS = {1: None, 16: 75.0, 64: 250.0}
OPEN_RATE = 200.0
OPEN_P99_GOAL_MS = 20.0
GOAL_OF_STORED = 0.60
GOAL_OF_QUEUED = 0.80
NAMES = {"stored": "floor 3c", "queued": "floor 3d", "portal": "portal"}


def measure(ground: Ground) -> Section:
    rounds, seconds = (2, 2.0) if ground.quick else (3, 3.0)
    closed_zendesk = "http://127.0.0.1:9"
    with ground.portal(closed_zendesk) as portal, floors(portal) as beside:
        portal.start("web")
        targets = beside | {"portal": portal.target}
        found = _alternating(portal, targets, rounds, seconds)
    return Section("Acknowledgement", _rows(found), [REMARK])


REMARK = (
    "Floor 3c: bearer comparison, JSON, one INSERT of the raw body. Floor 3d: 3c and a Celery message sent before the "
    "answer. All on the portal's gunicorn settings, same database, no worker running. Ratios of the medians of the "
    "rounds. The portal publishes after the commit, many together, so its goal is the one against 3c."
)


@contextlib.contextmanager
def floors(portal: Portal) -> Iterator[dict[str, Target]]:
    portal.execute(MAKE_TABLE)
    port, token = portal.ground.port(), secrets.token_hex(16)
    environment = portal.environment | {"PORT": str(port), "FLOOR_TOKEN": token}
    command = [PYTHON, "-m", "gunicorn", "bench.floor:application", "--no-control-socket"]
    started = portal.ground.processes.start("floor", command, environment)
    try:
        wait_until(lambda: is_listening(port), START_SECONDS, "the floors' server", started)
        yield {name: Target(port, f"/{name}", token) for name in ("stored", "queued")}
    finally:
        portal.ground.processes.end(started)


Outcomes = dict[tuple[str, str], Outcome]


def _alternating(portal: Portal, targets: dict[str, Target], rounds: int, seconds: float) -> Outcomes:
    loads = {f"c={connections}": Load(connections, seconds) for connections in CLOSED_P99_GOALS_MS}
    loads["200/s"] = Load(64, seconds + 2, OPEN_RATE, warm_up=1.0)
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for number in range(rounds):
        for shape, amount in loads.items():
            for name, target in targets.items():
                outcome = load.run(portal.ground.processes, portal.environment, target, amount)
                found[shape, name].append(outcome)
            shown = ", ".join(f"{NAMES[name]} {found[shape, name][-1].per_second:.0f}/s" for name in targets)
            portal.ground.say(f"round {number + 1}, {shape}: {shown}")
    return {key: load.median(outcomes) for key, outcomes in found.items()}


def _rows(found: Outcomes) -> list[Row]:
    rows = []
    for connections, p99_goal in CLOSED_P99_GOALS_MS.items():
        shape = f"c={connections}"
        portal = found[shape, "portal"]
        for floor, goal in (("stored", GOAL_OF_STORED), ("queued", GOAL_OF_QUEUED)):
            beside = found[shape, floor]
            ratio = portal.per_second / beside.per_second
            has_goal = floor == "stored"
            rows.append(
                Row(
                    f"{shape}, requests/s, beside {NAMES[floor]}",
                    f"{portal.per_second:.0f}/s",
                    f"{beside.per_second:.0f}/s",
                    f"{ratio:.0%}",
                    f">= {goal:.0%}" if has_goal else "",
                    ratio >= goal if has_goal else None,
                )
            )
        rows.append(latency_row(shape, portal, found[shape, "stored"], p99_goal))
    rows.append(latency_row("open loop 200/s", found["200/s", "portal"], found["200/s", "stored"], OPEN_P99_GOAL_MS))
    errors = sum(outcome.errors for (_, name), outcome in found.items() if name == "portal")
    requests = sum(outcome.requests for (_, name), outcome in found.items() if name == "portal")
    rows.append(Row("errors of the portal", f"{errors} of {requests:,}", goal="0", is_met=errors == 0))
    return rows


def latency_row(what: str, portal: Outcome, beside: Outcome, p99_goal: float | None) -> Row:
    return Row(
        f"{what}, p50 / p99",
        f"{portal.p50_ms:.1f} / {portal.p99_ms:.1f} ms",
        f"{beside.p50_ms:.1f} / {beside.p99_ms:.1f} ms",
        f"p99 {portal.p99_ms / beside.p99_ms:.1f}x",
        f"p99 <= {p99_goal:.0f} ms" if p99_goal else "",
        portal.p99_ms <= p99_goal if p99_goal else None,
    )
