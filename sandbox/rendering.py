"""Renders the pages with Django's template engine, which escapes every value.

The engine runs without Django settings, so templates cannot use tags or filters that translate, localize or convert
time zones.
"""

from pathlib import Path
from typing import Any

from django.template import Context, Engine

from sandbox.exchange import Answer, html_answer

ENGINE = Engine(dirs=[str(Path(__file__).parent / "templates")], builtins=["sandbox.filters"])

# Title and address of every page in the navigation.
NAVIGATION = {
    "Overview": "/",
    "Inbox": "/inbox",
    "Tickets": "/tickets",
    "People": "/people",
    "Schema": "/schema",
    "Slack": "/slack",
    "Mailbox": "/mailbox",
    "On call": "/on-call",
    "Subscriptions": "/subscriptions",
    "Events": "/events",
    "Khoros": "/khoros",
    "Faults": "/faults",
}


def page(template: str, title: str, *, section: str = "", refresh: int = 0, status: int = 200, **values: Any) -> Answer:
    """A whole page. The navigation marks `section`, by default the entry with the page's own title."""
    frame = {"title": title, "section": section or title, "refresh": refresh, "navigation": NAVIGATION}
    context = Context({**frame, **values}, use_l10n=False, use_tz=False)
    return html_answer(status, ENGINE.get_template(template).render(context))


def problem_page(title: str, sentence: str, status: int) -> Answer:
    return page("problem.html", title, status=status, sentence=sentence)


def count_words(shown: int, total: int, things: str) -> str:
    return f"The newest {shown} of {total:,} {things}" if total > shown else f"{total} {things}"
