"""What Zendesk's replies mean. Pure: from a reply to a Receipt, or to a Failure that says what to do.

Decided by status and codes, never by descriptions, which come in the account's language. Error bodies have several
shapes, and some are no JSON at all (developer.zendesk.com, API reference, Introduction, "Requests" and "Rate limits";
Ticketing, "Tickets" and "Idempotency").
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from integrations.destinations.base import Receipt
from integrations.destinations.zendesk import limits
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import LONGEST_WAIT_SECONDS, Reply

LONGEST_DETAIL = 1500
LONGEST_NUMBER = 19  # ids are 64-bit integers
LONGEST_CAUSE = 250
LONGEST_ADDRESS = 200
STATUS_PAGE = "status.zendesk.com"
# Where things are done in Zendesk: paths of its own pages.
API_USAGE_PAGE = "/admin/apps-integrations/apis/zendesk-api/usage"
TEAM_PAGE = "/admin/people/team/members"
SUSPENDED_PAGE = "/admin/people/configuration/end_users"

# Names for the fields that Zendesk's `details` are keyed by, or that are in a mapping.
FIELD_TEXT = {
    "base": "the ticket",
    "requester": "the requester",
    "group": "the group",
    "group_id": "the group",
    "assignee": "the assignee",
    "assignee_id": "the assignee",
    "brand": "the brand",
    "brand_id": "the brand",
    "ticket_form_id": "the form",
    "ticket_form": "the form",
    "comment": "the first comment",
    "description": "the first comment",
    "subject": "the subject",
    "status": "the status",
    "priority": "the priority",
    "type": "the type",
    "tags": "the tags",
    "custom_fields": "a custom field",
    "external_id": "the external ID",
}
# Inner codes of a 422 for something that the mapping names and that no longer exists.
GONE_CODES = {"InvalidValue", "RecordNotFound", "InactiveField", "FieldInactive", "NotFound"}


class UnreadableSuccess(Exception):
    """A 2xx whose body is not the ticket: it was probably created, and a look-up has to find out."""


class KeyConflict(Exception):
    """The idempotency key was used with another body: a look-up has to find what the earlier try created."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def read_created(reply: Reply, ticket_url: str) -> Receipt:
    """The receipt of a create. Raises UnreadableSuccess, KeyConflict or Failure."""
    if not 200 <= reply.status < 300:
        if reply.status == 400 and error_code(reply) == "IdempotentRequestError":
            raise KeyConflict(own_text(reply))
        raise failure(reply)
    ticket = reply.json_object().get("ticket")
    number = ticket_number(ticket)
    if number is None:
        raise UnreadableSuccess
    status = ticket.get("status") if isinstance(ticket, dict) else ""
    was_there = reply.headers.get("x-idempotency-lookup", "").strip().lower() == "hit"
    how = "already_there" if was_there else "created"
    warning = reply.headers.get("x-zendesk-api-warn", "")[:500]
    shown = status if isinstance(status, str) else ""
    return Receipt(str(number), ticket_url.format(number), how, warning, shown[:20])


def read_found(reply: Reply, external_id: str, ticket_url: str) -> Receipt | None:
    """The oldest ticket with this external id in a look-up's reply, or None. Raises Failure.

    The list is checked against the id: a reply that ignored the filter must not yield somebody else's ticket.
    """
    if not 200 <= reply.status < 300:
        raise failure(reply)
    tickets = reply.json_object().get("tickets")
    if not isinstance(tickets, list):
        raise Failure(
            "Zendesk's response to a lookup could not be read. If this keeps happening, check the connection's "
            "address.",
            excerpt(reply),
            look_up_next=True,
            is_uncertain=True,
            status=reply.status,
        )
    numbers = sorted(
        number
        for ticket in tickets
        if isinstance(ticket, dict) and ticket.get("external_id") == external_id
        if (number := ticket_number(ticket)) is not None
    )
    if not numbers:
        return None
    warning = f"{len(numbers)} tickets have this external ID: {', '.join(map(str, numbers))}" if numbers[1:] else ""
    return Receipt(str(numbers[0]), ticket_url.format(numbers[0]), "found", warning)


