"""What web, worker and beat need in memory while nothing happens."""

import sys
import time

from bench.ground import Ground
from bench.load import Load
from bench.processes import memory_mb
from bench.report import Row, Section

GOAL_MB = 300
SETTLING_SECONDS = 6.0


def measure(ground: Ground) -> Section:
    if sys.platform != "linux":
        return Section("Idle memory", [Row("proportional set size", "not known on this system")])
    with ground.stand_in() as stand_in, ground.portal(stand_in.url) as portal:
        portal.start("web", "beat")
        portal.start_worker()
        time.sleep(SETTLING_SECONDS)
        fresh = {started.name: memory_mb(started) for started in portal.started}
        portal.load(Load(16, 20, count=200, warm_up=0))
        time.sleep(SETTLING_SECONDS)
        used = {started.name: memory_mb(started) for started in portal.started}
    return Section("Idle memory", [_row("after the start", fresh), _row("after 200 notifications", used)], [REMARK])


REMARK = "Proportional set size: a page shared by several processes counts in equal parts for each."


def _row(when: str, parts: dict[str, float]) -> Row:
    total = sum(parts.values())
    shown = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in parts.items())
    return Row(
        f"web + worker + beat, {when}", f"{total:.0f} MB ({shown})", goal=f"<= {GOAL_MB} MB", is_met=total <= GOAL_MB
    )
