"""The contract between the journey and a place that deliveries go to.

A destination is one folder with an object of this shape, listed in integrations/destinations/__init__.py. It knows
neither the database nor the tasks: it is given plain settings and secrets, builds a request purely, and sends exactly
the bytes it is given. What the journey promises it: the same bytes and key at every automatic try; `look_up_first`
when an earlier try may have made the thing and the key no longer protects. What it promises: a Receipt, or a Failure
(http.Failure) whose words a person can act on. Whatever else it raises counts as a defect and fails the delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

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
    # (title, words, names of fields): parts of the form that are shown folded.
    FOLDED: ClassVar[tuple[tuple[str, str, tuple[str, ...]], ...]] = ()

    @classmethod
    def initial_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Stored settings as the form shows them."""
        return dict(settings)

    @classmethod
    def settings_of(cls, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        """The cleaned values as they are stored."""
        return {name: cleaned[name] for name in cls.base_fields}


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

    def mapping_form_for(self, lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type["MappingFields"]:
        """The same with what the account offers to choose from; plainly `mapping_form` where no lists were read.

        What is stored stays selectable, also where the account's lists do not have it.
        """
        ...

    def read_lists(self, line: Line, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
        """What the account offers, list by list, and why a list could not be read. Raises Failure, NotItsTurn."""
        ...

    def misfits(self, settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
        """What of a mapping's settings the account no longer takes: [{"field", "words"}]. Pure."""
        ...

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        """A built request marked as a test, and the external id that it bears. Pure."""
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

    def remarks(
        self, post: Post, context: Context, settings: Mapping[str, Any], lists: Mapping[str, Any] | None = None
    ) -> list[str]:
        """What `build` leaves out of this post's request because it does not fit, in words. Pure, like `build`."""
        ...

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        """The request as a person reads it: (our name of the field, value), with names where `lists` has them."""
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