def ticket_number(ticket: Any) -> int | None:
    number = ticket.get("id") if isinstance(ticket, dict) else None
    if isinstance(number, str) and number.isascii() and number.isdigit():
        number = int(number[: LONGEST_NUMBER + 1])
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    return number if 0 < number < 10**LONGEST_NUMBER else None


def failure(reply: Reply) -> Failure:
    """What anything but 2xx means."""
    meaning = _by_status(reply)
    meaning.detail = meaning.detail or own_text(reply)
    meaning.status = reply.status
    meaning.cause = meaning.cause or shortened(meaning.message)
    return meaning


def _by_status(reply: Reply) -> Failure:
    if is_redirect(reply):
        return _elsewhere(reply)
    if reply.status == 401:
        return _unauthorized(reply)
    if reply.status == 403:
        return _forbidden(reply)
    if reply.status == 404:
        return _not_found(reply)
    if reply.status == 429 and error_code(reply) == "TooManyJobs":
        return _too_many_jobs(reply)
    if reply.status == 429:
        return Failure(
            "Zendesk's rate limit is reached. All integrations of the account share it.",
            retry_after=reply.retry_after(),
            pauses=True,
            pause_seconds=reply.retry_after(),
            limited=True,
            remedy="No action needed. If this happens often, lower the connection's share of the rate limit, or find "
            "out in Zendesk which integration uses the rest.",
            remedy_at=API_USAGE_PAGE,
        )
    if reply.status >= 500:
        return _server_error(reply)
    if reply.status == 422:
        return _invalid(reply)
    return _other_refusal(reply)


def is_redirect(reply: Reply) -> bool:
    return 300 <= reply.status < 400


def _elsewhere(reply: Reply) -> Failure:
    where = reply.headers.get("location", "")[:LONGEST_ADDRESS]
    to = f"{reply.status}, to {where}" if where else f"{reply.status}"
    return Failure(
        f"Zendesk redirected the request ({to}): the connection's address is wrong or has changed. "
        "Casebridge does not send credentials to a redirected address.",
        permanent=True,
        pauses=True,
        remedy="Correct the connection's address, then resume the connection.",
        remedy_at="connection",
    )


def _unauthorized(reply: Reply) -> Failure:
    if error_code(reply) == "invalid_token":
        return Failure(
            "Zendesk rejected the access token (401), and a new token did not help: the OAuth client or the "
            "consent was probably revoked.",
            permanent=True,
            pauses=True,
            renew_token=True,
            remedy="Enter valid credentials on the connection and save; it resumes when the test passes. If the "
            "connection uses consent, reconnect it to Zendesk there instead.",
            remedy_at="connection",
        )
    return Failure(
        "Zendesk rejected the sign-in (401): the token or email address is wrong, or the token was "
        "deactivated (API tokens end after 30 days without use, and all of them on 30 April 2027).",
        permanent=True,
        pauses=True,
        renew_token=True,
        remedy="Enter valid credentials on the connection and save; it resumes when the test passes.",
        remedy_at="connection",
    )


def _forbidden(reply: Reply) -> Failure:
    if "scope" in own_text(reply).lower():
        return Failure(
            "The connection's token is missing a scope (403).",
            permanent=True,
            pauses=True,
            remedy="Set the scopes to read write on the connection and save; it resumes when the test passes, and the "
            "test shows which scope is missing. If the connection uses consent, reconnect to Zendesk afterwards.",
            remedy_at="connection",
        )
    return Failure(
        "Zendesk does not allow this user to do that, or the plan does not include it (403).",
        permanent=True,
        remedy="Ask a Zendesk administrator to grant the connection's user permission, then retry.",
        remedy_at=TEAM_PAGE,
    )


