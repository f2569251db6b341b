"""The Khoros Marketing notifications API, as far as it is documented.

Promised: who am I, the subscriptions with their three states, the events of each subscription, and the label
sets. Bodies are JSON; those of the events API are declared text/plain, as the real ones are.
"""

import hmac
import json
import os
import re
import sqlite3
from typing import Any
from uuid import uuid4

from sandbox.exchange import TEXT, Answer, Request, Routes, html_answer, json_answer, whole_number
from sandbox.inbox import COMPANY_ID, LABELS
from sandbox.state import State, timestamp

USER_ID = 123123
STATUSES = ("ACTIVE", "DISABLED", "PAUSED")
LABEL_SET_ID = "5f0c8a52-8812-4646-902a-1c228d1cebc3"
LABEL_SET_MADE_AT = 1616018436858
DEFAULT_TOKEN = "sandbox-khoros-token"  # noqa: S105 - opens nothing but this sandbox

REFUSED_PAGE = (
    "<!DOCTYPE html><html><head><title>401 Unauthorized</title></head>"
    "<body><h1>Unauthorized</h1><p>The credentials of this request were not accepted.</p></body></html>"
)

WHO_AM_I = {
    "companies": [
        {"id": 12345, "name": "Example Corp", "products": []},
        {
            "id": COMPANY_ID,
            "name": "Example Company",
            "products": [
                {
                    "environmentId": 14,
                    "environmentName": "care",
                    "environmentUrl": "https://care.spredfast.com",
                    "externalCompanyId": "45",
                    "id": 10,
                    "name": "Care",
                },
                {
                    "environmentId": 2,
                    "environmentName": "APP3",
                    "environmentUrl": "https://app3.spredfast.com",
                    "externalCompanyId": "45",
                    "id": 1,
                    "name": "Conversations",
                },
            ],
        },
    ],
    "description": "",
    "email": "johndoe@example.com",
    "firstName": "John",
    "id": USER_ID,
    "jobTitle": "Assistant to the Regional Manager",
    "lastName": "Doe",
    "profileImageUri": "https://example.com/image.jpg",
    "timezone": "America/Chicago",
}


def accepted_token() -> str:
    return os.environ.get("SANDBOX_KHOROS_TOKEN", DEFAULT_TOKEN)


def failure(status: int, code: str, message: str) -> Answer:
    """The error envelope of the platform."""
    problem = {"status": {"succeeded": False, "error": {"code": code, "message": message}}}
    return json_answer(status, problem, content_type=TEXT)


def success(data: Any) -> Answer:
    return json_answer(200, {"data": data, "status": {"succeeded": True}}, content_type=TEXT)


