"""What a mapping makes of a post: conditions, the rendered request, the preview."""

from integrations.mapping.conditions import unmet_condition
from integrations.mapping.preview import (
    EXAMPLE,
    MOST_COMPARED,
    USUALLY_COMPARED,
    compare_mappings,
    example_preview,
    preview_choices,
    preview_posts,
)
from integrations.mapping.rendering import (
    author_of,
    context_of,
    post_of,
    read_event,
    render_into,
    rules_of,
    substitute_text,
)

__all__ = [
    "EXAMPLE",
    "MOST_COMPARED",
    "USUALLY_COMPARED",
    "author_of",
    "compare_mappings",
    "context_of",
    "example_preview",
    "post_of",
    "preview_choices",
    "preview_posts",
    "read_event",
    "render_into",
    "rules_of",
    "substitute_text",
    "unmet_condition",
]