def _not_found(reply: Reply) -> Failure:
    if "no help desk at" in reply.text[:5000].lower():
        return Failure(
            "There is no Zendesk account at this address (404): the subdomain is wrong or the account was removed.",
            permanent=True,
            pauses=True,
            remedy="Correct the connection's address, enter its secrets again and save; it resumes when the test "
            "passes.",
            remedy_at="connection",
        )
    if error_code(reply) == "RecordNotFound":
        return Failure(
            "Zendesk cannot find a record the ticket refers to (404): it was deleted or merged.",
            permanent=True,
            remedy="Check the mapping, then press “Rebuild”.",
            remedy_at="mapping",
        )
    return Failure(
        "This Zendesk account does not offer this function (404).",
        permanent=True,
        remedy="Check the connection's address.",
        remedy_at="connection",
    )


def _too_many_jobs(reply: Reply) -> Failure:
    named = next((limits.named_limit(value) for name, value in reply.headers.items() if "inflight-jobs" in name), None)
    seconds = reply.retry_after() or (named.reset_seconds if named else None) or 60.0
    return Failure(
        "The account's job queue is full: it accepts 30 jobs at a time from all integrations together.",
        retry_after=min(seconds, LONGEST_WAIT_SECONDS),
        is_queue_full=True,
        remedy="No action needed: sending continues when there is room.",
    )


def _server_error(reply: Reply) -> Failure:
    wait = reply.retry_after() if reply.status == 503 else None
    return Failure(
        f"Zendesk has a problem (status {reply.status}). See {STATUS_PAGE}.",
        retry_after=wait,
        is_uncertain=True,
        is_transport=reply.status in (502, 503, 504) or reply.looks_like_html,
        remedy="Retry once Zendesk has recovered.",
    )


def _invalid(reply: Reply) -> Failure:
    problems = list(_problems(reply.json_object().get("details")))
    codes = {code for _, code, _ in problems}
    about = {field for field, _, _ in problems}
    named = ", ".join(dict.fromkeys(FIELD_TEXT.get(field, f"“{field}”") for field, _, _ in problems)) or "the ticket"
    texts = "; ".join(text for _, _, text in problems if text)
    if "UserSuspended" in codes or (about == {"requester"} and "suspend" in own_text(reply).lower()):
        return Failure(
            "The requester is suspended in Zendesk (422).",
            permanent=True,
            is_about_requester=True,
            remedy="Unsuspend this user in Zendesk, then retry.",
            remedy_at=SUSPENDED_PAGE,
        )
    if codes & GONE_CODES or about & {"group", "group_id", "assignee", "assignee_id", "brand_id", "ticket_form_id"}:
        return Failure(
            f"The mapping uses something that Zendesk does not know or no longer accepts: {named} (422).",
            permanent=True,
            remedy="Fix the mapping, then press “Rebuild”.",
            remedy_at="mapping",
            cause=shortened(f"No longer accepted: {texts or named}"),
        )
    return Failure(
        f"Zendesk rejected {named} as invalid (422).",
        permanent=True,
        remedy="Fix the mapping, then press “Rebuild”.",
        remedy_at="mapping",
        cause=shortened(f"Rejected as invalid: {texts or named}"),
    )


def is_about_the_status_alone(reply: Reply) -> bool:
    """How an update of a closed ticket is refused; the words beside it are in the account's language."""
    fields = {field for field, _, _ in _problems(reply.json_object().get("details"))}
    return reply.status == 422 and fields == {"status"}


def ticket_is_closed(reply: Reply) -> Failure:
    return Failure(
        "The ticket is closed in Zendesk and can no longer be changed (422).",
        own_text(reply),
        permanent=True,
        is_closed=True,
        status=reply.status,
        remedy="Press “Rebuild” to create a follow-up ticket.",
    )


def _other_refusal(reply: Reply) -> Failure:
    if reply.status in (408, 425):
        return Failure(
            f"Zendesk did not process the request in time (status {reply.status}).",
            is_uncertain=True,
            remedy="Retry later.",
        )
    if reply.status == 409:
        return Failure(
            "The request conflicted with another change in Zendesk (409).",
            retry_after=reply.retry_after(),
            remedy="Retry.",
        )
    if reply.status == 413:
        return Failure(
            "The ticket is too large for Zendesk (413).",
            permanent=True,
            remedy="Shorten the mapping's texts, then press “Rebuild”.",
            remedy_at="mapping",
        )
    return Failure(
        f"Zendesk does not accept this request (status {reply.status}).",
        permanent=True,
        remedy="Fix the mapping and press “Rebuild”. If that does not help, report the details to whoever runs "
        "Casebridge.",
        remedy_at="mapping",
    )


