"""The contract between the journey and a place that deliveries go to.

A destination is one folder with an object of class `Destination`, listed in integrations/destinations/__init__.py. It
knows neither the database nor the tasks: it is given plain settings and secrets, builds a request purely, and sends
exactly the text it is given. What every destination is asked for is in `Destination`; whatever only some can do (look a
thing up, keep cases, sign in by token, ...) is a protocol of its own in `capabilities`, which it has or simply lacks.

What the journey promises: the same text and key at every automatic try, unless a definite refusal shows that another
request avoids it; `look_up_first` when an earlier try may have created the thing and the key no longer protects. What a
destination promises: a Receipt, or a Failure (infra.http.failure) that a person can act on. Whatever else it raises
counts as a defect and fails the delivery; so does a Receipt that cannot be stored (delivery/receipts.py), which is
never sent again automatically.

Secrets that belong into a body are put in by `send`: what `build` returns is stored and shown to staff.
"""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import quote, urlsplit

from django import forms
from django.core.exceptions import ValidationError

from integrations.domain.post import FACTS, Post
from integrations.domain.templating import TemplateError, Value, check_json_template, check_template
from integrations.infra.client import Client
from integrations.infra.http.addresses import AddressRefused, checked_origin, is_path
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.infra.text import harmless, is_token

LONGEST_EXTERNAL_ID = 250
LONGEST_QUOTED = 500
# In the help text of a template's field: becomes the lists of the placeholders and filters that there are.
NAMES = "Placeholders: {PLACEHOLDERS}. Filters: {FILTERS}."
LONGEST_LINK = 2000


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
    # What the mapping that this one is sent after has made; empty where there is none.
    made_number: str = ""
    made_link: str = ""
    made_status: str = ""
    made_thing: str = ""
    # The same as long as the mapping exists, whatever it is called.
    mapping_uuid: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a mapping's settings ask of the journey, besides the request itself.

    `case`: "post" (a case of its own), "conversation", "author" (within `case_hours`) or "always" (one per label).
    `requester`: "account" (whoever the connection signs in as), "intake" (the user `intake_user`) or "author" (a user
    for each author; else `intake_user`). `adds_note`: the source context follows as an internal note. `shares_notes`:
    agents' internal notes on the post may leave the portal; otherwise `build` gets the post without them.
    `place`: where things go, where that can be chosen: an open case of another place takes no more posts.
    `marks_solved`: a thing says so when what it was sent after is solved. `gathers_over`: more posts than this a minute
    become one thing that counts them; 0 for never.
    """

    case: str = "post"
    case_hours: int = 24
    requester: str = "account"
    intake_user: str = ""
    adds_note: bool = False
    shares_notes: bool = False
    place: str = ""
    marks_solved: bool = False
    gathers_over: int = 0

    @property
    def needs_preparation(self) -> bool:
        """Whether a case or an author has to be resolved before the request is final."""
        return self.case in ("conversation", "author") or self.requester == "author"

    @property
    def substitute(self) -> str:
        """In whose name it is sent where the author cannot be the requester, in words."""
        return f"the intake user {self.intake_user}" if self.intake_user else "the connection's own user"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A ready mapping for one event: what the form is filled in with. `title` names the new mapping too.

    `after`: the thing of another mapping of the same subscription that this one is sent after, such as "ticket".
    """

    slug: str
    title: str
    description: str
    event: str
    settings: Mapping[str, Any]
    conditions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    after: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is to be sent: exactly this text under this key, as a new thing or to the one numbered `target`.

    `external_id` is the same for every try of a delivery, whoever asks for it and however often; `key` changes with the
    request.
    """

    request: str
    external_id: str
    key: str
    action: str = "create"
    target: str = ""
    look_up_first: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a delivery. `how`: "created", "already_there" (an earlier try under this key), "found", "appended",
    "updated".

    `number` (1 to 250 characters) is how people name the thing: the external id where the other side gives none. `url`
    (at most 500) opens it, or is empty. `status` (at most 20) is what it was made with, for what is sent after it.
    """

    number: str
    url: str
    how: str
    warning: str = ""
    status: str = ""


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


