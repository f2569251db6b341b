"""The request that makes a ticket: pure, from a post and a mapping's settings to the bytes that are sent.

Facts (developer.zendesk.com, API reference, Ticketing, Tickets): placeholders work in comments made by an agent, so
`{{` and `{%` in foreign text are broken up; `comment.public` has no fixed default, so it is always sent; about 255
characters of a subject and 64 KiB of a comment are kept, the rest is dropped without an error, so both are cut here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from integrations.destinations.base import Context, placeholder_values
from integrations.destinations.zendesk.custom_fields import fitting_custom_fields
from integrations.destinations.zendesk.names import LIST_OF, named, named_field
from integrations.destinations.zendesk.text import disarmed
from integrations.post import Post
from integrations.templating import Value, render

LONGEST_SUBJECT = 150
LONGEST_COMMENT_BYTES = 60_000
LONGEST_TAG = 80
LONGEST_EXTERNAL_ID = 250
TEST_SUBJECT = "[Test] "
TEST_TAG = "casebridge_test"

DEFAULT_SUBJECT = (
    "{{ label }}: {{ author|default:someone }} on {{ network }}: {{ text|oneline|short:80|default:no text }}"
)
DEFAULT_COMMENT = """{{ text }}

Author: {{ author }}
Handle: @{{ author_handle }}
Network: {{ network }}
Post: {{ link }}
Post id: {{ post_id }}
Posted: {{ posted_at }}
Label: {{ label }}
{{ details }}"""

FIELD_NAMES = {
    "subject": "Subject",
    "priority": "Priority",
    "type": "Type",
    "status": "Status",
    "custom_status_id": "Custom status",
    "tags": "Tags",
    "group_id": "Group",
    "assignee_id": "Assignee",
    "ticket_form_id": "Form",
    "brand_id": "Brand",
    "external_id": "External id",
}


def external_id(post_id: str, mapping_uuid: str) -> str:
    """`khoros:{post}:{mapping}`: two mappings never take each other's ticket for their own."""
    whole = f"khoros:{post_id}:{mapping_uuid}"
    if len(whole) <= LONGEST_EXTERNAL_ID:
        return whole
    return f"khoros:{hashlib.sha256(post_id.encode()).hexdigest()}:{mapping_uuid}"


def build(post: Post, context: Context, settings: Mapping[str, Any], reference: str) -> str:
    """The JSON body of POST /api/v2/tickets.json. Raises templating.TemplateError."""
    values = placeholder_values(post, context)
    ticket: dict[str, Any] = {
        "subject": _subject(settings, values, post),
        "comment": {"body": _comment(settings, values, post), "public": bool(settings.get("comment_public"))},
        "external_id": reference,
    }
    for name in ("priority", "type", "status"):
        if settings.get(name):
            ticket[name] = settings[name]
    if settings.get("custom_status_id"):
        # A custom status is the detail of a status, so it takes its place.
        ticket.pop("status", None)
    for name in ("group_id", "assignee_id", "ticket_form_id", "brand_id", "custom_status_id"):
        if settings.get(name):
            ticket[name] = int(settings[name])
    if tags := _tags(settings.get("tags") or [], values):
        ticket["tags"] = tags
    if custom_fields := _custom_fields(settings.get("custom_fields") or [], values):
        ticket["custom_fields"] = custom_fields
    return json.dumps({"ticket": ticket}, ensure_ascii=False, separators=(",", ":"))


def _subject(settings: Mapping[str, Any], values: Mapping[str, Value], post: Post) -> str:
    line = " ".join(render(settings.get("subject") or DEFAULT_SUBJECT, values).split())
    return shortened(disarmed(line) or f"Post {post.post_id}", LONGEST_SUBJECT)


def shortened(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _comment(settings: Mapping[str, Any], values: Mapping[str, Value], post: Post) -> str:
    text = disarmed(render(settings.get("comment") or DEFAULT_COMMENT, values)).strip("\n")
    if not text.strip():
        return f"The post {post.post_id} has no text. {post.link}".strip()
    return cut_comment(text, post.link or post.post_id)


def cut_comment(text: str, where_the_whole_is: str) -> str:
    """At most LONGEST_COMMENT_BYTES of UTF-8, cut between characters; says where the whole text stands."""
    if len(text.encode()) <= LONGEST_COMMENT_BYTES:
        return text
    ending = f"\n\n[The text was cut here. The whole post: {disarmed(where_the_whole_is)}]"
    room = LONGEST_COMMENT_BYTES - len(ending.encode())
    return text.encode()[:room].decode("utf-8", "ignore") + ending


def _tags(templates: list[str], values: Mapping[str, Value]) -> list[str]:
    tags = (normalised_tag(render(template, values)) for template in templates)
    return list(dict.fromkeys(tag for tag in tags if tag))


def normalised_tag(raw: str) -> str:
    """Lower case, with an underscore for whatever a tag may not hold."""
    return re.sub(r"[^\w\-/.]+", "_", raw.strip().lower()).strip("_")[:LONGEST_TAG]


def _custom_fields(fields: list[dict[str, Any]], values: Mapping[str, Value]) -> list[dict[str, Any]]:
    fitting, _remarks = fitting_custom_fields(fields, values)
    return fitting


def remarks(
    post: Post, context: Context, settings: Mapping[str, Any], lists: Mapping[str, Any] | None = None
) -> list[str]:
    """What `build` leaves out, in words. Raises templating.TemplateError."""
    titles = {field["id"]: f"“{field['title']}”" for field in (lists or {}).get("fields") or []}
    values = placeholder_values(post, context)
    _fitting, left_out = fitting_custom_fields(settings.get("custom_fields") or [], values, titles)
    return left_out


def as_test(request: str, uuid: str) -> tuple[str, str]:
    """The same ticket marked as a test, under an external id of its own, and that id."""
    content = json.loads(request)
    ticket, reference = content["ticket"], f"khoros:test:{uuid}"
    ticket["subject"] = shortened(f"{TEST_SUBJECT}{ticket['subject']}", LONGEST_SUBJECT)
    ticket["external_id"] = reference
    ticket["tags"] = [*(tag for tag in ticket.get("tags") or [] if tag != TEST_TAG), TEST_TAG]
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")), reference


def describe(request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """The ticket of a stored request as (name, value) in the order a person reads it; names where `lists` has them."""
    ticket = json.loads(request)["ticket"]
    known = lists or {}
    rows = [(title, _shown(name, ticket[name], known)) for name, title in FIELD_NAMES.items() if ticket.get(name)]
    rows.insert(1, ("First comment", ticket["comment"]["body"]))
    rows.insert(
        2, ("Seen by", "the customer too (public)" if ticket["comment"]["public"] else "agents only (internal)")
    )
    rows += [named_field(field["id"], field["value"], known) for field in ticket.get("custom_fields", [])]
    return rows


def _shown(name: str, value: Any, lists: Mapping[str, Any]) -> str:
    if name in LIST_OF:
        return named(lists, LIST_OF[name], value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
