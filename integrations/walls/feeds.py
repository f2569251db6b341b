"""A wall as feeds: RSS 2.0 (https://www.rssboard.org/rss-specification) and JSON Feed 1.1
(https://www.jsonfeed.org/version/1.1/). Pure: text from posts.

An item's id is the post's own id, so that a reader recognises it whatever else changes; its time is the post's.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit
from xml.sax.xmlreader import AttributesImpl

from django.utils.feedgenerator import Rss201rev2Feed
from django.utils.html import linebreaks

from integrations.infra.text import harmless, shortened
from integrations.models import Wall, WallPost

LONGEST_ITEM_TITLE = 100
MEDIA = "http://search.yahoo.com/mrss/"


class _RSSFeed(Rss201rev2Feed):
    """With the author's picture (https://www.rssboard.org/media-rss), and told how often to come back."""

    content_type = "application/rss+xml; charset=utf-8"

    def rss_attributes(self) -> dict[str, str]:
        return {**super().rss_attributes(), "xmlns:media": MEDIA}

    def add_item_elements(self, handler: Any, item: dict[str, Any]) -> None:
        super().add_item_elements(handler, item)
        if item["picture"]:
            handler.startElement("media:thumbnail", AttributesImpl({"url": item["picture"]}))
            handler.endElement("media:thumbnail")


def title_of(wall: Wall) -> str:
    return harmless(wall.title or wall.name)


def rss(wall: Wall, posts: Sequence[WallPost], page: str, own: str, changed_at: datetime) -> str:
    """`page` and `own` are the addresses of the wall's page and of this feed."""
    feed = _RSSFeed(title_of(wall), page, f"Posts on the wall “{title_of(wall)}”", feed_url=own, ttl=1)
    # The channel's time is that of its last change, not of its newest post.
    feed.latest_post_date = lambda: changed_at  # type: ignore[method-assign]
    for post in posts:
        feed.add_item(
            _item_title(post),
            iri_to_uri(post.link) or f"{page}#post-{post.pk}",
            linebreaks(post.text, autoescape=True),
            author_name=_named(post),
            pubdate=post.posted_at,
            unique_id=post.post_id,
            unique_id_is_permalink=False,
            categories=[post.network] if post.network else [],
            picture=post.picture,
        )
    return str(feed.writeString("utf-8"))


def json_feed(wall: Wall, posts: Sequence[WallPost], page: str, own: str) -> str:
    return json.dumps(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": title_of(wall),
            "home_page_url": page,
            "feed_url": own,
            "items": [_json_item(post, page) for post in posts],
        },
        ensure_ascii=False,
        indent=1,
    )


def _json_item(post: WallPost, page: str) -> dict[str, Any]:
    author = {"name": _named(post), **({"avatar": post.picture} if post.picture else {})}
    item = {
        "id": post.post_id,
        "url": iri_to_uri(post.link) or f"{page}#post-{post.pk}",
        "title": _item_title(post),
        "content_html": linebreaks(post.text, autoescape=True),
        "content_text": post.text,
        "date_published": _rfc3339(post.posted_at),
        "date_modified": _rfc3339(max(post.shown_at or post.posted_at, post.posted_at)),
        "authors": [author],
    }
    return item | ({"tags": [post.network]} if post.network else {})


def _item_title(post: WallPost) -> str:
    return shortened(f"{post.author}: {post.text}", LONGEST_ITEM_TITLE)


def _named(post: WallPost) -> str:
    handle = post.handle.removeprefix("@")
    author = post.author.casefold()
    is_in_it = not handle or handle.casefold() == author or f"@{handle.casefold()}" in author
    return post.author if is_in_it else f"{post.author} (@{handle})"


def iri_to_uri(address: str) -> str:
    """An address as feeds take it: ASCII alone, its host included. Empty where it cannot be written so."""
    try:
        parts = urlsplit(address)
        host = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
    except (ValueError, UnicodeError):
        return ""
    return quote(parts._replace(netloc=host).geturl(), safe="/:?#[]@!$&'()*+,;=%~-._")


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
