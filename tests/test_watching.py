"""Silence, alarms and their mails, volume by the hour, and the probe through the public address."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from integrations.admin.text.subscription import probe_steps
from integrations.companies.labels import with_old_labels
from integrations.companies.token import token_end_text
from integrations.domain.conditions import all_of
from integrations.infra import queue
from integrations.infra.encryption import Secret
from integrations.jobs.clock import tick
from integrations.models import (
    Alarm,
    Company,
    Delivery,
    HourlyVolume,
    Installation,
    Mapping,
    Notification,
    Probe,
    Subscription,
    Turn,
)
from integrations.subscriptions.probe import request_probe, send_probe
from integrations.subscriptions.volume import count_volume, daily_volume, expected_volume, hour_of_week, learn
from tests import queues
from tests.alarms import update_alarms
from tests.deliveries import labelled
from tests.factories import CompanyFactory, ConnectionFactory, DeliveryFactory, HourlyVolumeFactory, NotificationFactory
from tests.stand_in import StandIn

Registration = Subscription.Registration


@pytest.fixture
def registered(subscription: Subscription) -> Subscription:
    now = timezone.now()
    Subscription.objects.update(registration=Registration.REGISTERED, last_pushed_at=now, created_at=now)
    subscription.refresh_from_db()
    return subscription


def silent_for(subscription: Subscription, **span: float) -> None:
    Subscription.objects.filter(pk=subscription.pk).update(last_pushed_at=timezone.now() - timedelta(**span))


def open_alarms() -> list[str]:
    return [alarm.kind for alarm in Alarm.objects.filter(ended_at__isnull=True).order_by("kind")]


# --- Volume ----------------------------------------------------------------------------------------------------------


def test_notifications_are_counted_by_the_hour_and_probes_are_not(registered: Subscription) -> None:
    for source, hours in (("pushed", 0), ("pushed", 0), ("caught_up", 0), ("test", 0), ("pushed", 30)):
        stored = NotificationFactory.create(subscription=registered, source=source)
        Notification.objects.filter(pk=stored.pk).update(received_at=timezone.now() - timedelta(hours=hours))
    for _ in range(3):
        count_volume()
    assert sorted(HourlyVolume.objects.values_list("pushed", "caught_up")) == [(1, 0), (2, 1)]
    registered.refresh_from_db()
    assert registered.last_caught_up_at is not None
    assert [pushed + caught_up for _, pushed, caught_up in daily_volume(registered)][-1] >= 3
    assert len(daily_volume(registered)) == 14


def test_what_comes_later_in_a_counted_hour_is_added(registered: Subscription) -> None:
    NotificationFactory.create(subscription=registered)
    count_volume()
    NotificationFactory.create(subscription=registered)
    count_volume()
    assert sum(row.pushed for row in HourlyVolume.objects.all()) == 2


def test_the_usual_volume_is_learned_from_two_weeks_of_history(registered: Subscription) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for hours in range(1, 24 * 13):
        HourlyVolumeFactory.create(subscription=registered, hour=now - timedelta(hours=hours), pushed=2)
    learn(registered)
    registered.refresh_from_db()
    assert registered.usual_volume is None
    for hours in range(24 * 13, 24 * 15):
        HourlyVolumeFactory.create(subscription=registered, hour=now - timedelta(hours=hours), pushed=2)
    learn(registered)
    registered.refresh_from_db()
    assert registered.usual_volume == [2.0] * 168
    assert expected_volume([2.0] * 168, now, now + timedelta(hours=2, minutes=30)) == pytest.approx(5.0)


# --- Alarms ----------------------------------------------------------------------------------------------------------


def test_silence_by_hours_raises_one_alarm_that_ends_when_something_comes(registered: Subscription) -> None:
    Subscription.objects.update(silence_alarm="hours", silence_hours=4)
    silent_for(registered, hours=3)
    update_alarms()
    assert open_alarms() == []
    silent_for(registered, hours=5)
    update_alarms()
    update_alarms()
    assert open_alarms() == ["silence"]
    assert "Silent for 5 hours" in Alarm.objects.get().message
    silent_for(registered, minutes=1)
    update_alarms()
    assert open_alarms() == []
    assert Alarm.objects.get().ended_at is not None


def test_learned_silence_knows_the_quiet_hours(registered: Subscription) -> None:
    now = timezone.now()
    busy = [0.0] * 168
    Subscription.objects.update(silence_alarm="learned", usual_volume=busy)
    silent_for(registered, hours=30)
    update_alarms()
    assert open_alarms() == []
    for hours in range(3):
        busy[hour_of_week(now - timedelta(hours=hours))] = 5.0
    Subscription.objects.update(usual_volume=busy)
    update_alarms()
    assert open_alarms() == ["silence"]
    silent_for(registered, minutes=30)
    update_alarms()
    assert open_alarms() == []


def test_a_subscription_that_is_off_or_has_no_alarm_is_never_silent(registered: Subscription) -> None:
    Subscription.objects.update(silence_alarm="off", silence_hours=1)
    silent_for(registered, days=9)
    update_alarms()
    Subscription.objects.update(silence_alarm="hours", is_active=False)
    update_alarms()
    assert not Alarm.objects.exists()


def test_what_stands_wrong_at_khoros_raises_its_alarm(registered: Subscription) -> None:
    for state, kind in (("refused", "registration"), ("drifted", "drift")):
        Subscription.objects.update(registration=state, khoros_message="Because.", failed_checks=1)
        update_alarms()
        if state == "refused":
            assert open_alarms() == []
        Subscription.objects.update(failed_checks=2)
        update_alarms()
        assert open_alarms() == [kind]
    Subscription.objects.update(registration="registered", failed_catch_ups=3)
    update_alarms()
    assert open_alarms() == ["catch_up"]


def test_pushes_that_do_not_arrive_are_noticed_by_what_only_fetching_brought(registered: Subscription) -> None:
    now = timezone.now()
    caught_up = NotificationFactory.create(subscription=registered, source="caught_up")
    Subscription.objects.update(last_caught_up_at=now, last_pushed_at=now - timedelta(hours=5))
    update_alarms()
    assert open_alarms() == []
    fetched = Notification.objects.filter(pk=caught_up.pk)
    fetched.update(received_at=now - timedelta(minutes=10))
    update_alarms()
    assert open_alarms() == ["pushes_lost"]
    fetched.update(repeats=1)
    update_alarms()
    assert open_alarms() == []
    fetched.update(repeats=0)
    Subscription.objects.update(last_pushed_at=now - timedelta(minutes=2))
    update_alarms()
    assert open_alarms() == []


def test_the_api_token_warns_from_sixty_days_before_its_end(registered: Subscription) -> None:
    def enter(days_ago: int) -> None:
        Company.objects.update(token_entered_at=timezone.now() - timedelta(days=days_ago))
        update_alarms()

    enter(600)
    assert open_alarms() == []
    enter(680)
    assert open_alarms() == ["token"]
    enter(800)
    assert "expired on" in Alarm.objects.get().message
    assert "days ago" in token_end_text(Company.objects.get())
    Company.objects.update(api_token=Secret.of("new"))
    enter(0)
    assert open_alarms() == []


# --- Mail ------------------------------------------------------------------------------------------------------------


class Postman(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a client needs to hand over a mail."""

    def handle(self) -> None:
        server: Any = self.server
        self.say("220 ready")
        for line in self.rfile:
            command = line.strip().upper()
            if command == b"DATA":
                self.say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                server.mails.append(b"".join(lines).decode())
                self.say("250 taken")
            elif command == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("550 refused" if server.refuses and command.startswith(b"RCPT") else "250 ok")

    def say(self, message: str) -> None:
        self.wfile.write(f"{message}\r\n".encode())


