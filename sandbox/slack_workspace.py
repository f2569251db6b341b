"""The simulated Slack workspace: its channels and people, and the messages posted there.

A channel's standing (archived, not joined, gone) and a person's (disabled) are changed by the control API.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from sandbox.state import State

TEAM, TEAM_ID, BOT = "Sandbox", "T0SANDBOX", "casebridge"
BOT_TOKEN = "xoxb-sandbox-token"  # noqa: S105 - opens nothing but this sandbox
WEBHOOK_PATH = "/services/T0SANDBOX/B0SANDBOX/sandbox-webhook"
WEBHOOK_CHANNEL = "C0SOCIAL"
SCOPES = "chat:write,chat:write.public,channels:read,groups:read,im:write,users:read.email"


@dataclass(frozen=True)
class Place:
    """A channel, or a person whose conversation with the bot is `conversation`."""

    id: str
    name: str
    email: str = ""
    conversation: str = ""
    is_private: bool = False
    is_member: bool = True
    is_archived: bool = False
    is_gone: bool = False
    is_disabled: bool = False


PLACES = (
    Place("C0SOCIAL", "social-care"),
    Place("C0ADTECH", "adtech"),
    Place("C0ALERTS", "khoros-alerts"),
    Place("G0CRISIS", "crisis", is_private=True),
    Place("U0ANN", "Ann Example", "ann@example.com", "D0ANN"),
    Place("U0BEN", "Ben Example", "ben@example.com", "D0BEN"),
)
STANDINGS = ("is_member", "is_archived", "is_gone", "is_disabled")


def places(state: State) -> list[Place]:
    changed = state.document("slack_standings") or {}
    return [Place(**{**place.__dict__, **changed.get(place.id, {})}) for place in PLACES]


def change_place(state: State, place_id: str, values: dict[str, Any]) -> None:
    """Raises LookupError or ValueError with a sentence."""
    if place_id not in {place.id for place in PLACES}:
        raise LookupError(f"There is no channel or person {place_id}.")
    if not set(values) <= set(STANDINGS) or not all(type(value) is bool for value in values.values()):
        raise ValueError(f"Give {', '.join(STANDINGS)} as true or false.")
    changed = state.document("slack_standings") or {}
    state.keep_document("slack_standings", {**changed, place_id: {**changed.get(place_id, {}), **values}})


def find(state: State, place_id: str) -> Place | None:
    """By the id of a channel, a person, or the conversation with one; the name of a channel does for none."""
    return next((each for each in places(state) if place_id in (each.id, each.conversation) and not each.is_gone), None)


def post(state: State, channel: str, content: dict[str, Any]) -> str:
    """Stores a message and returns its ts."""
    with state.transaction():
        last = state.row("SELECT ts FROM slack_messages ORDER BY id DESC LIMIT 1")
        moment = max(int(time.time() * 1_000_000), int(last["ts"].replace(".", "")) + 1 if last else 0)
        ts = f"{moment // 1_000_000}.{moment % 1_000_000:06}"
        sql = "INSERT INTO slack_messages (channel, ts, content) VALUES (?, ?, ?)"
        state.insert(sql, channel, ts, json.dumps(content))
    return ts


def message(state: State, channel: str, ts: str) -> dict[str, Any] | None:
    return next((each for each in messages(state) if each["channel"] == channel and each["ts"] == ts), None)


def change(state: State, channel: str, ts: str, content: dict[str, Any]) -> None:
    """Writes a message anew; it stays in its thread."""
    before = message(state, channel, ts) or {}
    kept = {name: before[name] for name in ("thread_ts",) if name in before}
    sql = "UPDATE slack_messages SET content = ? WHERE channel = ? AND ts = ?"
    state.change(sql, json.dumps(kept | content | {"edited": before.get("edited", 0) + 1}), channel, ts)


def delete(state: State, channel: str, ts: str) -> None:
    state.change("DELETE FROM slack_messages WHERE channel = ? AND ts = ?", channel, ts)


def messages(state: State) -> list[dict[str, Any]]:
    """Oldest first."""
    rows = state.rows("SELECT channel, ts, content FROM slack_messages ORDER BY id")
    return [{"channel": row["channel"], "ts": row["ts"], **json.loads(row["content"])} for row in rows]
