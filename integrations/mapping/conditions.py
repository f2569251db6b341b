"""A mapping's conditions. Pure: from conditions and a post to "" or to the reason why they are not met."""

from collections.abc import Callable, Mapping
from typing import Any

from integrations.domain.expressions import compile_expression
from integrations.domain.post import Post


def unmet_condition(conditions: Mapping[str, Any], post: Post) -> str:
    """Empty when every condition holds, else why the first one does not. An empty condition always holds."""
    for name, check in CHECKS.items():
        wanted = conditions.get(name)
        if wanted not in (None, "", []) and (reason := check(wanted, post)):
            return reason
    return ""


def _network(wanted: list[str], post: Post) -> str:
    """A message for several channels matches any network it was published on."""
    if any(not _among(wanted, network, "the network") for network in post.all_networks):
        return ""
    return _among(wanted, ", ".join(post.all_networks), "the network")


def _content_type(wanted: list[str], post: Post) -> str:
    return _among(wanted, post.content_type, "the content type")


def _among(wanted: list[str], value: str, name: str) -> str:
    if value.casefold() in (entry.casefold() for entry in wanted):
        return ""
    return f"{name} is {f'“{value}”' if value else 'unknown'}, expected {' or '.join(wanted)}"


def _followers_at_least(wanted: int, post: Post) -> str:
    if post.followers is not None and post.followers >= wanted:
        return ""
    return f"the author has {_count(post.followers)}, expected at least {wanted}"


def _followers_at_most(wanted: int, post: Post) -> str:
    if post.followers is not None and post.followers <= wanted:
        return ""
    return f"the author has {_count(post.followers)}, expected at most {wanted}"


def _count(followers: int | None) -> str:
    return "an unknown number of followers" if followers is None else f"{followers} followers"


def _text_contains(wanted: list[str], post: Post) -> str:
    text = post.text.casefold()
    if any(entry.casefold() in text for entry in wanted):
        return ""
    return f"the text does not contain {' or '.join(f'“{entry}”' for entry in wanted)}"


def _text_matches(wanted: str, post: Post) -> str:
    return "" if compile_expression(wanted).search(post.text) else f"the text does not match “{wanted}”"


def _authors(wanted: list[str], post: Post) -> str:
    names = {name.casefold().removeprefix("@") for name in (post.author, post.author_handle, post.author_id) if name}
    if any(entry.casefold().removeprefix("@") in names for entry in wanted):
        return ""
    return f"the author is {post.author_text or 'unknown'}, expected {' or '.join(wanted)}"


def _labels(wanted: list[str], post: Post) -> str:
    """Khoros' documented example has no labels at all, so they count only where the payload has some."""
    if not post.labels:
        return ""
    names = {name.casefold() for label in post.labels for name in (label, label.rpartition(" - ")[2])}
    if any(entry.casefold() in names for entry in wanted):
        return ""
    return f"the labels are {', '.join(post.labels)}, expected {' or '.join(wanted)}"


def _fact(name: str, title: str) -> Callable[[list[str], Post], str]:
    """A condition on facts: one of the wanted values is among the post's."""

    def check(wanted: list[str], post: Post) -> str:
        names = name.split()
        values = [value for known, value in post.facts if known in names and value]
        if {value.casefold() for value in values} & {entry.casefold() for entry in wanted}:
            return ""
        return f"{title} is {_quoted(values)}, expected {' or '.join(wanted)}"

    return check


def _quoted(values: list[str]) -> str:
    return f"“{', '.join(values)}”" if values else "unknown"


CHECKS: dict[str, Callable[[Any, Post], str]] = {
    "networks": _network,
    "content_types": _content_type,
    "followers_at_least": _followers_at_least,
    "followers_at_most": _followers_at_most,
    "text_contains": _text_contains,
    "text_matches": _text_matches,
    "authors": _authors,
    "labels": _labels,
    "rules": _fact("rule_name rule_id", "the rule"),
    "accounts": _fact("accounts credential_name credential_id account_id", "the account"),
    "operations": _fact("operation control_type", "the operation"),
}
