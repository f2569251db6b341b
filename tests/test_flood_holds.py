"""A flood held under one ticket, after a yes, and released without loss."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from integrations.destinations.capabilities import Budget
from integrations.flow.rate_limit import (
    forget_limits,
    learn_limits,
)
from integrations.jobs.rooms import EACH_WATCH, do_all
from integrations.models import Alarm, Delivery, FloodHold, Mapping
from integrations.routing.flood_hold import NotHeld, hold_flood
from tests.alarms import update_alarms
from tests.deliveries import labelled
from tests.factories import FloodHoldFactory
from tests.stand_in import StandIn

State, Priority = Delivery.State, Delivery.Priority
Work = Callable[[], None]


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
    assert set(Delivery.objects.values_list("state", "priority")) == {(State.PENDING, Priority.BULK)}
    work()
    assert len(sandbox.tickets()) == 64
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 63


def test_what_is_routed_at_the_moment_of_release_is_not_forgotten(mapping: Mapping, sandbox: StandIn) -> None:
    (row,) = labelled(mapping)
    over = FloodHoldFactory.create(mapping=mapping, ended_at=timezone.now())
    Delivery.objects.update(state=State.HELD, flood_hold=over, next_attempt_at=None)
    do_all(EACH_WATCH)
    row.refresh_from_db()
    assert row.state == State.PENDING


def test_nothing_is_held_where_its_ticket_cannot_be_made(sandbox: StandIn, mapping: Mapping, admin: Client) -> None:
    labelled(mapping, 3)
    sandbox.add_fault("422", times=1)
    form = {"uuid": "6f2f8a35-3b3f-4a2c-9c2e-0f0f0f0f0f0f", "title": "Outage", "text": "One thing"}
    html = admin.post(f"/admin/integrations/mapping/{mapping.pk}/hold/", form).content.decode()
    assert "The ticket could not be created" in html
    assert Delivery.objects.filter(state=State.PENDING).count() == 3


def test_flood_holds_of_a_mapping_are_open_once(mapping: Mapping, sandbox: StandIn) -> None:
    hold_flood(mapping, "6f2f8a35-3b3f-4a2c-9c2e-0f0f0f0f0f0f", "Outage", "One thing", "ann")
    with pytest.raises(NotHeld, match="already has a flood hold"):
        hold_flood(mapping, "6f2f8a35-3b3f-4a2c-9c2e-1f1f1f1f1f1f", "Outage", "One thing", "ann")
    assert len(sandbox.tickets()) == 1
