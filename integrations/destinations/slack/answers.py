"""What Slack's answers mean: a table of its error codes, whichever way they come.

The Web API answers 200 with {"ok": false, "error": code}; an incoming webhook answers a status with the code as text.
Facts: docs.slack.dev/reference/methods/chat.postMessage (errors), docs.slack.dev/apis/web-api/rate-limits,
api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from integrations.destinations import base
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply

CODE = re.compile(r"[a-z][a-z_]{2,60}")
# Where Slack does not say how long: a channel takes about one message a second.
WAIT_SECONDS = 1.0
# Of a message that does not fit; it is sent once more without its blocks.
UNFIT = (
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "too_many_attachments",
    "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Meaning:
    """What happened, what to do, and where that is done: on the connection, which it pauses, or on the mapping.

    `is_uncertain`: the message may have been posted all the same. `is_limit`: it is sent after a while.
    """

    message: str
    remedy: str = ""
    at: str = ""
    is_uncertain: bool = False
    is_limit: bool = False


def _of_the_connection(message: str, remedy: str) -> Meaning:
    return Meaning(message, remedy, "connection")


def _of_the_mapping(message: str, remedy: str) -> Meaning:
    return Meaning(message, remedy, "mapping")


LIMIT = Meaning("Slack asks to send more slowly.", is_limit=True)
TROUBLE = Meaning("Slack has trouble, and may have posted the message all the same.", is_uncertain=True)
TOKEN = _of_the_connection(
    "Slack no longer accepts the bot token.",
    "Install the app in Slack again, enter the new token here and save; it resumes when the test passes.",
)
PERMISSION = _of_the_connection(
    "The Slack app lacks a permission.",
    "Add the scope in the app's settings under OAuth & Permissions, install the app again and enter the new token.",
)
FORBIDDEN = _of_the_connection(
    "A rule of the Slack workspace forbids posting.",
    "Ask a Slack administrator to allow the app, then press “Test connection” to resume.",
)
WEBHOOK_GONE = _of_the_connection(
    "This incoming webhook no longer works: it, its channel or its app is gone.",
    "Make a new incoming webhook in Slack, enter its URL here and save.",
)
CHANNEL = _of_the_mapping(
    "Slack does not find the channel: it is gone, or private without the app in it.",
    "Invite the app there with /invite and press “Retry now”, or choose another channel and press “Rebuild”.",
)
NOT_IN_CHANNEL = _of_the_mapping(
    "The app is not in the channel.", "Invite it there with /invite, then press “Retry now”."
)
ARCHIVED = _of_the_mapping("The channel is archived.", "Choose another channel in the mapping, then press “Rebuild”.")
PERSON = _of_the_mapping(
    "This person is not, or no longer, in the Slack workspace.",
    "Choose another person or a channel in the mapping, then press “Rebuild”.",
)
READ_ONLY = _of_the_mapping(
    "The app may not post in this channel.",
    "Choose another channel in the mapping and press “Rebuild”, or ask a Slack administrator.",
)
MESSAGES_TAB = _of_the_mapping(
    "The app may not write to people.",
    "Turn on its Messages tab, in the app's settings under App Home, then press “Retry now”.",
)
TOO_LONG = _of_the_mapping(
    "The message does not fit Slack's rules.", "Shorten or simplify the mapping's text, then press “Rebuild”."
)
FULL = Meaning(
    "The free Slack workspace is full and takes no more messages today.", "Press “Retry now” tomorrow.", "mapping"
)
NOT_CHANGED = _of_the_mapping(
    "The message that was to be changed is no longer there, or Slack does not let it be changed.",
    "Nothing is lost: the post itself was sent. Press “Cancel” if the message was deleted on purpose.",
)
THREAD = _of_the_mapping("The thread that it was to go into is no longer there.", "A message of its own is sent.")
MOVING = _of_the_connection(
    "The Slack workspace is being moved into an organisation.", "Press “Test connection” when that is done."
)

MEANINGS: dict[Meaning, str] = {
    LIMIT: "ratelimited rate_limited",
    TROUBLE: "internal_error fatal_error service_unavailable request_timeout rollup_error",
    TOKEN: "invalid_auth not_authed token_revoked token_expired account_inactive team_not_found",
    PERMISSION: "missing_scope not_allowed_token_type no_permission",
    FORBIDDEN: "ekm_access_denied app_access_restricted access_denied action_prohibited team_access_not_granted "
    "posting_to_general_channel_denied org_login_required",
    WEBHOOK_GONE: "no_service no_service_id no_team team_disabled invalid_token no_active_hooks",
    CHANNEL: "channel_not_found",
    NOT_IN_CHANNEL: "not_in_channel",
    ARCHIVED: "is_archived channel_is_archived is_inactive",
    PERSON: "user_not_found users_not_found user_disabled user_not_visible cannot_dm_bot",
    READ_ONLY: "restricted_action restricted_action_read_only_channel restricted_action_thread_only_channel "
    "restricted_action_non_threadable_channel restricted_action_thread_locked",
    MESSAGES_TAB: "messages_tab_disabled",
    TOO_LONG: " ".join(UNFIT),
    NOT_CHANGED: "message_not_found cant_update_message edit_window_closed update_failed",
    THREAD: "thread_not_found cannot_reply_to_message",
    FULL: "message_limit_exceeded",
    MOVING: "team_added_to_org",
}
BY_CODE = {code: meaning for meaning, codes in MEANINGS.items() for code in codes.split()}
# A webhook belongs to one channel: what is told of the channel is told of the webhook.
OF_A_WEBHOOK = dict.fromkeys(("channel_not_found", "channel_is_archived", "user_not_found"), WEBHOOK_GONE)


def content_of(reply: Reply) -> Mapping[str, Any]:
    """The content of a Web API method's answer that says ok. Raises Failure for every other one."""
    content = reply.json_object()
    if reply.status == 200 and content.get("ok") is True:
        return content
    raise _failure(content.get("error"), reply, BY_CODE)


