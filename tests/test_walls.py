"""Walls: what readers see and when, who may read at all, what staff decide, and what reading costs."""

import json
import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

import atoma
import feedparser
import pytest
import redis
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.connections import check_and_resume
from integrations.infra.redis import redis_client
from integrations.models import Connection, Delivery, Mapping, Subscription, Wall, WallPost
from integrations.operations.retention import forget_content
from integrations.routing.actions import rebuild
from integrations.sources.khoros.values import lasting_picture
from integrations.walls import cache as wall_cache
from integrations.walls import hide, move, pin, renew_address, revoke_address, show
from integrations.walls.address import hash_of
from tests.deliveries import became
from tests.factories import MappingFactory, StaffFactory, WallFactory
from tests.test_admin import BASE, act, form_of, page, save
from tests.test_hostile_posts import POSTS
from tests.test_preview import press
from tests.test_slack import push_post

State = WallPost.State
FORMS = ("", "posts", "feed.rss", "feed.json")
PICTURE = "https://pbs.twimg.com/profile_images/1/ann.jpg"
NAMES = {"dc": "http://purl.org/dc/elements/1.1/", "media": "http://search.yahoo.com/mrss/"}


@pytest.fixture
def wall(portal: Any) -> Wall:
    return WallFactory.create()


@pytest.fixture
def to_wall(subscription: Subscription, wall: Wall) -> Mapping:
    return MappingFactory.create(name="To the wall", subscription=subscription, connection=wall.connection, settings={})


@pytest.fixture
def reader() -> Client:
    """Somebody who has the address and nothing else."""
    return Client()


def address(wall: Wall, form: str = "") -> str:
    return f"/walls/{wall.token.reveal()}/{form}"


def read(reader: Client, wall: Wall, form: str = "", status: int = 200, **headers: str) -> Any:
    answer = reader.get(address(wall, form), headers=headers)
    assert answer.status_code == status, answer
    return answer


def read_anew(reader: Client, wall: Wall, form: str = "") -> Any:
    """As some seconds later."""
    redis_client().flushdb()
    return read(reader, wall, form)


def shown(reader: Client, wall: Wall) -> list[str]:
    """The ids of the posts on the page, in order."""
    html = read(reader, wall, "posts").content.decode()
    names = dict(WallPost.objects.values_list("pk", "post_id"))
    return [names[int(number)] for number in re.findall(r'id="post-(\d+)"', html)]


def in_feed(reader: Client, wall: Wall) -> list[str]:
    return [item["id"] for item in read(reader, wall, "feed.json").json()["items"]]


def put(wall: Wall, number: int, **fields: Any) -> WallPost:
    now = timezone.now()
    values = {
        "key": f"key{number}", "post_id": f"twitter:{number}", "author": f"Author {number}", "network": "twitter",
        "text": f"Text {number}", "posted_at": now, "state": State.SHOWN, "shown_at": now,
    }  # fmt: skip
    return WallPost.objects.create(wall=wall, **values | fields)


def an_hour_ago(wall: Wall) -> None:
    """As if nothing had changed since then."""
    before = timezone.now() - timedelta(hours=1)
    WallPost.objects.update(changed_at=before)
    Wall.objects.filter(pk=wall.pk).update(changed_at=before)


def rows(*posts: WallPost) -> Any:
    return WallPost.objects.filter(pk__in=[post.pk for post in posts])


# --- From the label to the screen ------------------------------------------------------------------------------------


