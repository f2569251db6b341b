"""Addresses of posts as people copy them: the ones as which they may be stored, and the ids that they have in them.

Pure, and for reading only: what a post's link is, Khoros says.
"""

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

# Hosts that serve the same pages; the first is the usual one.
SAME_HOSTS = (
    ("twitter.com", "www.twitter.com", "mobile.twitter.com", "x.com", "www.x.com"),
    ("www.facebook.com", "facebook.com", "m.facebook.com", "web.facebook.com"),
    ("www.instagram.com", "instagram.com"),
    ("www.youtube.com", "youtube.com", "m.youtube.com"),
    ("www.linkedin.com", "linkedin.com"),
    ("www.tiktok.com", "tiktok.com", "m.tiktok.com"),
)
NATIVE_ID = re.compile(r"[A-Za-z0-9_.-]{3,64}")
# What a link names a post by besides its path's parts: urn:li:share:1, parcel-activity-1-AbCd.
INSIDE = re.compile(r"urn:li:\w+:([0-9]+)|-(?:activity|share|ugcPost)-([0-9]+)")
# Where it was copied and by whom; what a player begins with.
TRACKING = re.compile(
    r"utm_\w+|__\w+(\[\d+\])?|fbclid|gclid|igsh(id)?|si|s|t|ref(_\w+)?|mibextid|share|feature|is_from_webapp|sender_device|"
    r"lang|trk|rcm|app|pp|ab_channel|locale",
)
# Typed or pasted with what stands around a link in a text.
AROUND = " \t<>\"'“”‘’«»()[]{}.,;:!?"


def cleaned(typed: str) -> str:
    """Without the brackets, quotes and stops that a link was copied with."""
    return typed.strip(AROUND)


def spellings(link: str) -> list[str]:
    """The same address as it may have been stored, without what was added to it when it was copied."""
    parts = _split(link)
    return list(dict.fromkeys(_spelled(parts))) if parts else []


def native_ids(link: str) -> list[str]:
    """What of a link, or of a bare id, may be the network's own id of a post."""
    if "/" not in link:
        return [link] if NATIVE_ID.fullmatch(link) else []
    parts = _split(link)
    if parts is None:
        return []
    values = dict(parse_qsl(parts.query))
    both = [f"{values['id']}_{values['story_fbid']}"] if {"id", "story_fbid"} <= values.keys() else []
    inside = [found for pair in INSIDE.findall(unquote(link)) for found in pair if found]
    segments = [*unquote(parts.path).split("/"), *values.values(), *both, *inside]
    return list(dict.fromkeys(segment for segment in segments if NATIVE_ID.fullmatch(segment)))


def _split(link: str) -> SplitResult | None:
    try:
        parts = urlsplit(link if "://" in link else f"https://{link}")
    except ValueError:
        return None
    return _usual(parts._replace(netloc=parts.netloc.lower(), fragment=""))


def _usual(parts: SplitResult) -> SplitResult:
    """Short links and pages of the same post as the network's usual one."""
    if parts.netloc == "youtu.be":
        return parts._replace(netloc="www.youtube.com", path="/watch", query=f"v={parts.path.strip('/')}")
    host = next((same[0] for same in SAME_HOSTS if parts.netloc in same), parts.netloc)
    path = parts.path
    if host == "www.youtube.com" and (short := re.fullmatch(r"/(?:shorts|live)/([\w-]+)/?", path)):
        return parts._replace(path="/watch", query=f"v={short[1]}")
    if host == "www.instagram.com" and (post := re.fullmatch(r"/[\w.]+/(p|reel|tv)/([\w-]+)/?", path)):
        path = f"/{post[1]}/{post[2]}/"
    if host == "twitter.com" and (post := re.match(r"(/\w+/status/\d+)(/.*)?", path)):
        path = post[1]
    return parts._replace(path=path)


def _spelled(parts: SplitResult) -> Iterator[str]:
    hosts = next((same for same in SAME_HOSTS if parts.netloc in same), (parts.netloc,))
    given = parse_qsl(parts.query, keep_blank_values=True)
    kept = urlencode([(name, value) for name, value in given if not TRACKING.fullmatch(name)])
    path = parts.path.rstrip("/")
    for scheme in ("https", "http"):
        for host in hosts:
            for query in dict.fromkeys(("", kept, parts.query)):
                for ending in (path, f"{path}/"):
                    yield f"{scheme}://{host}{ending}" + (f"?{query}" if query else "")
