"""The calls about tickets: creating one per idempotency key, updating, finding, comments and audits.

While a key is valid, the same key with the same bytes gets the first answer again and creates nothing; with other
bytes it is refused. A refused create leaves its key unused.
"""

import hashlib
import json
import time
from typing import Any

from sandbox import comments, ticket_changes, ticket_rules, tickets
from sandbox.exchange import Answer, Pairs, Request, json_answer
from sandbox.limits import Limits
from sandbox.paging import paged, paged_items
from sandbox.problems import CLOSED
from sandbox.state import ADMIN_ID, State
from sandbox.ticket_rules import Dropped
from sandbox.zendesk_answers import NOT_FOUND, SUFFIX, invalid, numbers_in, object_in, unpaged

KEY_CHARACTERS = 255
SHOWN_AT_ONCE = 100

KEY_MISMATCH = {
    "error": "IdempotentRequestError",
    "description": "Request parameters don't match the given idempotency key",
}
OUTDATED = {
    "error": "UpdateConflict",
    "description": "Safe Update prevented the update. Outdated ticket data was provided.",
}


class TicketCalls:
    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        one = r"/api/v2/tickets/([0-9]+)"
        self.routes = (
            ("POST", f"/api/v2/tickets{SUFFIX}", self._create),
            ("GET", f"/api/v2/tickets{SUFFIX}", self._list),
            ("GET", f"/api/v2/tickets/show_many{SUFFIX}", self._show_many),
            ("GET", f"{one}{SUFFIX}", self._show),
            ("PUT", f"{one}{SUFFIX}", self._update),
            ("GET", f"{one}/comments{SUFFIX}", self._comments),
            ("GET", f"{one}/audits{SUFFIX}", self._audits),
        )

    def _create(self, request: Request) -> Answer:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return self._created(request, None)
        if not 0 < len(key) <= KEY_CHARACTERS:
            return json_answer(400, {"error": "IdempotentRequestError", "description": "Invalid idempotency key"})
        fingerprint = hashlib.sha256(request.body).hexdigest()
        # The transaction makes a repeat wait while the first call with this key is still running.
        with self._state.transaction():
            earlier = self._earlier_answer(key, fingerprint)
            if earlier is not None:
                return earlier
            answer = self._created(request, key)
            if answer.status == 201:
                self._keep_answer(key, fingerprint, answer)
        return answer.plus(("x-idempotency-lookup", "miss"))

    def _earlier_answer(self, key: str, fingerprint: str) -> Answer | None:
        oldest = time.time() - self._state.settings.idempotency_age_seconds
        used = self._state.row("SELECT * FROM idempotency_keys WHERE key = ? AND used_at > ?", key, oldest)
        if used is None:
            return None
        if used["fingerprint"] != fingerprint:
            return json_answer(400, KEY_MISMATCH)
        headers: Pairs = tuple((name, value) for name, value in json.loads(used["headers"]))
        return Answer(used["status"], used["body"], headers).plus(("x-idempotency-lookup", "hit"))

    def _keep_answer(self, key: str, fingerprint: str, answer: Answer) -> None:
        self._state.insert(
            "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
            key,
            fingerprint,
            answer.status,
            json.dumps(answer.headers),
            answer.body,
            time.time(),
        )

    def _created(self, request: Request, key: str | None) -> Answer:
        given = object_in(request, "ticket")
        if isinstance(given, Answer):
            return given
        with self._state.transaction():
            wanted, dropped = ticket_rules.without_dropped(self._state, given)
            problems = ticket_rules.problems_of_new(self._state, wanted)
            if problems:
                return invalid(problems)
            made = tickets.create(self._state, wanted, request.origin, key)
        return json_answer(201, made, ("Location", made["ticket"]["url"]), *_warning("create", dropped))

    def _update(self, request: Request, ticket_id: str) -> Answer:
        return self._limits.update(lambda: self._updated(request, ticket_id))

    def _updated(self, request: Request, ticket_id: str) -> Answer:
        given = object_in(request, "ticket")
        if isinstance(given, Answer):
            return given
        with self._state.transaction():
            wanted, dropped = ticket_rules.without_dropped(self._state, given)
            current = self._ticket(ticket_id)
            answer = self._changed(current, wanted) if current else json_answer(404, NOT_FOUND)
        return answer.plus(*_warning("update", dropped))

    def _changed(self, current: dict[str, Any], wanted: dict[str, Any]) -> Answer:
        if current["status"] == "closed":
            return invalid([CLOSED])
        if ticket_changes.is_outdated(current, wanted):
            return json_answer(409, OUTDATED)
        problems = ticket_rules.problems_of_change(self._state, current["id"], wanted)
        if problems:
            return invalid(problems)
        return json_answer(200, ticket_changes.change(self._state, current, wanted, author_id=ADMIN_ID))

    def _list(self, request: Request) -> Answer:
        return self._limits.look_up(lambda: self._page(request))

    def _page(self, request: Request) -> Answer:
        external_id = request.query.get("external_id")
        total = tickets.count(self._state, external_id)
        return paged(request, "tickets", total, lambda *part: tickets.page_of(self._state, external_id, *part))

    def _show(self, request: Request, ticket_id: str) -> Answer:
        ticket = self._ticket(ticket_id)
        return json_answer(200, {"ticket": ticket}) if ticket else json_answer(404, NOT_FOUND)

    def _show_many(self, request: Request) -> Answer:
        ids = numbers_in(request.query.get("ids", ""))
        if len(ids) > SHOWN_AT_ONCE:
            return json_answer(400, {"error": "TooManyValues", "description": "Too many ids: at most 100."})
        return unpaged("tickets", tickets.find_many(self._state, ids))

    def _comments(self, request: Request, ticket_id: str) -> Answer:
        ticket = self._ticket(ticket_id)
        if ticket is None:
            return json_answer(404, NOT_FOUND)
        newest_first = request.query.get("sort") == "-created_at" or request.query.get("sort_order") == "desc"
        return paged(
            request,
            "comments",
            comments.count(self._state, ticket["id"]),
            lambda *part: comments.page_of(self._state, ticket["id"], *part, newest_first=newest_first),
        )

    def _audits(self, request: Request, ticket_id: str) -> Answer:
        ticket = self._ticket(ticket_id)
        if ticket is None:
            return json_answer(404, NOT_FOUND)
        return paged_items(request, "audits", ticket_changes.audits_of(self._state, ticket["id"]))

    def _ticket(self, ticket_id: str) -> dict[str, Any] | None:
        # Longer numbers do not fit the column of ids, so no ticket can have them.
        return tickets.find(self._state, int(ticket_id)) if len(ticket_id) <= 18 else None


def _warning(action: str, dropped: Dropped) -> Pairs:
    if not dropped:
        return ()
    # json.dumps escapes line ends and other characters a header cannot carry.
    keys, values = json.dumps(dropped.unpermitted_keys), json.dumps(dropped.invalid_values)
    words = f':controller=>"tickets", :action=>"{action}", :unpermitted_keys=>{keys}, :invalid_values=>{values}'
    return (("x-zendesk-api-warn", f"{{:allowed_parameters=>{{{words}}}}}"),)
