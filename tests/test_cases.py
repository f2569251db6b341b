"""One case, one ticket; in whose name it is made; where the source context goes."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.delivery.cases import earlier_under_way
from integrations.delivery.claim import claim
from integrations.delivery.deliver import deliver_next
from integrations.delivery.record import begin_attempt
from integrations.delivery.requesters import intake_user_text
from integrations.delivery.send import send
from integrations.infra.redis import redis_client
from integrations.models import Attempt, Connection, Delivery, Mapping, RemoteObject, Requester
from integrations.routing.actions import rebuild
from integrations.routing.route import route_notification
from tests import payloads
from tests.factories import NotificationFactory
from tests.stand_in import StandIn

State, Action = Delivery.State, Delivery.Action
Work = Callable[[], None]


def choose(mapping: Mapping, **settings: Any) -> Mapping:
    mapping.settings = mapping.settings | settings
    mapping.save()
    return mapping


def labelled(mapping: Mapping, entity_id: str = "", **fields: Any) -> Delivery:
    """A labelled post, routed; a post of its own unless the test says what it belongs to."""
    alone = {"inReplyTo": None, "parentPost": None, "repostedFrom": None}
    notification = NotificationFactory.create(
        subscription=mapping.subscription, content=payloads.notification(payloads.item(entity_id, **alone | fields))
    )
    route_notification(notification.pk)
    return Delivery.objects.get(notification=notification)


def fresh(row: Delivery) -> Delivery:
    return Delivery.objects.get(pk=row.pk)


def bodies(sandbox: StandIn, number: str) -> list[str]:
    ticket = next(ticket for ticket in sandbox.tickets() if str(ticket["id"]) == number)
    return [comment["body"] for comment in ticket["comments"]]


# --- Conversations ---------------------------------------------------------------------------------------------------


@pytest.fixture
def by_conversation(mapping: Mapping) -> Mapping:
    return choose(mapping, case="conversation")


def test_a_reply_is_added_to_the_unsolved_ticket_of_its_conversation(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1", text="My train is late")
    work()
    reply = labelled(by_conversation, "twitter:2", text="Still waiting", inReplyTo="twitter:1")
    work()
    first, reply = fresh(first), fresh(reply)
    assert len(sandbox.tickets()) == 1
    assert (reply.action, reply.number, reply.result) == (Action.APPEND, first.number, "appended")
    assert "Still waiting" in bodies(sandbox, first.number)[-1]
    assert f"Comment on ticket {first.number} of the same conversation, which is still" in reply.decision
    assert "no earlier ticket" in first.decision


def test_a_chain_of_replies_without_a_root_is_one_conversation(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    labelled(by_conversation, "twitter:1")
    labelled(by_conversation, "twitter:2", inReplyTo="twitter:1")
    labelled(by_conversation, "twitter:3", inReplyTo="twitter:2")
    work()
    for _ in range(3):
        Delivery.objects.filter(state=State.PENDING).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        work()
    assert len(sandbox.tickets()) == 1
    assert len(sandbox.tickets()[0]["comments"]) == 3


def test_replies_that_arrive_before_what_they_answer_are_one_conversation(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    labelled(by_conversation, "twitter:3", inReplyTo="twitter:2")
    work()
    labelled(by_conversation, "twitter:2", inReplyTo="twitter:1")
    work()
    labelled(by_conversation, "twitter:1")
    work()
    assert len(sandbox.tickets()) == 1
    assert len(sandbox.tickets()[0]["comments"]) == 3


def test_two_posts_of_a_case_sent_at_the_same_moment_make_one_ticket_in_whatever_order_they_were_stored(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1")
    second = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    Delivery.objects.filter(pk=first.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1), state="cancelled")
    assert claim(Connection.objects.get()) is not None
    Delivery.objects.filter(pk=first.pk).update(next_attempt_at=timezone.now(), state="pending")
    assert fresh(second).state == State.SENDING
    assert earlier_under_way(fresh(first)) is not None


def test_a_reply_waits_for_the_post_it_answers_and_says_so(by_conversation: Mapping, sandbox: StandIn) -> None:
    first = labelled(by_conversation, "twitter:1")
    Delivery.objects.filter(pk=first.pk).update(next_attempt_at=timezone.now() + timedelta(seconds=30))
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    assert deliver_next(reply.connection_id)
    reply = fresh(reply)
    assert (reply.state, reply.attempt_count, sandbox.tickets()) == (State.PENDING, 0, [])
    assert "Waiting for the earlier post twitter:1" in reply.decision
    assert reply.next_attempt_at is not None
    assert reply.next_attempt_at > timezone.now() + timedelta(seconds=20)


def test_a_live_reply_pulls_the_post_it_waits_for_out_of_the_bulk(by_conversation: Mapping) -> None:
    first = labelled(by_conversation, "twitter:1")
    Delivery.objects.filter(pk=first.pk).update(priority=Delivery.Priority.BULK)
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    assert earlier_under_way(reply) is not None
    assert fresh(first).priority == Delivery.Priority.LIVE


def test_a_closed_ticket_gets_a_follow_up(sandbox: StandIn, by_conversation: Mapping, work: Work) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    sandbox.change_ticket(int(fresh(first).number), status="closed")
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    reply = fresh(reply)
    assert (reply.state, reply.action, reply.target_number) == (
        State.DELIVERED,
        Action.FOLLOW_UP,
        fresh(first).number,
    )
    assert reply.number != fresh(first).number
    assert json.loads(reply.request)["ticket"]["via_followup_source_id"] == int(fresh(first).number)
    assert "Follow-up" in reply.decision


def test_a_ticket_closed_between_the_look_and_the_comment_gets_a_follow_up_at_once(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    number = fresh(first).number
    still_open = {"ticket": {"id": int(number), "status": "open"}}
    sandbox.add_fault(
        "answer", status=200, body=still_open, method="GET", path=f"/api/v2/tickets/{number}.json", times=1
    )
    sandbox.change_ticket(int(number), status="closed")
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    work()
    reply = fresh(reply)
    assert (reply.state, reply.action) == (State.DELIVERED, Action.FOLLOW_UP)
    assert "closed" in Attempt.objects.filter(delivery=reply).order_by("number")[0].meaning


def test_a_closed_ticket_is_recognised_in_any_language(sandbox: StandIn, by_conversation: Mapping, work: Work) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    number = fresh(first).number
    path = f"/api/v2/tickets/{number}.json"
    german = {"details": {"status": [{"description": "Status: Das Ticket kann nicht geändert werden"}]}}
    sandbox.add_fault("answer", status=422, body={"error": "RecordInvalid"} | german, method="PUT", path=path, times=1)
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    assert "closed" in Attempt.objects.filter(delivery=reply).order_by("number")[0].meaning


def test_a_note_for_a_closed_ticket_goes_where_its_post_went(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    labelled(choose(mapping, context="note", comment="{{ text }}"), "twitter:1")
    deliver_next(mapping.connection_id)
    post, note = Delivery.objects.order_by("pk")
    sandbox.change_ticket(int(post.number), status="closed")
    other = labelled(mapping, "twitter:2")
    Delivery.objects.filter(pk=note.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    work()
    moved_to = fresh(other).remote_object
    assert moved_to is not None
    Delivery.objects.filter(pk=post.pk).update(remote_object=moved_to)
    Delivery.objects.filter(pk=note.pk).update(next_attempt_at=timezone.now())
    work()
    note = fresh(note)
    assert (note.state, note.target_number) == (State.DELIVERED, moved_to.number)
    assert any(note.external_id in body for body in bodies(sandbox, moved_to.number))


@pytest.mark.parametrize(("change", "message"), [("solved", "is already solved"), ("deleted", "was deleted")])
def test_a_solved_or_deleted_ticket_gives_way_to_a_new_one(
    sandbox: StandIn, by_conversation: Mapping, work: Work, change: str, message: str
) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    number = int(fresh(first).number)
    if change == "deleted":
        sandbox.control("DELETE", f"tickets/{number}")
    else:
        sandbox.change_ticket(number, status=change)
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    reply = fresh(reply)
    assert (reply.action, reply.number) != (Action.CREATE, str(number))
    assert reply.state == State.DELIVERED
    assert message in reply.decision


def test_an_error_of_ours_before_anything_is_sent_leaves_no_doubt(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    delivery = labelled(choose(by_conversation, case="author", case_hours=10**12), "twitter:1")
    work()
    delivery = fresh(delivery)
    assert (delivery.state, delivery.is_uncertain) == (State.PENDING, False)
    assert "Sending failed because of an error in Casebridge" in delivery.last_error
    assert sandbox.tickets() == []


def test_where_an_earlier_post_may_have_a_ticket_nobody_says_that_there_is_none(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1")
    sandbox.add_fault("hang_up_after", method="POST", times=1)
    work()
    Delivery.objects.filter(pk=first.pk).cancel()
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    assert fresh(reply).state == State.DELIVERED
    assert "whether the earlier post twitter:1 of the same conversation has one is not known" in fresh(reply).decision


def test_a_comment_whose_answer_was_lost_is_not_added_twice(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    sandbox.add_fault("hang_up_after", method="PUT", times=1)
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    assert fresh(reply).look_up_next
    Delivery.objects.filter(pk=reply.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    work()
    reply = fresh(reply)
    assert (reply.state, reply.result) == (State.DELIVERED, "already_there")
    assert len(bodies(sandbox, fresh(first).number)) == 2


def test_a_comment_whose_process_died_is_looked_for_before_it_is_added(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    claimed = claim(Connection.objects.get())
    assert claimed is not None
    begin_attempt(claimed)
    send(claimed)
    Delivery.objects.filter(pk=reply.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    work()
    assert fresh(reply).result == "already_there"
    assert len(bodies(sandbox, fresh(first).number)) == 2


def test_rebuilding_a_failed_comment_decides_about_its_case_again(
    sandbox: StandIn, by_conversation: Mapping, work: Work
) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    sandbox.add_fault("422", method="PUT", times=1)
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    assert fresh(reply).state == State.FAILED
    rebuild(Delivery.objects.filter(pk=reply.pk))
    work()
    assert (fresh(reply).result, fresh(reply).number) == ("appended", fresh(first).number)


def test_rebuilding_what_may_have_been_made_finds_it_before_the_case_is_decided(
    sandbox: StandIn, by_conversation: Mapping, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = ()
    sandbox.add_fault("hang_up_after", times=1, method="POST")
    sandbox.add_fault("500", times=1, method="GET")
    lost = labelled(by_conversation, "twitter:1")
    work()
    assert fresh(lost).state == State.FAILED
    labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    rebuild(Delivery.objects.filter(pk=lost.pk))
    work()
    lost = fresh(lost)
    assert (lost.action, lost.result) == (Action.CREATE, "found")
    assert lost.number == str(sandbox.tickets()[0]["id"])


# --- Authors, and always anew ----------------------------------------------------------------------------------------


def test_posts_of_one_author_within_the_hours_share_a_ticket(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    choose(mapping, case="author", case_hours=2)
    labelled(mapping, "twitter:1", authorId="7")
    labelled(mapping, "twitter:9", authorId="8")
    work()
    labelled(mapping, "twitter:2", authorId="7")
    work()
    assert len(sandbox.tickets()) == 2
    RemoteObject.objects.update(last_delivered_at=timezone.now() - timedelta(hours=3))
    late = labelled(mapping, "twitter:3", authorId="7")
    work()
    assert len(sandbox.tickets()) == 3
    assert "within 2 hours" in fresh(late).decision


def test_always_makes_a_ticket_each_time_the_label_is_applied(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    choose(mapping, case="always")
    labelled(mapping, "twitter:1")
    labelled(mapping, "twitter:1")
    work()
    assert len(sandbox.tickets()) == 2
    assert len({ticket["external_id"] for ticket in sandbox.tickets()}) == 2


# --- Requester -------------------------------------------------------------------------------------------------------


def test_a_fixed_intake_user_is_the_requester(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    choose(mapping, requester="intake", intake_user="9003")
    labelled(mapping)
    work()
    assert sandbox.tickets()[0]["requester"]["id"] == 9003


@pytest.mark.parametrize(
    ("number", "message"),
    [("9003", "The intake user is Social intake (9003)."), ("999", "No user 999 can be"), ("", "No intake")],
)
def test_saving_a_mapping_tells_whether_its_intake_user_is_there(
    sandbox: StandIn, mapping: Mapping, number: str, message: str
) -> None:
    choose(mapping, requester="author", intake_user=number)
    found = intake_user_text(mapping)
    assert found is not None
    assert message in found[1]
    assert found[0] is (number == "9003")


@pytest.fixture
def by_author(mapping: Mapping) -> Mapping:
    return choose(mapping, requester="author", intake_user="9003")


def test_an_author_becomes_a_user_once_and_is_remembered(sandbox: StandIn, by_author: Mapping, work: Work) -> None:
    first = labelled(by_author, authorId="7", author="Ann Example", authorScreenName="ann")
    second = labelled(by_author, authorId="7", author="Ann Example", authorScreenName="ann")
    work()
    made = [call for call in sandbox.calls() if "create_or_update" in call.path]
    user = json.loads(made[0].body)["user"]
    assert len(made) == 1
    assert user["external_id"] == "khoros:twitter:7"
    assert user["identities"] == [{"type": "twitter", "value": "ann"}]
    assert {ticket["requester"]["name"] for ticket in sandbox.tickets()} == {"Ann Example"}
    assert "Requester: Ann Example" in fresh(first).remarks
    assert fresh(second).state == State.DELIVERED


def test_a_suspended_author_gives_way_to_the_intake_user_and_the_delivery_says_so(
    sandbox: StandIn, by_author: Mapping, work: Work
) -> None:
    user = sandbox.make_user(name="Bad Person", external_id="khoros:twitter:7")
    sandbox.change_user(user["id"], suspended=True)
    row = labelled(by_author, authorId="7")
    work()
    assert sandbox.tickets()[0]["requester"]["id"] == 9003
    assert "the intake user 9003, because the author's user" in fresh(row).remarks


def test_an_author_suspended_after_being_remembered_gives_way_at_once(
    sandbox: StandIn, by_author: Mapping, work: Work
) -> None:
    labelled(by_author, authorId="7")
    work()
    sandbox.change_user(int(Requester.objects.get().user_id), suspended=True)
    row = labelled(by_author, authorId="7")
    work()
    work()
    row = fresh(row)
    assert (row.state, row.key_version) == (State.DELIVERED, 2)
    assert sandbox.tickets()[-1]["requester"]["id"] == 9003
    assert "suspended" in row.remarks
    assert Requester.objects.get().problem


def test_what_an_earlier_attempt_may_have_created_is_looked_up_before_it_is_sent_in_another_name(
    sandbox: StandIn, by_author: Mapping, work: Work
) -> None:
    row = labelled(by_author, authorId="7")
    work()
    sandbox.change_user(int(Requester.objects.get().user_id), suspended=True)
    Delivery.objects.filter(pk=row.pk).update(
        state=State.PENDING, next_attempt_at=timezone.now(), remote_object=None, is_uncertain=True, key_version=2
    )
    work()
    work()
    row = fresh(row)
    assert (row.state, row.result, row.key_version) == (State.DELIVERED, "found", 3)
    assert len(sandbox.tickets()) == 1


def test_an_identity_that_belongs_to_somebody_else_is_ambiguous(
    sandbox: StandIn, by_author: Mapping, work: Work
) -> None:
    sandbox.make_user(name="Other", identities=[{"type": "twitter", "value": "ann"}])
    row = labelled(by_author, authorId="7", authorScreenName="ann")
    work()
    assert sandbox.tickets()[0]["requester"]["id"] == 9003
    assert "belongs to another user" in fresh(row).remarks


def test_new_users_are_made_five_a_minute_at_most_and_the_rest_waits_without_a_try(
    sandbox: StandIn, by_author: Mapping
) -> None:
    key = f"casebridge:rate:{by_author.connection_id}:users:62"
    now = int(redis_client().time()[0]) * 1000
    redis_client().zadd(key, {str(number): now for number in range(5)})
    row = labelled(by_author, authorId="77")
    assert deliver_next(row.connection_id)
    row = fresh(row)
    assert (row.state, row.attempt_count, sandbox.tickets()) == (State.PENDING, 0, [])
    Delivery.objects.update(created_at=timezone.now() - timedelta(minutes=6), next_attempt_at=timezone.now())
    assert deliver_next(row.connection_id)
    assert sandbox.tickets()[0]["requester"]["id"] == 9003
    assert "was reached for" in fresh(row).remarks


# --- Source context --------------------------------------------------------------------------------------------------


def test_the_source_context_follows_as_an_internal_note_of_its_own(
    sandbox: StandIn, mapping: Mapping, work: Work
) -> None:
    choose(mapping, comment="{{ text }}", comment_public=True, context="note")
    labelled(mapping, "twitter:1", text="My train is late", followerCount="8424")
    work()
    work()
    first, note = sandbox.tickets()[0]["comments"]
    assert (first["body"], first["public"]) == ("My train is late", True)
    assert "Followers: 8424" in note["body"]
    assert note["public"] is False
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 2
    assert len(sandbox.tickets()) == 1


def test_agents_notes_leave_only_where_the_mapping_allows_it(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    choose(mapping, context="body")
    labelled(mapping, "twitter:1", notes=[{"id": 1, "text": "internal words"}])
    work()
    assert "internal words" not in sandbox.tickets()[0]["comment"]["body"]
    choose(mapping, context="body", forward_notes=True)
    labelled(mapping, "twitter:2", notes=[{"id": 1, "text": "internal words"}])
    work()
    assert "Notes: internal words" in sandbox.tickets()[1]["comment"]["body"]


def test_a_defect_in_the_note_costs_no_receipt(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    choose(mapping, context="note")
    row = labelled(mapping)
    choose(mapping, context_text=5)
    work()
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert "The internal note with the source context could not be created" in row.remarks