def test_a_labelled_post_is_on_the_page_and_in_both_feeds(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client
) -> None:
    push_post(
        push, "twitter:7", text="You are <great>!\nAnd quick.", author="Ann", authorScreenName="ann_x", link="https://twitter.com/ann/status/7",
        authorIcon=PICTURE, createdDate="2026-11-30T09:30:00.000Z",
    )  # fmt: skip
    work()
    html = read(reader, wall).content.decode()
    assert "<h1>People who love us</h1>" in html
    assert "You are &lt;great&gt;!<br>And quick." in html
    assert f'<img src="{PICTURE}" alt=""' in html
    (item,) = read(reader, wall, "feed.json").json()["items"]
    assert (item["id"], item["url"]) == ("twitter:7", "https://twitter.com/ann/status/7")
    assert (item["content_text"], item["date_published"]) == ("You are <great>!\nAnd quick.", "2026-11-30T09:30:00Z")
    assert item["authors"] == [{"name": "Ann (@ann_x)", "avatar": PICTURE}]
    delivery = Delivery.objects.get()
    assert delivery.state == Delivery.State.DELIVERED
    assert became(delivery).url.endswith(f"/admin/integrations/wallpost/{WallPost.objects.get().pk}/change/")


def test_two_feed_readers_read_the_rss_feed(push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client) -> None:
    push_post(
        push,
        "twitter:7",
        text="A & B <c>",
        author="Ann",
        authorScreenName="ann_x",
        authorIcon=PICTURE,
        createdDate="2026-11-30T09:30:00Z",
    )
    push_post(push, "twitter:8", text="Second", author="Bob", createdDate="2026-11-29T09:30:00Z")
    work()
    answer = read(reader, wall, "feed.rss")
    assert answer.headers["Content-Type"] == "application/rss+xml; charset=utf-8"

    found = feedparser.parse(answer.content)
    assert (found.bozo, found.version, found.feed.title) == (False, "rss20", "People who love us")
    assert [entry.id for entry in found.entries] == ["twitter:8", "twitter:7"]
    entry = found.entries[1]
    assert (entry.title, entry.author) == ("Ann: A & B <c>", "Ann (@ann_x)")
    assert entry.summary == "<p>A &amp; B &lt;c&gt;</p>"
    assert (entry.published_parsed[:5], entry.guidislink) == ((2026, 11, 30, 9, 30), False)
    assert entry.media_thumbnail == [{"url": PICTURE}]

    strict = atoma.parse_rss_bytes(answer.content)
    assert [item.guid for item in strict.items] == ["twitter:8", "twitter:7"]
    assert strict.items[1].pub_date.isoformat() == "2026-11-30T09:30:00+00:00"


def test_both_feeds_have_what_their_specifications_demand(wall: Wall, reader: Client) -> None:
    put(wall, 1, link="https://x.example/ü?q=1&r=2", text="ü")
    put(wall, 2, link="")
    channel = ET.fromstring(read(reader, wall, "feed.rss").content).find("channel")  # noqa: S314 - our own
    assert channel is not None
    for name in ("title", "link", "description", "lastBuildDate", "ttl"):
        assert channel.findtext(name), name
    own = channel.find("{http://www.w3.org/2005/Atom}link")
    assert own is not None
    assert own.attrib["href"].endswith(address(wall, "feed.rss"))
    for item in channel.findall("item"):
        assert item.findtext("title")
        assert item.findtext("description")
        assert re.match(r"https?://[\x21-\x7e]+$", item.findtext("link") or "")
        assert item.find("guid").attrib == {"isPermaLink": "false"}  # type: ignore[union-attr]
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000", item.findtext("pubDate") or "")
        assert item.findtext("dc:creator", namespaces=NAMES)

    answer = read(reader, wall, "feed.json")
    assert answer.headers["Content-Type"] == "application/feed+json; charset=utf-8"
    feed = answer.json()
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert feed.keys() <= {"version", "title", "home_page_url", "feed_url", "items"}
    assert feed["feed_url"].endswith(address(wall, "feed.json"))
    for item in feed["items"]:
        assert isinstance(item["id"], str)
        assert isinstance(item["content_html"], str)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["date_published"])
        assert re.match(r"https?://[\x21-\x7e]+$", item["url"])
        assert all(author["name"] for author in item["authors"])


