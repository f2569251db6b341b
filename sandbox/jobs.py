"""Bulk creation of tickets: queued jobs that create their tickets one by one, in random order.

Every ticket is stored together with its result, so that a job resumes where it was after the sandbox is killed.
"""

import json
import random
import secrets
import sqlite3
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any

from sandbox import ticket_rules, tickets
from sandbox.state import ACCOUNT_ID, State, now

LARGEST_JOB = 100
IN_FLIGHT_LIMIT = 30
IN_FLIGHT_SECONDS = 60
SECONDS_BETWEEN_LOOKS = 0.02
UNFINISHED = ("queued", "working")


@dataclass(frozen=True)
class Job:
    """One stored job. `results` holds those of the tickets tried so far, by index."""

    row: sqlite3.Row
    results: dict[int, dict[str, Any]]

    @property
    def total(self) -> int:
        return len(json.loads(self.row["item_order"]))

    def shown(self, origin: str) -> dict[str, Any]:
        """As the API shows it: no results before the job is complete, no progress before it starts."""
        is_completed = self.row["status"] == "completed"
        return {
            "id": self.row["id"],
            "job_type": "Bulk Create Ticket",
            "url": f"{origin}/api/v2/job_statuses/{self.row['id']}.json",
            "total": self.total,
            "progress": None if self.row["status"] == "queued" else len(self.results),
            "status": self.row["status"],
            "message": self.row["message"],
            "results": [self.results[index] for index in sorted(self.results)] if is_completed else None,
        }

    def told(self, origin: str) -> dict[str, Any]:
        """As the control API shows it, including results that the API does not show yet."""
        done = [self.results[index] for index in sorted(self.results)]
        return {**self.shown(origin), "done": done, "forgotten": bool(self.row["is_forgotten"])}


def add(state: State, given: list[Any], origin: str) -> Job:
    order = list(range(len(given)))
    random.shuffle(order)
    number = state.insert(
        "INSERT INTO jobs (id, origin, tickets, item_order, status) VALUES (?, ?, ?, ?, 'queued')",
        f"V3-{secrets.token_hex(16)}",
        origin,
        json.dumps(given),
        json.dumps(order),
    )
    return _with_results(state, state.rows("SELECT * FROM jobs WHERE number = ?", number))[0]


def in_flight(state: State) -> list[str]:
    """The ids of the jobs that are not finished."""
    rows = state.rows("SELECT id FROM jobs WHERE status IN (?, ?) ORDER BY number", *UNFINISHED)
    return [row["id"] for row in rows]


def find_many(state: State, ids: list[str]) -> list[Job]:
    """The jobs among these that exist and are not forgotten."""
    wanted = "SELECT * FROM jobs WHERE NOT is_forgotten AND id IN (SELECT value FROM json_each(?)) ORDER BY number"
    return _with_results(state, state.rows(wanted, json.dumps(ids)))


def latest(state: State) -> list[Job]:
    """The hundred newest jobs that are not forgotten, newest first."""
    return _with_results(state, state.rows("SELECT * FROM jobs WHERE NOT is_forgotten ORDER BY number DESC LIMIT 100"))


def everything(state: State) -> list[Job]:
    return _with_results(state, state.rows("SELECT * FROM jobs ORDER BY number"))


def forget(state: State) -> int:
    """Makes the API forget every job, while running ones continue. Returns how many there were."""
    return state.change("UPDATE jobs SET is_forgotten = 1 WHERE NOT is_forgotten")


def _with_results(state: State, rows: list[sqlite3.Row]) -> list[Job]:
    with state.transaction():
        return [Job(row, _results(state, row["number"])) for row in rows]


def _results(state: State, number: int) -> dict[int, dict[str, Any]]:
    rows = state.rows("SELECT item_index, result FROM job_items WHERE job_number = ?", number)
    return {row["item_index"]: json.loads(row["result"]) for row in rows}


class JobRunner:
    """The thread that runs the jobs, oldest first."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._ending = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._due.set()
        self._thread.start()

    def wake(self) -> None:
        """Call this after adding a job."""
        self._due.set()

    def close(self) -> None:
        """Stops the thread after its current ticket; the rest continues in the next run."""
        self._ending.set()
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ending.is_set():
            self._due.wait()
            self._due.clear()
            while not self._ending.is_set() and (job := self._next()) is not None:
                self._do_or_fail(job)

    def _next(self) -> sqlite3.Row | None:
        return self._state.row("SELECT * FROM jobs WHERE status IN (?, ?) ORDER BY number LIMIT 1", *UNFINISHED)

    def _do_or_fail(self, job: sqlite3.Row) -> None:
        """If the sandbox itself fails, the whole job has failed and the next one is not held up."""
        try:
            self._do(job)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            self._finish(job, "failed", "Failed")

    def _do(self, job: sqlite3.Row) -> None:
        given, done = json.loads(job["tickets"]), _results(self._state, job["number"])
        dies_after = self._state.settings.job_dies_after
        left = [index for index in json.loads(job["item_order"]) if index not in done]
        for count, index in enumerate(left, len(done) + 1):
            if not self._make_one(job, given[index], index, count):
                return
            if count == dies_after:
                self._die(job)
                return
            if self._pause(job):
                return
        self._finish(job, "completed", "Completed")

    def _pause(self, job: sqlite3.Row) -> bool:
        """Waits between two tickets, following changes of the setting; True if the job must not continue."""
        begun = time.monotonic()
        while (left := begun + self._state.settings.job_seconds_per_ticket - time.monotonic()) > 0:
            if self._ending.wait(min(left, SECONDS_BETWEEN_LOOKS)) or not self._is_there(job):
                return True
        return self._ending.is_set()

    def _is_there(self, job: sqlite3.Row) -> bool:
        return self._state.row("SELECT 1 FROM jobs WHERE id = ?", job["id"]) is not None

    def _make_one(self, job: sqlite3.Row, given: Any, index: int, count: int) -> bool:
        """Creates one ticket and stores its result; False if the job is gone, as after a reset."""
        with self._state.transaction():
            message = f"Creating ticket #{count}"
            changed = self._state.change(
                "UPDATE jobs SET status = 'working', message = ? WHERE id = ?", message, job["id"]
            )
            if not changed:
                return False
            result = {"index": index, **_made(self._state, given, job["origin"])}
            self._state.insert("INSERT INTO job_items VALUES (?, ?, ?)", job["number"], index, json.dumps(result))
        return True

    def _die(self, job: sqlite3.Row) -> None:
        """Tickets already created stay. The setting is reset, so only one job dies."""
        death = self._state.settings.job_death
        with self._state.transaction():
            self._state.change_settings({"job_dies_after": 0})
            self._finish(job, death, death.capitalize())

    def _finish(self, job: sqlite3.Row, status: str, word: str) -> None:
        message = f"{word} at {now():%Y-%m-%d %H:%M:%S} +0000"
        self._state.change("UPDATE jobs SET status = ?, message = ? WHERE id = ?", status, message, job["id"])


def _made(state: State, given: Any, origin: str) -> dict[str, Any]:
    """The rest of a result: the ticket's id, or why it was refused."""
    if not isinstance(given, dict):
        return {"error": "TicketCreateFailed", "details": "Ticket: must be an object"}
    wanted, _ = ticket_rules.without_dropped(state, given)
    problems = ticket_rules.problems_of_new(state, wanted)
    if problems:
        return {"error": "TicketCreateFailed", "details": ", ".join(each.description for each in problems)}
    made = tickets.create(state, wanted, origin, None)
    return {"id": made["ticket"]["id"], "account_id": ACCOUNT_ID}
