"""Content is deleted after a time; what keeps a post from becoming a second ticket is not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations.jobs.rooms import EACH_WATCH, do_all
from integrations.models import (
    Attempt,
    Delivery,
    DeliveryContent,
    Mapping,
    Notification,
    NotificationContent,
    PostContent,
    RemoteObject,
)
from tests import payloads
from tests.factories import DeliveryFactory
from tests.stand_in import StandIn

Work = Callable[[], None]
CONTENT = (Attempt, DeliveryContent, PostContent, NotificationContent)


@pytest.fixture
def kept_for_30_days(settings: Any) -> None:
    settings.CONTENT_KEPT_DAYS = 30


def days_pass(days: int) -> None:
    then = timezone.now() - timedelta(days=days)
    Delivery.objects.update(created_at=then)
    Notification.objects.update(received_at=then)


def kept() -> list[int]:
    return [model._default_manager.count() for model in CONTENT]


@pytest.mark.usefixtures("kept_for_30_days")
def test_content_goes_and_the_ledger_stays(sandbox: StandIn, mapping: Mapping, push: Any, work: Work) -> None:
    push()
    work()
    days_pass(29)
    do_all(EACH_WATCH)
    assert kept() == [1, 1, 1, 1]
    days_pass(31)
    do_all(EACH_WATCH)
    assert kept() == [0, 0, 0, 0]
    assert (Notification.objects.count(), Delivery.objects.count(), RemoteObject.objects.count()) == (1, 1, 1)


@pytest.mark.usefixtures("kept_for_30_days")
def test_a_post_that_is_told_again_after_that_makes_no_second_ticket(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    content = payloads.notification()
    first = push(content).json()
    work()
    days_pass(31)
    do_all(EACH_WATCH)
    assert push(content).json() == {"id": first["id"], "repeat": True}
    push(payloads.notification(content["data"]["items"][0]))
    work()
    assert len(sandbox.tickets()) == 1
    assert Delivery.objects.get().labelled_again == 1


@pytest.mark.usefixtures("kept_for_30_days")
def test_what_failed_keeps_its_content_until_somebody_has_repaired_it(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    sandbox.add_fault("422")
    push()
    work()
    assert Delivery.objects.get().state == Delivery.State.FAILED
    days_pass(31)
    do_all(EACH_WATCH)
    assert kept() == [1, 1, 1, 1]


@pytest.mark.usefixtures("kept_for_30_days")
def test_of_what_made_nothing_not_even_the_reason_is_kept(subscription: Any, push: Any, work: Work) -> None:
    push()
    work()
    days_pass(31)
    do_all(EACH_WATCH)
    assert kept() == [0, 0, 0, 0]
    assert "no longer kept" in Notification.objects.get().reason


def test_nothing_is_deleted_where_no_time_is_set(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work, settings: Any
) -> None:
    settings.CONTENT_KEPT_DAYS = 0
    push()
    work()
    days_pass(4000)
    do_all(EACH_WATCH)
    assert kept() == [1, 1, 1, 1]


@pytest.mark.usefixtures("kept_for_30_days")
def test_the_pages_say_that_the_content_is_no_longer_kept(
    admin: Client, sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    push()
    work()
    days_pass(31)
    do_all(EACH_WATCH)
    delivery, notification = Delivery.objects.get(), Notification.objects.get()
    page = admin.get(f"/admin/integrations/delivery/{delivery.pk}/change/").content.decode()
    assert "no longer kept" in page
    assert f"ticket {delivery.number}" in page
    assert "no longer kept" in admin.get(f"/admin/integrations/notification/{notification.pk}/change/").content.decode()
    for path in ("delivery/", "notification/", f"delivery/?q={delivery.post_id}", f"delivery/?q={delivery.number}"):
        assert delivery.post_id.partition(":")[0] in admin.get(f"/admin/integrations/{path}").content.decode()


@pytest.mark.usefixtures("kept_for_30_days")
def test_a_cancelled_delivery_without_content_cannot_be_sent_and_says_why(
    admin: Client, sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    sandbox.add_fault("422")
    push()
    work()
    Delivery.objects.update(state=Delivery.State.CANCELLED)
    days_pass(31)
    do_all(EACH_WATCH)
    values = {"action": "retry_now", "_selected_action": str(Delivery.objects.get().pk)}
    answer = admin.post("/admin/integrations/delivery/", values, follow=True)
    assert "their content is no longer kept: 1" in answer.content.decode()
    values["action"] = "rebuild"
    answer = admin.post("/admin/integrations/delivery/", values, follow=True)
    assert "no longer kept" in answer.content.decode()
    assert Delivery.objects.get().state == Delivery.State.CANCELLED


def test_what_has_nothing_left_to_send_fails_in_words_and_holds_up_nobody(
    sandbox: StandIn, mapping: Mapping, push: Any, work: Work
) -> None:
    """Retried at the very moment its content was deleted."""
    DeliveryFactory.create_batch(2, mapping=mapping)
    DeliveryContent.objects.order_by("pk")[:1].get().delete()
    work()
    without, after = Delivery.objects.order_by("pk")
    assert (without.state, after.state) == ("failed", "delivered")
    assert "no longer kept" in without.last_error
