"""From what people paste into the search box to the posts they mean.

Exact things first, each by an index of its own: a post's id or link, as copied from any network; a ticket's number or
link; an external id. Only where nothing fits exactly, words of author and text are looked for, in any order.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.db.models import Q

from integrations.admin.filters import existing_networks
from integrations.domain.pairs import is_dense, pairs_in
from integrations.models import Delivery, Mapping, Notification, PostContent, RemoteObject

MOST_FOUND = 50
# With shorter words a trigram index cannot help.
SHORTEST_WORD = 3
LONGEST_TERM = 2000
EXTERNAL_ID = re.compile(r"khoros:(.+):[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?::.*)?")
TICKET = re.compile(r"/(?:agent|hc/requests)/(?:tickets/)?([0-9]{1,19})")
NATIVE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")
URN = re.compile(r"urn:li:\w+:([0-9]+)")
# Hosts that serve the same pages.
SAME_HOSTS = (
    ("twitter.com", "www.twitter.com", "mobile.twitter.com", "x.com", "www.x.com"),
    ("facebook.com", "www.facebook.com", "m.facebook.com", "web.facebook.com"),
    ("instagram.com", "www.instagram.com"),
    ("youtube.com", "www.youtube.com", "m.youtube.com"),
    ("linkedin.com", "www.linkedin.com"),
    ("tiktok.com", "www.tiktok.com", "m.tiktok.com"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of posts, newest first, and where was looked, for people."""

    post_ids: list[str]
    looked: str
    is_cut: bool = False


def find_posts(typed: str) -> Found:
    term = " ".join(typed.split())[:LONGEST_TERM]
    exact = _unique([*_by_number(term), *_by_id(term), *_by_link(term)])
    if exact:
        return Found(exact, "ids, links and numbers")
    words = [word for word in term.replace("@", " ").split() if word]
    if not words or "://" in term:
        return Found([], "ids and links of posts, and numbers and links of tickets")
    return _by_words(words)


# --- Exactly ---------------------------------------------------------------------------------------------------------


def _by_id(term: str) -> Iterator[str]:
    external = EXTERNAL_ID.fullmatch(term)
    wanted = [external[1]] if external else [term, *_with_networks(_native_ids(term))]
    mappings = list(Mapping.objects.values_list("pk", flat=True))
    yield from PostContent.objects.filter(post_id__in=wanted).values_list("post_id", flat=True)[:MOST_FOUND]
    # What is no longer kept is still in the ledger.
    known = Delivery.objects.filter(mapping__in=mappings, post_id__in=wanted)
    yield from known.values_list("post_id", flat=True)[:MOST_FOUND]
    if term.isdecimal() and len(term) < 19:
        of_notification = PostContent.objects.filter(notification__in=Notification.objects.filter(pk=int(term)))
        yield from of_notification.values_list("post_id", flat=True)[:MOST_FOUND]


def _with_networks(native_ids: list[str]) -> list[str]:
    return [f"{network}:{native}" for network in existing_networks() for native in native_ids]


def _native_ids(term: str) -> list[str]:
    """What of a link, or of a bare id, may be the network's own id of a post."""
    if "/" not in term:
        return [term] if NATIVE_ID.fullmatch(term) else []
    parts = _split(term)
    if parts is None:
        return []
    values = [value for found in parse_qs(parts.query).values() for value in found]
    segments = [*unquote(parts.path).split("/"), *values, *URN.findall(unquote(term))]
    return _unique(segment for segment in segments if NATIVE_ID.fullmatch(segment))


def _by_number(term: str) -> Iterator[str]:
    ticket = TICKET.search(term)
    number = ticket[1] if ticket else term.removeprefix("#")
    things = list(RemoteObject.objects.filter(number=number).values_list("pk", flat=True)[:MOST_FOUND])
    rows = Delivery.objects.filter(remote_object__in=things).order_by("-pk")
    yield from rows.values_list("post_id", flat=True)[:MOST_FOUND]


def _by_link(term: str) -> Iterator[str]:
    if "/" not in term or " " in term:
        return
    rows = PostContent.objects.filter(link__in=list(_spellings(term)))
    yield from rows.values_list("post_id", flat=True)[:MOST_FOUND]


def _spellings(link: str) -> Iterator[str]:
    """The same address as it may have been stored: with another host of the network, without what was added to it."""
    parts = _split(link)
    if parts is None:
        return
    host = parts.netloc.lower()
    hosts = next((same for same in SAME_HOSTS if host in same), (host,))
    for scheme in ("https", "http"):
        for other in hosts:
            for path in (parts.path.rstrip("/"), f"{parts.path.rstrip('/')}/"):
                yield f"{scheme}://{other}{path}"
                yield parts._replace(scheme=scheme, netloc=other, path=path, fragment="").geturl()


def _split(link: str) -> SplitResult | None:
    try:
        return urlsplit(link if "://" in link else f"https://{link}")
    except ValueError:
        return None


# --- By words --------------------------------------------------------------------------------------------------------


def _by_words(words: list[str]) -> Found:
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
