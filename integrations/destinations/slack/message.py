"""From a post and a mapping to the arguments of chat.postMessage, which an incoming webhook takes as well.

Facts: docs.slack.dev/reference/block-kit/blocks (limits of a header, a section and a context),
docs.slack.dev/reference/methods/chat.postMessage (text beside blocks, unfurling, metadata).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from integrations.destinations import base
from integrations.destinations.base import Context
from integrations.destinations.capabilities import BurstNews, CountedPost
from integrations.destinations.slack import text
from integrations.domain.post import Post
from integrations.domain.templating import render

LONGEST_TITLE, LONGEST_SECTION, LONGEST_TEXT = 150, 3000, 3900
# Five of them and their posts fit into a section, whatever is escaped.
LONGEST_LISTED_LINK = 250
EVENT_TYPE = "casebridge_delivery"
DEFAULT_TITLE = "{{ label }}: {{ author|default:Someone }} on {{ network }}"
DEFAULT_TEXT = "{{ title }}\n{{ text|short:1500 }}\n{{ details }}"
TEST_TEXT = "This is a test from Casebridge. Please ignore it."


def build(post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
    """The request's text. Its `metadata` has the delivery's external id, so that a message posted twice is found."""
    values = text.hidden(base.placeholder_values(post, context))
    title = " ".join(render(settings.get("title") or DEFAULT_TITLE, values).split())
    body = render(settings.get("text") or DEFAULT_TEXT, values)
    blocks = [_header(title), _section(body), _links(post, context, settings)]
    return _message(settings, f"{title}\n{body}", blocks, external_id)


def _message(settings: Mapping[str, Any], spoken: str, blocks: list[dict[str, Any]], external_id: str) -> str:
    """`spoken` is what notifications and screen readers say."""
    return base.as_json(
        {
            "channel": str(settings.get("target") or ""),
            "text": text.escaped(spoken, LONGEST_TEXT),
            "blocks": [block for block in blocks if block],
            "unfurl_links": bool(settings.get("unfurl")),
            "unfurl_media": bool(settings.get("unfurl")),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"id": external_id}},
        }
    )


def _header(title: str) -> dict[str, Any]:
    shown = text.plain(title, LONGEST_TITLE)
    return {"type": "header", "text": {"type": "plain_text", "text": shown, "emoji": False}} if shown else {}


def _section(body: str) -> dict[str, Any]:
    shown = text.escaped(body, LONGEST_SECTION)
    return {"type": "section", "text": {"type": "mrkdwn", "text": shown, "verbatim": True}} if shown else {}


def _links(post: Post, context: Context, settings: Mapping[str, Any]) -> dict[str, Any]:
    links = [text.link(context.made_link, f"Open the {context.made_thing}")]
    if settings.get("adds_link", True):
        links.append(text.link(post.link, post.link_words))
    shown = "  ·  ".join(filter(None, links))
    return _below(shown) if shown else {}


def with_note(request: str, note: str) -> str:
    """The message with a line of our own below."""
    content = json.loads(request)
    return base.as_json(content | {"text": f"{content['text']}\n{note}", "blocks": [*content["blocks"], _below(note)]})


def _below(line: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": line}]}


def build_burst(news: BurstNews, settings: Mapping[str, Any], external_id: str) -> str:
    """The message that counts a burst, with links to its newest posts."""
    minutes = max(round((news.last_at - news.began_at).total_seconds() / 60), 1)
    listens_to = text.hidden({"label": news.listens_to})["label"]
    title = f"{_so_many(news.count, 'post')} in {_so_many(minutes, 'minute')}: {listens_to}"
    lines = "\n".join(f"• {_of_a_burst(post)}" for post in news.latest)
    goes_on = (
        "The counting goes on." if news.is_updated else "The counting goes on; a last message says when it is over."
    )
    end = "It is over: they no longer come so fast." if news.is_over else goes_on
    all_of_them = text.link(news.address, "All of them in Casebridge")
    blocks = [_header(title), _section(f"The latest:\n{lines}"), _below("  ·  ".join(filter(None, [end, all_of_them])))]
    return _message(settings, f"{title}\n{end}", blocks, external_id)


def _so_many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _of_a_burst(post: CountedPost) -> str:
    said = text.hidden({"author": post.author or "Someone", "text": post.text})
    link = text.link(post.link, "Open") if len(post.link) <= LONGEST_LISTED_LINK else ""
    return f"{said['author']}: {said['text']}" + (f" {link}" if link else "")


def as_read(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, text) of a message as people read it."""
    names = {"header": "Title", "section": "Text", "context": "Below"}
    for block in content.get("blocks") or []:
        parts = [block["text"]] if "text" in block else block.get("elements", [])
        yield names.get(block["type"], "Text"), "\n".join(text.unescaped(part["text"]) for part in parts)
    if not content.get("blocks"):
        yield "Text", text.unescaped(str(content.get("text") or ""))
    if content.get("unfurl_links"):
        yield "Previews of links", "shown"


def without_blocks(request: str) -> str:
    """The same as plain short text, for a message whose blocks Slack does not take."""
    content = json.loads(request)
    return base.as_json({name: value for name, value in content.items() if name not in ("blocks", "metadata")})


def as_test(request: str) -> str:
    """The request with the word that it is a test in front."""
    content = json.loads(request)
    note = {"type": "context", "elements": [{"type": "plain_text", "text": TEST_TEXT}]}
    return base.as_json(content | {"text": f"{TEST_TEXT}\n{content['text']}", "blocks": [note, *content["blocks"]]})
