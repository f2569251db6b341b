"""Webhooks: the addresses to notify of ticket changes, and the calls to make to them.

A call is stored together with the change it reports, so none is lost if the sandbox stops before making it.
"""

import json
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from sandbox import ticket_events
from sandbox.state import ADMIN_ID, State, now
from sandbox.ticket_events import CREATED, DELETED, Event

ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CONDITIONAL = "conditional_ticket_events"
METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")
FORMATS = ("json", "xml", "form_encoded")
STATUSES = ("active", "inactive")
REQUIRED = ("name", "endpoint", "http_method", "request_format", "status")
CHANGEABLE = (*REQUIRED, "description", "subscriptions", "authentication", "custom_headers")

Webhook = dict[str, Any]


def ulid() -> str:
    """A new id that sorts by time."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "".join(ULID_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def everything(state: State) -> list[Webhook]:
    """Every webhook with its secret. They are shared: do not change them in place."""
    return state.document("webhooks") or []


def one(state: State, webhook_id: str) -> Webhook | None:
    return next((webhook for webhook in everything(state) if webhook["id"] == webhook_id), None)


def shown(webhook: Webhook) -> dict[str, Any]:
    """In the recorded shape, without fields never given and without secrets."""
    hidden = ("signing_secret", "authentication")
    return {key: value for key, value in webhook.items() if key not in hidden}


def create(state: State, given: dict[str, Any]) -> Webhook:
    """Stores a valid webhook."""
    started = {"id": ulid(), "name": "", "description": "", "status": "", "subscriptions": []}
    made = {"created_at": _stamp(), "created_by": str(ADMIN_ID)}
    webhook = {**started, **made, **_taken(given), "signing_secret": _secret()}
    with state.transaction():
        state.keep_document("webhooks", [*everything(state), webhook])
    return webhook


def change(state: State, webhook_id: str, given: dict[str, Any]) -> None:
    changed = {**_taken(given), "updated_at": _stamp(), "updated_by": str(ADMIN_ID)}
    _replace(state, webhook_id, changed)


def renew_secret(state: State, webhook_id: str) -> str:
    secret = _secret()
    _replace(state, webhook_id, {"signing_secret": secret})
    return secret


def delete(state: State, webhook_id: str) -> None:
    with state.transaction():
        state.keep_document("webhooks", [each for each in everything(state) if each["id"] != webhook_id])


def problems(given: dict[str, Any], *, is_whole: bool = True) -> list[str]:
    """What is wrong with a webhook or, if not `is_whole`, with a change of one, a sentence each."""
    found = [f"{name} is required" for name in REQUIRED if is_whole and not given.get(name)]
    found += [
        f"{name} must be one of {', '.join(allowed)}"
        for name, allowed in (("http_method", METHODS), ("request_format", FORMATS), ("status", STATUSES))
        if given.get(name) and given[name] not in allowed
    ]
    address = urlsplit(str(given.get("endpoint") or "http://none"))
    if address.scheme not in ("http", "https") or not address.netloc:
        found.append("endpoint must be an http or https address")
    return found + _subscription_problems(given)


def tell_of_new(state: State, ticket: dict[str, Any]) -> None:
    _tell(state, ticket, [Event(CREATED, {})], ticket["submitter_id"])


def tell_of_deletion(state: State, ticket: dict[str, Any]) -> None:
    _tell(state, ticket, [Event(DELETED, {})], ADMIN_ID)


def tell_of_change(
    state: State, before: dict[str, Any], after: dict[str, Any], comment: dict[str, Any] | None, actor_id: int
) -> None:
    _tell(state, after, ticket_events.of_change(before, after, comment), actor_id)


def repeat(state: State, call_id: int) -> int:
    """Sends the same bytes again, with the same signature, and returns the id of that call. Raises LookupError."""
    call = state.row("SELECT * FROM webhook_calls WHERE id = ?", call_id)
    if call is None or call["headers"] is None:
        raise LookupError(f"There is no call {call_id} that was made.")
    columns = "webhook_id, change_id, event_id, invocation_id, body, attempt, endpoint, headers"
    new_id = state.insert(
        f"INSERT INTO webhook_calls ({columns}, requested_at, due_at)"  # noqa: S608 - the names are the line above
        f" SELECT {columns}, ?, 0 FROM webhook_calls WHERE id = ?",
        time.time(),
        call_id,
    )
    state.webhooks_due.set()
    return new_id


def calls(state: State) -> list[dict[str, Any]]:
    """Every call, made or pending, oldest first."""
    return [
        {
            **{key: row[key] for key in row.keys() if key not in ("due_at", "requested_at")},  # noqa: SIM118 - a Row
            "body": row["body"].decode(),
            "headers": json.loads(row["headers"]) if row["headers"] else None,
        }
        for row in state.rows("SELECT * FROM webhook_calls ORDER BY id")
    ]


def _tell(state: State, ticket: dict[str, Any], events: list[Event], actor_id: int) -> None:
    """Queues a call to every active webhook that wants one of the events. Belongs inside the change's transaction."""
    told = [webhook for webhook in everything(state) if webhook["status"] == "active"]
    if not told or not events or state.settings.webhooks_off:
        return
    change_id = ulid()
    for position, event in enumerate(events, 1):
        sequence = {"id": change_id, "position": position, "total": len(events)}
        content = ticket_events.body(ticket, event, actor_id, sequence)
        for webhook in told:
            if event.type in webhook["subscriptions"]:
                _add_call(state, webhook, change_id, *content)
    for webhook in told:
        if CONDITIONAL in webhook["subscriptions"]:
            _add_call(state, webhook, change_id, change_id, _trigger_body(ticket))
    state.webhooks_due.set()


