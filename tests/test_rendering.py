"""From a post and a mapping's settings to the ticket's bytes."""

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.destinations.base import Context
from integrations.destinations.zendesk import ZENDESK, ticket
from integrations.domain.post import Post
from integrations.domain.templating import LONGEST_OUTPUT, TemplateError, Value, check_template, render
from tests.limits import within

CONTEXT = Context(
    label="CreateCase",
    event="stream-item-label-applied",
    company="Example",
    mapping="To Zendesk",
    notification_id="7",
    labelled_at=datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
    received_at=None,
)


def post(**fields: Any) -> Post:
    return Post(**{"post_id": "twitter:1", "network": "twitter", "native_id": "1", "text": "Help!"} | fields)


def built(settings: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    request = ticket.build(post(**fields), CONTEXT, settings or {}, "khoros:twitter:1:m")
    found: dict[str, Any] = json.loads(request)["ticket"]
    return found


def test_the_default_ticket_carries_what_an_agent_needs() -> None:
    whole = built(
        author="Ann", author_handle="ann", link="https://t/1", posted_at=datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    )
    assert whole["subject"] == "CreateCase: Ann on twitter: Help!"
    assert whole["comment"] == {
        "body": "Help!\n\nAuthor: Ann\nHandle: @ann\nNetwork: twitter\nPost: https://t/1\n"
        "Post id: twitter:1\nPosted: 2026-11-22 09:00:00 UTC\nLabel: CreateCase",
        "public": False,
    }
    assert whole["external_id"] == "khoros:twitter:1:m"


def test_lines_whose_placeholders_are_all_empty_are_left_out() -> None:
    assert "Post:" not in built()["comment"]["body"]


@pytest.mark.parametrize("field", ["text", "author", "link"])
@pytest.mark.parametrize("hostile", ["{{ticket.id}}", "{{{x}}}", "{%if%}", "{{", "{" * 9])
def test_placeholders_in_foreign_text_are_disarmed(field: str, hostile: str) -> None:
    whole = built({"comment": "{{{ " + field + " }}", "subject": "{{ text }}{{ author }}"}, **{field: hostile})
    sent = json.dumps(whole)
    assert "{{" not in sent
    assert "{%" not in sent


@given(st.text(alphabet="{%}a ", max_size=30), st.text(alphabet="{%}a ", max_size=30))
def test_no_mixture_of_texts_arms_a_placeholder(text: str, author: str) -> None:
    whole = built({"comment": "{{ text }}{{ author }}", "subject": "{{ author }}{{ text }}"}, text=text, author=author)
    for sent in (whole["subject"], whole["comment"]["body"]):
        assert "{{" not in sent
        assert "{%" not in sent


def test_inserted_text_is_not_read_again_as_a_template() -> None:
    assert render("{{ text }}", {"text": "{{ author }}", "author": "secret"}) == "{{ author }}"


def test_the_subject_is_cut_with_an_ellipsis_and_stays_on_one_line() -> None:
    subject = built({"subject": "{{ text }}"}, text="word\n" * 100)["subject"]
    assert len(subject) <= 150
    assert subject.endswith("…")
    assert "\n" not in subject


def test_a_long_comment_is_cut_between_characters_and_says_where_the_whole_is() -> None:
    body = built({"comment": "{{ text }}"}, text="😀" * 40_000, link="https://t/1")["comment"]["body"]
    assert len(body.encode()) <= 60_000
    assert body.endswith("[Text truncated. Full post: https://t/1]")
    assert set(body.partition("\n")[0]) == {"😀"}


def test_a_post_without_text_still_has_a_comment_and_a_subject() -> None:
    whole = built({"subject": "{{ text }}", "comment": "{{ text }}"}, text="", link="https://t/1")
    assert whole["subject"] == "Post twitter:1"
    assert "has no text" in whole["comment"]["body"]


def test_all_fields_are_sent_in_zendesks_types() -> None:
    settings = {
        "comment_public": True,
        "priority": "high",
        "type": "task",
        "status": "open",
        "tags": ["social", "{{ network }}", "{{ author }}"],
        "group_id": "33144692244371",
        "assignee_id": "2",
        "ticket_form_id": "3",
        "brand_id": "4",
        "custom_fields": [
            {"id": 5, "value": "{{ author }}"},
            {"id": 6, "value": True},
            {"id": 7, "value": ["a", "{{ network }}"]},
        ],
    }
    whole = built(settings, author="Ann B.")
    assert whole["tags"] == ["social", "twitter", "ann_b."]
    assert (whole["group_id"], whole["assignee_id"], whole["brand_id"]) == (33144692244371, 2, 4)
    assert (whole["priority"], whole["type"], whole["status"], whole["ticket_form_id"]) == ("high", "task", "open", 3)
    assert [field["value"] for field in whole["custom_fields"]] == ["Ann B.", True, ["a", "twitter"]]
    assert whole["comment"]["public"] is True


def test_fields_left_to_zendesk_are_not_sent() -> None:
    assert set(built({"priority": "", "group_id": "", "tags": []})) == {"subject", "comment", "external_id"}


def test_two_mappings_never_share_an_external_id_and_long_ids_fit() -> None:
    assert ZENDESK.external_id("twitter:1", "a") == "khoros:twitter:1:a" != ZENDESK.external_id("twitter:1", "b")
    long = [ZENDESK.external_id("twitter:" + "9" * 300 + end, "m" * 36) for end in "12"]
    assert long[0] != long[1]
    assert all(len(one) <= 250 for one in long)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ text|short:4 }}", "abc…"),
        ("{{text|upper}}", "ABCDEF"),
        ("{{ author|default:nobody }}", "nobody"),
        ("{{ posted_at|date:%d.%m.%Y }}", "22.11.2026"),
        ("a { b } c", "a { b } c"),
    ],
)
def test_filters_do_what_their_help_says(template: str, rendered: str) -> None:
    values: dict[str, Value] = {"text": "abcdef", "author": "", "posted_at": datetime(2026, 11, 22, tzinfo=UTC)}
    if template.startswith("a"):
        values["b"] = "x"
        with pytest.raises(TemplateError):
            render(template, values)
        return
    assert render(template, values) == rendered


