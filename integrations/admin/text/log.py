"""The log as text: what became of a post, what each try meant, what happens next. Reads rows, changes nothing."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from integrations.delivery import may_exist_text
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import Draws, FindsByExternalId, TellsStatus, no_second
from integrations.domain.post import Unreadable
from integrations.infra import database_clock
from integrations.infra.text import span_text, storable, timestamp
from integrations.mapping import post_of
from integrations.models import AccountSchema, Attempt, Delivery, Mapping, Notification
from integrations.outcomes import FailureGroup


def response_time_text(delivery: Delivery, now: datetime) -> str:
    """From the post to the ticket to the first solve: "ticket after 3 min, solved after 5 h 10 min"."""
    posted = delivery.posted_at
    if posted is None:
        return "Unknown: the notification does not say when the customer posted."
    if delivery.delivered_at is None:
        waits = delivery.state in Delivery.UNDELIVERED
        return f"Not delivered yet, {span_text(now - posted)} after the post" if waits else "Not delivered"
    after = f"{thing_of(delivery).capitalize()} after {span_text(delivery.delivered_at - posted)}"
    remote = delivery.remote_object
    if remote is not None and remote.solved_at is not None:
        return f"{after}, solved after {span_text(remote.solved_at - posted)}"
    if not tells_status(delivery):
        return after
    if remote is None or not remote.status:
        return f"{after}, status not known yet"
    return after if remote.status == "deleted" else f"{after}, not solved yet"


def thing_of(delivery: Delivery) -> str:
    """What the delivery becomes at its destination: "ticket"."""
    return DESTINATIONS[delivery.connection.kind].thing


def tells_status(delivery: Delivery) -> bool:
    return isinstance(DESTINATIONS[delivery.connection.kind], TellsStatus)


def _no_second(delivery: Delivery) -> str:
    sentence = no_second(DESTINATIONS[delivery.connection.kind])
    return f" {sentence}" if sentence else ""


def remote_state_text(delivery: Delivery) -> str:
    """Status and assignee, short: "open, Ann"."""
    remote = delivery.remote_object
    return f"{remote.status}, {remote.assignee or 'unassigned'}" if remote and remote.status else "–"


def status_text(delivery: Delivery) -> str:
    """The status and when it last changed, by the account's clock."""
    remote = delivery.remote_object
    if remote is None:
        return "–"
    if not remote.status or remote.changed_at is None:
        return "Not known yet."
    return f"{remote.status} (last change {timestamp(remote.changed_at)})"


State = Delivery.State
RESULTS: dict[str, str] = {
    Delivery.Result.CREATED: "{thing} created.",
    Delivery.Result.ALREADY_THERE: "An earlier attempt had already created the {thing}.",
    Delivery.Result.FOUND: "{thing} found by its external ID.",
    Delivery.Result.APPENDED: "Added to an earlier {thing}.",
}
LONGEST_RAW = 20_000


# --- A delivery ------------------------------------------------------------------------------------------------------


def state(delivery: Delivery) -> str:
    if delivery.state == State.DELIVERED:
        how = RESULTS[delivery.result].format(thing=thing_of(delivery)) if delivery.result in RESULTS else ""
        how = how[:1].upper() + how[1:]
        return f"Delivered at {timestamp(delivery.delivered_at)}. {how}".strip()
    if delivery.state == State.FAILED:
        return f"Failed. {delivery.last_error}"
    return delivery.get_state_display()


def head_sentence(delivery: Delivery) -> str:
    """What a person wants to know first: what went wrong and what to do, or what happens next, or what there is."""
    if delivery.state == State.FAILED:
        return f"{_first_line(delivery.last_error)}\n{what_happens_next(delivery)}"
    if delivery.state == State.DELIVERED:
        return "\n".join(filter(None, [state(delivery), delivery.remarks, what_happens_next(delivery)]))
    problem = f"{_first_line(delivery.last_error)}\n" if delivery.state == State.PENDING else ""
    return f"{problem}{what_happens_next(delivery)}".strip()


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def head_quoted(delivery: Delivery) -> str:
    """What the account itself said, where that matters now."""
    matters = delivery.state in (State.FAILED, State.PENDING)
    return delivery.last_error.partition("\n")[2].strip() if matters else ""


