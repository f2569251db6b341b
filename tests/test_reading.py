"""Reading Khoros' payloads: tolerant of every shape the vendor's pages show or leave open."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.domain.post import Unreadable
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.envelope import open_envelope
from integrations.sources.khoros.parse import parse
from integrations.sources.khoros.values import read_labels
from tests import payloads

ITEMS = [{"sfEntityType": "StreamItem", "entityId": f"twitter:{number}", "text": "a"} for number in (1, 2)]

FIXTURES = Path(__file__).parent / "fixtures/khoros"


NOTHING: list[Any] = [0, None, "", "soon", True, [], {}, 10**40, "Wed Apr 12 09:01:11 XYZ 2017"]


def post_of(**fields: Any) -> Any:
    return parse(json.dumps(payloads.notification(payloads.item("twitter:1", **fields))).encode()).posts[0]


def test_the_documented_label_notification_is_read_whole() -> None:
    event = parse((FIXTURES / "label-applied.twitter.json").read_bytes())
    post = event.posts[0]
    assert event.name == "stream-item-label-applied"
    assert event.happened_at == datetime(2017, 4, 12, 14, 1, 11, tzinfo=UTC)
    assert (post.post_id, post.network, post.native_id) == ("twitter:<twitterId>", "twitter", "<twitterId>")
    assert (post.text, post.author, post.author_handle, post.author_id) == ("Post Text", "author", "author", "12345678")
    assert (post.followers, post.content_type, post.link) == (8424, "post", "https://twitter.com/link")
    assert post.posted_at == datetime(2011, 5, 26, 18, 23, 31, tzinfo=UTC)
    assert post.in_reply_to == "twitter:855485181481934848"


def test_the_documented_rule_notification_is_read_too() -> None:
    event = parse((FIXTURES / "rule-applied.twitter.json").read_bytes())
    assert (event.name, event.posts[0].post_id, event.posts[0].in_reply_to) == ("rule-applied", "twitter:12345", "")


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("2011-05-26T18:23:31.000Z", datetime(2011, 5, 26, 18, 23, 31, tzinfo=UTC)),
        ("2011-05-26T18:23:31+02:00", datetime(2011, 5, 26, 16, 23, 31, tzinfo=UTC)),
        ("Wed Apr 12 09:01:11 CDT 2017", datetime(2017, 4, 12, 14, 1, 11, tzinfo=UTC)),
        ("Fri Jan  6 09:01:11 UTC 2017", datetime(2017, 1, 6, 9, 1, 11, tzinfo=UTC)),
        ("Fri Jan 06 09:01:11 GMT+02:00 2017", datetime(2017, 1, 6, 7, 1, 11, tzinfo=UTC)),
        (1520987518000, datetime(2018, 3, 14, 0, 31, 58, tzinfo=UTC)),
        ("1520987518000", datetime(2018, 3, 14, 0, 31, 58, tzinfo=UTC)),
        (1520987518, datetime(2018, 3, 14, 0, 31, 58, tzinfo=UTC)),
        *[(nothing, None) for nothing in NOTHING],
    ],
)
def test_times_are_read_in_each_form_and_never_refuse_an_event(raw: Any, read: datetime | None) -> None:
    assert read_time(raw) == read


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        (7, ()),
        ("a, b", ("a", "b")),
        ("General Labels - Ideas", ("General Labels - Ideas",)),
        (["a", "a", None], ("a",)),
        ([{"title": "a"}, {"name": "b"}, {"id": 3}, {}], ("a", "b", "3")),
    ],
)
def test_labels_are_read_in_each_shape(raw: Any, read: tuple[str, ...]) -> None:
    assert read_labels(raw) == read


@pytest.mark.parametrize("raw", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", 253402300799000])
def test_a_time_that_means_never_is_none(raw: Any) -> None:
    assert read_time(raw) is None


def test_missing_and_null_keys_are_no_error() -> None:
    content = payloads.notification({"entityId": "facebook:9", "text": None, "followerCount": None})
    post = parse(json.dumps(content).encode()).posts[0]
    assert (post.post_id, post.text, post.followers, post.posted_at, post.link) == ("facebook:9", "", None, None, "")


def test_ids_may_be_numbers_and_followers_texts() -> None:
    assert post_of(authorId=17, followerCount=" 8,424 ").followers == 8424
    assert post_of(authorId=17).author_id == "17"
    assert post_of(followerCount="many").followers is None


def test_an_item_without_an_id_gets_one_that_stays_the_same() -> None:
    item = payloads.item(text="no id")
    del item["entityId"]
    first, second = (parse(json.dumps(payloads.notification(item)).encode()).posts[0].post_id for _ in range(2))
    assert first == second
    assert first.startswith("unknown:")


def test_overlong_ids_stay_apart_and_within_the_column() -> None:
    ids = {post_of(entityId="twitter:" + "9" * 400 + end).post_id for end in "12"}
    assert len(ids) == 2
    assert all(len(post_id) <= 250 for post_id in ids)


def test_links_are_only_taken_from_the_web() -> None:
    assert post_of(link="javascript:alert(1)").link == ""
    assert post_of(link="HTTPS://example.com/").link == "HTTPS://example.com/"


def test_what_no_database_can_hold_is_replaced() -> None:
    assert post_of(text="a\x00b\ud800c").text == "a�b�c"


@pytest.mark.parametrize(
    "beside",
    [
        {"content": {"x": 1}},
        {"message": {"id": 5}},
        {"messages": [{"title": "Sale"}]},
        {"sfEntityType": "Message"},
        {"items": [*ITEMS, {"sfEntityType": "Message", "id": 9}]},
    ],
)
def test_what_stands_beside_items_hides_none_of_them(beside: dict[str, Any]) -> None:
    event = parse(json.dumps(payloads.notification(data={"items": ITEMS} | beside)).encode())
    assert {"twitter:1", "twitter:2"} <= {post.post_id for post in event.posts}


def test_long_ids_of_messages_stay_apart() -> None:
    messages = [{"id": "m" * 200 + end} for end in ("1", "2")]
    event = parse(
        json.dumps(payloads.notification(eventName="message-published", data={"messages": messages})).encode()
    )
    assert len({post.post_id for post in event.posts}) == 2


def test_a_networks_name_that_grows_in_small_letters_keeps_ids_apart() -> None:
    items = [{"entityId": "İ" * 125 + ":" + "9" * 123 + end} for end in ("1", "2")]
    ids = {post.post_id for post in parse(json.dumps(payloads.notification(data={"items": items})).encode()).posts}
    assert (len(ids), all(len(post_id) <= 250 for post_id in ids)) == (2, True)


def test_a_post_listed_twice_is_one_post() -> None:
    content = payloads.notification(payloads.item("twitter:1"), payloads.item("twitter:1"), payloads.item("twitter:2"))
    assert [post.post_id for post in parse(json.dumps(content).encode()).posts] == ["twitter:1", "twitter:2"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["entityId", "text", "link", "labels", "followerCount", "createdDate", "authorId", "author"])


@given(st.lists(st.dictionaries(keys, json_values), max_size=3), json_values, json_values)
def test_whatever_stands_in_the_keys_is_read_or_told_to_be_unreadable(items: Any, labels: Any, name: Any) -> None:
    body = json.dumps({"eventName": name, "data": {"items": items, "labels": labels}}).encode()
    envelope = open_envelope(body)
    assert len(envelope.event_name) <= 100
    event = parse(body)
    for post in event.posts:
        post.text.encode()
        assert "\x00" not in post.post_id + post.text + post.author
        assert 0 < len(post.post_id) <= 250


@given(st.binary(max_size=200))
def test_any_bytes_get_a_key_and_never_an_error(body: bytes) -> None:
    assert open_envelope(body).event_key
    with contextlib.suppress(Unreadable):
        assert parse(body).posts == ()
