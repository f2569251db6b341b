"""How much each subscription receives, counted by the hour: charts, averages and alarms never count the log itself."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Max, Min, QuerySet
from django.db.models.functions import Now

from integrations.infra import database_clock
from integrations.models import HourlyVolume, Notification, Subscription

HOURS_OF_A_WEEK = 7 * 24
# The usual volume is known after this much history, and learned from at most this much.
NEEDED_HISTORY = timedelta(days=14)
LEARNED_FROM = timedelta(days=56)
LEARNED_EVERY = timedelta(hours=6)
KEPT = timedelta(days=400)

# The hours since the last count, and the one before again, as its last seconds may have been counted too early.
COUNT = """
INSERT INTO integrations_hourlyvolume (subscription_id, hour, pushed, caught_up)
SELECT subscription_id, date_trunc('hour', received_at, 'UTC') AS hour,
  count(*) FILTER (WHERE source = 'pushed'), count(*) FILTER (WHERE source = 'caught_up')
FROM integrations_notification
WHERE received_at >= date_trunc('hour', %(since)s::timestamptz, 'UTC') AND source <> 'test'
GROUP BY subscription_id, hour
ON CONFLICT ON CONSTRAINT volume_counted_once_an_hour
DO UPDATE SET pushed = excluded.pushed, caught_up = excluded.caught_up
"""
LATEST = """
UPDATE integrations_subscription AS subscription SET
  last_pushed_at = greatest(subscription.last_pushed_at, latest.pushed),
  last_caught_up_at = greatest(subscription.last_caught_up_at, latest.caught_up)
FROM (
  SELECT subscription_id, max(received_at) FILTER (WHERE source = 'pushed') AS pushed,
    max(received_at) FILTER (WHERE source = 'caught_up') AS caught_up
  FROM integrations_notification
  WHERE received_at >= date_trunc('hour', %(since)s::timestamptz, 'UTC') AND source <> 'test'
  GROUP BY subscription_id
) AS latest
WHERE subscription.id = latest.subscription_id
"""


def count_volume() -> None:
    """Counts what was received since the last count, and relearns the usual volume where that is old."""
    since = _count_from()
    if since is not None:
        with connection.cursor() as cursor:
            cursor.execute(COUNT, {"since": since})
            cursor.execute(LATEST, {"since": since})
    HourlyVolume.objects.filter(hour__lt=database_clock.now() - KEPT).delete()
    for subscription in Subscription.objects.filter(silence_alarm="learned", deleted_at__isnull=True):
        if (
            subscription.usual_learned_at is None
            or subscription.usual_learned_at < database_clock.now() - LEARNED_EVERY
        ):
            learn(subscription)


def _count_from() -> datetime | None:
    """Where to start counting; None when there is nothing to count."""
    last = HourlyVolume.objects.aggregate(last=Max("hour"))["last"]
    if last is not None:
        return last - timedelta(hours=1)
    first: datetime | None = Notification.objects.aggregate(first=Min("received_at"))["first"]
    return max(first, database_clock.now() - LEARNED_FROM) if first else None


def learn(subscription: Subscription) -> None:
    """The mean of each hour of the week over at most eight weeks; none before there are two weeks of history."""
    now = database_clock.now()
    begins = max(_first_hour(subscription) or now, now - LEARNED_FROM)
    usual = _means(subscription, begins, now) if now - begins >= NEEDED_HISTORY else None
    Subscription.objects.filter(pk=subscription.pk).update(usual_volume=usual, usual_learned_at=Now())


def _first_hour(subscription: Subscription) -> datetime | None:
    return subscription.volumes.aggregate(first=Min("hour"))["first"]


def _means(subscription: Subscription, begins: datetime, ends: datetime) -> list[float]:
    totals = [0] * HOURS_OF_A_WEEK
    for row in _hours(subscription, begins).filter(hour__lt=_hour_of(ends)):
        totals[hour_of_week(row.hour)] += row.pushed + row.caught_up
    weeks = [0] * HOURS_OF_A_WEEK
    hour = _hour_of(begins)
    while hour < _hour_of(ends):
        weeks[hour_of_week(hour)] += 1
        hour += timedelta(hours=1)
    return [round(total / count, 3) if count else 0.0 for total, count in zip(totals, weeks, strict=True)]


def hour_of_week(moment: datetime) -> int:
    return moment.weekday() * 24 + moment.hour


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _hours(subscription: Subscription, since: datetime) -> QuerySet[HourlyVolume]:
    return subscription.volumes.filter(hour__gte=_hour_of(since))


def expected_volume(usual: list[float], since: datetime, until: datetime) -> float:
    """How many notifications usually arrive between two times."""
    total, moment = 0.0, since
    while moment < until:
        end = min(_hour_of(moment) + timedelta(hours=1), until)
        total += usual[hour_of_week(moment)] * (end - moment).total_seconds() / 3600
        moment = end
        if total > 1_000:
            break
    return total


def daily_volume(subscription: Subscription, count: int = 14) -> list[tuple[datetime, int, int]]:
    """(day, pushed, caught up) of the last days (UTC), oldest first, today included. This hour comes from the log."""
    now = database_clock.now()
    this_hour, today = _hour_of(now), _hour_of(now).replace(hour=0)
    first = today - timedelta(days=count - 1)
    days = {first + timedelta(days=number): [0, 0] for number in range(count)}
    days[today] = _since(subscription, this_hour)
    for row in _hours(subscription, first).filter(hour__lt=this_hour):
        day = row.hour.replace(hour=0)
        if day in days:
            days[day][0] += row.pushed
            days[day][1] += row.caught_up
    return [(day, pushed, caught_up) for day, (pushed, caught_up) in days.items()]


def _since(subscription: Subscription, moment: datetime) -> list[int]:
    """[pushed, caught up] since a time, from the log itself."""
    rows = Notification.objects.filter(subscription=subscription, received_at__gte=moment)
    by = dict(rows.order_by().values_list("source").annotate(count=Count("pk")))
    return [by.get(source.value, 0) for source in (Notification.Source.PUSHED, Notification.Source.CAUGHT_UP)]
