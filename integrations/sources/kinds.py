"""What a kind of event offers to mappings, whichever source it comes from."""

from dataclasses import dataclass

# Placeholders that every event has.
OF_ALL = (
    "event", "label", "company", "mapping", "notification_id", "labelled_at", "received_at", "details",
    "made_number", "made_link", "made_status",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event: its title for staff, and what mappings for it can use. `example` names one of its source's.

    `headline` is the first text of a subject or title; empty where what a destination suggests fits, as for posts.
    """

    title: str
    placeholders: tuple[str, ...]
    example: str
    headline: str = ""
