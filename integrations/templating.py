"""Templates written by staff: `{{ name }}` and `{{ name|filter:argument }}` over plain values, nothing else.

What is inserted is never read again as a template, objects cannot be reached, and the output is bounded. A line whose
placeholders are all empty is left out, so that a post without a link leaves no bare "Link:".
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

from integrations.post import FACTS

PLACEHOLDER = re.compile(r"\{\{\s*([a-z_]+)\s*((?:\|[^{}|]*)*)\}\}")
ALMOST = re.compile(r"(?<!\{)\{\s*([A-Za-z_][\w.]*)\s*\}(?!\})")
SMALL_NUMBER = re.compile(r"[0-9]{1,6}")
LONGEST_OUTPUT = 200_000

# name -> what it stands for; the words of the help text.
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
    "title": "title of a planned or published message, or of an alert",
    "details": "all that the event tells besides, a line each",
    "notes": "agents' notes on the post, where the mapping allows it",
} | {name: words[0].lower() + words[1:] for name, words in FACTS.items()}
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


def check_template(template: str) -> None:
    """Raises TemplateError that names the first thing wrong with the template."""
    rest = PLACEHOLDER.sub("", template)
    for found in PLACEHOLDER.finditer(template):
        _check_placeholder(found[1], _filters_of(found[2]))
    if "{{" in rest or "}}" in rest or "{%" in rest:
        start = min(position for mark in ("{{", "}}", "{%") if (position := rest.find(mark)) >= 0)
        raise TemplateError(
            f"“{rest[start : start + 30]}” is not a placeholder. Write one like {{{{ author }}}}; the field's help has "
            "them all."
        )
    if almost := ALMOST.search(template):
        name = almost[1]
        hint = f"Write {{{{ {name} }}}}" if name in PLACEHOLDERS else f"There is no placeholder “{name}”"
        raise TemplateError(f"“{almost[0]}” would be sent as it stands. {hint}; placeholders have two braces.")


def _check_placeholder(name: str, filters: list[tuple[str, str | None]]) -> None:
    if name not in PLACEHOLDERS:
        raise TemplateError(f"There is no placeholder “{name}”. The known ones are: {', '.join(PLACEHOLDERS)}.")
    for filter_name, argument in filters:
        if filter_name not in FILTERS:
            raise TemplateError(f"There is no filter “{filter_name}”. The known ones are: {', '.join(FILTERS)}.")
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


def render(template: str, values: Mapping[str, Value]) -> str:
    """The template with every placeholder replaced once. Expects a template that `check_template` accepts.

    Raises TemplateError otherwise: a stored template may have been made for another version's placeholders.
    """
    check_template(template)
    lines = [line for raw in template.splitlines() if (line := _render_line(raw, values)) is not None]
    return "\n".join(lines)[:LONGEST_OUTPUT]


def _render_line(line: str, values: Mapping[str, Value]) -> str | None:
    inserted: list[str] = []
    room = LONGEST_OUTPUT

    def replace(found: re.Match[str]) -> str:
        nonlocal room
        text = _plain(values.get(found[1]))[:room]
        room -= len(text)
        for name, argument in _filters_of(found[2]):
            text = FILTERS[name][0](text, argument or "")
        inserted.append(text)
        return text

    rendered = PLACEHOLDER.sub(replace, line)
    return None if inserted and not any(inserted) else rendered


def _plain(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else value
