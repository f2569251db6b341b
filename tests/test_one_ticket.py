"""One ticket a post, whoever asks: copies of the portal, restored databases, events that are told late or again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.delivery.batch import claim_batch
from integrations.delivery.claim import demote_late
from integrations.delivery.deliver import deliver_next
from integrations.destinations.capabilities import Budget
from integrations.destinations.zendesk import ZENDESK
from integrations.flow import backlog_texts
from integrations.flow.rate_limit import learn_limits
from integrations.jobs.tasks import deliver
from integrations.models import Attempt, Connection, Delivery, Mapping, Notification, RemoteObject
from tests import payloads
from tests.deliveries import creates, labelled
from tests.stand_in import StandIn

State, Priority = Delivery.State, Delivery.Priority
Work = Callable[[], None]
LONG_AGO = timedelta(hours=3)


def restore_an_empty_backup() -> None:
    """The database as it was before anything of this was received: what is at the account stays there."""
    for model in (Attempt, Delivery, RemoteObject, Notification):
        model._default_manager.all().delete()


def happened(content: dict[str, Any], age: timedelta) -> dict[str, Any]:
    return content | {"createdDate": f"{timezone.now() - age:%a %b %d %H:%M:%S UTC %Y}"}


def lookups(sandbox: StandIn) -> int:
    return len([call for call in sandbox.calls() if call.method == "GET" and "external_id=" in call.path])


def late(mapping: Mapping, count: int = 1) -> list[Delivery]:
    """Live when they were routed, and waiting ever since."""
    rows = labelled(mapping, count)
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(event_at=timezone.now() - LONG_AGO)
    return rows


# --- The same event, received twice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["{{ text }}", "{{ text }} in notification {{ notification_id }}"])
def test_what_another_copy_sent_a_moment_ago_is_recognised_by_its_key(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work, subject: str
) -> None:
    mapping.settings["subject"] = subject
    mapping.save()
    content = payloads.notification()
    push(content)
    work()
    restore_an_empty_backup()
    push(content)
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.number) == (State.DELIVERED, str(sandbox.tickets()[0]["id"]))
    assert delivery.result in ("already_there", "found")
    assert len(sandbox.tickets()) == 1


def test_what_another_copy_sent_long_ago_is_looked_up_before_anything_is_sent(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    content = payloads.notification()
    push(content)
    work()
    restore_an_empty_backup()
    sandbox.age_keys(3 * 3600)
    push(happened(content, LONG_AGO))
    work()
    assert Delivery.objects.get().result == "found"
    assert len(sandbox.tickets()) == 1
    assert len(creates(sandbox)) == 1


def test_a_new_ticket_each_time_is_still_one_ticket_per_event(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    mapping.settings["case"] = "always"
    mapping.save()
    item = payloads.item()
    contents = [payloads.notification(item), payloads.notification(item)]
    for content in contents:
        push(content)
    work()
    restore_an_empty_backup()
    for content in contents:
        push(content)
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 2
    assert len(sandbox.tickets()) == 2


def test_key_and_external_id_are_the_same_in_every_copy(mapping: Mapping, push: Any, work: Work) -> None:
    content = payloads.notification()
    push(content)
    work()
    first = Delivery.objects.select_related("content").get()
    restore_an_empty_backup()
    # Numbers of rows differ from copy to copy.
    labelled(mapping)
    push(content)
    work()
    again = Delivery.objects.get(post_id=first.post_id)
    assert again.pk != first.pk
    assert (again.external_id, again.idempotency_key) == (first.external_id, first.idempotency_key)


# --- Late ones go behind what is live --------------------------------------------------------------------------------


def test_a_live_post_goes_before_any_that_is_late(sandbox: StandIn, mapping: Mapping) -> None:
    waiting = late(mapping, 3)
    (live,) = labelled(mapping)
    deliver_next(mapping.connection_id)
    assert creates(sandbox) == [live.external_id]
    for _ in waiting:
        deliver_next(mapping.connection_id)
    assert len(sandbox.tickets()) == 4
    assert lookups(sandbox) == 3


def test_while_look_ups_have_no_permit_live_posts_are_sent(sandbox: StandIn, mapping: Mapping) -> None:
    late(mapping, 3)
    learn_limits(mapping.connection_id, "look-up", [Budget(1, 0, 50.0)])
    deliver(mapping.connection_id)
    (live,) = labelled(mapping)
    deliver(mapping.connection_id)
    assert creates(sandbox) == [live.external_id]
    assert lookups(sandbox) == 0
    assert Delivery.objects.filter(state=State.PENDING, attempt_count=0).count() == 3


def test_a_sweep_moves_what_has_become_late_to_the_bulk(mapping: Mapping) -> None:
    late(mapping, 2)
    (live,) = labelled(mapping)
    assert demote_late() == 2
    assert Delivery.objects.get(priority=Priority.LIVE) == live


def test_a_batch_takes_none_that_is_late(sandbox: StandIn, mapping: Mapping) -> None:
    late(mapping, 30)
    fresh = {row.pk for row in labelled(mapping, 20)}
    Connection.objects.update(backlog_since=timezone.now())
    batch = claim_batch(Connection.objects.get(), ZENDESK)
    assert batch is not None
    assert set(batch.delivery_ids) == fresh


def test_a_comment_is_not_looked_up_for_being_late(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    mapping.settings["context"] = "note"
    mapping.save()
    labelled(mapping)
    work()
    Delivery.objects.update(event_at=timezone.now() - LONG_AGO)
    work()
    assert not [call for call in sandbox.calls() if "comments.json" in call.path]
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 2


def test_the_end_of_the_queue_counts_the_look_ups(mapping: Mapping) -> None:
    learn_limits(mapping.connection_id, "account", [Budget(600, 600, 60.0)])
    learn_limits(mapping.connection_id, "look-up", [Budget(10, 10, 60.0)])
    late(mapping, 60)
    in_five_minutes = timezone.now() + timedelta(minutes=5)
    (queue,) = backlog_texts([Connection.objects.get()]).values()
    ends_at = queue.rpartition("Empty at about ")[2].removesuffix(" UTC.")
    assert ends_at > f"{in_five_minutes:%Y-%m-%d %H:%M}"