# --- What staff fill in ----------------------------------------------------------------------------------------------


class ConnectionFields(forms.Form):
    """Base of a destination's account form. What is typed into a `SecretField` is stored encrypted.

    Fields may not be called like those that every connection has: name, is_active, limit_share, backlog_minutes,
    look_up_before_create, retry_schedule.
    """

    base_fields: ClassVar[dict[str, forms.Field]]
    # Values assumed for settings that are not stored, so that adding a field does not change stored sign-ins.
    ASSUMED: ClassVar[dict[str, str]] = {}
    # Fields that make sense with some choices of another: name -> (the other's name, its values).
    SHOWN_WITH: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (other, values) in self.SHOWN_WITH.items():
            self.fields[name].widget.attrs |= {"data-shown-with": other, "data-shown-for": " ".join(values)}

    @classmethod
    def secret_names(cls) -> list[str]:
        return [name for name, field in cls.base_fields.items() if isinstance(field, SecretField)]

    @property
    def stored_secrets(self) -> set[str]:
        """Names of the secrets that an empty field may keep; the admin fills them in, once all fields are cleaned."""
        return set()

    def clean(self) -> dict[str, Any]:
        """Asks for needed secrets that are neither typed nor stored."""
        cleaned: dict[str, Any] = super().clean() or {}
        for name, field in self.fields.items():
            is_missing = not cleaned.get(name) and name not in self.stored_secrets and name not in self.errors
            if isinstance(field, SecretField) and field.is_needed and is_missing:
                self.add_error(name, "Required.")
        return cleaned


class MappingFields(forms.Form):
    """Base of a destination's mapping form. Cleaned values are stored as JSON."""

    base_fields: ClassVar[dict[str, forms.Field]]
    # The field whose first text is written for the event, as each kind of event has another headline.
    HEADLINE: ClassVar[str] = ""
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


def check_token(typed: str) -> None:
    """Raises ValidationError for what no key or token has in it, like the invisible characters of a copied page."""
    if not is_token(typed):
        raise ValidationError("It contains a space or a character that no token has. Copy it again.")


class SecretField(forms.CharField):
    """A write-only field of a connection's form: stored encrypted, never shown. Left empty, what is stored is kept.

    `is_needed`: one has to be typed or stored. (`required` would ask for it again at every save.) `is_chosen`: it is
    a password or an address, so it may have any characters; else it is made of what tokens are made of.
    """

    KEEP = (
        "Stored encrypted, never shown. Leave empty to keep the stored value; if the address changes, enter it again."
    )

    def __init__(
        self, *, is_needed: bool = False, is_chosen: bool = False, help_text: str = KEEP, **options: Any
    ) -> None:
        self.is_needed = is_needed
        checks = [] if is_chosen else [check_token]
        super().__init__(required=False, widget=forms.PasswordInput, help_text=help_text, validators=checks, **options)


class TemplateField(forms.CharField):
    """A text with placeholders, refused beside the field when it cannot be rendered.

    `NAMES` in its help text becomes the lists of those that there are.
    """

    check = staticmethod(check_template)

    def clean(self, value: Any) -> str:
        template: str = super().clean(value).replace("\r\n", "\n")
        try:
            if template:
                self.check(template)
        except TemplateError as error:
            raise ValidationError(str(error)) from None
        return template


class JSONTemplateField(TemplateField):
    """JSON whose texts have placeholders; `templating.render_json` fills it in."""

    check = staticmethod(check_json_template)


def checked_address(raw: str, example: str) -> str:
    """An address as it may be called: scheme and host only. Raises ValidationError. For `clean_address` of a form."""
    try:
        return checked_origin(raw, example=example)
    except AddressRefused as refused:
        raise ValidationError(str(refused)) from None


