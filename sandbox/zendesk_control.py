"""The part of the control API that is about Zendesk: its lists, tickets, jobs, keys and tokens."""

from sandbox import jobs, tickets, zendesk_schema
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
            ("POST", "/control/age-keys", self._age_keys),
            ("DELETE", "/control/tokens", self._revoke_tokens),
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

    def _revoke_tokens(self, request: Request) -> Answer:
        return json_answer(200, {"revoked": self._state.change("DELETE FROM access_tokens")})
