"""“What happened to this post?”: whatever people paste leads to the post, and its page tells its whole way."""

from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.admin.search import find_posts
from integrations.domain.pairs import pairs_in
from integrations.models import Delivery, DeliveryContent, Mapping, PostContent, RemoteObject, Subscription
from integrations.sources.khoros.examples import example
from tests.deliveries import move
from tests.factories import DeliveryFactory, NotificationFactory, StaffFactory
from tests.test_admin import failed_delivery, new_delivery
from tests.test_slack import bot, push_post, to_channel

__all__ = ["bot", "to_channel"]

FIND = "/admin/find/"
ID = "twitter:1795000000000000001"
LINK = "https://twitter.com/ann_x/status/1795000000000000001"


@pytest.fixture
def posts(push: Any, work: Any, mapping: Mapping) -> None:
    push_post(push, ID, text="Where is my parcel? Nobody answers", author="Ann", authorScreenName="ann_x", link=LINK)
    push_post(
        push,
        "facebook:222",
        text="包裹在哪里 谢谢",
        author="李小龙",
        link="https://www.facebook.com/lee/posts/pfbid02abc",
    )
    push_post(push, "youtube:333", text="Great", author="Bob", link="https://www.youtube.com/watch?v=dQw4w9WgXcQ")
    work()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (ID, ID),
        ("1795000000000000001", ID),
        (LINK, ID),
        ("https://x.com/ann_x/status/1795000000000000001?s=20&t=abc", ID),
        ("mobile.twitter.com/ann_x/status/1795000000000000001/", ID),
        ("https://www.facebook.com/lee/posts/pfbid02abc?comment_id=5", "facebook:222"),
        ("https://m.facebook.com/lee/posts/pfbid02abc", "facebook:222"),
        ("https://www.facebook.com/permalink.php?story_fbid=222&id=1", "facebook:222"),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "youtube:333"),
        ("@ann_x", ID),
        ("ann_x", ID),
        ("Ann", ID),
        ("parcel where", ID),
        ("NOBODY  parcel", ID),
        ("包裹", "facebook:222"),
        ("小龙", "facebook:222"),
        ("  1795000000000000001 ", ID),
    ],
)
def test_what_people_paste_leads_to_the_post(posts: None, typed: str, found: str) -> None:
    assert found in find_posts(typed).post_ids


def test_a_tickets_number_its_link_and_an_external_id_lead_to_the_post(posts: None, sandbox: Any) -> None:
    delivery = Delivery.objects.get(post_id=ID)
    external = DeliveryContent.objects.get(pk=delivery.pk).external_id
    for typed in (
        str(delivery.number),
        f"#{delivery.number}",
        f"https://example.zendesk.com/agent/tickets/{delivery.number}",
        f"https://example.zendesk.com/hc/requests/{delivery.number}",
        external,
    ):
        assert find_posts(typed).post_ids == [ID], typed


ODD = ["", "x", "%", "\x00", "' OR 1=1", "https://[", "http://", "//", "\u202e", "😀", "%%%%", "__"]


@pytest.mark.parametrize("typed", [*ODD, "a" * 5000, "9" * 40])
def test_whatever_is_typed_is_answered(admin: Client, posts: None, typed: str) -> None:
    assert admin.get(FIND, {"q": typed}).status_code in (200, 302)
    assert admin.get(FIND, {"post": typed, "q": typed}).status_code in (200, 302)


def test_one_post_is_shown_at_once_with_its_whole_way(
    admin: Client, push: Any, work: Any, mapping: Mapping, sandbox: Any
) -> None:
    sandbox.add_fault("503_html", times=1)
    push_post(push, ID, text="Where is my parcel?", author="Ann", link=LINK)
    push_post(push, ID, text="Where is my parcel?", author="Ann", link=LINK)
    work()
    move()
    work()
    answer = admin.get(FIND, {"q": LINK}, follow=True)
    html = answer.content.decode()
    in_order = (
        "Written by its author",
        "Happened at Khoros: CreateCase",
        "Received for “CreateCase”",
        "Matched by “To Zendesk”",
        "“To Zendesk”, attempt 1: will retry",
        "“To Zendesk”: delivered",
    )
    places = [html.index(sentence) for sentence in in_order]
    assert places == sorted(places)
    assert "Zendesk has a problem" in html
    assert f"/agent/tickets/{sandbox.tickets()[0]['id']}" in html
    assert "Labelled again: “To Zendesk” has it already" in html


def test_a_post_that_nobody_took_says_why(admin: Client, push: Any, work: Any, mapping: Mapping) -> None:
    Mapping.objects.update(conditions={"match": "all", "groups": [{"match": "all", "rows": [
        {"field": "text", "test": "contains", "value": ["refund"]}]}]})  # fmt: skip
    push_post(push, ID, text="Where is my parcel?")
    work()
    html = admin.get(FIND, {"q": ID}, follow=True).content.decode()
    assert "Not for “To Zendesk”" in html
    assert "Text contains one of refund" in html
    assert "No delivery was made of it" in html


