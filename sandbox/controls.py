"""Everything that can be steered, for the control API and the pages alike."""

import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from sandbox import events, inbox, people, ticket_changes, ticket_rules, tickets
from sandbox.events import happening_from
from sandbox.exchange import RequestLog
from sandbox.faults import Faults
from sandbox.mailbox import Mailbox
from sandbox.pushes import Pusher
from sandbox.slack import SlackApi
from sandbox.state import ADMIN_ID, State
from sandbox.ticket_rules import whole_id
from sandbox.zendesk import ZendeskApi

LIMITS = {"rate_limit", "index_limit", "update_limit", "user_limits", "others_use_per_minute"}


@dataclass(frozen=True, kw_only=True)
class Controls:
    state: State
    faults: Faults
    requests: RequestLog
    pusher: Pusher
    zendesk: ZendeskApi
    slack: SlackApi
    mailbox: Mailbox

    def reset(self) -> None:
        """Makes the sandbox as good as new: the first posts, no tickets, no subscriptions, no faults."""
        self.faults.clear()
        self.pusher.forget()
        with self.state.transaction():
            self.state.clear()
            inbox.plant(self.state)
        self.requests.clear()
        self.zendesk.reopen_windows()
        self.slack.pace.forget()
        self.mailbox.forget()

    def apply_label(self, label: str, post_ids: list[int]) -> list[str]:
        """Applies a label to posts in one go, sends the pushes and returns the event uuids."""
        event_uuids, due = inbox.apply_label(self.state, label, post_ids)
        self.pusher.send(due)
        return event_uuids

    def apply_label_in_bulk(self, label: str, count: int, *, push: bool) -> list[str]:
        """Labels `count` new posts one by one, pushes if asked to, and returns the event uuids."""
        event_uuids, due = inbox.apply_label_in_bulk(self.state, label, count, push=push)
        self.pusher.send(due)
        return event_uuids

    def tell(self, values: dict[str, Any]) -> list[str]:
        """Makes something happen, sends the pushes and returns the event uuids."""
        event_uuids, due = events.tell(self.state, happening_from(values))
        self.pusher.send(due)
        return event_uuids

    def push_again(self, event_uuid: str, subscription_uuid: str | None = None) -> int:
        push_id = events.push_again(self.state, event_uuid, subscription_uuid)
        self.pusher.send([push_id])
        return push_id

    def change_settings(self, values: dict[str, Any]) -> dict[str, Any]:
        """Changes settings; a changed limit starts a new minute."""
        changed = self.state.change_settings(values)
        if values.keys() & LIMITS:
            self.zendesk.reopen_windows()
        return asdict(changed)

    def age_keys(self, seconds: float) -> int:
        """Makes every idempotency key older, and returns how many there are."""
        return self.state.change("UPDATE idempotency_keys SET used_at = used_at - ?", seconds)

    def change_ticket(self, ticket_id: int, values: dict[str, Any]) -> dict[str, Any]:
        """Changes a ticket as an agent would, even a closed one. Raises LookupError or ValueError with a sentence."""
        wanted = dict(values)
        author_id = whole_id(wanted.pop("by", ADMIN_ID))
        with self.state.transaction():
            wanted, dropped = ticket_rules.without_dropped(self.state, wanted)
            if dropped:
                raise ValueError(f"Unknown: {', '.join((*dropped.unpermitted_keys, *dropped.invalid_values))}.")
            current = tickets.find(self.state, ticket_id)
            if current is None:
                raise LookupError(f"There is no ticket {ticket_id}.")
            problems = ticket_rules.problems_of_change(self.state, ticket_id, wanted)
            if author_id is None or people.one(self.state, "id", author_id) is None:
                raise ValueError("by must be the id of a person.")
            if problems:
                raise ValueError("; ".join(problem.description for problem in problems))
            ticket_changes.change(self.state, current, wanted, author_id=author_id)
        return tickets.one_in_full(self.state, ticket_id) or {}

    def person(self, user_id: int) -> sqlite3.Row:
        """Raises LookupError with a sentence."""
        row = people.one(self.state, "id", user_id)
        if row is None:
            raise LookupError(f"There is no person {user_id}.")
        return row

    def change_person(self, user_id: int, values: dict[str, Any]) -> None:
        """Changes name, e-mail, external id, role or suspension. Raises LookupError or ValueError with a sentence."""
        if "suspended" in values and type(values["suspended"]) is not bool:
            raise ValueError("suspended must be true or false.")
        people.change(self.state, self.person(user_id), values)
