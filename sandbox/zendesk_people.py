"""The calls about people: the caller, lists and search, creating or updating, and identities."""

import secrets
import sqlite3
from typing import Any
from urllib.parse import parse_qsl

from sandbox import people
from sandbox.exchange import Answer, Request, json_answer
from sandbox.limits import Limits, limit_reached
from sandbox.paging import paged_items
from sandbox.problems import Refusal
from sandbox.sign_in import accepted_email
from sandbox.state import ADMIN_ID, State
from sandbox.zendesk_answers import NOT_FOUND, SUFFIX, invalid, object_in

NOBODY: dict[str, Any] = {
    "id": None,
    "name": "Anonymous user",
    "email": "invalid@example.com",
    "role": "end-user",
    "locale": "en-US",
    "time_zone": "UTC",
    "active": True,
    "suspended": False,
    "verified": False,
}


class PeopleCalls:
    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self.routes = (
            ("GET", f"/api/v2/users{SUFFIX}", self._list),
            ("GET", f"/api/v2/users/me{SUFFIX}", self._show_self),
            ("GET", f"/api/v2/users/search{SUFFIX}", self._search),
            ("POST", f"/api/v2/users/create_or_update{SUFFIX}", self._create_or_update),
            ("GET", rf"/api/v2/users/([0-9]{{1,18}}){SUFFIX}", self._show),
            ("GET", rf"/api/v2/users/([0-9]{{1,18}})/identities{SUFFIX}", self._identities),
            ("POST", rf"/api/v2/users/([0-9]{{1,18}})/identities{SUFFIX}", self._add_identity),
        )

    def _list(self, request: Request) -> Answer:
        given = parse_qsl(request.raw_query)
        roles = {value for name, value in given if name in ("role", "role[]")}
        return self._page(request, [row for row in people.everyone(self._state) if not roles or row["role"] in roles])

    def _search(self, request: Request) -> Answer:
        external_id = request.query.get("external_id")
        if external_id is None:
            return self._page(request, people.search(self._state, request.query.get("query", "")))
        person = people.one(self._state, "external_id", external_id)
        return self._page(request, [person] if person else [])

    def _page(self, request: Request, rows: list[sqlite3.Row]) -> Answer:
        return paged_items(request, "users", [people.shown(row, request.origin) for row in rows])

    def _show_self(self, request: Request) -> Answer:
        row, settings = people.one(self._state, "id", ADMIN_ID), self._state.settings
        if row is None:
            return json_answer(200, {"user": NOBODY})
        as_set = {"email": accepted_email(), "role": settings.agent_role, "suspended": settings.agent_suspended}
        known = {**people.shown(row, request.origin), **as_set, "authenticity_token": secrets.token_urlsafe(32)}
        return json_answer(200, {"user": known})

    def _show(self, request: Request, user_id: str) -> Answer:
        person = people.one(self._state, "id", int(user_id))
        return self._person(200, request, person["id"]) if person else json_answer(404, NOT_FOUND)

    def _create_or_update(self, request: Request) -> Answer:
        given = object_in(request, "user")
        if isinstance(given, Answer):
            return given
        allowance = self._limits.of_upsert()
        if allowance and allowance.exceeded:
            return limit_reached(allowance)
        try:
            with self._state.transaction():
                return self._created_or_updated(request, given)
        except Refusal as refusal:
            return invalid(refusal.problems)

    def _created_or_updated(self, request: Request, given: dict[str, Any]) -> Answer:
        person = people.found_by(self._state, given)
        if person is None:
            return self._person(201, request, people.create(self._state, given))
        allowance = self._limits.of_upsert_of(person["id"])
        if allowance and allowance.exceeded:
            return limit_reached(allowance)
        people.change(self._state, person, {key: value for key, value in given.items() if key != "suspended"})
        return self._person(200, request, person["id"])

    def _person(self, status: int, request: Request, user_id: int) -> Answer:
        row = people.one(self._state, "id", user_id)
        return json_answer(status, {"user": people.shown(row, request.origin) if row else None})

    def _identities(self, request: Request, user_id: str) -> Answer:
        person = people.one(self._state, "id", int(user_id))
        if person is None:
            return json_answer(404, NOT_FOUND)
        return paged_items(request, "identities", people.identities(self._state, person, request.origin))

    def _add_identity(self, request: Request, user_id: str) -> Answer:
        given, person = object_in(request, "identity"), people.one(self._state, "id", int(user_id))
        if person is None:
            return json_answer(404, NOT_FOUND)
        if isinstance(given, Answer):
            return given
        try:
            with self._state.transaction():
                identity_id = people.add_identity(self._state, person["id"], given)
        except Refusal as refusal:
            return invalid(refusal.problems)
        known = people.identities(self._state, person, request.origin)
        return json_answer(201, {"identity": next(each for each in known if each["id"] == identity_id)})