def test_what_is_no_longer_kept_is_still_found(admin: Client, posts: None) -> None:
    PostContent.objects.all().delete()
    html = admin.get(FIND, {"q": LINK}, follow=True).content.decode()
    assert "“To Zendesk”: delivered" in html


def test_nothing_found_says_where_it_looked_and_what_to_try(admin: Client, posts: None) -> None:
    html = admin.get(FIND, {"q": "quixotry"}).content.decode()
    assert "Looked through authors and texts of posts." in html
    assert "Fetch what it has" in html
    assert "type at least three characters" in admin.get(FIND, {"q": "ab"}).content.decode()


def test_several_posts_are_listed_the_newest_first(admin: Client, push: Any, work: Any, mapping: Mapping) -> None:
    for number in (1, 2):
        push_post(push, f"twitter:{number}", text=f"My parcel {number}", author="Ann")
    work()
    html = admin.get(FIND, {"q": "parcel"}).content.decode()
    assert html.index("My parcel 2") < html.index("My parcel 1")


def test_the_box_is_on_every_page_for_those_who_may_look(admin: Client, client: Client, portal: Any) -> None:
    assert 'id="cb-find-box"' in admin.get("/admin/integrations/company/").content.decode()
    client.force_login(StaffFactory.create(may="^view_alarm$"))
    assert 'id="cb-find-box"' not in client.get("/admin/integrations/alarm/").content.decode()
    assert client.get(FIND, {"q": "x"}).status_code == 403


def test_its_queries_do_not_grow_with_what_is_found(admin: Client, push: Any, work: Any, mapping: Mapping) -> None:
    counts = []
    for number in range(1, 12):
        push_post(push, f"twitter:{number}", text="My parcel", author="Ann")
        work()
        if number in (2, 11):
            with CaptureQueriesContext(database) as queries:
                admin.get(FIND, {"q": "parcel"})
            counts.append(len(queries))
    assert counts[0] == counts[1]


# --- As people copy links, and as they write numbers ------------------------------------------------------------------

TWEET, WATCH = "https://twitter.com/ann/status/1795", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
COMMENT = "https://www.youtube.com/watch?v=abc&lc=UgxAbC.9xyz"
ACTIVITY = "https://www.linkedin.com/feed/update/urn:li:activity:7123456789012345678"


# (the post's id, its link as Khoros told it, as a person pastes it)
COPIED = (
    ("linkedin:7123456789012345678", ACTIVITY, f"{ACTIVITY}/"),
    ("linkedin:7123456789012345678", ACTIVITY,
     "https://www.linkedin.com/posts/ann-doe_parcel-activity-7123456789012345678-AbCd?utm_source=share"),
    ("facebook:456_123", "https://www.facebook.com/permalink.php?story_fbid=123&id=456",
     "https://www.facebook.com/permalink.php?story_fbid=123&id=456&__cft__[0]=AZX&__tn__=%2CO%2CP-R"),
    ("facebook:456_123", "", "https://m.facebook.com/story.php?story_fbid=123&id=456"),
    ("youtube:UgxAbC.9xyz", COMMENT, f"{COMMENT}&si=1"),
    ("youtube:UgxAbC.9xyz", COMMENT, "UgxAbC.9xyz"),
    ("youtube:1", WATCH, "https://youtu.be/dQw4w9WgXcQ?si=abc"),
    ("youtube:1", WATCH, f"{WATCH}&t=12s"),
    ("youtube:1", WATCH, "https://youtube.com/shorts/dQw4w9WgXcQ"),
    ("instagram:179", "https://www.instagram.com/p/CxYz12/", "https://www.instagram.com/ann/p/CxYz12/?igsh=abc=="),
    ("twitter:1795", TWEET, "<https://x.com/ann/status/1795>"),
    ("twitter:1795", TWEET, "(https://x.com/ann/status/1795)."),
    ("twitter:1795", TWEET, "https://x.com/ann/status/1795/photo/1"),
    ("twitter:1795", TWEET, "HTTPS://X.com/ann/status/1795"),
    ("tiktok:7", "https://www.tiktok.com/@ann/video/7", "https://www.tiktok.com/@ann/video/7?is_from_webapp=1"),
)  # fmt: skip
NAMED = (
    "501", "#501", "ticket 501", "Ticket #501", "https://acme.zendesk.com/agent/tickets/501",
    "https://acme.zendesk.com/tickets/501", "https://acme.zendesk.com/hc/requests/501",
    "https://acme.zendesk.com/hc/en-us/requests/501", "https://acme.zendesk.com/api/v2/tickets/501.json",
)  # fmt: skip


def test_a_link_is_found_as_the_network_copies_it(mapping: Mapping) -> None:
    delivery = DeliveryFactory.create(mapping=mapping)
    for post_id, stored, pasted in COPIED:
        Delivery.objects.filter(pk=delivery.pk).update(post_id=post_id, network=post_id.partition(":")[0])
        PostContent.objects.update(post_id=post_id, link=stored)
        assert find_posts(pasted).post_ids == [post_id], pasted


