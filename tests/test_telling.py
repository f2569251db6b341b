"""Alarms go out by mappings and connections, like any other delivery; people take them, note and snooze."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations.admin.recipes import initial_of_recipe
from integrations.destinations import DESTINATIONS
from integrations.domain.conditions import all_of
from integrations.models import Alarm, Connection, Delivery, Mapping, Notification, Subscription
from integrations.operations import mappings_of_alarms, portal_subscription
from integrations.operations.alarms import update_alarms as watch
from tests.alarms import update_alarms
from tests.factories import EmailFactory, MappingFactory
from tests.stand_in import StandIn
from tests.test_admin import failed_delivery, page
from tests.test_following import titles
from tests.test_slack import BotFactory

ALARMS = "/admin/integrations/alarm/"


def settings_of(recipe: str, **more: Any) -> dict[str, Any]:
    kind, _, slug = recipe.partition(":")
    found = next(one for one in DESTINATIONS[kind].recipes if one.slug == slug)
    return {**found.settings, **more}


@pytest.fixture
def told(portal: Any, sandbox: StandIn) -> Mapping:
    """A channel that is told of all alarms, by the recipe."""
    return MappingFactory.create(
        name="To the operators",
        subscription=portal_subscription(),
        connection=BotFactory.create(url=sandbox.url),
        settings=settings_of("slack:alarms", target="C0ALERTS"),
    )


def goes_wrong(mapping: Mapping, cause: str = "Refused") -> Delivery:
    return failed_delivery(mapping, cause=cause, remedy="Correct the mapping.", last_error=cause)


def is_repaired() -> None:
    Delivery.objects.filter(state="failed").update(state="cancelled")


def test_an_alarm_is_told_in_one_thread_from_its_begin_to_its_end(
    told: Mapping, mapping: Mapping, work: Any, sandbox: StandIn, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://casebridge.example.com"
    goes_wrong(mapping)
    update_alarms()
    work()
    (message,) = sandbox.messages()
    assert message["channel"] == "C0ALERTS"
    assert titles(sandbox) == ["Deliveries failed (1)"]
    assert "Refused. Correct the mapping." in str(message)
    assert "/admin/integrations/delivery/causes/" in str(message)
    is_repaired()
    update_alarms()
    work()
    first, last = sandbox.messages()
    assert last["thread_ts"] == first["ts"]
    assert "Resolved: Deliveries failed (1)" in str(last)
    assert Delivery.objects.filter(mapping=told, state="delivered").count() == 2


def test_each_step_is_told_once_however_many_watch(
    told: Mapping, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    goes_wrong(mapping)
    for _ in range(3):
        watch()
    is_repaired()
    for _ in range(3):
        watch()
    work()
    assert Delivery.objects.filter(mapping=told).count() == 2
    assert len(sandbox.messages()) == 2


def test_conditions_choose_who_gets_which_kinds(told: Mapping, mapping: Mapping, work: Any, sandbox: StandIn) -> None:
    Mapping.objects.filter(pk=told.pk).update(conditions=all_of(("alarm_kind", "is", ["Connection paused"])))
    goes_wrong(mapping)
    update_alarms()
    work()
    assert sandbox.messages() == []
    Connection.objects.filter(pk=mapping.connection_id).update(paused_at=timezone.now(), pause_reason="Refused: 401.")
    update_alarms()
    work()
    assert titles(sandbox) == ["Connection paused"]


def test_by_mail_they_say_what_to_do(portal: Any, mapping: Mapping, work: Any, sandbox: StandIn) -> None:
    MappingFactory.create(
        subscription=portal_subscription(),
        connection=EmailFactory.create(port=sandbox.mail_port),
        settings=settings_of("email:alarms", to=["ops@example.com"]),
    )
    goes_wrong(mapping)
    update_alarms()
    work()
    (mail,) = sandbox.mails()
    assert mail["subject"] == "Casebridge: Deliveries failed (1)"
    assert "Correct the mapping." in mail["text"]


def test_where_nobody_is_told_nothing_is_stored(mapping: Mapping, portal: Any) -> None:
    portal_subscription()
    before = Notification.objects.count()
    goes_wrong(mapping)
    update_alarms()
    assert Notification.objects.filter(source="portal").count() == 0
    assert Notification.objects.count() == before + 1, "the failed post's own"


def test_an_alarm_that_cannot_be_told_is_retried_and_raises_no_flood(
    told: Mapping, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    sandbox.change_place("C0ALERTS", is_archived=True)
    goes_wrong(mapping)
    for _ in range(4):
        update_alarms()
        work()
    failed = Delivery.objects.filter(mapping=told, state="failed")
    assert failed.count() == 1, "the alarm about it does not go the same way"
    assert Alarm.objects.filter(ended_at=None, kind="failed").count() == 2


def test_an_alarm_does_not_go_the_way_that_it_says_is_broken(
    told: Mapping, mapping: Mapping, work: Any, sandbox: StandIn
) -> None:
    other = MappingFactory.create(
        name="By mail too",
        subscription=portal_subscription(),
        connection=EmailFactory.create(port=sandbox.mail_port),
        settings=settings_of("email:alarms", to=["ann@example.com"]),
    )
    Delivery.objects.all().delete()
    broken = failed_delivery(mapping, cause="Gone", last_error="Gone")
    Delivery.objects.filter(pk=broken.pk).update(mapping=told)
    update_alarms()
    work()
    assert not Delivery.objects.filter(mapping=told).exclude(pk=broken.pk).exists()
    assert Delivery.objects.filter(mapping=other, state="delivered").count() == 1
    Connection.objects.filter(pk=told.connection_id).update(paused_at=timezone.now(), pause_reason="Refused: 401.")
    update_alarms()
    work()
    assert not Delivery.objects.filter(mapping=told).exclude(pk=broken.pk).exists()
    assert Delivery.objects.filter(mapping=other, state="delivered").count() == 2


def test_the_portal_s_own_subscription_has_nothing_to_do_with_khoros(
    told: Mapping, admin: Client, client: Client
) -> None:
    own = portal_subscription()
    assert own.is_own
    assert own.listens_to not in page(admin, "subscription/")
    assert admin.get(f"/admin/integrations/subscription/{own.pk}/change/").status_code == 302
    anonymous = Client()
    answer = anonymous.post(f"/webhooks/khoros/{own.uuid}", b"{}", content_type="application/json")
    assert answer.status_code == 401
    html = admin.get("/admin/").content.decode()
    assert "&#x27;s alarms" not in html
    assert Subscription.objects.filter(company=None).count() == 1
    assert portal_subscription() == own


def test_the_list_of_alarms_says_who_is_told_and_leads_to_more(
    told: Mapping, mapping: Mapping, admin: Client, work: Any
) -> None:
    goes_wrong(mapping)
    update_alarms()
    work()
    html = page(admin, "alarm/")
    assert f'/admin/integrations/mapping/{told.pk}/change/">To the operators</a> by Slack' in html
    add = re.search(r'href="(/admin/integrations/mapping/add/\?subscription=\d+)"', html)
    assert add
    offered = admin.get(add[1]).content.decode()
    assert "Tell a channel about alarms of Casebridge" in offered
    assert "Tell a channel about each ticket" not in offered
    alarm = Alarm.objects.get(kind="failed")
    assert "To the operators</a>: Delivered" in page(admin, f"alarm/{alarm.pk}/change/")
    assert mappings_of_alarms() == [told]
    assert initial_of_recipe("slack:alarms", portal_subscription().pk)["name"].startswith("Tell a channel")


# --- Care ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def alarm(mapping: Mapping) -> Alarm:
    goes_wrong(mapping)
    update_alarms()
    return Alarm.objects.get(kind="failed")


def care(admin: Client, alarm: Alarm, do: str, **more: str) -> str:
    return admin.post(f"{ALARMS}{alarm.pk}/care/", {"do": do, **more}, follow=True).content.decode()


def troubles(admin: Client) -> list[str]:
    return [trouble.sentence for trouble in admin.get("/admin/").context["verdict"].troubles]


def test_one_takes_it_and_the_others_see_who(admin: Client, alarm: Alarm) -> None:
    assert "Taken." in care(admin, alarm, "take")
    assert "<td>operator</td>" in admin.get("/admin/").content.decode(), "beside the cause"
    assert "Taken by operator." in page(admin, "delivery/causes/")
    care(admin, alarm, "give_back")
    assert "<td>nobody</td>" in admin.get("/admin/").content.decode()


def test_of_two_who_take_it_the_first_has_it(admin: Client, alarm: Alarm, client: Client) -> None:
    Alarm.objects.update(acknowledged_by="ann", acknowledged_at=timezone.now())
    assert "Somebody has it already" in care(admin, alarm, "take")
    alarm.refresh_from_db()
    assert alarm.acknowledged_by == "ann"


def test_who_had_one_that_is_over_is_not_forgotten(admin: Client, alarm: Alarm) -> None:
    care(admin, alarm, "take")
    is_repaired()
    update_alarms()
    care(admin, alarm, "give_back")
    alarm.refresh_from_db()
    assert (alarm.acknowledged_by, alarm.ended_at is None) == ("operator", False)


def test_enter_in_the_note_saves_it(admin: Client, alarm: Alarm) -> None:
    form = re.search(r"<form[^>]*cb-care.*?</form>", page(admin, f"alarm/{alarm.pk}/change/"), re.DOTALL)
    assert form
    assert re.findall(r'name="do" value="(\w+)"', form[0])[0] == "save"


def test_a_note_is_kept_until_it_is_over(admin: Client, alarm: Alarm) -> None:
    care(admin, alarm, "save", note="Ann asks Zendesk.", back="/admin/integrations/delivery/causes/")
    assert "Ann asks Zendesk." in page(admin, "delivery/causes/")
    is_repaired()
    update_alarms()
    assert "Ann asks Zendesk." in page(admin, f"alarm/{alarm.pk}/change/")


def test_a_snoozed_one_needs_nobody_until_its_time_or_news(admin: Client, alarm: Alarm, mapping: Mapping) -> None:
    care(admin, alarm, "save", hours="4")
    assert troubles(admin) == ["1 delivery failed and somebody snoozed the alarm"]
    assert admin.get("/admin/").context["verdict"].label != "All is well"
    Alarm.objects.update(snoozed_until=timezone.now() - timedelta(seconds=1))
    assert "1 delivery failed" in troubles(admin)
    care(admin, alarm, "save", hours="24")
    for _ in range(9):
        goes_wrong(mapping)
    update_alarms()
    assert "10 deliveries failed" in troubles(admin), "ten times as many are news"


def test_a_snooze_of_nonsense_changes_nothing(admin: Client, alarm: Alarm) -> None:
    for hours in ("-1", "9999999", "x", "5"):
        care(admin, alarm, "save", hours=hours)
    alarm.refresh_from_db()
    assert alarm.snoozed_until is None
    assert "Nothing changed." in care(admin, alarm, "explode")


def test_care_leads_nowhere_else(admin: Client, alarm: Alarm) -> None:
    answer = admin.post(f"{ALARMS}{alarm.pk}/care/", {"do": "take", "back": "https://evil.example/"})
    assert answer.headers["Location"] == f"{ALARMS}{alarm.pk}/change/"
    assert admin.get(f"{ALARMS}{alarm.pk}/care/").status_code == 405


def test_viewers_take_nothing(alarm: Alarm, portal: Any) -> None:
    from integrations.operations import make_roles
    from tests.test_account import person

    make_roles()
    viewer = person("Viewer")
    assert viewer.post(f"{ALARMS}{alarm.pk}/care/", {"do": "take"}).status_code == 403
    assert "Take it" not in viewer.get(f"{ALARMS}{alarm.pk}/change/").content.decode()
    assert "Notify more people" not in viewer.get(ALARMS).content.decode()
