"""The Zendesk API: the account's rate limit and the routes."""

from uuid import uuid4

from sandbox import sign_in
from sandbox.exchange import Answer, Request, Routes, json_answer, text_answer
from sandbox.jobs import JobRunner
from sandbox.limits import Allowance, Limits
from sandbox.state import State
from sandbox.zendesk_answers import NO_SUCH_ENDPOINT, TOO_MANY_REQUESTS
from sandbox.zendesk_jobs import JobCalls
from sandbox.zendesk_lists import ListCalls
from sandbox.zendesk_oauth import OAuthCalls
from sandbox.zendesk_people import NOBODY, PeopleCalls
from sandbox.zendesk_tickets import TicketCalls
from sandbox.zendesk_webhooks import WebhookCalls


def with_request_id(answer: Answer) -> Answer:
    return answer if answer.header("x-request-id") else answer.plus(("x-request-id", uuid4().hex))


class ZendeskApi:
    def __init__(self, state: State, runner: JobRunner) -> None:
        self._state = state
        self._limits = Limits(state)
        self._open = Routes(*OAuthCalls(state).routes)
        self._routes = Routes(
            *TicketCalls(state, self._limits).routes,
            *JobCalls(state, runner, self._limits).routes,
            *ListCalls(state).routes,
            *PeopleCalls(state, self._limits).routes,
            *WebhookCalls(state).routes,
        )

    def answer(self, request: Request) -> Answer:
        if request.path.startswith("/oauth/"):
            return self._open.answer(request) or json_answer(404, NO_SUCH_ENDPOINT)
        allowance = self._limits.of_account()
        if allowance is None:
            return self._signed_in_answer(request)
        answer = _too_many(allowance) if allowance.exceeded else self._signed_in_answer(request)
        return answer.plus(*self._limits.account_headers(allowance))

    def reopen_windows(self) -> None:
        """The next request opens a new window, as after a change of the limits."""
        self._limits.reopen()

    def _signed_in_answer(self, request: Request) -> Answer:
        refusal = sign_in.refusal(self._state, request)
        if refusal and refusal.status == 401 and sign_in.asks_who(request):
            # Show Self is open to everyone: without valid credentials it answers 200 with an anonymous user.
            return json_answer(200, {"user": NOBODY})
        refusal = refusal or sign_in.role_refusal(self._state, request)
        return refusal or self._routes.answer(request) or json_answer(404, NO_SUCH_ENDPOINT)


def _too_many(allowance: Allowance) -> Answer:
    return text_answer(429, TOO_MANY_REQUESTS, ("Retry-After", str(allowance.resets)))
