"""The columns of a delivery that was rendered anew."""

from typing import Any

from integrations.delivery.cases import case_key
from integrations.domain.post import Post
from integrations.mapping import rules_of
from integrations.models import Delivery


def rendered_columns(delivery: Delivery, post: Post) -> dict[str, Any]:
    """What rendering found, and what the mapping asks for today.

    The mapping may have been moved to another connection since: what was written is for that one.
    """
    rules = rules_of(delivery.mapping)
    return {
        "is_rendered": delivery.is_rendered,
        "cause": delivery.cause,
        "remedy": delivery.remedy,
        "remedy_at": delivery.remedy_at,
        "connection": delivery.mapping.connection,
        "case_key": case_key(post, delivery.mapping, rules),
        "adds_note": rules.adds_note,
        "is_prepared": not rules.needs_preparation,
    }
