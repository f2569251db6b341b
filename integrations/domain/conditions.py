"""A mapping's conditions: rows in groups, judged against one post. Pure.

As stored: {"match": "all", "groups": [{"match": "any", "rows": [{"field": "network", "test": "is", "value":
["twitter"]}]}], "time_zone": "Europe/Berlin"}; {} takes every post. `match` is one of MATCHES, of the groups and of the
rows of one. What cannot be judged, as Khoros sent nothing to judge it by, is left out of its group.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from integrations.domain.expressions import BadExpression, compile_expression
from integrations.domain.post import FACTS, Post
from integrations.infra.text import storable

MATCHES = {"all": "all of these", "any": "at least one of these", "none": "none of these"}
TESTS = {
    "is": "is one of",
    "is_not": "is none of",
    "contains": "contains one of",
    "contains_not": "contains none of",
    "matches": "matches the expression",
    "matches_not": "does not match the expression",
    "filled": "is filled in",
    "filled_not": "is empty",
    "at_least": "is at least",
    "at_most": "is at most",
    "between": "is between",
    "between_not": "is not between",
    "seen": "was seen before",
    "seen_not": "was not seen before",
}
WITHOUT_VALUE = ("filled", "filled_not", "seen", "seen_not")
OF_TEXT = ("is", "is_not", "contains", "contains_not", "matches", "matches_not", "filled", "filled_not")
OF_NUMBERS = ("at_least", "at_most", "filled", "filled_not")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UTC = "UTC"
MOST_GROUPS, MOST_ROWS, LONGEST_VALUE = 10, 20, 2000
# The database's largest whole number.
MOST_FOLLOWERS = 2**63 - 1
HOURS = re.compile(r"([01]?[0-9]|2[0-3])(?:[:.]?([0-5][0-9]))?\s*-\s*([01]?[0-9]|2[0-4])(?:[:.]?([0-5][0-9]))?")
WHOLE_NUMBER = re.compile(r"[0-9]+|[0-9]{1,3}([ .,'\u00a0\u202f])[0-9]{3}(\1[0-9]{3})*", re.ASCII)
# No network has longer posts; what else arrives must not hold up what waits behind it.
LONGEST_SEARCHED = 100_000
LONGEST_FOUND = 80


class BadCondition(ValueError):
    """What was typed is no condition; the text says why, for the row it was typed in."""


# --- What there is to judge ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subject:
    """A post, when its event happened, and whether its author was seen before (asked only where a condition does)."""

    post: Post
    at: datetime
    is_author_known: Callable[[], bool | None]


@dataclass(frozen=True, slots=True)
class Field:
    """Something a condition may be about. `of`: the placeholders it stands for; empty where every event has it."""

    title: str
    tests: tuple[str, ...]
    values: Callable[[Post], tuple[str, ...]] = lambda post: ()
    of: tuple[str, ...] = ()
    example: str = ""
    # Khoros often leaves it out although there are some: then nothing can be said.
    is_often_missing: bool = False


def _labels(post: Post) -> tuple[str, ...]:
    """Each as Khoros writes it, and without the name of its group in front."""
    return tuple(dict.fromkeys(name for label in post.labels for name in (label, label.rpartition(" - ")[2])))


def _of_facts(title: str, *names: str, example: str = "") -> Field:
    def values(post: Post) -> tuple[str, ...]:
        return tuple(value for name, value in post.facts if name in names)

    return Field(title, OF_TEXT, values, names, example)


def _of_post(title: str, name: str, example: str = "") -> Field:
    return Field(title, OF_TEXT, lambda post: (str(getattr(post, name)),), (name,), example)


_GATHERED = ("rule_name", "rule_id", "accounts", "credential_name", "credential_id", "account_id", "operation",
             "control_type")  # fmt: skip
FIELDS: dict[str, Field] = {
    "network": Field("Network", OF_TEXT, lambda post: post.all_networks, ("network",), "twitter, facebook"),
    "text": _of_post("Text", "text", "refund, broken"),
    "author": Field(
        "Author", (*OF_TEXT, "seen", "seen_not"),
        lambda post: (post.author, post.author_handle, post.author_id), ("author",), "@acme, Ann",
    ),
    "followers": Field("Number of followers", OF_NUMBERS, of=("followers",), example="10000"),
    "content_type": _of_post("Content type", "content_type", "post, comment"),
    "labels": Field("Labels", OF_TEXT, _labels, ("labels",), "VIP", is_often_missing=True),
    "rule": _of_facts("Rule", "rule_name", "rule_id", example="Outage words"),
    "account": _of_facts("Own account", "accounts", "credential_name", "credential_id", "account_id", example="@acme"),
    "operation": _of_facts("Operation", "operation", "control_type", example="default, reset"),
    "title": _of_post("Title", "title"),
    "weekday": Field("Weekday", ("is", "is_not"), example="Monday-Friday"),
    "time": Field("Time of day", ("between", "between_not"), example="09:00-17:30"),
    "link": _of_post("Link to the post", "link"),
    "author_link": _of_post("Link to the author", "author_link"),
    "in_reply_to": _of_post("Post that it answers", "in_reply_to"),
    "reposted_from": _of_post("Post that it shares", "reposted_from"),
    **{name: _of_facts(title, name) for name, title in FACTS.items() if name not in _GATHERED},
}  # fmt: skip


def fields_of(placeholders: tuple[str, ...]) -> list[str]:
    """The names of those that an event with these placeholders has."""
    return [name for name, field in FIELDS.items() if not field.of or set(field.of) & set(placeholders)]


def time_zones() -> list[str]:
    """Names as people know them, like Europe/Berlin."""
    regions = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    return [UTC, *sorted(name for name in available_timezones() if name.startswith(regions))]


# --- What is typed ---------------------------------------------------------------------------------------------------


def all_of(*rows: tuple[str, str, Any]) -> dict[str, Any]:
    """Conditions that all have to hold, of (field, test, value) each."""
    group = {"match": "all", "rows": [{"field": name, "test": test, "value": value} for name, test, value in rows]}
    return {"match": "all", "groups": [group]}


def read_value(name: str, test: str, typed: str) -> Any:
    """What is stored for a typed value. Raises BadCondition."""
    field = FIELDS.get(name)
    if field is None:
        raise BadCondition("Choose what the condition is about.")
    if test not in field.tests:
        ways = ", ".join(f"“{TESTS[known]}”" for known in field.tests)
        raise BadCondition(f"“{field.title}” cannot be compared like that. Choose one of {ways}.")
    if test in WITHOUT_VALUE:
        return None
    typed = typed.strip()
    if storable(typed) != typed:
        raise BadCondition("This has characters that cannot be stored. Type it anew.")
    if not typed:
        example = f", for example {field.example}" if field.example else ""
        raise BadCondition(f"Enter a value{example}.")
    if len(typed) > LONGEST_VALUE:
        raise BadCondition(f"At most {LONGEST_VALUE:,} characters.")
    return _READERS.get(name, _READERS_OF_TESTS.get(test, _read_list))(typed)


def _read_list(typed: str) -> list[str]:
    """Separated by commas; what has a comma itself stands in double quotes."""
    (row,) = csv.reader([" ".join(typed.split())], skipinitialspace=True)
    entries = [entry.strip() for entry in row if entry.strip()]
    if not entries:
        raise BadCondition("Enter at least one value; several are separated by commas.")
    return entries


def _read_expression(typed: str) -> str:
    try:
        compile_expression(typed)
    except BadExpression as error:
        raise BadCondition(str(error)) from None
    return typed


def _read_followers(typed: str) -> int:
    digits = re.sub(r"\D", "", typed)
    if not WHOLE_NUMBER.fullmatch(typed) or int(digits[:30]) > MOST_FOLLOWERS:
        raise BadCondition("Enter a whole number, for example 10000.")
    return int(digits)


def _read_days(typed: str) -> list[str]:
    """ "Mon-Wed, Sunday" as the days it names, in the order of the week."""
    days: set[int] = set()
    for part in _read_list(typed):
        first, _, last = _with_hyphens(part).partition("-")
        begin, end = _day(first), _day(last or first)
        days |= {number % 7 for number in range(begin, end + (1 if end >= begin else 8))}
    return [DAYS[number] for number in sorted(days)]


def _day(typed: str) -> int:
    wanted = typed.strip().casefold()
    found = [number for number, day in enumerate(DAYS) if len(wanted) > 1 and day.casefold().startswith(wanted)]
    if len(found) != 1:
        raise BadCondition(f"“{typed.strip()[:20]}” is not a weekday. Write for example Monday-Friday, or Sat, Sun.")
    return found[0]


def _with_hyphens(typed: str) -> str:
    return re.sub(r"\s+(to|until)\s+|[–—]", "-", typed)


def _read_hours(typed: str) -> str:
    found = HOURS.fullmatch(_with_hyphens(typed).strip())
    if found is None or (found[3] == "24" and (found[4] or "00") != "00"):
        raise BadCondition("Write a time of day like 09:00-17:30; 22:00-06:00 goes past midnight.")
    begin, end = f"{int(found[1]):02}:{found[2] or '00'}", f"{int(found[3]):02}:{found[4] or '00'}"
    if begin == end:
        raise BadCondition("Both times are the same. Write for example 09:00-17:30.")
    return f"{begin}-{end}"


_READERS: dict[str, Callable[[str], Any]] = {"followers": _read_followers, "weekday": _read_days, "time": _read_hours}
_READERS_OF_TESTS: dict[str, Callable[[str], Any]] = {"matches": _read_expression, "matches_not": _read_expression}


def shown_value(value: Any) -> str:
    """A stored value as it is typed."""
    if isinstance(value, list):
        return ", ".join(f'"{entry}"' if "," in entry or '"' in entry else entry for entry in value)
    return "" if value is None else str(value)


def words_of(conditions: Mapping[str, Any]) -> str:
    """All of them on one line; empty where there are none."""
    groups, match = [_group_words(group) for group in conditions.get("groups", ())], conditions.get("match", "all")
    if match == "none" and groups:
        return f"none of: {' — nor: '.join(groups)}"
    return (" — or " if match == "any" else "; ").join(groups)


def _group_words(group: Mapping[str, Any]) -> str:
    rows = [_row_words(row) for row in group["rows"]]
    if group["match"] == "none":
        return f"none of: {', '.join(rows)}"
    return (" or " if group["match"] == "any" else ", ").join(rows)


def _row_words(row: Mapping[str, Any]) -> str:
    field = FIELDS.get(row["field"])
    title = field.title if field else str(row["field"])
    return f"{title} {TESTS.get(row['test'], row['test'])} {shown_value(row['value'])}".strip()


# --- Judging ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """One condition: in words, whether it holds (None: cannot be said), and what was found instead."""

    words: str
    holds: bool | None
    found: str


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    match: str
    rows: tuple[Judged, ...]

    @property
    def holds(self) -> bool | None:
        return _combined(self.match, [row.holds for row in self.rows])

    @property
    def reason(self) -> str:
        """Why it does not hold."""
        if self.match == "none":
            return " and ".join(f"“{row.words}” holds ({row.found}), and must not" for row in self.rows if row.holds)
        failed = [f"“{row.words}” ({row.found})" for row in self.rows if row.holds is False]
        if self.match == "any" and len(failed) > 1:
            return f"none of these holds: {', '.join(failed)}"
        return f"{', '.join(failed)} {'does' if len(failed) == 1 else 'do'} not hold"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a post is taken, and how each condition was judged."""

    match: str = "all"
    groups: tuple[JudgedGroup, ...] = ()

    @property
    def holds(self) -> bool:
        return _combined(self.match, [group.holds for group in self.groups]) is not False

    @property
    def reason(self) -> str:
        """Why it is not taken; empty when it is."""
        if self.holds:
            return ""
        if self.match == "none":
            held = [row.words for group in self.groups if group.holds for row in group.rows if row.holds]
            return (
                f"“{'” and “'.join(held)}” may not hold together"
                if held
                else "a group of conditions holds, and must not"
            )
        return "; ".join(group.reason for group in self.groups if group.holds is False)

    def lines(self) -> Iterator[dict[str, Any]]:
        """One for each condition, with a heading for each group where there is more than "all of these".

        `is_why`: the post is not taken because of it.
        """
        is_plain = len(self.groups) == 1 and self.groups[0].match == "all"
        if len(self.groups) > 1 and self.match != "all":
            words = f"{MATCHES[self.match].capitalize()}:"
            yield {"words": words, "holds": self.holds, "level": 0, "is_why": not self.holds}
        for group in self.groups:
            is_why = not self.holds and group.holds is (self.match == "none")
            if not is_plain:
                words = f"{MATCHES[group.match].capitalize()}:"
                yield {"words": words, "holds": group.holds, "level": 0, "is_why": is_why}
            for row in group.rows:
                blamed = is_why and row.holds is (group.match == "none") and self.match != "none"
                words = f"{row.words}: {row.found}"
                yield {"words": words, "holds": row.holds, "level": 0 if is_plain else 1, "is_why": blamed}


