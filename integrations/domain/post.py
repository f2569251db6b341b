"""Post and Event: what sources produce and destinations consume. Plain values, each string safe to store and send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

# The event that a labelled post comes by.
LABEL_APPLIED = "stream-item-label-applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One normalised item of a notification. Missing text is ""; a missing or unreadable time is None.

    `post_id` is "<network>:<native id>", as in "twitter:123". `kind`: a customer's post, a message of our own that was
    planned or published, or an alert (about a credential, an error, an account). `networks` are all networks it
    concerns, where that is more than one. `facts` are further (name, value) pairs, named as in FACTS.
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
    # An https address that lasts, or nothing: many networks sign theirs for some days.
    author_picture: str = ""
    content_type: str = ""
    followers: int | None = None
    posted_at: datetime | None = None
    labels: tuple[str, ...] = ()
    in_reply_to: str = ""
    parent_post: str = ""
    reposted_from: str = ""
    kind: Literal["post", "message", "alert"] = "post"
    title: str = ""
    networks: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    # What agents wrote on the post in Khoros: internal words, which leave the portal only where a mapping allows it.
    notes: tuple[str, ...] = ()

    @property
    def all_networks(self) -> tuple[str, ...]:
        return self.networks or (self.network,)

    def fact(self, name: str) -> str:
        """The value of a fact; several are joined by commas; empty when there is none."""
        return ", ".join(value for known, value in self.facts if known == name)

    @property
    def details(self) -> str:
        """Every fact on a line of its own, in plain words."""
        return "\n".join(f"{FACTS.get(name, name)}: {value}" for name, value in self.facts if value)

    @property
    def link_words(self) -> str:
        """What a link to it is called."""
        return "Open it" if self.kind == "alert" else "Open the post"

    @property
    def author_text(self) -> str:
        """The author as people write it: "Ann (@ann)"."""
        handle = f"@{self.author_handle.removeprefix('@')}" if self.author_handle else ""
        if not self.author or self.author.casefold() == self.author_handle.casefold():
            return handle or self.author
        return f"{self.author} ({handle})" if handle else self.author


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A notification as parsed: what happened, when, and to which posts."""

    name: str
    happened_at: datetime | None
    posts: tuple[Post, ...]


# What a post may carry beyond its own fields: placeholder name -> title.
FACTS = {
    "rule_name": "Rule",
    "rule_id": "Id of the rule",
    "accounts": "Accounts",
    "scheduled_at": "Scheduled for",
    "published_at": "Published",
    "publication_status": "Publication",
    "publication_links": "Published at",
    "delegation_status": "Delegation",
    "visibility": "Visibility",
    "media": "Media",
    "is_native": "Scheduled on the network itself",
    "credential_name": "Account",
    "credential_id": "Id of the account",
    "khoros_message": "Khoros says",
    "control_type": "Type",
    "customer_id": "Id of the customer",
    "account_id": "Id of our account",
    "operation": "Operation",
    "tracking_id": "Tracking id",
    "description": "Description",
    "error_message": "Error",
    "request": "Request",
    "response_code": "Answer",
    "actor_id": "Done by user",
    "change": "Change",
    "alarm_kind": "Kind of alarm",
    "alarm_state": "State of the alarm",
}


class Unreadable(Exception):
    """A body that cannot be read as an event. The text says why, for staff."""
