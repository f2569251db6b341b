"""Calls to Khoros' API: who am I, subscriptions, their events, labels.

Contract: developer.khoros.com/khorosmarketingdevdocs/reference/notification-service and .../create-a-subscription;
labels: .../reference/labelsets-api and .../reference/conversations-api. Of version 1 only registering is known.
Bodies of successful answers are not documented and JSON is declared as text/plain in places: an answer counts as a
success when its status is 2xx, it parses as JSON (or is empty, where nothing is read from it), and it does not say
`status.succeeded: false`. Every call raises Failure otherwise.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.sources.khoros.plan import uuid_of

PAGE_SIZE = 100
MOST_PAGES = 200
MOST_LABEL_PAGES = 50
# A page of events may be everything there is, where the size asked for is ignored.
EVENTS_CAP_BYTES = 24 * 1024 * 1024

# Codes in the platform's error envelope: upper case in one contract, lower case in another's example.
CODE_MEANINGS = {
    "UNAUTHENTICATED": "Khoros does not recognize the API token. Enter a new one on the company's page.",
    "UNAUTHORIZED": "The token's owner lacks permission in Khoros. Use a token from someone who has it.",
    "IP_ADDRESS_REJECTED": "Khoros refuses calls from this server's address. Ask Khoros' support to allow it.",
    "ACCOUNT_LOCKED": "The account that made the API token is locked. Unlock it in Khoros, or use another person's "
    "token.",
    "PASSWORD_EXPIRED": "The password of the account that made the API token has expired. Renew it in Khoros.",
}
STATUS_MEANINGS = {
    404: "Khoros could not find the requested item (404).",
    422: "Khoros refuses this change (422) and does not say why.",
    586: "There is no Khoros service at this address (586). Check KHOROS_API_URL.",
}
NEEDS_NO_PERSON = {"PROXY_UNROUTABLE_REQUEST", "PROXY_SERVER_FAILURE", "PROXY_ORIGIN_SERVER_FAILURE", "UNKNOWN_ERROR"}

ROW_NAMES = ("data", "subscriptions", "items", "events", "content", "results", "notifications")
LONE_ROW = {"uuid", "eventUuid", "eventName", "externalId"}


class TooMuchAtOnce(Failure):
    """The response exceeds the size limit; request fewer items."""


@dataclass(frozen=True)
class KhorosClient:
    """Calls Khoros as the owner of one API token, within one HttpClient's deadline."""

    http: HttpClient
    api_token: str

    def whoami(self) -> dict[str, Any]:
        """GET /v2/whoami: a bare object with `companies[].id` and `.products[].externalCompanyId`.

        The contract writes its path with a closing slash, the vendor's prose without: one of them answers.
        """
        try:
            return _object(self._call("GET", "/v2/whoami"))
        except Failure as failure:
            if failure.status not in (301, 302, 307, 308, 404):
                raise
        return _object(self._call("GET", "/v2/whoami/"))

    def subscriptions(self) -> list[dict[str, Any]]:
        """GET /v2/events/subscription, all pages: stops at the first page with no new rows.

        Whether numbering begins at 0 or 1 is not documented.
        """
        by_uuid: dict[str, dict[str, Any]] = {}
        for page in range(MOST_PAGES):
            listed = self._subscription_page(page)
            new = {uuid_of(row): row for row in listed if uuid_of(row) not in by_uuid}
            by_uuid |= new
            # Where numbering begins at 1, page 0 may be empty, refused or the same as page 1, so it stops only after
            # an empty page 1 or later, or a repeated page 2 or later. The length of a page proves nothing either.
            if (not listed and page > 0) or (not new and page > 1):
                return list(by_uuid.values())
        # Acting on half a list would duplicate what is in the other half.
        raise Failure(f"Khoros' list of subscriptions has more than {MOST_PAGES} pages.")

    def _subscription_page(self, page: int) -> list[dict[str, Any]]:
        path = f"/v2/events/subscription?pageNumber={page}&pageSize={PAGE_SIZE}"
        try:
            return _rows(self._call("GET", path))
        except Failure as failure:
            if _is_outside_the_list(failure, page):
                return []
            raise

    def subscription(self, uuid: str) -> dict[str, Any] | None:
        """GET /v2/events/subscription/{id}: None where there is none.

        The reply's content is not documented: what it shows beside the id may be nothing.
        """
        try:
            shown = self._call("GET", f"/v2/events/subscription/{quote(uuid, safe='')}", may_be_empty=True)
        except Failure as failure:
            if failure.status == 404:
                return None
            raise
        rows = [row for row in (_object(shown), *_rows(shown)) if uuid_of(row) in ("", uuid)]
        return max(rows, key=len, default={}) | {"uuid": uuid}

    def subscribe(self, subscription: dict[str, Any]) -> dict[str, Any]:
        """POST /v2/events/subscription. Creates, or updates the one of the same externalId.

        The documentation says both, and does not describe the reply to a success, so the list is read to see the
        result.
        """
        return _object(self._call("POST", "/v2/events/subscription", subscription, may_be_empty=True))

    def subscribe_v1(self, company_id: str, subscription: dict[str, Any]) -> None:
        """POST /v1/events/company/{id}/subscription, as the vendor's example of 2017 does; its answer is not read."""
        content = subscription | {"companyId": int(company_id) if company_id.isdigit() else company_id}
        path = f"/v1/events/company/{quote(company_id, safe='')}/subscription"
        self._call("POST", path, content, may_be_empty=True)

    def events(self, uuid: str, offset: int, limit: int) -> list[Any]:
        """GET /v2/events/data/{id}?offset=&limit=: some of the subscription's events, in whatever shape they come.

        Body, order and the meaning of `limit` are not documented; 404 at the beginning means that the subscription is
        gone, further on that the list is over. Raises TooMuchAtOnce when the answer is longer than we read.
        """
        path = f"/v2/events/data/{quote(uuid, safe='')}?offset={offset}&limit={limit}"
        headers = {"Authorization": f"Bearer {self.api_token}"}
        reply = self.http.call("GET", path, headers=headers, cap_bytes=EVENTS_CAP_BYTES, keep_reply=False)
        if reply.is_cut and 200 <= reply.status < 300:
            raise TooMuchAtOnce("Khoros' response is too large for Casebridge to read.", status=reply.status)
        if reply.status == 404 and offset:
            return []
        if 200 <= reply.status < 300 and (rows := _json_lines(reply.body)) is not None:
            return rows
        return _list_in(read_answer(reply, without_secrets=self.http.without_secrets), is_open=True)

    def labels(self) -> list[dict[str, str]]:
        """GET /v2/labelsets, all pages: [{"name", "set"}], without those that are not ACTIVE."""
        labels: dict[str, dict[str, str]] = {}
        sets_seen: set[str] = set()
        for page in range(MOST_LABEL_PAGES):
            sets = self._label_set_page(page)
            new = [row for row in sets if str(row.get("id") or row.get("name")) not in sets_seen]
            sets_seen |= {str(row.get("id") or row.get("name")) for row in new}
            for label in (label for row in new for label in _labels_of(row)):
                labels.setdefault(f"{label['set']}\n{label['name']}", label)
            if (not sets and page > 0) or (not new and page > 1):
                break
        return list(labels.values())

    def _label_set_page(self, page: int) -> list[dict[str, Any]]:
        try:
            return _rows(self._call("GET", f"/v2/labelsets?pageNumber={page}&pageSize={PAGE_SIZE}"))
        except Failure as failure:
            if _is_outside_the_list(failure, page):
                return []
            raise

    def content_labels(self, initiative_id: str) -> list[dict[str, str]]:
        """GET /v2/conversations/initiative/{id}/contentLabel: titles read "Set - Label"."""
        labels: dict[str, dict[str, str]] = {}
        for page in range(MOST_LABEL_PAGES):
            path = f"/v2/conversations/initiative/{quote(initiative_id, safe='')}/contentLabel"
            rows = self._content_label_page(f"{path}?q=&priority=&pageNumber={page}&pageSize={PAGE_SIZE}", page)
            titles = [str(row["title"]) for row in rows if row.get("title")]
            new = [title for title in titles if title not in labels]
            labels |= {title: _from_title(title, initiative_id) for title in new}
            if not new:
                break
        return list(labels.values())

    def _content_label_page(self, path: str, page: int) -> list[dict[str, Any]]:
        try:
            return _rows(self._call("GET", path))
        except Failure as failure:
            if page > 0 and failure.status == 404:
                return []
            raise

    def set_status(self, uuid: str, status: str) -> None:
        """PUT /v2/events/subscription/{id}/{ACTIVE|PAUSED|DISABLED}; 422 means that Khoros refuses the change."""
        self._call("PUT", f"/v2/events/subscription/{quote(uuid, safe='')}/{quote(status, safe='')}", may_be_empty=True)

    def delete(self, uuid: str) -> None:
        self._call("DELETE", f"/v2/events/subscription/{quote(uuid, safe='')}", may_be_empty=True)

    def retire(self, uuid: str) -> None:
        """Deletes it; being gone already counts as success."""
        try:
            self.delete(uuid)
        except Failure as failure:
            if failure.status != 404:
                raise

    def _call(self, method: str, path: str, content: Any = None, *, may_be_empty: bool = False) -> Any:
        headers = {"Authorization": f"Bearer {self.api_token}"}
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        reply = self.http.call(method, path, headers=headers, body=body)
        if reply.is_cut and 200 <= reply.status < 300:
            raise TooMuchAtOnce("Khoros' response is too large for Casebridge to read.", status=reply.status)
        return read_answer(reply, without_secrets=self.http.without_secrets, may_be_empty=may_be_empty)


