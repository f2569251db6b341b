"""Zendesk Support as a destination: one ticket for each post."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from integrations.destinations.base import Budget, Context, Credentials, Receipt, TicketNews, Token, Webhook
from integrations.destinations.zendesk import answers, client, ticket, ticket_news, webhooks
from integrations.destinations.zendesk.forms import ZendeskConnectionForm, ZendeskMappingForm
from integrations.http import Line, Reply
from integrations.post import Post


class Zendesk:
    """See integrations.destinations.base.Destination for what each part promises."""

    kind = "zendesk"
    title = "Zendesk"
    connection_form = ZendeskConnectionForm
    mapping_form = ZendeskMappingForm

    def origin(self, settings: Mapping[str, Any]) -> str:
        return str(settings.get("address", ""))

    def external_id(self, post: Post, mapping_uuid: str) -> str:
        return ticket.external_id(post.post_id, mapping_uuid)

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        return ticket.build(post, context, settings, external_id)

    def describe(self, request: str) -> list[tuple[str, str]]:
        return ticket.describe(request)

    def needs_token(self, settings: Mapping[str, Any]) -> bool:
        return settings.get("sign_in") == "oauth_client"

    def fetch_token(self, line: Line, credentials: Credentials) -> Token:
        return client.fetch_token(line, credentials)

    def send(
        self, line: Line, request: str, external_id: str, key: str, credentials: Credentials, *, look_up_first: bool
    ) -> Receipt:
        return client.create(line, request, external_id, key, credentials, look_up_first)

    def read_budgets(self, budget: str, reply: Reply) -> list[Budget]:
        return answers.read_budgets(budget, reply)

    # --- What became of it (base.TellsStatus) ---

    def verify_webhook(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        timestamp, signature = headers.get(ticket_news.TIMESTAMP, ""), headers.get(ticket_news.SIGNATURE, "")
        return ticket_news.verify(secret, timestamp, body, signature, now)

    def event_key(self, headers: Mapping[str, str]) -> str:
        return headers.get(ticket_news.INVOCATION, "")

    def read_event(self, body: bytes) -> tuple[str, str, TicketNews | None]:
        return ticket_news.read_event(body)

    def read_tickets(self, line: Line, numbers: Sequence[str], credentials: Credentials) -> list[TicketNews]:
        return client.read_tickets(line, numbers, credentials)

    def read_ticket(self, line: Line, number: str, credentials: Credentials) -> TicketNews:
        return client.read_ticket(line, number, credentials)

    def set_up_webhook(self, line: Line, name: str, endpoint: str, credentials: Credentials) -> Webhook:
        return webhooks.set_up(line, name, endpoint, credentials)

    def remove_webhook(self, line: Line, webhook_id: str, credentials: Credentials) -> None:
        webhooks.remove(line, webhook_id, credentials)


ZENDESK = Zendesk()