def next_try(delivery: Delivery) -> str:
    if delivery.state != State.PENDING:
        return "–"
    if why := why_connection_is_shut(delivery):
        return f"When “{delivery.connection.name}” {why}"
    at = delivery.next_attempt_at
    return "Now" if at is None or at <= database_clock.now() else timestamp(at)


def waits_for_its_time(delivery: Delivery) -> bool:
    """Whether it waits only for the time of its next try."""
    at = delivery.next_attempt_at
    is_later = delivery.state == State.PENDING and at is not None and at > database_clock.now()
    return is_later and not why_connection_is_shut(delivery)


def why_connection_is_shut(delivery: Delivery) -> str:
    connection = delivery.connection
    if not connection.is_active:
        return "is turned on again"
    if not connection.is_paused(database_clock.now()):
        if connection.breaker_opened_at is not None and connection.breaker_probe_at is not None:
            return f"can be reached again (next check at {timestamp(connection.breaker_probe_at)})"
        return ""
    return f"resumes at {timestamp(connection.paused_until)}" if connection.paused_until else "is resumed"


def what_happens_next(delivery: Delivery) -> str:
    if delivery.state == State.DELIVERED:
        return _after_delivery(delivery)
    if delivery.state == State.CANCELLED:
        button = "Retry now" if delivery.is_rendered else "Rebuild"
        message = f"Nothing: it was cancelled. To send it anyway, press “{button}”."
        return f"{message} {may_exist_text(delivery)}" if delivery.is_uncertain else message
    if delivery.state == State.FAILED:
        return _after_failure(delivery)
    if delivery.state == State.WAITING:
        return _waits_for(delivery)
    if delivery.state == State.HELD:
        number = delivery.flood_hold.number if delivery.flood_hold else "?"
        return f"Held under {thing_of(delivery)} {number}. It is sent when the flood hold is released."
    if delivery.state == State.SENDING:
        return _while_sending(delivery)
    if why := why_connection_is_shut(delivery):
        return f"Waiting. It is sent when the connection “{delivery.connection.name}” {why}."
    if delivery.look_up_next and _no_second(delivery):
        looked_up = f"An earlier attempt may have created the {thing_of(delivery)}, so Casebridge looks for it first."
        return f"Next attempt: {_inside(next_try(delivery))}. {looked_up}{_no_second(delivery)}"
    reassurance = _no_second(delivery) if delivery.is_uncertain else ""
    return f"Next attempt: {_inside(next_try(delivery))}.{reassurance}"


def _while_sending(delivery: Delivery) -> str:
    if delivery.batch_id and delivery.batch and not delivery.batch.finished_at:
        return f"It was sent in a batch and is being processed (job {delivery.batch.number or 'not known yet'})."
    if delivery.claimed_until and delivery.claimed_until <= database_clock.now():
        shut = why_connection_is_shut(delivery)
        when = f"when the connection “{delivery.connection.name}” {shut}" if shut else "within a minute"
        return f"The process stopped before an answer arrived. It continues {when}.{_no_second(delivery)}"
    return "It is being sent right now."


def _waits_for(delivery: Delivery) -> str:
    if delivery.burst is not None and delivery.burst.report is not None:
        report = delivery.burst.report
        return (
            f"Waiting for the message that counts it (delivery {report.pk}), which is "
            f"{report.get_state_display().lower()}. “Rebuild” sends it as a message of its own now."
        )
    first = delivery.follows
    if first is None:
        return "Waiting."
    otherwise = "it is sent without" if delivery.mapping.without_first == "send" else "it is not sent"
    return (
        f"Waiting for “{first.mapping}” (delivery {first.pk}), which is {first.get_state_display().lower()}: it is "
        f"sent when that {thing_of(first)} exists. If there will be none, {otherwise}. “Rebuild” sends it now."
    )


