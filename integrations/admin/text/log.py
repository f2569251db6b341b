"""The log in words: what became of a post, what each try meant, what happens next. Reads rows, changes nothing."""

import json
from datetime import datetime
from typing import Any

from integrations.delivery import may_exist_text
from integrations.destinations import DESTINATIONS
from integrations.domain.post import Unreadable
from integrations.infra import database_clock
from integrations.infra.text import span_text, storable, timestamp
from integrations.mapping import post_of
from integrations.models import AccountSchema, Attempt, Delivery, Notification

WITHOUT_A_TICKET = ("pending", "sending", "failed", "held")


def response_time_text(delivery: Delivery, now: datetime) -> str:
    """From the post to the ticket to the first solve: "ticket after 3 min, solved after 5 h 10 min"."""
    posted = delivery.posted_at
    if posted is None:
        return "Unknown: the notification does not tell when the customer posted."
    if delivery.delivered_at is None:
        waits = delivery.state in WITHOUT_A_TICKET
        return f"no ticket yet, {span_text(now - posted)} after the post" if waits else "no ticket"
    after = f"ticket after {span_text(delivery.delivered_at - posted)}"
    if delivery.solved_at is not None:
        return f"{after}, solved after {span_text(delivery.solved_at - posted)}"
    if not delivery.ticket_status:
        return f"{after}; whether it is solved is not known yet"
    return after if delivery.ticket_status == "deleted" else f"{after}, not solved yet"


def ticket_state_text(delivery: Delivery) -> str:
    """Status and assignee, short: "open, Ann"."""
    if not delivery.ticket_status:
        return "–"
    return f"{delivery.ticket_status}, {delivery.ticket_assignee or 'nobody'}"


def status_text(delivery: Delivery) -> str:
    """The status and since when it is known, by the account's clock."""
    if not delivery.ticket_number:
        return "–"
    if not delivery.ticket_status or delivery.ticket_changed_at is None:
        return "Not known yet."
    return f"{delivery.ticket_status} (last change {delivery.ticket_changed_at:%Y-%m-%d %H:%M:%S} UTC)"


State = Delivery.State
LONGEST_RAW = 20_000


# --- A delivery ------------------------------------------------------------------------------------------------------


def state(delivery: Delivery) -> str:
    if delivery.state == State.DELIVERED:
        return f"Delivered {timestamp(delivery.delivered_at)}: {delivery.get_result_display().lower()}."
    if delivery.state == State.FAILED:
        return f"Failed. {delivery.last_error}"
    return delivery.get_state_display()


def next_try(delivery: Delivery) -> str:
    if delivery.state != State.PENDING:
        return "–"
    if why := why_connection_is_shut(delivery):
        return f"when “{delivery.connection.name}” {why}"
    at = delivery.next_attempt_at
    return "now" if at is None or at <= database_clock.now() else timestamp(at)


def waits_for_its_time(delivery: Delivery) -> bool:
    """Whether nothing but the time of its next try keeps it waiting."""
    at = delivery.next_attempt_at
    is_later = delivery.state == State.PENDING and at is not None and at > database_clock.now()
    return is_later and not why_connection_is_shut(delivery)


def why_connection_is_shut(delivery: Delivery) -> str:
    connection = delivery.connection
    if not connection.is_active:
        return "is switched on again"
    if not connection.is_paused(database_clock.now()):
        if connection.breaker_opened_at is not None and connection.breaker_probe_at is not None:
            return f"is reached again (the next probe is at {timestamp(connection.breaker_probe_at)})"
        return ""
    return f"goes on at {timestamp(connection.paused_until)}" if connection.paused_until else "is resumed"


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
        number = delivery.flood_hold.ticket_number if delivery.flood_hold else "?"
        return f"It is held under the incident's ticket {number}. It is sent when the incident is released."
    if delivery.state == State.SENDING and delivery.batch_id and delivery.batch and not delivery.batch.finished_at:
        return f"It was handed over together with others; job {delivery.batch.number or '(no number yet)'} makes it."
    if delivery.state == State.SENDING:
        if delivery.claimed_until and delivery.claimed_until <= database_clock.now():
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
        message = (
            "Nothing by itself. As long as the cause stands, the same ticket will be refused again. If the mapping was "
            "wrong, correct it and use “Rebuild”, which renders the ticket anew; else mend the cause, then “Retry now”."
        )
    elif delivery.is_uncertain:
        message = "Nothing by itself."
    else:
        message = "Nothing by itself: all tries of the schedule were used. “Retry now” begins a new schedule."
    return f"{message} {may_exist_text(delivery)}" if delivery.is_uncertain else message


def decided(delivery: Delivery) -> str:
    """What is made of the post, and why that."""
    if delivery.decision:
        return delivery.decision
    message = delivery.get_action_display()
    return f"{message} ({delivery.target_number})." if delivery.target_number else f"{message}."


PRIORITIES = {
    Delivery.Priority.LIVE: "Live: goes before all others",
    Delivery.Priority.RETRY: "Retry: behind live ones, before bulk replays",
    Delivery.Priority.BULK: "Bulk: behind live ones and retries",
}


def priority_text(delivery: Delivery) -> str:
    return PRIORITIES[Delivery.Priority(delivery.priority)]


def labelled(delivery: Delivery) -> str:
    if not delivery.labelled_again:
        return "Labelled once."
    became = f"already ticket {delivery.ticket_number}" if delivery.ticket_number else "already in this delivery"
    if delivery.state == State.CANCELLED:
        became = "it stays cancelled until “Retry now” is used"
    times = "once more" if delivery.labelled_again == 1 else f"{delivery.labelled_again} more times"
    return f"Labelled {times}, last {timestamp(delivery.labelled_again_at)}: {became}."


def delivery_text(delivery: Delivery) -> dict[str, Any]:
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
        ("Posted", timestamp(delivery.posted_at)),
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
    lists = AccountSchema.lists_of(delivery.connection_id)
    return DESTINATIONS[delivery.connection.kind].describe(delivery.request, lists)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started": timestamp(attempt.started_at),
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
    message = notification.get_state_display()
    return f"{message}. {notification.reason}" if notification.reason else f"{message}."


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
    message = f"No ticket: {entry.get('reason')}."
    if delivery is not None and not entry.get("made"):
        ticket = f"already ticket {delivery.ticket_number}" if delivery.ticket_number else "already being delivered"
        message = f"Labelled again: {ticket}."
    elif delivery is not None:
        message = f"Ticket {delivery.ticket_number}." if delivery.ticket_number else f"{delivery.get_state_display()}."
    return {
        "post": entry.get("post"),
        "mapping": entry.get("mapping_name"),
        "delivery": delivery.pk if delivery else None,
        "message": message,
    }


def readable_body(body: bytes) -> str:
    """Indented where it is JSON, as received otherwise; cut for the page."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    cut = f"\n… ({len(text)} characters in all)" if len(text) > LONGEST_RAW else ""
    return storable(text[:LONGEST_RAW]) + cut
