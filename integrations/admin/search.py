"""From what people paste into the search box to the posts they mean.

Exact things first, each by an index of its own: a post's id or link, as copied from any network; a ticket's number or
link; an external id. Only where nothing fits exactly, words of author and text are looked for, in any order.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Q

from integrations.admin.filters import existing_networks
from integrations.destinations import DESTINATIONS
from integrations.domain.pairs import is_dense, pairs_in
from integrations.domain.post_links import cleaned, native_ids, spellings
from integrations.models import Connection, Delivery, Mapping, Notification, PostContent, RemoteObject

MOST_FOUND = 50
# With shorter words a trigram index cannot help.
SHORTEST_WORD = 3
LONGEST_TERM = 2000
EXTERNAL_ID = re.compile(r"khoros:(.+):[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?::.*)?")
NUMBERED = re.compile(r"(?:ticket|case|request|#)*\s*#?\s*([0-9]{1,19})", re.IGNORECASE)
# By Khoros' names; others are known once something came from them.
NETWORKS = ("twitter", "facebook", "instagram", "youtube", "linkedin", "tiktok")


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of posts, newest first, and where was looked, for people."""

    post_ids: list[str]
    looked: str
    is_cut: bool = False


def find_posts(typed: str) -> Found:
    term = " ".join(typed.split())[:LONGEST_TERM]
    if exact := exact_posts(term):
        return Found(exact, "ids, links and numbers")
    words = [word for word in term.split() if word.strip("@")]
    if not words or "://" in term:
        return Found([], "ids and links of posts, and numbers and links of what they became")
    return _by_words(words)


def exact_posts(typed: str, most: int = MOST_FOUND) -> list[str]:
    """The ids of the posts that an id, a link or a number means: `most` in each of these ways."""
    term = cleaned(typed)
    return _unique([*_by_number(term, most), *_by_id(term, most), *_by_link(term, most)]) if term else []


# --- Exactly ---------------------------------------------------------------------------------------------------------


def _by_id(term: str, most: int) -> Iterator[str]:
    external = EXTERNAL_ID.fullmatch(term)
    wanted = [external[1]] if external else [term, *_with_networks(native_ids(term))]
    mappings = list(Mapping.objects.values_list("pk", flat=True))
    yield from PostContent.objects.filter(post_id__in=wanted).values_list("post_id", flat=True)[:most]
    # What is no longer kept is still in the ledger.
    known = Delivery.objects.filter(mapping__in=mappings, post_id__in=wanted)
    yield from known.values_list("post_id", flat=True)[:most]
    if term.isdecimal() and len(term) < 19:
        of_notification = PostContent.objects.filter(notification__in=Notification.objects.filter(pk=int(term)))
        yield from of_notification.values_list("post_id", flat=True)[:most]


def _with_networks(found: list[str]) -> list[str]:
    return [f"{network}:{native}" for network in _unique([*existing_networks(), *NETWORKS]) for native in found]


def _by_number(term: str, most: int) -> Iterator[str]:
    """By the number that people see, or by the address of a ticket, a message, ..."""
    numbered = NUMBERED.fullmatch(term)
    numbers = {term, numbered[1] if numbered else "", *(kind.number_in(term) for kind in DESTINATIONS.values())}
    # Of all connections by name: the index begins with them.
    accounts = list(Connection.objects.values_list("pk", flat=True))
    things = RemoteObject.objects.filter(connection__in=accounts, number__in=[number for number in numbers if number])
    rows = Delivery.objects.filter(remote_object__in=list(things.values_list("pk", flat=True)[:most]))
    yield from rows.order_by("-pk").values_list("post_id", flat=True)[:most]


def _by_link(term: str, most: int) -> Iterator[str]:
    if "/" not in term or " " in term:
        return
    rows = PostContent.objects.filter(link__in=[term, *spellings(term)])
    yield from rows.values_list("post_id", flat=True)[:most]


# --- By words --------------------------------------------------------------------------------------------------------


def _by_words(typed: list[str]) -> Found:
    bare = [word.strip("@") for word in typed]
    # A handle of two letters is found by the sign before it.
    words = [f"@{word}" if len(word) == 2 and f"@{word}" in typed else word for word in bare]
    long = [word for word in words if len(word) >= SHORTEST_WORD]
    pairs = [pair for word in words for pair in pairs_in(word)]
    # Any other short word may stand beside one that an index finds.
    wanted = [word for word in words if len(word) >= SHORTEST_WORD or is_dense(word) or long or pairs]
    if not long and not pairs:
        return Found([], "nothing: type at least three characters (two in Chinese, Japanese or Korean)")
    has_all = Q(pairs__contains=pairs) if pairs else Q()
    for word in wanted:
        has_all &= Q(search_text__icontains=word)
    rows = PostContent.objects.filter(has_all).order_by("-pk")
    found = _unique(rows.values_list("post_id", flat=True)[: MOST_FOUND * 2])
    return Found(found[:MOST_FOUND], "authors and texts of posts", is_cut=len(found) > MOST_FOUND)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
