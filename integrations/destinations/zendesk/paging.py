"""The next page of a list: at the account itself, or nowhere.

Contract: developer.zendesk.com, API reference, Introduction, "Pagination": by cursor (`meta` and `links`) or by number
(`next_page`); both name whole addresses.
"""

from typing import Any

from integrations.infra.http.addresses import path_within
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure


class LeadsElsewhere(Failure):
    """The next page is at another address, which would get our credentials: it is not called."""


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
        "Zendesk's answer names a next page at another address, which is not called.",
        client.without_secrets(address)[:200],
        permanent=True,
        remedy="Check the connection's address: it has to be the account's own, like https://example.zendesk.com.",
        remedy_at="connection",
        cause="The next page of a list is named at another address",
    )
