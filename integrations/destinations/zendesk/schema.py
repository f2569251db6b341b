"""What a Zendesk account offers to choose from, and which settings of a mapping no longer fit it.

`read_lists` calls; `misfits` is pure. Each list is read on its own: a plan without forms must not hide the groups.
Lists are kept in a short form: numbers, names, and what decides whether a value is accepted (developer.zendesk.com,
API reference, Ticketing: Groups, Brands, Ticket Forms, Ticket Fields, Custom Ticket Statuses, Users).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from integrations.destinations.base import Credentials
from integrations.destinations.zendesk import answers
from integrations.destinations.zendesk.custom_fields import is_literal, why_unfit
from integrations.destinations.zendesk.names import LIST_OF, entry_of
from integrations.destinations.zendesk.paging import LeadsElsewhere, next_page
from integrations.destinations.zendesk.tickets import auth_header
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.infra.text import storable

MOST_PAGES = 50
PAGE_CAP_BYTES = 8 * 1024 * 1024
LONGEST_NAME = 200
LONGEST_EXPRESSION = 2_000


class Unreadable(Exception):
    """A list that could not be read; the text says why."""


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_lists(client: HttpClient, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
    """The lists by name, and a sentence for each one that could not be read. `cut` names those that are incomplete.

    Raises Failure when the sign-in is refused or nothing can be read, NoPermit when the rate limit has no permit soon.
    """
    lists: dict[str, Any] = {"cut": []}
    problems: dict[str, str] = {}
    unavailable: Failure | None = None
    for name, (path, key, noun, short) in LISTS.items():
        try:
            entries, is_whole = _read_whole(client, credentials, path, key)
        except (Unreadable, LeadsElsewhere) as unreadable:
            problems[name] = f"The {noun} could not be read: {unreadable}"
            continue
        except Failure as failure:
            if failure.renew_token or failure.status is None or failure.limited:
                # The account is unavailable right now: the next list would fail the same way.
                unavailable = failure
                break
            problems[name] = _why_unread(noun, failure)
            continue
        lists[name] = [kept for entry in entries if (kept := short(entry))]
        if not is_whole:
            lists["cut"].append(name)
            first = f"only the first {len(lists[name]):,} are listed"
            problems[name] = f"There are too many {noun} to read them all: {first}."
    if unavailable is not None:
        if len(lists) == 1:
            raise unavailable
        problems |= {
            name: f"The {noun} could not be read: {unavailable.message}"
            for name, (_, _, noun, _) in LISTS.items()
            if name not in lists and name not in problems
        }
    return lists, problems


def _why_unread(noun: str, failure: Failure) -> str:
    if failure.status == 403 and "scope" in failure.detail.lower():
        return f"The {noun} could not be read: the sign-in is missing a scope (403). Grant its OAuth client “read”."
    if failure.status == 403:
        return (
            f"The {noun} could not be read (403): the account's plan does not include them, or the user that "
            "Casebridge signs in as has no permission to see them."
        )
    if failure.status == 404:
        return f"The account does not offer {noun} (404)."
    return f"The {noun} could not be read: {failure.message}"


def _read_whole(client: HttpClient, credentials: Credentials, path: str, key: str) -> tuple[list[Any], bool]:
    """All entries of a list, page by page, and whether it is complete."""
    entries: list[Any] = []
    seen: set[str] = set()
    following = path
    while following and following not in seen:
        if len(seen) == MOST_PAGES:
            return entries, False
        seen.add(following)
        reply = client.call(
            "GET", following, headers=auth_header(credentials), keep_reply=False, cap_bytes=PAGE_CAP_BYTES
        )
        entries += _entries(reply, key)
        following = next_page(client, reply.json_object())
    return entries, True


def _entries(reply: Reply, key: str) -> list[Any]:
    if not 200 <= reply.status < 300:
        raise answers.failure(reply)
    entries = reply.json_object().get(key)
    if reply.is_cut or not isinstance(entries, list):
        raise Unreadable("Zendesk's response is not the expected list.")
    return entries


# --- Short forms -----------------------------------------------------------------------------------------------------


def _named(entry: Any, name: str = "name") -> dict[str, Any] | None:
    number = answers.ticket_number(entry)
    if number is None:
        return None
    return {"id": number, "name": _text(entry.get(name)) or str(number)}


def _text(value: Any) -> str:
    return storable(value)[:LONGEST_NAME] if isinstance(value, str) else ""


def _group(entry: Any) -> dict[str, Any] | None:
    named = _named(entry)
    return None if named is None or entry.get("deleted") is True else named


def _brand(entry: Any) -> dict[str, Any] | None:
    named = _named(entry)
    return named and named | {"active": entry.get("active") is not False}


def _form(entry: Any) -> dict[str, Any] | None:
    named = _named(entry)
    if named is None:
        return None
    numbers = entry.get("ticket_field_ids")
    return named | {
        "active": entry.get("active") is not False,
        "default": entry.get("default") is True,
        "ticket_field_ids": [n for n in numbers if isinstance(n, int)] if isinstance(numbers, list) else [],
    }


def _status(entry: Any) -> dict[str, Any] | None:
    named = _named(entry, "agent_label")
    return named and named | {
        "category": _text(entry.get("status_category")),
        "active": entry.get("active") is not False,
    }


def _agent(entry: Any) -> dict[str, Any] | None:
    named = _named(entry)
    return named and named | {
        "active": entry.get("active") is not False,
        "suspended": entry.get("suspended") is True,
    }


def _field(entry: Any) -> dict[str, Any] | None:
    named = _named(entry, "title")
    if named is None:
        return None
    options = entry.get("custom_field_options")
    return {
        "id": named["id"],
        "title": named["name"],
        "type": _text(entry.get("type")),
        "active": entry.get("active") is not False,
        "required": entry.get("required") is True,
        "regexp": _expression(entry.get("regexp_for_validation")),
        "options": list(_options(options if isinstance(options, list) else [])),
    }


def _expression(value: Any) -> str:
    """Half an expression would be a different one, so one that is too long counts as none."""
    return storable(value) if isinstance(value, str) and len(value) <= LONGEST_EXPRESSION else ""


def _options(entries: list[Any]) -> Iterator[dict[str, str]]:
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("value"), str):
            value = storable(entry["value"])
            yield {"name": _text(entry.get("name")) or value, "value": value}


Short = Callable[[Any], dict[str, Any] | None]
# name -> (path, key in the reply, plural noun, short form). Forms and custom statuses are not documented to be read by
# cursor, and an endpoint that does not say so knows pages by number only (developer.zendesk.com, "Pagination").
LISTS: dict[str, tuple[str, str, str, Short]] = {
    "groups": ("/api/v2/groups/assignable.json?page%5Bsize%5D=100", "groups", "groups", _group),
    "brands": ("/api/v2/brands.json?page%5Bsize%5D=100", "brands", "brands", _brand),
    "forms": ("/api/v2/ticket_forms.json", "ticket_forms", "ticket forms", _form),
    "fields": ("/api/v2/ticket_fields.json?page%5Bsize%5D=100", "ticket_fields", "ticket fields", _field),
    "statuses": ("/api/v2/custom_statuses.json", "custom_statuses", "custom statuses", _status),
    "agents": (
        "/api/v2/users.json?role%5B%5D=agent&role%5B%5D=admin&page%5Bsize%5D=100", "users", "agents", _agent
    ),
}  # fmt: skip


# --- Checking a mapping ----------------------------------------------------------------------------------------------

NOUNS = {
    "group_id": "group",
    "assignee_id": "assignee",
    "brand_id": "brand",
    "ticket_form_id": "form",
    "custom_status_id": "custom status",
}


def misfits(settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
    """The settings that the account no longer accepts, as far as its lists were read: [{"field", "message"}]."""
    messages = [_misfit_of_choice(name, settings.get(name), lists) for name in LIST_OF if settings.get(name)]
    form = entry_of(lists, "forms", settings.get("ticket_form_id") or "")
    entries = settings.get("custom_fields") or []
    messages += [(f"field_{entry['id']}", _misfit_of_field(entry, form, lists)) for entry in entries]
    return [{"field": name, "message": message} for name, message in messages if message]


def _is_whole(lists: Mapping[str, Any], name: str) -> bool:
    return name in lists and name not in (lists.get("cut") or [])


def _misfit_of_choice(name: str, number: Any, lists: Mapping[str, Any]) -> tuple[str, str]:
    noun, list_name = NOUNS[name], LIST_OF[name]
    entry = entry_of(lists, list_name, number)
    if entry is None:
        gone = f"The {noun} {number} no longer exists in Zendesk. Choose another one or use the Zendesk default."
        return name, gone if _is_whole(lists, list_name) else ""
    if entry.get("suspended"):
        return name, f"The {noun} “{entry['name']}” is suspended in Zendesk. Choose another one."
    if entry.get("active") is False:
        return name, f"The {noun} “{entry['name']}” is no longer active in Zendesk. Choose another one."
    return name, ""


def _misfit_of_field(entry: Mapping[str, Any], form: Mapping[str, Any] | None, lists: Mapping[str, Any]) -> str:
    field = entry_of(lists, "fields", entry["id"])
    if field is None:
        gone = f"The custom field {entry['id']} no longer exists in Zendesk. Remove it from the mapping."
        return gone if _is_whole(lists, "fields") else ""
    title = f"The custom field “{field['title']}”"
    if not field["active"]:
        return (
            f"{title} is inactive in Zendesk, so its value is ignored. Activate it there or remove it from the mapping."
        )
    if entry.get("type") and entry["type"] != field["type"]:
        return f"{title} changed its type from {entry['type']} to {field['type']}. Open the mapping and save it again."
    if form and form.get("ticket_field_ids") and field["id"] not in form["ticket_field_ids"]:
        return f"{title} is not on the form “{form['name']}”, so agents do not see it on these tickets."
    why = _unfit_value(entry["value"], field)
    return f"{title}: {why}." if why else ""


def _unfit_value(value: Any, field: Mapping[str, Any]) -> str:
    """What is wrong with a value that is the same for every post. What a template renders to is not known here."""
    literal = [each for each in (value if isinstance(value, list) else [value]) if is_literal(each)]
    if field["type"] in ("tagger", "multiselect"):
        there = {option["value"] for option in field["options"]}
        gone = [str(each) for each in literal if each not in ("", True, False) and each not in there]
        return f"the option “{'”, “'.join(gone)}” no longer exists" if gone else ""
    if field["type"] == "checkbox" and literal and str(literal[0]).lower() not in ("true", "false"):
        return f"“{literal[0]}” is neither true nor false"
    return why_unfit(literal[0], field["type"], field["regexp"]) if literal and literal[0] != "" else ""
