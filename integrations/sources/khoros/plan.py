"""What to do at Khoros so that one feed is as wanted: pure, from the wanted state and a full list to steps.

No operation changes a subscription's query, address or token, and whether posting the same externalId updates in
place or makes a second one is documented both ways. So a difference is posted, the list is read again, and an older
one of ours is deleted only when another of ours, ACTIVE and equal to what is wanted, stands in that same list.
Only what bears this installation's externalId is touched.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One feed as it should stand at Khoros."""

    external_id: str
    event_name: str
    address: str
    bearer_token: str
    query: str
    label: str
    is_active: bool

    def body(self) -> dict[str, Any]:
        """The subscription object to post. `version` is left out: its values were never published."""
        content = {
            "externalId": self.external_id,
            "eventName": self.event_name,
            "notificationUri": self.address,
            "bearerToken": self.bearer_token,
        }
        return content | ({"query": self.query} if self.query else {})


@dataclass(frozen=True, slots=True)
class Step:
    """One call to make: post the wanted state, change a status, or delete an older one of ours."""

    action: Literal["post", "activate", "pause", "delete"]
    uuid: str = ""


def steps(wanted: Wanted, listed: list[dict[str, Any]], *, just_posted: bool = False) -> list[Step]:
    """The next steps. After a "post" the list has to be read again and asked anew with `just_posted`.

    `just_posted`: a list that still shows no equal one is believed to be late, so nothing is posted a second time.
    """
    own = ours(wanted, listed)
    equal = [row for row in own if is_equal(wanted, row)]
    if not wanted.is_active:
        return [Step("pause", uuid_of(row)) for row in own if status_of(row) == "ACTIVE"]
    if not equal:
        return [] if just_posted else [Step("post")]
    live = next((row for row in equal if status_of(row) in ("ACTIVE", "")), None)
    older = [row for row in listed if row.get("externalId") == wanted.external_id and uuid_of(row)]
    if live is None:
        return [Step("activate", uuid_of(newest(equal)))]
    if status_of(live) != "ACTIVE":
        return []
    return [Step("delete", uuid_of(row)) for row in older if uuid_of(row) != uuid_of(live)]


def ours(wanted: Wanted, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        row
        for row in listed
        if row.get("externalId") == wanted.external_id and event_name_of(row) == wanted.event_name and uuid_of(row)
    ]


def is_equal(wanted: Wanted, row: dict[str, Any]) -> bool:
    """Address and query as wanted, and the token too where Khoros shows it."""
    token = row.get("bearerToken")
    shows_another_token = isinstance(token, str) and not _is_masked(token) and token != wanted.bearer_token
    return (
        row.get("notificationUri") == wanted.address
        and (row.get("query") or "") == wanted.query
        and not shows_another_token
    )


def others_for_the_same(wanted: Wanted, listed: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Subscriptions that are not this one but fire for the same label: each makes a ticket of its own somewhere."""
    return [
        {
            "uuid": uuid_of(row),
            "externalId": str(row.get("externalId") or ""),
            "status": status_of(row),
            "query": str(row.get("query") or ""),
            "notificationUri": str(row.get("notificationUri") or ""),
        }
        for row in listed
        if row.get("externalId") != wanted.external_id
        and event_name_of(row) == wanted.event_name
        and _fires_for_the_same(wanted, str(row.get("query") or ""))
    ]


def _fires_for_the_same(wanted: Wanted, query: str) -> bool:
    if query in ("", wanted.query, wanted.label) or not wanted.query:
        return True
    try:
        return bool(wanted.label) and re.search(query, wanted.label) is not None
    except re.error:
        return False


def query_for(match: str, label: str) -> str:
    """Khoros' query is a regular expression: a label is escaped and not anchored ("Set - Label" is how it shows)."""
    if match == "everything":
        return ""
    return escaped(label) if match == "label" else label


def escaped(label: str) -> str:
    """Escapes what regular expressions treat specially, and nothing else: a plain label stays as it reads."""
    return re.sub(r"([\\.^$|?*+()\[\]{}])", r"\\\1", label)


# Our own token in an answer is masked on arrival (integrations.http.Line): seen so, it is ours.
SHOWN_INSTEAD_OF_OURS = "[removed]"


def _is_masked(token: str) -> bool:
    return token in ("", SHOWN_INSTEAD_OF_OURS) or set(token) <= {"*", "•", "x", "X"}


def uuid_of(row: dict[str, Any]) -> str:
    key = row.get("key")
    return str(row.get("uuid") or (key.get("uuid") if isinstance(key, dict) else "") or row.get("id") or "")


def event_name_of(row: dict[str, Any]) -> str:
    key = row.get("key")
    return str(row.get("eventName") or (key.get("eventName") if isinstance(key, dict) else "") or "")


def status_of(row: dict[str, Any]) -> str:
    return str(row.get("status") or "").upper()


def newest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda row: str(row.get("createdDate") or ""))


def company_warning(whoami: dict[str, Any], company_id: str) -> str:
    """A sentence when the token does not see the company; both of Khoros' id spaces count."""
    known: list[str] = []
    for company in whoami.get("companies") or []:
        if not isinstance(company, dict):
            continue
        known.append(str(company.get("id")))
        products = [product for product in company.get("products") or [] if isinstance(product, dict)]
        known.extend(str(product.get("externalCompanyId")) for product in products)
    if company_id in known:
        return ""
    seen = ", ".join(dict.fromkeys(name for name in known if name)) or "none"
    return (
        f"The API token does not list the company {company_id} (it lists: {seen}). "
        "The feed was registered all the same; check the company id if no posts arrive."
    )