def _is_outside_the_list(failure: Failure, page: int) -> bool:
    """Numbering may begin at 1, so page 0 may be refused; and a page after the last one may be told as not there."""
    return failure.status == 400 if page == 0 else failure.status == 404


def read_answer(reply: Reply, *, without_secrets: Any = str, may_be_empty: bool = False) -> Any:
    """The parsed body of a success. Raises Failure for everything else."""
    if 200 <= reply.status < 300 and not (may_be_empty and not reply.body.strip()):
        try:
            content = reply.json()
        except ValueError:
            if may_be_empty and not reply.looks_like_html:
                return None
            raise _failure(reply, "", without_secrets) from None
        if not _says_failed(content):
            return content
        raise _failure(reply, _own_text(content), without_secrets)
    if 200 <= reply.status < 300:
        return None
    raise _failure(reply, _own_text(reply.json_object()), without_secrets)


def _failure(reply: Reply, own_text: str, without_secrets: Any) -> Failure:
    detail = without_secrets(own_text or _beginning(reply))
    message, needs_person = _meaning(reply)
    return Failure(
        message,
        detail,
        permanent=needs_person,
        retry_after=reply.retry_after(),
        pauses=needs_person,
        status=reply.status,
    )


def _meaning(reply: Reply) -> tuple[str, bool]:
    """(message, whether it needs a person because waiting cannot help)."""
    text = reply.text[:20_000].lower()
    code = _error_code(reply)
    if "developer inactive" in text:
        return "Khoros says “Developer Inactive”: the API token has expired or was revoked. Enter a new one.", True
    if "does not allow the application" in text:
        return "The company does not allow this application. Ask Khoros' support to allow it.", True
    if code in CODE_MEANINGS:
        return CODE_MEANINGS[code], True
    if code in NEEDS_NO_PERSON:
        return f"Khoros has a problem ({code.lower().replace('_', ' ')}).", False
    return _meaning_of_status(reply)


