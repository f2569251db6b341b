"""What only some destinations can do: small protocols that the journey asks for with `isinstance`.

A destination has a capability by having its members, and what it cannot do is not shown for it. Numbers (the size of a
batch, how long a key is trusted, limits of calls) are the destination's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol, runtime_checkable

from django import forms

from integrations.destinations.base import Check, Context, Credentials, Destination, MappingFields, Receipt
from integrations.domain.post import Post
from integrations.infra.client import Client
from integrations.infra.http.client import HttpClient
from integrations.infra.http.reply import Reply

# --- Finding, limits, batches ----------------------------------------------------------------------------------------


@runtime_checkable
class FindsByExternalId(Protocol):
    """What exists is found by our external id, so that an unknown outcome need not stay unknown.

    `key_trusted_seconds`: how long a repeat under the same idempotency key is recognised; after that, a look-up comes
    first.
    """

    key_trusted_seconds: int

    def find(self, client: HttpClient, external_id: str, credentials: Credentials) -> Receipt | None:
        """The thing with our external id, if there is one. Raises Failure."""
        ...


def no_second(destination: Destination) -> str:
    """That a further try is harmless; empty where nothing shows what an earlier one has made."""
    is_recognised = destination.drops_repeats or isinstance(destination, FindsByExternalId)
    return f"Trying again will not create a second {destination.thing}." if is_recognised else ""


# Budgets that calls draw on, besides the account's own: the names that the journey asks permits for.
ACCOUNT, LOOK_UP, UPDATES, USERS, JOBS = "account", "look-up", "updates", "users", "jobs"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on some calls. Its rate is read from replies; `within` has fixed ones: {seconds: most calls}.

    `is_own`: counted apart from the account's limit, on which every call draws.
    """

    is_own: bool = False
    within: Mapping[float, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budget:
    """A request limit from a reply's headers: per minute, remaining, and seconds until it resets."""

    per_minute: int | None
    remaining: int | None
    reset_seconds: float | None


@runtime_checkable
class HasLimits(Protocol):
    """Replies say how many calls are allowed. Calls of a budget that is not in `limits` are not limited."""

    limits: Mapping[str, Limit]

    def read_budgets(self, budget: str, reply: Reply) -> list[Budget]:
        """The limits in a reply for the budget that the call drew on."""
        ...


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


@runtime_checkable
class TakesMany(Protocol):
    """Many things with one call, made by a job at the account. The call has no idempotency key.

    `most_in_one_call`: how many; `most_jobs`: how many of our jobs may run at the same time.
    """

    most_in_one_call: int
    most_jobs: int

    def send_many(self, client: HttpClient, requests: list[str], credentials: Credentials) -> str:
        """Hands the requests over as one job and returns its number. Raises Failure."""
        ...

    def read_job(self, client: HttpClient, number: str, credentials: Credentials) -> JobNews | None:
        """The progress of a job; None where the account no longer knows it. Raises Failure."""
        ...

    def are_jobs_under_way(self, client: HttpClient, known: set[str], credentials: Credentials) -> bool | None:
        """Whether a job other than the known ones is unfinished; None where that is unknown. Raises Failure."""
        ...

    def url_of(self, settings: Mapping[str, Any], number: str) -> str:
        """Where people open the thing with this number."""
        ...


# --- Signing in ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and how long it lives, in seconds; None where the other side does not say.

    `scope` is what was granted, as reported; `refresh_token` is set where a person consented, and works once.
    """

    value: str
    seconds: float | None
    refresh_token: str = ""
    scope: str = ""


@runtime_checkable
class SignsInByToken(Protocol):
    """Calls need an access token, at least for some of its sign-ins."""

    def needs_token(self, settings: Mapping[str, Any]) -> bool:
        """Whether this sign-in needs one."""
        ...

    def fetch_token(self, client: HttpClient, credentials: Credentials) -> Token:
        """A fresh access token. Raises Failure."""
        ...


@runtime_checkable
class AsksConsent(SignsInByToken, Protocol):
    """A person consents at the account, at least for some of its sign-ins; each renewal replaces the refresh token."""

    def asks_consent(self, settings: Mapping[str, Any]) -> bool:
        """Whether this sign-in needs it."""
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

    def why_no_consent(self, error: str, description: str, redirect_uri: str) -> str:
        """What it means that the account's page sent an error back instead of a code. Pure."""
        ...


@runtime_checkable
class EndsSignIn(Protocol):
    """A way of signing in ends on a known day for everybody, and another one takes its place."""

    @property
    def migration_form(self) -> type[forms.Form]:
        """What staff fill in to move: client_id, client_secret, scopes."""
        ...

    def sign_in_ends(self, settings: Mapping[str, Any]) -> date | None:
        """The day on which this sign-in ends; None where no end is known."""
        ...

    def end_text(self, ends: date, days_left: int) -> str:
        """How long it still works, as a sentence without its full stop."""
        ...

    def migration_steps(self, settings: Mapping[str, Any]) -> tuple[str, list[str]]:
        """(address of the account's page, what to do there step by step), for people."""
        ...

    def moved_settings(self, settings: Mapping[str, Any], client_id: str, scopes: str) -> dict[str, Any]:
        """The settings of the same account with the sign-in that remains."""
        ...


@runtime_checkable
class IssuesSecret(Protocol):
    """The portal makes the connection's secret, which staff enter at the other side. It is shown once."""

    def issue_secret(self, secrets: Mapping[str, str], now: datetime) -> tuple[dict[str, str], str]:
        """(the secrets to store, the new one to show). The one so far stays in use beside it for a while."""
        ...


def token_source(destination: Destination, settings: Mapping[str, Any]) -> SignsInByToken | None:
    """The destination, if calls with these settings need an access token."""
    return destination if isinstance(destination, SignsInByToken) and destination.needs_token(settings) else None


def consent_source(destination: Destination, settings: Mapping[str, Any]) -> AsksConsent | None:
    """The destination, if these settings need a person's consent."""
    return destination if isinstance(destination, AsksConsent) and destination.asks_consent(settings) else None


# --- Mappings --------------------------------------------------------------------------------------------------------


@runtime_checkable
class OffersLists(Protocol):
    """The account has lists to choose from: groups, channels, fields."""

    def read_lists(self, client: HttpClient, credentials: Credentials) -> tuple[dict[str, Any], dict[str, str]]:
        """The account's lists by name, and why a list could not be read. Raises Failure, NoPermit."""
        ...

    def mapping_form_for(self, lists: Mapping[str, Any], stored: Mapping[str, Any]) -> type[MappingFields]:
        """The mapping form with choices from the lists; the plain one where none were read.

        What is stored stays selectable even where the lists do not have it.
        """
        ...


@runtime_checkable
class ChecksMappings(OffersLists, Protocol):
    """A mapping is compared with the account's lists whenever they are read."""

    def misfits(self, settings: Mapping[str, Any], lists: Mapping[str, Any]) -> list[dict[str, str]]:
        """The settings of a mapping that the account no longer accepts: [{"field", "message"}]. Pure."""
        ...


@runtime_checkable
class MarksTests(Protocol):
    """A thing can be marked as a test, so that staff may try a mapping for real."""

    test_text: str

    def as_test(self, request: str, uuid: str) -> tuple[str, str]:
        """A built request marked as a test, and its external id. Pure."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text in one style: "", "bold", "italic", "struck" or "code"; or a link."""

    text: str
    style: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class DrawnPart:
    """A part of a drawn thing: "header", "section" or "context"."""

    kind: str
    pieces: tuple[Piece, ...]


@runtime_checkable
class Draws(Protocol):
    """Its thing can be shown as people see it there."""

    def draw(self, request: str) -> list[DrawnPart]:
        """The parts of a built request, in order. Pure."""
        ...


# --- People, cases, notes, floods ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a post, as a user to look up or create; `external_id` is ours."""

    external_id: str
    name: str
    network: str
    handle: str
    network_id: str

    @classmethod
    def of(cls, post: Post) -> "Author | None":
        """None where nobody is named."""
        known_as = post.author_id or post.author_handle
        if not known_as:
            return None
        return cls(
            external_id=f"khoros:{post.network}:{known_as}"[:250],
            name=(post.author or post.author_handle or known_as)[:255],
            network=post.network,
            handle=post.author_handle,
            network_id=post.author_id,
        )


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the account, or (without `user_id`) why the author cannot be one."""

    user_id: str
    name: str = ""
    problem: str = ""


@runtime_checkable
class KnowsPeople(Protocol):
    """A thing has a requester: a user of the account, by `Rules.requester`."""

    def user_name(self, client: HttpClient, user_id: str, credentials: Credentials) -> str:
        """The name of a user; "" where there is none with this number who may be a requester. Raises Failure."""
        ...

    def find_person(self, client: HttpClient, author: Author, credentials: Credentials) -> Person:
        """The author's user, looked up or created. Raises Failure, NoPermit."""
        ...

    def with_requester(self, request: str, user_id: str) -> str:
        """The request with this user as the requester; without a requester where it is empty."""
        ...


@runtime_checkable
class FindsComments(Protocol):
    """What was added to a thing (`Outgoing.action` "append") is found again by our external id."""

    def find_comment(
        self, client: HttpClient, number: str, external_id: str, credentials: Credentials
    ) -> Receipt | None:
        """The comment with our external id on this thing, if there is one. Raises Failure."""
        ...


@runtime_checkable
class KeepsCases(Protocol):
    """Posts of one case, by `Rules.case`, are added to one thing (`Outgoing.action` "append")."""

    def as_comment(self, request: str, external_id: str) -> str:
        """The request of a new thing as an addition to an existing one, with `external_id` in it for look-ups."""
        ...


@runtime_checkable
class AnswersInThreads(KeepsCases, Protocol):
    """An addition takes something over from the thing that its case began with."""

    def in_thread(self, request: str, first: str) -> str:
        """The request of an addition, given the request of the first. Pure."""
        ...


@runtime_checkable
class SolvesCases(KeepsCases, FindsComments, Protocol):
    """A thing is solved or closed some day; what comes then is a new thing, or a follow-up."""

    def status_of(self, client: HttpClient, number: str, credentials: Credentials) -> str:
        """new, open, pending, hold, solved, closed; "" when it is gone. Raises Failure."""
        ...

    def as_follow_up(self, request: str, number: str) -> str:
        """The request as a follow-up of a closed thing."""
        ...


@runtime_checkable
class AddsNotes(FindsComments, Protocol):
    """The source context may follow as an internal note, by `Rules.adds_note`."""

    def build_note(self, post: Post, context: Context, settings: Mapping[str, Any], external_id: str) -> str:
        """The request that adds it; "" where there is none."""
        ...


@runtime_checkable
class UpdatesThings(Protocol):
    """A thing can be changed afterwards (`Outgoing.action` "update"), by `Rules.marks_solved`.

    Doing so twice changes nothing. The receipt of an update has the thing's own number.
    """

    def can_update(self, account: Mapping[str, Any]) -> bool:
        """Whether the connection's settings allow it. Pure."""
        ...

    def as_solved(self, request: str, sentence: str) -> str:
        """The request of a thing as an update that says this besides. Pure."""
        ...


@dataclass(frozen=True, slots=True)
class CountedPost:
    """One of the latest posts of a burst: who wrote it, how it begins, where it stands."""

    author: str
    text: str
    link: str


@dataclass(frozen=True, slots=True)
class BurstNews:
    """A burst so far. `latest` are the newest posts; `address` has all of them, for those who may sign in here.

    `is_updated`: this thing grows with the burst, else there will be another one at the end.
    """

    count: int
    listens_to: str
    began_at: datetime
    last_at: datetime
    is_over: bool
    is_updated: bool
    latest: tuple[CountedPost, ...]
    address: str
    mapping_uuid: str = ""


@runtime_checkable
class CountsBursts(UpdatesThings, Protocol):
    """Many posts within a minute, by `Rules.gathers_over`, become one thing that counts them.

    It is updated as it grows where that can be done; else there is one at the beginning and one at the end.
    """

    def build_burst(self, news: BurstNews, settings: Mapping[str, Any], external_id: str) -> str:
        """The request, of a new thing or of an update alike. Pure."""
        ...


@runtime_checkable
class HoldsFloods(Protocol):
    """A flood of posts can be held under one thing."""

    def build_for_flood(self, settings: Mapping[str, Any], title: str, text: str, external_id: str) -> str:
        """The request for one thing in the place of the mapping's many, and marked as such."""
        ...


# --- Kept here --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A post as it is shown outside. `post_id` is what it is recognised by when it comes again.

    `link` and `picture` are addresses that a browser may open, or empty. `is_test`: shown to nobody but staff.
    """

    post_id: str
    text: str
    author: str = ""
    handle: str = ""
    network: str = ""
    link: str = ""
    picture: str = ""
    posted_at: datetime | None = None
    is_test: bool = False


class PostStore(Client):
    """Keeps posts in this portal. The journey gives it to a destination that has one as its `client_class`.

    `place` is the uuid of where it puts them. Putting a post that is there already changes what is shown of it, and
    nothing that a person decided about it.
    """

    def put(self, place: str, entry: Entry, external_id: str) -> Receipt:
        """Raises Failure."""
        raise NotImplementedError

    def check(self, place: str) -> list[Check]:
        """What people should know about the place before posts go there."""
        raise NotImplementedError


def keeps_here(destination: Destination) -> bool:
    """Whether its things stay in this portal: its connections are made with the place that they go to."""
    return issubclass(destination.client_class, PostStore)


# --- Status ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """The state of a thing at one time, by the account's clock.

    `status` is one of the statuses we know, or empty; `changed_at` is None where the time is unknown. `assignee_id`:
    None where unknown, empty where nobody is assigned. `ordered_at` is finer than `changed_at` and only says which of
    two changes came later; None where there is nothing finer. `is_ours`: whether it has an external id of ours; None
    where unknown.
    """

    number: str
    status: str = ""
    assignee_id: str | None = None
    assignee_name: str = ""
    changed_at: datetime | None = None
    ordered_at: datetime | None = None
    is_deleted: bool = False
    is_ours: bool | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """The account's webhook that calls us: its id there, and the secret that signs its calls."""

    id: str
    secret: str


@runtime_checkable
class TellsStatus(Protocol):
    """The status of its things comes back, by a webhook of the account and by reading.

    `statuses` are all there are, in their order. `webhook_steps` are what to do at the account to set the webhook up by
    hand, `{endpoint}` being the address to call. `most_read_at_once`: how many one `read_many` takes.
    """

    statuses: tuple[str, ...]
    webhook_steps: tuple[str, ...]
    most_read_at_once: int

    def verify_webhook(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Empty when the call is signed with the secret and fresh at `now` (the account's clock), else why not."""
        ...

    def why_unfit_secret(self, secret: str) -> str:
        """Why this cannot be a webhook's own signing secret; empty when it may be. Pure."""
        ...

    def event_key(self, headers: Mapping[str, str]) -> str:
        """What identifies a call whose body has no id of its own; empty where nothing does."""
        ...

    def read_event(self, body: bytes) -> tuple[str, str, StatusUpdate | None]:
        """(the event's id, its kind, its update); empty and None where the body has none. Never raises."""
        ...

    def read_many(self, client: HttpClient, numbers: Sequence[str], credentials: Credentials) -> list[StatusUpdate]:
        """The state of these things; those that the account does not show are missing. Raises Failure."""
        ...

    def read_one(self, client: HttpClient, number: str, credentials: Credentials) -> StatusUpdate:
        """The state of one thing, which may be that there is none (any more). Raises Failure."""
        ...

    def set_up_webhook(self, client: HttpClient, name: str, endpoint: str, credentials: Credentials) -> Webhook:
        """Creates the webhook, or takes over one that already calls this endpoint. Raises Failure."""
        ...

    def remove_webhook(self, client: HttpClient, webhook_id: str, credentials: Credentials) -> None:
        """Removes it; one that is gone already counts as removed. Raises Failure."""
        ...