@pytest.mark.parametrize("name", POSTS)
def test_whatever_a_post_says_page_and_feeds_stay_whole(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client, name: str
) -> None:
    push_post(push, "twitter:7", **POSTS[name])
    push_post(push, "twitter:8", text="After it")
    work()
    html = read(reader, wall).content.decode()
    assert html.count('<li class="post"') == 2
    assert "<script>" not in html
    assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", html)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", html)
    found = feedparser.parse(read(reader, wall, "feed.rss").content)
    assert (bool(found.bozo), len(found.entries)) == (False, 2)
    assert "<script" not in found.entries[1].summary
    assert len(read(reader, wall, "feed.json").json()["items"]) == 2


@pytest.mark.parametrize("character", ["\x01", "\ufffe", "\u202e", "\x0b"])
def test_neither_an_id_nor_a_picture_nor_a_title_spoils_the_feed(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client, character: str
) -> None:
    Wall.objects.update(title=f"Love{character}")
    push_post(push, f"twitter:7{character}a", authorIcon=f"https://x.example/{character}a.jpg")
    work()
    found = feedparser.parse(read(reader, wall, "feed.rss").content)
    assert (bool(found.bozo), [entry.id for entry in found.entries]) == (False, ["twitter:7a"])


@pytest.mark.parametrize(
    ("address", "is_kept"),
    [
        (PICTURE, True),
        ("https://images.example.com/a.png?size=200", True),
        ("http://pbs.twimg.com/a.jpg", False),
        ("https://scontent.xx.fbcdn.net/v/a.jpg", False),
        ("https://scontent.cdninstagram.com/a.jpg", False),
        ("https://bucket.s3.amazonaws.com/a.jpg?X-Amz-Expires=60&X-Amz-Signature=x", False),
        ("https://x.example/a.jpg?Expires=1700000000&Signature=abc", False),
        ("https://user@x.example/a.jpg", False),
        ("s3.amazonaws.com/a.jpg", False),
        ("javascript:alert(1)", False),
        ('https://x.example/a.jpg" onerror="alert(1)', False),
        ("https://[x/a.jpg", False),
        (None, False),
        (7, False),
    ],
)
def test_only_a_picture_that_lasts_is_taken(address: Any, is_kept: bool) -> None:
    assert lasting_picture(address) == (address if is_kept else "")


# --- Who may read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_renewed_address_ends_the_former_one_at_once_however_often_it_was_just_read(
    wall: Wall, reader: Client, form: str
) -> None:
    put(wall, 1)
    former = address(wall, form)
    for _ in range(3):
        assert reader.get(former).status_code == 200
    renew_address(wall)
    assert reader.get(former).status_code == 404
    read(reader, wall, form)
    revoke_address(wall)
    wall.refresh_from_db()
    assert (wall.token_hash, bool(wall.token)) == (None, False)


def test_a_revoked_address_answers_404_to_who_asks_with_what_he_had(wall: Wall, reader: Client) -> None:
    put(wall, 1)
    had = {form: (address(wall, form), read(reader, wall, form).headers["ETag"]) for form in FORMS}
    revoke_address(wall)
    for path, etag in had.values():
        answer = reader.get(path, headers={"If-None-Match": etag})
        assert answer.status_code == 404
        assert "There is no wall at this address" in answer.content.decode()


@pytest.mark.parametrize("token", ["x", "a" * 43, "a" * 42 + "%00", "..%2F..%2Fadmin", "a" * 5000])
def test_no_other_address_leads_to_a_wall(wall: Wall, reader: Client, token: str) -> None:
    for form in FORMS:
        assert reader.get(f"/walls/{token}/{form}").status_code == 404


def test_who_guesses_addresses_makes_little_work_for_the_database(wall: Wall, reader: Client) -> None:
    put(wall, 1)
    read(reader, wall)
    with CaptureQueriesContext(database) as queries:
        answers = [reader.get(f"/walls/{number:043}/").status_code for number in range(200)]
    assert set(answers) == {404, 503}
    assert len(queries) < 150
    assert redis_client().keys(f"casebridge:wall:*{hash_of(f'{0:043}')}*") == []
    read(reader, wall)


