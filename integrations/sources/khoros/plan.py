"""What to do at Khoros so that one feed is as wanted: pure, from the wanted state and a full list to steps and drift.

No operation changes a subscription's query, address or token, and whether posting the same externalId updates in
place or makes a second one is documented both ways. So a difference is posted, the list is read again, and an older
one of ours is deleted only when another of ours, ACTIVE and equal to what is wanted, stands in that same list. Where a
second one was made, both stand for a while, so that nothing falls between them. Only what bears the feed's externalId
is touched. Whether Khoros shows tokens is not documented either: where it does not, `Memory` tells what was posted.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from integrations.domain.expressions import BadExpression, compile_expression

PREFIX = "casebridge-"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """One feed as it should stand at Khoros. Without an address its events are only fetched, never pushed."""

    external_id: str
    event_name: str
    address: str
    bearer_token: str
    query: str
    label: str
    is_active: bool
    is_deleted: bool = False

    def body(self) -> dict[str, Any]:
        """The subscription object to post. `version` is left out: its values were never published."""
        content = {"externalId": self.external_id, "eventName": self.event_name}
        if self.address:
            content |= {"notificationUri": self.address, "bearerToken": self.bearer_token}
        return content | ({"query": self.query} if self.query else {})

    @property
    def fingerprint(self) -> str:
        """Changes when anything changes that would have to be posted."""
        content = json.dumps([self.event_name, self.address, self.query, self.bearer_token if self.address else ""])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What earlier runs wrote down: the fingerprint that Khoros accepted last, and which ids a post was to replace.

    `standing` is the id that was as wanted at the last check. `replaces` were noted before posting `replaces_for`.
    `overlap_is_over`: the older ones have stood long enough. `not_shown` is the fingerprint of what Khoros accepted and
    then did not show as posted: posting it again would change nothing, or make one more each time.
    """

    posted_as: str = ""
    standing: str = ""
    replaces: tuple[str, ...] = ()
    replaces_for: str = ""
    overlap_is_over: bool = True
    not_shown: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One call to make: post the wanted state, change a status, or retire (delete) an older one of ours."""

    action: Literal["post", "activate", "pause", "retire"]
    uuid: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what is wanted and what stands at Khoros, and what mends it."""

    kind: Literal["gone", "status", "address", "query", "token", "event", "duplicate", "changed_here"]
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`standing` is the row that is as wanted (empty when there is none); `older` are still to be retired later."""

    steps: tuple[Step, ...] = ()
    drift: tuple[Drift, ...] = ()
    standing: tuple[tuple[str, Any], ...] = ()
    older: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        return dict(self.standing)


def compare(
    wanted: DesiredState, listed: list[dict[str, Any]], memory: Memory, *, just_posted: bool = False
) -> Comparison:
    """The next steps. After any of them the list has to be read again and asked anew.

    `just_posted`: a list that still shows no equal one is believed to be late, so nothing is posted a second time.
    """
    own = [row for row in listed if row.get("externalId") == wanted.external_id and uuid_of(row)]
    if wanted.is_deleted:
        return Comparison(tuple(Step("retire", uuid_of(row), "the subscription was deleted here") for row in own))
    here = [row for row in own if event_name_of(row) == wanted.event_name]
    equal = [row for row in here if is_equal(wanted, row)]
    if not wanted.is_active:
        return _paused(own, newest(equal or here))
    if not _is_posted(wanted, equal, memory):
        drift = tuple(_differences(wanted, own, memory))
        if just_posted and memory.standing not in {uuid_of(row) for row in own}:
            return Comparison()
        if just_posted or (own and memory.not_shown == wanted.fingerprint):
            return Comparison(drift=drift)
        because = drift[0].message if drift else "it was not registered yet"
        return Comparison((Step("post", because=because),), drift)
    live = _keeper(equal, memory)
    return _with_one_live(live, own, memory)


def _paused(own: list[dict[str, Any]], standing: dict[str, Any]) -> Comparison:
    because = "it is switched off here"
    steps = tuple(Step("pause", uuid_of(row), because) for row in own if status_of(row) == "ACTIVE")
    drift = (Drift("status", f"It is ACTIVE at Khoros, but {because}.", "It is paused."),) if steps else ()
    return Comparison(steps, drift, tuple(standing.items()))


def _is_posted(wanted: DesiredState, equal: list[dict[str, Any]], memory: Memory) -> bool:
    """Whether one of these rows holds all that is wanted, the token included where Khoros does not show it."""
    if not equal or _only_replaced_ones_are_left(equal, memory):
        return False
    if memory.posted_as in ("", wanted.fingerprint) or any(_shows_our_token(wanted, row) for row in equal):
        return True
    # The post was noted and a new row stands: it was made, though its answer was never recorded.
    return memory.replaces_for == wanted.fingerprint and any(uuid_of(row) not in memory.replaces for row in equal)


def _only_replaced_ones_are_left(equal: list[dict[str, Any]], memory: Memory) -> bool:
    """The new one stood before and is gone: what is left may bear an older token that is not shown."""
    left = {uuid_of(row) for row in equal}
    return bool(memory.standing) and memory.standing not in left and left <= set(memory.replaces)


def _keeper(equal: list[dict[str, Any]], memory: Memory) -> dict[str, Any]:
    """Of those a post made: the one known to stand, else the newest; ACTIVE ones first."""
    fresh = [row for row in equal if uuid_of(row) not in memory.replaces] or equal
    active = [row for row in fresh if status_of(row) in ("ACTIVE", "")] or fresh
    return next((row for row in active if uuid_of(row) == memory.standing), newest(active))


def _with_one_live(live: dict[str, Any], own: list[dict[str, Any]], memory: Memory) -> Comparison:
    others = [row for row in own if uuid_of(row) != uuid_of(live)]
    replaced = [row for row in others if uuid_of(row) in memory.replaces]
    duplicates = [row for row in others if uuid_of(row) not in memory.replaces]
    drift = [_duplicate(row) for row in duplicates]
    standing = tuple(live.items())
    if status_of(live) not in ("ACTIVE", ""):
        drift.insert(0, _not_active(live))
        step = Step("activate", uuid_of(live), drift[0].message)
        return Comparison((step,), tuple(drift), standing, tuple(uuid_of(row) for row in replaced))
    if status_of(live) != "ACTIVE":
        return Comparison((), tuple(drift), standing, tuple(uuid_of(row) for row in replaced))
    steps = [Step("retire", uuid_of(row), _duplicate(row).message) for row in duplicates]
    if memory.overlap_is_over:
        steps += [Step("retire", uuid_of(row), "another one has taken its place") for row in replaced]
        replaced = []
    return Comparison(tuple(steps), tuple(drift), standing, tuple(uuid_of(row) for row in replaced))


def _differences(wanted: DesiredState, own: list[dict[str, Any]], memory: Memory) -> list[Drift]:
    """Why the wanted state has to be posted, seen against the newest row of ours."""
    again = "It is registered again with what is set here"
    if memory.posted_as not in ("", wanted.fingerprint):
        message = "The label, the event, the public address or the token was changed here since it was registered."
        return [Drift("changed_here", message, f"{again}; the older one is retired once the new one stands.")]
    if not own:
        return [Drift("gone", "Khoros has it no more.", f"{again}.")] if memory.posted_as else []
    if memory.standing and memory.standing not in {uuid_of(row) for row in own}:
        return [Drift("gone", "Khoros has it no more; only an older one of it is left.", f"{again}.")]
    row = newest(own)
    found: list[Drift] = []
    if event_name_of(row) != wanted.event_name:
        found.append(Drift("event", f"At Khoros it is for the event “{event_name_of(row)}”.", f"{again}."))
    if _as_written(str(row.get("notificationUri") or "")) != _as_written(wanted.address):
        there = row.get("notificationUri") or "no address"
        found.append(Drift("address", f"Khoros sends to another address: {there}.", f"{again}."))
    if str(row.get("query") or "").strip() != wanted.query.strip():
        found.append(Drift("query", f"Khoros filters by another query: “{row.get('query') or ''}”.", f"{again}."))
    if not found:
        found.append(Drift("token", "Khoros sends another bearer token.", f"{again}."))
    return found


def _not_active(row: dict[str, Any]) -> Drift:
    return Drift("status", f"It is {status_of(row)} at Khoros.", "It is made ACTIVE again.")


def _duplicate(row: dict[str, Any]) -> Drift:
    return Drift(
        "duplicate", f"Khoros has it twice: {uuid_of(row)} ({status_of(row) or 'of unknown status'}) as well.",
        "The one that is known to stand is kept, the other one is retired.",
    )  # fmt: skip


def is_equal(wanted: DesiredState, row: dict[str, Any]) -> bool:
    """Address and query as wanted, and the token too where Khoros shows it. Its way of writing does not count."""
    token = row.get("bearerToken")
    shows_another_token = (
        bool(wanted.address) and isinstance(token, str) and not _is_masked(token) and token != wanted.bearer_token
    )
    return (
        _as_written(str(row.get("notificationUri") or "")) == _as_written(wanted.address)
        and str(row.get("query") or "").strip() == wanted.query.strip()
        and not shows_another_token
    )


def _as_written(address: str) -> str:
    """An address without what may change when it is stored: blanks, a closing slash, the case of scheme and host."""
    scheme, slashes, rest = address.strip().partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{slashes}{host.lower()}{slash}{path}".rstrip("/")


def _shows_our_token(wanted: DesiredState, row: dict[str, Any]) -> bool:
    token = row.get("bearerToken")
    return isinstance(token, str) and token in (wanted.bearer_token, SHOWN_INSTEAD_OF_OURS) and bool(token)


def whose(external_id: str, own_prefix: str) -> Literal["ours", "another installation", "foreign"]:
    """Who made a subscription at Khoros, by its externalId; `own_prefix` is this installation's."""
    if external_id.startswith(own_prefix):
        return "ours"
    return "another installation" if external_id.startswith(PREFIX) else "foreign"


