"""A backlog goes a hundred tickets in one call, and each result is recorded."""

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
from django.utils import timezone

from integrations.delivery.batch import _may_still_be_sent, claim_batch
from integrations.delivery.batch_results import follow_batch
from integrations.delivery.claim import claim
from integrations.delivery.deliver import deliver_next
from integrations.destinations.capabilities import Budget
from integrations.destinations.zendesk import ZENDESK
from integrations.flow.backlog import update_backlogs
from integrations.flow.rate_limit import (
    forget_limits,
    learn_limits,
)
from integrations.models import Attempt, Batch, Connection, Delivery, DeliveryContent, Mapping
from tests.deliveries import labelled, move
from tests.factories import OAuthConnectionFactory
from tests.stand_in import StandIn

State, Priority = Delivery.State, Delivery.Priority
Work = Callable[[], None]


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


def test_a_backlog_begins_when_more_waits_than_the_limit_clears_and_ends_when_it_is_over(mapping: Mapping) -> None:
    labelled(mapping, 60)
    learn_limits(mapping.connection_id, "account", [Budget(10, 10, 60.0)])
    update_backlogs()
    assert Connection.objects.get().backlog_since is not None
    Delivery.objects.filter(pk__in=Delivery.objects.values("pk")[:55]).update(priority=Priority.BULK)
    update_backlogs()
    assert Connection.objects.get().backlog_since is None
    Connection.objects.update(backlog_minutes=0)
    move(priority=Priority.LIVE)
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
    done = {row.external_id: row.number for row in Delivery.objects.filter(state=State.DELIVERED)}
    there = {ticket["external_id"]: str(ticket["id"]) for ticket in sandbox.tickets()}
    assert done == there
    assert len(done) == 100
    assert Attempt.objects.filter(outcome="delivered").count() == 100
    assert not Delivery.objects.filter(state=State.DELIVERED, is_uncertain=True).exists()


def test_what_a_job_refuses_is_sent_alone_to_learn_why(sandbox: StandIn, flooded: list[Delivery], work: Work) -> None:
    bad = flooded[3]
    spoilt = json.loads(bad.request)
    spoilt["ticket"]["priority"] = "enormous"
    DeliveryContent.objects.filter(pk=bad.pk).update(request=json.dumps(spoilt))
    deliver_next(bad.connection_id)
    job = follow_until_ended(Batch.objects.get())
    assert (job.made, job.failed) == (99, 1)
    bad.refresh_from_db()
    assert (bad.state, bad.priority) == (State.PENDING, Priority.RETRY)
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


@pytest.mark.parametrize("status", [404, 403, 400])
@pytest.mark.parametrize("times", [1, 1000])
def test_a_job_that_cannot_be_read_while_it_runs_makes_no_second_ticket(
    sandbox: StandIn, flooded: list[Delivery], work: Work, status: int, times: int
) -> None:
    sandbox.change_settings(job_seconds_per_ticket=0.01)
    deliver_next(flooded[0].connection_id)
    job = Batch.objects.get()
    path = f"/api/v2/job_statuses/{job.number}.json"
    sandbox.add_fault("answer", status=status, body={"error": "Unavailable"}, method="GET", path=path, times=times)
    assert follow_until_ended(job).state == ("done" if times == 1 else "unknown")
    Connection.objects.update(backlog_since=None)
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 130
    assert len({ticket["external_id"] for ticket in sandbox.tickets()}) == len(sandbox.tickets()) == 130


@pytest.mark.parametrize("status", ["pending", "retrying"])
def test_a_job_in_a_state_that_nobody_knows_is_under_way(
    sandbox: StandIn, flooded: list[Delivery], work: Work, status: str
) -> None:
    sandbox.change_settings(job_seconds_per_ticket=0.01)
    deliver_next(flooded[0].connection_id)
    job = Batch.objects.get()
    content = {"job_status": {"id": job.number, "status": status}}
    path = f"/api/v2/job_statuses/{job.number}.json"
    sandbox.add_fault("answer", status=200, body=content, method="GET", path=path, times=1)
    assert follow_until_ended(job).state == "done"
    Connection.objects.update(backlog_since=None)
    work()
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
    job = claim_batch(connection, ZENDESK)
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
        priority=Priority.BULK, next_attempt_at=timezone.now() + timedelta(1)
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
