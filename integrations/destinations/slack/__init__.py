"""Slack: each post as a message to a channel or to one person, by an incoming webhook or by an app's bot.

Slack has no key that would recognise a repeat, and no way to find a message by our id. So what may have been posted is
sent once more at most, and the message carries the delivery's id.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from integrations.destinations import base
from integrations.destinations.base import Check, Context, Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import ACCOUNT, Budget, BurstNews, DrawnPart, Limit
from integrations.destinations.slack import account, answers, message, pickers
from integrations.destinations.slack.drawing import drawn
from integrations.destinations.slack.forms import ADDRESS, SlackConnectionForm, SlackMappingForm
from integrations.destinations.slack.recipes import RECIPES
from integrations.domain.post import Post
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply

CANCEL = "Press “Cancel”, or let the connection sign in with a bot token again and press “Retry now”."
# docs.slack.dev/apis/web-api/rate-limits: about one message a second to a channel, with short bursts.
MESSAGES_A_MINUTE = 60


class Slack(base.Destination[HttpClient]):
    kind, title, thing = "slack", "Slack", "message"
    connection_form, mapping_form = SlackConnectionForm, SlackMappingForm
    repeats_freely = False
    recipes = RECIPES
    kept_headers = frozenset({"x-slack-req-id"})

    def origin(self, settings: Mapping[str, Any]) -> str:
        return str(settings.get("address") or ADDRESS)

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        return message.build(post, context, settings, external_id)

    def send(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        """A message whose blocks Slack does not take is sent once more as plain text."""
        try:
            return self._post(client, outgoing, credentials)
        except Failure as failure:
            if failure.cause not in answers.UNFIT:
                raise
            unblocked = dataclasses.replace(outgoing, request=message.without_blocks(outgoing.request))
            plain = self._post(client, unblocked, credentials)
            warning = f"Slack did not take the message's layout ({failure.cause}), so it was sent as plain text."
            return Receipt(plain.number, plain.url, plain.how, warning)

    def check(self, client: HttpClient, credentials: Credentials) -> list[Check]:
        return account.check(client, credentials)

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        content, names = json.loads(request), pickers.names_of(lists or {})
        target = content["channel"]
        to = names.get(target, target) or "the webhook's channel"
        return [("To", to), *((name, value) for name, value in message.as_read(content) if value)]

    def has_lists(self, settings: Mapping[str, Any]) -> bool:
        return not account.signs_in_by_webhook(settings)

    def shown_number(self, number: str) -> str:
        return ""

    def number_in(self, text: str) -> str:
        """Of a message's link: https://example.slack.com/archives/C012/p1700000000123456"""
        found = re.search(r"/archives/([A-Z0-9]+)/p([0-9]{10})([0-9]{6})", text)
        return f"{found[1]}:{found[2]}.{found[3]}" if found else ""

    def rules(self, settings: Mapping[str, Any]) -> base.Rules:
        return base.Rules(
            case=str(settings.get("case") or "post"),
            case_hours=int(settings.get("case_hours") or 24),
            place=str(settings.get("target") or ""),
            marks_solved=bool(settings.get("marks_solved")),
            gathers_over=int(settings.get("gathers_over") or 0),
        )

    def unfit(self, settings: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, str]:
        return pickers.unfit(settings, account)

    def _post(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        """A webhook has neither threads nor updates: what was to be added is a message of its own."""
        if account.signs_in_by_webhook(credentials.settings):
            if outgoing.action == "update":
                raise Failure(
                    "An incoming webhook cannot change a message.",
                    permanent=True,
                    remedy=CANCEL,
                    remedy_at="connection",
                )
            return account.post_by_webhook(client, outgoing.request, outgoing.external_id, credentials)
        if outgoing.action == "update":
            return account.update_by_bot(client, outgoing.request, outgoing.target, credentials)
        return account.post_by_bot(client, outgoing.request, outgoing.target, credentials)

    # --- KeepsCases, CountsBursts ---

    def as_comment(self, request: str, external_id: str) -> str:
        return request

    def can_update(self, account_settings: Mapping[str, Any]) -> bool:
        return not account.signs_in_by_webhook(account_settings)

    def as_solved(self, request: str, sentence: str) -> str:
        return message.with_note(request, f":white_check_mark: {sentence}")

    def build_burst(self, news: BurstNews, settings: Mapping[str, Any], external_id: str) -> str:
        return message.build_burst(news, settings, external_id)

    # --- HasLimits, ChecksMappings, Draws, MarksTests ---

    limits: Mapping[str, Limit] = {ACCOUNT: Limit()}
    test_text = message.TEST_TEXT

    def read_budgets(self, budget: str, reply: Reply) -> list[Budget]:
        """Slack's answers name no limit; its documents do."""
        return [Budget(MESSAGES_A_MINUTE, None, None)]

    def read_lists(self, client: HttpClient, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
        return account.read_lists(client, credentials)

    def mapping_form_for(self, lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type[SlackMappingForm]:
        return pickers.mapping_form_for(lists, stored)

    def misfits(self, settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
        return pickers.misfits(settings, lists)

    def draw(self, request: str) -> list[DrawnPart]:
        return drawn(json.loads(request))

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        return message.as_test(request), f"khoros:test:{uuid}"


SLACK = Slack()
