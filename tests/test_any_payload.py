"""Whatever Khoros sends ends as a state that a person can read: the documented payloads with anything put anywhere."""

import copy
import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.domain.conditions import FIELDS, all_of
from integrations.domain.post import FACTS, Post, Unreadable
from integrations.models import Connection, Delivery, Mapping, Notification, Subscription
from integrations.routing.route import route_notification
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.envelope import Envelope, open_envelope
from integrations.sources.khoros.events import EVENTS
from integrations.sources.khoros.examples import example
from integrations.sources.khoros.parse import parse
from integrations.sources.khoros.pull import pulled
from tests import payloads
from tests.factories import MappingFactory, NotificationFactory
from tests.limits import within

FIXTURES = Path(__file__).parent / "fixtures/khoros"
AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
PAYLOADS: list[dict[str, Any]] = [
    *(json.loads(path.read_text()) for path in sorted(FIXTURES.glob("*-applied.*.json"))),
    *({"eventUuid": "u", **example(name, at=AT)} for name in (*EVENTS, "never-heard-of")),
]


def nested(depth: int, name: str = "") -> Any:
    """Lists inside of lists, or objects where a name is given."""
    value: Any = 1
    for _ in range(depth):
        value = {name: value} if name else [value]
    return value


class Raw:
    """A piece of JSON that Python would not write: put in as it stands."""

    def __init__(self, text: str) -> None:
        self.text = text


ODD: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**40, 1.5, 8424.0, "", " ", "\x00", "a\x00b", "\ud800",
    "x" * 5000, "9" * 5000, "1e999", "{", "[[[", '{"items": [{"entityId": []}]}', [], [[]], [None], {}, [{}], {"": {}},
    {"id": {}}, [[{}]], {"name": ["x"]}, ["Message"], {"sfEntityType": []}, "Wed Apr 12 09:01:11 GMT+99:99 2017",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", -62135596800, 253402300799, "https://[::1", "https://a:x",
    "multi_channel", "İ" * 300, ":", "::" * 200, nested(20), nested(20, "a"), Raw("1e999"), Raw("-1e999"),
    Raw("NaN"), Raw("9" * 4000), Raw("0." + "1" * 400), Raw("[" * 300 + "]" * 300), Raw("[" * 940 + "]" * 940),
    Raw('{"a":' * 940 + "1" + "}" * 940), Raw("[" * 3000 + "]" * 3000), Raw('"\\ud800\\udc00\\udfff"'),
]  # fmt: skip
anything = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be replaced."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def replaced(payload: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.deepcopy(payload)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return changed


def as_body(value: Any) -> bytes:
    """JSON with the raw pieces in their places."""
    raw: list[str] = []

    def keep(piece: Raw) -> str:
        raw.append(piece.text)
        return f"@@raw {len(raw) - 1}@@"

    body = json.dumps(value, default=keep)
    for number, text in enumerate(raw):
        body = body.replace(f'"@@raw {number}@@"', text)
    return body.encode("utf-8", "replace")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    payload: Any = draw(st.sampled_from(PAYLOADS))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(payload))))
        payload = replaced(payload, path, draw(anything))
    return as_body(payload)


def every_single_change() -> Iterator[bytes]:
    for payload in (PAYLOADS[0], *(example(name, at=AT) for name in ("message-published", "credential-auth",
                    "pass-conversation-control", "error-custom-crm", "vault-user-create"))):  # fmt: skip
        for path in places(payload):
            for odd in ODD:
                yield as_body(replaced(payload, path, odd))


TEXTS = {field.name for field in fields(Post) if field.type in ("str", str)} - {"kind"}
TUPLES = {"labels", "networks", "notes"}


def check_post(post: Post) -> None:
    for name in TEXTS:
        value = getattr(post, name)
        assert isinstance(value, str), name
        assert "\x00" not in value
        value.encode()
    for name in TUPLES:
        assert isinstance(getattr(post, name), tuple), name
        assert all(isinstance(entry, str) for entry in getattr(post, name)), name
    assert post.kind in ("post", "message", "alert")
    assert 0 < len(post.post_id) <= 250
    assert len(post.network) <= 60
    assert post.followers is None or (type(post.followers) is int and 0 <= post.followers < 2**63)
    assert post.posted_at is None or post.posted_at.tzinfo is UTC
    for name, value in post.facts:
        assert name in FACTS
        assert isinstance(value, str)
        value.encode()


