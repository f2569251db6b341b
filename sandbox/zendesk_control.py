"""The control API for Zendesk: lists, tickets, jobs, people, webhooks, keys and tokens."""

from typing import Any

from sandbox import jobs, people, sign_in, tickets, tokens, webhooks, zendesk_schema
from sandbox.controls import Controls
from sandbox.exchange import Answer, Request, body_of, json_answer


class ZendeskControl:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._state = controls.state
        self.routes = (
            ("GET", "/control/schema", self._schema),
            ("POST", "/control/schema", self._replace_schema),
            ("POST", "/control/schema/options", self._change_options),
            ("POST", "/control/schema/([a-z]+)/([0-9]{1,18})", self._change_item),
            ("GET", "/control/tickets", self._tickets),
            ("POST", "/control/tickets/([0-9]{1,18})", self._change_ticket),
            ("DELETE", "/control/tickets/([0-9]{1,18})", self._delete_ticket),
            ("GET", "/control/jobs", self._jobs),
            ("POST", "/control/jobs/forget", self._forget_jobs),
            ("GET", "/control/webhooks", self._webhooks),
            ("GET", "/control/webhook-calls", self._webhook_calls),
            ("POST", "/control/webhook-calls/([0-9]{1,18})/repeat", self._repeat_webhook_call),
            ("POST", "/control/age-keys", self._age_keys),
            ("GET", "/control/users", self._users),
            ("POST", "/control/users", self._make_user),
            ("POST", "/control/users/([0-9]{1,18})", self._change_user),
            ("GET", "/control/tokens", self._tokens),
            ("POST", "/control/tokens/expire", self._expire_tokens),
            ("DELETE", "/control/tokens", self._revoke_tokens),
            ("GET", "/control/oauth", self._oauth),
            ("POST", "/control/oauth", self._change_oauth),
        )

    def _schema(self, request: Request) -> Answer:
        return json_answer(200, zendesk_schema.everything(self._state))

    def _replace_schema(self, request: Request) -> Answer:
        return json_answer(200, zendesk_schema.replace(self._state, body_of(request)))

    def _change_options(self, request: Request) -> Answer:
        return json_answer(200, zendesk_schema.change_options(self._state, body_of(request)))

    def _change_item(self, request: Request, name: str, item_id: str) -> Answer:
        if name not in zendesk_schema.LISTS:
            raise LookupError(f"There is no list {name}. Known: {', '.join(zendesk_schema.LISTS)}.")
        return json_answer(200, zendesk_schema.change(self._state, name, int(item_id), body_of(request)))

    def _tickets(self, request: Request) -> Answer:
        found = tickets.all_in_full(self._state, request.query.get("external_id"))
        return json_answer(200, {"count": len(found), "tickets": found})

    def _change_ticket(self, request: Request, ticket_id: str) -> Answer:
        return json_answer(200, self._controls.change_ticket(int(ticket_id), body_of(request)))

    def _delete_ticket(self, request: Request, ticket_id: str) -> Answer:
        tickets.delete(self._state, int(ticket_id))
        return json_answer(200, {"removed": 1})

    def _jobs(self, request: Request) -> Answer:
        return json_answer(200, {"jobs": [job.told(request.origin) for job in jobs.everything(self._state)]})

    def _forget_jobs(self, request: Request) -> Answer:
        return json_answer(200, {"forgotten": jobs.forget(self._state)})

    def _age_keys(self, request: Request) -> Answer:
        seconds = body_of(request).get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError("seconds must be a number.")
        return json_answer(200, {"aged": self._controls.age_keys(seconds)})

    def _users(self, request: Request) -> Answer:
        shown = [self._user(request, row["id"]) for row in people.everyone(self._state)]
        return json_answer(200, {"users": shown})

    def _make_user(self, request: Request) -> Answer:
        return json_answer(201, self._user(request, people.create(self._state, body_of(request))))

    def _change_user(self, request: Request, user_id: str) -> Answer:
        self._controls.change_person(int(user_id), body_of(request))
        return json_answer(200, self._user(request, int(user_id)))

    def _user(self, request: Request, user_id: int) -> dict[str, Any]:
        row = self._controls.person(user_id)
        identities = people.identities(self._state, row, request.origin)
        return {**people.shown(row, request.origin), "identities": identities}

    def _webhooks(self, request: Request) -> Answer:
        return json_answer(200, {"webhooks": webhooks.everything(self._state)})

    def _webhook_calls(self, request: Request) -> Answer:
        return json_answer(200, {"calls": webhooks.calls(self._state)})

    def _repeat_webhook_call(self, request: Request, call_id: str) -> Answer:
        return json_answer(201, {"id": webhooks.repeat(self._state, int(call_id))})

    def _tokens(self, request: Request) -> Answer:
        return json_answer(200, {"tokens": tokens.everything(self._state)})

    def _expire_tokens(self, request: Request) -> Answer:
        kinds = body_of(request).get("kinds", ["access"])
        if not isinstance(kinds, list):
            raise ValueError("kinds must be a list.")
        return json_answer(200, {"expired": tokens.expire(self._state, kinds)})

    def _revoke_tokens(self, request: Request) -> Answer:
        return json_answer(200, {"revoked": tokens.revoke(self._state)})

    def _oauth(self, request: Request) -> Answer:
        return json_answer(200, sign_in.habits(self._state))

    def _change_oauth(self, request: Request) -> Answer:
        return json_answer(200, sign_in.change_habits(self._state, body_of(request)))
