"""The Khoros Marketing notifications API, as far as it is documented.

It covers who am I, subscriptions with their three states, the events of each subscription, and labels. Bodies are
JSON; the events API declares them text/plain, as the real one does. Of version 1 of the API only subscribing exists.
Undocumented behaviour can be chosen, see `Settings`.
"""

import hashlib
import hmac
import json
import os
import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from sandbox import inbox, labels, subscriptions
from sandbox.exchange import JSON, TEXT, Answer, Request, Routes, html_answer, json_answer, text_answer, whole_number
from sandbox.khoros_oauth import KhorosOAuth, issued_tokens
from sandbox.settings import Settings
from sandbox.state import State
from sandbox.subscriptions import COMPANY_ID, NOT_READABLE, STATUSES, USER_ID, described

OTHER_COMPANY_ID = 12345
APPLICATION = "Example Application"
LABELS_PER_PAGE = 100
DEFAULT_TOKEN = "sandbox-khoros-token"  # noqa: S105 - opens nothing but this sandbox

REFUSED_PAGE = (
    "<!DOCTYPE html><html><head><title>401 Unauthorized</title></head>"
    "<body><h1>Unauthorized</h1><p>The credentials of this request were not accepted.</p></body></html>"
)
NOT_FOUND_PAGE = "<html><head><title>586</title></head><body><h1>Service Not Found</h1></body></html>"

