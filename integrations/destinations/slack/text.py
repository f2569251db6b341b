"""Text as Slack takes it: three characters escaped in what is foreign, and nothing cut in the middle of one.

Facts: docs.slack.dev/messaging/formatting-message-text. While a template is filled in, the three stand as characters of
the private-use area, so that a filter cuts between characters and our own mark-up stays what it is.
"""

import re
from collections.abc import Mapping

from integrations.destinations import base
from integrations.domain.templating import Value

ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
HIDDEN = {"&": "\ue000", "<": "\ue001", ">": "\ue002"}
_HIDE = str.maketrans("".join(HIDDEN), "".join(HIDDEN.values()))
SHOWN = {hidden: ESCAPES[character] for character, hidden in HIDDEN.items()}
PLAIN = {hidden: character for character, hidden in HIDDEN.items()}
# What turns the reading direction of all that follows, and the characters that stand for escapes here.
UNWANTED = re.compile("[\u202a-\u202e\u2066-\u2069\ue000-\ue002\x00-\x08\x0b-\x1f\x7f]")


def hidden(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of placeholders with what would be mark-up hidden."""
    return {name: _hide(value) if isinstance(value, str) else value for name, value in values.items()}


def _hide(value: str) -> str:
    return UNWANTED.sub("", value).translate(_HIDE)


def escaped(rendered: str, most: int) -> str:
    """A filled-in template as mrkdwn, `most` characters at most."""
    return _cut(rendered, most, SHOWN)


def plain(rendered: str, most: int) -> str:
    """The same for a field where nothing is mark-up."""
    return _cut(rendered, most, PLAIN)


def _cut(rendered: str, most: int, written: Mapping[str, str]) -> str:
    text = "".join(written.get(character, character) for character in rendered.strip())
    if len(text) <= most:
        return text
    kept, length = [], 0
    for character in rendered.strip():
        piece = written.get(character, character)
        length += len(piece)
        if length > most - 1:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + "…"


def link(address: str, label: str) -> str:
    """A link; empty where the address is none that a browser opens. `label` is ours."""
    safe = base.quoted_link(address).replace("&", "&amp;")
    return f"<{safe}|{label}>" if safe else ""


def unescaped(shown: str) -> str:
    """Mrkdwn as people read it: links as their label with the address behind it."""
    text = re.sub(r"<([^<>|]+)\|([^<>]*)>", r"\2 (\1)", shown)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
