"""Slack with a bot: threads for one case, an update once the ticket is solved, and one message for a burst."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations.delivery.bursts import cancel_uncounted
from integrations.delivery.claim import claim
from integrations.delivery.following import repair_followers
from integrations.delivery.record import begin_attempt, record_result
from integrations.delivery.send import hold_permits, send
from integrations.destinations.capabilities import StatusUpdate
from integrations.domain.conditions import all_of
from integrations.jobs.sweep import sweep
from integrations.models import Burst, Connection, Delivery, Mapping, Notification, RemoteObject
from integrations.outcomes.status import record_update
from integrations.routing.actions import cancel, rebuild, retry_now
from integrations.routing.route import route_notification
from tests import payloads
from tests.deliveries import move
from tests.stand_in import StandIn
from tests.test_admin import page, save
from tests.test_slack import BotFactory, ToChannelFactory, block, by_webhook

__all__ = ["by_webhook"]

State = Delivery.State
Work = Callable[[], None]


def push_post(push: Any, entity_id: str, **fields: Any) -> None:
    assert push(payloads.notification(payloads.item(entity_id, **fields))).status_code == 200


# --- Threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def threads(sandbox: StandIn, subscription: Any) -> Mapping:
    return ToChannelFactory.create(
        subscription=subscription,
        connection=BotFactory.create(url=sandbox.url),
        settings={"target": "C0SOCIAL", "case": "author", "case_hours": 24},
    )


def push_of_one_author(push: Any, work: Work, *numbers: int, author: str = "77") -> None:
    for number in numbers:
        push_post(push, f"twitter:{number}", text=f"post {number}", authorId=author, authorScreenName="ann")
        work()


def test_further_posts_of_one_author_go_into_the_thread_of_the_first(
    push: Any, work: Work, threads: Mapping, sandbox: StandIn
) -> None:
    push_of_one_author(push, work, 1, 2, 3)
    push_of_one_author(push, work, 4, author="78")
    first, *replies, other = sandbox.messages()
    assert [reply["thread_ts"] for reply in replies] == [first["ts"], first["ts"]]
    assert "thread_ts" not in other
    assert "post 3" in block(replies[1], "section")["text"]["text"]
    assert RemoteObject.objects.count() == 2
    decisions = Delivery.objects.filter(action="append").values_list("decision", flat=True)
    assert set(decisions) == {f"Added to message C0SOCIAL:{first['ts']} of the same author."}


def test_a_thread_that_is_gone_begins_anew(push: Any, work: Work, threads: Mapping, sandbox: StandIn) -> None:
    push_of_one_author(push, work, 1)
    (first,) = sandbox.messages()
    sandbox.control("DELETE", f"slack/messages/C0SOCIAL/{first['ts']}")
    push_of_one_author(push, work, 2, 3)
    second, reply = sandbox.messages()
    assert "thread_ts" not in second
    assert reply["thread_ts"] == second["ts"]
    assert not Delivery.objects.exclude(state=State.DELIVERED).exists()


def test_a_webhook_can_neither_thread_nor_update_and_its_form_says_so(
    admin: Client, by_webhook: Mapping, sandbox: StandIn
) -> None:
    html = save(admin, f"mapping/{by_webhook.pk}/change/", case="author", marks_solved="on").content.decode()
    assert html.count("The connection signs in with an incoming webhook, which cannot do this") == 2
    assert b"was changed successfully" in save(admin, f"mapping/{by_webhook.pk}/change/", case="post").content


# --- Solved ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(sandbox: StandIn, mapping: Mapping) -> Mapping:
    """A message that is sent after the ticket and says when that is solved."""
    return ToChannelFactory.create(
        subscription=mapping.subscription,
        connection=BotFactory.create(url=sandbox.url),
        follows=mapping,
        settings={"target": "C0SOCIAL", "title": "Ticket {{ made_number }}", "text": "x", "marks_solved": True},
    )


def solve(ticket: RemoteObject, status: str = "solved", minute: int = 5) -> None:
    changed = datetime(2026, 11, 30, 12, minute, tzinfo=UTC)
    record_update(ticket.connection_id, StatusUpdate(ticket.number, status, changed_at=changed))


def ticket_of(mapping: Mapping) -> RemoteObject:
    return RemoteObject.objects.get(mapping=mapping)


def test_a_message_is_updated_once_its_ticket_is_solved(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn, admin: Client
) -> None:
    push_post(push, "twitter:7")
    work()
    ticket = ticket_of(mapping)
    solve(ticket)
    solve(ticket, "closed", 9)
    work()
    (message,) = sandbox.messages()
    assert message["edited"] == 1
    assert block(message, "header")["text"]["text"] == f"Ticket {ticket.number}"
    said = f"Ticket {ticket.number} was solved at 2026-11-30 12:05:00 UTC."
    assert message["blocks"][-1]["elements"][0]["text"] == f":white_check_mark: {said}"
    update = Delivery.objects.get(action="update")
    assert (update.state, update.result, update.number) == (State.DELIVERED, "updated", f"C0SOCIAL:{message['ts']}")
    assert said in page(admin, f"delivery/{update.pk}/change/")


def test_an_update_is_retried_and_never_ends_as_standing_there_twice(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn
) -> None:
    push_post(push, "twitter:7")
    work()
    sandbox.add_fault("answer", api="slack", path="/api/chat.update", status=500, body="", times=3)
    solve(ticket_of(mapping))
    for _ in range(5):
        work()
        move()
    update = Delivery.objects.get(action="update")
    assert (update.state, update.tries) == (State.DELIVERED, 4)
    assert "twice" not in update.remarks
    assert sandbox.messages()[0]["edited"] == 1


def test_a_message_that_was_sent_after_its_ticket_was_solved_is_updated_too(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn
) -> None:
    Connection.objects.filter(pk=told.connection_id).update(paused_at=timezone.now())
    push_post(push, "twitter:7")
    work()
    solve(ticket_of(mapping))
    Connection.objects.update(paused_at=None)
    work()
    assert sandbox.messages()[0]["edited"] == 1


def test_a_message_deleted_in_slack_is_told_and_can_be_let_go(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn
) -> None:
    push_post(push, "twitter:7")
    work()
    sandbox.control("DELETE", f"slack/messages/C0SOCIAL/{sandbox.messages()[0]['ts']}")
    solve(ticket_of(mapping))
    work()
    update = Delivery.objects.get(action="update")
    assert update.state == State.FAILED
    assert "no longer there" in update.last_error
    assert not update.is_uncertain
    rebuild(Delivery.objects.filter(pk=update.pk))
    update.refresh_from_db()
    assert update.state == State.PENDING


def test_nothing_is_updated_where_nobody_asked_for_it(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=told.pk).update(settings={"target": "C0SOCIAL"})
    push_post(push, "twitter:7")
    work()
    solve(ticket_of(mapping))
    work()
    assert not Delivery.objects.filter(action="update").exists()


# --- Bursts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def counting(sandbox: StandIn, subscription: Any) -> Mapping:
    return ToChannelFactory.create(
        subscription=subscription,
        connection=BotFactory.create(url=sandbox.url),
        settings={"target": "C0SOCIAL", "title": "{{ post_id }}", "gathers_over": 3},
    )


def push_burst(push: Any, *numbers: int) -> None:
    for number in numbers:
        push_post(
            push,
            f"twitter:{number}",
            text=f"post {number} <!channel>",
            author="Ann & Co",
            link=f"https://x.com/{number}",
        )


def as_if_passed(seconds: float) -> None:
    """Moves all that happened, and all that is due, into the past."""
    by = timedelta(seconds=seconds)
    for delivery in Delivery.objects.all():
        delivery.created_at -= by
        if delivery.next_attempt_at:
            delivery.next_attempt_at -= by
        delivery.save(update_fields=["created_at", "next_attempt_at"])
    for burst in Burst.objects.all():
        burst.began_at, burst.last_post_at = burst.began_at - by, burst.last_post_at - by
        burst.told_at = burst.told_at - by if burst.told_at else None
        burst.save()


def headers(sandbox: StandIn) -> list[str]:
    return [block(message, "header")["text"]["text"] for message in sandbox.messages()]


def counted() -> int:
    return Delivery.objects.filter(result="counted", state=State.DELIVERED).count()


def test_a_burst_becomes_one_message_that_counts_and_is_updated_as_it_grows(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn, admin: Client
) -> None:
    push_burst(push, *range(1, 9))
    work()
    assert headers(sandbox) == ["twitter:1", "twitter:2", "twitter:3", "5 posts in 1 minute: CreateCase"]
    assert counted() == 5
    latest = block(sandbox.messages()[3], "section")["text"]["text"]
    assert "• Ann &amp; Co (@author): post 8 &lt;!channel&gt; <https://x.com/8|Open>" in latest
    push_burst(push, *range(9, 12))
    work()
    assert headers(sandbox)[3].startswith("5 posts")
    as_if_passed(15)
    work()
    assert headers(sandbox)[3].startswith("8 posts")
    assert counted() == 8
    as_if_passed(61)
    work()
    assert len(headers(sandbox)) == 4
    assert "It is over" in sandbox.messages()[3]["blocks"][-1]["elements"][0]["text"]
    assert Burst.objects.get().ended_at is not None
    push_burst(push, 20)
    work()
    assert headers(sandbox)[4] == "twitter:20"
    one = Delivery.objects.get(post_id="twitter:8", occasion="")
    html = page(admin, f"delivery/{one.pk}/change/")
    assert "Counted in one message with others, as too many posts came within a minute." in html
    assert not Delivery.objects.exclude(state=State.DELIVERED).exists()


def test_a_webhook_tells_a_burst_at_its_beginning_and_at_its_end(
    push: Any, work: Work, by_webhook: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.update(settings={"title": "{{ post_id }}", "gathers_over": 3})
    push_burst(push, *range(1, 6))
    work()
    assert headers(sandbox)[3] == "2 posts in 1 minute: CreateCase"
    for first in (6, 9):
        as_if_passed(25)
        push_burst(push, first, first + 1, first + 2)
        work()
    assert len(headers(sandbox)) == 4
    as_if_passed(61)
    work()
    assert headers(sandbox)[4].startswith("8 posts in ")
    assert "It is over" in sandbox.messages()[4]["blocks"][-1]["elements"][0]["text"]
    assert (counted(), Burst.objects.get().ended_at is not None) == (8, True)


def test_a_slow_stream_is_no_burst(push: Any, work: Work, counting: Mapping, sandbox: StandIn) -> None:
    for number in range(1, 8):
        push_burst(push, number)
        work()
        as_if_passed(25)
    assert len(headers(sandbox)) == 7
    assert not Burst.objects.exists()


def test_posts_that_come_while_the_message_is_sent_are_counted_by_the_next(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, 1, 2, 3)
    work()
    push_burst(push, 4)
    for notification in Notification.objects.filter(state="received"):
        route_notification(notification.pk)
    claimed = claim(counting.connection)
    assert claimed is not None
    assert claimed.delivery.counts_a_burst
    hold_permits(claimed)
    begin_attempt(claimed)
    result = send(claimed)
    push_burst(push, 5, 6)
    work()
    record_result(claimed, result)
    assert headers(sandbox)[3].startswith("1 post in")
    assert counted() == 1
    as_if_passed(16)
    work()
    assert counted() == 3
    assert headers(sandbox)[3].startswith("3 posts")


def test_a_message_that_fails_keeps_its_posts_waiting_until_it_is_repaired(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn, admin: Client
) -> None:
    push_burst(push, *range(1, 4))
    work()
    sandbox.change_place("C0SOCIAL", is_archived=True)
    push_burst(push, 4, 5)
    work()
    push_burst(push, 6)
    work()
    sweep()
    report = Delivery.objects.get(occasion__startswith="burst")
    assert report.state == State.FAILED
    waiting = Delivery.objects.filter(state=State.WAITING)
    assert waiting.count() == 3
    assert f"Waiting for the message that counts it (delivery {report.pk}), which is failed" in page(
        admin, f"delivery/{waiting[0].pk}/change/"
    )
    Mapping.objects.update(settings=counting.settings | {"target": "C0ADTECH"})
    rebuild(Delivery.objects.filter(pk=report.pk))
    work()
    (message,) = [message for message in sandbox.messages() if message["channel"] == "C0ADTECH"]
    assert block(message, "header")["text"]["text"].startswith("3 posts")
    assert counted() == 3


def test_cancelling_the_message_cancels_its_posts_and_ends_the_burst(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, *range(1, 4))
    work()
    Connection.objects.update(paused_at=timezone.now())
    push_burst(push, 4, 5)
    work()
    cancel(Delivery.objects.filter(occasion__startswith="burst"))
    assert cancel_uncounted() == 2
    assert Delivery.objects.filter(state=State.CANCELLED, occasion="").count() == 2
    Connection.objects.update(paused_at=None)
    push_burst(push, 6)
    work()
    assert Burst.objects.exclude(closed_at=None).count() == 1
    rebuild(Delivery.objects.filter(occasion__startswith="burst", state=State.CANCELLED))
    work()
    assert Delivery.objects.filter(post_id__in=["twitter:4", "twitter:5"], result="counted").count() == 2


def test_one_post_of_a_burst_can_be_sent_by_itself(push: Any, work: Work, counting: Mapping, sandbox: StandIn) -> None:
    push_burst(push, *range(1, 4))
    work()
    Connection.objects.update(paused_at=timezone.now())
    push_burst(push, 4, 5)
    work()
    rebuild(Delivery.objects.filter(post_id="twitter:4", occasion=""))
    Connection.objects.update(paused_at=None)
    work()
    assert "twitter:4" in headers(sandbox)
    assert counted() == 1


def test_a_post_labelled_twice_is_counted_once(push: Any, work: Work, counting: Mapping, sandbox: StandIn) -> None:
    push_burst(push, *range(1, 6))
    push_burst(push, 5)
    work()
    assert headers(sandbox)[3].startswith("2 posts")


def test_five_hundred_posts_at_once_end_in_a_few_messages_and_five_hundred_deliveries(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    for first in range(1, 500, 50):
        items = [payloads.item(f"twitter:{number}", text="x") for number in range(first, first + 50)]
        assert push(payloads.notification(*items)).status_code == 200
        work()
        as_if_passed(16)
    work()
    as_if_passed(61)
    work()
    posts = Delivery.objects.filter(occasion="")
    assert posts.count() == posts.filter(state=State.DELIVERED).count() == 500
    assert len(sandbox.messages()) == 1
    assert headers(sandbox)[0].startswith("500 posts")


def test_a_follower_of_a_burst_is_sent_once_its_post_was_counted(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    after = ToChannelFactory.create(
        subscription=counting.subscription, connection=counting.connection, follows=counting,
        settings={"target": "C0ADTECH", "title": "after {{ post_id }}"},
    )  # fmt: skip
    push_burst(push, *range(1, 6))
    work()
    repair_followers()
    work()
    assert Delivery.objects.filter(mapping=after, state=State.DELIVERED).count() == 5


# --- Bursts: what goes wrong -----------------------------------------------------------------------------------------


def report() -> Delivery:
    return Delivery.objects.filter(occasion__startswith="burst").latest("pk")


def rows_of(delivery: Delivery) -> Any:
    return Delivery.objects.filter(pk=delivery.pk)


def test_a_message_deleted_in_the_middle_of_a_burst_is_followed_by_a_new_one(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, *range(1, 6))
    work()
    sandbox.control("DELETE", f"slack/messages/C0SOCIAL/{sandbox.messages()[3]['ts']}")
    push_burst(push, 6, 7)
    work()
    as_if_passed(16)
    work()
    assert headers(sandbox)[3].startswith("4 posts")
    assert counted() == 4
    as_if_passed(61)
    work()
    assert "It is over" in sandbox.messages()[3]["blocks"][-1]["elements"][0]["text"]


def test_a_message_that_failed_long_ago_holds_up_no_later_post(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, 1, 2, 3)
    work()
    sandbox.change_place("C0SOCIAL", is_archived=True)
    push_burst(push, 4, 5)
    work()
    sandbox.change_place("C0SOCIAL", is_archived=False)
    as_if_passed(7200)
    push_burst(push, 8)
    work()
    assert headers(sandbox)[-1] == "twitter:8"
    retry_now(rows_of(report()))
    work()
    assert headers(sandbox)[-1].startswith("2 posts")
    assert "It is over" in sandbox.messages()[-1]["blocks"][-1]["elements"][0]["text"]
    assert counted() == 2
    assert Burst.objects.get().ended_at is not None


def test_posts_that_come_do_not_use_up_the_tries_of_a_message_that_fails(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, 1, 2, 3)
    work()
    Connection.objects.update(retry_delays=[60.0, 60.0])
    sandbox.add_fault("503", api="slack", path="/api/chat.postMessage", times=1)
    push_burst(push, 4)
    work()
    due = report().next_attempt_at
    assert due is not None
    assert due > timezone.now() + timedelta(seconds=50)
    push_burst(push, 5, 6, 7)
    work()
    assert (report().next_attempt_at, report().tries) == (due, 1)
    move()
    work()
    assert headers(sandbox)[3].startswith("4 posts")


def test_what_is_not_sent_without_its_ticket_is_not_counted(
    push: Any, work: Work, mapping: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=mapping.pk).update(conditions=all_of(("text", "contains", ["wanted"])))
    ToChannelFactory.create(
        subscription=mapping.subscription, connection=BotFactory.create(url=sandbox.url), follows=mapping,
        without_first="skip", settings={"target": "C0SOCIAL", "gathers_over": 3},
    )  # fmt: skip
    push_burst(push, *range(1, 9))
    work()
    assert not sandbox.messages()
    assert not Burst.objects.exists()


def test_a_post_of_a_burst_that_is_sent_by_itself_names_its_ticket(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=told.pk).update(settings=told.settings | {"gathers_over": 1})
    Connection.objects.filter(pk=told.connection_id).update(paused_at=timezone.now())
    push_burst(push, 1, 2, 3)
    work()
    rebuild(Delivery.objects.filter(post_id="twitter:3", occasion="", mapping=told))
    Connection.objects.update(paused_at=None)
    work()
    ticket = Delivery.objects.get(post_id="twitter:3", mapping=mapping).number
    assert f"Ticket {ticket}" in headers(sandbox)
    solve(RemoteObject.objects.get(mapping=mapping, number=ticket))
    work()
    edited = [message for message in sandbox.messages() if message.get("edited")]
    assert [block(message, "header")["text"]["text"] for message in edited] == [f"Ticket {ticket}"]


def test_a_message_of_unknown_outcome_is_sent_once_more_by_hand(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, 1, 2, 3)
    work()
    sandbox.add_fault("answer", api="slack", path="/api/chat.postMessage", status=500, body="", times=20)
    push_burst(push, 4, 5)
    for _ in range(4):
        work()
        move()
    failed = report()
    assert (failed.state, failed.is_uncertain, failed.attempt_count) == (State.FAILED, True, 2)
    assert "may have been sent twice" in " ".join(rebuild(rows_of(failed)).remarks)
    for _ in range(4):
        work()
        move()
    assert report().attempt_count == 3


def test_a_message_on_its_way_is_not_hurried_into_a_lie(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, *range(1, 6))
    work()
    for action in (retry_now, rebuild):
        assert "it is sent by itself when it is due" in " ".join(action(rows_of(report())).remarks)
    work()
    assert "The counting goes on" in sandbox.messages()[3]["blocks"][-1]["elements"][0]["text"]


def test_posts_taken_out_of_a_burst_are_not_counted(push: Any, work: Work, counting: Mapping, sandbox: StandIn) -> None:
    push_burst(push, 1, 2, 3)
    work()
    Connection.objects.update(paused_at=timezone.now())
    push_burst(push, 4, 5, 6)
    work()
    cancel(Delivery.objects.filter(post_id="twitter:4", occasion=""))
    rebuild(Delivery.objects.filter(post_id="twitter:5", occasion=""))
    Connection.objects.update(paused_at=None)
    work()
    assert any(header.startswith("1 post in") for header in headers(sandbox))
    assert counted() == 1


def test_a_burst_ends_although_single_posts_go_on(push: Any, work: Work, counting: Mapping, sandbox: StandIn) -> None:
    push_burst(push, *range(1, 6))
    work()
    for number in range(10, 15):
        as_if_passed(31)
        push_burst(push, number)
        work()
    assert headers(sandbox)[-1] == "twitter:14"
    assert Burst.objects.get().ended_at is not None


def test_posts_after_a_cancelled_message_are_sent(push: Any, work: Work, counting: Mapping, sandbox: StandIn) -> None:
    push_burst(push, 1, 2, 3)
    work()
    Connection.objects.update(paused_at=timezone.now())
    push_burst(push, 4, 5)
    work()
    cancel(rows_of(report()))
    push_burst(push, 6)
    Connection.objects.update(paused_at=None)
    work()
    six = Delivery.objects.get(post_id="twitter:6", occasion="")
    assert six.state in (State.DELIVERED, State.WAITING)
    assert six.burst != Delivery.objects.get(post_id="twitter:5", occasion="").burst


def test_what_cannot_be_written_costs_no_other_delivery(
    push: Any, work: Work, mapping: Mapping, counting: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=counting.pk).update(settings=counting.settings | {"gathers_over": 1})
    push_burst(push, 1, 2)
    Burst.objects.update(latest=[{"wrong": 1}])
    push_burst(push, 3)
    work()
    assert len(sandbox.tickets()) == 3


def test_nothing_of_the_posts_is_kept_with_a_burst_that_is_over(
    push: Any, work: Work, counting: Mapping, sandbox: StandIn
) -> None:
    push_burst(push, *range(1, 6))
    work()
    as_if_passed(61)
    work()
    assert Burst.objects.get().latest == []


# --- Threads and updates: what goes wrong ----------------------------------------------------------------------------


def test_a_mapping_to_another_channel_begins_new_threads(
    push: Any, work: Work, threads: Mapping, sandbox: StandIn, admin: Client
) -> None:
    push_of_one_author(push, work, 1)
    save(admin, f"mapping/{threads.pk}/change/", target="C0ADTECH")
    push_of_one_author(push, work, 2, 3)
    first, second, reply = sandbox.messages()
    assert [message["channel"] for message in (first, second, reply)] == ["C0SOCIAL", "C0ADTECH", "C0ADTECH"]
    assert reply["thread_ts"] == second["ts"]


def test_a_reply_that_failed_in_an_archived_channel_goes_to_the_new_one(
    push: Any, work: Work, threads: Mapping, sandbox: StandIn
) -> None:
    push_of_one_author(push, work, 1)
    sandbox.change_place("C0SOCIAL", is_archived=True)
    push_of_one_author(push, work, 2)
    Mapping.objects.update(settings=threads.settings | {"target": "C0ADTECH"})
    rebuild(Delivery.objects.filter(state=State.FAILED))
    work()
    assert sandbox.messages()[-1]["channel"] == "C0ADTECH"


def test_a_reply_of_unknown_outcome_promises_no_look_up(
    push: Any, work: Work, threads: Mapping, sandbox: StandIn
) -> None:
    push_of_one_author(push, work, 1)
    sandbox.add_fault("answer", api="slack", path="/api/chat.postMessage", status=500, body="", times=5)
    push_of_one_author(push, work, 2)
    for _ in range(3):
        work()
        move()
    failed = Delivery.objects.get(state=State.FAILED)
    assert "looks for it first" not in failed.last_error
    assert "may take it twice" in failed.last_error


def test_an_update_is_no_post_of_its_case(
    push: Any, work: Work, mapping: Mapping, told: Mapping, sandbox: StandIn
) -> None:
    push_post(push, "twitter:7")
    work()
    message = RemoteObject.objects.get(mapping=told)
    before = message.last_delivered_at
    solve(ticket_of(mapping))
    work()
    message.refresh_from_db()
    assert sandbox.messages()[0]["edited"] == 1
    assert message.last_delivered_at == before


def test_an_update_that_a_webhook_cannot_make_is_no_second_message(
    push: Any, work: Work, mapping: Mapping, told: Mapping, by_webhook: Mapping, sandbox: StandIn
) -> None:
    Mapping.objects.filter(pk=by_webhook.pk).update(is_active=False)
    push_post(push, "twitter:7")
    work()
    solve(ticket_of(mapping))
    webhook = Connection.objects.get(pk=by_webhook.connection_id)
    Connection.objects.filter(pk=told.connection_id).update(settings=webhook.settings, secrets=webhook.secrets)
    work()
    assert len(sandbox.messages()) == 1
    assert "cannot change a message" in Delivery.objects.get(action="update").last_error
