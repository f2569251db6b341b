"""Zendesk Support as a destination: one ticket for each post."""

from collections.abc import Mapping
from typing import Any

from integrations.destinations.base import Budget, Context, Credentials, Receipt, Token
from integrations.destinations.zendesk import answers, client, pickers, schema, ticket
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

    def remarks(
        self, post: Post, context: Context, settings: Mapping[str, Any], lists: Mapping[str, Any] | None = None
    ) -> list[str]:
        return ticket.remarks(post, context, settings, lists)

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        return ticket.describe(request, lists)

    def mapping_form_for(self, lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type[ZendeskMappingForm]:
        return pickers.mapping_form_for(lists, stored)

    def read_lists(self, line: Line, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
        return schema.read_lists(line, credentials)

    def misfits(self, settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
        return schema.misfits(settings, lists)

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        return ticket.as_test(request, uuid)

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


ZENDESK = Zendesk()
