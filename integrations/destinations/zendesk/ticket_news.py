"""What Zendesk reports about a ticket: signed calls of its webhooks, and replies about tickets. Pure.

Contract: developer.zendesk.com, Webhooks, "Verifying webhook authenticity" and "Ticket events"; API reference,
Ticketing, "Tickets". Bodies that an administrator writes in a trigger are read as well. What cannot be read is never
an error: the call was signed, so it is stored and acknowledged all the same.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from integrations.destinations.capabilities import StatusUpdate
from integrations.destinations.zendesk import answers
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply

__all__ = ["StatusUpdate", "gone", "read_event", "read_tickets", "signature_of", "unreadable", "verify"]

SIGNATURE = "X-Zendesk-Webhook-Signature"
TIMESTAMP = "X-Zendesk-Webhook-Signature-Timestamp"
INVOCATION = "X-Zendesk-Webhook-Invocation-Id"
# Zendesk publishes this one and signs test calls with it, so anyone could forge a signature.
PUBLIC_TEST_SECRET = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="  # noqa: S105
SHORTEST_SECRET = 16
FRESH = timedelta(minutes=5)

EVENT_PREFIX = "zen:event-type:"
TICKET_EVENT_PREFIX = "zen:event-type:ticket."
DELETIONS = {"zen:event-type:ticket.soft_deleted", "zen:event-type:ticket.permanently_deleted"}
UNDELETED = "zen:event-type:ticket.undeleted"
LONGEST_ID = 120
# An event's time follows the change at once; one further off says nothing about the order.
EVENT_WITHIN = timedelta(seconds=60)
# A ticket that was read later shows all changes of that second.
END_OF_SECOND = timedelta(microseconds=999_999)
OUR_EXTERNAL_ID = "khoros:"

# Those that a ticket can have, in their order.
STATUSES = ("new", "open", "pending", "hold", "solved", "closed", "deleted")
# Zendesk's words for a status, however written, and ours. With custom statuses, this is the category.
OUR_STATUS = {
    "new": "new",
    "open": "open",
    "pending": "pending",
    "hold": "hold",
    "on-hold": "hold",
    "on hold": "hold",
    "solved": "solved",
    "closed": "closed",
    "deleted": "deleted",
}


# --- Signed calls ----------------------------------------------------------------------------------------------------


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """base64(HMAC-SHA256(secret, timestamp + raw body))."""
    digest = hmac.new(secret.encode(), timestamp.encode("latin-1", "replace") + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def verify(secret: str, timestamp: str, body: bytes, signature: str, now: datetime) -> str:
    """Empty when the call is signed with the secret and its timestamp is fresh at `now`; else why it is not."""
    if not secret or secret == PUBLIC_TEST_SECRET:
        return "no signing secret for this webhook is stored"
    expected = signature_of(secret, timestamp, body).encode()
    if not hmac.compare_digest(expected, signature.encode("latin-1", "replace")):
        return "the signature does not match"
    signed_at = _moment(timestamp)
    if signed_at is None:
        return "the timestamp cannot be read"
    return "" if abs(now - signed_at) <= FRESH else "the timestamp is more than 5 minutes off"


def why_unfit_secret(secret: str) -> str:
    """Why this cannot be a webhook's own signing secret; empty when it may be."""
    if secret == PUBLIC_TEST_SECRET:
        return "This is the secret that Zendesk publishes for tests; enter the webhook's own."
    if len(secret) < SHORTEST_SECRET or not secret.isascii() or " " in secret:
        return "This is not a valid signing secret. Copy the entire secret from the webhook's page."
    return ""


# --- Events ----------------------------------------------------------------------------------------------------------


def read_event(body: bytes) -> tuple[str, str, StatusUpdate | None]:
    """(event id, kind, news) of Zendesk's own schema or of a trigger's body; empty and None where there is none."""
    content = _object(body)
    detail = content.get("detail")
    if isinstance(detail, dict):
        kind = _text(content.get("type"))
        return _text(content.get("id")), kind[:LONGEST_ID], _news_of_event(kind, content, detail)
    nested = content.get("ticket")
    return "", "trigger" if content else "", _news_of_trigger(content | (nested if isinstance(nested, dict) else {}))


def _news_of_event(kind: str, content: Mapping[str, Any], detail: Mapping[str, Any]) -> StatusUpdate | None:
    number = answers.ticket_number(detail)
    if number is None or (kind.startswith(EVENT_PREFIX) and not kind.startswith(TICKET_EVENT_PREFIX)):
        return None
    changed_at = _moment(detail.get("updated_at"))
    status = _status(detail.get("status"))
    is_deleted = kind in DELETIONS or (status == "deleted" and kind != UNDELETED)
    if is_deleted or kind == UNDELETED:
        # Deleting a ticket does not update `updated_at`, so its own time may be before the last one we know.
        changed_at = max(filter(None, [changed_at, _moment(content.get("time"))]), default=None)
    return StatusUpdate(
        number=str(number),
        status="" if status == "deleted" else status,
        assignee_id=_id(detail["assignee_id"]) if "assignee_id" in detail else None,
        changed_at=changed_at,
        ordered_at=_place_of(content, changed_at),
        is_deleted=is_deleted,
        is_ours=_is_ours(detail),
    )