def _combined(match: str, parts: list[bool | None]) -> bool | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if match == "any":
        return any(known)
    return not any(known) if match == "none" else all(known)


def judge(conditions: Mapping[str, Any], subject: Subject) -> Verdict:
    """Each condition against the post, also once it is clear that the post is not taken."""
    zone = ZoneInfo(conditions.get("time_zone") or UTC)
    groups = tuple(
        JudgedGroup(group["match"], tuple(_judged(row, subject, zone) for row in group["rows"]))
        for group in conditions.get("groups", ())
    )
    return Verdict(conditions.get("match", "all"), groups)


def _judged(row: Mapping[str, Any], subject: Subject, zone: ZoneInfo) -> Judged:
    name, test, words = row["field"], row["test"], _row_words(row)
    if name not in FIELDS:
        return Judged(words, False, "this condition is no longer known; edit the mapping")
    base = test.removesuffix("_not")
    holds, found = _JUDGES.get(name, _judge_text)(name, base, row["value"], subject, zone)
    return Judged(words, holds if holds is None or base == test else not holds, found)


Finding = tuple[bool | None, str]


def _judge_text(name: str, test: str, wanted: Any, subject: Subject, zone: ZoneInfo) -> Finding:
    field = FIELDS[name]
    values = [value for value in field.values(subject.post) if value]
    if not values and field.is_often_missing and test != "filled":
        return None, f"Khoros sent no {field.title.lower()}, so this is left out"
    found = ", ".join(" ".join(value.split()) for value in values)
    shown = f"it is “{found[: LONGEST_FOUND - 1]}…”" if len(found) > LONGEST_FOUND else f"it is “{found}”"
    return _matches(test, wanted, values), shown if values else "it is empty"