def _meaning_of_status(reply: Reply) -> tuple[str, bool]:
    if reply.status in STATUS_MEANINGS:
        return STATUS_MEANINGS[reply.status], True
    if reply.status in (401, 403):
        return f"Khoros did not accept the API token ({reply.status}). Enter a new one on the company's page.", True
    if 300 <= reply.status < 400:
        redirected = f"Khoros redirected the request ({reply.status}). Casebridge does not follow redirects."
        return f"{redirected} Check KHOROS_API_URL.", True
    if reply.status == 429 or reply.status >= 500:
        return f"Khoros has a problem (status {reply.status}).", False
    if reply.looks_like_html:
        page = f"Khoros sent a web page (status {reply.status}) instead of data: the API token is wrong, or a proxy is"
        return f"{page} intercepting the request. Check the token and KHOROS_API_URL.", True
    if 200 <= reply.status < 300:
        return f"Khoros' response ({reply.status}) could not be read.", False
    return f"Khoros rejected the request ({reply.status}).", True


def _error_code(reply: Reply) -> str:
    status = reply.json_object().get("status")
    error = status.get("error") if isinstance(status, dict) else None
    code = error.get("code") if isinstance(error, dict) else ""
    return code.upper() if isinstance(code, str) else ""


def _beginning(reply: Reply) -> str:
    """The beginning of an error. Of an unreadable success nothing is quoted: it may hold others' bearer tokens."""
    if reply.looks_like_html:
        title = reply.text[:20_000].partition("<title>")[2].partition("</title>")[0].strip()
        return f"A web page titled “{title[:200]}”" if title else "A web page"
    return "" if 200 <= reply.status < 300 else reply.text[:500].strip()