def test_what_redis_could_not_be_told_is_told_by_the_first_who_finds_no_wall(
    wall: Wall, reader: Client, monkeypatch: pytest.MonkeyPatch, no_redis: redis.Redis
) -> None:
    put(wall, 1)
    former = address(wall)
    read(reader, wall)
    with monkeypatch.context() as away:
        away.setattr(wall_cache, "redis_client", lambda: no_redis)
        revoke_address(wall)
    redis_client().delete(*redis_client().scan_iter("casebridge:wall:*:fresh"))
    assert [reader.get(former).status_code for _ in range(5)] == [404] * 5


def test_a_former_address_makes_no_more_work_than_any_other(wall: Wall, reader: Client) -> None:
    former = address(wall)
    read(reader, wall)
    revoke_address(wall)
    with CaptureQueriesContext(database) as queries:
        for _ in range(200):
            reader.get(former)
    assert len(queries) < 100


def test_the_address_is_not_in_the_database_in_the_clear(wall: Wall) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT row_to_json(found)::text FROM integrations_wall found")
        (stored,) = cursor.fetchone()
    assert wall.token.reveal() not in stored


def test_readers_change_nothing_and_get_no_cookie(wall: Wall, reader: Client) -> None:
    answer = read(reader, wall)
    assert not answer.cookies
    assert reader.post(address(wall), {}).status_code == 405
    assert reader.head(address(wall)).status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"


def test_exactly_the_named_sites_may_embed_it(admin: Client, wall: Wall, reader: Client) -> None:
    answer = read(reader, wall)
    assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
    sites = "https://intranet.example.com\nhttps://screens.example.com:8443/some/page"
    save(admin, f"wall/{wall.pk}/change/", frame_origins=sites)
    answer = read(reader, wall)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://intranet.example.com https://screens.example.com:8443")
    assert "X-Frame-Options" not in answer.headers
    assert "unsafe-inline" not in policy
    assert "script-src 'self'" in policy


def test_a_site_with_letters_of_its_own_is_named_as_browsers_do(admin: Client, wall: Wall, reader: Client) -> None:
    save(admin, f"wall/{wall.pk}/change/", frame_origins="https://例え.example http://10.0.0.7:8080")
    policy = read(reader, wall).headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://xn--r8jz45g.example http://10.0.0.7:8080")


@pytest.mark.parametrize(
    "site",
    [
        "*",
        "intranet",
        "https://a.example; script-src *",
        "javascript:x",
        "'self'",
        "https://*.example.com",
        "https://a.b'",
    ],
)
def test_what_is_no_site_is_refused_beside_its_field(admin: Client, wall: Wall, site: str) -> None:
    answer = save(admin, f"wall/{wall.pk}/change/", frame_origins=site)
    assert "frame_origins" in answer.context["adminform"].form.errors


# --- What it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_who_has_the_newest_is_told_so_and_no_more(wall: Wall, reader: Client, form: str) -> None:
    put(wall, 1)
    an_hour_ago(wall)
    first = read(reader, wall, form)
    same = read(reader, wall, form, 304, if_none_match=first.headers["ETag"])
    assert (same.content, same.headers["ETag"]) == (b"", first.headers["ETag"])
    read(reader, wall, form, 304, if_modified_since=first.headers["Last-Modified"])
    put(wall, 2)
    redis_client().flushdb()
    changed = read(reader, wall, form)
    assert "Last-Modified" not in changed.headers, "a further change in this second could not be told from this one"
    read(reader, wall, form, 200, if_none_match=first.headers["ETag"])
    read(reader, wall, form, 200, if_modified_since=first.headers["Last-Modified"])


@pytest.mark.parametrize("form", FORMS)
def test_a_hundred_readers_cost_the_database_as_much_as_one(wall: Wall, reader: Client, form: str) -> None:
    put(wall, 1)
    with CaptureQueriesContext(database) as queries:
        for _ in range(100):
            read(reader, wall, form)
    assert len(queries) <= 2


