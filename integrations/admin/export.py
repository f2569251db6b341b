"""The deliveries that a list shows, as a CSV file that a spreadsheet opens: streamed, and safe to open."""

import csv
import re
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.infra.text import in_zone
from integrations.models import Delivery

MOST_ROWS, AT_A_TIME = 100_000, 500
# What a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
HIDDEN_FORMULA = re.compile(r"([;\t]\s*\"?)([=+\-@])")
COLUMNS = (
    "Delivery", "Made ({0})", "Posted ({0})", "Delivered ({0})", "State", "Network", "Post", "Author", "Text", "Link",
    "Subscription", "Mapping", "Connection", "Became", "Number", "Address", "Status", "Assignee", "Solved ({0})",
    "Attempts", "Next attempt ({0})", "Problem", "Remedy",
)  # fmt: skip


def csv_of(deliveries: QuerySet[Delivery]) -> StreamingHttpResponse:
    """At most MOST_ROWS, the newest first, read as they are sent."""
    # The lines are made while they are sent, when the request's time zone is no longer in force.
    answer = StreamingHttpResponse(
        _lines(deliveries, timezone.get_current_timezone()), content_type="text/csv; charset=utf-8"
    )
    name = f"deliveries-{database_clock.now():%Y-%m-%d-%H%M}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _lines(deliveries: QuerySet[Delivery], zone: tzinfo) -> Iterator[str]:
    writer = csv.writer(_Echo())
    # Spreadsheets tell the encoding by this mark.
    yield "\ufeff" + writer.writerow([name.format(zone) for name in COLUMNS])
    for delivery in deliveries[:MOST_ROWS].iterator(chunk_size=AT_A_TIME):
        yield writer.writerow([_safe(value) for value in _row(delivery, zone)])


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def _row(delivery: Delivery, zone: tzinfo) -> tuple[Any, ...]:
    post, remote = delivery.post, delivery.remote_object
    return (
        delivery.pk, _time(delivery.created_at, zone), _time(delivery.posted_at, zone),
        _time(delivery.delivered_at, zone),
        delivery.get_state_display(), delivery.network, delivery.post_id, post.author if post else "",
        post.text if post else "", post.link if post else "", delivery.mapping.subscription.listens_to,
        delivery.mapping.name, delivery.connection.name, DESTINATIONS[delivery.connection.kind].thing if remote else "",
        remote.number if remote else "", remote.url if remote else "", remote.status if remote else "",
        remote.assignee if remote else "", _time(remote.solved_at, zone) if remote else "", delivery.attempt_count,
        _time(delivery.next_attempt_at, zone), delivery.last_error, delivery.remedy,
    )  # fmt: skip


def _time(at: datetime | None, zone: tzinfo) -> str:
    return f"{in_zone(at, zone):%Y-%m-%d %H:%M:%S}" if at else ""


def _safe(value: Any) -> Any:
    """Text that a spreadsheet shows instead of working it out."""
    if not isinstance(value, str):
        return value
    # Where a semicolon or a tab ends a cell, the next one begins behind it.
    value = HIDDEN_FORMULA.sub(r"\1'\2", value)
    return f"'{value}" if value.startswith(FORMULA_SIGNS) else value