@pytest.mark.parametrize(
    "template",
    [
        "{{ nonsense }}",
        "{{ text",
        "text }}",
        "{% if x %}",
        "{{ text.__class__ }}",
        "{{ text|nonsense }}",
        "{{ text|short }}",
        "{{ text|short:x }}",
        "{{ text|date:%d }}",
        "{text}",
        "{nonsense}",
        "{{ }}",
        "{{ TEXT }}",
    ],
)
def test_templates_that_cannot_be_rendered_are_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        check_template(template)


LONG = "ß é\n" * (LONGEST_OUTPUT // 4)


def peak_of(template: str, text: str) -> tuple[int, str]:
    """Bytes at the most, and the output."""
    tracemalloc.start()
    try:
        output = render(template, {"text": text})
        return tracemalloc.get_traced_memory()[1], output
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("line", ["{{ text }}\n", "{{ text }}", "{{ text|upper }}\n", "{{ text|lower|upper }} x\n"])
def test_all_lines_of_a_template_share_one_bound(line: str) -> None:
    peak, output = peak_of(line * 300, LONG)
    assert len(output) == LONGEST_OUTPUT
    assert peak < 30 * LONGEST_OUTPUT


@pytest.mark.parametrize("line", ["{{ text|oneline|short:1 }}", "{{ text" + "|oneline" * 2400 + " }}"])
def test_filters_read_no_more_than_a_bound_however_often_they_are_named(line: str) -> None:
    template = "\n".join([line] * (19_800 // len(line)))
    with within(5):
        assert len(render(template, {"text": "é " * (LONGEST_OUTPUT // 2)})) <= LONGEST_OUTPUT


def test_a_long_text_leaves_room_for_what_is_cut_short() -> None:
    values: dict[str, Value] = {"text": LONG, "author": "Ann"}
    assert render("{{ text|oneline|short:8 }} {{ text|short:2 }} {{ author }}", values) == "ß é ß é… ß… Ann"


def test_what_is_behind_the_bound_is_left_out_and_what_is_before_it_stays() -> None:
    output = render("first\n{{ text }}\nlast {{ author }}", {"text": "x" * LONGEST_OUTPUT, "author": "Ann"})
    assert output.startswith("first\nxxx")
    assert "last" not in output


def test_many_tags_of_a_long_text_stay_short() -> None:
    with within(5):
        tags = built({"tags": [f"{{{{ text }}}}{number}" for number in range(200)]}, text="ab!" * 70_000)["tags"]
    assert all(len(tag) <= 80 for tag in tags)


def test_custom_fields_that_are_too_long_together_are_left_out_with_a_remark() -> None:
    settings = {"custom_fields": [{"id": number, "value": "{{ text }}"} for number in range(1, 1800)]}
    settings["custom_fields"].insert(0, {"id": 9999, "value": ["{{ text }}"] * 1800})
    settings["custom_fields"].append({"id": 8888, "value": True})
    with within(20):
        whole = built(settings, text=LONG)
        remarks = ticket.remarks(post(text=LONG), CONTEXT, settings)
    assert sum(len(str(field["value"])) for field in whole["custom_fields"]) <= 500_100
    assert {1, 8888} <= {field["id"] for field in whole["custom_fields"]}
    assert "The custom field 9999 was left out: the custom fields together would exceed 500,000 characters." in remarks
