"""Times, and what lists say about themselves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template

from integrations.infra.text import timestamp

register = template.Library()


@register.filter
def moment(at: datetime | None, empty: str = "–") -> str:
    """The one way to show a time, in the zone of whoever looks."""
    return timestamp(at) if at else empty


@register.simple_tag
def older_link(changelist: Any) -> str:
    """Where the rows older than this page's last are: found by time, as counting pages so far back would be slow."""
    rows = list(changelist.result_list)
    if changelist.paginator.count < getattr(changelist.paginator, "MOST", 0) or not rows:
        return ""
    column = changelist.model_admin.opts.ordering[0].removeprefix("-")
    last = getattr(rows[-1], column)
    return str(changelist.get_query_string({f"{column}__lte": last.isoformat()}, remove=["p"]))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A filter that a list has now: in words, and the address of the list without it."""

    title: str
    value: str
    without: str


@register.simple_tag
def chosen_filters(changelist: Any) -> list[Chosen]:
    """What keeps rows out of the list, wherever it was chosen: here or by a link."""
    chosen, known = [], {"p", "o", "q", "_facets", "all"}
    for spec in changelist.filter_specs:
        parameters = [name for name in spec.expected_parameters() if name]
        known.update(parameters)
        if not any(name in changelist.params or name in changelist.filter_params for name in parameters):
            continue
        # The first choice is that of all rows.
        words = [str(choice["display"]) for choice in list(spec.choices(changelist))[1:] if choice["selected"]]
        chosen.append(Chosen(str(spec.title), ", ".join(words), changelist.get_query_string(remove=parameters)))
    for name, values in changelist.filter_params.items():
        if name not in known and not name.startswith("_"):
            value = values[-1] if isinstance(values, list) else values
            words = name.removesuffix("__lte").replace("__", " ").replace("_", " ")
            shown = f"up to {value}" if name.endswith("__lte") else str(value)
            chosen.append(Chosen(words, shown, changelist.get_query_string(remove=[name])))
    if changelist.query:
        chosen.append(Chosen("search", changelist.query, changelist.get_query_string(remove=["q"])))
    return chosen


@register.simple_tag
def quick_choices(changelist: Any) -> list[dict[str, Any]]:
    """The choices of the filter that people use most, as links above the list."""
    name = getattr(changelist.model_admin, "quick_filter", "")
    for spec in changelist.filter_specs:
        if name and name in spec.expected_parameters():
            return list(spec.choices(changelist))
    return []
