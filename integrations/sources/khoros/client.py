"""Calls to Khoros' API v2, as far as the registration of feeds needs them.

Contract: developer.khoros.com/khorosmarketingdevdocs/reference/notification-service and .../create-a-subscription.
Bodies of successful answers are not documented and JSON is declared as text/plain in places: an answer counts as a
success when its status is 2xx, it parses as JSON (or is empty, where nothing is read from it), and it does not say
`status.succeeded: false`. Every call raises http.Failure with words otherwise.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from integrations.http import Failure, Line, Reply
from integrations.sources.khoros.plan import uuid_of

PAGE_SIZE = 100
MOST_PAGES = 50


@dataclass(frozen=True)
class KhorosClient:
    """Speaks for the owner of one API token over one line."""

    line: Line
    api_token: str

    def whoami(self) -> dict[str, Any]:
        """GET /v2/whoami: a bare object with `companies[].id` and `.products[].externalCompanyId`."""
        return _object(self._call("GET", "/v2/whoami"))

    def subscriptions(self) -> list[dict[str, Any]]:
        """GET /v2/events/subscription, all pages. Numbering from 0 or 1 is undocumented: ends on nothing new."""
        found: dict[str, dict[str, Any]] = {}
        for page in range(MOST_PAGES):
            path = f"/v2/events/subscription?pageNumber={page}&pageSize={PAGE_SIZE}"
            listed = _rows(self._call("GET", path))
            new = {uuid_of(row): row for row in listed if uuid_of(row) not in found}
            found |= new
            # Page 1 may repeat page 0 where numbering begins at 1, so a repeat ends the walk only from page 2 on.
            # How long a page is proves nothing either: the size asked for may be ignored.
            if not listed or (not new and page > 1):
                break
        return list(found.values())

    def knows(self, uuid: str) -> bool:
        """GET /v2/events/subscription/{id}: whether it exists; what stands in the answer is not documented."""
        try:
            self._call("GET", f"/v2/events/subscription/{quote(uuid, safe='')}", may_be_empty=True)
        except Failure as failure:
            if failure.status == 404:
                return False
            raise
        return True

    def subscribe(self, subscription: dict[str, Any]) -> dict[str, Any]:
        """POST /v2/events/subscription. Creates, or updates the one of the same externalId: both have been stated."""
        return _object(self._call("POST", "/v2/events/subscription", subscription))

    def set_status(self, uuid: str, status: str) -> None:
        """PUT /v2/events/subscription/{id}/{ACTIVE|PAUSED|DISABLED}; 422 means that Khoros refuses the change."""
        self._call("PUT", f"/v2/events/subscription/{quote(uuid, safe='')}/{quote(status, safe='')}", may_be_empty=True)

    def delete(self, uuid: str) -> None:
        self._call("DELETE", f"/v2/events/subscription/{quote(uuid, safe='')}", may_be_empty=True)

    def _call(self, method: str, path: str, content: Any = None, *, may_be_empty: bool = False) -> Any:
        headers = {"Authorization": f"Bearer {self.api_token}"}
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        reply = self.line.call(method, path, headers=headers, body=body)
        return read_answer(reply, without_secrets=self.line.without_secrets, may_be_empty=may_be_empty)


def read_answer(reply: Reply, *, without_secrets: Any = str, may_be_empty: bool = False) -> Any:
    """The parsed body of a success. Raises Failure in words for everything else Khoros is known to answer."""
    if 200 <= reply.status < 300 and not (may_be_empty and not reply.body.strip()):
        try:
            content = reply.json()
        except ValueError:
            if may_be_empty and not reply.looks_like_html:
                return None
            raise _failure(reply, "", without_secrets) from None
        if not _says_failed(content):
            return content
        raise _failure(reply, _own_words(content), without_secrets)
    if 200 <= reply.status < 300:
        return None
    raise _failure(reply, _own_words(reply.json_object()), without_secrets)


def _failure(reply: Reply, own_words: str, without_secrets: Any) -> Failure:
    detail = without_secrets(own_words or _beginning(reply))
    words, needs_person = _meaning(reply)
    return Failure(
        words, detail, permanent=needs_person, retry_after=reply.retry_after(), pauses=needs_person, status=reply.status
    )


def _meaning(reply: Reply) -> tuple[str, bool]:
    """(our words, whether waiting cannot help)."""
    if "developer inactive" in reply.text[:20_000].lower():
        return "Khoros says “Developer Inactive”: the API token has expired or was revoked. Enter a new one.", True
    if reply.status in (401, 403):
        return f"Khoros did not accept the API token (answer {reply.status}). Enter a new one on the company.", True
    if reply.status == 586:
        return "Khoros knows no service at this address (answer 586). Check KHOROS_API_URL.", True
    if "does not allow the application" in reply.text[:20_000].lower():
        return "The company does not allow this application. Ask Khoros' support to allow it.", True
    if 300 <= reply.status < 400:
        return (
            f"Khoros answered with another address ({reply.status}), which is not followed. Check KHOROS_API_URL.",
            True,
        )
    if reply.status == 404:
        return "Khoros does not know what was asked for (answer 404).", True
    if reply.status == 429 or reply.status >= 500:
        return f"Trouble at Khoros (answer {reply.status}).", False
    if reply.looks_like_html:
        page = f"Khoros answered with a web page (answer {reply.status}) instead of data: the API token is wrong, or a"
        return f"{page} proxy stands between. Check the token and KHOROS_API_URL.", True
    if 200 <= reply.status < 300:
        return f"Khoros' answer ({reply.status}) could not be read.", False
    return f"Khoros refused (answer {reply.status}).", True


def _beginning(reply: Reply) -> str:
    if reply.looks_like_html:
        title = reply.text[:20_000].partition("<title>")[2].partition("</title>")[0].strip()
        return f"A web page titled “{title[:200]}”" if title else "A web page"
    return reply.text[:500].strip()


def _says_failed(content: Any) -> bool:
    status = content.get("status") if isinstance(content, dict) else None
    return isinstance(status, dict) and status.get("succeeded") is False


def _own_words(content: Any) -> str:
    """`{"status": {"succeeded": false, "error": {"code", "message"}}}`, or whatever message stands there."""
    if not isinstance(content, dict):
        return ""
    status = content.get("status")
    error = status.get("error") if isinstance(status, dict) else content.get("error")
    if isinstance(error, dict):
        return " ".join(str(error[key]) for key in ("code", "message") if error.get(key))[:500]
    return str(error or content.get("message") or content.get("description") or "")[:500]


def _object(content: Any) -> dict[str, Any]:
    """The object itself, bare or under `data`."""
    if isinstance(content, dict) and isinstance(content.get("data"), dict):
        return content["data"]
    return content if isinstance(content, dict) else {}


def _rows(content: Any) -> list[dict[str, Any]]:
    """The list in an answer: bare, under `data`, or under a name below it."""
    if isinstance(content, dict):
        content = next((content[name] for name in ROW_NAMES if isinstance(content.get(name), list | dict)), [])
    if isinstance(content, dict):
        content = next((content[name] for name in ROW_NAMES if isinstance(content.get(name), list)), [])
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []


ROW_NAMES = ("data", "subscriptions", "items", "events", "content", "results")
