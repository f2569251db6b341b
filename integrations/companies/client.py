"""A client for Khoros that signs in with a company's token."""

from django.conf import settings

from integrations.infra.database_pool import release_database
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.client import HttpClient
from integrations.models import Company
from integrations.sources.khoros.client import KhorosClient

TEST_SECONDS = 20.0


class NoToken(Exception):
    """Khoros cannot be called for the company; the text says what to do."""


def company_client(company: Company, seconds: float, *secrets: str) -> KhorosClient:
    """A client that acts for the company. Raises NoToken."""
    try:
        api_token = company.api_token.reveal()
    except UnreadableSecret:
        raise NoToken(f"The API token of the company {UnreadableSecret.message}.") from None
    if not api_token:
        raise NoToken("The company has no API token yet. Enter it, or connect to Khoros, on the company's page.")
    client = HttpClient(
        settings.KHOROS_API_URL,
        seconds,
        name="Khoros",
        secrets=(api_token, *filter(None, secrets)),
        before_call=lambda _budget: release_database(),
    )
    return KhorosClient(client, api_token)
