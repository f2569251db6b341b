"""The webhook: who is let in, what is stored, what is answered."""

import gzip
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.infra import known_addresses, queue
from integrations.infra.encryption import Secret
from integrations.infra.queue import ROUTE
from integrations.intake import BEARER_TOKEN_COLUMNS, authenticate, replace_bearer_token
from integrations.intake.authenticate import _cache
from integrations.models import Installation, Notification, Subscription
from portal.celery import app
from tests import payloads
from tests.factories import BEARER_TOKEN, NotificationFactory, SubscriptionFactory
from tests.limits import within
from tests.webhook_cases import OTHER_SECRET, SECRET, Hook, WebhookCases

State = Notification.State


class KhorosHook(Hook):
    path = "/webhooks/khoros/"
    stored, column, owner = Notification, "content__body", Subscription
    signs_the_body, accepts_the_previous_secret = False, True

    def content(self) -> bytes:
        return json.dumps(payloads.notification()).encode()

    def proof(self, body: bytes, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    def empty_proof(self) -> dict[str, str]:
        return {"Authorization": ""}

    def replace_secret(self, secret: str) -> None:
        replace_bearer_token(self.row, secret)
        self.row.save(update_fields=BEARER_TOKEN_COLUMNS)

    def end_overlap(self) -> None:
        Subscription.objects.update(previous_token_accepted_until=timezone.now() - timedelta(seconds=1))

    def another(self) -> Hook:
        return KhorosHook(self.client, SubscriptionFactory.create(label="VIP", bearer_token=Secret.of(OTHER_SECRET)))


class TestKhorosWebhook(WebhookCases):
    @pytest.fixture
    def hook(self, client: Client, portal: Installation) -> Hook:
        return KhorosHook(client, SubscriptionFactory.create(bearer_token=Secret.of(SECRET)))


def test_a_notification_is_stored_as_received_and_queued(push: Any, queued: Any) -> None:
    content = payloads.notification()
    answer = push(content)
    stored = Notification.objects.get()
    assert (answer.status_code, answer.json()) == (200, {"id": stored.pk, "repeat": False})
    assert stored.content.body == json.dumps(content).encode()
    assert (stored.state, stored.event_name) == (State.RECEIVED, "stream-item-label-applied")
    assert queued() == [(ROUTE, [stored.pk])]


def test_a_repeat_is_answered_like_the_first_and_counted(push: Any, queued: Any) -> None:
    content = payloads.notification()
    first, second, third = push(content), push(content), push(content)
    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    assert second.status_code == 200
    assert Notification.objects.get().repeats == 2
    assert len(queued()) == 1


def test_a_missed_event_that_is_pushed_after_all_is_routed_at_once(
    push: Any, subscription: Subscription, queued: Any
) -> None:
    content = payloads.notification()
    missed = NotificationFactory.create(
        subscription=subscription, content=content, state=State.MISSED, reason="never received"
    )
    assert push(content).json() == {"id": missed.pk, "repeat": True}
    assert Notification.objects.get().state == State.RECEIVED
    assert queued() == [(ROUTE, [missed.pk])]
    push(content)
    assert len(queued()) == 1


def test_the_same_event_of_two_subscriptions_is_stored_for_each(push: Any) -> None:
    other = SubscriptionFactory.create(label="VIP")
    content = payloads.notification()
    push(content)
    push(content, address=str(other.uuid))
    assert Notification.objects.count() == 2


def test_without_an_event_uuid_the_same_content_is_a_repeat_whatever_its_spacing(push: Any) -> None:
    content = payloads.notification()
    del content["eventUuid"]
    push(content)
    push(json.dumps(content, indent=3).encode())
    push(content | {"companyId": 99})
    assert Notification.objects.count() == 2


def test_a_body_sent_as_gzip_is_read(push: Any) -> None:
    content = payloads.notification()
    body = json.dumps(content).encode()
    assert push(gzip.compress(body), headers={"Content-Encoding": "gzip"}).status_code == 200
    assert push(content).json()["repeat"] is True
    assert Notification.objects.get().content.body == body


def test_a_gzip_body_of_several_members_is_read_whole(push: Any) -> None:
    body = json.dumps(payloads.notification()).encode()
    assert push(gzip.compress(body[:100]) + gzip.compress(b"") + gzip.compress(body[100:])).status_code == 200
    assert Notification.objects.get().content.body == body


def test_a_gzip_body_that_ends_too_early_is_kept_as_it_came(push: Any) -> None:
    cut = gzip.compress(json.dumps(payloads.notification()).encode())[:-40]
    assert push(cut).status_code == 200
    stored = Notification.objects.get()
    assert (stored.state, stored.content.body) == (State.UNREADABLE, cut)


def test_a_gzip_body_that_grows_over_the_limit_is_refused_and_one_that_is_broken_is_kept(push: Any) -> None:
    assert push(gzip.compress(b" " * 3_000_000)).status_code == 413
    broken = gzip.compress(b"{}")[:4] + b"nothing"
    assert push(broken).status_code == 200
    stored = Notification.objects.get()
    assert (stored.state, stored.content.body) == (State.UNREADABLE, broken)


def test_a_missing_or_other_scheme_is_refused(push: Any) -> None:
    assert push(headers={"Authorization": BEARER_TOKEN}).status_code == 401
    assert push(headers={"Authorization": f"Basic {BEARER_TOKEN}"}).status_code == 401
    assert push(headers={"Authorization": f"bearer {BEARER_TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"{not json", "not JSON"),
        (b"[1, 2]", "a list"),
        (b'"text"', "a text"),
        (b"\xff\xfe\x00", "JSON"),
        (b"[" * 100_000, "deeply"),
        (b"1" * 5000, "not JSON"),
    ],
)
def test_an_unreadable_body_is_kept_and_says_why(push: Any, queued: Any, body: bytes, reason: str) -> None:
    answer = push(body)
    stored = Notification.objects.get(pk=answer.json()["id"])
    assert (answer.status_code, stored.state, stored.content.body) == (200, State.UNREADABLE, body)
    assert reason in stored.reason
    assert queued() == []


def test_any_content_type_and_character_set_that_parses_is_read(push: Any) -> None:
    content = payloads.notification(payloads.item(text="Zürich"))
    for charset in ("utf-8", "utf-16", "utf-8-sig", "latin-1"):
        content["eventUuid"] = str(uuid.uuid4())
        body = json.dumps(content, ensure_ascii=False).encode(charset)
        assert push(body, content_type=f"text/plain; charset={charset}").status_code == 200
    assert set(Notification.objects.values_list("state", flat=True)) == {State.RECEIVED}


@pytest.mark.parametrize(
    "charset",
    [
        "punycode",
        "rot13",
        "zip",
        "idna",
        "hex",
        "base64",
        "unicode_escape",
        "utf-7",
        "undefined",
        "nonsense",
        "x" * 300,
    ],
)
def test_a_character_set_that_is_none_is_named_in_the_reason(push: Any, charset: str) -> None:
    body = b'{"eventName": "\xff", "text": "' + b"-a" * 100_000 + b'"}'
    with within(10):
        answer = push(body, content_type=f"application/json; charset={charset}")
    stored = Notification.objects.get(pk=answer.json()["id"])
    assert (answer.status_code, stored.state, stored.content.body) == (200, State.UNREADABLE, body)
    assert f"character set “{charset[:40]}”" in stored.reason


@pytest.mark.parametrize("charset", ["Shift-JIS", "EUC-JP", "gb18030", "big5", "UTF-16LE", "utf_32"])
def test_the_usual_character_sets_are_read_however_they_are_written(push: Any, charset: str) -> None:
    body = json.dumps(payloads.notification(payloads.item(text="日本")), ensure_ascii=False).encode(charset)
    push(body, content_type=f'application/json; charset="{charset}"')
    assert Notification.objects.get().state == State.RECEIVED


def test_a_subscription_that_is_off_keeps_what_arrives_as_unmatched(push: Any, queued: Any) -> None:
    Subscription.objects.update(is_active=False)
    assert push().status_code == 200
    stored = Notification.objects.get()
    assert stored.state == State.UNMATCHED
    assert "is off" in stored.reason
    assert queued() == []


def test_a_dead_redis_changes_nothing_in_the_answer(push: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(queue, "_publisher", queue.Publisher())
    assert [push().status_code for _ in range(3)] == [200, 200, 200]
    queue.publisher().waiting.join()
    assert push().status_code == 200
    assert set(Notification.objects.values_list("state", flat=True)) == {State.RECEIVED}


def test_nul_and_half_surrogates_do_not_keep_a_notification_out(push: Any) -> None:
    body = json.dumps(payloads.notification(eventName="a\x00b")).encode()
    assert push(body).status_code == 200
    half = json.dumps(payloads.notification(eventUuid="\ud800")).encode()
    assert push(half).status_code == 200
    assert Notification.objects.count() == 2


def test_credentials_inside_a_crm_error_are_masked_before_storing(push: Any) -> None:
    call = {"requestHeaders": {"Authorization": ["Bearer crm-secret"], "Cookie": ["a=crm-secret"], "X-Id": ["7"]}}
    push(payloads.notification(eventName="error-custom-crm") | {"data": {"externalCall": call}})
    body = Notification.objects.get().content.body
    assert b"crm-secret" not in body
    assert b'"X-Id": ["7"]' in body


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (b'"token": "crm-secret', b'"token": "'),
        (b'"token": "crm \\"secret\\" crm-secret", "id": 7', b'"id": 7'),
        (b'"token" : [ "crm-secret", "crm-secret" ], "id": 7', b'"id": 7'),
        (b'"token": crm-secret crm-secret, "id": 7', b'"id": 7'),
        (b'"token": 12, "x_api-key_of": "crm-secret", "id": 7', b'"id": 7'),
        (b'"token": {"id": 7, "password": "crm-secret"}', b'"id": 7'),
        (b'"body": "{\\"password\\": \\"crm \\\\\\" crm-secret\\", \\"id\\": 7', b'\\"id\\": 7'),
        (b'"token":"crm-secret","token":"crm-secret\\\\","id":"7"', b'"id":"7"'),
        (b'"Cookie": ["a=crm-secret"', b'"Cookie": ["'),
    ],
)
def test_credentials_are_masked_by_their_look_where_the_body_is_no_json(push: Any, left: bytes, kept: bytes) -> None:
    push(b'{"eventName": "error-custom-crm", ' + left)
    body = Notification.objects.get().content.body
    assert b"crm-secret" not in body
    assert kept in body


@pytest.mark.parametrize("depth", [500, 900, 5000])
def test_a_deep_crm_error_is_kept_without_its_credentials(push: Any, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    secret = b'{"Authorization": ["Bearer crm-secret"], "deep": ' + deep + b"}"
    answer = push(b'{"eventName": "error-custom-crm", "data": ' + secret + b"}")
    assert answer.status_code == 200
    assert b"crm-secret" not in Notification.objects.get().content.body


def test_an_unreadable_previous_token_does_not_keep_the_current_one_out(push: Any) -> None:
    Subscription.objects.update(
        previous_bearer_token=Secret("v1:nonsense"), previous_token_accepted_until=timezone.now() + timedelta(hours=1)
    )
    assert push().status_code == 200


def test_a_subscription_is_remembered_for_a_moment_and_never_a_stranger(
    push: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "CACHED_SECONDS", 60.0)
    assert push().status_code == 200
    Subscription.objects.update(is_active=False)
    assert push().status_code == 200
    assert push(token="wrong").status_code == 401
    assert set(Notification.objects.values_list("state", flat=True)) == {State.RECEIVED}
    _cache.clear()
    push()
    assert Notification.objects.filter(state=State.UNMATCHED).count() == 1


def test_however_an_address_is_written_its_subscription_is_remembered_once(
    push: Any, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "CACHED_SECONDS", 60.0)
    _cache.clear()
    address = str(subscription.uuid)
    for written in (address, address.upper(), address.replace("-", ""), f"{{{address}}}", f"urn:uuid:{address}"):
        assert push(address=written).status_code == 200
    assert len(_cache) == 1


def test_only_so_many_subscriptions_are_remembered_and_the_oldest_go(
    push: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "CACHED_SECONDS", 60.0)
    monkeypatch.setattr(authenticate, "MOST_CACHED", 3)
    _cache.clear()
    subscriptions = [SubscriptionFactory.create(label=f"Label {number}") for number in range(5)]
    for subscription in subscriptions:
        assert push(address=str(subscription.uuid)).status_code == 200
    assert list(_cache) == [subscription.uuid for subscription in subscriptions[2:]]


def test_addresses_that_do_not_exist_cost_the_database_little(
    push: Any, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_addresses, "READ_AFTER_SECONDS", 1.0)
    push()
    with CaptureQueriesContext(database) as queries:
        answers = {push(address=str(uuid.uuid4())).status_code for _ in range(200)}
    assert answers == {401}
    assert len(queries) < 40
    assert push().status_code == 200


def test_a_new_address_is_heard_at_once(subscription: Subscription, push: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_addresses, "READ_AFTER_SECONDS", 60.0)
    monkeypatch.setattr(known_addresses, "MOST_LOOKS_A_SECOND", 1_000_000)
    push()
    made = SubscriptionFactory.create(label="Another label")
    assert push(address=str(made.uuid)).status_code == 200


def test_wrong_tokens_cost_the_database_little(
    push: Any, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "CACHED_SECONDS", 60.0)
    push()
    with CaptureQueriesContext(database) as queries:
        answers = {push(token=f"wrong {number}").status_code for number in range(200)}
    assert answers == {401}
    assert len(queries) < 40
