"""Links of the log's lists."""

from typing import Any

from django import template

register = template.Library()


@register.simple_tag
def older_link(changelist: Any) -> str:
    """Where the rows older than this page's last are: found by time, as counting pages so far back would be slow."""
    rows = list(changelist.result_list)
    if changelist.paginator.count < getattr(changelist.paginator, "MOST", 0) or not rows:
        return ""
    column = changelist.model_admin.opts.ordering[0].removeprefix("-")
    last = getattr(rows[-1], column)
    return str(changelist.get_query_string({f"{column}__lte": last.isoformat()}, remove=["p"]))
