"""Conditions: what they say of a post, how staff type them, and where each verdict is shown."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from integrations.domain import conditions
from integrations.domain.conditions import FIELDS, BadCondition, Subject, Verdict, all_of, judge, read_value, words_of
from integrations.domain.expressions import BadExpression, compile_expression
from integrations.domain.post import Post
from integrations.models import Delivery, Mapping, Notification
from tests import payloads
from tests.factories import MappingFactory
from tests.test_admin import form_of, page, rows, save

POST = Post(
    post_id="twitter:1",
    network="twitter",
    native_id="1",
    text="My PARCEL is late",
    author="Ann B.",
    author_handle="ann",
    author_id="77",
    content_type="post",
    followers=500,
    labels=("General Labels - VIP",),
)


NOBODY = Post(post_id="x:1", network="x", native_id="1")
# A Tuesday, 14:05 in London and 15:05 in Berlin.
AT = datetime(2026, 12, 1, 14, 5, tzinfo=UTC)


def verdict(wanted: dict[str, Any], post: Post = POST, *, is_known: bool | None = None, at: datetime = AT) -> Verdict:
    return judge(wanted, Subject(post, at, lambda: is_known))


def groups(match: str, *of: tuple[str, list[tuple[str, str, Any]]]) -> dict[str, Any]:
    made = [{"match": own, "rows": all_of(*found)["groups"][0]["rows"]} for own, found in of]
    return {"match": match, "groups": made}


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({}, True),
        (all_of(("network", "is", ["Twitter"])), True),
        (all_of(("network", "is", ["facebook", "instagram"])), False),
        (all_of(("network", "is_not", ["facebook"])), True),
        (all_of(("content_type", "is", ["post"])), True),
        (all_of(("content_type", "is", ["comment"])), False),
        (all_of(("followers", "at_least", 500)), True),
        (all_of(("followers", "at_least", 501)), False),
        (all_of(("followers", "at_most", 499)), False),
        (all_of(("text", "contains", ["refund", "parcel"])), True),
        (all_of(("text", "contains", ["refund"])), False),
        (all_of(("text", "contains_not", ["refund"])), True),
        (all_of(("text", "matches", "(?i)parcel.*late")), True),
        (all_of(("text", "matches", "parcel")), False),
        (all_of(("text", "matches_not", "parcel")), True),
        (all_of(("author", "is", ["@ANN"])), True),
        (all_of(("author", "is", ["77"])), True),
        (all_of(("author", "is", ["bob"])), False),
        (all_of(("author_link", "filled", None)), False),
        (all_of(("author_link", "filled_not", None)), True),
        (all_of(("labels", "is", ["VIP"])), True),
        (all_of(("labels", "is", ["general labels - vip"])), True),
        (all_of(("labels", "is", ["Press"])), False),
        (all_of(("network", "is", ["twitter"]), ("text", "contains", ["refund"])), False),
    ],
)
def test_a_condition_holds_or_not(conditions: dict[str, Any], holds: bool) -> None:
    assert verdict(conditions).holds is holds
    assert bool(verdict(conditions).reason) is not holds


TWITTER, FACEBOOK = ("network", "is", ["twitter"]), ("network", "is", ["facebook"])
PARCEL, REFUND = ("text", "contains", ["parcel"]), ("text", "contains", ["refund"])


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (groups("all", ("any", [FACEBOOK, TWITTER])), True),
        (groups("all", ("any", [FACEBOOK, REFUND])), False),
        (groups("all", ("none", [FACEBOOK, REFUND])), True),
        (groups("all", ("none", [FACEBOOK, PARCEL])), False),
        (groups("all", ("any", [FACEBOOK, TWITTER]), ("any", [PARCEL, REFUND])), True),
        (groups("all", ("all", [TWITTER]), ("all", [REFUND])), False),
        (groups("any", ("all", [TWITTER, REFUND]), ("all", [TWITTER, PARCEL])), True),
        (groups("any", ("all", [FACEBOOK]), ("all", [REFUND])), False),
        (groups("none", ("all", [FACEBOOK, PARCEL]), ("all", [REFUND])), True),
        (groups("none", ("all", [TWITTER, PARCEL]), ("all", [REFUND])), False),
    ],
)
def test_groups_hold_together(wanted: dict[str, Any], holds: bool) -> None:
    assert verdict(wanted).holds is holds
    assert bool(verdict(wanted).reason) is not holds


def test_labels_count_only_where_the_payload_has_some() -> None:
    for test in ("is", "is_not", "contains", "matches_not"):
        for match in conditions.MATCHES:
            assert verdict(groups("all", (match, [("labels", test, ["VIP"])])), NOBODY).holds
    assert not verdict(groups("all", ("any", [("labels", "is", ["VIP"]), FACEBOOK])), NOBODY).holds


def test_an_unknown_number_of_followers_meets_no_limit() -> None:
    assert "it is unknown" in verdict(all_of(("followers", "at_least", 1)), NOBODY).reason
    assert "it is unknown" in verdict(all_of(("followers", "at_most", 1)), NOBODY).reason


@pytest.mark.parametrize(
    ("typed", "zone", "holds"),
    [
        ("09:00-17:30", "UTC", True),
        ("9-14:05", "UTC", False),
        ("14:05-14:06", "UTC", True),
        ("15:00-15:10", "Europe/Berlin", True),
        ("14:00-14:10", "Europe/Berlin", False),
        ("22:00-06:00", "UTC", False),
        ("22:00-15:00", "UTC", True),
        ("00:00-24:00", "UTC", True),
        ("20:00-24:00", "Pacific/Auckland", False),
    ],
)
def test_office_hours_are_those_of_the_time_zone(typed: str, zone: str, holds: bool) -> None:
    wanted = all_of(("time", "between", read_value("time", "between", typed))) | {"time_zone": zone}
    assert verdict(wanted).holds is holds
    outside = all_of(("time", "between_not", read_value("time", "between_not", typed))) | {"time_zone": zone}
    assert verdict(outside).holds is not holds


@pytest.mark.parametrize(
    ("typed", "days"),
    [
        ("Mon-Wed", ["Monday", "Tuesday", "Wednesday"]),
        ("tuesday", ["Tuesday"]),
        ("Fri – Mon", ["Monday", "Friday", "Saturday", "Sunday"]),
        ("Sat, sun", ["Saturday", "Sunday"]),
    ],
)
def test_weekdays_are_typed_as_people_write_them(typed: str, days: list[str]) -> None:
    assert read_value("weekday", "is", typed) == days
    late = datetime(2026, 12, 1, 23, 30, tzinfo=UTC)
    assert verdict(all_of(("weekday", "is", days)), at=late).holds is ("Tuesday" in days)
    in_berlin = all_of(("weekday", "is", days)) | {"time_zone": "Europe/Berlin"}
    assert verdict(in_berlin, at=late).holds is ("Wednesday" in days)


@pytest.mark.parametrize(
    ("field", "test", "typed", "says"),
    [
        ("", "is", "x", "Choose what"),
        ("nonsense", "is", "x", "Choose what"),
        ("followers", "contains", "5", "cannot be compared like that"),
        ("text", "at_least", "5", "cannot be compared like that"),
        ("network", "is", "  ", "Enter a value, for example twitter, facebook"),
        ("network", "is", ", ,", "at least one value"),
        ("followers", "at_least", "many", "whole number"),
        ("followers", "at_least", "10.5", "whole number"),
        ("text", "contains", "a\x00b", "cannot be stored"),
        ("followers", "at_least", "9" * 400, "whole number"),
        ("text", "matches", "(", "cannot be used"),
        ("text", "matches", "(?=x)", "cannot be used"),
        ("text", "matches", "a{99999999999999}", "counts in braces are over 500"),
        ("text", "contains", "x" * 3000, "At most 2,000"),
        ("weekday", "is", "T", "not a weekday"),
        ("weekday", "is", "Someday", "not a weekday"),
        ("time", "between", "25:00-26:00", "like 09:00-17:30"),
        ("time", "between", "09:00-09:00", "Both times are the same"),
        ("time", "between", "09:00-24:30", "like 09:00-17:30"),
    ],
)
def test_what_is_no_condition_is_refused_in_words(field: str, test: str, typed: str, says: str) -> None:
    with pytest.raises(BadCondition, match=says.replace("(", r"\(")):
        read_value(field, test, typed)


@pytest.mark.parametrize("typed", ["10000", "10,000", "10 000", "10.000", "10'000"])
def test_a_number_is_read_as_people_write_it(typed: str) -> None:
    assert read_value("followers", "at_least", typed) == 10_000


@pytest.mark.parametrize("typed", ["09:00-17:30", "9.00 – 17.30", "0900-1730", "09:00 to 17:30"])
def test_hours_are_read_as_people_write_them(typed: str) -> None:
    assert read_value("time", "between", typed) == "09:00-17:30"


def test_a_value_with_a_comma_stands_in_quotes() -> None:
    value = read_value("rule", "is", '"Outage, EU", Other')
    assert value == ["Outage, EU", "Other"]
    assert read_value("rule", "is", conditions.shown_value(value)) == value


def test_a_time_that_no_calendar_knows_is_left_out() -> None:
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    for wanted in (("weekday", "is", ["Monday"]), ("time", "between", "09:00-17:00")):
        assert verdict(all_of(wanted) | {"time_zone": "Pacific/Auckland"}, at=last).holds


def test_an_author_was_seen_before_or_not_or_nobody_knows() -> None:
    seen, unseen = all_of(("author", "seen", None)), all_of(("author", "seen_not", None))
    assert [verdict(seen, is_known=known).holds for known in (True, False, None)] == [True, False, True]
    assert [verdict(unseen, is_known=known).holds for known in (True, False, None)] == [False, True, True]


def test_the_reason_names_what_was_found_instead() -> None:
    reason = verdict(all_of(FACEBOOK, REFUND)).reason
    assert reason == (
        "“Network is one of facebook” (it is “twitter”), “Text contains one of refund” (it is “My PARCEL is late”) do "
        "not hold"
    )
    assert verdict(groups("all", ("none", [TWITTER]))).reason == (
        "“Network is one of twitter” holds (it is “twitter”), and must not"
    )


def test_what_keeps_a_post_out_is_marked() -> None:
    def marked(wanted: dict[str, Any]) -> list[str]:
        return [line["words"].partition(":")[0] for line in verdict(wanted).lines() if line["is_why"]]

    assert marked(groups("all", ("none", [FACEBOOK, REFUND]))) == []
    assert marked(all_of(TWITTER, REFUND)) == ["Text contains one of refund"]
    assert marked(groups("all", ("all", [TWITTER]), ("none", [PARCEL, REFUND]))) == [
        "None of these",
        "Text contains one of parcel",
    ]


def test_conditions_are_told_on_one_line() -> None:
    wanted = groups("any", ("all", [FACEBOOK, PARCEL]), ("none", [TWITTER]))
    assert (
        words_of(wanted)
        == "Network is one of facebook, Text contains one of parcel — or none of: Network is one of twitter"
    )
    assert words_of({}) == ""


def test_each_text_of_an_event_can_be_matched_by_an_expression() -> None:
    texts = [name for name, field in FIELDS.items() if name not in ("followers", "weekday", "time")]
    assert all("matches" in FIELDS[name].tests for name in texts)
    assert len(texts) > 20


def test_expressions_take_no_time_that_grows_with_the_text() -> None:
    began = time.monotonic()
    verdict(all_of(("text", "matches", "(a+)+$")), Post(post_id="x:1", network="x", native_id="1", text="a" * 50_000))
    assert time.monotonic() - began < 5
    with pytest.raises(BadExpression):
        compile_expression(r"(a)\1")


# --- From URL to log -------------------------------------------------------------------------------------------------


def sent(text: str, number: int, author: str = "77") -> dict[str, Any]:
    return payloads.notification(payloads.item(f"twitter:{number}", text=text, authorId=author))


def test_an_author_counts_as_seen_once_another_post_came(push: Any, work: Any, mapping: Mapping) -> None:
    new = MappingFactory.create(
        subscription=mapping.subscription, connection=mapping.connection, name="New authors",
        conditions=all_of(("author", "seen_not", None)),
    )  # fmt: skip
    for number, author in ((1, "77"), (2, "77"), (3, "78")):
        assert push(sent("x", number, author)).status_code == 200
        work()
    assert push(sent("again", 1)).status_code == 200
    work()
    made = Delivery.objects.filter(mapping=new).order_by("post_id").values_list("post_id", flat=True)
    assert list(made) == ["twitter:1", "twitter:3"]


def test_the_log_shows_how_each_condition_was_judged(push: Any, work: Any, mapping: Mapping, admin: Client) -> None:
    Mapping.objects.update(
        conditions=groups("all", ("any", [FACEBOOK, TWITTER]), ("none", [("text", "matches", "(?i)spam")]))
    )
    push(sent("a parcel", 1))
    push(sent("SPAM", 2))
    work()
    delivery = Delivery.objects.get()
    shown = page(admin, f"delivery/{delivery.pk}/change/")
    assert "Conditions of the mapping when it was matched" in shown
    assert "Network is one of facebook: it is “twitter”" in shown
    assert "At least one of these:" in shown
    refused = Notification.objects.exclude(pk=delivery.notification_id).get()
    assert "“Text matches the expression (?i)spam” holds (it is “SPAM”), and must not" in refused.reason
    assert "None of these:" in page(admin, f"notification/{refused.pk}/change/")


# --- The form --------------------------------------------------------------------------------------------------------


def pressed(admin: Client, mapping: Mapping, values: dict[str, str], button: str) -> str:
    sent = {name: value for name, value in values.items() if name not in ("action", "_save")}
    return admin.post(f"/admin/integrations/mapping/{mapping.pk}/change/", sent | {"_rows": button}).content.decode()


def test_rows_are_added_and_removed_without_a_script(admin: Client, mapping: Mapping) -> None:
    values = form_of(page(admin, f"mapping/{mapping.pk}/change/"))
    values |= rows(("network", "is", "facebook")) | {"name": ""}
    html = pressed(admin, mapping, values, "add:0")
    assert "Please correct the error" not in html
    values = form_of(html)
    assert values["conditions-0-0-value"] == "facebook"
    values |= {"conditions-0-1-field": "text", "conditions-0-1-test": "contains", "conditions-0-1-value": "refund"}
    values = form_of(pressed(admin, mapping, values, "group"))
    values |= {
        "conditions-match": "any", "conditions-1-match": "none", "conditions-1-0-field": "weekday",
        "conditions-1-0-value": "Sat-Sun", "conditions-zone": "Europe/Berlin",
    }  # fmt: skip
    values = form_of(pressed(admin, mapping, values, "remove:0:0"))
    values |= {"name": "Renamed"}
    values.pop("_save", None)
    answer = admin.post(f"/admin/integrations/mapping/{mapping.pk}/change/", values, follow=True)
    assert "was changed successfully" in answer.content.decode()
    mapping.refresh_from_db()
    assert mapping.conditions == {
        "match": "any",
        "time_zone": "Europe/Berlin",
        "groups": [
            {"match": "all", "rows": [{"field": "text", "test": "contains", "value": ["refund"]}]},
            {"match": "none", "rows": [{"field": "weekday", "test": "is", "value": ["Saturday", "Sunday"]}]},
        ],
    }
    assert "Text contains one of refund" in page(admin, "mapping/")


def test_a_row_that_cannot_be_read_is_refused_beside_itself_and_kept_as_typed(admin: Client, mapping: Mapping) -> None:
    bad = rows(("followers", "contains", "many"), ("network", "is", "twitter"))
    html = save(admin, f"mapping/{mapping.pk}/change/", **bad).content.decode()
    assert "Group 1, condition 1: “Number of followers” cannot be compared like that" in html
    assert form_of(html)["conditions-0-0-value"] == "many"
    assert 'id="conditions-0-0-problem"' in html
    assert 'id="conditions-0-1-problem"' not in html


def test_enter_in_a_field_saves_the_mapping(admin: Client, mapping: Mapping) -> None:
    html = page(admin, f"mapping/{mapping.pk}/change/")
    form = html[html.index('id="mapping_form"') :]
    assert form[form.index('type="submit"') :].startswith('type="submit" name="_save"')


def test_fields_of_the_event_come_first(admin: Client, mapping: Mapping) -> None:
    html = page(admin, f"mapping/{mapping.pk}/change/")
    offered, others = html.split("Not part of this event", 1)
    assert 'value="author"' in offered
    assert 'value="rule"' not in offered
    assert 'value="rule"' in others


def test_the_preview_shows_how_each_condition_was_judged(admin: Client, mapping: Mapping) -> None:
    wanted = rows(("network", "is", "facebook"), ("author", "seen", ""))
    html = save(admin, f"mapping/{mapping.pk}/change/", **wanted, _preview="1").content.decode()
    assert "Does not hold: " in html
    assert "Network is one of facebook: it is “twitter”" in html
    assert "Author was seen before: it cannot be said who wrote this, so this is left out" in html


def test_a_match_between_groups_counts_only_where_there_are_several(admin: Client, mapping: Mapping) -> None:
    alone = rows(("network", "is", "twitter")) | {"conditions-match": "none"}
    save(admin, f"mapping/{mapping.pk}/change/", **alone)
    mapping.refresh_from_db()
    assert mapping.conditions == all_of(("network", "is", ["twitter"]))


def test_the_last_row_can_be_removed_and_its_group_stays_as_it_is(admin: Client, mapping: Mapping) -> None:
    values = form_of(page(admin, f"mapping/{mapping.pk}/change/")) | {"conditions-0-match": "none"}
    values |= rows(("network", "is", "facebook"))
    after = form_of(pressed(admin, mapping, values, "remove:0:0"))
    assert (after["conditions-0-match"], after["conditions-0-0-value"]) == ("none", "")


def test_a_problem_names_the_row_that_it_stands_beside(admin: Client, mapping: Mapping) -> None:
    typed = rows(("", "is", ""), ("network", "is", ""))
    assert (
        "Group 1, condition 2: Enter a value" in save(admin, f"mapping/{mapping.pk}/change/", **typed).content.decode()
    )


def test_of_several_posts_in_one_notification_only_the_first_is_new(push: Any, work: Any, mapping: Mapping) -> None:
    Mapping.objects.update(conditions=all_of(("author", "seen_not", None)))
    items = [payloads.item(f"twitter:{number}", authorId="77") for number in (1, 2, 3)]
    push(payloads.notification(*items))
    work()
    assert list(Delivery.objects.values_list("post_id", flat=True)) == ["twitter:1"]


def test_a_mapping_with_rows_by_the_hundred_is_refused(admin: Client, mapping: Mapping) -> None:
    many = rows(*[("network", "is", "twitter")] * 25)
    assert "At most 20 conditions" in save(admin, f"mapping/{mapping.pk}/change/", **many).content.decode()