def test_a_new_post_is_there_after_seconds(wall: Wall, reader: Client) -> None:
    put(wall, 1)
    assert shown(reader, wall) == ["twitter:1"]
    put(wall, 2)
    assert shown(reader, wall) == ["twitter:1"]
    keys = list(redis_client().scan_iter("casebridge:wall:*:fresh"))
    assert [redis_client().ttl(key) <= wall_cache.FRESH_SECONDS for key in keys] == [True]
    redis_client().delete(*keys)
    assert shown(reader, wall) == ["twitter:2", "twitter:1"]


def test_while_one_reader_makes_a_page_anew_the_others_get_the_former_one(wall: Wall, reader: Client) -> None:
    put(wall, 1)
    in_feed(reader, wall)
    (fresh,) = redis_client().scan_iter("casebridge:wall:*:fresh")
    redis_client().delete(fresh)
    redis_client().set(fresh.replace(":fresh", ":making"), "1", ex=5)
    with CaptureQueriesContext(database) as queries:
        assert in_feed(reader, wall) == ["twitter:1"]
    assert len(queries) == 0


def test_without_redis_a_wall_is_read_all_the_same(
    wall: Wall, reader: Client, monkeypatch: pytest.MonkeyPatch, no_redis: redis.Redis
) -> None:
    put(wall, 1)
    monkeypatch.setattr(wall_cache, "redis_client", lambda: no_redis)
    assert shown(reader, wall) == ["twitter:1"]
    revoke_address(wall)


def test_of_ten_thousand_posts_the_newest_are_found_by_an_index(wall: Wall, reader: Client) -> None:
    now = timezone.now()
    WallPost.objects.bulk_create(
        WallPost(
            wall=wall, key=str(number), post_id=f"twitter:{number}", text="x", posted_at=now, state=State.SHOWN,
            shown_at=now - timedelta(minutes=number),
        )
        for number in range(10_000)
    )  # fmt: skip
    with database.cursor() as cursor:
        cursor.execute("ANALYZE integrations_wallpost")
    assert shown(reader, wall) == [f"twitter:{number}" for number in range(50)]
    with CaptureQueriesContext(database) as queries:
        read_anew(reader, wall)
    for query in queries:
        if "wallpost" in query["sql"]:
            with database.cursor() as cursor:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on integrations_wallpost" not in plan, plan
            assert "Sort" not in plan or "integrations_wall.name" in plan, plan


# --- What staff decide -----------------------------------------------------------------------------------------------


def test_a_post_that_waits_is_shown_after_a_yes_from_its_deliverys_page(
    admin: Client, push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client
) -> None:
    Wall.objects.update(needs_approval=True)
    push_post(push, "twitter:7", author="Ann")
    work()
    assert shown(reader, wall) == []
    delivery = Delivery.objects.get()
    html = page(admin, f"delivery/{delivery.pk}/change/")
    assert "Waits for approval." in html
    assert "Khoros does not tell when a post is deleted or its label is removed." in html
    assert "1 shown on the wall." in act(admin, "delivery", "wall_show", delivery)
    assert shown(reader, wall) == ["twitter:7"]
    assert "1 hidden on the wall, for good" in act(admin, "delivery", "wall_hide", delivery)
    assert shown(reader, wall) == []


def test_what_was_hidden_stays_hidden_when_it_is_labelled_again(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client
) -> None:
    push_post(push, "twitter:7", text="First")
    work()
    hide(WallPost.objects.all(), "ann")
    MappingFactory.create(
        name="Another label", subscription=to_wall.subscription, connection=wall.connection, settings={}
    )
    push_post(push, "twitter:7", text="Second")
    work()
    post = WallPost.objects.get()
    assert (post.state, post.decided_by, post.text) == (State.HIDDEN, "ann", "Second")
    assert shown(reader, wall) == []
    later = Delivery.objects.order_by("-pk").first()
    assert later is not None
    assert "It was hidden on this wall before and stays hidden." in later.remarks
    show(WallPost.objects.all(), "ann")
    assert shown(reader, wall) == ["twitter:7"]


