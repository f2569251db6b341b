"""Whatever a post says, or lacks, every destination takes it: one table of posts, run for each of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integrations.destinations import DESTINATIONS
from integrations.domain.conditions import FIELDS, all_of
from integrations.models import Connection, Delivery, Mapping, Notification, Subscription
from tests import payloads
from tests.factories import (
    ConnectionFactory,
    EmailFactory,
    MappingFactory,
    PagerDutyFactory,
    TeamsFactory,
    WallFactory,
)
from tests.receiver import running_receiver
from tests.stand_in import StandIn
from tests.test_signed_webhook import WebhookFactory
from tests.test_slack import BotFactory

MARK_UP = (
    "*b* _i_ ~s~ `c` ```x``` > q <!channel> <!here> <@U0ANN> <https://evil.example|bank> &lt; | {{ text }} {% x %} "
    "<b>bold</b> <script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) \r\nBcc: a@example.com"
)
POSTS: dict[str, dict[str, Any]] = {
    "nothing but an id": {"text": None, "author": None, "link": None},
    "empty": {"text": "", "author": "", "link": "", "network": ""},
    "blanks": {"text": " \n\t ", "author": "\u00a0", "link": " "},
    "100 KB": {"text": "long " * 20_000, "author": "n" * 100_000, "link": "https://x.example/" + "p" * 100_000},
    "100 KB of mark-up": {"text": "<&>*_" * 20_000, "author": "<&>" * 5000},
    "one word of 100 KB": {"text": "x" * 100_000},
    "mark-up": {"text": MARK_UP, "author": MARK_UP, "link": MARK_UP},
    "right to left": {
        "text": "مرحباً \u202e\u2066abc",
        "author": "\u202eevil\u202c",
        "link": "https://x.example/\u202e",
    },
    "wide characters": {"text": "👩‍👩‍👧‍👦" * 2000, "author": "👩‍👩‍👧‍👦" * 200},
    "control characters": {"text": "a\x00b\x07c\x1bd\x85e\u2028f", "author": "a\x00\r\nb"},
    "private use and the end of Unicode": {"text": "\ue000\ue001\ue002\uffff\U0010ffff", "author": "\ufeff"},
    "half a character": {"text": "a\ud83dz", "author": "\udfff"},
    "other types": {"text": ["a"], "author": {"name": "b"}, "link": 7},
}


@pytest.fixture
def mapping_to(sandbox: StandIn, subscription: Subscription) -> Iterator[Callable[[str], Mapping]]:
    """A mapping to a destination of this kind, with the texts that its form suggests."""
    with running_receiver() as receiver:
        made: dict[str, Callable[[], Connection]] = {
            "zendesk": lambda: ConnectionFactory.create(url=sandbox.url),
            "slack": lambda: BotFactory.create(url=sandbox.url),
            "email": lambda: EmailFactory.create(port=sandbox.mail_port),
            "pagerduty": lambda: PagerDutyFactory.create(url=sandbox.url),
            "teams": lambda: TeamsFactory.create(url=sandbox.url),
            "wall": lambda: WallFactory.create().connection,
            "webhook": lambda: WebhookFactory.create(url=f"{receiver.url}/"),
        }

        def make(kind: str) -> Mapping:
            fields = DESTINATIONS[kind].mapping_form.base_fields
            suggested = {name: field.initial for name, field in fields.items() if field.initial is not None}
            if kind == "slack":
                suggested["target"] = "C0SOCIAL"
            if kind == "email":
                suggested["to"] = ["team@example.com"]
            return MappingFactory.create(subscription=subscription, connection=made[kind](), settings=suggested)

        yield make


# Few enough at a time for what takes ten messages at once.
@pytest.mark.parametrize("names", [list(POSTS)[::2], list(POSTS)[1::2]], ids=["some", "others"])
@pytest.mark.parametrize("kind", DESTINATIONS)
def test_every_destination_takes_it(
    push: Any, work: Any, mapping_to: Callable[[str], Mapping], kind: str, names: list[str]
) -> None:
    mapping_to(kind)
    for number, name in enumerate(names):
        body = json.dumps(payloads.notification(payloads.item(f"twitter:{number}", **POSTS[name]))).encode()
        assert push(body).status_code == 200
    work()
    for number, name in enumerate(names):
        delivery = Delivery.objects.get(post_id=f"twitter:{number}")
        assert (name, delivery.state, delivery.last_error) == (name, Delivery.State.DELIVERED, "")
        assert DESTINATIONS[kind].describe(delivery.request)


@pytest.mark.parametrize("name", POSTS)
def test_a_burst_of_them_is_counted_in_one_message_that_slack_takes(
    push: Any, work: Any, mapping_to: Callable[[str], Mapping], sandbox: StandIn, name: str
) -> None:
    mapping = mapping_to("slack")
    Mapping.objects.update(settings=mapping.settings | {"gathers_over": 1})
    for number in range(1, 4):
        body = json.dumps(payloads.notification(payloads.item(f"twitter:{number}", **POSTS[name]))).encode()
        assert push(body).status_code == 200
    work()
    _, message = sandbox.messages()
    assert message["blocks"][0]["text"]["text"] == "2 posts in 1 minute: CreateCase"
    assert "<!channel>" not in message["text"] + message["blocks"][1]["text"]["text"]
    assert Delivery.objects.filter(result="counted", state=Delivery.State.DELIVERED).count() == 2


@pytest.mark.parametrize("name", POSTS)
def test_conditions_judge_each_of_them(push: Any, work: Any, mapping_to: Callable[[str], Mapping], name: str) -> None:
    mapping_to("zendesk")
    rows = [(field, "matches", "(?i)x|y") for field, found in FIELDS.items() if "matches" in found.tests]
    Mapping.objects.update(conditions=all_of(*rows, ("author", "seen_not", None)))
    body = json.dumps(payloads.notification(payloads.item("twitter:7", **POSTS[name]))).encode()
    assert push(body).status_code == 200
    work()
    notification = Notification.objects.get()
    assert notification.state == Notification.State.UNMATCHED
    assert "do not hold" in notification.reason
