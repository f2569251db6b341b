"""The request that creates a ticket. Pure: from a post and a mapping's settings to the bytes that are sent.

Facts (developer.zendesk.com, API reference, Ticketing, Tickets): placeholders work in comments made by an agent, so
`{{` and `{%` in text from outside are broken up; `comment.public` has no fixed default, so it is always sent; about 255
characters of a subject and 64 KiB of a comment are kept, the rest is dropped without an error, so both are cut here.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from integrations.destinations.base import Context, as_json, placeholder_values
from integrations.destinations.zendesk.custom_fields import fitting_custom_fields
from integrations.destinations.zendesk.names import LIST_OF, named, named_field
from integrations.destinations.zendesk.text import disarmed
from integrations.domain.post import Post
from integrations.domain.templating import Value, render

LONGEST_SUBJECT = 150
LONGEST_COMMENT_BYTES = 60_000
LONGEST_TAG = 80
# Limit before normalizing: runs of spaces and symbols collapse to one underscore.
LONGEST_RAW_TAG = 1000
TEST_SUBJECT = "[Test] "
TEST_TAG = "casebridge_test"
TEST_TEXT = (
    f"with the tag {TEST_TAG} and a subject starting with “{TEST_SUBJECT.strip()}”. The account's triggers and "
    "automations run on it. Casebridge does not remove it: solve or delete it there."
)

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

# The source context, used when it is sent separately or appended to the first comment.
DEFAULT_CONTEXT = """Post: {{ link }}
Author: {{ author }}
Handle: @{{ author_handle }}
Author's page: {{ author_link }}
Followers: {{ followers }}
Network: {{ network }}
Posted: {{ posted_at }}
Label: {{ label }}
Labels: {{ labels }}
In reply to: {{ in_reply_to }}
Conversation: {{ parent_post }}
Notes: {{ notes }}
{{ details }}"""
REFERENCE = "Reference:"

FIELD_NAMES = {
    "subject": "Subject",
    "priority": "Priority",
    "type": "Type",
    "status": "Status",
    "custom_status_id": "Custom status",
    "requester_id": "Requester",
    "via_followup_source_id": "Follow-up of ticket",
    "tags": "Tags",
    "group_id": "Group",
    "assignee_id": "Assignee",
    "ticket_form_id": "Form",
    "brand_id": "Brand",
    "external_id": "External id",
}


def build(post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
    """The JSON body of POST /api/v2/tickets.json. Raises templating.TemplateError."""
    values = placeholder_values(post, context)
    ticket: dict[str, Any] = {
        "subject": _subject(settings, values, post),
        "comment": {"body": _comment(settings, values, post), "public": bool(settings.get("comment_public"))},
        "external_id": external_id,
    }
    for name in ("priority", "type", "status"):
        if settings.get(name):
            ticket[name] = settings[name]
    for name in ("group_id", "assignee_id", "ticket_form_id", "brand_id", "custom_status_id"):
        if settings.get(name):
            ticket[name] = int(settings[name])
    if ticket.get("custom_status_id"):
        # A custom status implies its category.
        ticket.pop("status", None)
    if settings.get("requester") == "intake" and settings.get("intake_user"):
        ticket["requester_id"] = int(settings["intake_user"])
    if tags := _tags(settings.get("tags") or [], values):
        ticket["tags"] = tags
    if custom_fields := _custom_fields(settings.get("custom_fields") or [], values):
        ticket["custom_fields"] = custom_fields
    return as_json({"ticket": ticket})


def build_for_flood(settings: Mapping[str, Any], title: str, text: str, external_id: str) -> str:
    """One internal ticket of type problem for a flood, in the group, brand and form of the mapping's tickets."""
    ticket: dict[str, Any] = {
        "subject": shortened(disarmed(" ".join(title.split())), LONGEST_SUBJECT),
        "comment": {"body": cut_comment(disarmed(text), "in Casebridge"), "public": False},
        "external_id": external_id,
        "type": "problem",
        "priority": "urgent",
        "tags": ["casebridge_incident"],
    }
    for name in ("group_id", "ticket_form_id", "brand_id"):
        if settings.get(name):
            ticket[name] = int(settings[name])
    return as_json({"ticket": ticket})


def with_requester(request: str, user_id: str) -> str:
    """The request with this requester; an empty id means the signed-in user."""
    content = json.loads(request)
    content["ticket"].pop("requester_id", None)
    if user_id:
        content["ticket"]["requester_id"] = int(user_id)
    return as_json(content)


