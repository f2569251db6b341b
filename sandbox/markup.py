"""How the pages for people are put together: templates, in which every value is escaped unless it is HTML already."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

from sandbox.events import KEPT_BACK
from sandbox.exchange import Answer, html_answer

HERE = Path(__file__).parent
REFRESH = '<meta http-equiv="refresh" content="{seconds}">'

NAVIGATION = (
    ("/", "Overview"),
    ("/inbox", "Inbox"),
    ("/tickets", "Tickets"),
    ("/people", "People"),
    ("/schema", "Schema"),
    ("/subscriptions", "Subscriptions"),
    ("/events", "Events"),
    ("/khoros", "Khoros"),
    ("/faults", "Faults"),
)


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


@cache
def template(name: str) -> Template:
    return Template((HERE / "templates" / f"{name}.html").read_text(encoding="utf-8"))


def filled(template_name: str, /, **values: Any) -> Markup:
    """A template with every value escaped, except what is Markup. Raises KeyError for a value left out."""
    safe = {key: value if isinstance(value, Markup) else escape(str(value)) for key, value in values.items()}
    return Markup(template(template_name).substitute(safe))


def joined(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


def options(words: Mapping[str, str], chosen: str) -> Markup:
    return joined(
        filled("option", value=value, words=text, selected=Markup(" selected" if value == chosen else ""))
        for value, text in words.items()
    )


def checked(is_so: bool) -> Markup:
    return Markup(" checked" if is_so else "")


def page(title: str, content: Markup, *, here: str = "", refresh: int = 0, status: int = 200) -> Answer:
    """A whole page; `here` is its address in the navigation."""
    current = Markup(' aria-current="page"')
    links = joined(
        filled("navigation_link", address=address, words=words, current=current if address == here else "")
        for address, words in NAVIGATION
    )
    whole = filled(
        "page",
        title=title,
        navigation=links,
        content=content,
        refresh=Markup(REFRESH.format(seconds=refresh)) if refresh else "",
    )
    return html_answer(status, whole)


def moment(iso: str) -> str:
    """`2026-04-12 09:01:11 UTC` out of an ISO time; anything else unchanged."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z", iso)
    return f"{found[1]} {found[2]} UTC" if found else iso


def outcome(row: sqlite3.Row, push_address: str) -> Markup:
    """What became of one push, with a button to make it again at the address given."""
    kind, sentence = _outcome_words(row)
    again = filled("push_again", address=push_address) if row["uri"] else ""
    return filled("outcome", kind=kind, sentence=sentence, again=again)


def _outcome_words(row: sqlite3.Row) -> tuple[str, str]:
    """What became of one event, as a colour word and a sentence."""
    if row["uri"] is None:
        return "quiet", "Recorded, not pushed. It can be collected from the list of events."
    where = urlsplit(row["uri"]).netloc
    if row["finished_at"] is None:
        return "quiet", f"On its way to {where} …"
    if row["error"] == KEPT_BACK:
        return "bad", f"Kept back on purpose and never sent to {where}. It can be collected from the list of events."
    if row["error"]:
        return "bad", f"Did not reach {where}: {row['error']}."
    if 200 <= row["status"] < 300:
        return "good", f"Delivered: {where} answered {row['status']} after {row['milliseconds']} ms."
    return "bad", f"Not accepted: {where} answered {row['status']} after {row['milliseconds']} ms."


def form_number(form: Mapping[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    """A number out of a form. Raises ValueError with a sentence for anything else."""
    try:
        return kind(form.get(name, "").strip())
    except ValueError as problem:
        raise ValueError(f"{name.replace('_', ' ').capitalize()} must be a number.") from problem
