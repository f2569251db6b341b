"""The overview's numbers of a period are right, and each leads to the list that it counts."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.infra import kept
from integrations.models import Delivery, Mapping, Notification, RemoteObject, Subscription
from integrations.operations import portal_subscription
from integrations.outcomes import figures, period
from tests.factories import DeliveryFactory, MappingFactory, NotificationFactory, SubscriptionFactory

LIST = "/admin/integrations/delivery/"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WAITING: dict[str, Any] = {"state": "pending", "next_attempt_at": timezone.now()}
FAILED: dict[str, Any] = {"state": "failed", "last_error": "x"}


def made(mapping: Mapping, ago: timedelta, took: timedelta | None = None, **fields: Any) -> Delivery:
    """A delivery of a post that was posted and received `ago`; delivered where it says what it took."""
    at = timezone.now() - ago
    done = {"is_delivered": True, "delivered_at": at + took} if took is not None else {}
    return DeliveryFactory.create(mapping=mapping, **{"posted_at": at, "created_at": at} | done | fields)


def numbers(admin: Client, name: str = "day") -> dict[str, str]:
    shown = admin.get("/admin/", {"period": name}).context["numbers"]
    return {number.message: number.count for number in shown}


@pytest.fixture
def three_weeks(mapping: Mapping) -> Mapping:
    """Deliveries of today, of this week and of this month; each has a notification of its time."""
    for ago in (2 * HOUR, 30 * HOUR, 3 * DAY, 20 * DAY, 40 * DAY):
        made(mapping, ago, HOUR)
        made(mapping, ago, **FAILED)
    made(mapping, HOUR, **WAITING)
    made(mapping, 2 * DAY, state="cancelled")
    for row in Delivery.objects.all():
        Notification.objects.filter(pk=row.notification_id).update(received_at=row.created_at, state="routed")
    unmatched = NotificationFactory.create(subscription=mapping.subscription, state="unmatched", reason="x")
    Notification.objects.filter(pk=unmatched.pk).update(received_at=timezone.now() - timedelta(minutes=1))
    return mapping


@pytest.mark.parametrize(
    ("name", "counts"),
    [("day", "4 1 1 1 1 0"), ("week", "9 3 1 3 1 1"), ("month", "11 4 1 4 1 1"), ("nonsense", "4 1 1 1 1 0")],
)
def test_it_counts_what_came_in_the_period(admin: Client, three_weeks: Mapping, name: str, counts: str) -> None:
    assert numbers(admin, name) == dict(
        zip(
            ("notifications received", "delivered", "under way", "failed", "notifications unmatched", "cancelled"),
            counts.split(),
            strict=True,
        )
    )


@pytest.mark.parametrize("name", ["day", "week", "month"])
def test_each_number_leads_to_the_list_that_it_counts(admin: Client, three_weeks: Mapping, name: str) -> None:
    shown = admin.get("/admin/", {"period": name}).context["numbers"]
    # What comes later is not in the list of an earlier count.
    made(three_weeks, timedelta(), **FAILED)
    listed = [admin.get(number.address).context["cl"].result_count for number in shown]
    assert listed == [int(number.count) for number in shown]


@pytest.mark.parametrize(("name", "steps"), [("day", 25), ("week", 8), ("month", 31)])
def test_the_chart_adds_up_to_the_numbers(admin: Client, three_weeks: Mapping, name: str, steps: int) -> None:
    context = admin.get("/admin/", {"period": name}).context
    bars = context["chart"].bars
    assert len(bars) in (steps, steps - 1), "a period that begins with a full hour or day has one less"
    shown = {number.message: int(number.count) for number in context["numbers"]}
    sums = [sum(bar.counts[place] for bar in bars) for place in range(4)]
    assert sums == [shown[name] for name in ("delivered", "under way", "failed", "cancelled")]
    for bar in bars:
        if bar.total:
            assert admin.get(bar.address).context["cl"].result_count == bar.total


def test_it_tells_how_long_posts_took(admin: Client, mapping: Mapping) -> None:
    for seconds in range(1, 101):
        made(mapping, HOUR, timedelta(seconds=seconds))
    assert "half within 51 s, 95 of 100 within 95 s" in admin.get("/admin/").content.decode()


def test_what_was_labelled_long_after_it_was_posted_does_not_count_as_slow(admin: Client, mapping: Mapping) -> None:
    made(mapping, HOUR, timedelta(seconds=10))
    made(mapping, 9 * DAY, 9 * DAY, created_at=timezone.now() - HOUR)
    assert "half within 10 s, 95 of 100 within 10 s" in admin.get("/admin/").content.decode()


def test_of_many_posts_it_times_some_of_all_hours(
    admin: Client, mapping: Mapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_TIMED", 40)
    for place in range(120):
        made(mapping, 20 * HOUR - place * timedelta(minutes=9), timedelta(seconds=60 if place < 60 else 20))
    html = admin.get("/admin/").content.decode()
    assert "(of 40 posts, spread evenly)" in html
    found = figures.sample(timezone.now() - DAY, timezone.now())
    slow = [row for row in found.rows if row.delivered_at and row.delivered_at - row.posted_at > 30 * HOUR / 3600]
    assert 17 <= len(slow) <= 23


def test_it_asks_as_little_of_the_database_with_many_subscriptions(admin: Client, three_weeks: Mapping) -> None:
    def asked() -> int:
        admin.get("/admin/")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            admin.get("/admin/")
        return len(queries)

    with_one = asked()
    for number in range(8):
        subscription = SubscriptionFactory.create(label=f"Label {number}")
        MappingFactory.create(subscription=subscription, connection=three_weeks.connection)
    assert asked() <= with_one


def test_it_is_counted_once_for_all_who_look(admin: Client, mapping: Mapping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(period, "KEPT_SECONDS", 10)
    first = admin.get("/admin/").context
    made(mapping, timedelta(), **FAILED)
    second = admin.get("/admin/").context
    assert (second["numbers"], second["as_of"]) == (first["numbers"], first["as_of"])
    assert "1 delivery failed" in [trouble.sentence for trouble in second["verdict"].troubles], (
        "never an earlier answer"
    )
    assert second["now_numbers"][0].count == "1"


def test_without_redis_it_is_counted_each_time(
    admin: Client, three_weeks: Mapping, monkeypatch: pytest.MonkeyPatch, no_redis: redis.Redis
) -> None:
    monkeypatch.setattr(period, "KEPT_SECONDS", 10)
    monkeypatch.setattr(kept, "redis_client", lambda: no_redis)
    assert numbers(admin)["failed"] == "1"
    made(three_weeks, HOUR, **FAILED)
    assert numbers(admin)["failed"] == "2"


# --- Of one moment ---------------------------------------------------------------------------------------------------


def test_what_is_stored_while_it_counts_makes_no_number_wrong(admin: Client, mapping: Mapping) -> None:
    stop = threading.Event()

    def work_on() -> None:
        try:
            while not stop.is_set():
                Delivery.objects.filter(state="failed").update(state="cancelled", last_error="x")
                Delivery.objects.filter(state="cancelled").update(state="failed")
        finally:
            connection.close()

    for _ in range(5):
        made(mapping, HOUR, **FAILED)
    worker = threading.Thread(target=work_on)
    worker.start()
    try:
        for _ in range(40):
            (counted,) = figures.became([(timezone.now() - DAY, timezone.now())])
            assert sum(counted) == 5
            assert min(counted) >= 0
    finally:
        stop.set()
        worker.join()


def test_a_list_never_has_what_came_after_it_was_counted(admin: Client, mapping: Mapping) -> None:
    Subscription.objects.update(ticket_target_minutes=15)
    made(mapping, 5 * HOUR, HOUR)
    (row,) = admin.get("/admin/").context["targets"]
    made(mapping, 5 * HOUR, created_at=timezone.now())
    assert (row["late"], admin.get(row["late_list"]).context["cl"].result_count) == (1, 1)


def test_tickets_that_follow_up_count_for_targets_as_in_their_list(admin: Client, mapping: Mapping) -> None:
    Subscription.objects.update(solve_target_minutes=60)
    made(mapping, 5 * HOUR, timedelta(minutes=1), action="follow_up", target_number="12")
    RemoteObject.objects.update(status="open", posted_at=timezone.now() - 5 * HOUR)
    (row,) = admin.get("/admin/").context["targets"]
    assert (row["waiting"], admin.get(row["waiting_list"]).context["cl"].result_count) == ("1", 1)


def test_alarms_and_tests_are_no_posts_that_somebody_waits_for(admin: Client, mapping: Mapping) -> None:
    made(mapping, 2 * HOUR, HOUR)
    own = MappingFactory.create(subscription=portal_subscription(), connection=mapping.connection, name="Alarms")
    made(own, HOUR, timedelta(seconds=1))
    tested = made(mapping, HOUR, timedelta(seconds=1))
    Notification.objects.filter(pk=tested.notification_id).update(source="test")
    assert "half within 60 min" in admin.get("/admin/").content.decode()


def test_hours_begin_when_clocks_of_the_zone_say_so() -> None:
    ends = datetime(2026, 3, 1, 13, 7, tzinfo=UTC)
    hours = figures.Period(ends - 3 * HOUR, ends, HOUR).steps(ZoneInfo("Asia/Kolkata"))
    assert [f"{begins.astimezone(ZoneInfo('Asia/Kolkata')):%H:%M}" for begins, _ in hours] == [
        "15:37", "16:00", "17:00", "18:00",
    ]  # fmt: skip


# --- Filters that mean nothing any more ------------------------------------------------------------------------------


FIRST_YEAR = "0001-01-01T00:00:00%2B14:00_0002-01-01T00:00:00Z"
MEANINGLESS = (
    "time=yesterday", "late=1.ticket.now", "late=x", "state__exact=gone", "ticket=gone", "needs=gone",
    f"time={FIRST_YEAR}", f"late=1.ticket.{FIRST_YEAR}",
)  # fmt: skip


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
def test_a_filter_that_means_nothing_shows_nothing_and_downloads_nothing(
    admin: Client, mapping: Mapping, zone: str
) -> None:
    made(mapping, HOUR)
    admin.post("/admin/account/", {"time_zone": zone})
    for query in MEANINGLESS:
        assert admin.get(f"{LIST}?{query}").context["cl"].result_count == 0, query
        lines = b"".join(admin.get(f"{LIST}csv/?{query}").streaming_content)  # type: ignore[attr-defined]
        assert lines.count(b"\r\n") == 1, query


@pytest.mark.parametrize("query", ["cause=%00", "network=%00", "q=%00"])
def test_a_download_takes_no_character_that_the_database_refuses(admin: Client, mapping: Mapping, query: str) -> None:
    assert admin.get(f"{LIST}csv/?{query}").status_code == 302
    assert admin.get(f"{LIST}shown/?{query}").json() == {"ids": []}
