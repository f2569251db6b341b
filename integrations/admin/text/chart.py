"""A chart of bars by hour or day, drawn without a script; the same as a table for who cannot see it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from integrations.outcomes import Became

WIDTH, HEIGHT, GAP = 960, 120, 3
# Drawn from the ground up.
PARTS = Became._fields
TITLES = ("delivered", "under way", "failed", "cancelled")
SMALLEST = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar, in units of the drawing."""

    name: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour or day. `counts` are of `PARTS`, in their order; `label` is empty where it would not have room."""

    begins: datetime
    x: float
    width: float
    label: str
    title: str
    address: str
    total: int
    counts: tuple[int, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    bars: list[Bar]
    highest: int
    step: str
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def key(self) -> list[tuple[str, str]]:
        """What each colour means: (part, words)."""
        return list(zip(PARTS, TITLES, strict=True))


def chart_of(
    steps: list[tuple[datetime, datetime, list[int]]],
    *,
    by_day: bool,
    address: Callable[[datetime, datetime], str],
) -> Chart:
    """`steps`: beginning, end and counts of each."""
    highest = max(1, *(sum(counts) for _, _, counts in steps))
    width = WIDTH / len(steps)
    every = max(1, len(steps) // 12)
    bars = [
        Bar(
            begins=begins,
            x=place * width,
            width=width - GAP,
            label=_label(begins, by_day) if place % every == 0 else "",
            title=f"{_time(begins, by_day)}: {_said(counts)}",
            address=address(begins, ends),
            total=sum(counts),
            counts=tuple(counts),
            parts=tuple(_parts(counts, highest)),
        )
        for place, (begins, ends, counts) in enumerate(steps)
    ]
    return Chart(bars, highest, "day" if by_day else "hour")


def _parts(counts: list[int], highest: int) -> list[Part]:
    parts, ground = [], float(HEIGHT)
    for name, count in zip(PARTS, counts, strict=True):
        height = max(SMALLEST, count * (HEIGHT - 4 * SMALLEST) / highest) if count else 0.0
        ground -= height
        parts += [Part(name, ground, height)] if count else []
    return parts


def _label(begins: datetime, by_day: bool) -> str:
    return f"{begins:%d %b}".lstrip("0") if by_day else f"{begins:%H:%M}"


def _time(begins: datetime, by_day: bool) -> str:
    return f"{begins:%Y-%m-%d}" if by_day else f"{begins:%Y-%m-%d %H:%M}"


def _said(counts: list[int]) -> str:
    return ", ".join(f"{count:,} {word}" for count, word in zip(counts, TITLES, strict=True) if count) or "nothing"