def _place_of(content: Mapping[str, Any], changed_at: datetime | None) -> datetime | None:
    """The event's own time, and within it its place in `meta.sequence`: `updated_at` has whole seconds only."""
    time, event = _moment(content.get("time")), content.get("event")
    if changed_at is None or time is None or not changed_at <= time <= changed_at + EVENT_WITHIN:
        return None
    meta = event.get("meta") if isinstance(event, dict) else None
    sequence = meta.get("sequence") if isinstance(meta, dict) else None
    position = sequence.get("position") if isinstance(sequence, dict) else 0
    place = position if isinstance(position, int) and not isinstance(position, bool) else 0
    return time + timedelta(microseconds=min(max(place, 0), 999))


def _news_of_trigger(content: Mapping[str, Any]) -> StatusUpdate | None:
    """The administrator chooses the field names; these are the ones in our own instructions and Zendesk's."""
    raw = next((content[name] for name in ("ticket_id", "number", "id") if content.get(name)), None)
    number = answers.ticket_number({"id": raw.strip().removeprefix("#") if isinstance(raw, str) else raw})
    if number is None:
        return None
    status = _status(content.get("status_category")) or _status(content.get("status"))
    name = _text(content.get("assignee") or content.get("assignee_name"))
    has_assignee = any(key in content for key in ("assignee_id", "assignee", "assignee_name"))
    written = content.get("updated_at")
    return StatusUpdate(
        number=str(number),
        status="" if status == "deleted" else status,
        assignee_id=(_id(content.get("assignee_id")) if "assignee_id" in content or not name else None)
        if has_assignee
        else None,
        assignee_name=name,
        changed_at=_moment(written) if _has_seconds(written) else None,
        is_deleted=status == "deleted",
        is_ours=_is_ours(content),
    )


# --- Replies about tickets -------------------------------------------------------------------------------------------


def read_tickets(reply: Reply) -> list[StatusUpdate]:
    """The news in a reply about one ticket or many. Raises Failure when it is neither."""
    content = reply.json_object()
    tickets = content.get("tickets", [content["ticket"]] if "ticket" in content else None)
    if not isinstance(tickets, list):
        raise unreadable(reply)
    news_of_tickets = (_news_of_ticket(ticket) for ticket in tickets if isinstance(ticket, dict))
    return [news for news in news_of_tickets if news is not None]


def _news_of_ticket(ticket: Mapping[str, Any]) -> StatusUpdate | None:
    number, status = answers.ticket_number(ticket), _status(ticket.get("status"))
    changed_at = _moment(ticket.get("updated_at"))
    if number is None or not status:
        return None
    return StatusUpdate(
        number=str(number),
        status="" if status == "deleted" else status,
        assignee_id=_id(ticket["assignee_id"]) if "assignee_id" in ticket else None,
        changed_at=changed_at,
        ordered_at=changed_at + END_OF_SECOND if changed_at else None,
        is_deleted=status == "deleted",
        is_ours=_is_ours(ticket),
    )


def gone(number: str, reply: Reply) -> StatusUpdate:
    """The ticket is gone, as of the reply's time by Zendesk's clock."""
    try:
        moment = parsedate_to_datetime(reply.headers.get("date", ""))
    except (TypeError, ValueError):
        return StatusUpdate(number, is_deleted=True)
    return StatusUpdate(number, changed_at=moment if moment.tzinfo else moment.replace(tzinfo=UTC), is_deleted=True)


def unreadable(reply: Reply) -> Failure:
    message = "Zendesk's response about tickets could not be read."
    remedy = "If this keeps happening, check the connection's address."
    return Failure(f"{message} {remedy}", answers.excerpt(reply), status=reply.status)


# --- Values ----------------------------------------------------------------------------------------------------------


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _status(value: Any) -> str:
    return OUR_STATUS.get(_text(value).lower(), "")


def _id(value: Any) -> str:
    """An agent's id; empty for nobody, which the webhooks write as null, an empty text or 0."""
    number = answers.ticket_number({"id": value})
    return "" if number is None else str(number)


def _is_ours(ticket: Mapping[str, Any]) -> bool | None:
    return _text(ticket["external_id"]).startswith(OUR_EXTERNAL_ID) if "external_id" in ticket else None


def _moment(value: Any) -> datetime | None:
    text = _text(value)
    if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _has_seconds(value: Any) -> bool:
    """A trigger's placeholder may lack seconds, so it cannot order two changes in the same minute."""
    return re.match(r"\S{10}[T ]\d\d:\d\d:\d\d", _text(value)) is not None