@pytest.fixture
def mail_server(settings: Any) -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postman) as server:
        server.mails, server.refuses = [], False  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address[0], server.server_address[1]
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.ALERT_EMAILS = ["operations@example.com"]
        yield server
        server.shutdown()


def test_an_alarm_is_mailed_when_it_is_raised_and_when_it_is_over(registered: Subscription, mail_server: Any) -> None:
    Subscription.objects.update(silence_alarm="hours", silence_hours=1)
    silent_for(registered, hours=2)
    for _ in range(3):
        update_alarms()
    (raised,) = mail_server.mails
    assert "Subject: Casebridge: Silence" in raised
    assert "Silent for 2 hours" in raised
    assert f"/admin/integrations/subscription/{registered.pk}/change/" in raised
    silent_for(registered, minutes=1)
    for _ in range(2):
        update_alarms()
    assert len(mail_server.mails) == 2
    assert "Subject: Casebridge: resolved: Silence" in mail_server.mails[1]


def subjects(mail_server: Any) -> list[str]:
    lines = [line for mail in mail_server.mails for line in mail.splitlines()]
    return [line.removeprefix("Subject: Casebridge: ") for line in lines if line.startswith("Subject: ")]


def failed(mapping: Mapping, count: int, cause: str) -> None:
    for delivery in labelled(mapping, count):
        claimed = Delivery.objects.filter(pk=delivery.pk)
        claimed.update(state="failed", cause=cause, last_error=cause, next_attempt_at=None, remedy="Do this.")


