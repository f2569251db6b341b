"""The Slack API: the Web API's methods under /api/, and one incoming webhook under /services/."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import slack_rules
from sandbox import slack_workspace as workspace
from sandbox.exchange import Answer, Request, Routes, json_answer, text_answer
from sandbox.slack_workspace import Place
from sandbox.state import State

# About one message a second to a channel, with short bursts.
BURST = 10
Content = dict[str, Any]


@dataclass
class Pace:
    """How many messages each channel has taken lately: `BURST` at once, one a second in the long run."""

    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, channel: str) -> bool:
        with self._lock:
            now = time.monotonic()
            left, since = self._left.get(channel, (float(BURST), now))
            left = min(BURST, left + now - since)
            self._left[channel] = (left - 1 if left >= 1 else left, now)
            return left >= 1

    def forget(self) -> None:
        with self._lock:
            self._left.clear()


class SlackApi:
    def __init__(self, state: State) -> None:
        self._state = state
        self.pace = Pace()
        self._routes = Routes(
            ("POST", "/services/.*", self._webhook),
            ("GET", "/api/auth[.]test", self._signed_in(self._who)),
            ("POST", "/api/chat[.]postMessage", self._signed_in(self._post)),
            ("POST", "/api/chat[.]update", self._signed_in(self._update)),
            ("GET", "/api/chat[.]getPermalink", self._signed_in(self._permalink)),
            ("GET", "/api/conversations[.]list", self._signed_in(self._channels)),
            ("GET", "/api/users[.]lookupByEmail", self._signed_in(self._person)),
        )

    def answer(self, request: Request) -> Answer:
        return self._routes.answer(request) or _refused("unknown_method")

    def _signed_in(self, method: Any) -> Any:
        def answer(request: Request) -> Answer:
            if request.headers.get("Authorization") != f"Bearer {workspace.BOT_TOKEN}":
                return _refused("invalid_auth" if request.headers.get("Authorization") else "not_authed")
            found: Answer = method(request)
            return found.plus(("x-oauth-scopes", workspace.SCOPES))

        return answer

    def _who(self, request: Request) -> Answer:
        url = f"{request.origin}/"
        return _ok(url=url, team=workspace.TEAM, team_id=workspace.TEAM_ID, user=workspace.BOT, user_id="U0BOT")

    def _post(self, request: Request) -> Answer:
        try:
            message = request.json()
        except ValueError:
            return _refused("invalid_json")
        if not isinstance(message, dict):
            return _refused("json_not_object")
        place = workspace.find(self._state, str(message.get("channel") or ""))
        if place is None or (place.is_private and not place.is_member):
            return _refused("channel_not_found")
        problem, messages = _problem_at(place) or slack_rules.problem_of(message)
        if problem:
            return _refused(problem, response_metadata={"messages": [f"[ERROR] {each}" for each in messages]})
        channel = place.conversation or place.id
        if not self.pace.takes(channel):
            return json_answer(429, {"ok": False, "error": "ratelimited"}, ("Retry-After", "1"))
        thread = message.get("thread_ts")
        if thread and workspace.message(self._state, channel, thread) is None:
            return _refused("thread_not_found")
        content = {name: value for name, value in message.items() if name != "channel"}
        return _ok(channel=channel, ts=workspace.post(self._state, channel, content), message=content)

    def _update(self, request: Request) -> Answer:
        """Known by channel and ts; what is not given stays away, as the whole message is written anew."""
        try:
            changed = request.json()
        except ValueError:
            return _refused("invalid_json")
        channel, ts = str(changed.pop("channel", "")), str(changed.pop("ts", ""))
        if workspace.message(self._state, channel, ts) is None:
            return _refused("message_not_found")
        place = workspace.find(self._state, channel)
        if place is None or place.is_archived:
            return _refused("is_inactive")
        if problem := slack_rules.problem_of_update(changed):
            return _refused(problem)
        if not self.pace.takes(channel):
            return json_answer(429, {"ok": False, "error": "ratelimited"}, ("Retry-After", "1"))
        workspace.change(self._state, channel, ts, changed)
        return _ok(channel=channel, ts=ts, text=changed.get("text", ""), message=changed)

    def _permalink(self, request: Request) -> Answer:
        channel, ts = request.query.get("channel", ""), request.query.get("message_ts", "")
        if not any(each["channel"] == channel and each["ts"] == ts for each in workspace.messages(self._state)):
            return _refused("message_not_found")
        return _ok(channel=channel, permalink=f"{request.origin}/archives/{channel}/p{ts.replace('.', '')}")

    def _channels(self, request: Request) -> Answer:
        """Two a page, so that whoever reads them has to turn pages."""
        found = [place for place in workspace.places(self._state) if not (place.email or place.is_gone)]
        if request.query.get("exclude_archived") == "true":
            found = [place for place in found if not place.is_archived]
        first = int(request.query.get("cursor") or 0)
        more = str(first + 2) if first + 2 < len(found) else ""
        channels = [_channel(place) for place in found[first : first + 2]]
        return _ok(channels=channels, response_metadata={"next_cursor": more})

    def _person(self, request: Request) -> Answer:
        wanted = request.query.get("email", "").casefold()
        for place in workspace.places(self._state):
            if place.email == wanted and wanted and not (place.is_gone or place.is_disabled):
                profile = {"real_name": place.name, "display_name": "", "email": place.email}
                return _ok(user={"id": place.id, "name": place.email.partition("@")[0], "profile": profile})
        return _refused("users_not_found")

    def _webhook(self, request: Request) -> Answer:
        """Answers are text, and a message is not told its ts."""
        if request.path != workspace.WEBHOOK_PATH:
            return text_answer(404, "no_service")
        try:
            message = request.json()
        except ValueError:
            return text_answer(400, "invalid_payload")
        if not isinstance(message, dict) or "channel" in message:
            return text_answer(400, "invalid_payload")
        place = workspace.find(self._state, workspace.WEBHOOK_CHANNEL)
        if place is None:
            return text_answer(404, "channel_not_found")
        if place.is_archived:
            return text_answer(410, "channel_is_archived")
        if problem := slack_rules.problem_of(message)[0]:
            return text_answer(400, problem)
        if not self.pace.takes(place.id):
            return text_answer(429, "rate_limited", ("Retry-After", "1"))
        workspace.post(self._state, place.id, message)
        return text_answer(200, "ok")


def _ok(**content: Any) -> Answer:
    return json_answer(200, {"ok": True, **content})


def _refused(code: str, **more: Any) -> Answer:
    return json_answer(200, {"ok": False, "error": code, **more})


def _channel(place: Place) -> Mapping[str, Any]:
    names = {"id": place.id, "name": place.name, "is_private": place.is_private}
    return names | {"is_archived": place.is_archived, "is_member": place.is_member}


def _problem_at(place: Place) -> tuple[str, list[str]] | None:
    if place.is_archived:
        return "is_archived", []
    if place.is_disabled:
        return "user_disabled", []
    return None if place.is_member else ("not_in_channel", [])
