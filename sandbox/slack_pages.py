"""The page about Slack: each channel with its messages as Slack shows them."""

import html
import re
from datetime import UTC, datetime
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from sandbox import slack_workspace as workspace
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, body_of, json_answer, see_other
from sandbox.rendering import page

SHOWN_MESSAGES = 50
MARKS = [
    (re.compile(rf"(?<!\w){mark}([^\s{mark}][^\n{mark}]*){mark}(?!\w)"), rf"<{tag}>\1</{tag}>")
    for mark, tag in ((r"\*", "strong"), ("_", "em"), ("~", "s"), ("`", "code"))
]


class SlackPages:
    def __init__(self, controls: Controls) -> None:
        self._state = controls.state
        self.routes = (("GET", "/slack", self._channels), ("GET", "/archives/([A-Z0-9]+)/p([0-9]+)", self._message))

    def _message(self, request: Request, channel: str, moment: str) -> Answer:
        """A message's own link leads to its place on the page."""
        return see_other(f"/slack#{channel}-{moment}")

    def _channels(self, request: Request) -> Answer:
        found = workspace.messages(self._state)
        places = [_place(place, found) for place in workspace.places(self._state) if not place.is_gone]
        return page("slack.html", "Slack", refresh=5, places=places, team=workspace.TEAM)


class SlackControl:
    """What tests do in Slack."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self.routes = (
            ("GET", "/control/slack/messages", self._messages),
            ("POST", "/control/slack/places/([A-Z0-9]+)", self._change_place),
            ("DELETE", "/control/slack/messages/([A-Z0-9]+)/([0-9.]+)", self._delete),
        )

    def _messages(self, request: Request) -> Answer:
        return json_answer(200, {"messages": workspace.messages(self._controls.state)})

    def _delete(self, request: Request, channel: str, ts: str) -> Answer:
        workspace.delete(self._controls.state, channel, ts)
        return json_answer(200, {"deleted": ts})

    def _change_place(self, request: Request, place_id: str) -> Answer:
        workspace.change_place(self._controls.state, place_id, body_of(request))
        return json_answer(200, {"changed": place_id})


def _place(place: workspace.Place, found: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [message for message in found if message["channel"] in (place.id, place.conversation)]
    name = place.name if place.email else f"#{place.name}"
    own = [message for message in mine if "thread_ts" not in message]
    shown = [_shown(message) | {"replies": _replies(message, mine)} for message in own[-SHOWN_MESSAGES:][::-1]]
    return {"id": place.id, "name": name, "messages": shown}


def _replies(message: dict[str, Any], mine: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands in the message's thread, oldest first."""
    return [_shown(reply) for reply in mine if reply.get("thread_ts") == message["ts"]][-SHOWN_MESSAGES:]


def _shown(message: dict[str, Any]) -> dict[str, Any]:
    moment = datetime.fromtimestamp(float(message["ts"]), UTC).isoformat(timespec="seconds")
    blocks = [_block(block) for block in message.get("blocks") or []]
    anchor = f"{message['channel']}-{message['ts'].replace('.', '')}"
    alone = [] if blocks else [{"type": "section", "lines": [as_html(message.get("text", ""))]}]
    shown = {"anchor": anchor, "at": moment.replace("+00:00", "Z"), "blocks": blocks or alone}
    return shown | {"is_edited": bool(message.get("edited"))}


def _block(block: dict[str, Any]) -> dict[str, Any]:
    texts = [block["text"]] if "text" in block else block.get("elements", [])
    return {"type": block["type"], "lines": [_text(each) for each in texts]}


def _text(text: dict[str, Any]) -> SafeString:
    if text["type"] == "mrkdwn":
        return as_html(text["text"])
    return mark_safe(html.escape(text["text"]).replace("\n", "<br>"))  # noqa: S308 - escaped


def as_html(mrkdwn: str) -> SafeString:
    """Slack's mark-up: links and mentions in angle brackets, *bold*, _italic_, ~strike~, `code`."""
    pieces = re.split(r"<([^<>]*)>", mrkdwn)
    shown = [_reference(piece) if number % 2 else _marked(piece) for number, piece in enumerate(pieces)]
    return mark_safe("".join(shown).replace("\n", "<br>"))  # noqa: S308 - each piece is escaped


def _reference(inside: str) -> str:
    target, _, label = inside.partition("|")
    if target.startswith(("http://", "https://")):
        address = html.escape(html.unescape(target))
        return f'<a href="{address}" rel="noreferrer">{html.escape(html.unescape(label or target))}</a>'
    return f"<mark>@{html.escape(label or target.lstrip('!@#'))}</mark>"


def _marked(text: str) -> str:
    shown = html.escape(html.unescape(text))
    for pattern, tagged in MARKS:
        shown = pattern.sub(tagged, shown)
    return shown
