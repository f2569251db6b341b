"""Foreign text never keeps a process busy: what is read of it is read once, however it is made."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from integrations.destinations.zendesk import answers, custom_fields, ticket
from integrations.destinations.zendesk.text import disarmed
from integrations.domain.templating import TemplateError, check_template
from integrations.infra.http.reply import Reply
from integrations.models import Mapping, Notification
from integrations.routing import route_notification
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.envelope import open_envelope
from portal.logs import mask_text
from tests.limits import within

MEGABYTE = 1_000_000


def filled(beginning: str, piece: str, size: int = MEGABYTE) -> str:
    return beginning + piece * (size // len(piece))


HOSTILE = [
    filled('"token":', " "),
    filled('"token":[', " "),
    filled("", '"token": '),
    filled("", '"token":"'),
    filled('"', "token"),
    filled("", '"'),
    filled('"token":"', "\\"),
    filled("", '"token":"' + "\\" * 200),
    filled("", "\\"),
    filled('"token":[', "1,"),
    filled('"token":[', '""'),
    filled("?", "a"),
    filled("", "?token"),
    filled("", "?token=&"),
    filled("bearer", " "),
    filled("", "basic "),
    filled("//", ":"),
    filled("", "//a:"),
    filled("//a:", "a"),
    filled("", "<title"),
    filled("<html><title", " "),
    filled("", "{{"),
    filled("{{", " "),
    filled("{{ text", "|"),
    filled("", "{ a"),
    filled("{a", "."),
    filled("{", " "),
    filled("", "!"),
    filled("", "1"),
    filled("Wed Apr 12 09:01:11 ", "x"),
    filled("Wed Apr ", " "),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:16])
def test_a_crm_error_that_is_no_json_is_masked_in_linear_time(text: str) -> None:
    with within(10):
        envelope = open_envelope(f"error-custom-crm {text}".encode())
    assert envelope.unreadable_because


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:16])
def test_texts_inside_a_crm_error_are_masked_in_linear_time(text: str) -> None:
    data = {"externalCall": {"requestUri": text, "requestBody": "[" + text}}
    body = json.dumps({"eventName": "error-custom-crm", "data": data}).encode()
    with within(10):
        assert open_envelope(body).event_name == "error-custom-crm"


def test_an_authenticated_body_cannot_keep_intake_busy(push: Any) -> None:
    body = b'error-custom-crm "token":' + b" " * MEGABYTE
    with within(10):
        assert push(body).status_code == 200
    assert Notification.objects.get().content.body == body


def test_thousands_of_posts_in_one_notification_are_routed_in_linear_time(push: Any, mapping: Mapping) -> None:
    seen = {"field": "author", "test": "seen", "value": ""}
    Mapping.objects.update(conditions={"match": "all", "groups": [{"match": "all", "rows": [seen]}]})
    items = [{"entityId": f"twitter:{number}", "authorId": f"{number}"} for number in range(6_000)]
    stored = push({"eventName": "stream-item-label-applied", "data": {"items": items}}).json()["id"]
    with within(25):
        route_notification(stored)
    assert Notification.objects.get().state == "unmatched"


def test_json_inside_of_texts_inside_of_texts_does_not_grow() -> None:
    inner = "ü" * 200_000
    for _ in range(14):
        inner = json.dumps([inner], ensure_ascii=False)
    body = json.dumps({"eventName": "error-custom-crm", "data": inner}, ensure_ascii=False).encode()
    with within(20):
        kept = open_envelope(body).body
    assert len(kept) < 6 * len(body)


def _template(text: str) -> None:
    with pytest.raises(TemplateError):
        check_template(text + "{{")


READERS: dict[str, Callable[[str], Any]] = {
    "logs": mask_text,
    "times": read_time,
    "templates": _template,
    "web pages": lambda text: answers.excerpt(Reply(502, {}, b"<html>" + text.encode())),
    "tags": ticket.normalised_tag,
    "disarmed": disarmed,
    "whole numbers": lambda text: custom_fields.why_unfit(text, "integer"),
    "numbers": lambda text: custom_fields.why_unfit(text, "decimal"),
    "dates": lambda text: custom_fields.why_unfit(text, "date"),
}


@pytest.mark.parametrize("name", READERS)
def test_every_other_reader_of_foreign_text_is_linear_too(name: str) -> None:
    for text in HOSTILE:
        with within(10):
            READERS[name](text)
            READERS[name](text + "x")
