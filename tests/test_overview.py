"""The overview says whether all is well, and is right."""

import html as markup
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.domain.conditions import all_of
from integrations.models import Company, Connection, Delivery, Mapping, Notification, Subscription, Turn
from integrations.operations import portal_subscription
from tests.factories import (
    AlarmFactory,
    CompanyFactory,
    ConnectionFactory,
    DeliveryFactory,
    FloodHoldFactory,
    MappingFactory,
    NotificationFactory,
    SubscriptionFactory,
    WallFactory,
)
from tests.test_admin import failed_delivery, new_delivery, save
from tests.test_walls import put

HOUR = timedelta(hours=1)
REGISTERED = Subscription.Registration.REGISTERED


@pytest.fixture
def well(mapping: Mapping) -> Mapping:
    """A portal in which all is well."""
    Subscription.objects.update(registration=REGISTERED)
    Turn.objects.update_or_create(name=Turn.Name.WATCH, defaults={"done_at": Now()})
    return mapping


def said(admin: Client) -> tuple[str, list[tuple[str, str]]]:
    """The verdict's word, and its (sentence, address) each."""
    html = admin.get("/admin/").content.decode()
    label = re.findall(r'cb-badge-\w+">([^<]+)<', html)[0]
    listed = re.search(r'<ul class="cb-troubles">(.*?)</ul>', html, re.DOTALL)
    links = re.findall(r'href="([^"]+)">([^<]+)<', listed[1]) if listed else []
    return label, [(markup.unescape(sentence), markup.unescape(address)) for address, sentence in links]


def test_it_says_that_all_is_well_where_it_is(admin: Client, well: Mapping) -> None:
    others(well)
    assert said(admin) == ("All is well", [])


@pytest.mark.parametrize("minutes", [3, None])
def test_it_does_not_say_so_while_nobody_checks(admin: Client, well: Mapping, minutes: int | None) -> None:
    Turn.objects.update(done_at=timezone.now() - timedelta(minutes=minutes) if minutes else None)
    assert said(admin)[0] == "Not known"


def fails(mapping: Mapping) -> None:
    failed_delivery(mapping)


def waits(mapping: Mapping) -> None:
    new_delivery(mapping)
    Delivery.objects.update(created_at=timezone.now() - timedelta(minutes=20))


def failed_twice(mapping: Mapping) -> None:
    new_delivery(mapping)
    later = timezone.now() + timedelta(minutes=1)
    Delivery.objects.update(priority=Delivery.Priority.RETRY, tries=2, attempt_count=2, next_attempt_at=later)


def is_retried_for_hours(mapping: Mapping) -> None:
    new_delivery(mapping)
    now = timezone.now()
    Delivery.objects.update(created_at=now - 20 * HOUR, next_attempt_at=now + 4 * HOUR, attempt_count=9, tries=9)


def is_held_by_a_dead_process(mapping: Mapping) -> None:
    new_delivery(mapping)
    held_until = timezone.now() - 5 * HOUR
    Delivery.objects.update(state="sending", claim=uuid.uuid4(), claimed_until=held_until, next_attempt_at=None)


def is_held_in_a_flood(mapping: Mapping) -> None:
    new_delivery(mapping)
    Delivery.objects.update(state="held", flood_hold=FloodHoldFactory.create(mapping=mapping), next_attempt_at=None)


def is_not_processed(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription)
    Notification.objects.update(received_at=timezone.now() - HOUR)


def is_paused(mapping: Mapping) -> None:
    Connection.objects.update(paused_at=timezone.now(), pause_reason="x")


def fails_its_test(mapping: Mapping) -> None:
    Connection.objects.update(checks=[{"ok": False, "message": "401"}])


def refuses_the_token(mapping: Mapping) -> None:
    Company.objects.update(warning="Khoros does not accept the API token.")


def is_refused_at_khoros(mapping: Mapping) -> None:
    Subscription.objects.update(registration=Subscription.Registration.REFUSED)


def is_unreadable(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription, state="unreadable", reason="x")


def is_unreadable_and_snoozed(mapping: Mapping) -> None:
    is_unreadable(mapping)
    AlarmFactory.create(
        kind="unreadable", connection=None, subscription=mapping.subscription, snoozed_until=timezone.now() + HOUR
    )


def is_missed(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription, state="missed", reason="x")


def is_alarmed(mapping: Mapping) -> None:
    AlarmFactory.create()


def is_alarmed_and_taken(mapping: Mapping) -> None:
    AlarmFactory.create(acknowledged_at=timezone.now(), acknowledged_by="ann")


