"""Whose the API token is, what it sees, and when it ends."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.infra.http.failure import Failure
from integrations.infra.text import storable
from integrations.models import Company
from integrations.sources.khoros import token
from integrations.sources.khoros.client import KhorosClient

WARN_BEFORE_END = timedelta(days=60)


def record_token_owner(company: Company, client: KhorosClient) -> token.Owner | None:
    """Stores whose the token is and what it sees. A company that is not listed only warns; a refused token raises."""
    try:
        owner = token.owner(client.whoami())
    except Failure as failure:
        message = failure.text(with_remedy=False)
        _store(company, warning=message)
        if failure.status in (401, 403):
            raise
        return None
    _store(
        company,
        warning=token.company_warning(owner, company.company_id),
        token_owner=storable(owner.message),
        companies_seen=[{name: storable(text)[:200] for name, text in row.items()} for row in owner.companies],
    )
    return owner


def _store(company: Company, *, warning: str, **columns: Any) -> None:
    company.warning = storable(warning)
    Company.objects.filter(pk=company.pk).update(
        checked_at=Now(),
        warning=company.warning,
        token_expires_at=token.expiry(company.api_token.reveal()) or _told_with_the_token(company),
        **columns,
    )


def _told_with_the_token(company: Company) -> datetime | None:
    """Khoros said it when the token was issued; of a pasted one nothing is known."""
    return company.token_expires_at if company.token_by_consent else None


def token_ends_at(company: Company) -> datetime | None:
    """The earlier of the token's own expiry and 24 months after it was entered; None without a token."""
    if not company.api_token:
        return None
    by_age = (company.token_entered_at or company.created_at) + token.LIFETIME
    return min(company.token_expires_at or by_age, by_age)


def token_end_text(company: Company) -> str:
    """When the token ends and how that is known."""
    ends = token_ends_at(company)
    if ends is None:
        return "No API token is stored."
    if company.token_expires_at == ends:
        known = "as Khoros said when it was connected" if company.token_by_consent else "from the token itself"
    else:
        known = "assumed: 24 months after it was entered, as the token itself does not say"
    left = (ends - database_clock.now()).days
    when = (
        f"{-left} day{'' if left == -1 else 's'} ago"
        if left < 0
        else "today"
        if left == 0
        else f"in {left} day{'' if left == 1 else 's'}"
    )
    return f"{ends:%Y-%m-%d}, {when} ({known})."


def token_warning(company: Company) -> str:
    """A sentence once the token ends within 60 days; empty before."""
    ends = token_ends_at(company)
    if ends is None or ends - database_clock.now() > WARN_BEFORE_END:
        return ""
    verb = "expired" if ends <= database_clock.now() else "expires"
    remedy = (
        "It cannot be renewed: press “Connect to Khoros again” on the company's page and allow access there."
        if company.token_by_consent
        else "Create a new one in Khoros Marketing (Profile Settings, API Access Token) and enter it on the company's "
        "page."
    )
    return f"The API token of “{company}” {verb} on {ends:%Y-%m-%d}. {remedy}"
