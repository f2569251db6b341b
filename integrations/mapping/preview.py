"""What a mapping would make of an example, a stored notification, or many of them. Nothing is stored or sent.

The mapping may be one that is being edited: it is used as given, saved or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from integrations.destinations import DESTINATIONS
from integrations.destinations.base import Context
from integrations.destinations.capabilities import AddsNotes, Author, DrawnPart, Draws, KnowsPeople
from integrations.domain.post import Event, Post, Unreadable
from integrations.infra.text import timestamp
from integrations.mapping.conditions import judge_post
from integrations.mapping.rendering import label_in_texts, read_event, shared_post
from integrations.models import AccountSchema, Mapping, Notification, Subscription
from integrations.models.configuration import without_lists
from integrations.sources.registry import example_of, kind_of

EXAMPLE = "example"
# What the mapping before might have made.
EXAMPLE_OF_THE_FIRST = {
    "made_number": "4711",
    "made_link": "https://example.zendesk.com/agent/tickets/4711",
    "made_status": "new",
    "made_thing": "ticket",
}
MOST_CHOICES = 20
MOST_POSTS_SHOWN = 10
MOST_COMPARED = 200
MOST_DIFFERENCES_SHOWN = 50
CASES = {
    "post": "one {thing} per post",
    "conversation": "one {thing} per conversation",
    "author": "one {thing} per author",
    "always": "a new {thing} each time the label is applied",
}
REQUESTERS = {"account": "the user Casebridge signs in as", "intake": "the intake user", "author": "a user per author"}
NO_REQUESTER = "the user Casebridge signs in as"
SOMETHING_ELSE = ("Something else", "–", "The requests differ in a part that has no label.")

Rows = list[tuple[str, str]]


# --- One post --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """What a mapping makes of a post: a request, or why there is none. `problem`: it cannot be rendered."""

    post: Post
    request: str = ""
    refused: str = ""
    problem: str = ""
    rows: Rows = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    drawn: list[DrawnPart] = field(default_factory=list)
    # Each condition with its verdict, see domain.conditions.
    judged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_made(self) -> bool:
        return bool(self.request) and not self.refused


def preview_post(
    mapping: Mapping, event: Event, post: Post, lists: dict[str, Any], notification: Notification | None = None
) -> Preview:
    """Rendered even where the conditions refuse the post, so that staff see both."""
    destination = DESTINATIONS[mapping.connection.kind]
    context = _context(mapping, event, notification)
    verdict, shared = judge_post(mapping, event, post, notification), shared_post(mapping, post)
    refused, judged = verdict.reason, list(verdict.lines())
    try:
        external_id = destination.external_id(post.post_id, str(mapping.uuid))
        request = destination.build(shared, context, mapping.settings, external_id)
        remarks = destination.remarks(shared, context, mapping.settings, lists)
        drawn = destination.draw(request) if isinstance(destination, Draws) else []
        return Preview(post, request, refused, "", destination.describe(request, lists), remarks, drawn, judged)
    except Exception as error:
        # As in routing: whatever is wrong with a mapping's templates is reported, not raised.
        return Preview(post, refused=refused, problem=f"The mapping could not be rendered: {error}", judged=judged)


def _context(mapping: Mapping, event: Event, notification: Notification | None) -> Context:
    subscription = mapping.subscription
    return Context(
        label=label_in_texts(subscription),
        event=event.name,
        company=subscription.company_name,
        mapping=mapping.name,
        mapping_uuid=str(mapping.uuid),
        notification_id=str(notification.pk) if notification else "1",
        labelled_at=event.happened_at,
        received_at=notification.received_at if notification else event.happened_at,
        **(EXAMPLE_OF_THE_FIRST if mapping.follows_id else {}),
    )


def example_event(event_name: str) -> Event:
    """The example notification of an event, parsed like a real one."""
    return example_of(event_name, timezone.now().replace(microsecond=0))


def example_preview(mapping: Mapping) -> dict[str, Any]:
    """The example's ticket, field by field, and whether the mapping's conditions take the post."""
    event_name = mapping.subscription.event_name
    event = example_event(event_name)
    preview = preview_post(mapping, event, event.posts[0], AccountSchema.lists_of(mapping.connection_id))
    summary = {"event": kind_of(event_name).title, "refused": preview.refused, "judged": preview.judged}
    return summary | ({"problem": preview.problem} if preview.problem else {"rows": preview.rows})


# --- What can be previewed -------------------------------------------------------------------------------------------


def real_notifications(subscription: Subscription) -> QuerySet[Notification]:
    """The subscription's notifications, newest first, without probes."""
    rows = Notification.objects.filter(subscription=subscription, content__isnull=False)
    rows = rows.exclude(source=Notification.Source.TEST)
    return rows.order_by("-received_at", "-id")


