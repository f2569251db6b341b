"""What an API token and whoami say: whose it is, which companies it sees, when it expires.

A token made in Profile Settings is a JWT that lives for 24 months and survives password changes
(developer.khoros.com/khorosmarketingdevdocs/docs/getting-started-with-the-conversations-api). Its content is read
without a check of its signature: it serves as a reminder, and only a call proves that the token works.
"""

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from integrations.sources.khoros.dates import read_time

MOST_NAMED = 20
LIFETIME = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose the token is: name and address in `message`, and the companies with every id that Khoros has for each."""

    message: str
    companies: tuple[dict[str, str], ...]

    @property
    def company_ids(self) -> set[str]:
        return {known for company in self.companies for known in (company["id"], *company["other_ids"].split())}


def expiry(api_token: str) -> datetime | None:
    """When the token expires by its own claims; None where it is no JWT or has none."""
    content = _jwt_content(api_token)
    if expires_at := read_time(content.get("exp")):
        return expires_at
    issued_at = read_time(content.get("iat"))
    return issued_at + LIFETIME if issued_at else None


def _jwt_content(api_token: str) -> dict[str, Any]:
    parts = api_token.split(".")
    if len(parts) != 3:
        return {}
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def owner(whoami: dict[str, Any]) -> Owner:
    """From GET /v2/whoami, or the older /v2/me: both shapes of companies are read."""
    name = " ".join(str(whoami[key]) for key in ("firstName", "lastName") if whoami.get(key))
    email = str(whoami.get("email") or "")
    message = f"{name} ({email})" if name and email else name or email or "somebody without a name"
    companies = whoami.get("companies")
    rows = [row for row in companies if isinstance(row, dict)] if isinstance(companies, list) else []
    return Owner(message[:250], tuple(_company(row) for row in rows[:200]))


def _company(row: dict[str, Any]) -> dict[str, str]:
    products = row.get("products")
    known = [product for product in products if isinstance(product, dict)] if isinstance(products, list) else []
    other_ids = [row.get("directoryId"), *(product.get("externalCompanyId") for product in known)]
    names = [f"{product.get('name', '')} {product.get('externalCompanyId', '')}".strip() for product in known]
    return {
        "id": str(row.get("id") or ""),
        "name": str(row.get("name") or ""),
        "other_ids": " ".join(dict.fromkeys(str(other) for other in other_ids if other)),
        "products": ", ".join(name for name in names if name),
    }


def company_warning(token_owner: Owner, company_id: str) -> str:
    """A sentence if the token does not see the company; both of Khoros' id spaces count."""
    if company_id in token_owner.company_ids:
        return ""
    names = [f"{row['name']} {row['id']}".strip() for row in token_owner.companies]
    seen = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    seen = seen or "none"
    return (
        f"The API token does not list the company {company_id} (it lists: {seen}). "
        "Subscriptions are registered anyway. Check the company ID if no posts arrive."
    )
