"""A company's token by a person's consent at Khoros, instead of one that is pasted."""

from django.conf import settings
from django.db.models.functions import Now

from integrations.infra.consent import PendingConsent
from integrations.infra.database_pool import release_database
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.models import Company
from integrations.sources.khoros import consent

EXCHANGE_SECONDS = 20.0


class NotConsented(Exception):
    """The consent did not lead to a token; the text says why and what to do."""


def begin_company_consent(company: Company, user_id: int, return_address: str) -> tuple[PendingConsent, str]:
    """What to keep in the person's session, and the address at Khoros to go to."""
    pending = PendingConsent.begin(company.pk, user_id, settings.KHOROS_LOGIN_URL)
    path = consent.authorization_path(company.oauth_client_id, return_address, pending.state)
    return pending, f"{settings.KHOROS_LOGIN_URL}{path}"


def accept_company_consent(company: Company, code: str, return_address: str) -> None:
    """Exchanges the code for a token and stores it. Raises NotConsented."""
    try:
        client_secret = company.oauth_client_secret.reveal()
    except UnreadableSecret:
        raise NotConsented(f"The client secret {UnreadableSecret.message}.") from None
    http = HttpClient(
        settings.KHOROS_LOGIN_URL,
        EXCHANGE_SECONDS,
        name="Khoros",
        secrets=(client_secret, code),
        before_call=lambda _budget: release_database(),
    )
    try:
        token = consent.exchange(http, company.oauth_client_id, client_secret, return_address, code)
    except Failure as failure:
        raise NotConsented(http.without_secrets(failure.text(" ", with_remedy=False))) from None
    # Only if nobody changed the client meanwhile: the token would be another's.
    unchanged = Company.objects.filter(pk=company.pk, oauth_client_id=company.oauth_client_id)
    stored = unchanged.update(
        api_token=Secret.of(token.value),
        token_entered_at=Now(),
        token_expires_at=token.expires_at,
        token_by_consent=True,
        warning="",
    )
    if not stored:
        raise NotConsented("Someone changed the company's client in the meantime. Review it and connect again.")
