"""A wall: each post on a page and in feeds of this portal, for large screens and for whoever reads feeds.

Nothing leaves the portal: the journey gives it the store that keeps the posts. What a post looks like is decided here,
who may see it is decided there.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms

from integrations.destinations import base
from integrations.destinations.base import Check, Context, Credentials, Outgoing, Receipt, Recipe
from integrations.destinations.capabilities import DrawnPart, Entry, Piece, PostStore
from integrations.domain.conditions import all_of
from integrations.domain.post import Post
from integrations.domain.templating import render
from integrations.infra.text import harmless, shortened

DEFAULT_AUTHOR, DEFAULT_TEXT = "{{ author|default:Someone }}", "{{ text }}"
LONGEST_TEXT, LONGEST_AUTHOR, LONGEST_HANDLE = 2000, 200, 100
TEST_TEXT = "This is a test from Casebridge."


class WallConnectionForm(base.ConnectionFields):
    """Nothing to fill in: the connection is made with its wall, and its settings name it: {"wall": uuid}."""


class WallMappingForm(base.MappingFields):
    HEADLINE = "author"
    author = base.TemplateField(
        label="Name",
        initial=DEFAULT_AUTHOR,
        max_length=500,
        help_text="Shown above the text, usually the author's name.",
    )
    text = base.TemplateField(
        label="Text",
        initial=DEFAULT_TEXT,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=f"At most {LONGEST_TEXT:,} characters are kept; a screen shows the first lines. Everyone who knows "
        "the wall's address reads it. Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}.",
    )
    shows_picture = forms.BooleanField(
        label="The author's picture",
        required=False,
        initial=True,
        help_text="Where Khoros names one that lasts. Facebook and Instagram sign theirs for some days only: those "
        "are left out.",
    )
    adds_link = forms.BooleanField(
        label="Link to the post", required=False, initial=True, help_text="In the feed, and on the page."
    )


class Wall(base.Destination[PostStore]):
    kind, title, thing = "wall", "Wall", "wall post"
    client_class = PostStore
    connection_form, mapping_form = WallConnectionForm, WallMappingForm
    drops_repeats = True
    recipes = (
        Recipe(
            slug="love-label",
            title="Love label to the wall",
            description="Each post with a label that your team gives to praise, on the wall in the lobby.",
            event="stream-item-label-applied",
            settings={"author": DEFAULT_AUTHOR, "text": DEFAULT_TEXT, "shows_picture": True, "adds_link": True},
        ),
        Recipe(
            slug="crisis-rule",
            title="Crisis rule to the war room",
            description="Each post that one of your rules in Khoros applies to, with the rule's name. For one rule "
            "only, add the condition “Rule is …”. To have it mailed too, add “Crisis rule to e-mail”.",
            event="rule-applied",
            settings={
                "author": "{{ rule_name|default:A rule }}: {{ author|default:someone }}",
                "text": DEFAULT_TEXT,
                "shows_picture": True,
                "adds_link": True,
            },
        ),
        Recipe(
            slug="reach",
            title="Praise from people with reach to the wall",
            description="Only posts of authors with 10,000 followers or more; change the number to yours.",
            event="stream-item-label-applied",
            conditions=all_of(("followers", "at_least", 10_000)),
            settings={
                "author": "{{ author|default:Someone }} ({{ followers }} followers)",
                "text": DEFAULT_TEXT,
                "shows_picture": True,
                "adds_link": True,
            },
        ),
    )

    def origin(self, settings: Mapping[str, Any]) -> str:
        return ""

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        values = base.placeholder_values(post, context)
        at = post.posted_at or context.labelled_at or context.received_at
        return base.as_json(
            {
                "post_id": post.post_id,
                "author": shortened(harmless(render(settings.get("author") or DEFAULT_AUTHOR, values)), LONGEST_AUTHOR),
                "handle": harmless(post.author_handle).strip()[:LONGEST_HANDLE],
                "network": harmless(post.network)[:60],
                "text": _cut(harmless(render(settings.get("text") or DEFAULT_TEXT, values)).strip()),
                "link": base.openable(post.link) if settings.get("adds_link", True) else "",
                "picture": post.author_picture if settings.get("shows_picture", True) else "",
                "posted_at": at.isoformat() if at else "",
            }
        )

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        content = json.loads(request)
        shown = {"Name": "author", "Handle": "handle", "Network": "network", "Text": "text", "Link": "link",
                 "Picture": "picture", "Written": "posted_at"}  # fmt: skip
        return [(title, str(content[name])) for title, name in shown.items() if content.get(name)]

    def send(self, client: PostStore, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        content = json.loads(outgoing.request)
        at = content.pop("posted_at")
        entry = Entry(**content, posted_at=datetime.fromisoformat(at) if at else None)
        return client.put(str(credentials.settings["wall"]), entry, outgoing.external_id)

    def check(self, client: PostStore, credentials: Credentials) -> list[Check]:
        return client.check(str(credentials.settings["wall"]))

    def shown_number(self, number: str) -> str:
        return ""

    # --- Draws, MarksTests ---

    test_text = f"its text begins with “{TEST_TEXT}”, and it waits for approval."

    def draw(self, request: str) -> list[DrawnPart]:
        content = json.loads(request)
        named = f" @{content['handle'].removeprefix('@')}" if content["handle"] else ""
        parts = [
            DrawnPart("header", (Piece(content["author"], "bold"), Piece(named))),
            DrawnPart("section", (Piece(content["text"]),)),
        ]
        link = (Piece("  ·  "), Piece("Open the post", link=content["link"])) if content["link"] else ()
        below = (Piece(content["network"]), *link)
        return [*parts, DrawnPart("context", below)]

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        content = json.loads(request)
        marked = {"text": f"{TEST_TEXT}\n{content['text']}", "post_id": f"test:{uuid}", "is_test": True}
        return base.as_json(content | marked), f"khoros:test:{uuid}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1].rstrip() + "…"


WALL = Wall()
