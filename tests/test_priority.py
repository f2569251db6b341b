"""What goes first where a connection has room for one only."""

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from integrations.delivery.deliver import deliver_next
from integrations.destinations.capabilities import Budget
from integrations.flow import backlog_texts
from integrations.flow.rate_limit import (
    learn_limits,
)
from integrations.models import Delivery, Mapping
from integrations.routing.actions import retry_now
from integrations.routing.route import route_notification
from tests.deliveries import creates, labelled
from tests.factories import NotificationFactory
from tests.stand_in import StandIn

State, Priority = Delivery.State, Delivery.Priority
Work = Callable[[], None]


def test_live_goes_before_retries_and_retries_before_replays(sandbox: StandIn, mapping: Mapping) -> None:
    (replay,), (retry,), (live,) = labelled(mapping), labelled(mapping), labelled(mapping)
    Delivery.objects.filter(pk=replay.pk).update(priority=Priority.BULK)
    Delivery.objects.filter(pk=retry.pk).update(priority=Priority.RETRY)
    for _ in range(3):
        assert deliver_next(mapping.connection_id)
    assert creates(sandbox) == [live.external_id, retry.external_id, replay.external_id]


def test_a_live_post_overtakes_a_replay_that_is_under_way(sandbox: StandIn, mapping: Mapping) -> None:
    replays = labelled(mapping, 5)
    Delivery.objects.update(priority=Priority.BULK)
    deliver_next(mapping.connection_id)
    (live,) = labelled(mapping)
    deliver_next(mapping.connection_id)
    assert creates(sandbox)[1] == live.external_id
    assert Delivery.objects.filter(pk__in=[row.pk for row in replays], state=State.PENDING).count() == 4


def test_a_failed_try_goes_on_as_a_retry(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    (row,) = labelled(mapping)
    sandbox.add_fault("500", times=1)
    work()
    row.refresh_from_db()
    assert (row.state, row.priority) == (State.PENDING, Priority.RETRY)


def test_a_few_retried_by_hand_are_retries_and_many_are_a_replay_with_its_honest_end(
    mapping: Mapping, sandbox: StandIn
) -> None:
    rows = labelled(mapping, 30)
    Delivery.objects.update(state=State.FAILED, last_error="x", next_attempt_at=None)
    few = Delivery.objects.filter(pk__in=[row.pk for row in rows[:3]])
    retry_now(few)
    assert set(few.values_list("priority", flat=True)) == {Priority.RETRY}
    learn_limits(mapping.connection_id, "account", [Budget(60, 60, 60.0)])
    done = retry_now(Delivery.objects.filter(state=State.FAILED))
    assert set(Delivery.objects.filter(pk__in=done.changed).values_list("priority", flat=True)) == {Priority.BULK}
    assert "Empty at about" in " ".join(done.remarks)


def test_what_was_fetched_long_after_it_happened_goes_behind_what_happens_now(mapping: Mapping) -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    notification = NotificationFactory.create(
        subscription=mapping.subscription, source="caught_up", happened_at=long_ago
    )
    route_notification(notification.pk)
    assert Delivery.objects.get().priority == Priority.BULK


def test_live_that_comes_in_faster_than_the_limit_makes_the_end_of_a_replay_unknown(mapping: Mapping) -> None:
    labelled(mapping, 200)
    Delivery.objects.filter(pk__in=Delivery.objects.values("pk")[:50]).update(priority=Priority.BULK)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    message = backlog_texts([mapping.connection])[mapping.connection_id]
    assert "so retries and bulk deliveries wait" in message
    assert "50 bulk" in message