def check_envelope(envelope: Envelope) -> None:
    assert envelope.event_key
    assert len(envelope.event_key) <= 140
    assert "\x00" not in envelope.event_key + envelope.event_name + envelope.unreadable_because
    (envelope.event_key + envelope.event_name + envelope.unreadable_because).encode()
    assert len(envelope.event_name) <= 100
    assert isinstance(envelope.body, bytes)


def check(body: bytes) -> bool:
    """Whether it was read."""
    check_envelope(open_envelope(body))
    try:
        event = parse(body, subscribed_event="stream-item-label-applied")
    except Unreadable:
        return False
    assert isinstance(event.name, str)
    for post in event.posts:
        check_post(post)
    return True


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_payload_with_anything_anywhere_is_read_or_told_to_be_unreadable(body: bytes) -> None:
    check(body)


def test_each_value_of_the_documented_payloads_may_be_anything() -> None:
    are_read = [check(body) for body in every_single_change()]
    assert sum(are_read) > len(are_read) / 2, "one odd value seldom spoils a whole notification"


@settings(max_examples=100, deadline=None)
@given(mutated() | anything.map(as_body), st.sampled_from(["event", "data", "payload", "body"]))
def test_a_fetched_event_may_be_anything(body: bytes, wrapper: str) -> None:
    try:
        row = json.loads(body)
    except (ValueError, RecursionError):
        row = body.decode()
    for each in (row, {wrapper: row}, [row], json.dumps({wrapper: body.decode()})):
        check_envelope(pulled(each, "stream-item-label-applied"))


@pytest.mark.parametrize("name", ["never-heard-of", "stream-item-label-applied", "message-published"])
def test_every_depth_is_read_or_told_to_be_too_deep(name: str) -> None:
    """Whatever was just shallow enough to be read has to be written, quoted and hashed as well."""
    shapes = ["%s", '{"x": %s}', '{"items": [{"text": %s}]}', '{"message": {"x": %s}}']
    for depth in range(700, 1000):
        for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            for shape in shapes:
                check(f'{{"eventName": "{name}", "data": {shape % deep}}}'.encode())


def test_a_truth_is_no_id_of_an_event() -> None:
    first, second = (open_envelope(as_body(payloads.notification(eventUuid=True))) for _ in range(2))
    assert first.event_key != second.event_key
    assert first.event_key.startswith("content:")


@pytest.mark.parametrize("depth", [100, 900, 980, 990])
def test_a_fetched_event_of_any_depth_gets_a_key_of_its_own(depth: int) -> None:
    rows = [{"eventUuid": uuid, "data": nested(depth)} for uuid in ("a", "b")]
    first, second = (pulled(row, "stream-item-label-applied") for row in rows)
    check_envelope(first)
    assert first.event_key != second.event_key


@pytest.mark.parametrize(
    "raw", ["Wed Apr 12 09:01:11 GMT+99:99 2017", "Wed Apr 12 09:01:11 -99:99 2017", "Wed Apr 12 09:01:11 +2400 2017"]
)
def test_a_time_zone_that_is_none_is_no_time(raw: str) -> None:
    assert read_time(raw) is None


@pytest.fixture
def mappings(subscription: Subscription, connection: Connection) -> list[Mapping]:
    """Two with every condition, each of which is judged whatever the others say, and one that inserts everything."""
    values = {"followers": 10**18, "weekday": ["Monday"], "time": "09:00-17:00"}
    every = all_of(
        *(
            (name, test, values.get(name, "a|b" if test.startswith("matches") else ["a", "x"]))
            for name, field in FIELDS.items()
            for test in field.tests
        )
    )
    everything = "\n".join(
        f"{name}: {{{{ {name}|oneline|upper }}}}" for name in ("text", "followers", "details", *FACTS)
    )
    settings = {"comment": everything, "tags": [], "case": "conversation", "requester": "author", "context": "note"}
    strict = [
        MappingFactory.create(
            subscription=subscription, connection=connection, name=match, conditions=every | {"match": match}
        )
        for match in ("all", "none")
    ]
    return [
        *strict,
        MappingFactory.create(subscription=subscription, connection=connection, name="All", settings=settings),
    ]


