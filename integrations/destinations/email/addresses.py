"""Who gets a mapping's mails: the addresses of the first condition that applies to the post, else the usual ones.

As stored: [{"field": "network", "test": "is", "value": ["twitter"], "to": ["x-team@example.com"]}].
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from integrations.destinations.base import Context
from integrations.domain.conditions import Subject, judge
from integrations.domain.post import Post

MOST_ADDRESSES = 20


def recipients_of(post: Post, context: Context, settings: Mapping[str, Any]) -> list[str]:
    at = context.labelled_at or context.received_at or datetime.now(UTC)
    subject = Subject(post, at, lambda: None)
    for route in settings.get("routes") or []:
        if _applies(route, subject, str(settings.get("time_zone") or "")):
            return list(route["to"])
    return list(settings.get("to") or [])


def _applies(route: Mapping[str, Any], subject: Subject, time_zone: str) -> bool:
    """Surely: what cannot be said of a post does not send it elsewhere."""
    conditions = {"groups": [{"match": "all", "rows": [route]}], "time_zone": time_zone}
    return judge(conditions, subject).groups[0].rows[0].holds is True


def read_addresses(typed: str) -> list[str]:
    """Addresses separated by commas or line breaks, hosts in ASCII. Raises ValidationError."""
    found = list(dict.fromkeys(typed.replace(",", " ").replace(";", " ").split()))
    if len(found) > MOST_ADDRESSES:
        raise ValidationError(f"Enter at most {MOST_ADDRESSES} addresses.")
    return [read_address(each) for each in found]


def read_address(typed: str) -> str:
    """Raises ValidationError."""
    name, _, host = typed.strip().rpartition("@")
    try:
        address = f"{name}@{host.encode('idna').decode() if not host.isascii() else host}"
        # Django's check ignores case, and so lets pass what only looks like ASCII.
        address.encode("ascii")
        validate_email(address)
    except (ValidationError, UnicodeError):
        raise ValidationError(f"“{typed[:100]}” is not an e-mail address.") from None
    return address
