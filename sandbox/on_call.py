"""PagerDuty's Events API, and the webhook of a workflow in Microsoft Teams.

Open alerts take further events under their `dedup_key`; what is wrong with an event is said as PagerDuty says it
(https://developer.pagerduty.com/docs/events-api-v2-overview). The workflow takes a card of at most 28 KB.
"""

import json
from typing import Any

from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, Routes, json_answer, text_answer
from sandbox.rendering import page
from sandbox.state import State, timestamp

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
WORKFLOW_PATH = "/powerautomate/automations/direct/workflows/sandbox/triggers/manual/paths/invoke"
SIGNATURE = "sandbox-signature"
SEVERITIES = ("critical", "error", "warning", "info")
ACTIONS = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}
LONGEST_SUMMARY, LONGEST_KEY, LARGEST_CARD = 1024, 255, 28_000
SHOWN = 50
INLINES = {"type", "text", "weight", "size"}


class PagerDutyApi:
    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = Routes(("POST", "/v2/enqueue", self._enqueue))

    def answer(self, request: Request) -> Answer:
        return self._routes.answer(request) or text_answer(404, "Not Found")

    def _enqueue(self, request: Request) -> Answer:
        try:
            event = request.json()
        except ValueError:
            return _refused("Event object is invalid", "the body is not JSON")
        if problems := _problems_of(event):
            return _refused("Event object is invalid", *problems)
        if event["routing_key"] != ROUTING_KEY:
            return _refused("Invalid routing key", "'routing_key' is not known")
        self._keep(event)
        answer = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return json_answer(202, answer)

    def _keep(self, event: dict[str, Any]) -> None:
        """An event of an alert that is open becomes part of it; resolving none changes nothing."""
        key, action, at = event["dedup_key"], event["event_action"], timestamp()
        with self._state.transaction():
            row = self._state.row(
                "SELECT id, content FROM alerts WHERE dedup_key = ? AND status != 'resolved' ORDER BY id DESC", key
            )
            if row is None and action == "trigger":
                content = json.dumps([event])
                self._state.insert(
                    "INSERT INTO alerts (kind, dedup_key, status, at, content) VALUES ('pagerduty', ?, ?, ?, ?)",
                    key, ACTIONS[action], at, content,
                )  # fmt: skip
            elif row is not None:
                content = json.dumps([*json.loads(row["content"]), event])
                self._state.change(
                    "UPDATE alerts SET status = ?, at = ?, content = ? WHERE id = ?",
                    ACTIONS[action], at, content, row["id"],
                )  # fmt: skip


def _problems_of(event: Any) -> list[str]:
    if not isinstance(event, dict):
        return ["the event is not an object"]
    routing_key, action = event.get("routing_key"), event.get("event_action")
    problems = []
    if not isinstance(routing_key, str) or len(routing_key) != len(ROUTING_KEY):
        problems.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    if action not in ACTIONS:
        problems.append("'event_action' is missing or unknown")
    if not isinstance(event.get("dedup_key", ""), str) or len(event.get("dedup_key", "")) > LONGEST_KEY:
        problems.append(f"'dedup_key' is longer than {LONGEST_KEY} characters")
    return [*problems, *(_problems_of_payload(event.get("payload")) if action == "trigger" else [])]


def _problems_of_payload(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    problems = [f"'payload.{name}' is missing or blank" for name in ("summary", "source") if not payload.get(name)]
    if payload.get("severity") not in SEVERITIES:
        problems.append("'payload.severity' is invalid (must be one of critical, warning, error or info)")
    if len(str(payload.get("summary", ""))) > LONGEST_SUMMARY:
        problems.append(f"'payload.summary' is longer than {LONGEST_SUMMARY} characters")
    return problems


def _refused(message: str, *errors: str) -> Answer:
    return json_answer(400, {"status": "invalid event", "message": message, "errors": errors})


class TeamsApi:
    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = Routes(("POST", "/powerautomate/.*", self._workflow))

    def answer(self, request: Request) -> Answer:
        return self._routes.answer(request) or json_answer(
            404, _error("WorkflowNotFound", "There is no such workflow.")
        )

    def _workflow(self, request: Request) -> Answer:
        if request.path != WORKFLOW_PATH:
            return json_answer(404, _error("WorkflowNotFound", "There is no such workflow."))
        if request.query.get("sig") != SIGNATURE:
            return json_answer(401, _error("AuthorizationFailed", "The authentication credentials are not valid."))
        try:
            message = request.json()
            cards = [_card(attachment) for attachment in message["attachments"]]
        except (ValueError, LookupError, TypeError) as problem:
            return json_answer(400, _error("InvalidTemplate", f"The message cannot be posted: {problem}."))
        if len(request.body) > LARGEST_CARD:
            return json_answer(413, _error("RequestEntityTooLarge", "The message is too large."))
        for card in cards:
            self._state.insert(
                "INSERT INTO alerts (kind, dedup_key, status, at, content) VALUES ('teams', '', 'posted', ?, ?)",
                timestamp(), json.dumps(card),
            )  # fmt: skip
        return text_answer(202, "")


def _card(attachment: Any) -> Any:
    """The card, if it is one that Teams draws. Raises ValueError, LookupError, TypeError."""
    if attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
        raise ValueError("an attachment is not an Adaptive Card")
    card = attachment["content"]
    if card["type"] != "AdaptiveCard" or not isinstance(card["body"], list):
        raise ValueError("the content is not an Adaptive Card")
    for run in (run for block in card["body"] for run in block["inlines"]):
        if set(run) - INLINES or not isinstance(run["text"], str):
            raise ValueError("a run of text has what it may not have")
    return card


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def alerts(state: State) -> list[dict[str, Any]]:
    """The oldest first: {"id", "dedup_key", "status", "at", "events"}; without the key that they were sent with."""
    rows = state.rows("SELECT * FROM alerts WHERE kind = 'pagerduty' ORDER BY id")
    return [
        {name: row[name] for name in ("id", "dedup_key", "status", "at")}
        | {"events": [_without_key(event) for event in json.loads(row["content"])]}
        for row in rows
    ]


def _without_key(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "routing_key"}


def cards(state: State) -> list[dict[str, Any]]:
    """The oldest first: {"id", "at", "lines", "links"}."""
    rows = state.rows("SELECT * FROM alerts WHERE kind = 'teams' ORDER BY id")
    return [{"id": row["id"], "at": row["at"], **_shown(json.loads(row["content"]))} for row in rows]


def _shown(card: dict[str, Any]) -> dict[str, Any]:
    lines = ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]
    return {"lines": lines, "links": [action["url"] for action in card.get("actions", [])]}


class OnCallPages:
    def __init__(self, controls: Controls) -> None:
        self._state = controls.state
        self.routes = (("GET", "/on-call", self._page),)

    def _page(self, request: Request) -> Answer:
        found, posted = alerts(self._state)[::-1][:SHOWN], cards(self._state)[::-1][:SHOWN]
        return page("on_call.html", "On call", refresh=5, alerts=found, cards=posted)


class OnCallControl:
    """What tests read."""

    def __init__(self, controls: Controls) -> None:
        self._state = controls.state
        self.routes = (("GET", "/control/alerts", self._alerts), ("GET", "/control/cards", self._cards))

    def _alerts(self, request: Request) -> Answer:
        return json_answer(200, {"alerts": alerts(self._state)})

    def _cards(self, request: Request) -> Answer:
        return json_answer(200, {"cards": cards(self._state)})
