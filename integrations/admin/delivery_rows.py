"""The list of deliveries: rows of two lines at most, whatever a post or an error says."""

from datetime import datetime, timedelta

from django.contrib import admin
from django.utils.html import format_html
from unfold.decorators import display

from integrations.admin.text.log import next_try, remote_state_text, thing_of, waits_for_its_time
from integrations.destinations import DESTINATIONS
from integrations.destinations.capabilities import FindsComments
from integrations.infra import database_clock
from integrations.infra.text import shortened, span_text, timestamp
from integrations.models import Delivery

COLOURS = {
    "delivered": "success",
    "failed": "danger",
    "pending": "warning",
    "sending": "info",
    "cancelled": "default",
    "held": "info",
    "waiting": "info",
}
# Columns that a person may do without.
CHOSEN_COLUMNS = {
    "went_to": "Went to",
    "became_cell": "Became",
    "age": "Age",
    "problem": "Problem",
}
KINDS = {"append": "comment", "follow_up": "follow-up", "update": "update"}
# The badge says it in a word or two: longer ones would make the column wide.
SHORT_STATES = {"waiting": "Waiting"}


class DeliveryRows:
    """The columns."""

    @display(description="State", label=COLOURS)
    def state_label(self, delivery: Delivery) -> tuple[str, str]:
        return delivery.state, SHORT_STATES.get(delivery.state, delivery.get_state_display())

    @admin.display(description="Post")
    def post(self, delivery: Delivery) -> str:
        author = delivery.post.author if delivery.post else delivery.post_id
        said = shortened(delivery.post.text, 160) if delivery.post else _besides(delivery)
        who = f"{author or 'Unknown author'} · {delivery.network or 'unknown network'}"
        return _cell("post", who, said, direction="auto")

    @admin.display(description="Went to")
    def went_to(self, delivery: Delivery) -> str:
        return _cell("went", delivery.mapping.name, delivery.mapping.subscription.listens_to)

    @admin.display(description="Became")
    def became_cell(self, delivery: Delivery) -> str:
        """The thing, with a link where people can open it, and its status."""
        status = remote_state_text(delivery)
        return _cell("became", became(delivery), "" if status == "–" else status)

    @admin.display(description="Age")
    def age(self, delivery: Delivery) -> str:
        """How long ago it was made, and when it is tried next; the exact times are told to who points at it."""
        made = f"{span_text(database_clock.now() - delivery.created_at)} ago"
        tries = f"attempt {delivery.attempt_count}" if delivery.attempt_count > 1 else ""
        following = _next(delivery) if delivery.state == Delivery.State.PENDING else tries
        return format_html('<span title="{}">{}</span>', timestamp(delivery.created_at), _cell("age", made, following))

    @admin.display(description="Problem")
    def problem(self, delivery: Delivery) -> str:
        said = shortened(delivery.last_error, 400)
        return format_html('<span class="cb-cell cb-cell-problem" title="{}">{}</span>', said, said) if said else "–"


def _cell(name: str, first: str, second: str, *, direction: str = "ltr") -> str:
    """Two lines, each cut where the column ends."""
    line = '<span class="cb-line">{}</span>'
    further = format_html('<span class="cb-line cb-quiet" dir="{}">{}</span>', direction, second) if second else ""
    return format_html('<span class="cb-cell cb-cell-{}">' + line + "{}</span>", name, first, further)


def _next(delivery: Delivery) -> str:
    at: datetime | None = delivery.next_attempt_at
    if waits_for_its_time(delivery) and at is not None:
        return f"next in {span_text(max(at - database_clock.now(), timedelta()))}"
    return next_try(delivery)


def became(delivery: Delivery) -> str:
    """The thing, with a link where people can open it."""
    remote = delivery.remote_object
    if remote is None:
        return "–"
    kind = _kind(delivery)
    destination = DESTINATIONS[delivery.connection.kind]
    name = f"{thing_of(delivery)} {destination.shown_number(remote.number)}".strip()
    link = '<a class="cb-link" href="{}" target="_blank" rel="noopener">{}</a> <span class="cb-quiet">{}</span>'
    without = format_html('{} <span class="cb-quiet">{}</span>', name, kind)
    return format_html(link, remote.url, name, kind) if remote.url else without


def _besides(delivery: Delivery) -> str:
    """What it says where it has no post of its own."""
    return delivery.decision if delivery.counts_a_burst else ""


def _kind(delivery: Delivery) -> str:
    """What it is besides a thing of its own."""
    if delivery.is_note:
        return "note"
    if delivery.counts_a_burst:
        return "counts a burst"
    if delivery.result == Delivery.Result.COUNTED:
        return "counted there"
    has_comments = isinstance(DESTINATIONS[delivery.connection.kind], FindsComments)
    return KINDS.get(delivery.action, "") if has_comments or delivery.action != "append" else "reply"
