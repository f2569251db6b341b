"""The signed webhook: what a receiver gets and may rely on, what its answers mean, and what staff see of it.

It is also the example of how a destination is tested: against a receiver on this machine, over its socket.
"""

import html as markup
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils.html import escape
from factory.declarations import Dict, SelfAttribute
from standardwebhooks import Webhook as Signature
from standardwebhooks.webhooks import WebhookVerificationError

from integrations.destinations import DESTINATIONS, capabilities
from integrations.destinations.base import Destination
from integrations.destinations.capabilities import (
    AnswersInThreads,
    CountsBursts,
    Draws,
    IssuesSecret,
    MarksTests,
    UpdatesThings,
)
from integrations.domain.templating import LONGEST_OUTPUT, PLACEHOLDERS, TemplateError, render_json
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.encryption import Secret
from integrations.models import Connection, Delivery, Mapping, Subscription
from local import ROOT
from tests import payloads
from tests.deliveries import move
from tests.factories import ConnectionFactory, MappingFactory, StaffFactory, secret
from tests.limits import within
from tests.receiver import NO_ANSWER, Call, Receiver, running_receiver
from tests.stand_in import StandIn
from tests.test_admin import BASE, act, form_of, page, save
from tests.test_hostile_staff import HOSTILE, fields_of, post, refused
from tests.test_preview import press

State = Delivery.State
Push = Callable[..., Any]
Work = Callable[[], None]

SECRET = "whsec_c2lnbmVkIGJ5IENhc2VicmlkZ2UsIGZvciB0ZXN0cyE="
ISSUED = re.compile(r"whsec_[A-Za-z0-9+/=]+")
PATH = "/hooks/posts?source=khoros&key=a%2Fb"
PAUSING = [410, 301, 302, 307, 401, 403]


class WebhookFactory(ConnectionFactory):
    """A receiver at `url`, whose secret is `SECRET`."""

    name = "Receiver"
    kind = "webhook"
    settings = Dict({"address": SelfAttribute("..url")})
    secrets = secret(secret=SECRET)


class WebhookMappingFactory(MappingFactory):
    """Sends whole posts; `settings__template="..."` sends other JSON."""

    name = "To the receiver"
    settings = Dict({})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as found:
        yield found


@pytest.fixture
def webhook(portal: Any, receiver: Receiver) -> Connection:
    return WebhookFactory.create(url=f"{receiver.url}{PATH}")


@pytest.fixture
def to_receiver(subscription: Subscription, webhook: Connection) -> Mapping:
    return WebhookMappingFactory.create(subscription=subscription, connection=webhook)


def push_post(push: Push, entity_id: str = "", **fields: Any) -> None:
    assert push(payloads.notification(payloads.item(entity_id, **fields))).status_code == 200


def verified(call: Call, secret: str = SECRET) -> Any:
    """What the call says, read as receivers are told to. Raises WebhookVerificationError."""
    return Signature(secret).verify(call.body, dict(call.headers))


def is_signed_with(call: Call, secret: str) -> bool:
    try:
        verified(call, secret)
    except WebhookVerificationError:
        return False
    return True


def waiting() -> int:
    return Delivery.objects.filter(state=State.PENDING).count()


def is_paused_for_a_person(connection: Connection) -> bool:
    connection.refresh_from_db()
    return connection.paused_at is not None and connection.paused_until is None


def own_text(html: str) -> str:
    """The page as people read it, without the frame that all pages share."""
    content = html.partition('id="content"')[2].partition(">")[2]
    content = re.sub(r"<(script|style|template)\b.*?</\1>", "", content, flags=re.DOTALL)
    return " ".join(markup.unescape(re.sub(r"<[^>]*>", " ", content)).split())


def links_of(html: str) -> dict[str, str]:
    """Text and query of the links that stay on the page."""
    found = re.findall(r'<a[^>]*href="(\?[^"]*)"[^>]*>([^<]*)</a>', html.partition('id="content"')[2])
    return {markup.unescape(text): markup.unescape(address) for address, text in found}


# --- What arrives ----------------------------------------------------------------------------------------------------


def test_a_labelled_post_arrives_signed_at_the_receiver(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    push_post(push, "twitter:7", text="Help!", author="Ann", link="https://twitter.com/ann/7", followerCount="12")
    work()
    (call,) = receiver.calls
    assert (call.method, call.path, call.headers["content-type"]) == ("POST", PATH, "application/json")
    assert re.fullmatch(r"msg_[0-9a-f]{32}", call.headers["webhook-id"])
    assert abs(int(call.headers["webhook-timestamp"]) - database_clock.now().timestamp()) < 60
    content = verified(call)
    assert set(content) == {"type", "timestamp", "data"}
    assert content["type"] == "stream-item-label-applied"
    happened_at = datetime.fromisoformat(content["timestamp"])
    assert abs((database_clock.now() - happened_at).total_seconds()) < 60
    assert set(content["data"]) == set(PLACEHOLDERS)
    expected = {
        "text": "Help!", "author": "Ann", "link": "https://twitter.com/ann/7", "post_id": "twitter:7",
        "network": "twitter", "native_id": "7", "followers": "12", "label": "CreateCase", "mapping": "To the receiver",
        "posted_at": "2011-05-26T18:23:31+00:00",
    }  # fmt: skip
    assert {name: content["data"][name] for name in expected} == expected
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempt_count, delivery.connection_id) == (
        State.DELIVERED,
        1,
        to_receiver.connection_id,
    )


