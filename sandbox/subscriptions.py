"""The subscriptions of the simulated Khoros: creating, changing and deleting them, through its API or by hand."""

import re
import sqlite3
from typing import Any
from uuid import uuid4

from sandbox.state import State, timestamp

COMPANY_ID = 42
USER_ID = 123123
STATUSES = ("ACTIVE", "DISABLED", "PAUSED")
NOT_READABLE = "Unable to parse the json you provided."

# The text fields of a subscription, by their names in the API and in the database.
TEXTS = {
    "externalId": "external_id",
    "eventName": "event_name",
    "notificationUri": "notification_uri",
    "bearerToken": "bearer_token",
    "query": "query",
}


def described(row: sqlite3.Row, *, shows_token: bool = True) -> dict[str, Any]:
    """A subscription as the API shows it, without fields never set."""
    shown = {
        "uuid": row["uuid"],
        "externalId": row["external_id"],
        "companyId": row["company_id"],
        "userId": USER_ID,
        "eventName": row["event_name"],
        "version": row["version"],
        "bearerToken": row["bearer_token"] if shows_token else None,
        "notificationUri": row["notification_uri"],
        "query": row["query"],
        "createdDate": row["created_at"],
        "key": {"uuid": row["uuid"], "companyId": row["company_id"], "eventName": row["event_name"]},
        "status": row["status"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def checked(wanted: Any) -> dict[str, Any]:
    """The requested subscription. Raises ValueError with the message for the caller."""
    if not isinstance(wanted, dict):
        raise ValueError(NOT_READABLE)
    _check_texts(wanted)
    if not (wanted.get("eventName") or "").strip():
        raise ValueError("eventName is required.")
    return wanted


def everything(state: State) -> list[sqlite3.Row]:
    """Every subscription in order of creation."""
    return state.rows("SELECT * FROM subscriptions ORDER BY id")


def one(state: State, uuid: str) -> sqlite3.Row:
    """One subscription. Raises LookupError if there is none."""
    row = state.row("SELECT * FROM subscriptions WHERE uuid = ?", uuid)
    if row is None:
        raise LookupError("There is no such subscription.")
    return row


def subscribe(state: State, wanted: dict[str, Any], company_id: int = COMPANY_ID) -> str:
    """Creates a subscription, or updates the one with the same external id if so set, and returns its uuid."""
    with state.transaction():
        same = state.row(
            "SELECT uuid FROM subscriptions WHERE external_id = ? AND event_name = ? AND company_id = ? ORDER BY id",
            wanted.get("externalId"),
            wanted["eventName"],
            company_id,
        )
        if same is None or state.settings.resubscribe != "update":
            return create(state, wanted, company_id)
        state.change(
            "UPDATE subscriptions SET query = ?, notification_uri = ?, bearer_token = ?, version = ? WHERE uuid = ?",
            *_changeable(wanted),
            same["uuid"],
        )
        return str(same["uuid"])


def create(state: State, wanted: dict[str, Any], company_id: int = COMPANY_ID, status: str = "ACTIVE") -> str:
    """Creates a subscription, whatever exists already, and returns its uuid."""
    uuid = str(uuid4())
    state.insert(
        "INSERT INTO subscriptions (query, notification_uri, bearer_token, version, uuid, external_id, event_name,"
        " company_id, status, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *_changeable(wanted),
        uuid,
        wanted.get("externalId"),
        wanted["eventName"],
        company_id,
        status,
        timestamp(),
    )
    return uuid


def copy(state: State, uuid: str) -> str:
    """Creates a second subscription like this one and returns its uuid. Raises LookupError if there is none."""
    row = one(state, uuid)
    wanted = {"version": row["version"], **{theirs: row[ours] for theirs, ours in TEXTS.items()}}
    return create(state, wanted, row["company_id"], row["status"])


def change(state: State, uuid: str, values: dict[str, Any]) -> None:
    """Changes the fields in `values`, as Khoros itself or somebody else with the token might have done.

    Raises LookupError for an unknown subscription and ValueError for a bad value, changing nothing.
    """
    columns = {"status": "status", **TEXTS}
    unknown = sorted(values.keys() - columns.keys())
    if unknown:
        raise ValueError(f"Unknown: {', '.join(unknown)}. Known: {', '.join(columns)}.")
    if values.get("status", "ACTIVE") not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}.")
    _check_texts(values)
    if not (values.get("eventName", "given") or "").strip():
        raise ValueError("eventName must not be empty.")
    with state.transaction():
        one(state, uuid)
        for name, value in values.items():
            sql = f"UPDATE subscriptions SET {columns[name]} = ? WHERE uuid = ?"  # noqa: S608 - a name from above
            state.change(sql, value, uuid)


def delete(state: State, uuid: str) -> None:
    """Deletes a subscription but not its events. Raises LookupError if there is none."""
    if not state.change("DELETE FROM subscriptions WHERE uuid = ?", uuid):
        raise LookupError("There is no such subscription.")


def forget(state: State) -> int:
    """Deletes every subscription and returns how many there were."""
    return state.change("DELETE FROM subscriptions")


def _check_texts(values: dict[str, Any]) -> None:
    for name in TEXTS:
        if not isinstance(values.get(name), str | None):
            raise ValueError(f"{name} must be a string.")
    try:
        re.compile(values.get("query") or "")
    except re.error as problem:
        raise ValueError(f"query is not a valid regular expression: {problem}") from problem


def _changeable(wanted: dict[str, Any]) -> tuple[Any, ...]:
    version = wanted.get("version")
    return (
        wanted.get("query"),
        wanted.get("notificationUri"),
        wanted.get("bearerToken"),
        version if isinstance(version, int) else None,
    )
