"""The account's limit, our share of it, and permits: who has one, who waits, who gives one back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from integrations.delivery.deliver import deliver_next
from integrations.destinations.capabilities import Budget
from integrations.flow.rate_limit import (
    calls_per_minute,
    learn_limits,
    limit_of,
    return_permit,
    take_permit,
)
from integrations.infra.redis import redis_client
from integrations.jobs.tasks import deliver
from integrations.models import Connection, Delivery, Mapping
from tests.deliveries import labelled
from tests.factories import ConnectionFactory
from tests.stand_in import StandIn

State = Delivery.State
Work = Callable[[], None]
LIMIT = [Budget(60_000, 60_000, 60.0)]


def test_the_share_of_the_limit_sets_the_rate(mapping: Mapping) -> None:
    learn_limits(mapping.connection_id, "account", [Budget(600, 600, 60.0)], 50)
    assert calls_per_minute(mapping.connection_id) == pytest.approx(297, rel=0.02)
    assert limit_of(mapping.connection_id, "account") == 600


@pytest.mark.parametrize("spelling", ["new", "old", "x", "shouting", "all"])
def test_the_limit_is_heard_whatever_its_spelling(
    sandbox: StandIn, mapping: Mapping, work: Work, spelling: str
) -> None:
    sandbox.change_settings(rate_limit=120, rate_headers=spelling)
    labelled(mapping)
    work()
    assert calls_per_minute(mapping.connection_id) == pytest.approx(119, rel=0.05)


def test_a_permit_that_is_far_off_frees_the_worker_and_calls_one_back(
    sandbox: StandIn, mapping: Mapping, queued: Callable[[], list[tuple[str, Any]]]
) -> None:
    labelled(mapping, 3)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    deliver(mapping.connection_id)
    assert len(sandbox.tickets()) == 1
    deliver(mapping.connection_id)
    assert len(sandbox.tickets()) == 1
    assert Delivery.objects.filter(state=State.PENDING, attempt_count=0).count() == 2


def test_a_permit_without_work_is_given_back(mapping: Mapping) -> None:
    learn_limits(mapping.connection_id, "account", [Budget(60, 60, 60.0)])
    for _ in range(3):
        assert not deliver_next(mapping.connection_id)
        assert take_permit(mapping.connection_id, "account", 0.2) < 0.2
        return_permit(mapping.connection_id, "account")


def test_the_accounts_limit_on_changes_holds_up_comments_only(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    sandbox.change_settings(rate_limit=60_000, update_limit=3)
    mapping.settings |= {"context": "note"}
    mapping.save()
    labelled(mapping, 6)
    work()
    work()
    notes = Delivery.objects.filter(action="append")
    assert 1 <= notes.filter(state=State.DELIVERED).count() <= 3
    assert notes.filter(state=State.PENDING, tries=0).count() >= 3
    assert Connection.objects.get().paused_at is None
    labelled(mapping)
    work()
    assert Delivery.objects.filter(action="create", state=State.DELIVERED).count() == 7


def test_two_connections_keep_their_own_rate_limit(sandbox: StandIn, mapping: Mapping, tmp_path: Path) -> None:
    from sandbox.server import running_sandbox

    with running_sandbox(tmp_path) as other:
        second = ConnectionFactory.create(url=other.url, name="Second")
        learn_limits(mapping.connection_id, "account", [Budget(60, 60, 60.0)])
        learn_limits(second.pk, "account", LIMIT)
        assert take_permit(second.pk, "account", 1.0) < 0.01
        assert take_permit(mapping.connection_id, "account", 1.0) < 0.01
        assert take_permit(second.pk, "account", 1.0) < 0.05
        Delivery.objects.update(tries=F("tries"))
    assert redis_client().hget(f"casebridge:rate:{second.pk}:account", "interval") == "1"
