"""Templates written by staff: `{{ name }}` and `{{ name|filter:argument }}` over plain values, nothing else.

What is inserted is never read again as a template, objects cannot be reached, and the output is bounded. A line whose
placeholders are all empty is left out, so that a post without a link leaves no bare "Link:".
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from integrations.domain.post import FACTS

PLACEHOLDER = re.compile(r"\{\{\s*([a-z_]+)\s*((?:\|[^{}|]*)*)\}\}")
ALMOST = re.compile(r"(?<!\{)\{\s*([A-Za-z_][\w.]*)\s*\}(?!\})")
SMALL_NUMBER = re.compile(r"[0-9]{1,6}")
LONGEST_OUTPUT = 200_000
# A multiple of the longest output: more than any template needs, and a bound on what a hostile one can cost.
MOST_READ_BY_FILTERS = 10
LONGEST_QUOTED = 60
DEEPEST = 100

# name -> what it stands for, as the help text says it.
PLACEHOLDERS = {
    "text": "the whole text of the post",
    "author": "the author's name",
    "author_handle": "the author's handle, without @",
    "author_id": "the author's id on the network",
    "author_link": "address of the author's page",
    "followers": "how many followers the author has",
    "network": "twitter, facebook, ...",
    "post_id": "network and id, like twitter:123",
    "native_id": "the id on the network",
    "link": "address of the post",
    "content_type": "post, comment, ...",
    "posted_at": "when the customer posted (UTC)",
    "labelled_at": "when Khoros says that it happened (UTC)",
    "received_at": "when the notification reached Casebridge (UTC)",
    "label": "the label (or expression) of the subscription",
    "labels": "labels in the payload, where Khoros sent any",
    "in_reply_to": "the post this one answers",
    "parent_post": "the post at the root of the conversation",
    "reposted_from": "the post this one repeats",
    "event": "Khoros' name of the event",
    "company": "the company's name here",
    "mapping": "the mapping's name",
    "notification_id": "number of the notification here",
    "made_number": "number of what the mapping before has made (see “Sent after”)",
    "made_link": "address of that",
    "made_status": "its status, where it has one",
    "title": "title of a planned or published message, or of an alert",
    "details": "all other values of the event, one per line",
    "notes": "agents' notes on the post, where the mapping allows it",
} | {name: title[0].lower() + title[1:] for name, title in FACTS.items()}
TIMES = {"posted_at", "labelled_at", "received_at"}

Value = str | datetime | None


class TemplateError(ValueError):
    """A template that cannot be used; the text is for the field it was typed in."""


def _short(value: str, argument: str) -> str:
    limit = int(argument)
    return value if len(value) <= limit else value[: max(limit - 1, 0)].rstrip() + "…"


def _date(value: str, argument: str) -> str:
    try:
        return datetime.fromisoformat(value.replace(" UTC", "+00:00")).strftime(argument)
    except ValueError:
        return value


# name -> (function, whether it takes an argument, what it does).
FILTERS: dict[str, tuple[Callable[[str, str], str], bool, str]] = {
    "short": (_short, True, "cuts to so many characters: {{ text|short:80 }}"),
    "oneline": (lambda value, _: " ".join(value.split()), False, "puts everything on one line"),
    "upper": (lambda value, _: value.upper(), False, "UPPER CASE"),
    "lower": (lambda value, _: value.lower(), False, "lower case"),
    "default": (lambda value, argument: value or argument, True, "text to use when there is none"),
    "date": (lambda value, argument: _date(value, argument) if value else "", True, "a time as %d.%m.%Y %H:%M"),
}
READ_ALL = {"oneline", "upper", "lower"}


def check_template(template: str) -> None:
    """Raises TemplateError that names the first thing wrong with the template."""
    rest = PLACEHOLDER.sub("", template)
    for match in PLACEHOLDER.finditer(template):
        _check_placeholder(match[1], _filters_of(match[2]))
    if "{{" in rest or "}}" in rest or "{%" in rest:
        start = min(position for mark in ("{{", "}}", "{%") if (position := rest.find(mark)) >= 0)
        raise TemplateError(
            f"“{rest[start : start + 30]}” is not a placeholder. Write one like {{{{ author }}}}; the field's help has "
            "them all."
        )
    if almost := ALMOST.search(template):
        name = almost[1][:LONGEST_QUOTED]
        hint = f"Write {{{{ {name} }}}}" if name in PLACEHOLDERS else f"There is no placeholder “{name}”"
        raise TemplateError(
            f"“{almost[0][:LONGEST_QUOTED]}” would be sent as it stands. {hint}; placeholders have two braces."
        )


def _check_placeholder(name: str, filters: list[tuple[str, str | None]]) -> None:
    if name not in PLACEHOLDERS:
        raise TemplateError(
            f"There is no placeholder “{name[:LONGEST_QUOTED]}”. The known ones are: {', '.join(PLACEHOLDERS)}."
        )
    for filter_name, argument in filters:
        if filter_name not in FILTERS:
            quoted = filter_name[:LONGEST_QUOTED]
            raise TemplateError(f"There is no filter “{quoted}”. The known ones are: {', '.join(FILTERS)}.")
        if FILTERS[filter_name][1] and argument is None:
            raise TemplateError(
                f"The filter “{filter_name}” needs an argument, like {{{{ {name}|{filter_name}:80 }}}}."
            )
        if filter_name == "short" and not SMALL_NUMBER.fullmatch(str(argument)):
            raise TemplateError(f"The filter “short” needs a number, like {{{{ {name}|short:80 }}}}.")
        if filter_name == "date" and name not in TIMES:
            raise TemplateError(f"The filter “date” works on times, and “{name}” is none.")


def _filters_of(raw: str) -> list[tuple[str, str | None]]:
    filters: list[tuple[str, str | None]] = []
    for part in raw.split("|")[1:]:
        name, colon, argument = part.partition(":")
        filters.append((name.strip(), argument.strip().strip("\"'") if colon else None))
    return filters


def render(template: str, values: Mapping[str, Value], most: int = LONGEST_OUTPUT) -> str:
    """The template with every placeholder replaced once, `most` characters of it at most.

    Raises TemplateError for a template that `check_template` refuses: a stored one may have been written for another
    version's placeholders.
    """
    check_template(template)
    return _Rendering(values, most).text(template)[:most]


# --- JSON with placeholders in its texts -----------------------------------------------------------------------------


def check_json_template(template: str) -> None:
    """Raises TemplateError for what is no JSON, or names the first thing wrong with one of its texts."""
    each_text(_parsed(template), check_template)


def render_json(template: str, values: Mapping[str, Value], most: int = LONGEST_OUTPUT) -> Any:
    """The content of the JSON template with every text rendered; `most` characters of all of them together.

    Raises TemplateError for a template that `check_json_template` refuses.
    """
    rendering, room = _Rendering(values, most), most

    def rendered(text: str) -> str:
        nonlocal room
        check_template(text)
        output = (rendering.text(text) if PLACEHOLDER.search(text) else text)[:room]
        room -= len(output)
        return output

    return each_text(_parsed(template), rendered)


def each_text(content: Any, change: Callable[[str], Any], depth: int = DEEPEST) -> Any:
    """JSON content with each text in it changed; names of members stay as they are."""
    if depth == 0:
        raise TemplateError(f"This is nested more than {DEEPEST} levels deep.")
    if isinstance(content, dict):
        return {name: each_text(value, change, depth - 1) for name, value in content.items()}
    if isinstance(content, list):
        return [each_text(value, change, depth - 1) for value in content]
    return change(content) if isinstance(content, str) else content


def _parsed(template: str) -> Any:
    try:
        content = json.loads(template)
        # What cannot be written again cannot be sent: NaN, 1e999, half a character.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise TemplateError(f"This is nested more than {DEEPEST} levels deep.") from None
    except ValueError as error:
        raise TemplateError(f"This is not valid JSON: {error}.") from None
    return content


# --- Rendering -------------------------------------------------------------------------------------------------------


class _Rendering:
    """The budget of one output: what its placeholders may still insert, and what their filters may still read."""

    def __init__(self, values: Mapping[str, Value], most: int) -> None:
        self._values = values
        self._most = most
        self._room = most
        self._readable = MOST_READ_BY_FILTERS * most

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def text(self, template: str) -> str:
        lines: list[str] = []
        for raw in template.splitlines():
            if self.is_full:
                break
            if (line := self.line(raw)) is not None:
                lines.append(line)
        return "\n".join(lines)

    def line(self, raw: str) -> str | None:
        """The rendered line; None where all its placeholders are empty."""
        inserted: list[str] = []

        def replace(match: re.Match[str]) -> str:
            inserted.append(self._inserted(match[1], _filters_of(match[2])))
            return inserted[-1]

        rendered = PLACEHOLDER.sub(replace, raw)
        return None if inserted and not any(inserted) else rendered

    def _inserted(self, name: str, filters: list[tuple[str, str | None]]) -> str:
        if self.is_full:
            return ""
        text = _plain(self._values.get(name))[: self._most]
        for filter_name, argument in filters:
            text = self._filtered(text, filter_name, argument or "")
        text = text[: self._room]
        self._room -= len(text)
        return text

    def _filtered(self, text: str, name: str, argument: str) -> str:
        """Filters that read the whole text share one budget; a letter may become several."""
        if name in READ_ALL:
            text = text[: self._readable]
            self._readable -= len(text)
        return FILTERS[name][0](text, argument)[: self._most]


def _plain(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else value
