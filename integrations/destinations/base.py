"""The contract between the journey and a place that deliveries go to.

A destination is one folder with an object of this shape, listed in integrations/destinations/__init__.py. It knows
neither the database nor the tasks: it is given plain settings and secrets, builds a request purely, and sends exactly
the bytes it is given. What the journey promises it: the same bytes and key at every automatic try; `look_up_first`
when an earlier try may have created the thing and the key no longer protects. What it promises: a Receipt, or a Failure
(infra.http.failure) that a person can act on. Whatever else it raises counts as a defect and fails the delivery; so
does a Receipt that cannot be stored (delivery/receipts.py), which is never sent again automatically.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from django import forms

from integrations.domain.post import FACTS, Post
from integrations.domain.templating import Value
from integrations.infra.http.client import HttpClient
from integrations.infra.http.reply import Reply


@dataclass(frozen=True, slots=True)
class Context:
    """The values of the placeholders that do not come from the post."""

    label: str
    event: str
    company: str
    mapping: str
    notification_id: str
    labelled_at: datetime | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a mapping's settings ask of the journey, besides the request itself.

    `case`: "post" (a case of its own), "conversation", "author" (within `case_hours`) or "always" (one per label).
    `requester`: "account" (whoever the connection signs in as), "intake" (the user `intake_user`) or "author" (a user
    for each author; else `intake_user`). `adds_note`: the source context follows as an internal note.
    """

    case: str = "post"
    case_hours: int = 24
    requester: str = "account"
    intake_user: str = ""
    adds_note: bool = False

    @property
    def needs_preparation(self) -> bool:
        """Whether a case or an author has to be resolved before the request is final."""
        return self.case in ("conversation", "author") or self.requester == "author"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is to be sent: exactly these bytes under this key, as a new thing or to the one numbered `target`."""

    request: str
    external_id: str
    key: str
    action: str = "create"
    target: str = ""
    look_up_first: bool = False


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a post, as a user to look up or create; `external_id` is ours."""

    external_id: str
    name: str
    network: str
    handle: str
    network_id: str


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the account, or (without `user_id`) why the author cannot be one."""

    user_id: str
    name: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JobItem:
    """The result of the request with this index: a number, or why there is none."""

    index: int
    number: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JobNews:
    """The progress of a job. `items` are complete once it `has_ended`; for missing ones the outcome is unknown."""

    has_ended: bool
    message: str
    items: tuple[JobItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a delivery. `how`: "created", "already_there" (an earlier try under this key), "found", "appended"."""

    number: str
    url: str
    how: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and how long it lives, in seconds; None where the other side does not say.

    `scope` is what was granted, as reported; `refresh_token` is set where a person consented, and works once.
    """

    value: str
    seconds: float | None
    refresh_token: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of a connection test. `ok` is None for what is worth knowing but blocks nothing."""

    ok: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in: the connection's settings, its secrets, and an access token where the account works with one.

    `scope` is what was granted with that token, as far as known.
    """

    settings: Mapping[str, Any]
    secrets: Mapping[str, str]
    access_token: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """A request limit from a reply's headers: per minute, remaining, and seconds until it resets."""

    per_minute: int | None
    remaining: int | None
    reset_seconds: float | None


class ConnectionFields(forms.Form):
    """Base of a destination's account form. `SECRETS` name the write-only fields, which are stored encrypted."""

    base_fields: ClassVar[dict[str, forms.Field]]
    SECRETS: ClassVar[tuple[str, ...]] = ()
    # Values assumed for settings that are not stored, so that adding a field does not change stored sign-ins.
    ASSUMED: ClassVar[dict[str, str]] = {}

    @property
    def stored_secrets(self) -> set[str]:
        """Names of the secrets that an empty field may keep."""
        return set()


