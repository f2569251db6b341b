"""Ready mappings to Zendesk. Data only: each is rendered over its event's example by a test."""

from integrations.destinations.base import Recipe
from integrations.destinations.zendesk.ticket import DEFAULT_COMMENT, DEFAULT_SUBJECT

RECIPES = (
    Recipe(
        slug="label-to-ticket",
        title="Make a ticket of each labelled post",
        description="The usual one: an agent labels a post in the inbox, and it becomes a ticket.",
        event="stream-item-label-applied",
        settings={"subject": DEFAULT_SUBJECT, "comment": DEFAULT_COMMENT},
    ),
    Recipe(
        slug="rule-to-ticket",
        title="Make a ticket when a keyword rule fires",
        description="Without an agent's label: each post that one of your rules in Khoros applies to.",
        event="rule-applied",
        settings={
            "subject": "{{ rule_name|default:A rule }}: {{ author|default:someone }} on {{ network }}",
            "comment": DEFAULT_COMMENT,
        },
    ),
)
