"""Calls to Slack: posting, and what a workspace has. One function for each question.

Facts: docs.slack.dev/reference/methods (chat.postMessage, chat.update, chat.getPermalink, conversations.list,
users.lookupByEmail, auth.test), docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Methods that only
read take their arguments in the query.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from integrations.destinations import base
from integrations.destinations.base import Check, Credentials, Receipt
from integrations.destinations.slack import answers
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply

NEEDED_SCOPES = ("chat:write",)
USEFUL_SCOPES = {
    "chat:write.public": "post in public channels without being invited",
    "channels:read": "list public channels",
    "groups:read": "list private channels",
    "im:write": "write to single people",
    "users:read.email": "find people by their e-mail address",
}
# What chat.update takes of a message (docs.slack.dev/reference/methods/chat.update).
UPDATED = ("text", "blocks", "metadata")
# How ids of channels begin; a person's conversation has another id than the person.
CHANNELS = ("C", "G")
MOST_PAGES, A_PAGE = 20, 200
# Reading has limits of its own at Slack, far above what is read here: it takes no permit from messages.
READING = "reading"
# What a webhook answers to a message without text: it works, and posts nothing.
NOTHING_TO_POST = {"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"}


def signs_in_by_webhook(settings: Mapping[str, Any]) -> bool:
    return settings.get("sign_in") != "bot"


# --- Posting ---------------------------------------------------------------------------------------------------------


def post_by_webhook(client: HttpClient, request: str, number: str, credentials: Credentials) -> Receipt:
    """Posts into the webhook's channel. Slack names no message, so it is known by our id. Raises Failure."""
    content = json.loads(request)
    content.pop("channel")
    answers.accept_webhook(_call_webhook(client, base.as_json(content), credentials))
    return Receipt(number, "", "created")


def post_by_bot(client: HttpClient, request: str, thread: str, credentials: Credentials) -> Receipt:
    """Posts into the request's channel, or into the thread of the message with this number. Raises Failure."""
    channel, _, moment = thread.partition(":")
    wanted = str(json.loads(request).get("channel") or "")
    if moment and wanted[:1] in CHANNELS and wanted != channel:
        raise Failure("The thread is in another channel than the mapping's.", permanent=True, is_closed=True)
    place = {"channel": channel, "thread_ts": moment} if moment else {}
    posted = _write(client, "chat.postMessage", base.as_json(json.loads(request) | place), credentials)
    channel, own = _text_of(posted, "channel"), _text_of(posted, "ts")
    if not channel or not own:
        raise Failure(
            "Slack posted the message but returned no link to it.",
            permanent=True,
            is_uncertain=True,
            was_done=True,
            remedy="Look for it in Slack. Retry it only if it is not there.",
            cause="Slack returned no link to a message",
        )
    link = _permalink(client, channel, own, credentials)
    return Receipt(thread, link, "appended") if moment else Receipt(f"{channel}:{own}", link, "created")


def update_by_bot(client: HttpClient, request: str, number: str, credentials: Credentials) -> Receipt:
    """Writes the message with this number anew. Raises Failure."""
    channel, _, moment = number.partition(":")
    content = {name: value for name, value in json.loads(request).items() if name in UPDATED}
    # Without its blocks given, Slack would keep those that it has.
    whole = {"blocks": [], **content, "channel": channel, "ts": moment}
    _write(client, "chat.update", base.as_json(whole), credentials)
    return Receipt(number, "", "updated")


