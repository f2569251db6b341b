"""Slack: what a message looks like, where it goes, what each answer means, and what is never sent twice in silence."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.utils import timezone
from factory.declarations import Dict, SelfAttribute

from integrations.connections import Session
from integrations.delivery.claim import claim
from integrations.delivery.record import begin_attempt
from integrations.delivery.send import hold_permits, send
from integrations.destinations import DESTINATIONS
from integrations.destinations.slack import text
from integrations.flow.rate_limit import SHARE_OF_LIMIT, calls_per_minute
from integrations.models import Attempt, Connection, Delivery, Mapping, Subscription
from integrations.routing.actions import rebuild, retry_now
from tests import payloads
from tests.deliveries import became, labelled, move
from tests.factories import ConnectionFactory, MappingFactory, secret
from tests.stand_in import StandIn
from tests.test_admin import BASE, form_of, page, save

State = Delivery.State
TOKEN = "xoxb-sandbox-token"
WEBHOOK_PATH = "/services/T0SANDBOX/B0SANDBOX/sandbox-webhook"
LINK = "https://twitter.com/ann/status/7"


class BotFactory(ConnectionFactory):
    name = "Slack"
    kind = "slack"
    settings = Dict({"address": SelfAttribute("..url"), "sign_in": "bot", "people": "ann@example.com"})
    secrets = secret(bot_token=TOKEN)


class ToChannelFactory(MappingFactory):
    name = "To the channel"
    settings = Dict({"target": "C0SOCIAL"})


@pytest.fixture
def bot(portal: Any, sandbox: StandIn) -> Connection:
    return BotFactory.create(url=sandbox.url)


@pytest.fixture
def to_channel(subscription: Subscription, bot: Connection) -> Mapping:
    return ToChannelFactory.create(subscription=subscription, connection=bot)


@pytest.fixture
def by_webhook(portal: Any, sandbox: StandIn, subscription: Subscription) -> Mapping:
    connection = ConnectionFactory.create(
        kind="slack",
        settings={"address": sandbox.url, "sign_in": "webhook"},
        secrets=secret(webhook_url=f"{sandbox.url}{WEBHOOK_PATH}").function(),
    )
    return MappingFactory.create(subscription=subscription, connection=connection, settings={})


def push_post(push: Any, entity_id: str = "twitter:7", **fields: Any) -> None:
    assert push(payloads.notification(payloads.item(entity_id, **fields))).status_code == 200


def work_again(work: Any, times: int) -> None:
    """As if so much time went by that whatever is tried again is due each time."""
    for _ in range(times):
        work()
        move()


def block(message: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in message["blocks"] if each["type"] == kind)
    return found


def of_delivery() -> tuple[str, str]:
    delivery = Delivery.objects.get()
    return delivery.state, delivery.last_error


# --- A message -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("paced_by_slack")
def test_messages_are_a_second_apart(to_channel: Mapping, work: Any) -> None:
    labelled(to_channel)
    work()
    assert calls_per_minute(to_channel.connection_id) == pytest.approx(60 * SHARE_OF_LIMIT, rel=0.01)


def test_a_labelled_post_becomes_a_message_in_the_channel(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn
) -> None:
    push_post(push, text="Where is my parcel?", author="Ann", link=LINK)
    work()
    (message,) = sandbox.messages()
    assert message["channel"] == "C0SOCIAL"
    assert block(message, "header")["text"]["text"] == "CreateCase: Ann on twitter"
    assert "Where is my parcel?" in block(message, "section")["text"]["text"]
    assert block(message, "context")["elements"][0]["text"] == f"<{LINK}|Open the post>"
    assert "Where is my parcel?" in message["text"]
    assert (message["unfurl_links"], message["unfurl_media"]) == (False, False)
    delivery = Delivery.objects.get()
    assert message["metadata"]["event_payload"] == {"id": delivery.external_id}
    assert delivery.state == State.DELIVERED
    assert became(delivery).number == f"C0SOCIAL:{message['ts']}"
    assert became(delivery).url.startswith(f"{sandbox.url}/archives/C0SOCIAL/p")


def test_one_person_gets_a_message_by_id(push: Any, work: Any, to_channel: Mapping, sandbox: StandIn) -> None:
    Mapping.objects.update(settings={"target": "U0ANN"})
    push_post(push)
    work()
    assert [message["channel"] for message in sandbox.messages()] == ["D0ANN"]


def test_an_incoming_webhook_posts_into_its_channel_and_its_address_is_in_no_log(
    push: Any, work: Any, by_webhook: Mapping, sandbox: StandIn
) -> None:
    push_post(push, text="Help!")
    work()
    (message,) = sandbox.messages()
    assert message["channel"] == "C0SOCIAL"
    delivery = Delivery.objects.get()
    assert (became(delivery).number, became(delivery).url) == (delivery.external_id, "")
    assert "sandbox-webhook" not in json.dumps(Attempt.objects.get().exchanges)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("<!channel> & <@U0ANN> <https://evil.example|your bank>",
         "&lt;!channel&gt; &amp; &lt;@U0ANN&gt; &lt;https://evil.example|your bank&gt;"),
        ("&lt;", "&amp;lt;"),
        ("\ue001!here\ue002", "!here"),
        ("a\u202eb", "ab"),
    ],
)  # fmt: skip
def test_nothing_in_a_post_is_mark_up(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn, written: str, shown: str
) -> None:
    Mapping.objects.update(settings={"target": "C0SOCIAL", "text": "*{{ text }}*"})
    push_post(push, text=written)
    work()
    assert block(sandbox.messages()[0], "section")["text"]["text"] == f"*{shown}*"


@pytest.mark.parametrize("most", [4, 5, 6, 9, 10, 11])
def test_a_text_is_cut_after_escaping_and_never_within_an_escape(most: int) -> None:
    rendered = str(text.hidden({"text": "&&&&"})["text"])
    shown = text.escaped(rendered, most)
    assert len(shown) <= most
    assert shown.removesuffix("…") == "&amp;" * ((most - 1) // 5)


def test_a_very_long_post_is_taken(push: Any, work: Any, to_channel: Mapping, sandbox: StandIn) -> None:
    Mapping.objects.update(settings={"target": "C0SOCIAL", "title": "{{ text }}", "text": "{{ text }}"})
    push_post(push, text="<&>" * 30_000, author="A" * 5000)
    work()
    (message,) = sandbox.messages()
    assert len(block(message, "section")["text"]["text"]) <= 3000
    assert len(block(message, "header")["text"]["text"]) == 150


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "https://x.example/a|b>c d", "http://[", "", "ftp://x.example"]
)
def test_only_a_link_that_a_browser_opens_is_a_link(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn, link: str
) -> None:
    push_post(push, link=link)
    work()
    links = [each for each in sandbox.messages()[0]["blocks"] if each["type"] == "context"]
    shown = [each["elements"][0]["text"] for each in links]
    assert shown == (["<https://x.example/a%7Cb%3Ec%20d|Open the post>"] if "x.example/a" in link else [])


@pytest.mark.parametrize(
    ("mrkdwn", "shown"),
    [
        ("*b* _i_ ~s~ `c`", "<b>b</b> <i>i</i> <s>s</s> <code>c</code>"),
        ("2*3*4 snake_case_name", "2*3*4 snake_case_name"),
        (
            "<https://x.example/?a=1&amp;b=2|here> &lt;b&gt;",
            '<a href="https://x.example/?a=1&amp;b=2">here</a> &lt;b&gt;',
        ),
        ("<https://x.example>", '<a href="https://x.example">https://x.example</a>'),
        ("* no *", "* no *"),
    ],
)
def test_the_preview_shows_a_message_as_slack_does(admin: Any, to_channel: Mapping, mrkdwn: str, shown: str) -> None:
    content = {"channel": "C0SOCIAL", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": mrkdwn}}]}
    html = render_to_string("admin/integrations/drawn.html", {"parts": DESTINATIONS["slack"].draw(json.dumps(content))})  # type: ignore[attr-defined]
    assert shown in re.sub(r' class="cb-link"| target="_blank"| rel="[^"]*"', "", html)


def test_a_mappings_preview_and_a_deliverys_page_draw_the_message(
    admin: Any, push: Any, work: Any, to_channel: Mapping
) -> None:
    typed = form_of(page(admin, f"mapping/{to_channel.pk}/change/")) | {"target": "C0SOCIAL", "_preview": "1"}
    html = admin.post(f"{BASE}/mapping/{to_channel.pk}/change/", typed).content.decode()
    assert 'class="cb-drawn-header" dir="auto">CreateCase: Ann Example on twitter' in html
    push_post(push, text="<b>Help</b>")
    work()
    html = page(admin, f"delivery/{Delivery.objects.get().pk}/change/")
    assert 'class="cb-drawn-section" dir="auto">&lt;b&gt;Help&lt;/b&gt;' in html


# --- Answers ---------------------------------------------------------------------------------------------------------

REFUSALS = {
    "channel_not_found": ("does not find the channel", "/invite", False),
    "not_in_channel": ("not in the channel", "/invite", False),
    "is_archived": ("archived", "another channel", False),
    "user_disabled": ("no longer, in the Slack workspace", "another person", False),
    "restricted_action": ("may not post in this channel", "another channel", False),
    "messages_tab_disabled": ("may not write to people", "Messages tab", False),
    "token_revoked": ("no longer accepts the bot token", "new token", True),
    "missing_scope": ("lacks a permission", "OAuth & Permissions", True),
    "ekm_access_denied": ("forbids posting", "administrator", True),
    "message_limit_exceeded": ("full", "tomorrow", False),
    "never_heard_of": ("refused the message (never_heard_of)", "documentation", False),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_says_what_happened_and_what_to_do(
    push: Any, work: Any, to_channel: Mapping, bot: Connection, sandbox: StandIn, code: str
) -> None:
    message, remedy, pauses = REFUSALS[code]
    sandbox.add_fault(
        "answer", api="slack", path="/api/chat", status=200, body=json.dumps({"ok": False, "error": code})
    )
    push_post(push)
    work()
    state, error = of_delivery()
    assert message in error
    assert remedy in error
    assert state == (State.PENDING if pauses else State.FAILED)
    bot.refresh_from_db()
    assert (bot.paused_at is not None) == pauses
    assert len(sandbox.calls("slack")) == 1


def test_a_missing_scope_is_named(push: Any, work: Any, to_channel: Mapping, sandbox: StandIn) -> None:
    answer = {"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "im:write"}
    sandbox.add_fault("answer", api="slack", status=200, body=json.dumps(answer))
    push_post(push)
    work()
    assert "chat:write" in of_delivery()[1]


@pytest.mark.parametrize(
    ("status", "body"),
    [(429, '{"ok": false, "error": "ratelimited"}'), (200, '{"ok": false, "error": "rate_limited"}')],
)
def test_a_limit_pauses_for_as_long_as_slack_says_and_uses_up_no_try(
    push: Any, work: Any, to_channel: Mapping, bot: Connection, sandbox: StandIn, status: int, body: str
) -> None:
    sandbox.add_fault("answer", api="slack", status=status, body=body, headers=[["Retry-After", "30"]], times=1)
    push_post(push)
    work()
    bot.refresh_from_db()
    assert bot.paused_until is not None
    assert 20 < (bot.paused_until - bot.paused_at).total_seconds() <= 33  # type: ignore[operator]
    assert (Delivery.objects.get().state, Delivery.objects.get().tries) == (State.PENDING, 0)


@pytest.mark.parametrize(
    ("path_gone", "body", "status", "message"),
    [
        (True, "no_service", 404, "no longer works"),
        (False, "channel_is_archived", 410, "no longer works"),
        (False, "action_prohibited", 403, "forbids posting"),
        (False, "invalid_payload", 400, "refused the message"),
    ],
)
def test_what_an_incoming_webhook_answers_is_told_in_words(
    push: Any, work: Any, by_webhook: Mapping, sandbox: StandIn, path_gone: bool, body: str, status: int, message: str
) -> None:
    sandbox.add_fault("answer", api="slack", status=status, body=body)
    push_post(push)
    work()
    assert message in of_delivery()[1]


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long"])
def test_a_message_whose_layout_is_refused_is_sent_as_plain_text(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn, code: str
) -> None:
    refusal = json.dumps({"ok": False, "error": code})
    sandbox.add_fault("answer", api="slack", path="/api/chat.post", status=200, body=refusal, times=1)
    push_post(push, text="Help!")
    work()
    (message,) = sandbox.messages()
    assert "blocks" not in message
    assert "Help!" in message["text"]
    assert of_delivery()[0] == State.DELIVERED
    assert code in Attempt.objects.get().detail


# --- Never twice in silence ------------------------------------------------------------------------------------------


def test_an_unknown_outcome_is_sent_once_more_and_the_page_says_that_it_may_stand_twice(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn
) -> None:
    sandbox.add_fault("hang_up_after", api="slack", times=1)
    push_post(push)
    work()
    assert of_delivery()[0] == State.PENDING
    move()
    work()
    assert len(sandbox.messages()) == 2
    first, second = ({**each, "ts": ""} for each in sandbox.messages())
    assert first == second
    assert of_delivery()[0] == State.DELIVERED
    assert "may have been sent twice" in Attempt.objects.get(number=2).detail
    assert "may have been sent twice" in Delivery.objects.get().remarks
    to_channel.refresh_from_db()
    assert to_channel.dropped == ""


def test_a_persons_retry_sends_it_once_and_not_again_by_itself(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn
) -> None:
    sandbox.add_fault("hang_up_after", api="slack")
    push_post(push)
    work_again(work, 3)
    assert len(sandbox.messages()) == 2
    retry_now(Delivery.objects.all())
    work_again(work, 3)
    assert (of_delivery()[0], len(sandbox.messages())) == (State.FAILED, 3)
    assert "may have been sent twice" in " ".join(rebuild(Delivery.objects.all()).remarks)


@pytest.mark.parametrize("url", ["https://[abc/services/T/B/X", "https://hooks.slack.com\u2100x/services/T/B/X"])
def test_whatever_is_typed_as_a_webhooks_url_is_refused_beside_its_field(admin: Any, portal: Any, url: str) -> None:
    answer = save(admin, "connection/add/?kind=slack", name="Slack", sign_in="webhook", webhook_url=url)
    assert answer.status_code == 200
    assert "This is not an address" in answer.content.decode()


def test_without_the_scope_for_people_channels_are_offered_all_the_same(bot: Connection, sandbox: StandIn) -> None:
    refusal = json.dumps({"ok": False, "error": "missing_scope", "needed": "users:read.email"})
    sandbox.add_fault("answer", api="slack", path="/api/users.", status=200, body=refusal)
    session = Session(bot)
    lists, problems = session.ask(lambda credentials: DESTINATIONS["slack"].read_lists(session.client, credentials))  # type: ignore[attr-defined]
    assert len(lists["channels"]) == 4
    assert "users:read.email" in problems["people"]


def test_a_second_unknown_outcome_is_left_to_a_person(
    push: Any, work: Any, to_channel: Mapping, sandbox: StandIn
) -> None:
    sandbox.add_fault("hang_up_after", api="slack")
    push_post(push)
    work_again(work, 5)
    state, error = of_delivery()
    assert state == State.FAILED
    assert "A message may exist in Slack" in error
    assert len(sandbox.messages()) == 2


def die_after_sending(mapping: Mapping) -> None:
    """The steps of a try as far as the call; then the process is gone, and its lease with it."""
    claimed = claim(mapping.connection)
    assert claimed is not None
    hold_permits(claimed)
    begin_attempt(claimed)
    send(claimed)
    Delivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))


def test_processes_that_die_over_a_message_post_it_twice_at_most_and_a_person_decides(
    work: Any, to_channel: Mapping, sandbox: StandIn
) -> None:
    labelled(to_channel)
    die_after_sending(to_channel)
    die_after_sending(to_channel)
    work()
    state, error = of_delivery()
    assert (state, len(sandbox.messages())) == (State.FAILED, 2)
    assert "Look there before you press “Retry now”" in error
    retry_now(Delivery.objects.all())
    work()
    assert (of_delivery()[0], len(sandbox.messages())) == (State.DELIVERED, 3)