def _after_delivery(delivery: Delivery) -> str:
    title = DESTINATIONS[delivery.connection.kind].title
    remote = delivery.remote_object
    if remote is not None and remote.status == "deleted":
        return f"Nothing: the {thing_of(delivery)} was created and later deleted in {title}."
    if remote is None or not remote.url:
        return f"Nothing: {title} has taken it."
    if not isinstance(DESTINATIONS[delivery.connection.kind], TellsStatus):
        return f"Nothing: the {thing_of(delivery)} was sent."
    return f"Nothing: the {thing_of(delivery)} exists. To change it, edit it in {title}."


def _inside(text: str) -> str:
    """A cell of a list, within a sentence."""
    return f"{text[:1].lower()}{text[1:]}"


def _after_failure(delivery: Delivery) -> str:
    if not delivery.is_rendered:
        message = "Nothing until you fix the mapping. Then press “Rebuild”."
    elif delivery.was_refused:
        message = (
            f"Nothing until you fix the cause: the same {thing_of(delivery)} would be refused again. If the mapping "
            "was wrong, correct it and press “Rebuild”. Otherwise fix the cause and press “Retry now”."
        )
    elif delivery.is_uncertain:
        message = "Nothing until you act."
    else:
        message = "Nothing until you act: all scheduled attempts were used. “Retry now” starts a new schedule."
    return f"{message} {may_exist_text(delivery)}" if delivery.is_uncertain else message


def decided(delivery: Delivery) -> str:
    """What becomes of the post, and why."""
    if delivery.decision:
        return delivery.decision
    message = ACTIONS[delivery.action].format(thing=thing_of(delivery))
    return f"{message} ({delivery.target_number})." if delivery.target_number else f"{message}."


ACTIONS: dict[str, str] = {
    Delivery.Action.CREATE: "New {thing}",
    Delivery.Action.APPEND: "Comment on a {thing}",
    Delivery.Action.FOLLOW_UP: "Follow-up to a closed {thing}",
    Delivery.Action.UPDATE: "Update of a {thing}",
}
PRIORITIES = {
    Delivery.Priority.LIVE: "Live (sent first)",
    Delivery.Priority.RETRY: "Retry (sent after live posts)",
    Delivery.Priority.BULK: "Bulk (sent after live posts and retries)",
}


def priority_text(delivery: Delivery) -> str:
    return PRIORITIES[Delivery.Priority(delivery.priority)]


def labelled(delivery: Delivery) -> str:
    if not delivery.labelled_again:
        return "Labelled once."
    became = (
        f"it already is {thing_of(delivery)} {delivery.number}"
        if delivery.number
        else "already covered by this delivery"
    )
    if delivery.state == State.CANCELLED:
        became = "it stays cancelled until someone presses “Retry now”"
    return f"Labelled {delivery.labelled_again + 1} times, last at {timestamp(delivery.labelled_again_at)}: {became}."


def delivery_text(delivery: Delivery) -> dict[str, Any]:
    """Everything the delivery's page shows: the post, the rendered request, every attempt."""
    destination = DESTINATIONS[delivery.connection.kind]
    return {
        "post": _post_rows(delivery),
        "thing": thing_of(delivery),
        "is_waiting": delivery.state == State.WAITING,
        "is_counted": delivery.result == Delivery.Result.COUNTED,
        "is_kept": delivery.has_content,
        "content": _content_rows(delivery),
        "drawn": destination.draw(delivery.request) if isinstance(destination, Draws) and delivery.request else [],
        "request": delivery.request[:LONGEST_RAW],
        "key": delivery.idempotency_key if isinstance(destination, FindsByExternalId) else "",
        "external_id": delivery.external_id,
        "judged": _judged(delivery),
        "attempts": [_attempt(attempt) for attempt in delivery.attempts.order_by("-number")[:100]],
    }


def _judged(delivery: Delivery) -> list[dict[str, Any]]:
    """How routing judged the mapping's conditions for this post."""
    outcomes = delivery.post.outcome if delivery.post else []
    return next((entry.get("judged", []) for entry in outcomes if entry.get("mapping") == delivery.mapping_id), [])


