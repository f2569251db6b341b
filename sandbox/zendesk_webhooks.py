"""The calls about webhooks. Their errors have a shape of their own: a list of `errors`."""

from typing import Any

from sandbox import webhooks
from sandbox.exchange import Answer, Request, json_answer
from sandbox.paging import paged_items
from sandbox.state import State
from sandbox.zendesk_answers import SUFFIX


class WebhookCalls:
    def __init__(self, state: State) -> None:
        self._state = state
        one = "/api/v2/webhooks/([0-9A-Z]{26})"
        self.routes = (
            ("POST", f"/api/v2/webhooks{SUFFIX}", self._create),
            ("GET", f"/api/v2/webhooks{SUFFIX}", self._list),
            ("GET", f"{one}{SUFFIX}", self._show),
            ("PATCH", f"{one}{SUFFIX}", self._patch),
            ("PUT", f"{one}{SUFFIX}", self._put),
            ("DELETE", f"{one}{SUFFIX}", self._delete),
            ("GET", f"{one}/signing_secret{SUFFIX}", self._secret),
            ("POST", f"{one}/signing_secret{SUFFIX}", self._renew_secret),
        )

    def _create(self, request: Request) -> Answer:
        if self._state.settings.refuse_webhook_setup:
            return _errors(403, "Forbidden", ["You are not allowed to set up webhooks."])
        given = _webhook_in(request)
        problems = webhooks.problems(given)
        if problems:
            return _errors(400, "InvalidRequest", problems)
        return json_answer(201, {"webhook": webhooks.shown(webhooks.create(self._state, given))})

    def _list(self, request: Request) -> Answer:
        items = [webhooks.shown(webhook) for webhook in webhooks.everything(self._state)]
        return paged_items(request, "webhooks", items, only_by_cursor=True)

    def _show(self, request: Request, webhook_id: str) -> Answer:
        webhook = webhooks.one(self._state, webhook_id)
        return json_answer(200, {"webhook": webhooks.shown(webhook)}) if webhook else _not_found(webhook_id)

    def _patch(self, request: Request, webhook_id: str) -> Answer:
        return self._changed(request, webhook_id, is_whole=False)

    def _put(self, request: Request, webhook_id: str) -> Answer:
        return self._changed(request, webhook_id, is_whole=True)

    def _changed(self, request: Request, webhook_id: str, *, is_whole: bool) -> Answer:
        webhook, given = webhooks.one(self._state, webhook_id), _webhook_in(request)
        if webhook is None:
            return _not_found(webhook_id)
        problems = webhooks.problems(given if is_whole else {**webhook, **given}, is_whole=is_whole)
        if problems:
            return _errors(400, "InvalidRequest", problems)
        webhooks.change(self._state, webhook_id, given)
        return Answer(204)

    def _delete(self, request: Request, webhook_id: str) -> Answer:
        if webhooks.one(self._state, webhook_id) is None:
            return _not_found(webhook_id)
        webhooks.delete(self._state, webhook_id)
        return Answer(204)

    def _secret(self, request: Request, webhook_id: str) -> Answer:
        webhook = webhooks.one(self._state, webhook_id)
        return _signing_secret(200, webhook["signing_secret"]) if webhook else _not_found(webhook_id)

    def _renew_secret(self, request: Request, webhook_id: str) -> Answer:
        if webhooks.one(self._state, webhook_id) is None:
            return _not_found(webhook_id)
        return _signing_secret(201, webhooks.renew_secret(self._state, webhook_id))


def _webhook_in(request: Request) -> dict[str, Any]:
    """The webhook in a request; {} if there is none, which fails every check."""
    try:
        body = request.json()
    except ValueError:
        return {}
    webhook = body.get("webhook") if isinstance(body, dict) else None
    return webhook if isinstance(webhook, dict) else {}


def _signing_secret(status: int, secret: str) -> Answer:
    return json_answer(status, {"signing_secret": {"algorithm": "SHA256", "secret": secret}})


def _not_found(webhook_id: str) -> Answer:
    return _errors(404, "WebhookNotFound", [f"There is no webhook {webhook_id}."])


def _errors(status: int, code: str, details: list[str]) -> Answer:
    title = code if status == 403 else "Invalid webhook" if status == 400 else "Not found"
    return json_answer(status, {"errors": [{"code": code, "title": title, "detail": detail} for detail in details]})
