"""Asking Khoros everything worth knowing about a company."""

from dataclasses import dataclass

import structlog

from integrations.companies.client import TEST_SECONDS, NoToken, company_client
from integrations.companies.labels import refresh_labels
from integrations.companies.registered import record_registered
from integrations.companies.token import record_token_owner, token_end_text, token_warning
from integrations.infra.http.failure import Failure
from integrations.models import Company, Installation
from integrations.sources.khoros import plan
from integrations.sources.khoros.client import KhorosClient

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a test of the connection found; `is_good` is None for what could not be asked."""

    is_good: bool | None
    message: str


def check_company(company: Company) -> list[Finding]:
    """Asks Khoros whose the token is and what is registered, stores both, and returns the findings."""
    try:
        client = company_client(company, TEST_SECONDS)
    except NoToken as missing:
        return [Finding(False, str(missing))]
    findings = [*_check_token(company, client), *_check_registered(company, client)]
    company.refresh_from_db()
    findings.append(Finding(not token_warning(company), f"API token expires: {token_end_text(company)}"))
    return findings


def read_company(company_id: int) -> None:
    """Reads the token's owner, the registered subscriptions and the labels. Runs after a company was saved."""
    company = Company.objects.filter(pk=company_id).first()
    if company is not None:
        findings = check_company(company)
        refresh_labels(company)
        is_good = all(finding.is_good is not False for finding in findings)
        log.info("company read", company_id=company_id, is_good=is_good)


def _check_token(company: Company, client: KhorosClient) -> list[Finding]:
    try:
        owner = record_token_owner(company, client)
    except Failure as failure:
        return [_failed("The token could not be checked", failure)]
    if owner is None:
        return [Finding(False, f"The token could not be checked: {company.warning}")]
    seen = ", ".join(f"{row['name']} ({row['id']})" for row in owner.companies) or "none"
    findings = [Finding(True, f"The token belongs to {owner.message}. Companies it can access: {seen}.")]
    if company.warning:
        findings.append(Finding(False, company.warning))
    return findings


def _check_registered(company: Company, client: KhorosClient) -> list[Finding]:
    if company.api_version == Company.ApiVersion.V1:
        return [Finding(None, "Subscriptions were not checked: version 1 of the Khoros API cannot list them.")]
    try:
        listed = record_registered(company, client)
    except Failure as failure:
        return [_failed("The subscriptions could not be listed", failure)]
    prefix = plan.prefix_of(Installation.own_uuid())
    ours = sum(1 for row in listed if plan.whose(str(row.get("externalId") or ""), prefix) == "ours")
    return [Finding(True, f"Subscriptions at Khoros: {len(listed)}, of which {ours} created by this installation.")]


def _failed(what: str, failure: Failure) -> Finding:
    return Finding(False, f"{what}: {failure.text(' ', with_remedy=False)}")
