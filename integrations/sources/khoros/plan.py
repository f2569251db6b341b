"""Works out the calls that bring one Khoros subscription to its desired state.

Pure: from the desired state and the full list to steps and drift. No operation changes a subscription's query, address
or token, and the documentation contradicts itself on whether posting the same externalId updates in place or creates a
second one. So the desired state is posted, the list is read again, and a replaced one of ours is deleted only if
another of ours, ACTIVE and equal to the desired state, is in that same list. Where a second one was created, both stay
for a while, so that no event falls between them. Only rows with the subscription's own externalId are touched. Whether
Khoros lists tokens is not documented either; if it does not, `Memory` records what was last posted.
"""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from integrations.domain.expressions import BadExpression, compile_expression
from integrations.infra.client import MASK

PREFIX = "casebridge-"
MASK_WORDS = re.compile(r"^\W*(redacted|hidden|masked|removed|secret|protected|encrypted|filtered)\W*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """One subscription as it should be at Khoros. Without an address its events are only fetched, never pushed."""

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
    """What earlier runs stored: the fingerprint that Khoros accepted last, and which ids a post was to replace.

    `current` is the id of the subscription that matched at the last check. `replaces` were stored before posting
    `replaces_for`. `overlap_is_over`: the replaced ones have stayed long enough. `not_shown` is the fingerprint of what
    Khoros accepted but did not list as posted: posting it again would have no effect, or add another duplicate.
    `token_shown_as` is the fingerprint of what Khoros listed as our token: the token itself, or whatever masks it.
    """

    posted_as: str = ""
    current: str = ""
    replaces: tuple[str, ...] = ()
    replaces_for: str = ""
    overlap_is_over: bool = True
    not_shown: str = ""
    token_shown_as: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One call to make: post the desired state, change a status, or retire (delete) a replaced one of ours."""

    action: Literal["post", "activate", "pause", "retire"]
    uuid: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between the desired and the actual state at Khoros, and what fixes it."""

    kind: Literal["gone", "status", "address", "query", "token", "event", "duplicate", "changed_here"]
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`current` is the row that is as desired (empty if there is none); `older` are to be retired later."""

    steps: tuple[Step, ...] = ()
    drift: tuple[Drift, ...] = ()
    current: tuple[tuple[str, Any], ...] = ()
    older: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        return dict(self.current)


def compare(
    desired: DesiredState, listed: list[dict[str, Any]], memory: Memory, *, just_posted: bool = False
) -> Comparison:
    """The next steps. After any of them the list has to be read and compared again.

    `just_posted`: a list that has no equal row yet is assumed to lag, so nothing is posted a second time.
    """
    own = [row for row in listed if row.get("externalId") == desired.external_id and uuid_of(row)]
    if desired.is_deleted:
        return Comparison(tuple(Step("retire", uuid_of(row), "the subscription was deleted here") for row in own))
    here = [row for row in own if event_name_of(row) == desired.event_name]
    equal = [row for row in here if is_equal(desired, row, memory.token_shown_as)]
    if not desired.is_active:
        return _paused(own, newest(equal or here))
    if not _is_posted(desired, equal, memory):
        drift = tuple(_differences(desired, own, memory))
        if just_posted and memory.current not in {uuid_of(row) for row in own}:
            return Comparison()
        if just_posted or (own and memory.not_shown == desired.fingerprint):
            return Comparison(drift=drift)
        because = drift[0].message if drift else "it was not registered yet"
        return Comparison((Step("post", because=because),), drift)
    live = _keeper(equal, memory)
    return _with_one_live(live, own, memory)


def _paused(own: list[dict[str, Any]], current: dict[str, Any]) -> Comparison:
    because = "it is turned off here"
    steps = tuple(Step("pause", uuid_of(row), because) for row in own if status_of(row) == "ACTIVE")
    drift = (Drift("status", "Active at Khoros but turned off here.", "Casebridge pauses it."),) if steps else ()
    return Comparison(steps, drift, tuple(current.items()))


def _is_posted(desired: DesiredState, equal: list[dict[str, Any]], memory: Memory) -> bool:
    """Whether one of these rows is fully as desired, the token included where Khoros does not list it."""
    if not equal or _only_replaced_ones_are_left(equal, memory):
        return False
    if memory.posted_as in ("", desired.fingerprint) or any(_shows_our_token(desired, row) for row in equal):
        return True
    # The post was stored and there is a new row: it happened, though its reply was never recorded.
    return memory.replaces_for == desired.fingerprint and any(uuid_of(row) not in memory.replaces for row in equal)


def _only_replaced_ones_are_left(equal: list[dict[str, Any]], memory: Memory) -> bool:
    """The replacement has disappeared; the remaining rows may still use an old token that Khoros does not list."""
    left = {uuid_of(row) for row in equal}
    return bool(memory.current) and memory.current not in left and left <= set(memory.replaces)


def _keeper(equal: list[dict[str, Any]], memory: Memory) -> dict[str, Any]:
    """Of those that a post created: the one kept so far, else the newest; ACTIVE ones first."""
    fresh = [row for row in equal if uuid_of(row) not in memory.replaces] or equal
    active = [row for row in fresh if status_of(row) in ("ACTIVE", "")] or fresh
    return next((row for row in active if uuid_of(row) == memory.current), newest(active))


def _with_one_live(live: dict[str, Any], own: list[dict[str, Any]], memory: Memory) -> Comparison:
    others = [row for row in own if uuid_of(row) != uuid_of(live)]
    replaced = [row for row in others if uuid_of(row) in memory.replaces]
    duplicates = [row for row in others if uuid_of(row) not in memory.replaces]
    drift = [_duplicate(row) for row in duplicates]
    current = tuple(live.items())
    if status_of(live) not in ("ACTIVE", ""):
        drift.insert(0, _not_active(live))
        step = Step("activate", uuid_of(live), drift[0].message)
        return Comparison((step,), tuple(drift), current, tuple(uuid_of(row) for row in replaced))
    if status_of(live) != "ACTIVE":
        return Comparison((), tuple(drift), current, tuple(uuid_of(row) for row in replaced))
    steps = [Step("retire", uuid_of(row), _duplicate(row).message) for row in duplicates]
    if memory.overlap_is_over:
        steps += [Step("retire", uuid_of(row), "replaced by a newer registration") for row in replaced]
        replaced = []
    return Comparison(tuple(steps), tuple(drift), current, tuple(uuid_of(row) for row in replaced))


def _differences(desired: DesiredState, own: list[dict[str, Any]], memory: Memory) -> list[Drift]:
    """Why the desired state has to be posted, compared with the newest row of ours."""
    again = "Casebridge registers it again with the settings here"
    if memory.posted_as not in ("", desired.fingerprint):
        message = "The label, the event, the public address or the token was changed here since it was registered."
        remedy = f"{again}, then deletes the old registration once the new one is active."
        return [Drift("changed_here", message, remedy)]
    if not own:
        return [Drift("gone", "The subscription no longer exists at Khoros.", f"{again}.")] if memory.posted_as else []
    if memory.current and memory.current not in {uuid_of(row) for row in own}:
        message = "The subscription no longer exists at Khoros; only an older registration remains."
        return [Drift("gone", message, f"{again}.")]
    row = newest(own)
    drift: list[Drift] = []
    if event_name_of(row) != desired.event_name:
        drift.append(Drift("event", f"Khoros has it registered for event “{event_name_of(row)}”.", f"{again}."))
    if _normalised(str(row.get("notificationUri") or "")) != _normalised(desired.address):
        actual = row.get("notificationUri") or "no address"
        drift.append(Drift("address", f"Khoros sends to a different address: {actual}.", f"{again}."))
    if str(row.get("query") or "").strip() != desired.query.strip():
        drift.append(Drift("query", f"Khoros uses a different query: “{row.get('query') or ''}”.", f"{again}."))
    if not drift:
        drift.append(Drift("token", "Khoros uses a different bearer token.", f"{again}."))
    return drift


def _not_active(row: dict[str, Any]) -> Drift:
    return Drift("status", f"{status_of(row).capitalize()} at Khoros but turned on here.", "Casebridge reactivates it.")


def _duplicate(row: dict[str, Any]) -> Drift:
    return Drift(
        "duplicate", f"Khoros has a duplicate: {uuid_of(row)} ({status_of(row) or 'unknown status'}).",
        "Casebridge keeps the current one and deletes the duplicate.",
    )  # fmt: skip


def is_equal(desired: DesiredState, row: dict[str, Any], token_shown_as: str = "") -> bool:
    """Address and query as desired, and the token where Khoros lists it; spelling differences do not count."""
    return _is_equal_but_for_the_token(desired, row) and not _shows_another_token(desired, row, token_shown_as)


def _is_equal_but_for_the_token(desired: DesiredState, row: dict[str, Any]) -> bool:
    return (
        _normalised(str(row.get("notificationUri") or "")) == _normalised(desired.address)
        and str(row.get("query") or "").strip() == desired.query.strip()
    )


def _shows_another_token(desired: DesiredState, row: dict[str, Any], token_shown_as: str) -> bool:
    token = row.get("bearerToken")
    if not desired.address or not isinstance(token, str) or _is_masked(token):
        return False
    is_ours = token == desired.bearer_token or token.casefold() in _digests(desired.bearer_token)
    return not is_ours and token_fingerprint(token) != token_shown_as


def learned_mask(
    desired: DesiredState, listed: list[dict[str, Any]], replaced: tuple[str, ...], own_tokens: tuple[str, ...]
) -> str:
    """The fingerprint of what Khoros shows as the token that was just posted; "" where it shows none.

    Directly after our own post, a value that is none of our tokens is our token in disguise. An earlier token of ours
    only says that the list lags. Where a second subscription was made, it is the one that shows it.
    """
    own = [row for row in listed if row.get("externalId") == desired.external_id]
    posted = [row for row in own if _is_equal_but_for_the_token(desired, row)]
    row = newest([row for row in posted if uuid_of(row) not in replaced] or posted)
    token = row.get("bearerToken")
    return token_fingerprint(token) if isinstance(token, str) and token and token not in own_tokens else ""


def token_fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def _digests(token: str) -> set[str]:
    """What a list might show instead of the token: its usual hashes."""
    kinds = (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512)  # compared with, never relied on
    raw = token.encode()
    return {kind(raw, usedforsecurity=False).hexdigest() for kind in kinds}


def _normalised(address: str) -> str:
    """An address normalised for what storing may change: whitespace, a trailing slash, the case of scheme and host."""
    scheme, slashes, rest = address.strip().partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{slashes}{host.lower()}{slash}{path}".rstrip("/")


def _shows_our_token(desired: DesiredState, row: dict[str, Any]) -> bool:
    """Our own token is masked in replies (infra.http.client): one that looks like the mask is ours."""
    token = row.get("bearerToken")
    return isinstance(token, str) and token in (desired.bearer_token, MASK) and bool(token)


def prefix_of(installation: uuid.UUID) -> str:
    """The prefix of the externalId of every subscription of this installation."""
    return f"{PREFIX}{installation}-"


def whose(external_id: str, own_prefix: str) -> Literal["ours", "another installation", "foreign"]:
    """Who made a subscription at Khoros, by its externalId; `own_prefix` is this installation's."""
    if external_id.startswith(own_prefix):
        return "ours"
    return "another installation" if external_id.startswith(PREFIX) else "foreign"


def summary(row: dict[str, Any]) -> dict[str, str]:
    """A row of the list as it may be stored and shown: strings only, without its token."""
    return {
        "uuid": uuid_of(row),
        "externalId": str(row.get("externalId") or ""),
        "eventName": event_name_of(row),
        "status": status_of(row),
        "query": str(row.get("query") or ""),
        "notificationUri": str(row.get("notificationUri") or ""),
        "createdDate": str(row.get("createdDate") or ""),
    }


def others_for_the_same(desired: DesiredState, listed: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Other subscriptions that fire for the same label: each may create its own ticket elsewhere."""
    return [
        summary(row)
        for row in listed
        if row.get("externalId") != desired.external_id
        and event_name_of(row) == desired.event_name
        and _fires_for_the_same(desired, str(row.get("query") or ""))
    ]


def _fires_for_the_same(desired: DesiredState, query: str) -> bool:
    if query in ("", desired.query, desired.label) or not desired.query:
        return True
    return bool(desired.label) and bool(searches(query, desired.label))


def searches(query: str, text: str) -> bool | None:
    """Whether the query is found in the text; None when this engine cannot run it (look-around, back-references)."""
    try:
        return compile_expression(query).search(text) is not None
    except BadExpression:
        return None


def query_for(match: str, label: str) -> str:
    """Khoros' query is a regular expression: a label is escaped and not anchored (it is listed as "Set - Label")."""
    if match == "everything":
        return ""
    return escaped(label) if match == "label" else label


def escaped(label: str) -> str:
    """Escapes what regular expressions treat specially, and nothing else: a plain label stays as it reads."""
    return re.sub(r"([\\.^$|?*+()\[\]{}])", r"\\\1", label)


def _is_masked(token: str) -> bool:
    """Wholly or in part: it does not show whether it is ours."""
    return (
        token in ("", MASK) or bool(re.search(r"\*{2}|•{2}|[xX]{4}|\.{3}|…", token)) or bool(MASK_WORDS.search(token))
    )


def uuid_of(row: dict[str, Any]) -> str:
    key = row.get("key")
    return str(row.get("uuid") or (key.get("uuid") if isinstance(key, dict) else "") or row.get("id") or "")


def event_name_of(row: dict[str, Any]) -> str:
    key = row.get("key")
    return str(row.get("eventName") or (key.get("eventName") if isinstance(key, dict) else "") or "")


def status_of(row: dict[str, Any]) -> str:
    return str(row.get("status") or "").upper()


def newest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The one created last, as far as Khoros says; ties go to the last listed. Empty for an empty list."""
    return max(enumerate(rows), key=lambda pair: (str(pair[1].get("createdDate") or ""), pair[0]))[1] if rows else {}