def as_comment(request: str, reference: str) -> str:
    """A new ticket's first comment as a comment on another one, with a last line that identifies it."""
    first = json.loads(request)["ticket"]["comment"]
    ending = f"\n\n{REFERENCE} {reference}"
    room = LONGEST_COMMENT_BYTES - len(ending.encode())
    body = first["body"].encode()[:room].decode("utf-8", "ignore") + ending
    return as_json({"ticket": {"comment": {"body": body, "public": first["public"]}}})


def as_follow_up(request: str, number: str) -> str:
    content = json.loads(request)
    content["ticket"]["via_followup_source_id"] = int(number)
    return as_json(content)


def build_note(post: Post, context: Context, settings: Mapping[str, Any], reference: str) -> str:
    """The source context as an internal note. Raises templating.TemplateError."""
    text = _context_text(settings, placeholder_values(post, context))
    if not text:
        return ""
    ending = f"\n\n{REFERENCE} {reference}"
    room = LONGEST_COMMENT_BYTES - len(ending.encode())
    body = text.encode()[:room].decode("utf-8", "ignore") + ending
    return as_json({"ticket": {"comment": {"body": body, "public": False}}})


def _context_text(settings: Mapping[str, Any], values: Mapping[str, Value]) -> str:
    return disarmed(render(settings.get("context_text") or DEFAULT_CONTEXT, values)).strip("\n")


def _subject(settings: Mapping[str, Any], values: Mapping[str, Value], post: Post) -> str:
    subject = " ".join(render(settings.get("subject") or DEFAULT_SUBJECT, values).split())
    return shortened(disarmed(subject) or f"Post {post.post_id}", LONGEST_SUBJECT)


def shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _comment(settings: Mapping[str, Any], values: Mapping[str, Value], post: Post) -> str:
    text = disarmed(render(settings.get("comment") or DEFAULT_COMMENT, values)).strip("\n")
    if settings.get("context") == "body":
        text = f"{text}\n\n{_context_text(settings, values)}".strip("\n")
    if not text.strip():
        return f"The post {post.post_id} has no text. {post.link}".strip()
    return cut_comment(text, post.link or post.post_id)


def cut_comment(text: str, where_the_whole_is: str) -> str:
    """At most LONGEST_COMMENT_BYTES of UTF-8, cut between characters; says where the whole text is."""
    if len(text.encode()) <= LONGEST_COMMENT_BYTES:
        return text
    ending = f"\n\n[Text truncated. Full post: {disarmed(where_the_whole_is)}]"
    room = LONGEST_COMMENT_BYTES - len(ending.encode())
    return text.encode()[:room].decode("utf-8", "ignore") + ending


def _tags(templates: list[str], values: Mapping[str, Value]) -> list[str]:
    tags = (normalised_tag(render(template, values, LONGEST_RAW_TAG)) for template in templates)
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
    """What `build` leaves out, as sentences. Raises templating.TemplateError."""
    titles = {field["id"]: f"“{field['title']}”" for field in (lists or {}).get("fields") or []}
    values = placeholder_values(post, context)
    _fitting, left_out = fitting_custom_fields(settings.get("custom_fields") or [], values, titles)
    return left_out


def as_test(request: str, uuid: str) -> tuple[str, str]:
    """The same ticket marked as a test, under an external id of its own, and that id."""
    content = json.loads(request)
    ticket, external_id = content["ticket"], f"khoros:test:{uuid}"
    ticket["subject"] = shortened(f"{TEST_SUBJECT}{ticket['subject']}", LONGEST_SUBJECT)
    ticket["external_id"] = external_id
    ticket["tags"] = [*(tag for tag in ticket.get("tags") or [] if tag != TEST_TAG), TEST_TAG]
    return as_json(content), external_id


def describe(request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """The ticket of a stored request as (name, value) in reading order; with names where `lists` has them."""
    ticket = json.loads(request)["ticket"]
    known = lists or {}
    rows = [(title, _shown(name, ticket[name], known)) for name, title in FIELD_NAMES.items() if ticket.get(name)]
    rows.insert(1, ("First comment" if ticket.get("subject") else "Comment", ticket["comment"]["body"]))
    rows.insert(
        2, ("Seen by", "the customer too (public)" if ticket["comment"]["public"] else "agents only (internal)")
    )
    rows += [named_field(field["id"], field["value"], known) for field in ticket.get("custom_fields", [])]
    return rows


def _shown(name: str, value: Any, lists: Mapping[str, Any]) -> str:
    if name in LIST_OF:
        return named(lists, LIST_OF[name], value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