def accept_webhook(reply: Reply) -> None:
    """Raises Failure unless an incoming webhook took the message: status 200 and the text “ok”."""
    text = reply.text.strip()
    if reply.status != 200 or text != "ok":
        raise _failure(reply.json_object().get("error", text), reply, BY_CODE | OF_A_WEBHOOK)


def _failure(code: Any, reply: Reply, meanings: Mapping[str, Meaning]) -> Failure:
    if not isinstance(code, str) or not CODE.fullmatch(code):
        return base.refusal(reply, "Slack")
    if reply.status == 429:
        meaning = LIMIT
    elif code not in meanings and reply.status >= 500:
        meaning = TROUBLE
    else:
        usual = "Look the code up in Slack's documentation of chat.postMessage. Once it is fixed, press “Rebuild”."
        meaning = meanings.get(code) or _of_the_mapping(f"Slack refused the message ({code}).", usual)
    failure = Failure(
        f"{meaning.message}{_needed(reply)}",
        _own_words(code, reply),
        status=reply.status,
        permanent=bool(meaning.at),
        pauses=meaning.at == "connection" or meaning.is_limit,
        pause_seconds=(reply.retry_after() or WAIT_SECONDS) if meaning.is_limit else None,
        limited=meaning.is_limit,
        retry_after=reply.retry_after(),
        is_uncertain=meaning.is_uncertain,
        remedy=meaning.remedy,
        remedy_at=meaning.at,
    )
    failure.cause = code if code in UNFIT else ""
    failure.is_closed = meaning in (THREAD, NOT_CHANGED)
    return failure


def _needed(reply: Reply) -> str:
    """Slack names the scope that is missing."""
    needed = reply.json_object().get("needed")
    return f" It needs “{needed[:100]}”." if isinstance(needed, str) and needed else ""


def _own_words(code: str, reply: Reply) -> str:
    """The code, and what Slack says besides, such as which block it does not take."""
    more = reply.json_object().get("response_metadata")
    messages = more.get("messages") if isinstance(more, dict) else None
    lines = [line for line in messages if isinstance(line, str)] if isinstance(messages, list) else []
    return "\n".join([code, *lines])[: base.LONGEST_QUOTED]
