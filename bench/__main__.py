"""`make bench`: measures the portal, prints a table and writes it to `bench/results.md`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psycopg

from bench import acknowledgement, copies, crash, disk, disturbed, drain, fairness, lists, memory, strangers, walls
from bench.ground import Ground, prepared
from bench.processes import Processes
from bench.report import RESULTS, Section, as_text, markdown

MEASUREMENTS: dict[str, Callable[[Ground], Section]] = {
    "ack": acknowledgement.measure,
    "disturbed": disturbed.measure,
    "strangers": strangers.measure,
    "drain": drain.measure,
    "fairness": fairness.measure,
    "lists": lists.measure,
    "crash": crash.measure,
    "copies": copies.measure,
    "walls": walls.measure,
    "memory": memory.measure,
    "disk": disk.measure,
}
NEEDED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENCRYPTION_KEY")
INTERRUPTED = 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the portal beside floors.")
    parser.add_argument("--quick", action="store_true", help="about three minutes instead of twelve, and less exact")
    parser.add_argument("--only", default=",".join(MEASUREMENTS), help="some of: %(default)s")
    parser.add_argument("--output", type=Path, help="where the table goes as Markdown (all measured: bench/results.md)")
    given = parser.parse_args()
    chosen = set(given.only.split(","))
    if chosen == set(MEASUREMENTS):
        given.output = given.output or RESULTS
    unknown = chosen - set(MEASUREMENTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    return given


def measured(names: list[str], *, quick: bool) -> list[Section]:
    """Each measurement on a portal of its own; one that fails is reported and does not stop the others."""
    sections = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("DATA_DIR")) as folder,
        Processes(Path(folder)) as processes,
        prepared(processes, Path(folder), os.environ, quick=quick) as ground,
    ):
        for name in names:
            began = time.monotonic()
            print(f"== {name}", flush=True)
            try:
                section = MEASUREMENTS[name](ground)
            except (RuntimeError, psycopg.Error) as problem:
                # The whole of it, with this machine's paths, is for whoever watches; the table gets the last line.
                print(problem, flush=True)
                last = (str(problem).strip().splitlines() or ["no reason was given"])[-1]
                section = Section(name, [], [f"This measurement did not come to its end: {last}"])
            sections.append(section)
            print(f"{as_text(section)}\n   ({time.monotonic() - began:.0f} s)\n", flush=True)
    return sections


def main() -> int:
    given = arguments()
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        print(f"Run `make bench`: it provides {', '.join(missing)}.", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    began = time.monotonic()
    try:
        sections = measured([name for name in MEASUREMENTS if name in given.only.split(",")], quick=given.quick)
    except KeyboardInterrupt:
        print("Stopped before the benchmark was complete; nothing was written.")
        return INTERRUPTED
    if given.output:
        given.output.write_text(markdown(sections, quick=given.quick, seconds=time.monotonic() - began))
        print(f"Written to {given.output.name}.")
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    """The first request to stop ends everything in order; further ones are ignored meanwhile."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