def preview_choices(subscription: Subscription | None) -> list[tuple[str, str]]:
    """The example, and the subscription's last notifications: (value, text)."""
    choices = [(EXAMPLE, "Example post")]
    if subscription is None:
        return choices
    rows = real_notifications(subscription).prefetch_related("posts")[:MOST_CHOICES]
    return choices + [(str(row.pk), _choice_text(row)) for row in rows]


def _choice_text(notification: Notification) -> str:
    first = " ".join((notification.summary.splitlines() or ["not processed yet"])[0].split())
    line = f"{timestamp(notification.received_at)}, {first}"
    return line if len(line) <= 110 else f"{line[:109]}…"


def chosen_event(subscription: Subscription, chosen: str) -> tuple[Event, Notification | None]:
    """The example's event or a stored notification's. Raises Unreadable; an unknown choice is the example."""
    notification = None
    if chosen.isascii() and chosen.isdigit() and len(chosen) < 19:
        notification = real_notifications(subscription).filter(pk=int(chosen)).first()
    if notification is None:
        return example_event(subscription.event_name), None
    return _read(notification), notification


def _read(notification: Notification) -> Event:
    """Raises Unreadable for whatever keeps a notification from being read, defects of ours included."""
    try:
        return read_event(notification)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"The notification cannot be read ({type(error).__name__}).") from error


def preview_posts(mapping: Mapping, chosen: str) -> list[Preview]:
    """What the mapping makes of each post of the chosen event. Raises Unreadable."""
    event, notification = chosen_event(mapping.subscription, chosen)
    lists = AccountSchema.lists_of(mapping.connection_id)
    previews = [preview_post(mapping, event, post, lists, notification) for post in event.posts[:MOST_POSTS_SHOWN]]
    knows_people = isinstance(DESTINATIONS[mapping.connection.kind], KnowsPeople)
    for preview in previews:
        if knows_people and preview.rows and not any(name == "Requester" for name, _ in preview.rows):
            preview.rows.insert(0, ("Requester", _requester_text(mapping, preview.post)))
        if preview.rows:
            preview.rows.extend(_note_rows(mapping, event, preview.post, notification))
    return previews


def _requester_text(mapping: Mapping, post: Post) -> str:
    """In whose name the ticket will be created, as far as the settings say."""
    rules = DESTINATIONS[mapping.connection.kind].rules(mapping.settings)
    if rules.requester != "author":
        return NO_REQUESTER
    author = Author.of(post)
    if author is None:
        return f"{rules.substitute}, because the post has no author"
    return f"{author.name}, as a user of their own ({author.external_id}); else {rules.substitute}"


def _note_rows(mapping: Mapping, event: Event, post: Post, notification: Notification | None) -> list[tuple[str, str]]:
    """The internal note that follows, where the mapping asks for one."""
    destination = DESTINATIONS[mapping.connection.kind]
    if not isinstance(destination, AddsNotes) or not destination.rules(mapping.settings).adds_note:
        return []
    context = _context(mapping, event, notification)
    request = destination.build_note(
        shared_post(mapping, post), context, mapping.settings, "(reference of the delivery)"
    )
    return [("Then, as an internal note", value) for name, value in destination.describe(request) if name == "Comment"]


# --- Comparison ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One post of which the two mappings make something different."""

    notification_id: int
    title: str
    message: str
    rows: list[tuple[str, str, str]]


@dataclass(slots=True)
class Comparison:
    """Counts are of posts; a post that neither mapping takes makes no ticket, today or then."""

    notifications: int = 0
    unreadable: int = 0
    differ: int = 0
    no_longer: int = 0
    new: int = 0
    same: int = 0
    neither: int = 0
    shown: list[Difference] = field(default_factory=list)
    # What is made: "ticket".
    thing: str = "ticket"
    # Changed rules, besides the tickets' own fields: (name, today, as edited).
    rules: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def made(self) -> int:
        return self.differ + self.no_longer + self.new + self.same

    @property
    def hidden(self) -> int:
        return self.differ + self.no_longer + self.new - len(self.shown)

    @property
    def message(self) -> str:
        """For example “Of 50 tickets: 12 changed, 3 no longer created, 1 new, 34 unchanged.”"""
        return (
            f"Of {self.made} {self.thing}{'' if self.made == 1 else 's'}: {self.differ} changed, {self.no_longer} no "
            f"longer created, {self.new} new, {self.same} unchanged."
        )


