"""One after another: a mapping that follows another is sent when that one's ticket exists, and can name it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from integrations.delivery.claim import claim
from integrations.delivery.record import begin_attempt
from integrations.delivery.send import hold_permits, send
from integrations.domain.conditions import all_of
from integrations.jobs.sweep import sweep
from integrations.models import Connection, Delivery, Mapping, Notification
from integrations.routing.actions import cancel, rebuild, retry_now
from tests import payloads
from tests.deliveries import move
from tests.factories import SubscriptionFactory
from tests.stand_in import StandIn
from tests.test_admin import page, save
from tests.test_slack import BotFactory, ToChannelFactory, block

State = Delivery.State
Work = Callable[[], None]


@pytest.fixture
def follower(sandbox: StandIn, mapping: Mapping) -> Mapping:
    """A message to a channel that is sent after the ticket. The ticket's mapping is the fixture `mapping`."""
    text = {"target": "C0SOCIAL", "title": "Ticket {{ made_number|default:none }}", "text": "{{ made_status }}"}
    return ToChannelFactory.create(
        subscription=mapping.subscription, connection=BotFactory.create(url=sandbox.url), follows=mapping, settings=text
    )


def push_post(push: Any, **fields: Any) -> None:
    assert push(payloads.notification(payloads.item("twitter:7", **fields))).status_code == 200


def push_while_tickets_wait(push: Any, work: Work, mapping: Mapping) -> None:
    """Until somebody resumes the connections (`tickets_go_on`)."""
    Connection.objects.filter(pk=mapping.connection_id).update(paused_at=timezone.now())
    push_post(push)
    work()


def tickets_go_on(work: Work) -> None:
    Connection.objects.update(paused_at=None)
    work()


def delivery_of(mapping: Mapping) -> Delivery:
    return Delivery.objects.get(mapping=mapping)


def titles(sandbox: StandIn) -> list[str]:
    return [block(message, "header")["text"]["text"] for message in sandbox.messages()]