def described(row: sqlite3.Row) -> dict[str, Any]:
    """A subscription the way the API shows it; fields never set are left out."""
    shown = {
        "uuid": row["uuid"],
        "externalId": row["external_id"],
        "companyId": COMPANY_ID,
        "userId": USER_ID,
        "eventName": row["event_name"],
        "version": row["version"],
        "bearerToken": row["bearer_token"],
        "notificationUri": row["notification_uri"],
        "query": row["query"],
        "createdDate": row["created_at"],
        "key": {"uuid": row["uuid"], "companyId": COMPANY_ID, "eventName": row["event_name"]},
        "status": row["status"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def label_set() -> dict[str, Any]:
    stamps = {
        "createdByDirectoryUserId": USER_ID,
        "createdDate": LABEL_SET_MADE_AT,
        "directoryCompanyId": COMPANY_ID,
        "initiativeIds": [],
        "lastModifiedByDirectoryUserId": USER_ID,
        "lastModifiedDate": LABEL_SET_MADE_AT,
        "status": "ACTIVE",
    }
    labels = [
        {
            **stamps,
            "color": None,
            "id": f"{number:08d}-3390-4b1a-903e-7fe79bfcd9ba",
            "labelSetId": LABEL_SET_ID,
            "legacyId": 687375 + number,
            "name": name,
            "parentLabelIds": [],
        }
        for number, name in enumerate(LABELS)
    ]
    return {
        **stamps,
        "care": True,
        "description": "Labels of the social care team.",
        "id": LABEL_SET_ID,
        "labels": labels,
        "marketing": True,
        "multiSelect": True,
        "name": "Social care",
        "parentLabelSetId": None,
        "profiles": False,
        "required": False,
    }


def wanted_subscription(request: Request) -> dict[str, Any]:
    """The subscription in a request body. Raises ValueError with the message the caller is told."""
    try:
        wanted = request.json()
    except ValueError as unreadable:
        raise ValueError("Unable to parse the json you provided.") from unreadable
    if not isinstance(wanted, dict):
        raise ValueError("Unable to parse the json you provided.")
    for name in ("externalId", "eventName", "notificationUri", "bearerToken", "query"):
        if not isinstance(wanted.get(name), str | None):
            raise ValueError(f"{name} must be a string.")
    if not (wanted.get("eventName") or "").strip():
        raise ValueError("eventName is required.")
    try:
        re.compile(wanted.get("query") or "")
    except re.error as problem:
        raise ValueError(f"query is not a valid regular expression: {problem}") from problem
    return wanted


class KhorosApi:
    def __init__(self, state: State) -> None:
        self._state = state
        subscription = "/v2/events/subscription"
        one = rf"{subscription}/([^/]+)"
        self._routes = Routes(
            ("GET", "/v2/whoami/?", self._whoami),
            ("POST", f"{subscription}/?", self._subscribe),
            ("GET", f"{subscription}/?", self._list),
            ("GET", one, self._show),
            ("PUT", rf"{one}/([^/]+)", self._change_status),
            ("DELETE", one, self._delete),
            ("GET", "/v2/events/data/([^/]+)", self._events),
            ("GET", "/v2/labelsets/?", self._label_sets),
        )

    def answer(self, request: Request) -> Answer:
        if not self._is_accepted(request):
            return html_answer(401, REFUSED_PAGE)
        return self._routes.answer(request) or failure(404, "not_found", "There is nothing at this address.")

    def change_status(self, uuid: str, status: str) -> bool:
        """Sets one of the three states; False where there is no such subscription."""
        return self._state.change("UPDATE subscriptions SET status = ? WHERE uuid = ?", status, uuid) == 1

    def delete(self, uuid: str) -> bool:
        """Forgets a subscription, not its events; False where there is none."""
        return self._state.change("DELETE FROM subscriptions WHERE uuid = ?", uuid) == 1

    def subscriptions(self) -> list[sqlite3.Row]:
        """Every subscription in order of creation."""
        return self._state.rows("SELECT * FROM subscriptions ORDER BY id")

    def _is_accepted(self, request: Request) -> bool:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {accepted_token()}".encode())

    def _whoami(self, request: Request) -> Answer:
        return json_answer(200, WHO_AM_I)

    def _subscribe(self, request: Request) -> Answer:
        try:
            wanted = wanted_subscription(request)
        except ValueError as problem:
            return failure(400, "not_acceptable", str(problem))
        with self._state.transaction():
            uuid = self._same_subscription(wanted)
            if uuid and self._state.settings.resubscribe == "update":
                self._update(uuid, wanted)
            else:
                uuid = self._create(wanted)
            return self._show(request, uuid)

    def _same_subscription(self, wanted: dict[str, Any]) -> str | None:
        found = self._state.row(
            "SELECT uuid FROM subscriptions WHERE external_id = ? AND event_name = ? ORDER BY id",
            wanted.get("externalId"),
            wanted["eventName"],
        )
        return found["uuid"] if found else None

    def _update(self, uuid: str, wanted: dict[str, Any]) -> None:
        self._state.change(
            "UPDATE subscriptions SET query = ?, notification_uri = ?, bearer_token = ?, version = ? WHERE uuid = ?",
            *self._changeable(wanted),
            uuid,
        )

    def _create(self, wanted: dict[str, Any]) -> str:
        uuid = str(uuid4())
        self._state.insert(
            "INSERT INTO subscriptions"
            " (query, notification_uri, bearer_token, version, uuid, external_id, event_name, status, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'ACTIVE', ?)",
            *self._changeable(wanted),
            uuid,
            wanted.get("externalId"),
            wanted["eventName"],
            timestamp(),
        )
        return uuid

    def _changeable(self, wanted: dict[str, Any]) -> tuple[Any, ...]:
        version = wanted.get("version")
        return (
            wanted.get("query"),
            wanted.get("notificationUri"),
            wanted.get("bearerToken"),
            version if isinstance(version, int) else None,
        )

    def _list(self, request: Request) -> Answer:
        try:
            page, size = whole_number(request.query, "pageNumber", 0), whole_number(request.query, "pageSize", 0)
        except ValueError as problem:
            return failure(400, "not_acceptable", str(problem))
        shown = [described(row) for row in self.subscriptions()]
        if size:
            shown = shown[page * size : (page + 1) * size]
        elif page:
            shown = []
        return success(shown)

    def _show(self, request: Request, uuid: str) -> Answer:
        row = self._state.row("SELECT * FROM subscriptions WHERE uuid = ?", uuid)
        return success(described(row)) if row else self._unknown()

    def _change_status(self, request: Request, uuid: str, status: str) -> Answer:
        if not self._state.row("SELECT 1 FROM subscriptions WHERE uuid = ?", uuid):
            return self._unknown()
        if status not in STATUSES:
            return Answer(422, b"", (("Content-Type", TEXT),))
        self.change_status(uuid, status)
        return self._show(request, uuid)

    def _delete(self, request: Request, uuid: str) -> Answer:
        if not self.delete(uuid):
            return self._unknown()
        return json_answer(200, {"status": {"succeeded": True}}, content_type=TEXT)

    def _events(self, request: Request, uuid: str) -> Answer:
        if not self._state.row("SELECT 1 FROM subscriptions WHERE uuid = ?", uuid):
            return self._unknown()
        try:
            offset, limit = whole_number(request.query, "offset", 0), whole_number(request.query, "limit", 0)
        except ValueError as problem:
            return failure(400, "not_acceptable", str(problem))
        rows = self._state.rows(
            "SELECT envelope FROM events WHERE subscription_uuid = ? ORDER BY id DESC LIMIT ? OFFSET ?",
            uuid,
            limit or -1,
            offset,
        )
        return json_answer(200, {"data": [json.loads(row["envelope"]) for row in rows]}, content_type=TEXT)

    def _label_sets(self, request: Request) -> Answer:
        try:
            page, size = whole_number(request.query, "pageNumber"), whole_number(request.query, "pageSize")
        except ValueError as problem:
            return failure(400, "not_acceptable", str(problem))
        # The documented example counts from 1, its sibling lists from 0: pages 0 and 1 are the same here.
        sets = [label_set()] if page <= 1 else []
        return json_answer(200, {"data": sets, "pageNumber": page, "pageSize": size, "totalRecords": 1})

    def _unknown(self) -> Answer:
        return failure(404, "not_found", "There is no such subscription.")