def _post_rows(delivery: Delivery) -> list[tuple[str, str]]:
    rows = [
        ("Post", delivery.post_id),
        ("Network", delivery.network or "Unknown"),
        ("Posted", timestamp(delivery.posted_at)),
    ]
    kept = delivery.post
    rows += [("Author", kept.author or "–"), ("Link", kept.link or "–")] if kept else []
    try:
        _, post = post_of(delivery)
    except Unreadable as unreadable:
        return [*rows, ("Text", kept.text if kept else str(unreadable))]
    followers = "–" if post.followers is None else f"{post.followers:,}"
    labels = ", ".join(post.labels) or "None in the notification"
    return [
        *rows,
        ("Followers", followers),
        ("Content type", post.content_type or "–"),
        ("Labels", labels),
        ("Text", post.text),
    ]


def _content_rows(delivery: Delivery) -> list[tuple[str, str]]:
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
        "meaning": attempt.meaning or "No result was recorded, so the outcome of this attempt is unknown.",
        "detail": attempt.detail,
        "request": attempt.request[:LONGEST_RAW],
        "calls": [call(exchange) for exchange in attempt.exchanges],
    }


def outcome(attempt: Attempt) -> str:
    return attempt.get_outcome_display() if attempt.finished_at else "Not finished (running or interrupted)"


def call(exchange: dict[str, Any]) -> str:
    """One call as text: request line, headers, reply. Secrets were removed before it was stored."""
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


def notification_facts(notification: Notification) -> dict[str, Any]:
    """What became of each post and mapping, and the body as it was received."""
    ids = [entry["delivery"] for entry in notification.outcome if entry.get("delivery")]
    deliveries = Delivery.objects.select_related("connection", "remote_object").in_bulk(ids)
    content = notification.content if notification.has_content else None
    return {
        "outcomes": [_outcome(entry, deliveries.get(entry.get("delivery"))) for entry in notification.outcome],
        "is_kept": content is not None,
        "body": readable_body(content.body) if content else "",
        "headers": "\n".join(f"{name}: {value}" for name, value in content.headers.items()) if content else "",
    }


def _outcome(entry: dict[str, Any], delivery: Delivery | None) -> dict[str, Any]:
    message = f"Nothing was sent: {entry.get('reason')}."
    if delivery is not None and not entry.get("made"):
        thing = f"{thing_of(delivery)} {delivery.number}"
        message = f"Labelled again: {f'already is {thing}' if delivery.number else 'already being delivered'}."
    elif delivery is not None:
        thing = f"{thing_of(delivery).capitalize()} {delivery.number}"
        message = f"{thing}." if delivery.number else f"{delivery.get_state_display()}."
    return {
        "post": entry.get("post"),
        "mapping": entry.get("mapping_name"),
        "delivery": delivery.pk if delivery else None,
        "message": message,
        "judged": entry.get("judged", []),
    }


def readable_body(body: bytes) -> str:
    """Indented if it is JSON, else as received; truncated for the page."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    cut = f"\n… ({len(text):,} characters in total)" if len(text) > LONGEST_RAW else ""
    return storable(text[:LONGEST_RAW]) + cut


def failures_address(group: FailureGroup) -> str:
    """The list of exactly these failures."""
    query = urlencode({"state__exact": "failed", "mapping__id__exact": group.mapping.pk, "cause": group.cause})
    return f"{reverse('admin:integrations_delivery_changelist')}?{query}"


def remedy_place(remedy_at: str, mapping: Mapping) -> tuple[str, str, bool] | None:
    """Where to apply the remedy: (model or address, link text, whether it is external); None where nowhere."""
    if remedy_at == "mapping":
        return "mapping", f"Open the mapping “{mapping.name}”", False
    if remedy_at == "connection":
        return "connection", f"Open the connection “{mapping.connection.name}”", False
    if remedy_at.startswith("/"):
        destination = DESTINATIONS[mapping.connection.kind]
        return f"{destination.origin(mapping.connection.settings)}{remedy_at}", f"Open it in {destination.title}", True
    return None