def summary(row: dict[str, Any]) -> dict[str, str]:
    """A row of the list as it may be kept and shown: texts only, without its token."""
    return {
        "uuid": uuid_of(row),
        "externalId": str(row.get("externalId") or ""),
        "eventName": event_name_of(row),
        "status": status_of(row),
        "query": str(row.get("query") or ""),
        "notificationUri": str(row.get("notificationUri") or ""),
        "createdDate": str(row.get("createdDate") or ""),
    }


def others_for_the_same(wanted: DesiredState, listed: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Subscriptions that are not this one but fire for the same label: each makes a ticket of its own somewhere."""
    return [
        summary(row)
        for row in listed
        if row.get("externalId") != wanted.external_id
        and event_name_of(row) == wanted.event_name
        and _fires_for_the_same(wanted, str(row.get("query") or ""))
    ]


def _fires_for_the_same(wanted: DesiredState, query: str) -> bool:
    if query in ("", wanted.query, wanted.label) or not wanted.query:
        return True
    return bool(wanted.label) and bool(searches(query, wanted.label))


def searches(query: str, text: str) -> bool | None:
    """Whether the query is found in the text; None when this engine cannot run it (look-around, back-references)."""
    try:
        return compile_expression(query).search(text) is not None
    except BadExpression:
        return None


def query_for(match: str, label: str) -> str:
    """Khoros' query is a regular expression: a label is escaped and not anchored ("Set - Label" is how it shows)."""
    if match == "everything":
        return ""
    return escaped(label) if match == "label" else label


def escaped(label: str) -> str:
    """Escapes what regular expressions treat specially, and nothing else: a plain label stays as it reads."""
    return re.sub(r"([\\.^$|?*+()\[\]{}])", r"\\\1", label)


# Our own token in an answer is masked on arrival (integrations.http.Line): seen so, it is ours.
SHOWN_INSTEAD_OF_OURS = "[removed]"


def _is_masked(token: str) -> bool:
    """Whole or in part: nothing in it tells whether it is ours."""
    return token in ("", SHOWN_INSTEAD_OF_OURS) or bool(re.search(r"\*{2}|•{2}|[xX]{4}|\.{3}|…", token))


def uuid_of(row: dict[str, Any]) -> str:
    key = row.get("key")
    return str(row.get("uuid") or (key.get("uuid") if isinstance(key, dict) else "") or row.get("id") or "")


def event_name_of(row: dict[str, Any]) -> str:
    key = row.get("key")
    return str(row.get("eventName") or (key.get("eventName") if isinstance(key, dict) else "") or "")


def status_of(row: dict[str, Any]) -> str:
    return str(row.get("status") or "").upper()


def newest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The one made last, as far as Khoros tells; of equals, the one listed last. Empty for an empty list."""
    return max(enumerate(rows), key=lambda pair: (str(pair[1].get("createdDate") or ""), pair[0]))[1] if rows else {}
