"""The contract between the journey and a place that deliveries go to.

A destination is one folder with an object of this shape, listed in integrations/destinations/__init__.py. It knows
neither the database nor the tasks: it is given plain settings and secrets, builds a request purely, and sends exactly
the bytes it is given. What the journey promises it: the same bytes and key at every automatic try; `look_up_first`
when an earlier try may have made the thing and the key no longer protects. What it promises: a Receipt, or a Failure
(http.Failure) whose words a person can act on. Whatever else it raises counts as a defect and fails the delivery.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from django import forms

from integrations.http import Line, Reply
from integrations.post import FACTS, Post
from integrations.templating import Value


@dataclass(frozen=True, slots=True)
class Context:
    """What a template may insert besides the post: one value for each placeholder that is not the post's."""

    label: str
    event: str
    company: str
    mapping: str
    notification_id: str
    labelled_at: datetime | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a delivery. `how` is "created", "already_there" (an earlier try under this key) or "found"."""

    number: str
    url: str
    how: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and how long it lives, in seconds; None where the other side does not say."""

    value: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in: the connection's settings, its secrets, and an access token where the account works with one."""

    settings: Mapping[str, Any]
    secrets: Mapping[str, str]
    access_token: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an answer's headers say of a request limit: so many in a minute, so many left, so many seconds to go."""

    per_minute: int | None
    remaining: int | None
    reset_seconds: float | None


class ConnectionFields(forms.Form):
    """Base of a destination's account form. `SECRETS` name the write-only fields, which are stored encrypted."""

    base_fields: ClassVar[dict[str, forms.Field]]
    SECRETS: ClassVar[tuple[str, ...]] = ()

    @property
    def stored_secrets(self) -> set[str]:
        """Names of the secrets that an empty field may keep."""
        return set()


class MappingFields(forms.Form):
    """Base of a destination's mapping form. Cleaned values are stored as JSON."""

    base_fields: ClassVar[dict[str, forms.Field]]

    @staticmethod
    def initial_of(settings: dict[str, Any]) -> dict[str, Any]:
        """Stored settings as the form shows them."""
        return dict(settings)


class Destination(Protocol):
    """One kind of connection. `kind` is stored; `title` is what staff read."""

    kind: str
    title: str

    @property
    def connection_form(self) -> type["ConnectionFields"]:
        """What staff fill in for an account."""
        ...

    @property
    def mapping_form(self) -> type["MappingFields"]:
        """What staff fill in for a mapping to such an account."""
        ...

    def origin(self, settings: Mapping[str, Any]) -> str:
        """Scheme and host that calls go to."""
        ...

    def external_id(self, post: Post, mapping_uuid: str) -> str:
        """The id under which the other side keeps what we make, at most 250 characters."""
        ...

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        """The body of the request, pure: the same input gives the same text. Raises templating.TemplateError."""
        ...

    def describe(self, request: str) -> list[tuple[str, str]]:
        """The request as a person reads it: (our name of the field, value)."""
        ...

    def needs_token(self, settings: Mapping[str, Any]) -> bool:
        """Whether calls need an access token from `fetch_token`."""
        ...

    def fetch_token(self, line: Line, credentials: Credentials) -> Token:
        """A fresh access token. Raises Failure."""
        ...

    def send(
        self, line: Line, request: str, external_id: str, key: str, credentials: Credentials, *, look_up_first: bool
    ) -> Receipt:
        """Makes the thing once, or finds it. Raises Failure."""
        ...

    def read_budgets(self, budget: str, reply: Reply) -> list[Budget]:
        """The limits that a reply tells of for the budget the call drew on."""
        ...


def placeholder_values(post: Post, context: Context) -> dict[str, Value]:
    """A value for every name in templating.PLACEHOLDERS."""
    return {
        "text": post.text,
        "author": post.author or post.author_handle,
        "author_handle": post.author_handle,
        "author_id": post.author_id,
        "author_link": post.author_link,
        "followers": "" if post.followers is None else str(post.followers),
        "network": post.network,
        "post_id": post.post_id,
        "native_id": post.native_id,
        "link": post.link,
        "content_type": post.content_type,
        "posted_at": post.posted_at,
        "labelled_at": context.labelled_at,
        "received_at": context.received_at,
        "label": context.label,
        "labels": ", ".join(post.labels),
        "in_reply_to": post.in_reply_to,
        "parent_post": post.parent_post,
        "reposted_from": post.reposted_from,
        "event": context.event,
        "company": context.company,
        "mapping": context.mapping,
        "notification_id": context.notification_id,
        "title": post.title,
        "details": post.details,
    } | {name: post.fact(name) for name in FACTS}


# --- What became of it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TicketNews:
    """What is told of a ticket at one moment, by the account's own clock.

    `status` is one of STATUSES, or empty where none is told that we know; `changed_at` is None where the time is not
    told. `assignee_id`: None where nothing is told of it, empty where it is nobody. `is_ours`: whether the ticket bears
    an external id of ours; None where that is not told.
    """

    number: str
    status: str = ""
    assignee_id: str | None = None
    assignee_name: str = ""
    changed_at: datetime | None = None
    is_deleted: bool = False
    is_ours: bool | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """The account's webhook that calls us: its id there, and the secret that signs its calls."""

    id: str
    secret: str


@runtime_checkable
class TellsStatus(Protocol):
    """What a destination has besides when the status of its tickets comes back. Others just lack these methods."""

    def verify_webhook(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Empty when the call is signed with the secret and fresh at `now` (the account's clock), else why not."""
        ...

    def event_key(self, headers: Mapping[str, str]) -> str:
        """What tells calls apart where their body has no id of its own; empty where nothing does."""
        ...

    def read_event(self, body: bytes) -> tuple[str, str, TicketNews | None]:
        """(the event's id, its kind, its news); empty and None where the body has none. Never raises."""
        ...

    def read_tickets(self, line: Line, numbers: Sequence[str], credentials: Credentials) -> list[TicketNews]:
        """News of the tickets (100 at most); those that the account does not show are missing. Raises Failure."""
        ...

    def read_ticket(self, line: Line, number: str, credentials: Credentials) -> TicketNews:
        """News of one ticket, which may be that there is none (any more). Raises Failure."""
        ...

    def set_up_webhook(self, line: Line, name: str, endpoint: str, credentials: Credentials) -> Webhook:
        """Makes the webhook, or takes over the one that calls this endpoint already. Raises Failure."""
        ...

    def remove_webhook(self, line: Line, webhook_id: str, credentials: Credentials) -> None:
        """Removes it; one that is gone already counts as removed. Raises Failure."""
        ...