def compare_mappings(saved: Mapping | None, edited: Mapping, most: int) -> Comparison:
    """The saved and the edited mapping over the subscription's last notifications, one at a time in memory."""
    comparison = Comparison(thing=DESTINATIONS[edited.connection.kind].thing)
    saved_lists = AccountSchema.lists_of(saved.connection_id) if saved else {}
    edited_lists = AccountSchema.lists_of(edited.connection_id)
    comparison.rules = _changed_rules(saved, edited)
    for notification in _one_by_one(edited.subscription, most):
        comparison.notifications += 1
        try:
            event = _read(notification)
        except Unreadable:
            comparison.unreadable += 1
            continue
        for post in event.posts:
            old = _as_routed(saved, event, post, saved_lists, notification)
            new = _as_routed(edited, event, post, edited_lists, notification)
            _count(comparison, notification, old, new)
    return comparison


def _changed_rules(saved: Mapping | None, edited: Mapping) -> list[tuple[str, str, str]]:
    """Whether a post becomes a ticket, a comment or a follow-up, and in whose name, is decided when it is sent."""
    if saved is None:
        return []
    destination = DESTINATIONS[edited.connection.kind]
    old, new = DESTINATIONS[saved.connection.kind].rules(saved.settings), destination.rules(edited.settings)
    grouping = [CASES[rules.case].format(thing=destination.thing) for rules in (old, new)]
    rules = [
        ("Grouping", grouping[0], grouping[1]),
        ("Hours for “per author”", f"{old.case_hours}", f"{new.case_hours}"),
        ("Requester", REQUESTERS[old.requester], REQUESTERS[new.requester]),
        ("Intake user", old.intake_user or "none", new.intake_user or "none"),
        ("Internal note with the context", "yes" if old.adds_note else "no", "yes" if new.adds_note else "no"),
    ]
    return [row for row in rules if row[1] != row[2]]


def _one_by_one(subscription: Subscription, most: int) -> Iterator[Notification]:
    ids = list(real_notifications(subscription).values_list("pk", flat=True)[: min(most, MOST_COMPARED)])
    rows = Notification.objects.select_related("content", "subscription__company").defer(
        *without_lists("subscription__company__")
    )
    for notification_id in ids:
        # One that was deleted in the meantime yields nothing.
        yield from rows.filter(pk=notification_id)


def _as_routed(
    mapping: Mapping | None, event: Event, post: Post, lists: dict[str, Any], notification: Notification
) -> Preview:
    """What routing would make of it if the mapping were switched on."""
    if mapping is None:
        return Preview(post, refused="the mapping is not saved yet")
    if mapping.subscription_id != notification.subscription_id:
        return Preview(post, refused="the mapping belongs to another subscription")
    if event.name != mapping.subscription.event_name:
        return Preview(post, refused="the event is not the one the subscription is for")
    return preview_post(mapping, event, post, lists, notification)


def _count(comparison: Comparison, notification: Notification, old: Preview, new: Preview) -> None:
    if not old.is_made and not new.is_made:
        comparison.neither += 1
    elif not new.is_made:
        comparison.no_longer += 1
        _show(comparison, notification, old, f"No longer created: {new.problem or new.refused}.", [])
    elif not old.is_made:
        comparison.new += 1
        rows = [(name, "–", value) for name, value in new.rows]
        _show(comparison, notification, new, f"New. Not created so far: {old.problem or old.refused}.", rows)
    elif old.request == new.request and old.rows == new.rows:
        comparison.same += 1
    else:
        comparison.differ += 1
        _show(comparison, notification, new, "", differing(old.rows, new.rows))


def _show(
    comparison: Comparison, notification: Notification, preview: Preview, message: str, rows: list[tuple[str, str, str]]
) -> None:
    if len(comparison.shown) < MOST_DIFFERENCES_SHOWN:
        post = preview.post
        text = " ".join(post.text.split())[:90]
        title = f"{post.post_id} {post.author_text}: {text}"
        comparison.shown.append(Difference(notification.pk, title, message.replace("..", "."), rows))


def differing(old: Rows, new: Rows) -> list[tuple[str, str, str]]:
    """(name, old value, new value) of the rows that differ: in the new order, then those that are gone."""
    before, after = dict(old), dict(new)
    names = [*after, *(name for name in before if name not in after)]
    rows = [(name, before.get(name, "–"), after.get(name, "–")) for name in names]
    return [row for row in rows if row[1] != row[2]] or [SOMETHING_ELSE]
