"""Every event becomes a post, a message or an alert, with what it has; mappings are offered what the event knows."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from integrations.destinations.base import Context, placeholder_values
from integrations.domain.conditions import all_of
from integrations.domain.post import FACTS, Event, Post
from integrations.domain.templating import PLACEHOLDERS
from integrations.mapping.preview import example_preview
from integrations.models import Connection, Delivery, Notification, PostContent
from integrations.routing.route import route_notification
from integrations.sources.khoros.events import EVENTS, kind_of
from integrations.sources.khoros.examples import example
from integrations.sources.khoros.parse import parse
from integrations.sources.kinds import OF_ALL
from tests.factories import MappingFactory, NotificationFactory, SubscriptionFactory
from tests.test_conditions import verdict

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UNKNOWN = "nobody-has-heard-of-this"


def read(name: str, data: Any, **envelope: Any) -> Event:
    content = {"eventName": name, "eventUuid": "e", "data": data} | envelope
    return parse(json.dumps(content).encode())


def message(**fields: Any) -> dict[str, Any]:
    return {"sfEntityType": "Message", "id": "2244551225", "service": "FACEBOOK", **fields}


@pytest.mark.parametrize("name", [*EVENTS, UNKNOWN])
def test_each_events_example_is_read_and_its_placeholders_have_values(name: str) -> None:
    event = parse(json.dumps(example(name, at=NOW)).encode())
    (post,) = event.posts
    assert event.name == name
    assert post.text
    values = placeholder_values(post, Context("L", name, "C", "M", "1", NOW, NOW))
    assert set(values) == set(PLACEHOLDERS)
    assert set(kind_of(name).placeholders) | set(OF_ALL) <= set(PLACEHOLDERS)


@pytest.mark.parametrize("name", [*EVENTS, UNKNOWN])
def test_each_event_becomes_a_ticket_with_the_usual_mapping(connection: Connection, name: str) -> None:
    subscription = SubscriptionFactory.create(event_name=name, every_event=True)
    mapping = MappingFactory.create(subscription=subscription, connection=connection)
    stored = NotificationFactory.create(subscription=subscription, content=example(name, at=NOW) | {"eventUuid": "1"})
    route_notification(stored.pk)
    delivery_id = Delivery.objects.get(notification=stored).pk
    assert Delivery.objects.get(pk=delivery_id).state == "pending"
    shown = example_preview(mapping)
    assert "problem" not in shown
    assert dict(shown["rows"])["Subject"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"sfEntityType": "Status", "text": "A status"}, "A status"),
        (
            {"sfEntityType": "Status", "text": "See", "shareLink": {"url": "https://a.example"}},
            "See\nhttps://a.example",
        ),
        ({"sfEntityType": "ImageShare", "caption": "A picture", "temporaryImageUrl": "s3.example/x"}, "A picture"),
        ({"sfEntityType": "ImageShareList", "caption": "Two", "images": [{"caption": "one"}, {}]}, "Two\none"),
        ({"sfEntityType": "Video", "videoTitle": "A film", "description": "About it"}, "A film\nAbout it"),
        ({"sfEntityType": "Carousel", "title": "Never documented", "cards": [1]}, "Never documented"),
    ],
)
def test_the_four_kinds_of_content_and_unknown_ones_give_their_text(content: dict[str, Any], text: str) -> None:
    (post,) = read("message-published", message(content=content)).posts
    assert (post.kind, post.post_id, post.text) == ("message", "message:2244551225", text)
    assert post.content_type == content["sfEntityType"]
    assert not post.link


@pytest.mark.parametrize(
    "data",
    [
        message(content={"text": "x"}),
        {"message": message(content={"text": "x"})},
        {"items": [message(content={"text": "x"})]},
        {"messages": [message(content={"text": "x"})]},
    ],
)
def test_a_message_is_found_wherever_the_data_hold_it(data: dict[str, Any]) -> None:
    (post,) = read("message-needs-approval", data).posts
    assert (post.kind, post.text, post.network) == ("message", "x", "facebook")


def test_a_message_for_several_channels_counts_for_the_networks_of_its_links() -> None:
    results = [{"serviceLink": "https://www.facebook.com/1/posts/2", "datePublished": 1616018540000}]
    (post,) = read("message-published", message(service="MULTI_CHANNEL", publicationResults=results)).posts
    assert (post.network, post.all_networks) == ("facebook", ("facebook", "multi_channel"))
    assert post.link == "https://www.facebook.com/1/posts/2"
    assert verdict(all_of(("network", "is", ["facebook"])), post).holds
    assert not verdict(all_of(("network", "is", ["instagram"])), post).holds


def test_the_documented_multi_channel_shape_is_read() -> None:
    channels = [
        {"sfEntityType": "SingleChannelMessage", "service": "FACEBOOK", "targetAccountIds": ["4"],
         "content": {"sfEntityType": "Status", "text": "Status Update"}},
        {"sfEntityType": "SingleChannelMessage", "service": "LINKEDIN", "targetAccountIds": ["5"],
         "content": {"sfEntityType": "Status", "text": "Another"}},
    ]  # fmt: skip
    data = {"sfEntityType": "MultiChannelMessage", "id": "111", "messageService": "MULTI_CHANNEL",
            "channelMessages": channels}  # fmt: skip
    (post,) = read("message-published", data).posts
    assert post.text == "Status Update\n\nAnother"
    assert set(post.all_networks) >= {"facebook", "linkedin"}
    assert post.fact("accounts") == "4, 5"


def test_a_natively_scheduled_facebook_post_is_recognised() -> None:
    data = message(scheduledPublishDate=1616018541000, content={"text": "Soon"})
    (post,) = read("message-sent-to-network", data).posts
    assert (post.fact("is_native"), post.fact("scheduled_at")) == ("yes", "2021-03-17 22:02:21 UTC")
    assert verdict(all_of(("network", "is", ["Facebook"])), post).holds
    assert read("message-published", data).posts[0].fact("is_native") == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("credential-auth", "was connected"),
        ("credential-reauth", "connected again"),
        ("credential-deauth", "lost its connection"),
        ("credential-delete", "was removed"),
    ],
)
def test_credential_events_say_what_happened_and_not_success(name: str, message: str) -> None:
    data = {
        "service": "instagram",
        "serviceId": "673",
        "name": "will.i.am",
        "when": 1520987518000,
        "message": "success",
    }
    (post,) = read(name, data).posts
    assert (post.kind, post.network, post.author) == ("alert", "instagram", "will.i.am")
    assert message in post.text
    assert "success" not in post.text
    assert post.posted_at == datetime(2018, 3, 14, 0, 31, 58, tzinfo=UTC)
    assert verdict(all_of(("account", "is", ["will.i.am"]), ("network", "is", ["instagram"])), post).holds


def test_one_happening_told_twice_is_one_alert_and_a_later_one_another() -> None:
    data = {"service": "instagram", "serviceId": "673", "name": "x", "when": 1520987518000}
    first = read("credential-deauth", data).posts[0].post_id
    assert read("credential-deauth", data, eventUuid="another").posts[0].post_id == first
    assert read("credential-deauth", data | {"when": 1520987519000}).posts[0].post_id != first
    plain = read(UNKNOWN, {"a": 1}, createdDate="Wed Apr 12 09:01:11 CDT 2017").posts[0].post_id
    later = read(UNKNOWN, {"a": 1}, createdDate="Wed Apr 12 09:01:12 CDT 2017").posts[0].post_id
    assert plain != later


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_conversation_that_passes_to_a_bot_is_read_with_and_without_its_name(wrapped: bool) -> None:
    control = {
        "type": "reset",
        "service": "twitter",
        "privateMessageConversationId": {"endUserAccountId": "17", "ownedAccountId": "4"},
        "timestampRequested": "2018-01-01T12:45:02.023Z",
    }
    data = {"passConversationControl": control} if wrapped else control
    (post,) = read("pass-conversation-control", data).posts
    assert (post.fact("control_type"), post.fact("customer_id"), post.network) == ("reset", "17", "twitter")
    assert "waits" not in post.text
    assert "until the customer writes" in post.text
    assert verdict(all_of(("operation", "is", ["reset"])), post).holds


def test_an_error_of_the_customer_system_tells_all_but_its_secrets(push: Any, mapping: Any) -> None:
    headers = {"Authorization": ["Bearer crm-secret"], "Cookie": ["session=secret-too"], "X-Custom-Token": ["third"]}
    called: dict[str, Any] = {
        "requestMethod": "GET",
        "requestUri": "https://crm/x?apikey=hidden",
        "requestHeaders": headers,
    }
    called |= {"requestQueryParameters": {"access_token": ["fourth"]}, "responseCode": 500}
    data = {"operation": "searchCustomer", "trackingId": "crm-gateway-1", "externalCall": called}
    push({"eventName": "error-custom-crm", "eventUuid": "1", "data": data})
    body = Notification.objects.get().content.body.decode()
    assert not [secret for secret in ("crm-secret", "secret-too", "third", "fourth", "hidden") if secret in body]
    (post,) = parse(body.encode()).posts
    assert (post.fact("operation"), post.fact("response_code")) == ("searchCustomer", "500")


def test_vault_and_unknown_events_tell_all_they_have() -> None:
    vault = {"directoryCompanyId": 42, "createdDate": "2026-11-22T10:00:00Z", "change": "The owner changed."}
    assert "The owner changed." in read("vault-account-update", vault).posts[0].text
    (post,) = read(UNKNOWN, {"a": {"b": [1, {"c": "deep"}]}, "flag": True}).posts
    assert "a.b: 1" in post.text
    assert "a.b.c: deep" in post.text
    assert post.kind == "alert"


@pytest.mark.parametrize("data", [None, [], {}, "", "text", 7, {"items": {}}, {"message": "x"}])
@pytest.mark.parametrize("name", ["message-published", "credential-auth", "error-custom-crm", UNKNOWN])
def test_odd_data_never_break_the_reading(name: str, data: Any) -> None:
    event = read(name, data)
    assert event.name == name
    assert all(post.post_id for post in event.posts)


def test_the_inner_object_alone_is_read_as_the_subscriptions_event(connection: Connection) -> None:
    subscription = SubscriptionFactory.create(event_name="credential-deauth", every_event=True)
    MappingFactory.create(subscription=subscription, connection=connection)
    inner = {"service": "instagram", "serviceId": "1", "name": "brand", "when": 1520987518000, "message": "success"}
    stored = NotificationFactory.create(subscription=subscription, content=inner)
    assert sum(route_notification(stored.pk).values()) == 1
    assert "lost its connection" in PostContent.objects.get().text


def test_a_rule_can_be_asked_for_by_name_and_inserted() -> None:
    event = parse(json.dumps(example("rule-applied", at=NOW)).encode())
    (post,) = event.posts
    assert post.fact("rule_name") == "Example rule"
    assert verdict(all_of(("rule", "is", ["example RULE"])), post).holds
    assert "it is “Example rule, 17”" in verdict(all_of(("rule", "is", ["else"])), post).reason
    assert post.details == "Rule: Example rule\nId of the rule: 17"


def test_every_fact_has_its_text() -> None:
    assert set(FACTS) <= set(PLACEHOLDERS)
    assert Post(post_id="a:1", network="a", native_id="1", facts=(("media", "x"),)).details == "Media: x"


@pytest.mark.parametrize(
    "shape",
    [
        lambda data: {"eventName": "error-custom-crm", "data": data},
        lambda data: {"eventName": "Error-Custom-CRM", "data": data},
        lambda data: data,
        lambda data: {"eventName": "error-custom-crm", "data": json.dumps(data)},
    ],
)
def test_credentials_of_a_customer_system_are_masked_in_every_shape(push: Any, shape: Any) -> None:
    called = {"requestHeaders": {"Authorization": ["Bearer crm-secret"]}, "requestBody": '{"password": "crm-secret"}'}
    push(shape({"operation": "x", "trackingId": "1", "externalCall": called}))
    assert b"crm-secret" not in Notification.objects.get().content.body


def test_a_message_that_waits_for_approval_a_second_time_is_told_a_second_time() -> None:
    first = read("message-needs-approval", message(), createdDate="Wed Apr 12 09:01:11 CDT 2017").posts[0].post_id
    second = read("message-needs-approval", message(), createdDate="Wed Apr 12 10:01:11 CDT 2017").posts[0].post_id
    assert first != second
    assert read("message-published", message()).posts[0].post_id == "message:2244551225"
