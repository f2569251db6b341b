"""Under load: what goes first, the share of the limit, the breaker, a surge in one call, a flood held."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from integrations.delivery.batch import _may_still_be_sent, claim_batch
from integrations.delivery.batch_results import follow_batch
from integrations.delivery.claim import claim
from integrations.delivery.deliver import deliver_next
from integrations.delivery.flood_hold import NotHeld, hold_flood
from integrations.destinations.base import Budget
from integrations.flow.backlog import backlog_text, update_backlogs
from integrations.flow.circuit_breaker import OPENS_AFTER
from integrations.flow.rate_limit import (
    account_limit,
    calls_per_minute,
    forget_limits,
    learn_limits,
    return_permit,
    take_permit,
)
from integrations.infra.redis import redis_client as redis_client
from integrations.jobs.tasks import deliver, watch
from integrations.models import Alarm, Attempt, Batch, Connection, Delivery, FloodHold, Mapping
from integrations.operations.alarms import update_alarms
from integrations.recovery.actions import retry_now
from integrations.recovery.failure_groups import failure_groups
from integrations.routing.route import route_notification
from tests import payloads
from tests.factories import ConnectionFactory, FloodHoldFactory, NotificationFactory, OAuthConnectionFactory
from tests.stand_in import StandIn

State, Lane = Delivery.State, Delivery.Priority
Work = Callable[[], None]
LIMIT = [Budget(60_000, 60_000, 60.0)]


def labelled(mapping: Mapping, count: int = 1, **fields: Any) -> list[Delivery]:
    items = [payloads.item(**fields) for _ in range(count)]
    notification = NotificationFactory.create(subscription=mapping.subscription, content=payloads.notification(*items))
    route_notification(notification.pk)
    return list(Delivery.objects.filter(notification=notification).order_by("next_attempt_at", "pk"))


def creates(sandbox: StandIn) -> list[str]:
    return [
        json.loads(call.body)["ticket"]["external_id"]
        for call in sandbox.calls()
        if call.method == "POST" and call.path == "/api/v2/tickets.json"
    ]


def move(**fields: Any) -> None:
    Delivery.objects.filter(state=State.PENDING).update(next_attempt_at=timezone.now() - timedelta(seconds=1), **fields)


# --- Lanes -----------------------------------------------------------------------------------------------------------


def test_live_goes_before_retries_and_retries_before_replays(sandbox: StandIn, mapping: Mapping) -> None:
    (replay,), (retry,), (live,) = labelled(mapping), labelled(mapping), labelled(mapping)
    Delivery.objects.filter(pk=replay.pk).update(priority=Lane.BULK)
    Delivery.objects.filter(pk=retry.pk).update(priority=Lane.RETRY)
    for _ in range(3):
        assert deliver_next(mapping.connection_id)
    assert creates(sandbox) == [live.external_id, retry.external_id, replay.external_id]


def test_a_live_post_overtakes_a_replay_that_is_under_way(sandbox: StandIn, mapping: Mapping) -> None:
    replays = labelled(mapping, 5)
    Delivery.objects.update(priority=Lane.BULK)
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
    assert (row.state, row.priority) == (State.PENDING, Lane.RETRY)


def test_a_few_retried_by_hand_are_retries_and_many_are_a_replay_with_its_honest_end(
    mapping: Mapping, sandbox: StandIn
) -> None:
    rows = labelled(mapping, 30)
    Delivery.objects.update(state=State.FAILED, last_error="x", next_attempt_at=None)
    few = Delivery.objects.filter(pk__in=[row.pk for row in rows[:3]])
    retry_now(few)
    assert set(few.values_list("priority", flat=True)) == {Lane.RETRY}
    learn_limits(mapping.connection_id, "account", [Budget(60, 60, 60.0)])
    done = retry_now(Delivery.objects.filter(state=State.FAILED))
    assert set(Delivery.objects.filter(pk__in=done.changed).values_list("priority", flat=True)) == {Lane.BULK}
    assert "Empty at about" in " ".join(done.remarks)


def test_what_was_fetched_long_after_it_happened_goes_behind_what_happens_now(mapping: Mapping) -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    notification = NotificationFactory.create(
        subscription=mapping.subscription, source="caught_up", happened_at=long_ago
    )
    route_notification(notification.pk)
    assert Delivery.objects.get().priority == Lane.BULK


def test_live_that_comes_in_faster_than_the_limit_makes_the_end_of_a_replay_unknown(mapping: Mapping) -> None:
    labelled(mapping, 200)
    Delivery.objects.filter(pk__in=Delivery.objects.values("pk")[:50]).update(priority=Lane.BULK)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    message = backlog_text(mapping.connection)
    assert "so retries and bulk deliveries wait" in message
    assert "50 bulk" in message


# --- The limit -------------------------------------------------------------------------------------------------------


def test_the_share_of_the_limit_sets_the_pace(mapping: Mapping) -> None:
    learn_limits(mapping.connection_id, "account", [Budget(600, 600, 60.0)], 50)
    assert calls_per_minute(mapping.connection_id) == pytest.approx(297, rel=0.02)
    assert account_limit(mapping.connection_id) == 600


@pytest.mark.parametrize("spelling", ["new", "old", "x", "shouting", "all"])
def test_the_limit_is_heard_whatever_its_spelling(
    sandbox: StandIn, mapping: Mapping, work: Work, spelling: str
) -> None:
    sandbox.change_settings(rate_limit=120, rate_headers=spelling)
    labelled(mapping)
    work()
    assert calls_per_minute(mapping.connection_id) == pytest.approx(119, rel=0.05)


def test_a_turn_that_is_far_off_frees_the_worker_and_calls_one_back(
    sandbox: StandIn, mapping: Mapping, queued: Callable[[], list[tuple[str, Any]]]
) -> None:
    labelled(mapping, 3)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    deliver(mapping.connection_id)
    assert len(sandbox.tickets()) == 1
    deliver(mapping.connection_id)
    assert len(sandbox.tickets()) == 1
    assert Delivery.objects.filter(state=State.PENDING, attempt_count=0).count() == 2


def test_a_turn_without_work_is_given_back(mapping: Mapping) -> None:
    learn_limits(mapping.connection_id, "account", [Budget(60, 60, 60.0)])
    for _ in range(3):
        assert not deliver_next(mapping.connection_id)
        assert take_permit(mapping.connection_id, "account", 0.2) < 0.2
        return_permit(mapping.connection_id, "account")


# --- The breaker -----------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody_answers(connection: Connection) -> str:
    good = str(connection.settings["address"])
    connection.settings["address"] = "http://127.0.0.1:9"
    connection.save()
    return good


def test_the_breaker_opens_probes_with_one_and_closes(
    nobody_answers: str, mapping: Mapping, sandbox: StandIn, work: Work
) -> None:
    rows = labelled(mapping, 8)
    work()
    connection = Connection.objects.get()
    assert connection.transport_failures == OPENS_AFTER
    assert connection.breaker_opened_at is not None
    assert Delivery.objects.filter(attempt_count=0, tries=0).count() == 3
    update_alarms()
    assert Alarm.objects.get(kind="breaker").connection_id == connection.pk

    Connection.objects.update(breaker_probe_at=timezone.now() - timedelta(seconds=1))
    move()
    work()
    connection.refresh_from_db()
    assert connection.transport_failures == OPENS_AFTER + 1
    assert connection.breaker_probe_at is not None
    assert connection.breaker_probe_at > timezone.now() + timedelta(seconds=15)

    connection.settings["address"] = nobody_answers
    connection.save(update_fields=["settings"])
    Connection.objects.update(breaker_probe_at=timezone.now() - timedelta(seconds=1))
    move()
    work()
    assert Connection.objects.get().breaker_opened_at is None
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == len(rows)
    update_alarms()
    assert Alarm.objects.get(kind="breaker").ended_at is not None


def test_staff_close_the_breaker_by_hand_or_switch_it_off(
    nobody_answers: str, mapping: Mapping, work: Work, admin: Client
) -> None:
    labelled(mapping, 6)
    work()
    connection = Connection.objects.get()
    page = f"/admin/integrations/connection/{connection.pk}/change/"
    assert "Try all waiting deliveries now" in admin.get(page).content.decode()
    press = {"_selected_action": connection.pk, "_from_page": "1"}
    admin.post("/admin/integrations/connection/", press | {"action": "close_breaker"})
    assert Connection.objects.get().breaker_opened_at is None
    admin.post("/admin/integrations/connection/", press | {"action": "breaker_off"})
    move()
    work()
    assert Connection.objects.get().breaker_opened_at is None
    assert "Off: every delivery is attempted" in admin.get(page).content.decode()


def test_a_refusal_is_an_answer_and_opens_no_breaker(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    labelled(mapping, 8)
    sandbox.add_fault("422", times=8)
    work()
    assert Connection.objects.get().transport_failures == 0


# --- A surge ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def flooded(sandbox: StandIn, mapping: Mapping) -> list[Delivery]:
    """130 posts wait, and the account takes ten calls a minute."""
    rows = labelled(mapping, 130)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    update_backlogs()
    forget_limits(mapping.connection_id)
    return rows


def follow_until_ended(job: Batch) -> Batch:
    until = time.monotonic() + 15
    while job.finished_at is None and time.monotonic() < until:
        Batch.objects.filter(pk=job.pk).update(next_poll_at=timezone.now() - timedelta(seconds=1), polling_until=None)
        follow_batch(job.pk)
        job.refresh_from_db()
    return job


def test_a_surge_begins_when_more_waits_than_the_limit_clears_and_ends_when_it_is_over(mapping: Mapping) -> None:
    labelled(mapping, 60)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    update_backlogs()
    assert Connection.objects.get().backlog_since is not None
    Delivery.objects.filter(pk__in=Delivery.objects.values("pk")[:55]).update(priority=Lane.BULK)
    update_backlogs()
    assert Connection.objects.get().backlog_since is None
    Connection.objects.update(backlog_minutes=0)
    move(priority=Lane.LIVE)
    update_backlogs()
    assert Connection.objects.get().backlog_since is None


def test_a_hundred_tickets_go_in_one_call_and_each_result_is_recorded(
    sandbox: StandIn, flooded: list[Delivery]
) -> None:
    assert deliver_next(flooded[0].connection_id)
    job = Batch.objects.get()
    assert (job.state, len(job.delivery_ids)) == ("running", 100)
    job = follow_until_ended(job)
    assert (job.state, job.made, job.failed) == ("done", 100, 0)
    done = {row.external_id: row.ticket_number for row in Delivery.objects.filter(state=State.DELIVERED)}
    there = {ticket["external_id"]: str(ticket["id"]) for ticket in sandbox.tickets()}
    assert done == there
    assert len(done) == 100
    assert Attempt.objects.filter(outcome="delivered").count() == 100
    assert not Delivery.objects.filter(state=State.DELIVERED, is_uncertain=True).exists()


def test_what_a_job_refuses_is_sent_alone_to_learn_why(sandbox: StandIn, flooded: list[Delivery], work: Work) -> None:
    bad = flooded[3]
    spoilt = json.loads(bad.request)
    spoilt["ticket"]["priority"] = "enormous"
    Delivery.objects.filter(pk=bad.pk).update(request=json.dumps(spoilt))
    deliver_next(bad.connection_id)
    job = follow_until_ended(Batch.objects.get())
    assert (job.made, job.failed) == (99, 1)
    bad.refresh_from_db()
    assert (bad.state, bad.priority) == (State.PENDING, Lane.RETRY)
    work()
    bad.refresh_from_db()
    assert bad.state == State.FAILED
    assert "priority" in bad.last_error
    assert len(sandbox.tickets()) == 129


def test_a_job_whose_status_is_refused_is_given_up_and_looked_up(
    sandbox: StandIn, flooded: list[Delivery], work: Work
) -> None:
    deliver_next(flooded[0].connection_id)
    job = Batch.objects.get()
    until = time.monotonic() + 10
    while len(sandbox.tickets()) < 100 and time.monotonic() < until:
        time.sleep(0.05)
    refused = {"error": "Forbidden", "description": "You do not have access to this page."}
    path = f"/api/v2/job_statuses/{job.number}.json"
    sandbox.add_fault("answer", status=403, body=refused, method="GET", path=path)
    assert follow_until_ended(job).state == "unknown"
    Connection.objects.update(backlog_since=None)
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 130
    assert len(sandbox.tickets()) == 130


def test_a_dead_access_token_is_renewed_while_a_job_is_followed(sandbox: StandIn, mapping: Mapping) -> None:
    mapping.connection = OAuthConnectionFactory.create(url=sandbox.url, name="OAuth")
    mapping.save()
    labelled(mapping, 20)
    Connection.objects.update(backlog_since=timezone.now())
    deliver_next(mapping.connection_id)
    sandbox.revoke_tokens()
    assert follow_until_ended(Batch.objects.get()).state == "done"
    assert Connection.objects.get(pk=mapping.connection_id).paused_at is None


def test_a_call_that_stalled_is_not_made_any_more(sandbox: StandIn, flooded: list[Delivery], work: Work) -> None:
    connection = Connection.objects.get()
    job = claim_batch(connection)
    assert job is not None
    Batch.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    assert not _may_still_be_sent(job)


def test_a_full_queue_of_jobs_lets_deliveries_go_one_by_one(sandbox: StandIn, flooded: list[Delivery]) -> None:
    body = {"error": "TooManyJobs", "description": "Too many jobs"}
    sandbox.add_fault("answer", status=429, body=body, path="/api/v2/tickets/create_many.json", times=1)
    deliver_next(flooded[0].connection_id)
    connection = Connection.objects.get()
    assert Batch.objects.get().state == "refused"
    assert connection.batch_wait_until is not None
    assert connection.paused_at is None
    deliver_next(flooded[0].connection_id)
    assert len(sandbox.tickets()) == 1


@pytest.mark.parametrize("death", ["failed", "killed"])
def test_a_job_that_dies_half_way_is_looked_up_ticket_by_ticket(
    sandbox: StandIn, flooded: list[Delivery], work: Work, death: str
) -> None:
    sandbox.change_settings(job_dies_after=40, job_death=death)
    deliver_next(flooded[0].connection_id)
    job = follow_until_ended(Batch.objects.get())
    assert job.state == "done"
    Connection.objects.update(backlog_since=None)
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 130
    assert len({ticket["external_id"] for ticket in sandbox.tickets()}) == len(sandbox.tickets()) == 130
    assert Delivery.objects.filter(result="found").count() == 40


def test_a_lost_answer_to_a_call_for_many_makes_no_ticket_twice(
    sandbox: StandIn, flooded: list[Delivery], work: Work, settings: Any
) -> None:
    settings.DELIVERY_LEASE_SECONDS = 3
    sandbox.add_fault("hang_up_after", path="/api/v2/tickets/create_many.json", times=1)
    deliver_next(flooded[0].connection_id)
    job = Batch.objects.get()
    assert (job.state, job.number) == ("sending", "")
    assert claim(Connection.objects.get()) is not None  # of the thirty that were not in the call
    Batch.objects.update(started_at=timezone.now() - timedelta(seconds=10))
    job = follow_until_ended(job)
    assert job.state == "unknown"
    Connection.objects.update(backlog_since=None)
    Delivery.objects.filter(state=State.SENDING).update(claimed_until=timezone.now() - timedelta(seconds=1))
    work()
    assert len({ticket["external_id"] for ticket in sandbox.tickets()}) == len(sandbox.tickets()) == 130
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 130


def test_while_a_job_may_still_run_its_deliveries_are_not_taken_over(sandbox: StandIn, flooded: list[Delivery]) -> None:
    sandbox.change_settings(job_seconds_per_ticket=0.02)
    sandbox.add_fault("hang_up_after", path="/api/v2/tickets/create_many.json", times=1)
    deliver_next(flooded[0].connection_id)
    Delivery.objects.filter(state=State.SENDING).update(claimed_until=timezone.now() - timedelta(seconds=1))
    Delivery.objects.filter(state=State.PENDING).update(
        priority=Lane.BULK, next_attempt_at=timezone.now() + timedelta(1)
    )
    Batch.objects.update(
        started_at=timezone.now() - timedelta(minutes=2), next_poll_at=timezone.now() - timedelta(seconds=1)
    )
    follow_batch(Batch.objects.get().pk)
    assert Batch.objects.get().state == "sending"
    assert claim(Connection.objects.get()) is None


SENDS_MANY = """
import django
django.setup()
from integrations.delivery.batch import deliver_batch
from integrations.models import Connection
deliver_batch(Connection.objects.get())
"""


def test_a_process_killed_between_the_call_and_its_result_leaves_one_ticket_for_each_post(
    sandbox: StandIn, flooded: list[Delivery], work: Work
) -> None:
    from django.conf import settings
    from django.db import connection as database

    address = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{database.settings_dict['NAME']}"
    environment = os.environ | {
        "DATABASE_URL": address,
        "REDIS_URL": str(settings.CELERY["broker_url"]),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    # The job is there before the first byte of the answer; the answer takes for ever.
    sandbox.add_fault("drip", seconds=1.0, path="/api/v2/tickets/create_many.json", times=1)
    sending = subprocess.Popen([sys.executable, "-c", SENDS_MANY], env=environment, cwd=Path(__file__).parent.parent)
    until = time.monotonic() + 30
    while not sandbox.jobs() and time.monotonic() < until:
        time.sleep(0.05)
    sending.kill()
    assert sending.wait() == -signal.SIGKILL
    assert len(sandbox.jobs()) == 1
    assert Batch.objects.get().state == "sending"
    assert Delivery.objects.filter(state=State.SENDING, look_up_next=True).count() == 100
    Batch.objects.update(
        started_at=timezone.now() - timedelta(minutes=2), next_poll_at=timezone.now() - timedelta(seconds=1)
    )
    assert follow_until_ended(Batch.objects.get()).state == "unknown"
    Connection.objects.update(backlog_since=None)
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 130
    assert len({ticket["external_id"] for ticket in sandbox.tickets()}) == len(sandbox.tickets()) == 130


def test_what_asks_for_a_case_or_an_author_is_not_sent_together(sandbox: StandIn, mapping: Mapping) -> None:
    mapping.settings |= {"case": "author"}
    mapping.save()
    labelled(mapping, 30)
    Connection.objects.update(backlog_since=timezone.now())
    deliver_next(mapping.connection_id)
    assert not Batch.objects.exists()


# --- A flood held ----------------------------------------------------------------------------------------------------


def test_a_flood_is_told_held_after_a_yes_and_released_without_loss(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    labelled(mapping, 60)
    learn_limits(mapping.connection_id, "account", [Budget(5, 5, 60.0)])
    update_alarms()
    assert "60 posts are waiting" in Alarm.objects.get(kind="flood").message
    forget_limits(mapping.connection_id)
    page = f"/admin/integrations/mapping/{mapping.pk}/hold/"
    html = admin.get(page).content.decode()
    assert "<b>60</b> posts of this mapping are waiting" in html
    assert not sandbox.tickets()
    form = {"uuid": str(FloodHold._meta.get_field("uuid").get_default()), "title": "Outage", "text": "One thing"}
    assert admin.post(page, form).status_code == 302
    (ticket,) = sandbox.tickets()
    assert (ticket["subject"], ticket["type"]) == ("Outage", "problem")
    assert Delivery.objects.filter(state=State.HELD).count() == 60
    update_alarms()
    assert Alarm.objects.get(kind="flood").ended_at is not None

    labelled(mapping, 3)
    work()
    assert Delivery.objects.filter(state=State.HELD).count() == 63
    assert len(sandbox.tickets()) == 1

    flood_hold = FloodHold.objects.get()
    press = {"action": "release", "_selected_action": flood_hold.pk, "_from_page": "1"}
    admin.post("/admin/integrations/floodhold/", press)
    assert set(Delivery.objects.values_list("state", "priority")) == {(State.PENDING, Lane.BULK)}
    work()
    assert len(sandbox.tickets()) == 64
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 63


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


def test_a_defect_in_the_note_costs_no_receipt(sandbox: StandIn, mapping: Mapping, work: Work) -> None:
    mapping.settings |= {"context": "note"}
    mapping.save()
    (row,) = labelled(mapping)
    mapping.settings |= {"context_text": 5}
    mapping.save()
    work()
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert "The internal note with the source context could not be created" in row.remarks


def test_what_is_routed_at_the_moment_of_release_is_not_forgotten(mapping: Mapping, sandbox: StandIn) -> None:
    (row,) = labelled(mapping)
    over = FloodHoldFactory.create(mapping=mapping, ended_at=timezone.now(), ending="released")
    Delivery.objects.update(state=State.HELD, flood_hold=over, next_attempt_at=None)
    watch()
    row.refresh_from_db()
    assert row.state == State.PENDING


def test_nothing_is_held_where_the_incidents_ticket_cannot_be_made(
    sandbox: StandIn, mapping: Mapping, admin: Client
) -> None:
    labelled(mapping, 3)
    sandbox.add_fault("422", times=1)
    form = {"uuid": "6f2f8a35-3b3f-4a2c-9c2e-0f0f0f0f0f0f", "title": "Outage", "text": "One thing"}
    html = admin.post(f"/admin/integrations/mapping/{mapping.pk}/hold/", form).content.decode()
    assert "The ticket could not be created" in html
    assert Delivery.objects.filter(state=State.PENDING).count() == 3


# --- Failures by cause -----------------------------------------------------------------------------------------------


def test_failures_group_by_cause_and_are_rebuilt_together_once_it_is_mended(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    mapping.settings |= {"custom_fields": [{"id": 360002, "value": "vip"}]}
    mapping.save()
    sandbox.control("POST", "schema/options", {"field": 360002, "remove": "vip"})
    labelled(mapping, 5)
    work()
    (group,) = failure_groups()
    assert group.count == 5
    assert "The option “vip” of the field" in group.cause
    assert "no longer exists" in group.cause
    page = "/admin/integrations/delivery/causes/"
    html = admin.get(page).content.decode()
    assert "5 deliveries: The option “vip” of the field" in html
    assert f"/admin/integrations/mapping/{mapping.pk}/change/" in html

    mapping.settings |= {"custom_fields": [{"id": 360002, "value": "standard"}]}
    mapping.save()
    admin.post(page, {"cause": group.cause, "mapping": mapping.pk, "do": "rebuild"})
    work()
    assert len(sandbox.tickets()) == 5
    assert failure_groups() == []


def test_a_failed_delivery_links_to_where_its_cause_is_mended_and_quotes_zendesk(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    (row,) = labelled(mapping)
    sandbox.add_fault("422_suspended", times=1)
    work()
    html = admin.get(f"/admin/integrations/delivery/{row.pk}/change/").content.decode()
    assert "The requester is suspended in Zendesk" in html
    assert "Unsuspend this user in Zendesk, then retry." in html
    assert f"{sandbox.url}/admin/people/" in html
    assert "Requester: Example Person is suspended." in html


def test_what_zendesk_dropped_is_told_on_the_delivery_and_on_the_mapping(
    sandbox: StandIn, mapping: Mapping, work: Work, admin: Client
) -> None:
    sandbox.change_settings(drops_unknown_ids=True)
    mapping.settings |= {"group_id": "999"}
    mapping.save()
    (row,) = labelled(mapping)
    work()
    row.refresh_from_db()
    assert "999" in row.remarks or "group" in row.remarks
    mapping.refresh_from_db()
    assert mapping.dropped_on == row.pk
    assert "created a ticket" in admin.get(f"/admin/integrations/mapping/{mapping.pk}/change/").content.decode()


def test_two_connections_keep_their_own_pace(sandbox: StandIn, mapping: Mapping, tmp_path: Path) -> None:
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


def test_incidents_of_a_mapping_are_open_once(mapping: Mapping, sandbox: StandIn) -> None:
    hold_flood(mapping, "6f2f8a35-3b3f-4a2c-9c2e-0f0f0f0f0f0f", "Outage", "One thing", "ann")
    with pytest.raises(NotHeld, match="already has a flood hold"):
        hold_flood(mapping, "6f2f8a35-3b3f-4a2c-9c2e-1f1f1f1f1f1f", "Outage", "One thing", "ann")
    assert len(sandbox.tickets()) == 1
