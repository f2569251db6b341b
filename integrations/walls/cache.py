"""What readers of walls are given, kept for seconds, so that a thousand of them cost as much as one.

Each page is kept for all processes in Redis. It is fresh for FRESH_SECONDS; then one reader makes it anew, and the
others get what there is meanwhile. `forget_pages` makes all that was made before it worthless at once: each page is
kept with the generation it was begun in. Without Redis every reader is served from the database.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import redis
import structlog

from integrations.infra.known_addresses import Looks
from integrations.infra.redis import redis_client

log = structlog.get_logger(__name__)

FRESH_SECONDS, KEPT_SECONDS, MAKING_SECONDS = 5, 15, 5
GENERATION_SECONDS = 86_400
# A wall that somebody read is known for so long: its readers wait for nobody who tries addresses.
KNOWN_SECONDS = 7 * 86_400
MOST_LOOKS_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Page:
    """One answer for all readers. `frame_ancestors`: who may embed it. `changed_at`: seconds since 1970."""

    etag: str
    changed_at: int
    frame_ancestors: str
    content_type: str
    body: str


def etag_of(*parts: str) -> str:
    return f'"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"'


class TooManyLooks(Exception):
    """So many addresses are asked for that nobody read lately: whoever guesses makes no work of it."""


_looks = Looks(MOST_LOOKS_AT_ONCE)


def cached_page(wall: str, form: str, make: Callable[[], Page | None]) -> Page | None:
    """The page of the wall with this hash, in one of its forms; None where `make` finds no such wall.

    Raises TooManyLooks.
    """
    keys = _keys(wall, form)
    generation = known = stored = ""
    kept = None
    try:
        generation, known, fresh, stored = (str(found or "") for found in redis_client().mget(*keys[:4]))
        kept = _kept(stored, generation)
        if kept is not None and (fresh or not redis_client().set(keys.making, "1", nx=True, ex=MAKING_SECONDS)):
            return kept
    except redis.RedisError as error:
        log.warning("wall's pages are not cached", error=str(error))
    if not known and not _looks.may_begin():
        raise TooManyLooks
    page = make()
    if page is not None:
        _keep(keys, page, generation)
    elif known or stored:
        # Nothing that was kept of it is given out again, should telling so have failed before. Of addresses that are
        # only tried, nothing is written.
        forget_pages(wall, is_gone=True)
    return page


def forget_pages(wall: str, *, is_gone: bool = False) -> None:
    """Whatever was made of this wall so far is given to nobody from now on. `is_gone`: there is no such wall."""
    key = _generation(wall)
    try:
        counting = redis_client().pipeline()
        counting.incr(key)
        counting.expire(key, GENERATION_SECONDS)
        if is_gone:
            counting.delete(f"{_of(wall)}:known")
        counting.execute()
    except redis.RedisError as error:
        log.warning("wall's pages not forgotten", error=str(error))


class _Keys(NamedTuple):
    generation: str
    known: str
    fresh: str
    page: str
    making: str


def _keys(wall: str, form: str) -> _Keys:
    own = f"{_of(wall)}:{form}"
    return _Keys(_generation(wall), f"{_of(wall)}:known", f"{own}:fresh", own, f"{own}:making")


def _generation(wall: str) -> str:
    return f"{_of(wall)}:generation"


def _of(wall: str) -> str:
    return f"casebridge:wall:{wall}"


def _kept(stored: str, generation: str) -> Page | None:
    if not stored:
        return None
    content = json.loads(stored)
    return Page(**content["page"]) if content["generation"] == generation else None


def _keep(keys: _Keys, page: Page, generation: str) -> None:
    stored = json.dumps({"generation": generation, "page": asdict(page)})
    try:
        keeping = redis_client().pipeline()
        keeping.set(keys.page, stored, ex=KEPT_SECONDS)
        keeping.set(keys.fresh, "1", ex=FRESH_SECONDS)
        keeping.set(keys.known, "1", ex=KNOWN_SECONDS)
        keeping.delete(keys.making)
        keeping.execute()
    except redis.RedisError as error:
        log.warning("wall's page not kept", error=str(error))
