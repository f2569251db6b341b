"""From a notification to deliveries: every post times every mapping that takes it, once."""

import json
from typing import Any

import pytest

from integrations.domain.conditions import all_of
from integrations.models import Connection, Delivery, Mapping, Notification, Subscription
from integrations.routing.route import route_notification
from tests import payloads
from tests.factories import MappingFactory, NotificationFactory, SubscriptionFactory
from tests.limits import within

State = Notification.State


def route(subscription: Subscription, content: dict[str, Any] | None = None) -> Notification:
    notification = NotificationFactory.create(subscription=subscription, content=content or payloads.notification())
    route_notification(notification.pk)
    notification.refresh_from_db()
    return notification


def test_each_post_and_mapping_makes_one_delivery_with_its_request_rendered(
    subscription: Subscription, connection: Connection, mapping: Mapping
) -> None:
    MappingFactory.create(subscription=subscription, connection=connection, name="Second")
    routed = route(subscription, payloads.notification(payloads.item("twitter:1"), payloads.item("facebook:2")))
    assert routed.state == State.ROUTED
    made = set(Delivery.objects.values_list("post_id", "mapping__name", "network"))
    assert made == {
        (post, name, post.split(":")[0]) for post in ("twitter:1", "facebook:2") for name in ("To Zendesk", "Second")
    }
    for delivery in Delivery.objects.all():
        ticket = json.loads(delivery.request)["ticket"]
        assert ticket["external_id"] == f"khoros:{delivery.post_id}:{delivery.mapping.uuid}" == delivery.external_id
        assert (delivery.state, delivery.attempt_count) == ("pending", 0)


def test_routing_twice_makes_nothing_twice(subscription: Subscription, mapping: Mapping) -> None:
    notification = NotificationFactory.create(subscription=subscription)
    assert sum(route_notification(notification.pk).values()) == 1
    assert not route_notification(notification.pk)
    assert Delivery.objects.count() == 1


def test_a_post_labelled_again_is_counted_on_its_delivery(subscription: Subscription, mapping: Mapping) -> None:
    first = route(subscription, payloads.notification(payloads.item("twitter:1")))
    second = route(subscription, payloads.notification(payloads.item("twitter:1")))
    delivery = Delivery.objects.get()
    assert (first.state, second.state, delivery.labelled_again) == (State.ROUTED, State.ROUTED, 1)
    assert second.outcome[0]["delivery"] == delivery.pk
    assert second.outcome[0]["made"] is False


def test_without_a_mapping_it_is_unmatched_and_says_so(subscription: Subscription) -> None:
    unmatched = route(subscription)
    assert unmatched.state == State.UNMATCHED
    assert "No mapping uses" in unmatched.reason


def test_unmatched_says_why_mapping_by_mapping(subscription: Subscription, connection: Connection) -> None:
    MappingFactory.create(subscription=subscription, connection=connection, name="Off", is_active=False)
    MappingFactory.create(
        subscription=subscription,
        connection=connection,
        name="Facebook",
        conditions=all_of(("network", "is", ["facebook"])),
    )
    unmatched = route(subscription, payloads.notification(payloads.item("twitter:1")))
    assert unmatched.reason.splitlines() == [
        "Off, twitter:1: the mapping is off.",
        "Facebook, twitter:1: “Network is one of facebook” (it is “twitter”) does not hold.",
    ]


def test_a_mapping_to_a_connection_that_is_off_makes_nothing(mapping: Mapping) -> None:
    Connection.objects.update(is_active=False)
    unmatched = route(mapping.subscription)
    assert "is off" in unmatched.reason
    assert not Delivery.objects.exists()


def test_an_unknown_event_is_unmatched_with_the_reason(mapping: Mapping) -> None:
    unmatched = route(mapping.subscription, payloads.notification(eventName="never-heard-of"))
    assert unmatched.state == State.UNMATCHED
    assert "“never-heard-of”" in unmatched.reason


def test_an_event_that_the_subscription_is_for_is_read_whatever_its_name(connection: Connection) -> None:
    subscription = SubscriptionFactory.create(event_name="made-up-event", every_event=True)
    MappingFactory.create(subscription=subscription, connection=connection)
    assert route(subscription, payloads.notification(eventName="made-up-event")).state == State.ROUTED


def test_a_notification_without_posts_is_unmatched(mapping: Mapping) -> None:
    content = payloads.notification()
    content["data"] = {"labels": []}
    assert "contains no posts" in route(mapping.subscription, content).reason


@pytest.mark.parametrize("data", [{"items": "x"}, {"items": [1]}, {"items": [None]}])
def test_items_of_another_shape_are_unreadable_and_say_why(mapping: Mapping, data: Any) -> None:
    content = payloads.notification()
    content["data"] = data
    unreadable = route(mapping.subscription, content)
    assert unreadable.state == State.UNREADABLE
    assert "items" in unreadable.reason


def test_a_mapping_that_cannot_be_rendered_fails_alone(
    subscription: Subscription, connection: Connection, mapping: Mapping
) -> None:
    MappingFactory.create(
        subscription=subscription, connection=connection, name="Broken", settings__subject="{{ nonsense }}"
    )
    routed = route(subscription)
    broken, good = Delivery.objects.get(mapping__name="Broken"), Delivery.objects.get(mapping=mapping)
    assert (routed.state, good.state, broken.state) == (State.ROUTED, "pending", "failed")
    assert "nonsense" in broken.last_error


def test_the_summary_names_each_post(mapping: Mapping) -> None:
    text = "A text  with\nlines"
    routed = route(mapping.subscription, payloads.notification(payloads.item("twitter:1", author="Ann", text=text)))
    assert routed.summary == "twitter:1 Ann (@author): A text with lines"


def test_a_declared_character_set_is_used_again_when_routing(mapping: Mapping) -> None:
    body = json.dumps(payloads.notification(payloads.item(text="日本語")), ensure_ascii=False).encode("shift_jis")
    notification = NotificationFactory.create(
        subscription=mapping.subscription,
        body=body,
        headers={"Content-Type": "application/json; charset=shift_jis"},
    )
    route_notification(notification.pk)
    assert "日本語" in Delivery.objects.get().request


def test_a_character_set_that_is_none_is_not_tried_when_routing(mapping: Mapping) -> None:
    notification = NotificationFactory.create(
        subscription=mapping.subscription,
        body=b'{"eventName": "\xff", "text": "' + b"-a" * 100_000 + b'"}',
        headers={"Content-Type": "application/json; charset=punycode"},
    )
    with within(10):
        route_notification(notification.pk)
    notification.refresh_from_db()
    assert notification.state == State.UNREADABLE
    assert "“punycode”" in notification.reason


def test_a_notification_that_cannot_be_stored_away_is_unreadable_and_not_met_for_ever(mapping: Mapping) -> None:
    unreadable = route(mapping.subscription, payloads.notification(payloads.item("İ" * 60 + ":1")))
    assert unreadable.state in (State.ROUTED, State.UNREADABLE)


def test_the_networks_spelling_makes_no_second_post(mapping: Mapping) -> None:
    route(mapping.subscription, payloads.notification(payloads.item("Twitter:77")))
    route(mapping.subscription, payloads.notification(payloads.item("twitter:77")))
    assert Delivery.objects.get().post_id == "twitter:77"


def test_many_posts_in_one_notification_are_routed_together(mapping: Mapping) -> None:
    items = [payloads.item(f"twitter:{number}", text="x") for number in range(1200)]
    assert route(mapping.subscription, payloads.notification(*items)).state == State.ROUTED
    assert Delivery.objects.count() == 1200