def test_a_post_is_on_a_wall_once_and_a_rebuilt_one_is_changed(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client
) -> None:
    push_post(push, "twitter:7", text="Hello")
    work()
    Mapping.objects.update(settings={"text": "Said: {{ text }}"})
    Delivery.objects.update(state=Delivery.State.FAILED, remote_object=None, last_error="It failed.")
    rebuild(Delivery.objects.all())
    work()
    assert WallPost.objects.get().text == "Said: Hello"


def test_pinned_posts_come_first_in_the_order_they_are_given(admin: Client, wall: Wall, reader: Client) -> None:
    first, second, third, fourth = (put(wall, number) for number in range(1, 5))
    assert shown(reader, wall) == ["twitter:4", "twitter:3", "twitter:2", "twitter:1"]
    act(admin, "wallpost", "wall_pin", first)
    act(admin, "wallpost", "wall_pin", third)
    assert shown(reader, wall) == ["twitter:3", "twitter:1", "twitter:4", "twitter:2"]
    assert in_feed(reader, wall) == ["twitter:4", "twitter:3", "twitter:2", "twitter:1"]
    act(admin, "wallpost", "wall_up", first)
    assert shown(reader, wall) == ["twitter:1", "twitter:3", "twitter:4", "twitter:2"]
    assert "It is at the end of its order already." in act(admin, "wallpost", "wall_up", first)
    act(admin, "wallpost", "wall_down", first)
    assert shown(reader, wall) == ["twitter:3", "twitter:1", "twitter:4", "twitter:2"]
    act(admin, "wallpost", "wall_unpin", third)
    assert shown(reader, wall) == ["twitter:1", "twitter:4", "twitter:3", "twitter:2"]
    hide(rows(first), "ann")
    assert shown(reader, wall) == ["twitter:4", "twitter:3", "twitter:2"]
    assert not move(WallPost.objects.get(pk=fourth.pk), "ann", up=True)
    assert second.pk


def test_what_is_hidden_or_waits_is_not_shown_by_pinning_it(admin: Client, wall: Wall, reader: Client) -> None:
    hidden, waiting = put(wall, 1), put(wall, 2, state=State.WAITING, shown_at=None)
    hide(rows(hidden), "ann")
    for post in (hidden, waiting):
        assert "Only posts that are shown can be pinned" in act(admin, "wallpost", "wall_pin", post)
    assert shown(reader, wall) == []


def test_ten_posts_are_pinned_at_most_so_that_new_ones_are_seen(wall: Wall, reader: Client) -> None:
    for number in range(1, 13):
        pin(rows(put(wall, number)), "ann")
    assert WallPost.objects.filter(place__isnull=False).count() == 10
    put(wall, 13)
    assert shown(reader, wall) == [f"twitter:{number}" for number in (*range(12, 2, -1), 13, 2, 1)]


def test_the_order_may_be_that_of_writing(wall: Wall, reader: Client) -> None:
    now = timezone.now()
    put(wall, 1, posted_at=now)
    put(wall, 2, posted_at=now - timedelta(days=300))
    assert shown(reader, wall) == ["twitter:2", "twitter:1"]
    Wall.objects.update(order="posted")
    redis_client().flushdb()
    assert shown(reader, wall) == ["twitter:1", "twitter:2"]


def test_posts_leave_after_their_hours_and_pinned_ones_stay(admin: Client, wall: Wall, reader: Client) -> None:
    Wall.objects.update(expires_hours=24)
    now = timezone.now()
    old, pinned = (put(wall, number, shown_at=now - timedelta(hours=25)) for number in (1, 2))
    put(wall, 3, shown_at=now - timedelta(hours=23))
    pin(rows(pinned), "ann")
    assert shown(reader, wall) == ["twitter:2", "twitter:3"]
    assert "data-until=" in read(reader, wall).content.decode()
    assert "Left the wall at" in page(admin, f"wallpost/{old.pk}/change/")
    act(admin, "wallpost", "wall_show", old)
    assert shown(reader, wall) == ["twitter:2", "twitter:1", "twitter:3"]


