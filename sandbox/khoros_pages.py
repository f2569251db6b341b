"""The pages about Khoros: its subscriptions, its events and its undocumented behaviour."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from sandbox import events, examples, subscriptions
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, form_number, see_other
from sandbox.rendering import count_words, page
from sandbox.subscriptions import STATUSES

SHOWN_EVENTS = 50
CHANGE_WORDS = {"ACTIVE": "Activate", "PAUSED": "Pause", "DISABLED": "Disable"}

# The settings on the Khoros page, and the texts of those that are a choice.
HABITS = (
    "pull",
    "pull_shape",
    "pull_order",
    "pull_content_type",
    "pull_largest_page",
    "pull_ignores_limit",
    "pull_ignores_offset",
    "pull_consumes",
    "pull_keeps",
    "pull_burst",
    "pull_fails_every",
    "refuse_pushes",
    "push_twice",
    "push_out_of_order",
    "list_shape",
    "list_first_page",
    "list_largest_page",
    "list_repeats",
    "list_shows_token",
    "list_shows_token_as",
    "list_leaves_out_paused",
    "lists_end_with_404",
    "refuse_status_changes",
)
WORDS: dict[str, dict[Any, str]] = {
    "pull_shape": {
        "data": '{"data": [events]}',
        "bare": "[events]",
        "data_items": '{"data": {"items": [events]}}',
        "data_events": '{"data": {"events": [events]}}',
        "events": '{"events": [events]}',
        "strings": '{"data": [events as texts of JSON]}',
        "inner": '{"data": [the data of each event alone]}',
    },
    "pull_order": {"newest": "newest first", "oldest": "oldest first", "shuffled": "shuffled anew for every call"},
    "pull_content_type": {"text/plain": "text/plain", "application/json": "application/json"},
    "list_shape": {
        "data": '{"data": [subscriptions]}',
        "bare": "[subscriptions]",
        "data_items": '{"data": {"items": [subscriptions]}}',
    },
    "list_shows_token_as": {"itself": "itself", "redacted": "REDACTED", "hash": "a hash of it"},
    "list_first_page": {0: "0", 1: "1, and 0 is the same page"},
}


class KhorosPages:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        one = "/subscriptions/([0-9a-f-]{36})"
        self.routes = (
            ("GET", "/subscriptions", self._subscriptions),
            ("POST", "/subscriptions/forget", self._forget_subscriptions),
            ("POST", f"{one}/delete", self._delete_subscription),
            ("POST", f"{one}/copy", self._copy_subscription),
            ("POST", f"{one}/change", self._change_subscription),
            ("POST", f"{one}/([A-Z]+)", self._change_status),
            ("GET", "/events", self._events),
            ("POST", "/events", self._tell),
            ("POST", "/events/([0-9]{1,15})/push", self._push_again),
            ("GET", "/khoros", self._habits),
            ("POST", "/khoros", self._change_habits),
        )

    def _subscriptions(self, request: Request) -> Answer:
        counted = "SELECT count(*) FROM events WHERE subscription_uuid = ?"
        rows = [
            {**dict(row), "events": self._state.count(counted, row["uuid"])}
            for row in subscriptions.everything(self._state)
        ]
        return page("subscriptions.html", "Subscriptions", subscriptions=rows, changes=CHANGE_WORDS)

    def _change_status(self, request: Request, uuid: str, status: str) -> Answer:
        if status not in STATUSES:
            raise ValueError(f"A subscription cannot be made {status}.")
        subscriptions.change(self._state, uuid, {"status": status})
        return see_other("/subscriptions")

    def _change_subscription(self, request: Request, uuid: str) -> Answer:
        form = request.form()
        values: dict[str, Any] = {
            name: form[name].strip() or None for name in ("notificationUri", "query") if name in form
        }
        subscriptions.change(self._state, uuid, values)
        return see_other("/subscriptions")

    def _copy_subscription(self, request: Request, uuid: str) -> Answer:
        subscriptions.copy(self._state, uuid)
        return see_other("/subscriptions")

    def _delete_subscription(self, request: Request, uuid: str) -> Answer:
        subscriptions.delete(self._state, uuid)
        return see_other("/subscriptions")

    def _forget_subscriptions(self, request: Request) -> Answer:
        subscriptions.forget(self._state)
        return see_other("/subscriptions")

    def _events(self, request: Request) -> Answer:
        told, again = request.query.get("told", ""), request.query.get("again", "")
        ready = examples.examples()
        chosen = next((each for each in ready if each.name == request.query.get("example")), ready[0])
        row = self._event(again) if again.isdigit() else None
        event = json.loads(row["envelope"]) if row else {"eventName": chosen.event_name, "data": chosen.data}
        rows = self._state.rows("SELECT * FROM events ORDER BY id DESC LIMIT ?", SHOWN_EVENTS)
        total = self._state.count("SELECT count(*) FROM events")
        return page(
            "events.html",
            "Events",
            # Only after sending, while a push is in flight: at any other time a reload would clear the form.
            refresh=2 if "told" in request.query and events.is_pushing(self._state) else 0,
            told=int(told[:9]) if told.isdigit() else None,
            examples=ready,
            chosen=chosen,
            event_name=event["eventName"],
            data=json.dumps(event["data"], indent=2, ensure_ascii=False),
            count=count_words(len(rows), total, "events"),
            events=[
                (row, json.loads(row["envelope"]), events.outcomes(self._state, event_id=row["id"])) for row in rows
            ],
        )

    def _event(self, event_id: str) -> sqlite3.Row | None:
        return self._state.row("SELECT * FROM events WHERE id = ?", int(event_id[:15]))

    def _tell(self, request: Request) -> Answer:
        form = request.form()
        told = self._controls.tell(_happening_values(form))
        row = self._state.row("SELECT id FROM events WHERE event_uuid = ? ORDER BY id DESC", told[0] if told else "")
        again = f"&again={row['id']}" if row else ""
        known = {each.name for each in examples.examples()}
        example = f"&example={form['example']}" if form.get("example") in known else ""
        return see_other(f"/events?told={len(told)}{example}{again}")

    def _push_again(self, request: Request, event_id: str) -> Answer:
        row = self._event(event_id)
        if row is None:
            raise LookupError("There is no such event.")
        self._controls.push_again(row["event_uuid"], row["subscription_uuid"])
        return see_other(f"/events?again={event_id}#event-{event_id}")

    def _habits(self, request: Request) -> Answer:
        return page("khoros.html", "Khoros", settings=self._state.settings, words=WORDS)

    def _change_habits(self, request: Request) -> Answer:
        self._controls.change_settings(self._state.settings.in_form(request.form(), HABITS))
        return see_other("/khoros")


def _happening_values(form: Mapping[str, str]) -> dict[str, Any]:
    """The event form in the format of the control API, without blank fields."""
    try:
        data = json.loads(form.get("data", ""))
        # Half a surrogate pair is legal in JSON but cannot be shown on a page.
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"The data is not JSON: {problem}.") from problem
    texts = {name: form.get(name, "").strip() for name in ("eventName", "eventUuid", "createdDate", "text")}
    values = {name: text for name, text in texts.items() if text}
    company = {"companyId": form_number(form, "companyId", int)} if form.get("companyId", "").strip() else {}
    return {**values, **company, "data": data}