def checked_url(raw: str, example: str) -> tuple[str, str]:
    """(origin, path with query) of an address that is entered whole. Raises ValidationError."""
    origin = checked_address(raw, example)
    parts = urlsplit(raw if "://" in raw else f"https://{raw}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not is_path(path):
        raise ValidationError(f"This is not an address. Enter it like {example}.")
    return origin, path


def openable(address: str) -> str:
    """A post's link if a browser opens it, else nothing."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    is_web = parts.scheme in ("http", "https") and bool(parts.netloc)
    return address if is_web and len(address) <= LONGEST_LINK and harmless(address) == address else ""


def quoted_link(address: str) -> str:
    """A post's link with everything quoted that could end it early, if a browser opens it; else nothing."""
    return quote(openable(harmless(address)), safe="/:?#[]@!$&'()*+,;=%~-._")


# --- The core --------------------------------------------------------------------------------------------------------


ClientT = TypeVar("ClientT", bound=Client)


class Destination(ABC, Generic[ClientT]):
    """One kind of connection. Abstract methods and bare attributes have to be written; the rest may be.

    What it calls with is `client_class`: HTTP for most, mail (infra.smtp.SmtpClient) or a store of this portal
    (capabilities.PostStore) for others.

    `kind` is stored; `title` is what staff read, as in “Zendesk”; `thing` is what is made there, in the singular:
    "ticket", "message", "alert". `drops_repeats`: whether what is sent again under the same external id is recognised
    there, so that trying again makes no second thing. `repeats_freely`: whether what may exist already is tried again
    as often as the schedule says; else once more at most, as nobody there drops what comes twice. `kept_headers` are
    headers of replies, in lower case, that are worth recording.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    thing: ClassVar[str]
    client_class: ClassVar[type[Client]] = HttpClient
    connection_form: type[ConnectionFields]
    mapping_form: type[MappingFields]
    drops_repeats: ClassVar[bool] = False
    repeats_freely: ClassVar[bool] = True
    recipes: ClassVar[tuple[Recipe, ...]] = ()
    kept_headers: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def build(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        """The text of the request, pure: the same input gives the same text. Raises templating.TemplateError.

        `settings` are the mapping's. Stored and shown to staff, so without secrets.
        """

    @abstractmethod
    def send(self, client: ClientT, outgoing: Outgoing, credentials: Credentials) -> Receipt:
        """Makes the thing once, or finds it. Raises Failure."""

    @abstractmethod
    def check(self, client: ClientT, credentials: Credentials) -> list[Check]:
        """Tests what deliveries need without changing anything. Raises Failure."""

    def origin(self, settings: Mapping[str, Any]) -> str:
        """Scheme and host that calls go to, and nowhere else. `settings` are the connection's."""
        return str(settings.get("address", ""))

    def external_id(self, post_id: str, mapping_uuid: str, occasion: str = "") -> str:
        """Our id for what is made there, of what any copy of the portal receives: so all of them ask for one thing.

        Two mappings never take each other's things for their own; the occasion tells several of one post apart.
        """
        ending = f":{mapping_uuid}:{occasion}" if occasion else f":{mapping_uuid}"
        whole = f"khoros:{post_id}{ending}"
        if len(whole) <= LONGEST_EXTERNAL_ID:
            return whole
        return f"khoros:{hashlib.sha256(post_id.encode()).hexdigest()}{ending}"

    def has_lists(self, settings: Mapping[str, Any]) -> bool:
        """Whether an account with these settings has lists to choose from, where the destination offers any."""
        return True

    def shown_number(self, number: str) -> str:
        """A thing's number as people read it; empty where it says nothing to them."""
        return number

    def number_in(self, text: str) -> str:
        """The number of a thing that an address of the account leads to, or ""; for what people paste into a search."""
        return ""

    def rules(self, settings: Mapping[str, Any]) -> Rules:
        """What a mapping's settings ask of the journey. Only with the capabilities that they need."""
        return Rules()

    def unfit(self, settings: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, str]:
        """What of a mapping's settings the connection's settings (`account`) do not allow: {field: sentence}. Pure."""
        return {}

    def remarks(
        self, post: Post, context: Context, settings: Mapping[str, Any], lists: Mapping[str, Any] | None = None
    ) -> list[str]:
        """What `build` leaves out of this post's request because it does not fit, as sentences. Pure, like `build`."""
        return []

    def describe(self, request: str, lists: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
        """The request as a person reads it: (our name of the field, value), with names where `lists` has them."""
        return list(_rows(json.loads(request)))


def _rows(content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each value of JSON content with the path to it; without those that are empty."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            shown = str(key).replace("_", " ")
            yield from _rows(value, f"{name}: {shown}" if name else shown.capitalize())
    elif isinstance(content, list) and content:
        for value in content:
            yield from _rows(value, name)
    elif isinstance(content, str):
        if content:
            yield name or "Content", content
    else:
        yield name or "Content", as_json(content)


def as_json(content: Any) -> str:
    """JSON in one way only, so that the same content is the same text."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


# --- Replies of plain HTTP services ----------------------------------------------------------------------------------


def post_json(
    client: HttpClient, path: str, content: Any, title: str, accepted_by: Container[int] = range(200, 300)
) -> Reply:
    """The reply, if it accepts the content: a status of `accepted_by`, and no page for people. Raises Failure."""
    reply = client.call("POST", path, headers={"Content-Type": "application/json"}, body=as_json(content).encode())
    if reply.status not in accepted_by or reply.looks_like_html:
        raise refusal(reply, title)
    return reply


def refusal(reply: Reply, title: str) -> Failure:
    """What a reply that is no acceptance means at a service that gives status codes their usual meaning.

    401 and 403 (sign-in), redirects, 404 and 410 (address) pause the connection, as they concern all its deliveries;
    429 pauses it for as long as is asked; 408, 425 and 5xx are tried again; any other is final.
    """
    status, own_text = reply.status, " ".join(reply.text[:LONGEST_QUOTED].split())
    address = "Correct the connection's address."
    if 200 <= status < 300:
        message = f"{title} answered {status}, which is not how it accepts a request."
        return Failure(message, own_text, status=status, is_uncertain=True, remedy=address, remedy_at="connection")
    if status in (401, 403):
        remedy = "Correct the secret on the connection and save; it resumes when the test passes."
        return _of_the_connection(f"{title} refused the sign-in (status {status}).", own_text, status, remedy)
    if 300 <= status < 400:
        message = f"{title} answers from a different address (status {status}). Casebridge does not follow redirects."
        return _of_the_connection(message, reply.headers.get("location", "")[:LONGEST_QUOTED], status, address)
    if status in (404, 410):
        gone = "is gone from" if status == 410 else "does not exist at"
        return _of_the_connection(f"{title} {gone} this address (status {status}).", own_text, status, address)
    if status == 429:
        message = f"{title} limits how many requests it takes (429)."
        return Failure(message, own_text, status=status, pauses=True, pause_seconds=reply.retry_after(), limited=True)
    if status in (408, 425) or status >= 500:
        message = f"{title} has a problem (status {status})."
        return Failure(
            message, own_text, status=status, retry_after=reply.retry_after(), is_uncertain=True,
            is_transport=status in (502, 503, 504),
        )  # fmt: skip
    message = f"{title} does not accept this request (status {status})."
    remedy = "Fix the mapping, then press “Rebuild”."
    return Failure(message, own_text, permanent=True, status=status, remedy=remedy, remedy_at="mapping")


def _of_the_connection(message: str, detail: str, status: int, remedy: str) -> Failure:
    return Failure(message, detail, permanent=True, pauses=True, status=status, remedy=remedy, remedy_at="connection")


# --- Placeholders ----------------------------------------------------------------------------------------------------


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
        "made_number": context.made_number,
        "made_link": context.made_link,
        "made_status": context.made_status,
        "title": post.title,
        "details": post.details,
        "notes": "\n".join(post.notes),
    } | {name: post.fact(name) for name in FACTS}