def test_who_labels_a_post_again_after_it_left_brings_it_back(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client
) -> None:
    Wall.objects.update(expires_hours=1)
    push_post(push, "twitter:7")
    work()
    WallPost.objects.update(shown_at=timezone.now() - timedelta(hours=2))
    redis_client().flushdb()
    assert shown(reader, wall) == []
    MappingFactory.create(name="Again", subscription=to_wall.subscription, connection=wall.connection, settings={})
    push_post(push, "twitter:7")
    work()
    redis_client().flushdb()
    assert shown(reader, wall) == ["twitter:7"]


def test_an_end_changes_the_time_of_the_last_change(wall: Wall, reader: Client) -> None:
    put(wall, 1, shown_at=timezone.now() - timedelta(hours=1.5))
    an_hour_ago(wall)
    WallPost.objects.update(changed_at=timezone.now() - timedelta(hours=1.5))
    Wall.objects.update(changed_at=timezone.now() - timedelta(hours=2))
    before = read(reader, wall, "feed.rss").headers["Last-Modified"]
    Wall.objects.update(expires_hours=1)
    redis_client().flushdb()
    assert read(reader, wall, "feed.rss", 200, if_modified_since=before).headers["Last-Modified"] != before


def test_a_test_is_shown_to_nobody_until_somebody_says_so(
    admin: Client, to_wall: Mapping, wall: Wall, reader: Client
) -> None:
    path = f"mapping/{to_wall.pk}/change/"
    asked = form_of(press(admin, path, "_test", "0")) | {"_test_now": "0"}
    for _ in range(2):
        said = admin.post(f"{BASE}/{path}", asked).content.decode()
    post = WallPost.objects.get()
    assert "Test wall post already exists" in said
    assert (post.state, post.is_test) == (State.WAITING, True)
    assert shown(reader, wall) == []
    act(admin, "wallpost", "wall_show", post)
    assert shown(reader, wall) == [post.post_id]
    assert "This is a test from Casebridge." in read(reader, wall).content.decode()


def test_a_viewer_sees_and_decides_nothing(client: Client, wall: Wall) -> None:
    post = put(wall, 1)
    client.force_login(StaffFactory.create(may="^view_"))
    assert "Hide on the wall" not in page(client, f"wallpost/{post.pk}/change/")
    client.post("/admin/integrations/wallpost/", {"action": "wall_hide", "_selected_action": [post.pk]})
    post.refresh_from_db()
    assert post.state == State.SHOWN
    client.post("/admin/integrations/wall/", {"action": "revoke", "_selected_action": [wall.pk]})
    wall.refresh_from_db()
    assert wall.token_hash


# --- Setting up ------------------------------------------------------------------------------------------------------


def test_a_new_wall_has_an_address_and_a_connection_for_mappings(admin: Client, portal: Any, reader: Client) -> None:
    html = save(admin, "wall/add/", name="Love", title="Love", _continue="1").content.decode()
    wall = Wall.objects.get()
    assert wall.connection.kind == "wall"
    assert wall.connection.name == "Wall: Love"
    assert address(wall, "feed.rss") in html
    assert "Casebridge pushes nothing to Experiences" in html
    assert "Add a source of the type RSS to the stream" in html
    read(reader, wall)
    assert address(wall) not in page(admin, "wall/")
    checks, _ = check_and_resume(wall.connection)
    assert [check.message for check in checks] == ["The wall “Love” has an address. Posts are shown at once."]