class MappingFields(forms.Form):
    """Base of a destination's mapping form. Cleaned values are stored as JSON."""

    base_fields: ClassVar[dict[str, forms.Field]]
    # (title, description, field names): parts of the form that are shown folded.
    FOLDED: ClassVar[tuple[tuple[str, str, tuple[str, ...]], ...]] = ()

    @classmethod
    def sections(cls) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """(title, description, field names): parts of the form with a heading of their own."""
        return ()

    @classmethod
    def initial_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Stored settings as the form shows them."""
        return dict(settings)

    @classmethod
    def without_defaults(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings without values that mean the same as their absence."""
        return settings

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

    @property
    def migration_form(self) -> type[forms.Form]:
        """What staff fill in to move from a sign-in that ends to an OAuth client: client_id, client_secret, scopes."""
        ...

    def mapping_form_for(self, lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type["MappingFields"]:
        """The same with choices from the account's lists; plain `mapping_form` where no lists were read.

        What is stored stays selectable even where the lists do not have it.
        """
        ...

    def read_lists(self, client: HttpClient, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
        """The account's lists by name, and why a list could not be read. Raises Failure, NoPermit."""
        ...

    def misfits(self, settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
        """The settings of a mapping that the account no longer accepts: [{"field", "message"}]. Pure."""
        ...

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        """A built request marked as a test, and its external id. Pure."""
        ...

    def origin(self, settings: Mapping[str, Any]) -> str:
        """Scheme and host that calls go to."""
        ...

    def external_id(self, post: Post, mapping_uuid: str, occasion: str = "") -> str:
        """Our id for what is created there, at most 250 characters."""
        ...

    def rules(self, settings: Mapping[str, Any]) -> Rules:
        """What a mapping's settings ask of the journey."""
        ...

    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        """The body of the request, pure: the same input gives the same text. Raises templating.TemplateError."""
        ...

    def remarks(
        self, post: Post, context: Context, settings: Mapping[str, Any], lists: Mapping[str, Any] | None = None
    ) -> list[str]:
        """What `build` leaves out of this post's request because it does not fit, as sentences. Pure, like `build`."""
        ...

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        """The request as a person reads it: (our name of the field, value), with names where `lists` has them."""
        ...

    def needs_token(self, settings: Mapping[str, Any]) -> bool:
        """Whether calls need an access token from `fetch_token`."""
        ...

    def fetch_token(self, client: HttpClient, credentials: Credentials) -> Token:
        """A fresh access token. Raises Failure."""
        ...

    def build_note(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        """The request that adds the source context to a ticket as an internal note; "" where there is none."""
        ...

    def build_flood_ticket(self, settings: Mapping[str, Any], title: str, text: str, external_id: str) -> str:
        """The request for one ticket for a flood of posts, in the place of the mapping's tickets and marked as such."""
        ...

    def with_requester(self, request: str, user_id: str) -> str:
        """The request with this user as the requester; without a requester where it is empty."""
        ...

    def as_comment(self, request: str, external_id: str) -> str:
        """A new ticket's request as a comment on an existing one, with `external_id` in it for look-ups."""
        ...

    def as_follow_up(self, request: str, number: str) -> str:
        """The request as a follow-up of a closed ticket."""
        ...

    def asks_consent(self, settings: Mapping[str, Any]) -> bool:
        """Whether a person has to consent at the account, and each renewal then replaces the refresh token."""
        ...

    def authorization_url(self, settings: Mapping[str, Any], redirect_uri: str, state: str) -> str:
        """Where a person consents; the browser is sent back to `redirect_uri` with this state."""
        ...

    def exchange_code(self, client: HttpClient, credentials: Credentials, code: str, redirect_uri: str) -> Token:
        """The first pair of tokens, for the code of a consent. Raises Failure."""
        ...

    def refresh(self, client: HttpClient, credentials: Credentials, refresh_token: str) -> Token:
        """The next pair; the old one is invalid once this was answered. Raises Failure."""
        ...

    def check(self, client: HttpClient, credentials: Credentials) -> list[Check]:
        """Tests what deliveries need without changing anything. Raises Failure only for a refused access token."""
        ...

    def sign_in_ends(self, settings: Mapping[str, Any]) -> date | None:
        """The day on which this way of signing in ends for everybody; None where no end is known."""
        ...

    def moved_settings(self, settings: Mapping[str, Any], client_id: str, scopes: str) -> dict[str, Any]:
        """The settings of the same account with sign-in by an OAuth client."""
        ...

    def send(self, client: HttpClient, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        """Creates the thing once, or finds it. Raises Failure."""
        ...

    def find(self, client: HttpClient, external_id: str, credentials: Credentials) -> Receipt | None:
        """The thing with our external id, if there is one. Raises Failure."""
        ...

    def find_comment(
        self, client: HttpClient, number: str, external_id: str, credentials: Credentials
    ) -> Receipt | None:
        """The comment with our external id on this ticket, if there is one. Raises Failure."""
        ...

    def ticket_status(self, client: HttpClient, number: str, credentials: Credentials) -> str:
        """new, open, pending, hold, solved, closed; "" when the ticket is gone. Raises Failure."""
        ...

    def user_name(self, client: HttpClient, user_id: str, credentials: Credentials) -> str:
        """The name of a user; "" where there is none with this number who may be a requester. Raises Failure."""
        ...

    def find_person(self, client: HttpClient, author: Author, credentials: Credentials) -> Person:
        """The author's user, looked up or created. Raises Failure, NoPermit."""
        ...

    def send_many(self, client: HttpClient, requests: list[str], credentials: Credentials) -> str:
        """Hands up to 100 requests over as one job and returns its number. Raises Failure."""
        ...

    def read_job(self, client: HttpClient, number: str, credentials: Credentials) -> JobNews:
        """The progress of a job. Raises Failure."""
        ...

    def are_jobs_under_way(self, client: HttpClient, known: set[str], credentials: Credentials) -> bool | None:
        """Whether a job other than the known ones is unfinished; None where that is unknown. Raises Failure."""
        ...

    def ticket_url(self, settings: Mapping[str, Any], number: str) -> str:
        """Where people open a ticket."""
        ...

    def read_budgets(self, budget: str, reply: Reply) -> list[Budget]:
        """The limits in a reply for the budget that the call drew on."""
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
        "notes": "\n".join(post.notes),
    } | {name: post.fact(name) for name in FACTS}


# --- Ticket status ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TicketNews:
    """The state of a ticket at one time, by the account's clock.

    `status` is one of the statuses we know, or empty; `changed_at` is None where the time is unknown. `assignee_id`:
    None where unknown, empty where nobody is assigned. `is_ours`: whether the ticket has an external id of ours; None
    where unknown.
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
    """Capability: the status of its tickets comes back. Destinations without it just lack these methods."""

    def verify_webhook(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Empty when the call is signed with the secret and fresh at `now` (the account's clock), else why not."""
        ...

    def why_unfit_secret(self, secret: str) -> str:
        """Why this cannot be a webhook's own signing secret; empty when it may be. Pure."""
        ...

    def event_key(self, headers: Mapping[str, str]) -> str:
        """What identifies a call whose body has no id of its own; empty where nothing does."""
        ...

    def read_event(self, body: bytes) -> tuple[str, str, TicketNews | None]:
        """(the event's id, its kind, its news); empty and None where the body has none. Never raises."""
        ...

    def read_tickets(self, client: HttpClient, numbers: Sequence[str], credentials: Credentials) -> list[TicketNews]:
        """News of the tickets (100 at most); those that the account does not show are missing. Raises Failure."""
        ...

    def read_ticket(self, client: HttpClient, number: str, credentials: Credentials) -> TicketNews:
        """News of one ticket, which may be that there is none (any more). Raises Failure."""
        ...

    def set_up_webhook(self, client: HttpClient, name: str, endpoint: str, credentials: Credentials) -> Webhook:
        """Creates the webhook, or takes over one that already calls this endpoint. Raises Failure."""
        ...

    def remove_webhook(self, client: HttpClient, webhook_id: str, credentials: Credentials) -> None:
        """Removes it; one that is gone already counts as removed. Raises Failure."""
        ...