def explained(failure: Failure, reply: Reply, request: str) -> Failure:
    """A 422 compared with what was sent: names the option that is gone, so that failures group by it."""
    details = reply.json_object().get("details")
    entries = [
        entry
        for found in (details.values() if isinstance(details, dict) else [])
        for entry in (found if isinstance(found, list) else [found])
        if isinstance(entry, dict) and entry.get("ticket_field_id")
    ]
    causes = [cause for entry in entries if (cause := _field_cause(entry, request))]
    if reply.status == 422 and causes:
        named = {str(entry.get("description")) for entry in entries}
        causes += [text for _, _, text in _problems(details) if text and text not in named]
        failure.cause = shortened("; ".join(dict.fromkeys(causes)))
        failure.message = f"{failure.cause} (422)."
        failure.remedy = "Fix the mapping (or the field in Zendesk), then press “Rebuild”."
        failure.remedy_at = "mapping"
    return failure


def _field_cause(entry: dict[str, Any], request: str) -> str:
    """Only options are quoted: text that differs between tickets would make each failure a group of its own."""
    number, text = entry["ticket_field_id"], str(entry.get("description") or "")
    title = text.partition(":")[0].strip() if ":" in text else ""
    field = f"the field “{title}” ({number})" if title else f"the field {number}"
    if entry.get("error") == "BlankValue":
        return ""
    kind = str(entry.get("ticket_field_type") or "").lower()
    if "tagger" in kind or "multi" in kind:
        value = _sent_value(request, number)
        return f"The option “{value}” of {field} no longer exists" if value else ""
    value = _sent_value(request, number)
    rest = text.partition(":")[2].strip()
    if rest and (not value or value not in rest):
        # Nothing of this one ticket is in the words, so they are the same for all that share the cause.
        return f"Zendesk says about {field}: {rest}"
    return f"Zendesk does not accept the value of {field}"


def _sent_value(request: str, number: Any) -> str:
    try:
        fields = json.loads(request)["ticket"].get("custom_fields", [])
    except (ValueError, KeyError, AttributeError):
        return ""
    for field in fields:
        if str(field.get("id")) == str(number):
            value = field.get("value")
            return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return ""


def shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_CAUSE else flat[: LONGEST_CAUSE - 1] + "…"


def read_token_failure(reply: Reply) -> Failure:
    """What a refused token request means (OAuth client credentials)."""
    if reply.status == 429 or reply.status >= 500:
        meaning = failure(reply)
        meaning.is_uncertain = False
        return meaning
    is_wrong_address = reply.status == 404 and "no help desk at" in reply.text[:5000].lower()
    if is_wrong_address or is_redirect(reply):
        return failure(reply)
    if error_code(reply) == "invalid_scope":
        return Failure(
            f"Zendesk does not grant the requested scopes (status {reply.status}). Correct the scopes on the "
            "connection, usually read write, and save; it resumes when the test passes.",
            own_text(reply),
            permanent=True,
            pauses=True,
            status=reply.status,
        )
    message, cause = _refused_token(reply)
    return Failure(
        message,
        own_text(reply),
        permanent=True,
        pauses=True,
        status=reply.status,
        remedy="Correct it on the connection and save; it resumes when the test passes.",
        remedy_at="connection",
        cause=cause,
    )


def _refused_token(reply: Reply) -> tuple[str, str]:
    """(message, cause) by the codes of RFC 6749, 5.2; other refusals are told as what Zendesk says."""
    code = error_code(reply)
    if code == "invalid_client" or (reply.status == 401 and not code):
        return (
            f"Zendesk rejected the OAuth client (status {reply.status}): its ID or secret is wrong, or it was deleted.",
            "The OAuth client was rejected",
        )
    if code in ("unauthorized_client", "unsupported_grant_type"):
        refused = f"This OAuth client may not sign in this way (status {reply.status})"
        return f"{refused}: in Zendesk Admin Center its kind has to be Confidential.", refused
    said = f": “{shortened(own_text(reply))}”" if own_text(reply) else ""
    return f"Zendesk refused the sign-in (status {reply.status}){said}.", "The sign-in was refused"