def _matches(test: str, wanted: Any, values: list[str]) -> bool:
    if test == "filled":
        return bool(values)
    if test == "matches":
        expression = compile_expression(wanted)
        return any(expression.search(value) for value in values)
    folded = [_folded(value) for value in values]
    if test == "is":
        return any(_folded(entry) in folded for entry in wanted)
    texts = [value[:LONGEST_SEARCHED].casefold() for value in values]
    return any(entry.casefold() in text for entry in wanted for text in texts)


def _folded(value: str) -> str:
    return value.casefold().removeprefix("@")


def _judge_author(name: str, test: str, wanted: Any, subject: Subject, zone: ZoneInfo) -> Finding:
    if test != "seen":
        return _judge_text(name, test, wanted, subject, zone)
    known = subject.is_author_known()
    if known is None:
        return None, "it cannot be said who wrote this, so this is left out"
    return known, "an earlier post of this author is stored" if known else "no earlier post of this author is stored"


def _judge_followers(name: str, test: str, wanted: Any, subject: Subject, zone: ZoneInfo) -> Finding:
    followers = subject.post.followers
    if followers is None:
        return False, "it is unknown"
    if test == "filled":
        return True, f"it is {followers}"
    return followers >= wanted if test == "at_least" else followers <= wanted, f"it is {followers}"