def test_failures_are_mailed_by_cause_at_1_10_and_100_and_when_they_are_over(
    mapping: Mapping, mail_server: Any
) -> None:
    for count in (1, 1, 8, 5, 85, 20):
        failed(mapping, count, "The form is gone.")
        update_alarms()
    assert subjects(mail_server) == [
        "Deliveries failed (1)",
        "still: Deliveries failed (10)",
        "still: Deliveries failed (100)",
    ]
    assert "100 deliveries failed. The form is gone. Do this." in mail_server.mails[2]
    assert "/admin/integrations/delivery/causes/" in mail_server.mails[2]
    failed(mapping, 1, "The brand is gone")
    update_alarms()
    assert subjects(mail_server)[3:] == ["Deliveries failed (1)"]
    assert "The brand is gone. Do this." in mail_server.mails[3]
    Delivery.objects.filter(cause="The form is gone.").update(state="cancelled")
    update_alarms()
    assert subjects(mail_server)[4:] == ["resolved: Deliveries failed (100)"]


def test_unreadable_notifications_are_told(subscription: Subscription, mail_server: Any) -> None:
    stored = NotificationFactory.create(subscription=subscription)
    Notification.objects.filter(pk=stored.pk).update(state="unreadable", reason="It is no JSON.")
    update_alarms()
    assert subjects(mail_server) == ["Notifications unreadable (1)"]
    assert "It is no JSON." in mail_server.mails[0]


def test_another_reason_for_the_same_alarm_is_mailed(registered: Subscription, mail_server: Any) -> None:
    Subscription.objects.update(
        registration="unreachable", failed_checks=3, khoros_message="Khoros has a problem (502)."
    )
    update_alarms()
    Subscription.objects.update(failed_checks=4, khoros_message="Khoros has a problem (502).\nBad Gateway")
    update_alarms()
    Subscription.objects.update(registration="refused", khoros_message="Khoros says “Developer Inactive”.")
    for _ in range(2):
        update_alarms()
    assert len(mail_server.mails) == 2
    assert "Developer Inactive" in mail_server.mails[1] or "Developer=20Inactive" in mail_server.mails[1]


@pytest.mark.parametrize("part", ["worker", "beat", "sweep"])
def test_a_part_that_died_is_told_and_so_is_its_return(portal: Installation, mail_server: Any, part: str) -> None:
    now, long_ago = timezone.now(), timezone.now() - timedelta(seconds=90)
    Installation.objects.update(worker_seen_at=now, beat_seen_at=now)
    Turn.objects.create(name="sweep", taken_at=now, done_at=now)
    update_alarms()
    assert open_alarms() == []
    if part == "sweep":
        Turn.objects.update(done_at=long_ago)
    else:
        Installation.objects.update(**{f"{part}_seen_at": long_ago})
    update_alarms()
    assert open_alarms() == [part]
    Installation.objects.update(worker_seen_at=now, beat_seen_at=now)
    Turn.objects.update(done_at=now)
    update_alarms()
    assert open_alarms() == []
    assert len(mail_server.mails) == 2


def test_a_part_that_never_started_is_told_once_it_had_the_time(portal: Installation) -> None:
    tick()
    update_alarms()
    assert open_alarms() == []
    Turn.objects.filter(name="ask").update(done_at=timezone.now() - timedelta(seconds=90))
    update_alarms()
    assert open_alarms() == ["beat", "worker"]


def test_two_clocks_do_each_thing_once(portal: Installation) -> None:
    tick(is_beat=True)
    done = dict(Turn.objects.values_list("name", "done_at"))
    assert set(done) == {"sweep", "watch", "ask", "labels"}
    tick()
    assert dict(Turn.objects.values_list("name", "done_at")) == done
    Turn.objects.update(taken_at=timezone.now() - timedelta(seconds=120))
    tick()
    assert not Turn.objects.exclude(name="ask").filter(done_at__in=done.values()).exists()


def test_a_mail_that_is_refused_is_sent_later_and_the_alarm_stays_visible(
    registered: Subscription, mail_server: Any
) -> None:
    mail_server.refuses = True
    Subscription.objects.update(silence_alarm="hours", silence_hours=1)
    silent_for(registered, hours=2)
    update_alarms()
    assert "refused" in Alarm.objects.get().mail_problem
    mail_server.refuses = False
    update_alarms()
    assert len(mail_server.mails) == 1
    assert Alarm.objects.get().mail_problem == ""


# --- Probe -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reachable(live_server: Any, settings: Any, mapping: Mapping) -> Subscription:
    settings.PUBLIC_URL = live_server.url
    return mapping.subscription


def after_probe(subscription: Subscription, work: Callable[[], None], *, makes_tickets: bool = False) -> dict[str, Any]:
    test = request_probe(subscription, makes_tickets=makes_tickets, by="olga")
    send_probe(test.pk)
    send_probe(test.pk)
    work()
    return probe_steps(Probe.objects.get(pk=test.pk))


def words_of(path: dict[str, Any]) -> str:
    return "\n".join(f"{step}: {message}" for _, step, message in path["steps"])


