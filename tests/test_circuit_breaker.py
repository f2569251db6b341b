"""An account that nobody reaches is tried with one delivery at a time."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from integrations.flow.circuit_breaker import LEAST_CALLS, OPENS_AFTER, count_failure, record_answer
from integrations.infra.http.failure import Failure
from integrations.models import Alarm, Connection, Delivery, Mapping
from tests.alarms import update_alarms
from tests.deliveries import labelled, move
from tests.stand_in import StandIn

State = Delivery.State
Work = Callable[[], None]


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


def test_the_breaker_opens_when_half_of_the_calls_fail_though_never_five_in_a_row(connection: Connection) -> None:
    hung = Failure("Zendesk did not respond in time.", is_transport=True)
    for _ in range(LEAST_CALLS // 2):
        record_answer(Connection.objects.get())
        count_failure(Connection.objects.get(), hung)
    connection.refresh_from_db()
    assert connection.breaker_opened_at is not None
    assert "5 of 10 calls failed" in connection.breaker_reason


def test_a_failure_now_and_then_does_not_open_the_breaker(connection: Connection) -> None:
    for number in range(40):
        if number % 3:
            record_answer(Connection.objects.get())
        else:
            count_failure(Connection.objects.get(), Failure("No answer.", is_transport=True))
    connection.refresh_from_db()
    assert connection.breaker_opened_at is None


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
    assert Delivery.objects.all().due().count() == 6
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