def _trigger_body(ticket: dict[str, Any]) -> bytes:
    """A body such as an administrator may put in a trigger; placeholders turn everything into text."""
    names = ("status", "priority", "assignee_id", "external_id", "updated_at")
    told = {name: str(ticket[name] or "") for name in names}
    return ticket_events.written({"ticket_id": str(ticket["id"]), **told, "status": ticket["status"].capitalize()})


def _add_call(state: State, webhook: Webhook, change_id: str, event_id: str, body: bytes) -> None:
    for _ in range(2 if state.settings.webhooks_twice else 1):
        state.insert(
            "INSERT INTO webhook_calls (webhook_id, change_id, event_id, invocation_id, body, attempt, requested_at,"
            " due_at) VALUES (?, ?, ?, ?, ?, 1, ?, 0)",
            webhook["id"],
            change_id,
            event_id,
            ulid(),
            body,
            time.time(),
        )


def _subscription_problems(given: dict[str, Any]) -> list[str]:
    subscriptions = given.get("subscriptions") or []
    if not isinstance(subscriptions, list) or not all(isinstance(each, str) for each in subscriptions):
        return ["subscriptions must be a list of texts"]
    unknown = [each for each in subscriptions if each != CONDITIONAL and not each.startswith("zen:event-type:")]
    if unknown:
        return [f"subscriptions: {', '.join(unknown)} is not known"]
    events = [each for each in subscriptions if each != CONDITIONAL]
    if events and CONDITIONAL in subscriptions:
        return [f"subscriptions: {CONDITIONAL} goes with no other"]
    if events and (given.get("http_method", "POST"), given.get("request_format", "json")) != ("POST", "json"):
        return ["subscriptions to events need http_method POST and request_format json"]
    return []


def _taken(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in CHANGEABLE if given.get(key) is not None}


def _replace(state: State, webhook_id: str, values: dict[str, Any]) -> None:
    with state.transaction():
        known = everything(state)
        state.keep_document("webhooks", [{**each, **values} if each["id"] == webhook_id else each for each in known])


def _secret() -> str:
    return secrets.token_urlsafe(30)


def _stamp() -> str:
    return f"{now():%Y-%m-%dT%H:%M:%S}.{time.time_ns() % 1_000_000_000:09d}Z"
