"""The overview says whether all is well, and is right."""

import html as markup
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from integrations.models import Connection, Delivery, Mapping, Subscription, Turn
from tests.factories import AlarmFactory, NotificationFactory, WallFactory
from tests.test_admin import failed_delivery, new_delivery, save
from tests.test_walls import put

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
    return label, [(sentence, markup.unescape(address)) for address, sentence in links]


def test_it_says_that_all_is_well_where_it_is(admin: Client, well: Mapping) -> None:
    assert said(admin) == ("All is well", [])


@pytest.mark.parametrize("minutes", [3, None])
def test_it_does_not_say_so_while_nobody_checks(admin: Client, well: Mapping, minutes: int | None) -> None:
    Turn.objects.update(done_at=timezone.now() - timedelta(minutes=minutes) if minutes else None)
    assert said(admin)[0] == "Not known"


def fails(mapping: Mapping) -> None:
    failed_delivery(mapping)


def waits_too_long(mapping: Mapping) -> None:
    new_delivery(mapping)
    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=6))


def is_paused(mapping: Mapping) -> None:
    Connection.objects.update(paused_at=timezone.now(), pause_reason="x")


def is_refused_at_khoros(mapping: Mapping) -> None:
    Subscription.objects.update(registration=Subscription.Registration.REFUSED)


def is_unreadable(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription, state="unreadable", reason="x")


def is_missed(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription, state="missed", reason="x")


def is_alarmed(mapping: Mapping) -> None:
    AlarmFactory.create()


def fits_no_mapping(mapping: Mapping) -> None:
    NotificationFactory.create(subscription=mapping.subscription, state="unmatched", reason="x")


def waits_for_approval(mapping: Mapping) -> None:
    put(WallFactory.create(), 1, state="waiting", shown_at=None)


@pytest.mark.parametrize(
    ("trouble", "label", "sentence"),
    [
        (fails, "Needs you", "1 delivery failed"),
        (waits_too_long, "Needs you", "1 delivery should have been sent more than five minutes ago"),
        (is_paused, "Needs you", "1 connection is paused or unreachable"),
        (is_refused_at_khoros, "Needs you", "1 subscription is not as it should be at Khoros"),
        (is_unreadable, "Needs you", "1 notification could not be read"),
        (is_missed, "Needs you", "1 notification was missed"),
        (is_alarmed, "Needs you", "1 alarm that nobody has seen"),
        (fits_no_mapping, "Have a look", "1 notification fitted no mapping in the last 24 hours"),
        (waits_for_approval, "Have a look", "1 post waits for approval on a wall"),
    ],
)
def test_each_trouble_is_named_with_the_list_that_has_it(
    admin: Client, well: Mapping, trouble: Any, label: str, sentence: str
) -> None:
    trouble(well)
    word, troubles = said(admin)
    assert (word, [found for found, _ in troubles]) == (label, [sentence])
    answer = admin.get(troubles[0][1])
    assert answer.status_code == 200
    listed = answer.context.get("cl")
    assert listed is None or listed.result_count == 1


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
        "Connect Khoros": False, "Subscribe to a label": False, "Connect where posts go": False,
        "Make a mapping": True, "Apply the label": False, "See what became of it": False,
    }  # fmt: skip
    Subscription.objects.update(registration=REGISTERED)
    Connection.objects.update(checks=[{"ok": True, "message": "x"}])
    assert push().status_code == 200
    assert steps(admin) == {
        "Connect Khoros": False, "Subscribe to a label": True, "Connect where posts go": True,
        "Make a mapping": True, "Apply the label": True, "See what became of it": False,
    }  # fmt: skip
    work()
    assert steps(admin) == {}
