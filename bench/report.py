"""The results: a table for people at the end of a run, and the same in `bench/results.md`."""

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results.md"


@dataclass(frozen=True)
class Row:
    """One figure. `ratio` is to `beside`, both of this run; `is_met` is None where there is no goal."""

    what: str
    figure: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""
    is_met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        met = {None: "", True: "yes", False: "**no**"}[self.is_met]
        return self.what, self.figure, self.beside, self.ratio, self.goal, met


@dataclass(frozen=True)
class Section:
    title: str
    rows: list[Row]
    remarks: list[str] = field(default_factory=list)


HEAD = ("What", "Measured", "Beside", "Ratio", "Goal", "Met")


def markdown(sections: list[Section], *, quick: bool, seconds: float) -> str:
    parts = ["# Results of `make bench`", "", *_machine(quick, seconds), ""]
    for section in sections:
        parts += [f"## {section.title}", "", _line(HEAD), _line(["---"] * len(HEAD))]
        parts += [_line(row.cells()) for row in section.rows]
        parts += ["", *(line for remark in section.remarks for line in (remark, ""))]
    return "\n".join(parts).rstrip() + "\n"


def as_text(section: Section) -> str:
    table = [HEAD, *(row.cells() for row in section.rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in table]
    return "\n".join([section.title, *(f"  {line.rstrip()}" for line in lines), *section.remarks])


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine(quick: bool, seconds: float) -> list[str]:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, Python {platform.python_version()}"
    run = f"{'quick' if quick else 'full'} run of {seconds / 60:.0f} minutes; load average at its end {load}"
    return [f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine}; {run}.", "", SHARED]


SHARED = (
    "Portal, floors, database, broker, stand-in and load generator share the machine. Absolute figures differ from "
    "machine to machine and from hour to hour; what counts are the ratios, each to a figure of the same run."
)