def is_alarmed_and_snoozed(mapping: Mapping) -> None:
    AlarmFactory.create(snoozed_until=timezone.now() + HOUR)


def fits_no_mapping(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription, state="unmatched", reason="x")


def waits_for_approval(mapping: Mapping) -> None:
    put(WallFactory.create(), 1, state="waiting", shown_at=None)


@pytest.mark.parametrize(
    ("trouble", "label", "sentence"),
    [
        (fails, "Action needed", "1 delivery failed"),
        (failed_twice, "Have a look", "1 delivery failed more than once and will be tried again"),
        (waits, "Have a look", "1 delivery has waited for more than 15 minutes"),
        (is_retried_for_hours, "Action needed", "1 delivery has waited for more than an hour"),
        (is_held_by_a_dead_process, "Action needed", "1 delivery has waited for more than an hour"),
        (is_held_in_a_flood, "Have a look", "1 delivery is held in a flood"),
        (is_not_processed, "Action needed", "1 notification is not processed yet"),
        (is_paused, "Action needed", "1 connection does not send, or its test failed: Zendesk"),
        (fails_its_test, "Action needed", "1 connection does not send, or its test failed: Zendesk"),
        (refuses_the_token, "Action needed", "1 company's token is refused or ends soon: Example"),
        (is_refused_at_khoros, "Action needed", "1 subscription is not as it should be at Khoros: CreateCase"),
        (is_unreadable, "Action needed", "1 notification could not be read"),
        (is_unreadable_and_snoozed, "Have a look", "1 notification could not be read and somebody snoozed the alarm"),
        (is_missed, "Action needed", "1 notification was missed"),
        (is_alarmed, "Action needed", "1 alarm that nobody has taken"),
        (is_alarmed_and_taken, "Have a look", "1 alarm that somebody has taken or snoozed"),
        (is_alarmed_and_snoozed, "Have a look", "1 alarm that somebody has taken or snoozed"),
        (fits_no_mapping, "Have a look", "1 notification of the last 24 hours is unmatched"),
        (waits_for_approval, "Have a look", "1 post waits for approval on a wall"),
    ],
)
def test_each_trouble_is_named_with_the_list_that_has_it_alone(
    admin: Client, well: Mapping, trouble: Any, label: str, sentence: str
) -> None:
    trouble(well)
    others(well)
    word, troubles = said(admin)
    assert (word, [found for found, _ in troubles]) == (label, [sentence])
    answer = admin.get(troubles[0][1])
    assert answer.status_code == 200
    # The list that it counts; of what is set up the one page that is meant.
    listed = answer.context.get("cl")
    assert listed is None or listed.result_count == 1


def others(mapping: Mapping) -> None:
    """Of each kind one with which all is well, so that a list that shows everything shows too much."""
    DeliveryFactory.create(mapping=mapping, is_delivered=True)
    NotificationFactory.create(subscription=mapping.subscription, state="routed")
    AlarmFactory.create(ended_at=timezone.now(), kind="breaker")
    ConnectionFactory.create(name="Off", is_active=False)
    SubscriptionFactory.create(
        label="Other", company=CompanyFactory.create(company_id="43"), registration=REGISTERED, is_active=False
    )


def is_refused_by_conditions(mapping: Mapping, push: Any, work: Any) -> None:
    Mapping.objects.update(conditions=all_of(("network", "is", ["facebook"])))
    assert push().status_code == 200
    work()


def is_a_test_without_a_ticket(mapping: Mapping, push: Any, work: Any) -> None:
    NotificationFactory.create(subscription=mapping.subscription, source="test", state="unmatched", reason="x")


def is_an_alarm_that_nobody_wants(mapping: Mapping, push: Any, work: Any) -> None:
    NotificationFactory.create(subscription=portal_subscription(), source="portal", state="unmatched", reason="x")


@pytest.mark.parametrize(
    "expected", [is_refused_by_conditions, is_a_test_without_a_ticket, is_an_alarm_that_nobody_wants]
)
def test_what_fits_no_mapping_as_people_wished_is_no_trouble(
    admin: Client, well: Mapping, push: Any, work: Any, expected: Any
) -> None:
    expected(well, push, work)
    assert Notification.objects.filter(state="unmatched").count() == 1
    assert said(admin) == ("All is well", [])


