"""What readers of a wall get: its page, the posts alone, and two feeds. Nobody signs in: the address is the key.

Every answer has an ETag and a time of change, so that a reader who has it is told "304" and no more. Nothing may keep
an answer without asking again, as the address can be revoked.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import http_date

from integrations.infra import database_clock
from integrations.models import Wall, WallPost
from integrations.walls import feeds
from integrations.walls.address import FRAME_ORIGIN, TOKEN, hash_of, own_origin
from integrations.walls.cache import Page, TooManyLooks, cached_page, etag_of
from integrations.walls.shown import find_wall, newest_first, shown_posts, wall_changed

HTML = "text/html; charset=utf-8"
# Scripts, styles and fonts are ours; pictures come from wherever authors have theirs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src https: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)
FEED_POLICY = "default-src 'none'; frame-ancestors "
# As they write themselves.
NETWORKS = {"linkedin": "LinkedIn", "youtube": "YouTube", "tiktok": "TikTok", "sinaweibo": "Sina Weibo", "x": "X"}
SETTLED_AFTER = timedelta(seconds=2)
Body = Callable[[Wall, str, list[WallPost], datetime], tuple[str, str]]


def wall_page(request: HttpRequest, token: str) -> HttpResponseBase:
    return _answer(request, token, "page", _page_body)


def wall_posts(request: HttpRequest, token: str) -> HttpResponseBase:
    """The posts as the page has them, for the page to look for new ones."""
    return _answer(request, token, "posts", _posts_body)


def wall_feed(request: HttpRequest, token: str) -> HttpResponseBase:
    return _answer(request, token, "rss", _rss_body)


def wall_json(request: HttpRequest, token: str) -> HttpResponseBase:
    return _answer(request, token, "json", _json_body)


def _answer(request: HttpRequest, token: str, form: str, body: Body) -> HttpResponseBase:
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    if not TOKEN.fullmatch(token):
        return _no_such_wall(request)
    token_hash = hash_of(token)
    try:
        page = cached_page(token_hash, form, lambda: _made(token, token_hash, body))
    except TooManyLooks:
        return _guarded(render(request, "walls/busy.html", status=503))
    return _no_such_wall(request) if page is None else _conditional(request, page)


def _made(token: str, token_hash: str, body: Body) -> Page | None:
    wall = find_wall(token_hash)
    if wall is None:
        return None
    changed_at = wall_changed(wall)
    content_type, text = body(wall, token, shown_posts(wall), changed_at)
    # What is no site would spoil the whole policy.
    sites = [site for site in wall.frame_origins.split() if FRAME_ORIGIN.fullmatch(site)]
    ancestors = " ".join(sites) or "'none'"
    etag = etag_of(text, ancestors)
    # A change within the same second as another could not be told from it by its time.
    is_settled = database_clock.now() - changed_at >= SETTLED_AFTER
    return Page(etag, int(changed_at.timestamp()) if is_settled else 0, ancestors, content_type, text)


def _conditional(request: HttpRequest, page: Page) -> HttpResponseBase:
    response = HttpResponse(page.body, content_type=page.content_type)
    if page.changed_at:
        response.headers["Last-Modified"] = http_date(page.changed_at)
    answer = get_conditional_response(request, page.etag, page.changed_at or None, response) or response
    policy = POLICY if page.content_type == HTML else FEED_POLICY
    answer.headers["ETag"] = page.etag
    answer.headers["Content-Security-Policy"] = policy + page.frame_ancestors
    if page.content_type != HTML:
        # A screen's own script may read it: who has the address may, from wherever.
        answer.headers["Access-Control-Allow-Origin"] = "*"
    return _guarded(answer)


def _guarded(answer: HttpResponseBase) -> HttpResponseBase:
    """The address is a secret: it is neither told to where a link leads, nor found by search engines."""
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    return answer


def _no_such_wall(request: HttpRequest) -> HttpResponseBase:
    return _guarded(render(request, "walls/none.html", status=404))


# --- Bodies ----------------------------------------------------------------------------------------------------------


def _page_body(wall: Wall, token: str, posts: list[WallPost], changed_at: datetime) -> tuple[str, str]:
    return HTML, render_to_string("walls/wall.html", _context(wall, token, posts))


def _posts_body(wall: Wall, token: str, posts: list[WallPost], changed_at: datetime) -> tuple[str, str]:
    return HTML, render_to_string("walls/posts.html", _context(wall, token, posts))


def _context(wall: Wall, token: str, posts: list[WallPost]) -> dict[str, object]:
    names = {"wall": wall, "title": feeds.title_of(wall), "looks": _looks_like(wall)}
    shown = [
        {
            "post": post,
            "network": NETWORKS.get(post.network, post.network.capitalize()),
            "link": feeds.iri_to_uri(post.link),
            "expires_at": wall.expiry_of(post),
        }
        for post in posts
    ]
    return names | {
        "posts": shown,
        "posts_address": reverse("wall-posts", args=[token]),
        "rss_address": reverse("wall-rss", args=[token]),
        "json_address": reverse("wall-json", args=[token]),
    }


def _looks_like(wall: Wall) -> str:
    """What a page has to be loaded anew for when it changes: heading, colours, script and style."""
    assets = render_to_string("walls/assets.html")
    return etag_of(wall.title, wall.theme, assets).strip('"')


def _rss_body(wall: Wall, token: str, posts: list[WallPost], changed_at: datetime) -> tuple[str, str]:
    page, own = (own_origin() + reverse(name, args=[token]) for name in ("wall-page", "wall-rss"))
    return "application/rss+xml; charset=utf-8", feeds.rss(wall, newest_first(wall, posts), page, own, changed_at)


def _json_body(wall: Wall, token: str, posts: list[WallPost], changed_at: datetime) -> tuple[str, str]:
    page, own = (own_origin() + reverse(name, args=[token]) for name in ("wall-page", "wall-json"))
    return "application/feed+json; charset=utf-8", feeds.json_feed(wall, newest_first(wall, posts), page, own)
