"""Reading a wall of 10,000 posts: what a thousand readers a minute cost the database, and the acknowledgement."""

import contextlib
import http.client
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import load
from bench.ground import Ground, Portal
from bench.load import Load, Outcome
from bench.report import Row, Section

POSTS = 10_000
READERS_A_MINUTE = 1000
OWN_RATE = 100.0
MOST_QUERIES, GOAL = 5.0, 1.2
FORMS = ("", "posts", "feed.rss", "feed.json")
THREADS = 8
numbers = itertools.count(1)
ANOTHER = """
INSERT INTO integrations_wallpost (wall_id, key, post_id, external_id, author, handle, network, text, link, picture,
  posted_at, state, is_test, shown_at, decided_by)
SELECT wall_id, %s, post_id, external_id, author, handle, network, text, link, picture, now(), state, is_test, now(), ''
FROM integrations_wallpost ORDER BY id LIMIT 1
"""

REMARK = (
    f"{POSTS:,} posts on one wall. Each reader asks for the page, the posts alone or one of the feeds, with the ETag "
    "that it had last; meanwhile a new post comes every ten seconds. Khoros calls "
    f"{OWN_RATE:.0f} times a second. Queries are the database's transactions while nobody else is there: each query of "
    "a reader is one. Readers work on the same cores."
)


@dataclass
class Readers:
    """What they were answered: (status, seconds) each."""

    answers: list[tuple[int, float]] = field(default_factory=list)

    def p99_ms(self) -> float:
        seconds = sorted(took for _, took in self.answers)
        return seconds[int(len(seconds) * 0.99)] * 1000

    def share(self, status: int) -> float:
        return sum(found == status for found, _ in self.answers) / len(self.answers)


def measure(ground: Ground) -> Section:
    seconds, rounds = (10.0, 2) if ground.quick else (20.0, 3)
    with ground.portal("http://127.0.0.1:9") as portal:
        path = portal.rows("wall", str(POSTS)).strip().splitlines()[-1]
        portal.manage("collectstatic", "--noinput", "--verbosity", "0")
        portal.start("web")
        queries, alone_there = _queries(portal, path, seconds)
        ground.say(f"{queries:.1f} queries a second, p99 of a reader {alone_there.p99_ms():.1f} ms")
        without, beside, readers = [], [], Readers()
        for _ in range(rounds):
            without.append(portal.load(Load(16, seconds, OWN_RATE, warm_up=1.0)))
            with reading(portal, path) as found:
                beside.append(portal.load(Load(16, seconds, OWN_RATE, warm_up=1.0)))
            readers.answers += found.answers
            ground.say(f"p99 {without[-1].p99_ms:.1f} ms alone, {beside[-1].p99_ms:.1f} ms beside readers")
    rows = _rows(queries, alone_there, readers, load.median(without), load.median(beside))
    return Section("Readers of a wall", rows, [REMARK])


def _rows(queries: float, first: Readers, second: Readers, without: Outcome, beside: Outcome) -> list[Row]:
    ratio = beside.p99_ms / without.p99_ms
    is_well = {200, 304} >= {status for status, _ in first.answers + second.answers}
    if not is_well:
        raise RuntimeError(f"Readers were answered {sorted({status for status, _ in first.answers + second.answers})}.")
    return [
        Row(
            f"{READERS_A_MINUTE:,} readers/min: the database",
            f"{queries:.1f} queries/s",
            goal=f"<= {MOST_QUERIES:.0f}/s",
            is_met=queries <= MOST_QUERIES,
        ),
        Row("a reader", f"p99 {first.p99_ms():.1f} ms, {first.share(304):.0%} not changed"),
        Row(
            "acknowledgement beside them: p99",
            f"{beside.p99_ms:.1f} ms, {beside.errors} errors",
            f"{without.p99_ms:.1f} ms",
            f"{ratio:.2f}x",
            f"<= {GOAL}x",
            ratio <= GOAL and not beside.errors,
        ),
    ]


def _queries(portal: Portal, path: str, seconds: float) -> tuple[float, Readers]:
    """Transactions a second while there are readers, less those while there are none."""
    idle = _transactions(portal, seconds / 2)
    with reading(portal, path) as found:
        # The first of each form has the page made.
        time.sleep(1.0)
        busy = _transactions(portal, seconds)
    return max(busy - idle, 0.0), found


def _transactions(portal: Portal, seconds: float) -> float:
    counted = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    before = portal.number(counted)
    time.sleep(seconds)
    return float(portal.number(counted) - before) / seconds


@contextlib.contextmanager
def reading(portal: Portal, path: str) -> Iterator[Readers]:
    """READERS_A_MINUTE, spread evenly, over connections that are kept; a post comes every ten seconds."""
    ended, readers = threading.Event(), Readers()

    def read() -> None:
        line, etags = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=15), dict.fromkeys(FORMS, "")
        while not ended.wait(random.uniform(0.5, 1.5) * 60 * THREADS / READERS_A_MINUTE):
            form = random.choice(FORMS)
            began = time.monotonic()
            line.request("GET", path + form, headers={"If-None-Match": etags[form]} if etags[form] else {})
            answer = line.getresponse()
            answer.read()
            readers.answers.append((answer.status, time.monotonic() - began))
            etags[form] = answer.headers.get("ETag", "")

    def put() -> None:
        while not ended.wait(10.0):
            portal.execute(ANOTHER, f"new{next(numbers)}")

    threads = [threading.Thread(target=target) for target in [read] * THREADS + [put]]
    for thread in threads:
        thread.start()
    try:
        yield readers
    finally:
        ended.set()
        for thread in threads:
            thread.join()
