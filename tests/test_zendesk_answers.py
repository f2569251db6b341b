"""What each of Zendesk's answers means: recorded and documented exchanges, and the shapes in between."""

import json
from typing import Any

import pytest

from integrations.destinations.zendesk import answers, limits
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply

URL = "https://example.zendesk.com/agent/tickets/{}"


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply(status, {name.lower().replace("_", "-"): value for name, value in headers.items()}, raw)


def recorded(exchange: dict[str, Any]) -> Reply:
    response = exchange["response"]
    body = response["body"]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply(response["status"], {name.lower(): value for name, value in response["headers"].items()}, raw)


def meaning(answer: Reply) -> Failure:
    with pytest.raises(Failure) as caught:
        answers.read_created(answer, URL)
    return caught.value


def test_the_recorded_creation_is_a_receipt(exchange: Any) -> None:
    receipt = answers.read_created(recorded(exchange("ticket_created_201")), URL)
    assert (receipt.number, receipt.url, receipt.how) == ("4014", URL.format(4014), "created")


def test_the_documented_replay_says_that_it_was_there_already(exchange: Any) -> None:
    assert answers.read_created(recorded(exchange("idempotent_replay_201_headers")), URL).how == "already_there"


def test_the_recorded_limits_set_the_rate_limit(exchange: Any) -> None:
    (budget,) = limits.read_budgets("account", recorded(exchange("ticket_created_201")))
    assert (budget.per_minute, budget.remaining, budget.reset_seconds) == (700, 670, 2)


@pytest.mark.parametrize(
    ("name", "message", "pauses"),
    [
        ("unauthorized_401", "sign-in", True),
        ("forbidden_scope_403", "is missing a scope", True),
        ("rate_limited_429", "limit is reached", True),
        ("rate_limited_endpoint_429", "limit is reached", True),
        ("record_invalid_422", "invalid (422)", False),
        ("record_invalid_requester_suspended_422", "suspended", False),
        ("record_not_found_404", "cannot find a record", False),
    ],
)
def test_recorded_refusals_are_put_into_text(exchange: Any, name: str, message: str, pauses: bool) -> None:
    failure = meaning(recorded(exchange(name)))
    assert message in failure.message
    assert (failure.pauses, failure.is_uncertain) == (pauses, False)


def test_a_limits_retry_after_is_the_length_of_the_pause(exchange: Any) -> None:
    assert meaning(recorded(exchange("rate_limited_429"))).pause_seconds == 41
    assert meaning(recorded(exchange("rate_limited_endpoint_429"))).pause_seconds == 468


def test_a_key_conflict_is_told_apart_from_other_400s(exchange: Any) -> None:
    with pytest.raises(answers.KeyConflict):
        answers.read_created(recorded(exchange("idempotency_mismatch_400")), URL)
    assert meaning(reply(400, {"error": "TooManyValues", "description": "x"})).permanent


@pytest.mark.parametrize("status", [500, 502, 504, 520, 599])
@pytest.mark.parametrize("body", [b"", b"<html><title>Bad gateway</title></html>", b'{"error": "x"}', b"\xff\xfe"])
def test_every_5xx_is_tried_again_with_an_unknown_outcome(status: int, body: bytes) -> None:
    failure = meaning(reply(status, body))
    assert (failure.permanent, failure.is_uncertain, failure.pauses) == (False, True, False)
    assert "<html" not in failure.detail


@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 406, 410, 413, 415, 418, 422, 451])
@pytest.mark.parametrize("body", [b"", b"text", b"[]", b'{"error": {"title": "T", "message": "M"}}', b'{"details": 7}'])
def test_every_other_4xx_is_a_definite_refusal(status: int, body: bytes) -> None:
    failure = meaning(reply(status, body))
    assert (failure.permanent, failure.is_uncertain, failure.pauses) == (True, False, False)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_wrong_address_and_pauses_the_connection(status: int) -> None:
    failure = meaning(reply(status, b"<html>moved</html>", location="https://elsewhere.example.com/"))
    assert (failure.permanent, failure.pauses, failure.pause_seconds) == (True, True, None)
    assert f"({status}, to https://elsewhere.example.com/)" in failure.message
    assert "Correct the connection's address, then resume the connection." in failure.full_message
    assert failure.remedy_at == "connection"