def _text_of(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    return value if isinstance(value, str) else ""


def _permalink(client: HttpClient, channel: str, moment: str, credentials: Credentials) -> str:
    """Where people open it; empty where Slack does not say, as the message stands all the same."""
    try:
        found = _read(client, "chat.getPermalink", {"channel": channel, "message_ts": moment}, credentials)
    except Failure:
        return ""
    return str(found.get("permalink") or "")[:500]


# --- What a workspace has --------------------------------------------------------------------------------------------


def check(client: HttpClient, credentials: Credentials) -> list[Check]:
    """Tests the sign-in without posting. Raises Failure."""
    if signs_in_by_webhook(credentials.settings):
        reply = _call_webhook(client, base.as_json({"text": ""}), credentials)
        if reply.text.strip() not in NOTHING_TO_POST:
            answers.accept_webhook(reply)
        return [Check(True, "The webhook exists. Nothing was posted: only a test message shows where it posts.")]
    reply = client.call("GET", "/api/auth.test", headers=_headers(credentials), budget=READING)
    found = answers.content_of(reply)
    granted = {scope.strip() for scope in reply.headers.get("x-oauth-scopes", "").split(",") if scope.strip()}
    return [
        Check(True, f"Signed in to the workspace {found.get('team')} as {found.get('user')}."),
        *(_scope_checks(granted) if granted else []),
        *_people_checks(client, credentials),
    ]


def _scope_checks(granted: set[str]) -> Iterator[Check]:
    for scope in NEEDED_SCOPES:
        yield Check(scope in granted, f"The app {'may' if scope in granted else 'may not'} post ({scope}).")
    for scope, purpose in USEFUL_SCOPES.items():
        if scope not in granted:
            yield Check(None, f"Without the scope {scope} the app cannot {purpose}.")


def _people_checks(client: HttpClient, credentials: Credentials) -> Iterator[Check]:
    _, missing = _people(client, credentials)
    for problem in missing:
        yield Check(False, problem)


def read_lists(client: HttpClient, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
    """Channels and people: {"channels": [{"id", "name"}], "people": [{"id", "name"}]}. Raises Failure, NoPermit."""
    if signs_in_by_webhook(credentials.settings):
        return {}, {}
    lists: dict[str, Any] = {}
    problems: dict[str, str] = {}
    try:
        lists["channels"] = list(_channels(client, credentials))
    except Failure as failure:
        # Without the scope to list them, a channel's id can still be typed.
        problems["channels"] = failure.full_message
    lists["people"], missing = _people(client, credentials)
    if missing:
        problems["people"] = " ".join(missing)
    return lists, problems


def _people(client: HttpClient, credentials: Credentials) -> tuple[list[dict[str, str]], list[str]]:
    """Those whose addresses stand on the connection, and for whom Slack has nobody."""
    found, missing = [], []
    for address in str(credentials.settings.get("people") or "").split():
        try:
            found.append(_person(client, address, credentials))
        except Failure as failure:
            # A sign-in that is refused is told by the first call; a scope that is missing concerns people alone.
            missing.append(f"{address}: {failure.message}")
    return found, missing


def _channels(client: HttpClient, credentials: Credentials) -> Iterator[dict[str, str]]:
    cursor = ""
    for _ in range(MOST_PAGES):
        wanted = {"types": "public_channel,private_channel", "exclude_archived": "true", "limit": str(A_PAGE)}
        page = _read(client, "conversations.list", wanted | ({"cursor": cursor} if cursor else {}), credentials)
        listed = page.get("channels")
        for channel in listed if isinstance(listed, list) else []:
            if isinstance(channel, dict) and (own := _text_of(channel, "id")):
                yield {"id": own, "name": _text_of(channel, "name") or own}
        after = page.get("response_metadata")
        cursor = _text_of(after, "next_cursor") if isinstance(after, dict) else ""
        if not cursor:
            return


def _person(client: HttpClient, address: str, credentials: Credentials) -> dict[str, str]:
    found = _read(client, "users.lookupByEmail", {"email": address}, credentials).get("user")
    user = found if isinstance(found, dict) else {}
    if not (own := _text_of(user, "id")):
        raise Failure("Slack's answer about this person could not be read.")
    described = user.get("profile")
    profile = described if isinstance(described, dict) else {}
    name = _text_of(profile, "display_name") or _text_of(profile, "real_name") or _text_of(user, "name") or address
    return {"id": own, "name": f"{name} ({address})"}


# --- Calls -----------------------------------------------------------------------------------------------------------


def _headers(credentials: Credentials) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {credentials.secrets.get('bot_token', '')}",
        "Content-Type": "application/json; charset=utf-8",
    }


def _write(client: HttpClient, method: str, request: str, credentials: Credentials) -> Mapping[str, Any]:
    reply = client.call("POST", f"/api/{method}", headers=_headers(credentials), body=request.encode())
    return answers.content_of(reply)


def _read(client: HttpClient, method: str, arguments: dict[str, str], credentials: Credentials) -> Mapping[str, Any]:
    address = f"/api/{method}?{urlencode(arguments)}"
    reply = client.call("GET", address, headers=_headers(credentials), budget=READING)
    return answers.content_of(reply)


def _call_webhook(client: HttpClient, request: str, credentials: Credentials) -> Reply:
    path = urlsplit(credentials.secrets.get("webhook_url", "")).path or "/"
    # Who has the path can post: it is as secret as the whole.
    client.secrets = (*client.secrets, path)
    return client.call("POST", path, headers={"Content-Type": "application/json"}, body=request.encode())
