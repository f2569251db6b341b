"""Trying a query out: would Khoros send a post with this label? Pure.

How Khoros compares is not documented: the vendor's pages call the query a regular expression and say no more. So each
plausible way is tried and named, and the one that Casebridge assumes comes first.
"""

from dataclasses import dataclass

from integrations.sources.khoros import plan


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one way of comparing; `matches` is None where the expression cannot be run here."""

    way: str
    matches: bool | None
    is_assumed: bool = False

    @property
    def message(self) -> str:
        if self.matches is None:
            return "cannot be tested: invalid, or it uses look-around or back-references"
        return "matches" if self.matches else "does not match"


@dataclass(frozen=True, slots=True)
class QueryPreview:
    """The query as Khoros is given it, and what becomes of a label by each way of comparing."""

    query: str
    verdicts: list[Verdict]


def preview_query(match: str, label: str, tried: str) -> QueryPreview:
    return QueryPreview(query_text(match, label), match_verdicts(match, label, tried))


def query_text(match: str, label: str) -> str:
    """The query as Khoros is given it."""
    query = plan.query_for(match, label)
    return f"“{query}”" if query else "no query (every event of this type)"


def match_verdicts(match: str, label: str, tried: str) -> list[Verdict]:
    """What becomes of the label typed, by each way in which Khoros may compare."""
    query = plan.query_for(match, label)
    if not query:
        return [Verdict("There is no query: Khoros sends every event of this type", True, is_assumed=True)]
    name = tried.rpartition(" - ")[2] or tried
    shown = tried if " - " in tried else f"Some set - {tried}"
    return [
        Verdict("Anywhere in the label's name", _search(query, name), is_assumed=True),
        Verdict(f"Anywhere in the name as the Khoros API shows it, “{shown}”", _search(query, shown)),
        Verdict("The whole name must match", _search(f"^(?:{query})$", name)),
        Verdict("Anywhere, ignoring case", _search(f"(?i){query}", name)),
    ]


def _search(query: str, text: str) -> bool | None:
    return plan.searches(query, text)