def test_a_ticket_is_found_as_people_name_it(mapping: Mapping) -> None:
    delivery = DeliveryFactory.create(mapping=mapping, is_delivered=True)
    RemoteObject.objects.update(number="501")
    for typed in NAMED:
        assert find_posts(typed).post_ids == [delivery.post_id], typed


def test_a_message_is_found_by_its_link(push: Any, work: Any, to_channel: Mapping) -> None:
    push_post(push, ID)
    work()
    assert find_posts(Delivery.objects.get().remote_object.url).post_ids == [ID]  # type: ignore[union-attr]


def test_an_id_is_found_though_nothing_was_delivered_from_its_network(push: Any, work: Any, mapping: Mapping) -> None:
    Mapping.objects.update(is_active=False)
    push_post(push, "tiktok:777123")
    work()
    assert find_posts("777123").post_ids == ["tiktok:777123"]


def test_a_handle_of_two_letters_is_found_by_its_sign(push: Any, work: Any, mapping: Mapping) -> None:
    push_post(push, ID, author="Jo Doe", authorScreenName="jo")
    work()
    assert find_posts("@jo").post_ids == [ID]


def test_the_list_finds_by_links_and_numbers_too(admin: Client, mapping: Mapping) -> None:
    found = DeliveryFactory.create(mapping=mapping, post_id="twitter:1795", network="twitter")
    DeliveryFactory.create(mapping=mapping)
    listed = admin.get("/admin/integrations/delivery/", {"q": "https://x.com/ann/status/1795?s=20"}).context["cl"]
    assert list(listed.result_list) == [found]


# --- Two characters suffice where words have no spaces ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("返品の手続きがわかりません", "手続"),
        ("배송이 너무 늦어요", "배송"),
        ("包裹在哪里", "在哪"),
        ("包裹在哪里", "包裹在哪里"),
    ],
)
def test_two_characters_are_found_in_any_of_these_scripts(
    push: Any, work: Any, mapping: Mapping, text: str, typed: str, admin: Client
) -> None:
    push_post(push, "twitter:1", text=text)
    push_post(push, "twitter:2", text="哪在 续手 송배")
    work()
    assert find_posts(typed).post_ids == ["twitter:1"]
    listed = admin.get("/admin/integrations/delivery/", {"q": typed}).context["cl"].result_list
    assert [delivery.post_id for delivery in listed] == ["twitter:1"]


def test_also_the_end_of_a_long_text_is_found(push: Any, work: Any, mapping: Mapping) -> None:
    push_post(push, ID, text="".join(chr(0x4E00 + place) for place in range(1900)) + "退货申请失败")
    work()
    assert find_posts("退货申请").post_ids == [ID]


def test_they_are_found_by_an_index_which_other_texts_do_not_burden(mapping: Mapping) -> None:
    notification = NotificationFactory.create(subscription=mapping.subscription)
    PostContent.objects.bulk_create(
        PostContent(
            notification=notification,
            position=place,
            post_id=f"twitter:{place}",
            search_text=f"A\n{text}",
            pairs=pairs_in(text) or None,
            outcome=[],
        )
        for place, text in enumerate(["手続き" if place == 7 else f"文章{place % 50}号" for place in range(4000)])
    )
    with database.cursor() as cursor:
        cursor.execute("ANALYZE integrations_postcontent")
        cursor.execute("EXPLAIN SELECT 1 FROM integrations_postcontent WHERE pairs @> ARRAY['手続']::varchar(2)[]")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "post_content_pairs" in plan
    assert find_posts("手続").post_ids == ["twitter:7"]


def test_pairs_are_few_and_of_such_text_alone() -> None:
    assert pairs_in("Where is my parcel, Ünal? Где") == []
    assert pairs_in("手続き ok 手続") == ["手続", "続き"]
    assert len(pairs_in("".join(chr(0x4E00 + place) for place in range(2000)))) == 1999


def test_an_error_of_the_customer_system_is_found_by_its_tracking_id(push: Any, work: Any, mapping: Mapping) -> None:
    Subscription.objects.update(event_name="error-custom-crm", match="everything", label="")
    content = example("error-custom-crm", at=timezone.now())
    tracking_id = content["data"]["trackingId"]
    assert push(content).status_code == 200
    work()
    (post_id,) = find_posts(tracking_id).post_ids
    assert Delivery.objects.get().post_id == post_id


def test_an_open_list_is_told_which_rows_it_would_have_by_now(admin: Client, mapping: Mapping) -> None:
    failed_delivery(mapping)
    other = new_delivery(mapping)
    shown = admin.get("/admin/integrations/delivery/shown/", {"state": "pending"}).json()
    assert shown == {"ids": [other.pk]}
    assert admin.get("/admin/integrations/delivery/shown/", {"state": "pending", "nothing": "x"}).json() == {"ids": []}