def _says_failed(content: Any) -> bool:
    status = content.get("status") if isinstance(content, dict) else None
    return isinstance(status, dict) and status.get("succeeded") is False


def _own_text(content: Any) -> str:
    """`{"status": {"succeeded": false, "error": {"code", "message"}}}`, or whatever message there is."""
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
    return [row for row in _list_in(content) if isinstance(row, dict)]


def _json_lines(body: bytes) -> list[Any] | None:
    """Nothing, or one JSON text on each of several lines; None for anything else."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) == 1 or (lines and lines[0].strip() in (b"{", b"[")):
        return None
    try:
        return [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return None


def _list_in(content: Any, *, is_open: bool = False) -> list[Any]:
    """The list in an answer: bare, under `data`, or under a name below it. A lone object counts as a list of one.

    `is_open`: a list under an unknown name counts as well.
    """
    for _ in range(3):
        if isinstance(content, list):
            return content
        if not isinstance(content, dict):
            return []
        inner = next((content[name] for name in ROW_NAMES if isinstance(content.get(name), list | dict)), None)
        if "eventName" in content:
            return [content]
        if inner is None and is_open:
            inner = next((value for value in content.values() if isinstance(value, list) and value), None)
        if inner is None:
            return [content] if content.keys() & LONE_ROW else []
        content = inner
    return content if isinstance(content, list) else []


def _labels_of(label_set: dict[str, Any]) -> list[dict[str, str]]:
    labels = label_set.get("labels")
    rows = [row for row in labels if isinstance(row, dict)] if isinstance(labels, list) else []
    if not _is_active(label_set):
        return []
    set_name = str(label_set.get("name") or "")
    return [{"name": str(row["name"]), "set": set_name} for row in rows if row.get("name") and _is_active(row)]


def _is_active(row: dict[str, Any]) -> bool:
    return str(row.get("status") or "ACTIVE").upper() == "ACTIVE"


def _from_title(title: str, initiative_id: str) -> dict[str, str]:
    set_name, dash, name = title.partition(" - ")
    if not dash:
        return {"name": title, "set": f"initiative {initiative_id}"}
    return {"name": name, "set": f"{set_name} (initiative {initiative_id})"}