def test_a_redirect_that_names_no_address_is_put_into_words_all_the_same() -> None:
    assert "(302)" in meaning(reply(302)).message


@pytest.mark.parametrize("read", [answers.read_token_failure, answers.read_refresh_failure])
def test_a_redirected_token_request_is_a_wrong_address(read: Any) -> None:
    failure = read(reply(301, b"You are being redirected", location="https://elsewhere.example.com/"))
    assert (failure.permanent, failure.pauses) == (True, True)
    assert "https://elsewhere.example.com/" in failure.message
    assert "OAuth client" not in failure.full_message


def test_a_redirected_code_is_a_wrong_address_and_no_wrong_redirect_url() -> None:
    answer = reply(302, b"You are being redirected", location="https://elsewhere.example.com/")
    failure = answers.read_code_failure(answer, "https://portal.example.com/consent/")
    assert "https://elsewhere.example.com/" in failure.message
    assert "redirect URL" not in failure.full_message


@pytest.mark.parametrize("status", [408, 425, 409])
def test_passing_trouble_among_the_4xx_is_tried_again(status: int) -> None:
    assert not meaning(reply(status, {"error": "DatabaseConflict"})).permanent


def test_no_help_desk_pauses_the_connection() -> None:
    failure = meaning(reply(404, "No help desk at example.zendesk.com"))
    assert failure.pauses
    assert "subdomain is wrong" in failure.message


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"{}", b'{"ticket": {}}', b'{"ticket": {"id": null}}', b"{"])
def test_a_success_without_a_ticket_number_is_unreadable(body: bytes) -> None:
    with pytest.raises(answers.UnreadableSuccess):
        answers.read_created(reply(201, body), URL)


def test_every_problem_of_a_422_is_shown_with_its_field() -> None:
    details = {
        "base": [{"description": "Subject: too long", "error": None}, {"description": "Second"}],
        "group": [{"description": "Group: is invalid", "error": "InvalidValue"}],
        "odd": "text",
    }
    failure = meaning(
        reply(422, {"error": "RecordInvalid", "description": "Record validation errors", "details": details})
    )
    for text in ("base: Subject: too long", "base: Second", "group: Group: is invalid", "odd: text"):
        assert text in failure.detail
    assert "the group" in failure.message
    assert "Rebuild" in failure.full_message


def test_the_four_shapes_of_error_bodies_are_read() -> None:
    assert answers.error_code(reply(400, {"error": "A"})) == "A"
    assert answers.error_code(reply(400, {"error": {"title": "B", "message": "m"}})) == "B"
    assert answers.error_code(reply(400, {"errors": [{"code": "C", "title": "t"}]})) == "C"
    assert answers.error_code(reply(400, "text")) == ""
    assert "m" in answers.own_text(reply(400, {"error": {"title": "B", "message": "m"}}))


def test_retry_after_is_read_as_seconds_or_as_a_date_against_the_answers_own_clock() -> None:
    dated = reply(429, date="Mon, 18 Sep 2023 23:00:00 GMT", retry_after="Mon, 18 Sep 2023 23:01:30 GMT")
    assert dated.retry_after() == 90
    assert reply(429, retry_after="7").retry_after() == 7
    assert reply(429, retry_after="99999").retry_after() == 900
    assert reply(429, retry_after="soon").retry_after() is None
    assert reply(429).retry_after() is None


def test_an_emptied_look_up_limit_holds_look_ups_only() -> None:
    answer = reply(200, zendesk_ratelimit_tickets_index="total=100; remaining=0; resets=30")
    (budget,) = limits.read_budgets("look-up", answer)
    assert (budget.remaining, budget.reset_seconds) == (0, 30)
    assert limits.read_budgets("account", answer) == []


def test_a_look_up_takes_the_oldest_of_several_and_says_so() -> None:
    tickets = [{"id": 9, "external_id": "x"}, {"id": 4, "external_id": "x"}, {"id": 1, "external_id": "y"}]
    receipt = answers.read_found(reply(200, {"tickets": tickets}), "x", URL)
    assert receipt is not None
    assert (receipt.number, receipt.how) == ("4", "found")
    assert "4, 9" in receipt.warning
