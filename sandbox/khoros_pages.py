"""The pages for people about Khoros alone: its subscriptions, what else happens there, and its habits."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sandbox import examples, subscriptions
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, see_other
from sandbox.markup import Markup, checked, filled, form_number, joined, moment, options, outcome, page
from sandbox.subscriptions import STATUSES

SHOWN_EVENTS = 50
STATUS_WORDS = {"ACTIVE": "active", "PAUSED": "paused", "DISABLED": "disabled"}
CHANGE_WORDS = {"ACTIVE": "Activate", "PAUSED": "Pause", "DISABLED": "Disable"}

FLAGS = (
    "pull",
    "pull_ignores_limit",
    "pull_ignores_offset",
    "pull_consumes",
    "push_twice",
    "push_out_of_order",
    "list_repeats",
    "list_shows_token",
    "refuse_status_changes",
)
NUMBERS = ("pull_largest_page", "refuse_pushes", "list_largest_page")
WORDS: dict[str, dict[str, str]] = {
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
    "list_first_page": {"0": "0", "1": "1, and 0 is the same page"},
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
        rows = subscriptions.everything(self._state)
        content = filled(
            "subscriptions",
            cards=joined(self._subscription(row) for row in rows) if rows else filled("no_subscriptions"),
            forget=filled("forget_subscriptions") if rows else "",
        )
        return page("Subscriptions", content, here="/subscriptions")

    def _subscription(self, row: sqlite3.Row) -> Markup:
        collected = self._state.count("SELECT count(*) FROM events WHERE subscription_uuid = ?", row["uuid"])
        return filled(
            "subscription",
            uuid=row["uuid"],
            event_name=row["event_name"],
            external_id=row["external_id"] or "none",
            status=STATUS_WORDS[row["status"]],
            query=row["query"] or "everything",
            given_query=row["query"] or "",
            uri=row["notification_uri"] or "none: events are only collected",
            given_uri=row["notification_uri"] or "",
            has_token="sent with every push" if row["bearer_token"] else "none",
            created_at=moment(row["created_at"]),
            events=collected,
            changes=joined(
                filled("status_change", uuid=row["uuid"], status=status, words=words)
                for status, words in CHANGE_WORDS.items()
                if status != row["status"]
            ),
        )

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
        ready = examples.examples()
        again = self._event(request.query["again"]) if request.query.get("again", "").isdigit() else None
        chosen = next((each for each in ready if each.name == request.query.get("example")), ready[0])
        rows = self._state.rows("SELECT id FROM events ORDER BY id DESC LIMIT ?", SHOWN_EVENTS)
        total = self._state.count("SELECT count(*) FROM events")
        is_pushing = self._state.row("SELECT 1 FROM pushes WHERE finished_at IS NULL") is not None
        data = again["data"] if again else chosen.data
        content = filled(
            "events",
            told=_told(request.query.get("told", "")),
            examples=options({each.name: each.title for each in ready}, chosen.name),
            example=chosen.name,
            event_name=again["eventName"] if again else chosen.event_name,
            data=json.dumps(data, indent=2, ensure_ascii=False),
            count=f"The newest {SHOWN_EVENTS} of {total:,} events" if total > len(rows) else f"{total} events",
            events=joined(self._card(row["id"]) for row in rows),
        )
        # Only after sending and while a push is on its way: at any other time a reload would empty the form.
        return page("Events", content, here="/events", refresh=2 if is_pushing and "told" in request.query else 0)

    def _event(self, event_id: str | int) -> dict[str, Any] | None:
        row = self._state.row("SELECT envelope FROM events WHERE id = ?", int(str(event_id)[:15]))
        return json.loads(row["envelope"]) if row else None

    def _card(self, event_id: int) -> Markup:
        envelope = self._event(event_id) or {}
        outcomes = self._state.rows(
            "SELECT event_uuid, events.subscription_uuid, uri, finished_at, milliseconds, status, error FROM events"
            " LEFT JOIN pushes USING (event_uuid, subscription_uuid) WHERE events.id = ? ORDER BY pushes.id",
            event_id,
        )
        return filled(
            "event",
            id=event_id,
            event_name=envelope["eventName"],
            created_date=envelope["createdDate"],
            event_uuid=outcomes[0]["event_uuid"],
            subscription_uuid=outcomes[0]["subscription_uuid"],
            outcomes=joined(outcome(row, f"/events/{event_id}/push") for row in outcomes),
        )

    def _tell(self, request: Request) -> Answer:
        form = request.form()
        told = self._controls.tell(_happening_values(form))
        row = self._state.row("SELECT id FROM events WHERE event_uuid = ? ORDER BY id DESC", told[0] if told else "")
        again = f"&again={row['id']}" if row else ""
        known = {each.name for each in examples.examples()}
        example = f"&example={form['example']}" if form.get("example") in known else ""
        return see_other(f"/events?told={len(told)}{example}{again}")

    def _push_again(self, request: Request, event_id: str) -> Answer:
        row = self._state.row("SELECT event_uuid, subscription_uuid FROM events WHERE id = ?", int(event_id))
        if row is None:
            raise LookupError("There is no such event.")
        self._controls.push_again(row["event_uuid"], row["subscription_uuid"])
        return see_other(f"/events?again={event_id}#event-{event_id}")

    def _habits(self, request: Request) -> Answer:
        settings = asdict(self._state.settings)
        content = filled(
            "khoros",
            **{name: checked(settings[name]) for name in FLAGS},
            **{name: settings[name] for name in NUMBERS},
            **{name: options(words, str(settings[name])) for name, words in WORDS.items()},
        )
        return page("Khoros", content, here="/khoros")

    def _change_habits(self, request: Request) -> Answer:
        form = request.form()
        self._controls.change_settings(
            {
                **{name: name in form for name in FLAGS},
                **{name: form_number(form, name, int) for name in (*NUMBERS, "list_first_page")},
                **{name: form.get(name, "") for name in WORDS if name != "list_first_page"},
            }
        )
        return see_other("/khoros")


def _told(count: str) -> Markup:
    """What became of the happening just sent, after the redirect."""
    if not count.isdigit():
        return Markup("")
    if int(count[:9]) == 0:
        return filled("notice", kind="bad", sentence="No active subscription asked for this: nobody was told.")
    subscriptions_told = "One subscription was" if count == "1" else f"{count[:9]} subscriptions were"
    return filled("notice", kind="good", sentence=f"{subscriptions_told} told.")


def _happening_values(form: Mapping[str, str]) -> dict[str, Any]:
    """The fields of the event form, as the control API would take them; what is left blank is left out."""
    try:
        data = json.loads(form.get("data", ""))
        # Half a surrogate pair is legal in JSON, yet no page can show it.
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"The data is not JSON: {problem}.") from problem
    texts = {name: form.get(name, "").strip() for name in ("eventName", "eventUuid", "createdDate", "text")}
    values = {name: text for name, text in texts.items() if text}
    company = {"companyId": form_number(form, "companyId", int)} if form.get("companyId", "").strip() else {}
    return {**values, **company, "data": data}