def test_the_message_names_the_ticket_and_links_to_it(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    push_post(push, link="https://twitter.com/ann/status/7")
    work()
    (ticket,) = sandbox.tickets()
    (message,) = sandbox.messages()
    assert titles(sandbox) == [f"Ticket {ticket['id']}"]
    assert block(message, "section")["text"]["text"] == ticket["status"]
    (links,) = block(message, "context")["elements"]
    assert f"/agent/tickets/{ticket['id']}|Open the ticket>" in links["text"]
    assert "|Open the post>" in links["text"]
    assert delivery_of(follower).follows == delivery_of(mapping)
    assert delivery_of(follower).decision == f"Sent after “{mapping}”."


def test_it_waits_as_long_as_the_ticket_does_and_its_page_says_for_what(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn, admin: Client
) -> None:
    push_while_tickets_wait(push, work, mapping)
    waiting = delivery_of(follower)
    assert (waiting.state, waiting.request) == (State.WAITING, "")
    assert claim(follower.connection) is None
    html = page(admin, f"delivery/{waiting.pk}/change/")
    assert f"Waiting for “{mapping}” (delivery {delivery_of(mapping).pk}), which is pending" in html
    assert "is written when what it waits for exists" in html
    assert "Retry now" not in html
    assert "“Rebuild” sends them now" in " ".join(retry_now(Delivery.objects.filter(pk=waiting.pk)).remarks)
    tickets_go_on(work)
    assert titles(sandbox) == [f"Ticket {sandbox.tickets()[0]['id']}"]


@pytest.mark.parametrize("otherwise", Mapping.WithoutFirst)
@pytest.mark.parametrize("how", ["fails", "is cancelled", "its conditions do not hold", "is off", "cannot be rendered"])
def test_when_there_will_be_no_ticket_it_is_sent_without_or_not_at_all(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn, otherwise: str, how: str
) -> None:
    Mapping.objects.filter(pk=follower.pk).update(without_first=otherwise)
    if how == "fails":
        sandbox.add_fault("422")
    elif how == "its conditions do not hold":
        Mapping.objects.filter(pk=mapping.pk).update(conditions=all_of(("network", "is", ["facebook"])))
    elif how == "is off":
        Mapping.objects.filter(pk=mapping.pk).update(is_active=False)
    elif how == "cannot be rendered":
        Mapping.objects.filter(pk=mapping.pk).update(settings=mapping.settings | {"subject": "{{ nothing_like_it }}"})
    elif how == "is cancelled":
        Connection.objects.filter(pk=mapping.connection_id).update(paused_at=timezone.now())
    push_post(push)
    work()
    if how == "is cancelled":
        assert delivery_of(follower).state == State.WAITING
        cancel(Delivery.objects.filter(mapping=mapping))
        work()
    assert titles(sandbox) == (["Ticket none"] if otherwise == "send" else [])
    if otherwise == "skip" and how in ("fails", "is cancelled", "cannot be rendered"):
        assert delivery_of(follower).state == State.CANCELLED
        assert "Not sent" in delivery_of(follower).decision
    elif otherwise == "skip":
        assert not Delivery.objects.filter(mapping=follower).exists()
        reasons = [outcome["reason"] for outcome in Notification.objects.get().posts.get().outcome]
        assert f"it is sent after “{mapping}”, which makes nothing of this post" in reasons


@pytest.mark.parametrize("otherwise", Mapping.WithoutFirst)
def test_where_a_ticket_may_exist_nobody_says_that_there_is_none(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn, otherwise: str
) -> None:
    Mapping.objects.filter(pk=follower.pk).update(without_first=otherwise)
    Connection.objects.filter(pk=mapping.connection_id).update(retry_delays=[1])
    sandbox.add_fault("hang_up_after", api="zendesk", times=1)
    push_post(push)
    work()
    sandbox.add_fault("500", api="zendesk")
    for _ in range(3):
        move()
        work()
    assert (delivery_of(mapping).state, delivery_of(mapping).is_uncertain) == (State.FAILED, True)
    assert "it is not known what it made" in delivery_of(follower).decision


def test_a_process_that_dies_over_the_ticket_delays_the_message_and_doubles_nothing(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    push_while_tickets_wait(push, work, mapping)
    Connection.objects.update(paused_at=None)
    claimed = claim(Connection.objects.get(pk=mapping.connection_id))
    assert claimed is not None
    hold_permits(claimed)
    begin_attempt(claimed)
    send(claimed)
    Delivery.objects.filter(mapping=mapping).update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert sandbox.messages() == []
    work()
    assert len(sandbox.tickets()) == len(sandbox.messages()) == 1
    assert titles(sandbox) == [f"Ticket {sandbox.tickets()[0]['id']}"]


def test_one_that_was_not_woken_is_found_by_the_sweep(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    push_post(push)
    work()
    again = {"state": "waiting", "is_rendered": False, "remote_object": None, "delivered_at": None}
    Delivery.objects.filter(mapping=follower).update(**again)
    sweep()
    assert delivery_of(follower).state == State.PENDING


def test_it_may_be_sent_before_by_rebuilding_and_is_not_sent_again(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    push_while_tickets_wait(push, work, mapping)
    rebuild(Delivery.objects.filter(mapping=follower))
    work()
    assert titles(sandbox) == ["Ticket none"]
    tickets_go_on(work)
    assert len(sandbox.tickets()) == len(sandbox.messages()) == 1


def test_a_post_labelled_when_its_ticket_exists_already_is_told_at_once(
    push: Any, work: Work, mapping: Mapping, sandbox: StandIn
) -> None:
    push_post(push)
    work()
    ToChannelFactory.create(
        subscription=mapping.subscription,
        connection=BotFactory.create(url=sandbox.url),
        follows=mapping,
        settings={"target": "C0SOCIAL", "title": "Ticket {{ made_number }}"},
    )
    push_post(push)
    work()
    assert titles(sandbox) == [f"Ticket {sandbox.tickets()[0]['id']}"]


def test_three_in_a_row(push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn) -> None:
    third = ToChannelFactory.create(
        subscription=mapping.subscription,
        connection=follower.connection,
        follows=follower,
        settings={"target": "C0ALERTS", "title": "After {{ made_number }}"},
    )
    # The order in which mappings were made says nothing: the first of the row is the newest here.
    Mapping.objects.filter(pk=mapping.pk).update(follows=None)
    push_post(push)
    work()
    assert [message["channel"] for message in sandbox.messages()] == ["C0SOCIAL", "C0ALERTS"]
    assert delivery_of(third).follows == delivery_of(follower)


def test_no_two_wait_for_one_another(admin: Client, mapping: Mapping, follower: Mapping, sandbox: StandIn) -> None:
    answer = save(admin, f"mapping/{mapping.pk}/change/", follows=str(follower.pk))
    assert "both would wait for ever" in answer.content.decode()
    with pytest.raises(IntegrityError, match="mapping_follows_another"), transaction.atomic():
        Mapping.objects.filter(pk=mapping.pk).update(follows=mapping.pk)


def test_only_a_mapping_of_the_same_subscription_can_be_followed(
    admin: Client, mapping: Mapping, follower: Mapping
) -> None:
    other = ToChannelFactory.create(connection=follower.connection, subscription__label="Other")
    answer = save(admin, f"mapping/{follower.pk}/change/", follows=str(other.pk))
    assert "belongs to another subscription" in answer.content.decode()


@pytest.mark.parametrize("repair", [retry_now, rebuild])
def test_what_was_not_sent_is_sent_after_all_when_its_ticket_is_repaired(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn, repair: Callable[[Any], Any]
) -> None:
    Mapping.objects.filter(pk=follower.pk).update(without_first="skip")
    sandbox.add_fault("422")
    push_post(push)
    work()
    assert delivery_of(follower).state == State.CANCELLED
    sandbox.clear_faults()
    repair(Delivery.objects.filter(mapping=mapping))
    work()
    assert titles(sandbox) == [f"Ticket {sandbox.tickets()[0]['id']}"]


def test_one_that_a_person_cancelled_stays_so(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    push_while_tickets_wait(push, work, mapping)
    cancel(Delivery.objects.filter(mapping=follower))
    tickets_go_on(work)
    assert (len(sandbox.tickets()), sandbox.messages()) == (1, [])


def test_a_mapping_moved_to_another_connection_meanwhile_is_sent_there(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    push_while_tickets_wait(push, work, mapping)
    elsewhere = BotFactory.create(url=sandbox.url, name="Other workspace")
    Mapping.objects.filter(pk=follower.pk).update(connection=elsewhere)
    tickets_go_on(work)
    assert delivery_of(follower).connection == elsewhere
    assert len(sandbox.messages()) == 1


def test_each_of_several_tickets_of_a_post_has_its_message(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=mapping.pk).update(settings=mapping.settings | {"case": "always"})
    for _ in range(2):
        push_post(push)
        work()
    assert titles(sandbox) == [f"Ticket {ticket['id']}" for ticket in sandbox.tickets()]
    assert len(sandbox.tickets()) == 2


def test_rebuilt_together_the_message_waits_for_the_ticket_again(
    push: Any, work: Work, mapping: Mapping, follower: Mapping, sandbox: StandIn
) -> None:
    sandbox.add_fault("422")
    Mapping.objects.filter(pk=follower.pk).update(without_first="skip")
    push_post(push)
    work()
    sandbox.clear_faults()
    rebuild(Delivery.objects.all())
    assert delivery_of(follower).state == State.WAITING
    work()
    assert titles(sandbox) == [f"Ticket {sandbox.tickets()[0]['id']}"]


def test_a_first_mapping_keeps_its_subscription(admin: Client, mapping: Mapping, follower: Mapping) -> None:
    other = SubscriptionFactory.create(label="Another")
    answer = save(admin, f"mapping/{mapping.pk}/change/", subscription=str(other.pk))
    assert f"Sent after this one: “{follower}”" in answer.content.decode()
