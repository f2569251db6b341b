"""An alarm as an event: what is stored of it, and the Post that is read from that.

Stored as JSON: {"alarm": 12, "step": "raised", "kind": "Deliveries failed", "count": 3, "message": "...",
"link": "https://...", "at": "2026-11-30T12:00:00+00:00"}. `step`: "raised", "still" (there is news) or "resolved".
"""

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime

from integrations.domain.post import Event, Post, Unreadable
from integrations.infra.text import storable
from integrations.sources.kinds import EventKind

EVENT = "casebridge-alarm"
KIND = EventKind(
    "Casebridge raised or resolved an alarm",
    ("text", "title", "link", "alarm_kind", "alarm_state", "posted_at"),
    "alarm",
    "{{ title }}",
)
STATES = {"raised": "raised", "still": "still open, with news", "resolved": "resolved"}
NETWORK = "casebridge"


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """One step of an alarm's life. `number` counts what there was to tell of the alarm, from 1."""

    alarm: int
    number: int
    step: str
    kind: str
    count: int
    message: str
    link: str
    at: str

    @property
    def key(self) -> str:
        """The same for every try to store it."""
        return f"alarm:{self.alarm}:{self.number}"

    @property
    def body(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def parse_alarm(body: bytes) -> Event:
    """Raises Unreadable."""
    try:
        alarm = AlarmEvent(**json.loads(body))
        at = datetime.fromisoformat(alarm.at)
    except (ValueError, TypeError) as error:
        raise Unreadable("This is not an alarm as Casebridge stores it.") from error
    return Event(name=EVENT, happened_at=at, posts=(_post(alarm, at),))


def _post(alarm: AlarmEvent, at: datetime) -> Post:
    """What follows the first one names it as the root, so that they are one case: a thread, one incident."""
    post_id = post_id_of(alarm.alarm, alarm.number)
    return Post(
        post_id=post_id,
        network=NETWORK,
        native_id=post_id.removeprefix(f"{NETWORK}:"),
        text=storable(alarm.message),
        title=storable(_title(alarm)),
        link=alarm.link,
        author="Casebridge",
        content_type=alarm.step,
        posted_at=at,
        kind="alert",
        parent_post=post_id_of(alarm.alarm, 1) if alarm.number > 1 else "",
        facts=(("alarm_kind", alarm.kind), ("alarm_state", STATES.get(alarm.step, alarm.step))),
    )


def post_id_of(alarm: int, number: int) -> str:
    """Of the post that tells this step of an alarm."""
    return f"{NETWORK}:alarm-{alarm}-{number}"


def step_of(post_id: str) -> tuple[int, int] | None:
    """(alarm, number) of a post that tells a step of one; None for every other post."""
    found = re.fullmatch(rf"{NETWORK}:alarm-([0-9]{{1,18}})-([0-9]{{1,9}})", post_id)
    return (int(found[1]), int(found[2])) if found else None


def _title(alarm: AlarmEvent) -> str:
    """How many and why: what a person wants to know from a list of messages."""
    count = f" ({alarm.count:,})" if alarm.count else ""
    before = {"still": "Still: ", "resolved": "Resolved: "}.get(alarm.step, "")
    return f"{before}{alarm.kind}{count}"


def example_alarm(at: datetime) -> bytes:
    message = (
        "3 deliveries of “CreateCase to Zendesk” failed: The requester is suspended in Zendesk (422). "
        "Unsuspend this user in Zendesk, then retry."
    )
    link = "https://casebridge.example.com/admin/integrations/delivery/causes/"
    return AlarmEvent(1, 1, "raised", "Deliveries failed", 3, message, link, at.isoformat()).body
