"""The log in words: what became of a post, what each try meant, what happens next. Reads rows, changes nothing."""

import json
from datetime import datetime
from typing import Any

from integrations import account_schema, database_time
from integrations.destinations import DESTINATIONS
from integrations.models import Attempt, Delivery, Notification
from integrations.post import Unreadable, storable
from integrations.routing import post_of

State = Delivery.State
LONGEST_RAW = 20_000


def beginning(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "–"


# --- A delivery ------------------------------------------------------------------------------------------------------


def state(delivery: Delivery) -> str:
    if delivery.state == State.DELIVERED:
        return f"Delivered {moment(delivery.delivered_at)}: {delivery.get_result_display().lower()}."
    if delivery.state == State.FAILED:
        return f"Failed. {delivery.last_error}"
    return delivery.get_state_display()


def next_try(delivery: Delivery) -> str:
    if delivery.state != State.PENDING:
        return "–"
    if why := why_connection_is_shut(delivery):
        return f"when “{delivery.connection.name}” {why}"
    at = delivery.next_attempt_at
    return "now" if at is None or at <= database_time.now() else moment(at)


def waits_for_its_time(delivery: Delivery) -> bool:
    """Whether nothing but the time of its next try keeps it waiting."""
    at = delivery.next_attempt_at
    is_later = delivery.state == State.PENDING and at is not None and at > database_time.now()
    return is_later and not why_connection_is_shut(delivery)


def why_connection_is_shut(delivery: Delivery) -> str:
    connection = delivery.connection
    if not connection.is_active:
        return "is switched on again"
    if not connection.is_paused(database_time.now()):
        if connection.breaker_opened_at is not None and connection.breaker_probe_at is not None:
            return f"is reached again (the next probe is at {moment(connection.breaker_probe_at)})"
        return ""
    return f"goes on at {moment(connection.paused_until)}" if connection.paused_until else "is resumed"


def what_happens_next(delivery: Delivery) -> str:
    if delivery.state == State.DELIVERED:
        is_gone = delivery.ticket_status == "deleted"
        exists = "the ticket was made, and somebody deleted it in Zendesk" if is_gone else "the ticket exists"
        return f"Nothing more: {exists}.{'' if is_gone else ' Change it in Zendesk.'}"
    if delivery.state == State.CANCELLED:
        return "Nothing: it was cancelled. “Retry now” sends it after all."
    if delivery.state == State.FAILED:
        return _after_failure(delivery)
    if delivery.state == State.HELD:
        number = delivery.incident.ticket_number if delivery.incident else "?"
        return f"It is held under the incident's ticket {number}. It is sent when the incident is released."
    if delivery.state == State.SENDING and delivery.job_id and delivery.job and not delivery.job.finished_at:
        return f"It was handed over together with others; job {delivery.job.number or '(no number yet)'} makes it."
    if delivery.state == State.SENDING:
        if delivery.claimed_until and delivery.claimed_until <= database_time.now():
            shut = why_connection_is_shut(delivery)
            when = f"when the connection “{delivery.connection.name}” {shut}" if shut else "with the next sweep"
            return f"The try's process ended before there was an answer. It is taken up again {when}."
        return "It is being sent at this moment."
    if why := why_connection_is_shut(delivery):
        return f"It waits. It is sent when the connection “{delivery.connection.name}” {why}."
    if delivery.look_up_next:
        return f"Next try: {next_try(delivery)}. The ticket is looked up first, as an earlier try may have created it."
    return f"Next try: {next_try(delivery)}."


def _after_failure(delivery: Delivery) -> str:
    if not delivery.request:
        return "Nothing by itself. Correct the mapping, then use “Rebuild”."
    if delivery.was_refused:
        words = (
            "Nothing by itself. As long as the cause stands, the same ticket will be refused again. If the mapping was "
            "wrong, correct it and use “Rebuild”, which renders the ticket anew; else mend the cause, then “Retry now”."
        )
    elif delivery.is_uncertain:
        words = "Nothing by itself."
    else:
        words = "Nothing by itself: all tries of the schedule were used. “Retry now” begins a new schedule."
    return f"{words} {may_exist(delivery)}" if delivery.is_uncertain else words


def may_exist(delivery: Delivery) -> str:
    """Of a delivery whose outcome is unknown: what there may be, where to look for it, and that a retry does so."""
    title = DESTINATIONS[delivery.connection.kind].title
    search = f"search there for the external id {delivery.external_id}. “Retry now” looks there first and will not"
    if delivery.action == Delivery.Action.APPEND:
        where = f"in {title}, on ticket {delivery.target_number}, although none is recorded here"
        return f"A comment may exist {where}: {search} add a second comment."
    return f"A ticket may exist in {title} although none is recorded here: {search} create a second ticket."


def decided(delivery: Delivery) -> str:
    """What is made of the post, and why that."""
    if delivery.decision:
        return delivery.decision
    words = delivery.get_action_display()
    return f"{words} ({delivery.target_number})." if delivery.target_number else f"{words}."


LANES = {
    Delivery.Lane.LIVE: "Live: goes before all others",
    Delivery.Lane.RETRY: "Retry: behind live ones, before bulk replays",
    Delivery.Lane.BULK: "Bulk: behind live ones and retries",
}


def lane(delivery: Delivery) -> str:
    return LANES[Delivery.Lane(delivery.lane)]


def labelled(delivery: Delivery) -> str:
    if not delivery.labelled_again:
        return "Labelled once."
    became = f"already ticket {delivery.ticket_number}" if delivery.ticket_number else "already in this delivery"
    if delivery.state == State.CANCELLED:
        became = "it stays cancelled until “Retry now” is used"
    times = "once more" if delivery.labelled_again == 1 else f"{delivery.labelled_again} more times"
    return f"Labelled {times}, last {moment(delivery.labelled_again_at)}: {became}."


def story(delivery: Delivery) -> dict[str, Any]:
    """Everything the delivery's page tells: the post, the rendered ticket, every attempt."""
    return {
        "post": _post_rows(delivery),
        "ticket": _ticket_rows(delivery),
        "request": delivery.request[:LONGEST_RAW],
        "key": delivery.idempotency_key,
        "external_id": delivery.external_id,
        "attempts": [_attempt(attempt) for attempt in delivery.attempts.order_by("-number")[:100]],
    }


def _post_rows(delivery: Delivery) -> list[tuple[str, str]]:
    rows = [
        ("Post", delivery.post_id),
        ("Network", delivery.network or "unknown"),
        ("Author", delivery.author or "–"),
        ("Posted", moment(delivery.posted_at)),
        ("Link", delivery.link or "–"),
    ]
    try:
        _, post = post_of(delivery)
    except Unreadable:
        return [*rows, ("Text", delivery.text)]
    followers = "–" if post.followers is None else f"{post.followers:,}"
    labels = ", ".join(post.labels) or "none in the notification"
    return [
        *rows,
        ("Followers", followers),
        ("Content type", post.content_type or "–"),
        ("Labels", labels),
        ("Text", post.text),
    ]


def _ticket_rows(delivery: Delivery) -> list[tuple[str, str]]:
    if not delivery.request:
        return []
    lists = account_schema.lists_of(delivery.connection_id)
    return DESTINATIONS[delivery.connection.kind].describe(delivery.request, lists)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started": moment(attempt.started_at),
        "outcome": outcome(attempt),
        "kind": attempt.outcome or "unfinished",
        "status": attempt.status,
        "duration": f"{attempt.duration_ms} ms" if attempt.duration_ms is not None else "–",
        "meaning": attempt.meaning or "No end was written down: the outcome of this try is unknown.",
        "detail": attempt.detail,
        "request": attempt.request[:LONGEST_RAW],
        "calls": [call(exchange) for exchange in attempt.exchanges],
    }


