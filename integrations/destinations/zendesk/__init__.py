"""Zendesk Support as a destination: one ticket for each post."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from integrations.destinations.base import Check, Context, Credentials, Destination, Outgoing, Receipt, Rules
from integrations.destinations.capabilities import (
    Author,
    Budget,
    JobNews,
    Person,
    StatusUpdate,
    Token,
    Webhook,
)
from integrations.destinations.zendesk import (
    checks,
    comments,
    jobs,
    limits,
    oauth,
    people,
    pickers,
    schema,
    ticket,
    ticket_news,
    tickets,
    webhooks,
)
from integrations.destinations.zendesk.forms import ZendeskConnectionForm, ZendeskMappingForm, ZendeskMigrationForm
from integrations.destinations.zendesk.recipes import RECIPES
from integrations.domain.post import Post
from integrations.infra.http.client import HttpClient
from integrations.infra.http.reply import Reply


class Zendesk(Destination[HttpClient]):
    """It can do all but issue secrets and draw. `base` and `capabilities` say what each part promises."""

    kind = "zendesk"
    title = "Zendesk"
    thing = "ticket"
    connection_form = ZendeskConnectionForm
    mapping_form = ZendeskMappingForm
    recipes = RECIPES
    kept_headers = frozenset({"x-idempotency-lookup", "x-zendesk-api-warn"})

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        return ticket.build(post, context, settings, external_id)

    def send(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        if outgoing.action == "append":
            return comments.append(client, outgoing, credentials)
        return tickets.create(client, outgoing, credentials)

    def check(self, client: HttpClient, credentials: Credentials) -> list[Check]:
        return checks.check(client, credentials)

    def number_in(self, text: str) -> str:
        """Of an agent's page, of a customer's, or of the API."""
        found = re.search(r"/(?:tickets|hc/(?:[\w-]+/)?requests)/([0-9]{1,19})(?![0-9])", text)
        return found[1] if found else ""

    def rules(self, settings: Mapping[str, Any]) -> Rules:
        return Rules(
            case=settings.get("case") or "post",
            case_hours=int(settings.get("case_hours") or 24),
            requester=settings.get("requester") or "account",
            intake_user=str(settings.get("intake_user") or ""),
            adds_note=settings.get("context") == "note",
            shares_notes=bool(settings.get("forward_notes")),
        )

    def remarks(
        self, post: Post, context: Context, settings: Mapping[str, Any], lists: Mapping[str, Any] | None = None
    ) -> list[str]:
        return ticket.remarks(post, context, settings, lists)

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        return ticket.describe(request, lists)

    # --- FindsByExternalId, HasLimits, TakesMany ---

    key_trusted_seconds = tickets.KEY_TRUSTED_SECONDS
    limits = limits.LIMITS
    most_in_one_call = jobs.MOST_IN_ONE_CALL
    most_jobs = jobs.MOST_JOBS

    def find(self, client: HttpClient, external_id: str, credentials: Credentials) -> Receipt | None:
        return tickets.look_up(client, external_id, credentials)

    def read_budgets(self, budget: str, reply: Reply) -> list[Budget]:
        return limits.read_budgets(budget, reply)

    def send_many(self, client: HttpClient, requests: list[str], credentials: Credentials) -> str:
        return jobs.send_many(client, requests, credentials)

    def read_job(self, client: HttpClient, number: str, credentials: Credentials) -> JobNews | None:
        return jobs.read_job(client, number, credentials)

    def are_jobs_under_way(self, client: HttpClient, known: set[str], credentials: Credentials) -> bool | None:
        return jobs.are_under_way(client, known, credentials)

    def url_of(self, settings: Mapping[str, Any], number: str) -> str:
        return f"{self.origin(settings)}/agent/tickets/{number}"

    # --- AsksConsent, EndsSignIn ---

    migration_form = ZendeskMigrationForm

    def needs_token(self, settings: Mapping[str, Any]) -> bool:
        return settings.get("sign_in") in ("oauth_client", "oauth_code")

    def fetch_token(self, client: HttpClient, credentials: Credentials) -> Token:
        return oauth.fetch_token(client, credentials)

    def asks_consent(self, settings: Mapping[str, Any]) -> bool:
        return settings.get("sign_in") == "oauth_code"

    def authorization_url(self, settings: Mapping[str, Any], redirect_uri: str, state: str) -> str:
        return oauth.authorization_url(settings, redirect_uri, state)

    def exchange_code(self, client: HttpClient, credentials: Credentials, code: str, redirect_uri: str) -> Token:
        return oauth.exchange_code(client, credentials, code, redirect_uri)

    def refresh(self, client: HttpClient, credentials: Credentials, refresh_token: str) -> Token:
        return oauth.refresh(client, credentials, refresh_token)

    def why_no_consent(self, error: str, description: str, redirect_uri: str) -> str:
        return oauth.why_no_consent(error, description, redirect_uri)

    def sign_in_ends(self, settings: Mapping[str, Any]) -> date | None:
        return oauth.API_TOKENS_END if settings.get("sign_in") == "api_token" else None

    def end_text(self, ends: date, days_left: int) -> str:
        return oauth.end_text(ends, days_left)

    def migration_steps(self, settings: Mapping[str, Any]) -> tuple[str, list[str]]:
        return f"{self.origin(settings)}{oauth.CLIENTS_PAGE}", oauth.MIGRATION_STEPS

    def moved_settings(self, settings: Mapping[str, Any], client_id: str, scopes: str) -> dict[str, Any]:
        return {**settings, "sign_in": "oauth_client", "client_id": client_id, "scopes": scopes}

    # --- ChecksMappings, MarksTests ---

    test_text = ticket.TEST_TEXT

    def read_lists(self, client: HttpClient, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
        return schema.read_lists(client, credentials)

    def mapping_form_for(self, lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type[ZendeskMappingForm]:
        return pickers.mapping_form_for(lists, stored)

    def misfits(self, settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
        return schema.misfits(settings, lists)

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        return ticket.as_test(request, uuid)

    # --- KnowsPeople, SolvesCases, AddsNotes, HoldsFloods ---

    def user_name(self, client: HttpClient, user_id: str, credentials: Credentials) -> str:
        return people.user_name(client, user_id, credentials)

    def find_person(self, client: HttpClient, author: Author, credentials: Credentials) -> Person:
        return people.find_person(client, author, credentials)

    def with_requester(self, request: str, user_id: str) -> str:
        return ticket.with_requester(request, user_id)

    def status_of(self, client: HttpClient, number: str, credentials: Credentials) -> str:
        update = tickets.read_ticket(client, number, credentials)
        return "" if update.is_deleted else update.status

    def find_comment(
        self, client: HttpClient, number: str, external_id: str, credentials: Credentials
    ) -> Receipt | None:
        return comments.find(client, number, external_id, credentials)

    def as_comment(self, request: str, external_id: str) -> str:
        return ticket.as_comment(request, external_id)

    def as_follow_up(self, request: str, number: str) -> str:
        return ticket.as_follow_up(request, number)

    def build_note(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        return ticket.build_note(post, context, settings, external_id)

    def build_for_flood(self, settings: Mapping[str, Any], title: str, text: str, external_id: str) -> str:
        return ticket.build_for_flood(settings, title, text, external_id)

    # --- TellsStatus ---

    statuses = ticket_news.STATUSES
    webhook_steps = webhooks.STEPS
    most_read_at_once = tickets.MOST_READ_AT_ONCE

    def verify_webhook(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        timestamp, signature = headers.get(ticket_news.TIMESTAMP, ""), headers.get(ticket_news.SIGNATURE, "")
        return ticket_news.verify(secret, timestamp, body, signature, now)

    def why_unfit_secret(self, secret: str) -> str:
        return ticket_news.why_unfit_secret(secret)

    def event_key(self, headers: Mapping[str, str]) -> str:
        return headers.get(ticket_news.INVOCATION, "")

    def read_event(self, body: bytes) -> tuple[str, str, StatusUpdate | None]:
        return ticket_news.read_event(body)

    def read_many(self, client: HttpClient, numbers: Sequence[str], credentials: Credentials) -> list[StatusUpdate]:
        return tickets.read_tickets(client, numbers, credentials)

    def read_one(self, client: HttpClient, number: str, credentials: Credentials) -> StatusUpdate:
        return tickets.read_ticket(client, number, credentials)

    def set_up_webhook(self, client: HttpClient, name: str, endpoint: str, credentials: Credentials) -> Webhook:
        return webhooks.set_up(client, name, endpoint, credentials)

    def remove_webhook(self, client: HttpClient, webhook_id: str, credentials: Credentials) -> None:
        webhooks.remove(client, webhook_id, credentials)


ZENDESK = Zendesk()
