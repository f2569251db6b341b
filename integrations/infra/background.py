"""What a room has done in the background, said by the room itself: `BACKGROUND` in its package; `jobs` does it.

Due work is in columns: a job finds the rows that it is due for, and may run twice on a row without harm.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of work on one row, by a task of this name (infra.queue), which whoever asks for it and the sweep queue.

    `due`: the ids of the rows that it is due for now, few at a time. `slot`: whom it waits for, "{}" being the row:
    jobs that wait for one another's account hold up nothing else; "" where it waits for nobody. `turn` and `every`:
    a look for what is due that is made every so many seconds only (models.Turn).
    """

    task: str
    work: Callable[[int], object]
    due: Callable[[], list[int]]
    slot: str = ""
    turn: str = ""
    every: float = 0.0


@dataclass(frozen=True, slots=True)
class Background:
    """`each_sweep`: what is put right every few seconds; `each_watch`: upkeep, every minute or so. Quick, from rows."""

    jobs: tuple[Job, ...] = ()
    each_sweep: tuple[Callable[[], object], ...] = ()
    each_watch: tuple[Callable[[], object], ...] = ()
