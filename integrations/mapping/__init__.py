"""What a mapping makes of a post: its conditions, the request rendered from it, and a preview of both.

Promised: rendering is pure, so routing, rebuilding, notes and previews get the same request from the same input; what
cannot be rendered says why. Nothing is stored or sent.
"""

from integrations.mapping.conditions import author_key, judge_post
from integrations.mapping.preview import (
    MOST_COMPARED,
    compare_mappings,
    example_preview,
    preview_choices,
    preview_posts,
)
from integrations.mapping.rendering import context_of, post_of, read_event, render_into, rules_of, shared_post

__all__ = [
    "MOST_COMPARED",
    "author_key",
    "compare_mappings",
    "context_of",
    "example_preview",
    "judge_post",
    "post_of",
    "preview_choices",
    "preview_posts",
    "read_event",
    "render_into",
    "rules_of",
    "shared_post",
]
