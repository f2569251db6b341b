"""The deliveries that a list shows, as a CSV file that a spreadsheet opens: streamed, and safe to open."""

import csv
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from integrations.destinations import DESTINATIONS
from integrations.infra import database_clock
from integrations.models import Delivery

MOST_ROWS, AT_A_TIME = 100_000, 500
# What a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "Delivery", "Made (UTC)", "Posted (UTC)", "Delivered (UTC)", "State", "Network", "Post", "Author", "Text", "Link",
    "Subscription", "Mapping", "Connection", "Became", "Number", "Address", "Status", "Assignee", "Solved (UTC)",
    "Attempts", "Next attempt (UTC)", "Problem", "Remedy",
)  # fmt: skip


def csv_of(deliveries: QuerySet[Delivery]) -> StreamingHttpResponse:
    """At most MOST_ROWS, the newest first, read as they are sent."""
    answer = StreamingHttpResponse(_lines(deliveries), content_type="text/csv; charset=utf-8")
    name = f"deliveries-{database_clock.now():%Y-%m-%d-%H%M}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _lines(deliveries: QuerySet[Delivery]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    # Spreadsheets tell the encoding by this mark.
    yield "\ufeff" + writer.writerow(COLUMNS)
    for delivery in deliveries[:MOST_ROWS].iterator(chunk_size=AT_A_TIME):
        yield writer.writerow([_safe(value) for value in _row(delivery)])


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def _row(delivery: Delivery) -> tuple[Any, ...]:
    post, remote = delivery.post, delivery.remote_object
    return (
        delivery.pk, _time(delivery.created_at), _time(delivery.posted_at), _time(delivery.delivered_at),
        delivery.get_state_display(), delivery.network, delivery.post_id, post.author if post else "",
        post.text if post else "", post.link if post else "", delivery.mapping.subscription.listens_to,
        delivery.mapping.name, delivery.connection.name, DESTINATIONS[delivery.connection.kind].thing if remote else "",
        remote.number if remote else "", remote.url if remote else "", remote.status if remote else "",
        remote.assignee if remote else "", _time(remote.solved_at) if remote else "", delivery.attempt_count,
        _time(delivery.next_attempt_at), delivery.last_error, delivery.remedy,
    )  # fmt: skip


def _time(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""


def _safe(value: Any) -> Any:
    """Text that a spreadsheet shows instead of working it out."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_SIGNS) else value
