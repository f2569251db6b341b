"""Post and Event: what sources produce and destinations consume. Plain values, each string safe to store and send."""

import re
from dataclasses import dataclass
from datetime import datetime

# PostgreSQL stores no NUL, and half a surrogate pair cannot be encoded as UTF-8.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text without the few characters that neither a database nor UTF-8 can hold."""
    return UNSTORABLE.sub("�", text) if UNSTORABLE.search(text) else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One normalised item of a notification. Missing text is ""; a missing or unreadable time is None.

    `post_id` is "<network>:<native id>", as in "twitter:123".
    """

    post_id: str
    network: str
    native_id: str
    text: str = ""
    link: str = ""
    author: str = ""
    author_handle: str = ""
    author_id: str = ""
    author_link: str = ""
    content_type: str = ""
    followers: int | None = None
    posted_at: datetime | None = None
    labels: tuple[str, ...] = ()
    in_reply_to: str = ""
    parent_post: str = ""
    reposted_from: str = ""

    @property
    def author_words(self) -> str:
        """The author as people write it: "Ann (@ann)"."""
        handle = f"@{self.author_handle.removeprefix('@')}" if self.author_handle else ""
        if not self.author or self.author.casefold() == self.author_handle.casefold():
            return handle or self.author
        return f"{self.author} ({handle})" if handle else self.author


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A notification as read: what happened, when, and to which posts."""

    name: str
    happened_at: datetime | None
    posts: tuple[Post, ...]


class Unreadable(Exception):
    """A body that cannot be read as an event. The text says why, for the person who looks at it."""
