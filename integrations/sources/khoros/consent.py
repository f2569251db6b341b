"""OAuth by a person's consent: where it is asked for, and what a code is exchanged for.

Facts: developer.khoros.com/khorosmarketingdevdocs, the contract of the Conversations API version 1: /v3/oauth/authorize
and /v3/oauth/token at login.spredfast.com. Client id and secret come from Khoros' support, which also allows the id for
a company. A token lives for two years; no renewal is documented, so a person consents again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.infra.text import is_token
from integrations.sources.khoros.client import read_answer
from integrations.sources.khoros.dates import read_time

LONGEST_TOKEN = 10_000
BAD_CLIENT = (
    "Khoros does not accept the client ID or secret. Check both under “OAuth by consent”; Khoros' support issues them "
    "and has to allow the ID for your company."
)


@dataclass(frozen=True, slots=True)
class ConsentedToken:
    """An access token, and when it ends; None where Khoros does not say."""

    value: str
    expires_at: datetime | None


def authorization_path(client_id: str, redirect_uri: str, state: str) -> str:
    """Where a person allows access, at Khoros' sign-in host."""
    asked = {"client_id": client_id, "response_type": "code", "redirect_uri": redirect_uri, "state": state}
    return f"/v3/oauth/authorize?{urlencode(asked)}"


def exchange(http: HttpClient, client_id: str, client_secret: str, redirect_uri: str, code: str) -> ConsentedToken:
    """The token for the code of a consent. Raises Failure; a wrong secret is answered with 500, or with a page."""
    form = {
        "client_id": client_id,
        "client_secret": client_secret,
        "redirect_uri": redirect_uri,
        "code": code,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = http.call("POST", "/v3/oauth/token", headers=headers, body=urlencode(form).encode(), keep_reply=False)
    content = _content(reply, http)
    inner = content.get("data")
    data = inner if isinstance(inner, dict) else content
    value = data.get("accessToken") or data.get("access_token")
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TOKEN or not is_token(value.strip()):
        raise Failure("Khoros answered without an access token.", status=reply.status)
    return ConsentedToken(value.strip(), read_time(data.get("expiryTime")))


def _content(reply: Reply, http: HttpClient) -> dict[str, Any]:
    if reply.status == 500 or (reply.looks_like_html and reply.status < 500):
        raise Failure(BAD_CLIENT, status=reply.status)
    content = read_answer(reply, without_secrets=http.without_secrets)
    return content if isinstance(content, dict) else {}


def why_none(error: str, description: str) -> str:
    """What it means that Khoros' page sent an error back instead of a code. Pure."""
    if error == "access_denied":
        return "Access was not allowed at Khoros, so nothing was changed. Connect again, and press “Allow” there."
    said = f"{error[:100]} {description[:300]}".strip()
    return f"Khoros sent no code but “{said}”. Check client id and redirect URL with Khoros' support."