def outcome(attempt: Attempt) -> str:
    return attempt.get_outcome_display() if attempt.finished_at else "Not finished: still running, or its process died"


def call(exchange: dict[str, Any]) -> str:
    """One call as text: the request line, its headers, the answer. Secrets were removed before it was stored."""
    lines = [f"{exchange.get('method')} {exchange.get('url')}"]
    lines += [f"{name}: {value}" for name, value in (exchange.get("headers") or {}).items()]
    if exchange.get("body_bytes"):
        lines.append(f"({exchange['body_bytes']} bytes of content)")
    lines += ["", f"→ {exchange.get('status') or exchange.get('error', 'no answer')}, {exchange.get('duration_ms')} ms"]
    lines += [f"{name}: {value}" for name, value in (exchange.get("reply_headers") or {}).items()]
    if exchange.get("reply"):
        lines += ["", str(exchange["reply"])]
    return "\n".join(lines)


# --- A notification --------------------------------------------------------------------------------------------------


def notification_state(notification: Notification) -> str:
    words = notification.get_state_display()
    return f"{words}. {notification.reason}" if notification.reason else f"{words}."


def notification_story(notification: Notification) -> dict[str, Any]:
    """What became of each post and mapping, and the body as it was received."""
    ids = [entry["delivery"] for entry in notification.outcome if entry.get("delivery")]
    deliveries = Delivery.objects.only("pk", "state", "ticket_number", "ticket_url", "last_error").in_bulk(ids)
    return {
        "outcomes": [_outcome(entry, deliveries.get(entry.get("delivery"))) for entry in notification.outcome],
        "body": readable_body(bytes(notification.body)),
        "headers": "\n".join(f"{name}: {value}" for name, value in notification.headers.items()),
    }


def _outcome(entry: dict[str, Any], delivery: Delivery | None) -> dict[str, Any]:
    words = f"No ticket: {entry.get('reason')}."
    if delivery is not None and not entry.get("made"):
        ticket = f"already ticket {delivery.ticket_number}" if delivery.ticket_number else "already being delivered"
        words = f"Labelled again: {ticket}."
    elif delivery is not None:
        words = f"Ticket {delivery.ticket_number}." if delivery.ticket_number else f"{delivery.get_state_display()}."
    return {
        "post": entry.get("post"),
        "mapping": entry.get("mapping_name"),
        "delivery": delivery.pk if delivery else None,
        "words": words,
    }


def readable_body(body: bytes) -> str:
    """Indented where it is JSON, as received otherwise; cut for the page."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    cut = f"\n… ({len(text)} characters in all)" if len(text) > LONGEST_RAW else ""
    return storable(text[:LONGEST_RAW]) + cut