def test_a_probe_passes_the_public_address_and_makes_no_ticket(
    reachable: Subscription, sandbox: StandIn, work: Any
) -> None:
    path = after_probe(reachable, work)
    assert [colour for colour, _, _ in path["steps"]] == ["good"] * 4
    assert "Answered with status 200" in words_of(path)
    assert "would create a ticket" in words_of(path)
    assert not path["is_open"]
    assert Notification.objects.get().source == "test"
    assert not Delivery.objects.exists()
    assert not sandbox.tickets()


def test_a_probe_makes_a_ticket_when_asked_to(reachable: Subscription, sandbox: StandIn, work: Any) -> None:
    path = after_probe(reachable, work, makes_tickets=True)
    (ticket,) = sandbox.tickets()
    assert f"Ticket {ticket['id']}" in words_of(path)
    assert "Casebridge test notification" in ticket["comment"]["body"]


def test_a_probe_says_which_mapping_would_refuse_it(reachable: Subscription, work: Any) -> None:
    Mapping.objects.update(conditions=all_of(("network", "is", ["facebook"])))
    assert "“Network is one of facebook” (it is “twitter”) does not hold" in words_of(after_probe(reachable, work))


@pytest.mark.parametrize(
    ("address", "message"),
    [("http://127.0.0.1:9", "cannot be reached"), ("sandbox", "404 from something in front of the portal")],
)
def test_a_probe_says_where_it_ended(
    mapping: Mapping, sandbox: StandIn, settings: Any, work: Any, address: str, message: str
) -> None:
    settings.PUBLIC_URL = sandbox.url if address == "sandbox" else address
    path = after_probe(mapping.subscription, work)
    assert message in words_of(path)
    assert not path["is_open"]
    assert not Notification.objects.exists()


def test_however_many_causes_there_are_each_has_its_alarm(mapping: Mapping) -> None:
    DeliveryFactory.create(mapping=mapping, state="failed", cause="small", last_error="small")
    for number in range(105):
        for _ in range(2):
            DeliveryFactory.create(mapping=mapping, state="failed", cause=f"cause {number}", last_error="x")
    update_alarms()
    assert Alarm.objects.filter(ended_at__isnull=True, kind="failed").count() == 106


def test_a_mail_server_that_does_not_answer_stops_no_clock(
    registered: Subscription, settings: Any, silent_mail_server: int
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", silent_mail_server, 2
    settings.ALERT_EMAILS = ["operations@example.com"]
    for _ in range(5):
        ConnectionFactory.create(breaker_opened_at=timezone.now(), breaker_probe_at=timezone.now())
    began = time.monotonic()
    tick()
    assert time.monotonic() - began < 2
    assert Turn.objects.get(name=Turn.Name.WATCH).done_at is not None
    until = time.monotonic() + 10
    while not Alarm.objects.exclude(mail_problem="").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert Alarm.objects.exclude(mail_problem="").count() == 1


@pytest.fixture
def silent_mail_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as server:
        yield int(server.getsockname()[1])


@contextmanager
def unreadable(table: str) -> Iterator[None]:
    """Whatever reads this table fails, as it does for a damaged index or a value that nobody thought of."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO put_away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE put_away RENAME TO {table}")


@pytest.mark.parametrize("table", ["integrations_burst", "integrations_ticketevent"])
def test_what_fails_of_a_sweep_holds_up_nothing_else_and_is_missed(mapping: Mapping, table: str) -> None:
    labelled(mapping)
    with unreadable(table):
        tick()
        assert {message.task for message in queues.waiting()} >= {queue.DELIVER, queue.READ_LISTS, queue.ANSWER}
    assert Turn.objects.get(name=Turn.Name.SWEEP).done_at is None


def test_what_fails_of_the_upkeep_keeps_no_alarm_from_being_mailed(
    registered: Subscription, mail_server: Any, settings: Any
) -> None:
    Subscription.objects.update(silence_alarm="hours", silence_hours=1)
    silent_for(registered, hours=2)
    with unreadable("integrations_ticketevent"):
        tick()
    until = time.monotonic() + 10
    while not mail_server.mails and time.monotonic() < until:
        time.sleep(0.05)
    assert any("Silent for 2 hours" in mail for mail in mail_server.mails)
    assert Turn.objects.get(name=Turn.Name.WATCH).done_at is None


def test_labels_that_were_never_read_are_read_once_a_day(portal: Installation, sandbox: StandIn, work: Any) -> None:
    company = CompanyFactory.create()
    Company.objects.update(labels=[], labels_read_at=None)
    tick()
    work()
    company.refresh_from_db()
    assert len(company.labels) > 10
    assert with_old_labels() == []
    Company.objects.update(labels_read_at=timezone.now() - timedelta(hours=25))
    assert with_old_labels() == [company.pk]