NO_TIME = "its time is none that a calendar knows, so this is left out"


def _local(at: datetime, zone: ZoneInfo) -> datetime | None:
    try:
        return at.astimezone(zone)
    except (OverflowError, ValueError):
        return None


def _judge_weekday(name: str, test: str, wanted: Any, subject: Subject, zone: ZoneInfo) -> Finding:
    at = _local(subject.at, zone)
    return (None, NO_TIME) if at is None else (DAYS[at.weekday()] in wanted, f"it was {DAYS[at.weekday()]}")


def _judge_time(name: str, test: str, wanted: Any, subject: Subject, zone: ZoneInfo) -> Finding:
    """From the first time on, until before the second; past midnight where that is earlier."""
    at = _local(subject.at, zone)
    if at is None:
        return None, NO_TIME
    clock = at.time()
    begin, end = (time.fromisoformat(part) if part != "24:00" else time.max for part in wanted.split("-"))
    inside = begin <= clock < end if begin < end else clock >= begin or clock < end
    return inside, f"it was {clock:%H:%M} in {zone.key}"


_JUDGES: dict[str, Callable[[str, str, Any, Subject, ZoneInfo], Finding]] = {
    "author": _judge_author,
    "followers": _judge_followers,
    "weekday": _judge_weekday,
    "time": _judge_time,
}