def test_a_receiver_with_another_secret_does_not_take_the_call_for_ours(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    push_post(push)
    work()
    (call,) = receiver.calls
    assert is_signed_with(call, SECRET)
    assert not is_signed_with(call, "whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBub2JvZHkga25vd3M=")


def test_any_2xx_is_a_delivery(push: Push, to_receiver: Mapping, receiver: Receiver, work: Work) -> None:
    for status in (200, 201, 202, 204):
        receiver.answer(status, "" if status == 204 else "not even JSON")
        push_post(push)
        work()
    assert (Delivery.objects.filter(state=State.DELIVERED).count(), len(receiver.calls)) == (4, 4)


def test_calls_go_to_the_address_as_it_was_entered(admin: Client, receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    paths = {
        receiver.url: "/",
        f"{receiver.url}/": "/",
        f"  {receiver.url}/hooks ": "/hooks",
        f"{receiver.url}/hooks/?a=1&b=%2F%20": "/hooks/?a=1&b=%2F%20",
        f"{receiver.url}/hooks#part": "/hooks",
        f"{receiver.url}?a=1": "/?a=1",
        f"HTTP://127.0.0.1:{port}/hooks": "/hooks",
        f"http://LocalHost:{port}/Hooks?A=1": "/Hooks?A=1",
        f"http://localhost.:{port}/hooks": "/hooks",
    }
    called = {}
    for typed in paths:
        receiver.calls.clear()
        save(admin, "connection/add/?kind=webhook", name="Receiver", address=typed)
        called[typed] = " ".join(call.path for call in receiver.calls)
    assert called == paths


def test_an_address_that_can_never_be_called_is_refused_beside_the_field(
    admin: Client, portal: Any, settings: Any
) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    for typed in (
        "http://example.com/hooks",
        "https://127.0.0.1/hooks",
        "https://ann:secret@example.com/hooks",
        "https://example.com/a b",
        "https://example.com//hooks",
        "https://example.com/\\hooks",
        "nonsense",
        "",
    ):
        answer = save(admin, "connection/add/?kind=webhook", name="Receiver", is_active=None, address=typed)
        assert not Connection.objects.exists(), f"“{typed}” was taken"
        assert list(answer.context["adminform"].form.errors) == ["address"]


def test_a_host_is_stored_in_one_way_and_the_rest_as_it_was_entered(admin: Client, portal: Any, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    addresses = {
        "example.invalid/hooks": "https://example.invalid/hooks",
        "https://Example.invalid/Hooks?Key=A": "https://example.invalid/Hooks?Key=A",
        "https://example.invalid:443/hooks": "https://example.invalid/hooks",
        "https://example.invalid./hooks": "https://example.invalid/hooks",
    }
    stored = {}
    for typed in addresses:
        save(admin, "connection/add/?kind=webhook", name=typed, address=typed)
        stored[typed] = Connection.objects.get(name=typed).settings["address"]
    assert stored == addresses


# --- Own JSON --------------------------------------------------------------------------------------------------------


OWN = """{
  "title": "{{ author }} on {{ network|upper }}",
  "blocks": [{"kind": "text", "lines": ["{{ text }}", "as it is"]}, [["{{ link }}"]]],
  "number": 12, "share": 0.5, "yes": true, "nothing": null, "empty": "", "none": []
}"""


def test_an_own_template_is_rendered_in_texts_at_any_depth(
    admin: Client, push: Push, subscription: Subscription, webhook: Connection, receiver: Receiver, work: Work
) -> None:
    path = f"mapping/add/?connection={webhook.pk}"
    save(admin, path, name="Own", subscription=str(subscription.pk), connection=str(webhook.pk), template=OWN)
    push_post(push, text="Help!", author="Ann", link="https://twitter.com/ann/7")
    work()
    assert verified(receiver.calls[-1]) == {
        "title": "Ann on TWITTER",
        "blocks": [{"kind": "text", "lines": ["Help!", "as it is"]}, [["https://twitter.com/ann/7"]]],
        "number": 12,
        "share": 0.5,
        "yes": True,
        "nothing": None,
        "empty": "",
        "none": [],
    }
    mapping = Mapping.objects.get()
    assert json.loads(form_of(page(admin, f"mapping/{mapping.pk}/change/"))["template"]) == json.loads(OWN)


HOSTILE_TEXTS = [
    "{{ link }}",
    "{{ text|short:3 }} {% if 1 %} {author}",
    '"}, "admin": true, "x": {"y": "',
    "one\ntwo\r\nthree\ttabbed",
    "back\\slash \\n \\u0041 \\",
    "</script><!-- ' & <b>",
    "new\u2028kinds\u2029of\x85lines",
    "grüße 📦",
]


@pytest.mark.parametrize("template", ["", '{"data": {"text": "{{ text }}"}, "more": ["{{ author }}: {{ text }}"]}'])
def test_hostile_texts_of_posts_stay_data(
    push: Push, subscription: Subscription, webhook: Connection, receiver: Receiver, work: Work, template: str
) -> None:
    WebhookMappingFactory.create(subscription=subscription, connection=webhook, settings__template=template)
    push(payloads.notification(*(payloads.item(text=hostile, author="Ann") for hostile in HOSTILE_TEXTS)))
    work()
    contents = [verified(call) for call in receiver.calls]
    assert sorted(content["data"]["text"] for content in contents) == sorted(HOSTILE_TEXTS)
    if template:
        assert all(content["more"] == [f"Ann: {content['data']['text']}"] for content in contents)
    assert len({tuple(content) for content in contents}) == 1


def test_a_wrong_template_is_refused_beside_the_field(admin: Client, to_receiver: Mapping) -> None:
    for typed, message in (
        ("{{ text }}", "This is not valid JSON"),
        ('{"a": ', "This is not valid JSON"),
        ("{'a': 1}", "This is not valid JSON"),
        ('{"a": {{ text }}}', "This is not valid JSON"),
        ('{"a": NaN}', "This is not valid JSON"),
        ('{"a": "{{ nonsense }}"}', "There is no placeholder “nonsense”"),
        ('{"a": [{"b": "{{ text|loud }}"}]}', "There is no filter “loud”"),
        ('{"a": "{{ text"}', "is not a placeholder"),
        ('{"a": "{text}"}', "two braces"),
    ):
        assert_refused(save(admin, f"mapping/{to_receiver.pk}/change/", template=typed), "template", message)
    to_receiver.refresh_from_db()
    assert to_receiver.settings == {}


def assert_refused(answer: Any, field: str, message: str = "") -> None:
    assert not answer.redirect_chain, "It was saved."
    errors = answer.context["adminform"].form.errors
    assert list(errors) == [field]
    assert message in str(errors[field])
    assert escape(message) in answer.content.decode()


def test_a_number_that_would_be_sent_as_no_json_is_refused(admin: Client, to_receiver: Mapping) -> None:
    assert_refused(save(admin, f"mapping/{to_receiver.pk}/change/", template='{"a": 1e999}'), "template")


def test_a_template_is_refused_or_sent_however_deep_it_is(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    for depth in (20, 300, 480, 800, 9000):
        deep = "[" * depth + '"{{ text }}"' + "]" * depth
        answer = save(admin, f"mapping/{to_receiver.pk}/change/", template=deep)
        if not answer.redirect_chain:
            assert_refused(answer, "template")
    push_post(push, text="Help!")
    work()
    assert '"Help!"' in receiver.calls[-1].body.decode()


def test_half_a_character_in_a_template_prevents_no_delivery(
    admin: Client, push: Push, to_receiver: Mapping, mapping: Mapping, receiver: Receiver, sandbox: StandIn, work: Work
) -> None:
    """Refused or sent: in no case may it cost the post's other deliveries."""
    save(admin, f"mapping/{to_receiver.pk}/change/", template='{"a": "\\ud800 \\u0000 {{ text }}"}')
    push_post(push)
    work()
    assert len(sandbox.tickets()) == 1
    assert Delivery.objects.count() == 2


def test_a_stored_template_that_cannot_be_rendered_any_more_fails_in_words(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    Mapping.objects.update(settings={"template": '{"a": "{{ of_an_older_version }}"}'})
    push_post(push)
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, receiver.calls) == (State.FAILED, [])
    assert "There is no placeholder “of_an_older_version”" in delivery.last_error


def test_all_texts_of_a_template_together_are_bounded() -> None:
    template = json.dumps(["{{ text }}", {"a": "{{ text }}", "b": ["{{ text }}", "as it is"]}, 12345])
    x = "x" * 100
    bounded = render_json(template, {"text": x}, most=250)
    assert bounded == [x, {"a": x, "b": [x[:50], ""]}, 12345]
    many = render_json(json.dumps(["{{ text }}"] * 100), {"text": "x" * 10_000})
    assert sum(map(len, many)) == LONGEST_OUTPUT


def test_texts_without_placeholders_stay_as_they_are() -> None:
    texts = ["", " ", "one\n", "one\r\ntwo", "\n\n", "a\u2028b", "tab\t"]
    assert render_json(json.dumps(texts), {}) == texts


def test_filters_of_many_texts_read_no_more_than_those_of_one() -> None:
    """Each puts a long post on one line and then shows nothing of it."""
    template = json.dumps(["{{ text|oneline|upper|short:0 }}"] * 5000)
    with within(3):
        render_json(template, {"text": "word " * 40_000})


def test_what_the_form_refuses_is_refused_as_well_when_it_is_rendered() -> None:
    for template in ('{"a": ', '["{{ nonsense }}"]', '{"a": Infinity}'):
        with pytest.raises(TemplateError):
            render_json(template, {})


def test_no_form_of_a_webhook_falls_over_whatever_is_typed(admin: Client, to_receiver: Mapping) -> None:
    for path, names in (
        (f"mapping/{to_receiver.pk}/change/", {"template"}),
        (f"connection/{to_receiver.connection_id}/change/", {"address"}),
        (f"connection/{to_receiver.connection_id}/change/", {"retry_schedule", "name"}),
    ):
        usual = fields_of(admin, path)
        for hostile in HOSTILE.values():
            answer = post(admin, path, usual | dict.fromkeys(names, hostile) | {"_save": "1"})
            assert refused(answer) <= names
        assert admin.get(f"{BASE}/{path}").status_code == 200


# --- Once, by its number ---------------------------------------------------------------------------------------------


def test_every_try_of_a_post_has_the_same_number_and_the_same_bytes(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    receiver.answer(500)
    push_post(push)
    for _ in range(3):
        work()
        move()
    receiver.answer(204)
    work()
    assert len(receiver.calls) == 4
    assert len({(call.headers["webhook-id"], call.body) for call in receiver.calls}) == 1
    assert all(is_signed_with(call, SECRET) for call in receiver.calls)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempt_count, delivery.last_error) == (State.DELIVERED, 4, "")


def test_posts_have_different_numbers(push: Push, to_receiver: Mapping, receiver: Receiver, work: Work) -> None:
    push(payloads.notification(*(payloads.item() for _ in range(3))))
    push_post(push)
    work()
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 4


def test_two_mappings_of_one_post_are_two_messages(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    WebhookMappingFactory.create(subscription=to_receiver.subscription, connection=to_receiver.connection)
    push_post(push)
    work()
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 2


def test_a_post_that_is_labelled_again_is_not_sent_again(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    for _ in range(2):
        push_post(push, "twitter:7")
        work()
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("action", ["retry_now", "rebuild"])
def test_whoever_asks_again_the_number_is_the_same(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work, action: str
) -> None:
    Connection.objects.update(retry_delays=[1.0])
    receiver.answer(422, "the shape is wrong")
    push_post(push)
    work()
    move()
    work()
    (delivery,) = Delivery.objects.filter(state=State.FAILED)
    receiver.answer(204)
    act(admin, "delivery", action, delivery)
    work()
    assert Delivery.objects.get().state == State.DELIVERED
    assert len(receiver.calls) == 3
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1


def test_a_broken_connection_is_tried_again_under_the_same_number(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    receiver.answer(NO_ANSWER)
    push_post(push)
    work()
    assert (waiting(), "broke before the response" in Delivery.objects.get().last_error) == (1, True)
    receiver.answer(204)
    move()
    work()
    assert Delivery.objects.get().state == State.DELIVERED
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1


# --- What answers mean -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", PAUSING)
def test_what_concerns_every_post_pauses_until_a_person_acts(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work, status: int
) -> None:
    receiver.answer(status, Location=f"{receiver.url}/elsewhere")
    push_post(push)
    work()
    connection = to_receiver.connection
    assert is_paused_for_a_person(connection)
    assert f"status {status}" in connection.pause_reason
    assert ("Make a new secret" in connection.pause_reason) is (status in (401, 403))
    assert f"status {status}" in own_text(page(admin, f"connection/{connection.pk}/change/"))
    assert f"status {status}" in Delivery.objects.get().last_error
    receiver.answer(204)
    push_post(push)
    move()
    work()
    assert ([call.path for call in receiver.calls], waiting()) == ([PATH], 2)
    html = act(admin, "connection", "test_connection", connection)
    assert "The test passed and the connection was resumed" in html
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 2


@pytest.mark.parametrize(("status", "headers"), [(401, {}), (410, {}), (429, {"Retry_After": "40"})])
def test_a_pause_uses_up_no_try(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work, status: int,
    headers: dict[str, str],
) -> None:  # fmt: skip
    Connection.objects.update(retry_delays=[1.0])
    push_post(push)
    receiver.answer(status, **headers)
    for _ in range(3):
        work()
        act(admin, "connection", "resume", to_receiver.connection)
    receiver.answer(500)
    work()
    assert waiting() == 1
    move()
    work()
    assert (Delivery.objects.get().state, len(receiver.calls)) == (State.FAILED, 5)


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_what_concerns_one_post_is_tried_again_by_the_schedule_and_pauses_nothing(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work, status: int
) -> None:
    Connection.objects.update(retry_delays=[60.0])
    receiver.answer(status, "words of the receiver")
    push_post(push)
    work()
    connection = Connection.objects.get()
    delivery = Delivery.objects.get()
    assert (connection.paused_at, delivery.state) == (None, State.PENDING)
    assert f"status {status}" in delivery.last_error
    assert "words of the receiver" in delivery.last_error
    assert ("Ask whoever runs the receiver" in delivery.remedy) is (status in (400, 422))
    assert 50 < seconds_until_next_try() <= 66
    work()
    assert len(receiver.calls) == 1
    push_post(push)
    receiver.answer(200)
    move()
    work()
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 2


def test_a_limit_pauses_for_as_long_as_it_asks_and_no_longer(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    receiver.answer(429, Retry_After="40")
    push_post(push)
    work()
    connection = Connection.objects.get()
    assert connection.paused_until is not None
    assert 35 < (connection.paused_until - database_clock.now()).total_seconds() <= 44
    assert "429" in connection.pause_reason
    receiver.answer(204)
    work()
    assert (len(receiver.calls), waiting()) == (1, 1)
    Connection.objects.update(paused_until=seconds_from_now(-1))
    work()
    assert Delivery.objects.get().state == State.DELIVERED


def test_503_with_retry_after_is_not_tried_before(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    Connection.objects.update(retry_delays=[1.0])
    receiver.answer(503, Retry_After="300")
    push_post(push)
    work()
    assert 290 < seconds_until_next_try() <= 330


def test_a_connection_without_a_secret_pauses_and_says_what_to_press(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    Connection.objects.update(secrets=Secret(""))
    push_post(push)
    work()
    connection = to_receiver.connection
    assert (is_paused_for_a_person(connection), receiver.calls) == (True, [])
    assert "Make a new secret" in connection.pause_reason
    (made,) = ISSUED.findall(act(admin, "connection", "new_secret", connection))
    act(admin, "connection", "resume", connection)
    work()
    assert is_signed_with(receiver.calls[-1], made)
    assert Delivery.objects.get().state == State.DELIVERED


# --- The secret ------------------------------------------------------------------------------------------------------


def added(admin: Client, receiver: Receiver) -> str:
    """Adds a connection on its page and returns the secret that the next page shows."""
    answer = save(admin, "connection/add/?kind=webhook", name="Receiver", address=f"{receiver.url}{PATH}")
    (shown,) = ISSUED.findall(answer.content.decode())
    return str(shown)


def everything_stored() -> str:
    """Every row of the database as text, and what the sessions keep."""
    rows = [str(list(model._default_manager.values_list())) for model in apps.get_models()]
    return "\n".join([*rows, *(str(session.get_decoded()) for session in Session.objects.all())])


def let_the_day_pass(connection: Connection) -> None:
    connection.refresh_from_db()
    a_second_ago = database_clock.now() - timedelta(seconds=1)
    secrets = connection.read_secrets() | {"until": a_second_ago.isoformat()}
    Connection.objects.filter(pk=connection.pk).update(secrets=Secret.of(json.dumps(secrets)))


def test_the_secret_is_shown_once_and_signs_from_then_on(
    admin: Client, push: Push, subscription: Subscription, receiver: Receiver, work: Work
) -> None:
    shown = added(admin, receiver)
    connection = Connection.objects.get()
    assert len(Signature(shown)._whsecret) == 32
    (ping,) = receiver.calls
    assert verified(ping, shown) == {"type": "ping"}
    mapping = WebhookMappingFactory.create(subscription=subscription, connection=connection)
    push_post(push)
    work()
    assert is_signed_with(receiver.calls[-1], shown)
    delivery = Delivery.objects.get()
    for path in (
        "connection/",
        "connection/add/?kind=webhook",
        f"connection/{connection.pk}/change/",
        f"connection/{connection.pk}/history/",
        f"mapping/{mapping.pk}/change/",
        "delivery/",
        f"delivery/{delivery.pk}/change/",
        "attempt/",
    ):
        assert "whsec_" not in page(admin, path), path


def test_the_secret_is_in_no_row_of_the_log_and_not_in_the_history(
    admin: Client, push: Push, subscription: Subscription, receiver: Receiver, work: Work
) -> None:
    secrets = [added(admin, receiver)]
    connection = Connection.objects.get()
    secrets += ISSUED.findall(act(admin, "connection", "new_secret", connection))
    WebhookMappingFactory.create(subscription=subscription, connection=connection)
    receiver.answer(500, f"What are {secrets[0]} and {secrets[1]}?")
    push_post(push)
    work()
    stored = everything_stored()
    assert "What are" in stored
    for found in secrets:
        assert found.removeprefix("whsec_").rstrip("=") not in stored
    assert LogEntry.objects.filter(object_id=str(connection.pk), change_message="Made a new secret").count() == 1


def test_saving_again_keeps_the_secret_and_shows_none(admin: Client, webhook: Connection, receiver: Receiver) -> None:
    for changes in ({"name": "Renamed"}, {"address": f"{receiver.url}/another/path"}, {"retry_schedule": "1 min"}):
        answer = save(admin, f"connection/{webhook.pk}/change/", **changes)
        assert "was changed successfully" in answer.content.decode()
        assert "whsec_" not in answer.content.decode()
    webhook.refresh_from_db()
    assert webhook.read_secrets() == {"secret": SECRET}
    assert receiver.calls[-1].path == "/another/path"


def test_a_new_secret_signs_beside_the_old_one_for_a_day(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    connection = to_receiver.connection
    (new,) = ISSUED.findall(act(admin, "connection", "new_secret", connection))
    assert new != SECRET
    assert "whsec_" not in page(admin, f"connection/{connection.pk}/change/")
    push_post(push)
    work()
    assert [is_signed_with(receiver.calls[-1], found) for found in (new, SECRET)] == [True, True]
    connection.refresh_from_db()
    until = connection.read_secrets()["until"]
    in_a_day = database_clock.now() + timedelta(days=1)
    assert (in_a_day - timedelta(minutes=1)).isoformat() < until <= in_a_day.isoformat()

    let_the_day_pass(connection)
    push_post(push)
    work()
    assert [is_signed_with(receiver.calls[-1], found) for found in (new, SECRET)] == [True, False]
    assert len(receiver.calls[-1].headers["webhook-signature"].split()) == 1


def test_pressing_twice_leaves_the_receiver_a_day_for_the_secret_it_has(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    """Whoever missed the message presses again; the receiver only knows the first secret all the while."""
    for _ in range(2):
        (new,) = ISSUED.findall(act(admin, "connection", "new_secret", to_receiver.connection))
    push_post(push)
    work()
    assert [is_signed_with(receiver.calls[-1], found) for found in (new, SECRET)] == [True, True]


def test_the_page_of_a_connection_offers_a_new_secret_only_where_there_is_one(
    admin: Client, webhook: Connection, connection: Connection
) -> None:
    assert "Make a new secret" in own_text(page(admin, f"connection/{webhook.pk}/change/"))
    assert "Make a new secret" not in own_text(page(admin, f"connection/{connection.pk}/change/"))
    html = act(admin, "connection", "new_secret", connection)
    connection.refresh_from_db()
    assert (connection.read_secrets(), ISSUED.findall(html)) == ({"api_token": "sandbox-zendesk-token"}, [])
    assert "has no secret that Casebridge makes" in html


def test_who_may_only_look_makes_no_new_secret(client: Client, webhook: Connection) -> None:
    client.force_login(StaffFactory.create(may="^view_"))
    html = page(client, f"connection/{webhook.pk}/change/")
    assert "Make a new secret" not in own_text(html)
    client.post(f"{BASE}/connection/", {"action": "new_secret", "_selected_action": [webhook.pk]})
    webhook.refresh_from_db()
    assert webhook.read_secrets() == {"secret": SECRET}


def test_another_host_gets_another_secret_and_nothing_signed_with_the_old_one(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    connection = to_receiver.connection
    (second,) = ISSUED.findall(act(admin, "connection", "new_secret", connection))
    with running_receiver() as other:
        answer = save(admin, f"connection/{connection.pk}/change/", address=f"{other.url}/hooks")
        (third,) = ISSUED.findall(answer.content.decode())
        push_post(push)
        work()
        assert len(other.calls) == 2
        for call in other.calls:
            assert [is_signed_with(call, found) for found in (SECRET, second, third)] == [False, False, True]
            assert len(call.headers["webhook-signature"].split()) == 1
    assert receiver.calls == []


def test_a_secret_that_cannot_be_read_any_more_is_replaced_by_pressing(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = ["quite another key with enough characters"]
    Subscription.objects.update(bearer_token=Secret.of("the-token-that-khoros-sends-back"))
    push_post(push)
    work()
    assert (is_paused_for_a_person(to_receiver.connection), receiver.calls) == (True, [])
    assert "Press “Make a new secret”" in own_text(page(admin, f"connection/{to_receiver.connection_id}/change/"))
    (new,) = ISSUED.findall(act(admin, "connection", "new_secret", to_receiver.connection))
    assert "was resumed" in act(admin, "connection", "test_connection", to_receiver.connection)
    work()
    assert is_signed_with(receiver.calls[-1], new)
    assert Delivery.objects.get().state == State.DELIVERED


# --- The retry schedule ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["webhook", "zendesk"])
def failing(request: pytest.FixtureRequest, subscription: Subscription) -> Connection:
    """A connection with a mapping, at whose other side everything fails."""
    if request.param == "webhook":
        request.getfixturevalue("receiver").answer(500)
        mapping: Mapping = request.getfixturevalue("to_receiver")
    else:
        mapping = request.getfixturevalue("mapping")
        request.getfixturevalue("sandbox").add_fault("500")
    return mapping.connection


def seconds_until_next_try() -> float:
    (at,) = Delivery.objects.filter(state=State.PENDING).values_list("next_attempt_at", flat=True)
    assert at is not None
    return (at - database_clock.now()).total_seconds()


def work_timed(work: Work) -> tuple[float, float]:
    """Works, and returns the least and the most that the wait before the next try can have been, in seconds."""
    before = database_clock.now()
    work()
    least = seconds_until_next_try()
    return least, least + (database_clock.now() - before).total_seconds()


def test_a_schedule_of_its_own_is_used_shown_again_and_ends_earlier(
    admin: Client, push: Push, failing: Connection, work: Work
) -> None:
    path = f"connection/{failing.pk}/change/"
    assert form_of(page(admin, path))["retry_schedule"] == ""
    save(admin, path, retry_schedule="1 s, 2 min, 1 h")
    assert form_of(page(admin, path))["retry_schedule"] == "1 s, 2 min, 1 h"
    push_post(push)
    for delay in (1, 120, 3600):
        move()
        least, most = work_timed(work)
        assert delay <= most + 0.1
        assert least <= delay * 1.1 + 0.1
    move()
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempt_count) == (State.FAILED, 4)


def test_without_a_schedule_of_its_own_the_usual_one_is_used(
    admin: Client, push: Push, failing: Connection, work: Work, settings: Any
) -> None:
    settings.DELIVERY_RETRY_DELAYS = (300.0, 5400.0)
    path = f"connection/{failing.pk}/change/"
    save(admin, path, retry_schedule="1 s")
    save(admin, path, retry_schedule="")
    assert "Leave empty for the usual schedule: 5 min, 90 min." in own_text(page(admin, path))
    push_post(push)
    for delay in (300, 5400):
        move()
        least, most = work_timed(work)
        assert delay <= most + 0.1
        assert least <= delay * 1.1 + 0.1
    move()
    work()
    assert Delivery.objects.get().state == State.FAILED


def test_each_connection_keeps_its_own_schedule(
    push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    Connection.objects.update(retry_delays=[1.0])
    patient = WebhookFactory.create(name="Patient", url=receiver.url, retry_delays=[1.0, 1.0])
    WebhookMappingFactory.create(subscription=to_receiver.subscription, connection=patient)
    receiver.answer(500)
    push_post(push)
    for _ in range(2):
        work()
        move()
    states = dict(Delivery.objects.values_list("connection", "state"))
    assert states == {to_receiver.connection_id: State.FAILED, patient.pk: State.PENDING}


def test_a_schedule_that_is_made_shorter_ends_what_has_had_more_tries(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    Connection.objects.update(retry_delays=[1.0] * 5)
    receiver.answer(500)
    push_post(push)
    for _ in range(3):
        work()
        move()
    save(admin, f"connection/{to_receiver.connection_id}/change/", retry_schedule="1 s")
    before = len(receiver.calls)
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, len(receiver.calls)) == (State.FAILED, before)
    assert "the retry schedule was shortened" in delivery.last_error


def test_a_schedule_may_be_written_in_several_ways(admin: Client, webhook: Connection) -> None:
    path = f"connection/{webhook.pk}/change/"
    for typed, shown in (
        ("90 sec,1.5 h ,  2m", "90 s, 90 min, 2 min"),
        ("1 D", "1 d"),
        ("120 s, 24 h, 0.5 d", "2 min, 1 d, 12 h"),
        (", ,", ""),
        (" 30 d ", "30 d"),
    ):
        save(admin, path, retry_schedule=typed)
        assert form_of(page(admin, path))["retry_schedule"] == shown
        save(admin, path)
        assert form_of(page(admin, path))["retry_schedule"] == shown


@pytest.mark.parametrize("kind", ["webhook", "connection"])
def test_a_wrong_schedule_is_refused_beside_the_field(admin: Client, request: pytest.FixtureRequest, kind: str) -> None:
    connection: Connection = request.getfixturevalue(kind)
    for typed, message in (
        ("soon", "“soon” is not a time"),
        ("0 s", "“0 s” is out of range"),
        ("99 d", "“99 d” is out of range"),
        ("1 min, 5", "“5” is not a time"),
        ("1 min; 5 min", "is not a time"),
        ("2 weeks", "“2 weeks” is not a time"),
        ("-1 s", "“-1 s” is not a time"),
        ("1e3 s", "“1e3 s” is not a time"),
        ("² s, 1 s", "“² s” is not a time"),
        (", ".join(["1 s"] * 31), "at most 30"),
    ):
        answer = save(admin, f"connection/{connection.pk}/change/", retry_schedule=typed)
        assert_refused(answer, "retry_schedule", message)
        assert form_of(answer.content.decode())["retry_schedule"] == typed
    connection.refresh_from_db()
    assert connection.retry_delays == []


# --- Choosing --------------------------------------------------------------------------------------------------------


def test_the_kind_of_a_new_connection_is_chosen_first_and_the_query_is_kept(admin: Client, portal: Any) -> None:
    html = page(admin, "connection/add/?name=From+a+link&is_active=")
    links = links_of(html)
    assert list(links) == ["Zendesk", "Slack", "Microsoft Teams", "E-mail", "PagerDuty", "Wall", "Signed webhook"]
    for title, kind in (("Zendesk", "zendesk"), ("Slack", "slack"), ("Signed webhook", "webhook")):
        asked = parse_qs(links[title].removeprefix("?"), keep_blank_values=True)
        assert asked == {"name": ["From a link"], "is_active": [""], "kind": [kind]}
    assert "Each post becomes a ticket." in own_text(html)
    assert "Each post becomes a message." in own_text(html)
    shown = form_of(page(admin, f"connection/add/{links['Signed webhook']}"))
    assert (shown["name"], "address" in shown, "email" in shown) == ("From a link", True, False)
    assert "email" in form_of(page(admin, f"connection/add/{links['Zendesk']}"))


def test_an_unknown_kind_is_not_found(admin: Client, portal: Any) -> None:
    for model in ("connection", "mapping"):
        assert admin.get(f"{BASE}/{model}/add/?kind=telegraph").status_code == 404


def test_who_may_not_add_is_not_asked_for_a_kind(client: Client, webhook: Connection, connection: Connection) -> None:
    client.force_login(StaffFactory.create(may="^view_"))
    for model in ("connection", "mapping"):
        assert client.get(f"{BASE}/{model}/add/").status_code == 403


def test_a_new_mapping_asks_for_its_connection_where_there_are_several_kinds(
    admin: Client, subscription: Subscription, webhook: Connection, connection: Connection
) -> None:
    links = links_of(page(admin, f"mapping/add/?empty=1&subscription={subscription.pk}"))
    assert set(links) == {"Receiver", "Zendesk"}
    for title, row in (("Receiver", webhook), ("Zendesk", connection)):
        asked = parse_qs(links[title].removeprefix("?"))
        assert asked == {"empty": ["1"], "subscription": [str(subscription.pk)], "connection": [str(row.pk)]}
    of_webhook = page(admin, f"mapping/add/{links['Receiver']}")
    shown = form_of(of_webhook)
    assert ("template" in shown, "subject" in shown) == (True, False)
    assert (shown["connection"], shown["subscription"]) == (str(webhook.pk), str(subscription.pk))
    choices = re.findall(r'<select[^>]*name="connection".*?</select>', of_webhook, re.DOTALL)[0]
    assert re.findall(r'<option value="(\d+)"', choices) == [str(webhook.pk)]
    shown = form_of(page(admin, f"mapping/add/{links['Zendesk']}"))
    assert ("template" in shown, "subject" in shown) == (False, True)


def test_a_new_mapping_asks_nothing_where_all_connections_are_of_one_kind(admin: Client, webhook: Connection) -> None:
    WebhookFactory.create(name="Another", url=webhook.settings["address"])
    ConnectionFactory.create(is_active=False)
    assert "template" in form_of(page(admin, "mapping/add/?empty=1"))


# --- What it cannot do is not shown ----------------------------------------------------------------------------------


OF_ZENDESK_ALONE = [
    "Share of the rate limit", "Rate limit", "Backlog threshold", "Look up before creating", "Ticket status",
    "Move to OAuth",
]  # fmt: skip


def test_the_page_of_a_connection_shows_only_what_its_kind_can_do(
    admin: Client, webhook: Connection, connection: Connection
) -> None:
    seen = own_text(page(admin, f"connection/{connection.pk}/change/"))
    assert [words for words in OF_ZENDESK_ALONE if words not in seen] == []
    path = f"connection/{webhook.pk}/change/"
    seen = own_text(page(admin, path))
    assert [words for words in [*OF_ZENDESK_ALONE, "Redirect URL", "OAuth", "icket"] if words in seen] == []
    assert {"limit_share", "backlog_minutes", "look_up_before_create"} & set(form_of(page(admin, path))) == set()
    assert {"Retry schedule", "Queue", "Outage protection", "Test connection"} <= set(
        re.findall("Retry schedule|Queue|Outage protection|Test connection", seen)
    )


def test_the_form_of_a_new_connection_shows_only_what_its_kind_can_do(admin: Client, portal: Any) -> None:
    assert "Redirect URL" in own_text(page(admin, "connection/add/?kind=zendesk"))
    seen = own_text(page(admin, "connection/add/?kind=webhook"))
    assert [words for words in [*OF_ZENDESK_ALONE, "Redirect URL", "OAuth"] if words in seen] == []


def test_who_may_only_look_sees_only_what_the_kind_can_do(
    client: Client, webhook: Connection, connection: Connection
) -> None:
    client.force_login(StaffFactory.create(may="^view_"))
    assert "Rate limit" in own_text(page(client, f"connection/{connection.pk}/change/"))
    seen = own_text(page(client, f"connection/{webhook.pk}/change/"))
    assert [words for words in [*OF_ZENDESK_ALONE, "Redirect URL", "whsec_"] if words in seen] == []


def test_pages_about_what_it_cannot_do_are_not_found(admin: Client, to_receiver: Mapping, mapping: Mapping) -> None:
    for path in ("connection/{0.connection_id}/status/", "mapping/{0.pk}/hold/"):
        assert admin.get(f"{BASE}/{path.format(mapping)}").status_code == 200
        assert admin.get(f"{BASE}/{path.format(to_receiver)}").status_code == 404


def test_the_page_of_a_mapping_shows_only_what_its_kind_can_do(
    admin: Client, to_receiver: Mapping, mapping: Mapping
) -> None:
    of_zendesk = ["Hold this flood", "Refresh lists", "Lists from Zendesk|The lists from Zendesk"]
    seen = own_text(page(admin, f"mapping/{mapping.pk}/change/"))
    assert [words for words in of_zendesk if not re.search(words, seen)] == []
    seen = own_text(page(admin, f"mapping/{to_receiver.pk}/change/"))
    assert [words for words in ["Hold this flood", "Refresh lists", "ists from", "Not read yet"] if words in seen] == []


def test_the_page_of_a_mapping_calls_what_it_makes_by_its_name(admin: Client, to_receiver: Mapping) -> None:
    assert "icket" not in own_text(page(admin, f"mapping/{to_receiver.pk}/change/"))


def test_the_list_of_mappings_says_nothing_of_a_check_that_there_is_not(admin: Client, to_receiver: Mapping) -> None:
    assert "Not checked" not in own_text(page(admin, "mapping/"))


def test_a_preview_shows_the_message_by_the_names_of_the_template(admin: Client, to_receiver: Mapping) -> None:
    Mapping.objects.update(settings={"template": '{"headline": "{{ author }}"}'})
    answer = save(admin, f"mapping/{to_receiver.pk}/change/", _preview="1", preview_of="example", _save=None)
    seen = own_text(answer.content.decode())
    assert "Headline Ann Example" in seen
    assert "Message for" in seen
    assert "icket" not in seen


def delivered(push: Push, receiver: Receiver, work: Work) -> None:
    push_post(push)
    work()


def tried_once(push: Push, receiver: Receiver, work: Work) -> None:
    receiver.answer(500)
    delivered(push, receiver, work)


def given_up(push: Push, receiver: Receiver, work: Work) -> None:
    Connection.objects.update(retry_delays=[1.0])
    tried_once(push, receiver, work)
    move()
    work()
    assert Delivery.objects.get().state == State.FAILED


def refused_for_good(push: Push, receiver: Receiver, work: Work) -> None:
    Connection.objects.update(retry_delays=[1.0])
    receiver.answer(422)
    delivered(push, receiver, work)
    move()
    work()
    assert Delivery.objects.get().state == State.FAILED


def cannot_be_rendered(push: Push, receiver: Receiver, work: Work) -> None:
    Mapping.objects.update(settings={"template": "{"})
    delivered(push, receiver, work)
    assert Delivery.objects.get().state == State.FAILED


@pytest.mark.parametrize("become", [delivered, tried_once, given_up, refused_for_good, cannot_be_rendered])
def test_the_page_of_a_delivery_speaks_of_a_message_and_not_of_a_ticket(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work,
    become: Callable[[Push, Receiver, Work], None],
) -> None:  # fmt: skip
    become(push, receiver, work)
    seen = own_text(page(admin, f"delivery/{Delivery.objects.get().pk}/change/"))
    assert re.search(r"\b[Mm]essage\b", seen)
    assert re.findall(r"[^.]{0,40}[Tt]icket[^.]{0,20}", seen) == []


def test_the_page_of_a_delivery_has_no_status_that_never_comes(
    admin: Client, push: Push, to_receiver: Mapping, work: Work
) -> None:
    push_post(push)
    work()
    seen = own_text(page(admin, f"delivery/{Delivery.objects.get().pk}/change/"))
    assert "Message created." in seen
    assert re.findall("[Nn]ot known yet|(?:Ticket|Message) status|Assignee|[Ss]olved", seen) == []


def test_what_has_no_address_is_no_link(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    push_post(push)
    work()
    number = receiver.calls[0].headers["webhook-id"]
    for path in ("delivery/", f"delivery/{Delivery.objects.get().pk}/change/"):
        html = page(admin, path)
        assert number in own_text(html)
        assert 'href=""' not in html


def test_a_repeat_is_not_promised_to_be_harmless(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    """Nothing at the receiver can be asked, so only the receiver itself can see to that."""
    Connection.objects.update(retry_delays=[1.0])
    receiver.answer(500)
    push_post(push)
    for _ in range(2):
        work()
        seen = own_text(page(admin, f"delivery/{Delivery.objects.get().pk}/change/"))
        assert "will not create a second" not in seen
        assert "looks for it first" not in seen
        move()
    assert "A message may exist" in seen


@pytest.mark.parametrize(
    ("become", "actions"),
    [(delivered, ["retry_now", "rebuild", "cancel"]), (given_up, ["cancel"]), (refused_for_good, ["retry_now"])],
)
def test_what_an_action_says_is_about_messages(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work,
    become: Callable[[Push, Receiver, Work], None], actions: list[str],
) -> None:  # fmt: skip
    become(push, receiver, work)
    (delivery,) = Delivery.objects.all()
    for action in actions:
        pressed = {"action": action, "_selected_action": [delivery.pk]}
        answer = admin.post(f"{BASE}/delivery/", pressed, follow=True)
        said = [str(message) for message in answer.context["messages"]]
        assert said
        assert [words for words in said if "icket" in words] == []


# --- Testing the connection ------------------------------------------------------------------------------------------


def test_testing_sends_a_signed_ping_and_tells_the_status(
    admin: Client, webhook: Connection, receiver: Receiver
) -> None:
    receiver.answer(202, "taken")
    html = act(admin, "connection", "test_connection", webhook)
    (ping,) = receiver.calls
    assert (ping.method, ping.path, verified(ping)) == ("POST", PATH, {"type": "ping"})
    assert ping.headers["webhook-id"].startswith("ping_")
    assert "Test passed: The receiver took a test event of type “ping” (status 202)." in html
    assert "status 202" in own_text(page(admin, f"connection/{webhook.pk}/change/"))
    act(admin, "connection", "test_connection", webhook)
    assert receiver.calls[0].headers["webhook-id"] != receiver.calls[1].headers["webhook-id"]


def test_a_refused_ping_is_told_and_pauses_nothing(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    webhook = to_receiver.connection
    for status in (400, 401, 404, 410, 429, 500, 302):
        receiver.answer(status, "words of the receiver")
        html = act(admin, "connection", "test_connection", webhook)
        assert re.search(rf"\((status )?{status}\)", html)
        assert "Test passed" not in html
        webhook.refresh_from_db()
        assert (webhook.paused_at, webhook.breaker_opened_at) == (None, None)
        assert [check["ok"] for check in webhook.checks] == [False]
    receiver.answer(204)
    push_post(push)
    work()
    assert Delivery.objects.get().state == State.DELIVERED


def test_a_refused_ping_resumes_nothing(
    admin: Client, push: Push, to_receiver: Mapping, receiver: Receiver, work: Work
) -> None:
    receiver.answer(410)
    push_post(push)
    work()
    act(admin, "connection", "test_connection", to_receiver.connection)
    assert is_paused_for_a_person(to_receiver.connection)


def test_a_receiver_that_is_not_there_is_told(admin: Client, webhook: Connection) -> None:
    Connection.objects.update(settings={"address": "http://127.0.0.1:9/hooks"})
    assert "cannot be reached" in act(admin, "connection", "test_connection", webhook)


# --- Capabilities ----------------------------------------------------------------------------------------------------


CAPABILITIES = [
    found
    for found in vars(capabilities).values()
    if getattr(found, "_is_protocol", False) and found.__module__ == capabilities.__name__
]


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_zendesk_can_do_all_but_what_is_listed_and_the_webhook_issues_secrets_only(capability: type) -> None:
    others = (IssuesSecret, Draws, AnswersInThreads, UpdatesThings, CountsBursts)
    assert isinstance(DESTINATIONS["zendesk"], capability) is (capability not in others)
    assert isinstance(DESTINATIONS["webhook"], capability) is (capability in (IssuesSecret, MarksTests))


def test_the_readme_names_every_capability_that_a_destination_may_have() -> None:
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", (ROOT / "README.md").read_text()))
    # A part of two others, which is not asked for on its own when a destination is added.
    assert {found.__name__ for found in CAPABILITIES} - {"FindsComments"} <= named


@pytest.mark.parametrize("missing", ["build", "send", "check"])
def test_a_destination_without_its_core_cannot_be_made(missing: str) -> None:
    whole = {name: lambda *_: None for name in ("build", "send", "check")}
    assert isinstance(type("Whole", (Destination,), whole)(), Destination)
    without = {name: method for name, method in whole.items() if name != missing}
    with pytest.raises(TypeError, match=missing):
        type("Incomplete", (Destination,), without)()


def test_a_destination_with_nothing_but_its_core_has_no_capability() -> None:
    least = type("Least", (Destination,), {name: lambda *_: None for name in ("build", "send", "check")})()
    assert [found.__name__ for found in CAPABILITIES if isinstance(least, found)] == []


# --- Beside Zendesk --------------------------------------------------------------------------------------------------


def test_one_post_goes_to_both_kinds_and_neither_waits_for_the_other(
    push: Push, mapping: Mapping, to_receiver: Mapping, sandbox: StandIn, receiver: Receiver, work: Work
) -> None:
    receiver.answer(410)
    push_post(push)
    work()
    assert len(sandbox.tickets()) == 1
    assert (Delivery.objects.filter(state=State.DELIVERED).count(), waiting()) == (1, 1)
    assert Connection.objects.get(kind="zendesk").paused_at is None


def test_a_test_is_marked_in_its_json(admin: Client, to_receiver: Mapping, receiver: Receiver) -> None:
    path = f"mapping/{to_receiver.pk}/change/"
    asked = form_of(press(admin, path, "_test", "0"))
    answer = admin.post(f"/admin/integrations/{path}", asked | {"_test_now": "0"}).content.decode()
    assert "Test message" in answer
    assert [call.content.get("casebridge_test") for call in receiver.calls] == [True]
