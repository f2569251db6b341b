"""A Khoros company: its API token, its labels, and whatever is registered at Khoros in its name.

Promised: nothing that another installation registered is touched unless a person asked for it, and each change at
Khoros is written down before the call and completed after it.
"""

from integrations.companies.background import BACKGROUND
from integrations.companies.check import check_company
from integrations.companies.client import NoToken, company_client
from integrations.companies.consent import NotConsented, accept_company_consent, begin_company_consent
from integrations.companies.labels import refresh_labels
from integrations.companies.registered import change_other, is_forgotten, record_registered
from integrations.companies.token import record_token_owner, token_end_text, token_warning

__all__ = [
    "BACKGROUND",
    "NoToken",
    "NotConsented",
    "accept_company_consent",
    "begin_company_consent",
    "change_other",
    "check_company",
    "company_client",
    "is_forgotten",
    "record_registered",
    "record_token_owner",
    "refresh_labels",
    "token_end_text",
    "token_warning",
]