WHO_AM_I = {
    "companies": [
        {"id": OTHER_COMPANY_ID, "name": "Example Corp", "products": []},
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

# Company ids are texts here and belong to the environment; the directory's own id is beside them.
ME = {
    "sfEntityType": "User",
    "email": "johndoe@example.com",
    "companies": [
        {
            "sfEntityType": "AvailableCompany",
            "id": "45",
            "name": "Example Company",
            "environment": "APP3",
            "environmentUrl": "https://app3.spredfast.com",
            "directoryId": COMPANY_ID,
            "productName": "Conversations",
        },
        {
            "sfEntityType": "AvailableCompany",
            "id": "389",
            "name": "Example Corp",
            "environment": "APP3",
            "environmentUrl": "https://app3.spredfast.com",
            "directoryId": OTHER_COMPANY_ID,
            "productName": "Conversations",
        },
    ],
}

# How a list is wrapped, which is not documented for events and subscriptions.
SHAPES: dict[str, Callable[[list[Any]], Any]] = {
    "data": lambda found: {"data": found},
    "bare": lambda found: found,
    "data_items": lambda found: {"data": {"items": found}},
    "data_events": lambda found: {"data": {"events": found}},
    "events": lambda found: {"events": found},
    "strings": lambda found: {"data": [json.dumps(each) for each in found]},
    "inner": lambda found: {"data": [each["data"] for each in found]},
}


# How a bearer token is listed. The hash is none that a client would try.
MASKS: dict[str, Callable[[str], str]] = {
    "itself": lambda token: token,
    "redacted": lambda _: "REDACTED",
    "hash": lambda token: hashlib.blake2b(token.encode(), digest_size=16).hexdigest(),
}


def accepted_token() -> str:
    return os.environ.get("SANDBOX_KHOROS_TOKEN", DEFAULT_TOKEN)


def failure(status: int, code: str, message: str) -> Answer:
    """The error envelope of the platform."""
    problem = {"status": {"succeeded": False, "error": {"code": code, "message": message}}}
    return json_answer(status, problem, content_type=TEXT)


def success(data: Any) -> Answer:
    return json_answer(200, {"data": data, "status": {"succeeded": True}}, content_type=TEXT)


def read(request: Request) -> Any:
    """The body as JSON. Raises ValueError with the message for the caller."""
    try:
        return request.json()
    except ValueError as unreadable:
        raise ValueError(NOT_READABLE) from unreadable


def page_of(rows: list[Any], page: int, size: int) -> list[Any]:
    """One page of a list, counted from 0; a size of 0 puts everything on the first page."""
    if not size:
        return [] if page else rows
    return rows[page * size : (page + 1) * size]


def capped(size: int, largest: int) -> int:
    """The page size, silently cut to the largest. A size of 0 means everything, a largest of 0 no limit."""
    return min(size or largest, largest) if largest else size


class KhorosApi:
    def __init__(self, state: State) -> None:
        self._state = state
        self._oauth = KhorosOAuth(state)
        self._pulls = self._burst = self._fails_every = 0
        self._pulls_allowed_from = 0.0
        subscription = "/v2/events/subscription"
        one = rf"{subscription}/([^/]+)"
        self._routes = Routes(
            ("GET", "/v2/whoami/?", self._whoami),
            ("GET", "/v2/me/?", self._me),
            ("POST", f"{subscription}/?", self._subscribe),
            ("GET", f"{subscription}/?", self._list),
            ("GET", one, self._show),
            ("PUT", rf"{one}/([^/]+)", self._change_status),
            ("DELETE", one, self._delete),
            ("GET", "/v2/events/data/([^/]+)", self._events),
            ("GET", "/v2/labelsets/?", self._label_sets),
            ("GET", "/v2/conversations/initiative/([^/]+)/contentLabel/?", self._content_labels),
        )
        self._first_routes = Routes(("POST", "/v1/events/company/([^/]+)/subscription/?", self._subscribe_first))

    def answer(self, request: Request) -> Answer:
        if request.path.startswith("/v3/"):
            return self._oauth.answer(request) or html_answer(586, NOT_FOUND_PAGE)
        if request.path.startswith("/v1/"):
            return self._first_routes.answer(request) or html_answer(586, NOT_FOUND_PAGE)
        if not self._is_accepted(request):
            return html_answer(401, REFUSED_PAGE)
        try:
            return self._routes.answer(request) or failure(404, "not_found", "There is nothing at this address.")
        except LookupError as missing:
            return failure(404, "not_found", str(missing))
        except ValueError as problem:
            return failure(400, "not_acceptable", str(problem))

    def _is_accepted(self, request: Request) -> bool:
        given = request.headers.get("Authorization", "").encode()
        tokens = [accepted_token(), *issued_tokens(self._state)]
        return any(hmac.compare_digest(given, f"Bearer {token}".encode()) for token in tokens)

    def _whoami(self, request: Request) -> Answer:
        return json_answer(200, WHO_AM_I)

    def _me(self, request: Request) -> Answer:
        return json_answer(200, {"data": ME, "status": {"succeeded": True}})

    def _subscribe(self, request: Request) -> Answer:
        return self._show(request, subscriptions.subscribe(self._state, subscriptions.checked(read(request))))

    def _subscribe_first(self, request: Request, company_id: str) -> Answer:
        """Subscribing in version 1, which names the company in the address and in the body."""
        if not self._is_accepted(request):
            return html_answer(401, REFUSED_PAGE)
        try:
            wanted = subscriptions.checked(read(request))
        except ValueError as problem:
            return failure(400, "VALIDATION_ERROR", str(problem))
        if wanted.get("companyId") is None:
            return failure(400, "MISSING_FIELD", "companyId is required.")
        for each in (company_id, str(wanted["companyId"])):
            if each not in (str(COMPANY_ID), str(OTHER_COMPANY_ID)):
                return failure(403, "UNAUTHORIZED", f"Company {each} does not allow the application {APPLICATION}")
        return self._show(request, subscriptions.subscribe(self._state, wanted, int(company_id)))

    def _list(self, request: Request) -> Answer:
        page, size = whole_number(request.query, "pageNumber", 0), whole_number(request.query, "pageSize", 0)
        settings = self._state.settings
        # When pages count from 1, page 0 (the documented default) is also the first.
        page, size = max(page - settings.list_first_page, 0), capped(size, settings.list_largest_page)
        rows = subscriptions.everything(self._state)
        if settings.list_leaves_out_paused:
            rows = [row for row in rows if row["status"] != "PAUSED"]
        shown = page_of(rows, page, size)
        if settings.lists_end_with_404 and page and not shown:
            raise LookupError("There is no such page.")
        if settings.list_repeats and page:
            shown = page_of(rows, page - 1, size)[-1:] + shown
        found = SHAPES[settings.list_shape]([self._described(row) for row in shown])
        whole = {**found, "status": {"succeeded": True}} if isinstance(found, dict) else found
        return json_answer(200, whole, content_type=TEXT)

    def _described(self, row: sqlite3.Row) -> dict[str, Any]:
        settings = self._state.settings
        shown = described(row, shows_token=settings.list_shows_token)
        if "bearerToken" in shown:
            shown["bearerToken"] = MASKS[settings.list_shows_token_as](shown["bearerToken"])
        return shown

    def _show(self, request: Request, uuid: str) -> Answer:
        return success(self._described(subscriptions.one(self._state, uuid)))

    def _change_status(self, request: Request, uuid: str, status: str) -> Answer:
        subscriptions.one(self._state, uuid)
        if status not in STATUSES or self._state.settings.refuse_status_changes:
            return text_answer(422, "")
        subscriptions.change(self._state, uuid, {"status": status})
        return self._show(request, uuid)

    def _delete(self, request: Request, uuid: str) -> Answer:
        subscriptions.delete(self._state, uuid)
        return json_answer(200, {"status": {"succeeded": True}}, content_type=TEXT)

    def _events(self, request: Request, uuid: str) -> Answer:
        settings = self._state.settings
        subscriptions.one(self._state, uuid)
        offset, limit = whole_number(request.query, "offset", 0), whole_number(request.query, "limit", 0)
        if not settings.pull:
            raise LookupError("There is nothing at this address.")
        if refusal := self._refusal_of_pull(settings):
            return refusal
        if settings.pull_grows_by and offset == settings.pull_grows_at:
            inbox.apply_label_in_bulk(self._state, inbox.LABELS[0], settings.pull_grows_by, push=False)
            self._state.change_settings({"pull_grows_by": 0})
        found = SHAPES[settings.pull_shape](self._collected(uuid, offset, limit))
        return json_answer(200, found, content_type=TEXT if settings.pull_content_type == "text/plain" else JSON)

    def _refusal_of_pull(self, settings: Settings) -> Answer | None:
        """A burst limit of its own kind, and a gateway that fails now and then."""
        # Another setting counts from the beginning.
        self._pulls = self._pulls + 1 if settings.pull_fails_every == self._fails_every else 1
        self._fails_every = settings.pull_fails_every
        if settings.pull_fails_every and self._pulls % settings.pull_fails_every == 0:
            return failure(502, "proxy_origin_server_failure", "The upstream did not answer.")
        if time.monotonic() >= self._pulls_allowed_from:
            if not settings.pull_burst or self._burst < settings.pull_burst:
                self._burst += 1
                return None
            self._burst, self._pulls_allowed_from = 0, time.monotonic() + 1
        refused = failure(429, "rate_limited", "Too many requests.")
        return refused.plus(("Retry-After", "1"))

    def _collected(self, uuid: str, offset: int, limit: int) -> list[Any]:
        """The events that answer one call, marked as collected if events can be collected only once."""
        settings, state = self._state.settings, self._state
        limit = 0 if settings.pull_ignores_limit else capped(limit, settings.pull_largest_page)
        offset = 0 if settings.pull_ignores_offset else offset
        with state.transaction():
            rows = state.rows(
                "SELECT id FROM events WHERE subscription_uuid = ? AND is_collected <= ? ORDER BY id",
                uuid,
                not settings.pull_consumes,
            )
            ids = [row["id"] for row in rows]
            if settings.pull_keeps:
                ids = ids[-settings.pull_keeps :]
            if settings.pull_order == "newest":
                ids.reverse()
            elif settings.pull_order == "shuffled":
                random.shuffle(ids)
            chosen = ids[offset : offset + limit] if limit else ids[offset:]
            if settings.lists_end_with_404 and offset and not chosen:
                raise LookupError("There is no such page.")
            if settings.pull_consumes:
                for event_id in chosen:
                    state.change("UPDATE events SET is_collected = 1 WHERE id = ?", event_id)
            envelopes = [state.row("SELECT envelope FROM events WHERE id = ?", event_id) for event_id in chosen]
        return [json.loads(row["envelope"]) for row in envelopes if row]

    def _label_sets(self, request: Request) -> Answer:
        page, size = whole_number(request.query, "pageNumber"), whole_number(request.query, "pageSize")
        everything = labels.label_sets()
        # The documented example counts from 1, its sibling lists from 0: pages 0 and 1 are the same here.
        shown = page_of(everything, max(page - 1, 0), capped(size, self._state.settings.list_largest_page))
        return json_answer(200, {"data": shown, "pageNumber": page, "pageSize": size, "totalRecords": len(everything)})

    def _content_labels(self, request: Request, initiative_id: str) -> Answer:
        page = whole_number(request.query, "pageNumber", 0)
        size = whole_number(request.query, "pageSize", LABELS_PER_PAGE)
        if initiative_id != str(labels.INITIATIVE_ID):
            raise LookupError(f"There is no initiative {initiative_id}.")
        priority = {"true": True, "false": False}.get(request.query.get("priority", "").lower())
        found = labels.content_labels(request.query.get("q", ""), priority)
        shown = page_of(found, page, capped(size, self._state.settings.list_largest_page))
        return json_answer(200, {"data": shown, "pagination": {}, "status": {"succeeded": True}})
