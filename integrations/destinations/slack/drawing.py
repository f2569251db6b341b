"""A message as Slack shows it: its blocks as pieces of text with their style. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from integrations.destinations.capabilities import DrawnPart, Piece
from integrations.destinations.slack.text import unescaped

STYLES = {"*": "bold", "_": "italic", "~": "struck", "`": "code"}
# A link in angle brackets; or a mark, not within a word, around text without that mark and line breaks.
MARKED = re.compile(r"<(?P<link>https?://[^<>|]+)(?:\|(?P<label>[^<>]*))?>|(?<!\w)(?P<mark>[*_~`])(?P<inside>\S[^\n]*?)(?P=mark)(?!\w)")  # fmt: skip # noqa: E501


def drawn(content: Mapping[str, Any]) -> list[DrawnPart]:
    """The blocks in order; the plain text where there are none."""
    blocks = content.get("blocks") or [{"type": "section", "text": {"type": "mrkdwn", "text": content.get("text", "")}}]
    return [DrawnPart(str(block["type"]), tuple(_pieces_of(block))) for block in blocks]


def _pieces_of(block: Mapping[str, Any]) -> Iterator[Piece]:
    for text in [block["text"]] if "text" in block else block.get("elements", []):
        if text["type"] == "mrkdwn":
            yield from _pieces(text["text"])
        else:
            yield Piece(text["text"])


def _pieces(mrkdwn: str) -> Iterator[Piece]:
    end = 0
    for found in MARKED.finditer(mrkdwn):
        if found.start() > end:
            yield Piece(unescaped(mrkdwn[end : found.start()]))
        if found["link"]:
            yield Piece(unescaped(found["label"] or found["link"]), link=unescaped(found["link"]))
        else:
            yield Piece(unescaped(found["inside"]), STYLES[found["mark"]])
        end = found.end()
    if mrkdwn[end:]:
        yield Piece(unescaped(mrkdwn[end:]))