def test_an_address_is_only_taken_away_after_a_second_press(admin: Client, wall: Wall, reader: Client) -> None:
    for action, answer in (("renew", "Yes, give a new address"), ("revoke", "Yes, revoke the address")):
        html = act(admin, "wall", action, wall, _from_page="1")
        assert "Every screen that shows the wall goes dark at once" in html
        assert answer in html
        read(reader, wall)
    former = address(wall)
    act(admin, "wall", "revoke", wall, _from_page="1", _confirmed="1")
    assert reader.get(former).status_code == 404
    wall.refresh_from_db()
    assert "New address given" in act(admin, "wall", "renew", wall, _from_page="1")
    wall.refresh_from_db()
    read(reader, wall)


def test_a_connection_to_a_wall_begins_with_the_wall(admin: Client, wall: Wall) -> None:
    assert admin.get("/admin/integrations/connection/add/?kind=wall").headers["Location"].endswith("/wall/add/")
    html = page(admin, f"connection/{wall.connection_id}/change/")
    assert f"/admin/integrations/wall/{wall.pk}/change/" in html
    save(admin, f"wall/{wall.pk}/change/", name="Another name")
    assert Connection.objects.get(pk=wall.connection_id).name == "Wall: Another name"


def test_a_wall_in_use_is_not_deleted_and_says_how_to_take_it_down(
    admin: Client, wall: Wall, subscription: Subscription
) -> None:
    MappingFactory.create(subscription=subscription, connection=wall.connection, settings={})
    answer = admin.post(f"/admin/integrations/wall/{wall.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 409
    assert "press “Revoke the address”" in answer.content.decode()
    Mapping.objects.all().delete()
    admin.post(f"/admin/integrations/wall/{wall.pk}/delete/", {"post": "yes"})
    assert not Wall.objects.exists()
    assert not Connection.objects.filter(pk=wall.connection_id).exists()


def test_a_delivery_to_a_wall_that_is_gone_waits_for_a_person(
    push: Any, work: Any, to_wall: Mapping, wall: Wall
) -> None:
    Wall.objects.all().delete()
    push_post(push)
    work()
    assert "This wall no longer exists." in Delivery.objects.get().last_error


@pytest.mark.parametrize(
    ("hours", "is_taken"), [("", True), ("1", True), ("0", False), ("-1", False), ("99999", False)]
)
def test_hours_are_checked_beside_their_field(admin: Client, wall: Wall, hours: str, is_taken: bool) -> None:
    answer = save(admin, f"wall/{wall.pk}/change/", expires_hours=hours)
    assert ("was changed successfully" in answer.content.decode()) == is_taken


# --- After a time ----------------------------------------------------------------------------------------------------


def test_content_leaves_walls_after_its_time_and_what_was_hidden_stays_known(
    push: Any, work: Any, to_wall: Mapping, wall: Wall, reader: Client, settings: Any
) -> None:
    settings.CONTENT_KEPT_DAYS = 30
    for number in (7, 8):
        push_post(push, f"twitter:{number}", text="Personal words")
    work()
    hidden = WallPost.objects.get(post_id="twitter:7")
    hide(rows(hidden), "ann")
    WallPost.objects.update(created_at=timezone.now() - timedelta(days=31))
    forget_content()
    (kept,) = WallPost.objects.all()
    assert (kept.pk, kept.text, kept.post_id, kept.state) == (hidden.pk, "", "", State.HIDDEN)
    assert shown(reader, wall) == []
    MappingFactory.create(name="Again", subscription=to_wall.subscription, connection=wall.connection, settings={})
    push_post(push, "twitter:7", text="Personal words")
    work()
    assert WallPost.objects.get().state == State.HIDDEN
    assert shown(reader, wall) == []


def test_the_page_says_so_where_there_is_nothing(wall: Wall, reader: Client) -> None:
    assert "No posts yet." in read(reader, wall).content.decode()
    assert json.loads(read(reader, wall, "feed.json").content)["items"] == []
    assert feedparser.parse(read(reader, wall, "feed.rss").content).bozo is False