def test_what_conditions_refused_is_a_trouble_once_it_is_nothing_for_another_reason(
    admin: Client, well: Mapping, push: Any, work: Any
) -> None:
    is_refused_by_conditions(well, push, work)
    Subscription.objects.update(is_active=False)
    admin.post(
        "/admin/integrations/notification/",
        {"action": "route_again", "_selected_action": [Notification.objects.get().pk]},
    )
    work()
    assert "is off" in Notification.objects.get().reason
    assert said(admin)[0] != "All is well"


def test_a_connection_that_is_off_is_told_while_mappings_use_it(admin: Client, well: Mapping) -> None:
    Connection.objects.update(is_active=False)
    address = f"/admin/integrations/connection/{well.connection_id}/change/"
    sentence = f"1 connection is off, although active mappings use it: {well.connection}"
    assert said(admin) == ("Have a look", [(sentence, address)])
    Mapping.objects.update(is_active=False)
    assert said(admin)[1] != [(sentence, address)]


def test_a_subscription_without_an_active_mapping_is_told(admin: Client, well: Mapping) -> None:
    Mapping.objects.update(is_active=False)
    sentence = f"1 subscription has no active mapping: {well.subscription}"
    address = f"/admin/integrations/subscription/{well.subscription_id}/change/"
    assert said(admin) == ("Have a look", [(sentence, address)])
    assert str(well.subscription) in admin.get("/admin/integrations/subscription/?needs=unmapped").content.decode()


def test_failures_by_cause_lead_to_exactly_theirs(admin: Client, well: Mapping) -> None:
    for cause in ("Refused", "Refused", "Gone"):
        failed_delivery(well, cause=cause, last_error=cause)
    html = admin.get("/admin/").content.decode()
    counted = re.findall(r'<td><a class="cb-link" href="([^"]+)">(\d+)</a></td>', html)
    assert [admin.get(markup.unescape(address)).context["cl"].result_count for address, _ in counted] == [2, 1]
    assert [int(count) for _, count in counted] == [2, 1]


def test_the_oldest_post_is_named_though_nobody_knows_when_it_was_written(admin: Client, well: Mapping) -> None:
    failed_delivery(well)
    Delivery.objects.update(posted_at=None)
    assert "since the oldest post that is not delivered" in admin.get("/admin/").content.decode()


def test_it_asks_as_little_of_the_database_with_many_queues_and_targets(admin: Client, well: Mapping) -> None:
    Subscription.objects.update(ticket_target_minutes=15, solve_target_minutes=60)
    DeliveryFactory.create(mapping=well)
    once = queries_of(admin)
    for number in range(6):
        subscription = SubscriptionFactory.create(label=f"L{number}", ticket_target_minutes=15, solve_target_minutes=60)
        connection = ConnectionFactory.create(name=f"Desk {number}")
        DeliveryFactory.create(mapping=MappingFactory.create(subscription=subscription, connection=connection))
    assert queries_of(admin) == once


def queries_of(admin: Client) -> int:
    admin.get("/admin/")
    with CaptureQueriesContext(database) as queries:
        admin.get("/admin/")
    return len(queries)


# --- First steps -----------------------------------------------------------------------------------------------------


def steps(admin: Client) -> dict[str, bool]:
    html = admin.get("/admin/").content.decode()
    found = re.findall(r'<li class="cb-step( cb-step-good)?"><a[^>]*><b>\d\. ([^<]+)</b>', html)
    return {title: bool(done) for done, title in found}


def test_the_first_steps_tick_themselves(admin: Client, portal: Any, sandbox: Any) -> None:
    assert list(steps(admin).values()) == [False] * 6
    html = save(admin, "company/add/", name="Brand", company_id="42", new_api_token="sandbox-khoros-token")
    assert "The token belongs to John Doe" in html.content.decode(), "a company is tested when it is saved"
    assert [title for title, is_done in steps(admin).items() if is_done] == ["Connect Khoros"]


def test_each_step_is_done_when_it_really_is(admin: Client, push: Any, work: Any, mapping: Mapping) -> None:
    assert steps(admin) == {
        "Connect Khoros": False, "Subscribe to a label": False, "Add a connection": False,
        "Make a mapping": True, "Apply the label": False, "See what became of it": False,
    }  # fmt: skip
    Subscription.objects.update(registration=REGISTERED)
    Connection.objects.update(checks=[{"ok": True, "message": "x"}])
    assert push().status_code == 200
    assert steps(admin) == {
        "Connect Khoros": False, "Subscribe to a label": True, "Add a connection": True,
        "Make a mapping": True, "Apply the label": True, "See what became of it": False,
    }  # fmt: skip
    work()
    assert steps(admin) == {}