def read_refresh_failure(reply: Reply) -> Failure:
    """What a refused refresh means: the pair is no longer valid, and only a person's consent creates a new one."""
    if error_code(reply) != "invalid_grant":
        return read_token_failure(reply)
    return Failure(
        f"Zendesk no longer accepts the consent given for this connection (status {reply.status}): it was revoked "
        "there, was not used for too long, or its last renewal was lost. Press “Reconnect to Zendesk” on "
        "the connection's page: it resumes after that.",
        own_text(reply),
        permanent=True,
        pauses=True,
        status=reply.status,
    )


def read_code_failure(reply: Reply, redirect_uri: str) -> Failure:
    """What it means when Zendesk refuses the code that its own page just issued."""
    own = own_text(reply)
    if 400 <= reply.status < 500 and "redirect" in own.lower():
        message = (
            f"This OAuth client has a different redirect URL in Zendesk. Enter {redirect_uri} as its redirect URL "
            "in Zendesk Admin Center, then connect again."
        )
        return Failure(message, own, permanent=True, status=reply.status)
    if error_code(reply) != "invalid_grant":
        return read_token_failure(reply)
    message = (
        "Zendesk rejected the code of this consent: it was already used or has expired. Connect to "
        f"Zendesk again. If that fails too, check that {redirect_uri} is the redirect URL of the OAuth client in "
        "Zendesk Admin Center."
    )
    return Failure(message, own, permanent=True, status=reply.status)


# --- Reading error bodies --------------------------------------------------------------------------------------------


def error_code(reply: Reply) -> str:
    """The code, wherever it is: `error`, `error.title` or `errors[0].code`."""
    content = reply.json_object()
    error = content.get("error")
    if isinstance(error, dict):
        return str(error.get("title") or "")
    if isinstance(error, str):
        return error
    first = next(iter(content["errors"]), None) if isinstance(content.get("errors"), list) else None
    return str(first.get("code") or "") if isinstance(first, dict) else ""


def own_text(reply: Reply) -> str:
    """All of Zendesk's own texts, one line each."""
    content = reply.json_object()
    lines = [
        *_top_lines(content),
        *(f"{field}: {text}" for field, _, text in _problems(content.get("details")) if text),
    ]
    return "\n".join(dict.fromkeys(lines))[:LONGEST_DETAIL] or excerpt(reply)


def _top_lines(content: dict[str, Any]) -> Iterator[str]:
    error = content.get("error")
    if isinstance(error, dict):
        yield " ".join(str(error[name]) for name in ("title", "message") if error.get(name))
    elif error:
        yield str(error)
    for name in ("description", "error_description", "message"):
        if isinstance(content.get(name), str):
            yield content[name]
    for entry in content["errors"] if isinstance(content.get("errors"), list) else []:
        if isinstance(entry, dict):
            yield " ".join(str(entry[name]) for name in ("code", "title", "detail") if entry.get(name))
        else:
            yield str(entry)


def _problems(details: Any) -> Iterator[tuple[str, str, str]]:
    """(field, inner code, text) for each problem; `details` maps fields to lists of objects or texts."""
    if isinstance(details, str):
        yield "base", "", details
    if not isinstance(details, dict):
        return
    for field, entries in details.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict):
                yield str(field), str(entry.get("error") or ""), str(entry.get("description") or "")
            elif entry is not None:
                yield str(field), "", str(entry)


def excerpt(reply: Reply) -> str:
    """What to show of a body that is no JSON error: never a page's markup."""
    if reply.looks_like_html:
        title = re.search(r"<title[^<>]*+>([^<]{1,200})", reply.text[:20_000], re.IGNORECASE)
        return f"A web page titled “{' '.join(title[1].split())}”" if title else "A web page"
    return " ".join(reply.text[:500].split())
