"""The next page of a list, only if it is on the account's own host.

Contract: developer.zendesk.com, API reference, Introduction, "Pagination": by cursor (`meta` and `links`) or by number
(`next_page`); both give absolute URLs.
"""

from typing import Any

from integrations.infra.http.addresses import path_within
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure


class LeadsElsewhere(Failure):
    """The next page is on another host; following it would leak our credentials."""


def next_page(client: HttpClient, content: dict[str, Any]) -> str:
    """The path of the list's next page; "" at its end. Raises LeadsElsewhere."""
    meta, links = content.get("meta"), content.get("links")
    if isinstance(meta, dict) and meta.get("has_more") is False:
        return ""
    address = (links.get("next") if isinstance(links, dict) else None) or content.get("next_page")
    if not isinstance(address, str) or not address:
        return ""
    path = path_within(client.origin, address)
    if path:
        return path
    raise LeadsElsewhere(
        "Zendesk's next-page link points to a different host, so Casebridge did not follow it.",
        client.without_secrets(address)[:200],
        permanent=True,
        remedy="Check the connection's address: it has to be the account's own, like https://example.zendesk.com.",
        remedy_at="connection",
        cause="The next-page link points to a different host",
    )