def odd_bodies() -> Iterator[bytes]:
    """Every odd value at every place that is read, several changes to one notification."""
    names = [path for path in places(PAYLOADS[0]) if path]
    for number, odd in enumerate(ODD):
        yield as_body(replaced(PAYLOADS[0], names[number % len(names)], odd))
        items = [payloads.item(f"twitter:{number}-{name}", **{name: odd}) for name in PAYLOADS[0]["data"]["items"][0]]
        content = payloads.notification(*items)
        content["data"]["labels"] = content["createdDate"] = odd
        yield as_body(content)


def test_whatever_arrives_is_routed_unmatched_or_unreadable_in_text(mappings: list[Mapping], admin: Client) -> None:
    for number, body in enumerate(odd_bodies()):
        envelope = open_envelope(body)
        notification = NotificationFactory.create(
            subscription=mappings[0].subscription,
            key=f"{number}",
            event_name=envelope.event_name,
            body=envelope.body,
            happened_at=envelope.happened_at,
            source="caught_up",
        )
        route_notification(notification.pk)
        notification.refresh_from_db()
        assert notification.state in ("routed", "unmatched", "unreadable")
        assert "error in Casebridge" not in notification.reason
        # Every second body has the odd value in every field of a post; a quarter of these are shown, few of the others.
        if number % 8 < 2:
            assert admin.get(f"/admin/integrations/notification/{notification.pk}/change/").status_code == 200
    assert not Delivery.objects.filter(last_error__contains="could not be rendered").exists()
    assert admin.get("/admin/").status_code == 200
    for delivery_id in Delivery.objects.values_list("pk", flat=True)[:10]:
        assert admin.get(f"/admin/integrations/delivery/{delivery_id}/change/").status_code == 200


@pytest.mark.parametrize("odd", [["Message"], {"a": 1}, [], 7, None])
def test_an_entity_type_that_is_no_text_is_read_as_a_post(mappings: list[Mapping], odd: Any) -> None:
    notification = NotificationFactory.create(
        subscription=mappings[0].subscription,
        content=payloads.notification(payloads.item("twitter:1", sfEntityType=odd), sfEntityType=odd),
    )
    route_notification(notification.pk)
    notification.refresh_from_db()
    assert notification.state == Notification.State.ROUTED


def test_what_all_posts_share_does_not_grow_with_their_number(mappings: list[Mapping]) -> None:
    content = payloads.notification(*({"entityId": f"twitter:{number}"} for number in range(20_000)))
    content["data"]["labels"] = [f"label {number}" for number in range(20_000)]
    content["data"]["ruleMatched"] = {"ruleName": "r" * 200_000}
    body = json.dumps(content).encode()
    with within(60):
        posts = parse(body).posts
        assert sum(len(post.details) for post in posts) < 100_000_000
    assert len(posts) == 20_000


def test_a_count_is_a_whole_number_that_a_column_holds() -> None:
    def followers(raw: Any) -> int | None:
        return parse(as_body(payloads.notification(payloads.item(followerCount=raw)))).posts[0].followers

    assert followers("8,424") == followers(8424.0) == followers(Raw("8424.0")) == 8424
    for odd in (2**63, -1, "9" * 400, 1.5, Raw("1e999"), Raw("NaN"), Raw("1e300"), [8424], {"count": 1}, True):
        assert followers(odd) is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=mutated())
def test_any_payload_at_all_ends_in_text(mappings: list[Mapping], body: bytes) -> None:
    envelope = open_envelope(body)
    key = f"{Notification.objects.count()}"
    notification = NotificationFactory.create(subscription=mappings[0].subscription, key=key, body=envelope.body)
    route_notification(notification.pk)
    notification.refresh_from_db()
    assert notification.state in ("routed", "unmatched", "unreadable")
    assert "error in Casebridge" not in notification.reason
