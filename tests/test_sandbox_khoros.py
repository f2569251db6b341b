"""The stand-in for Khoros, over sockets: what it promises, and every habit the real one may have."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from sandbox import pushes
from sandbox.rendering import NAVIGATION
from sandbox.server import running_sandbox
from tests.stand_in import StandIn, http

LABEL_APPLIED = "stream-item-label-applied"
BEARER = {"Authorization": "Bearer sandbox-khoros-token"}


class Khoros(StandIn):
    """The sandbox with what the tests of Khoros ask for."""

    def ask(self, method: str, path: str, content: Any = None, headers: dict[str, str] = BEARER) -> Any:
        """Any address: .status, .headers, .text, and .json where the text is that."""
        body = None if content is None else json.dumps(content).encode()
        answer = http.request(method, self.url + path, body=body, headers=headers, redirect=False)
        text = answer.data.decode()
        value = json.loads(text) if text[:1] in ("{", "[") else None
        return SimpleNamespace(status=answer.status, headers=answer.headers, text=text, json=value)

    def send_form(self, path: str, **fields: str) -> Any:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = http.request("POST", self.url + path, body=urlencode(fields).encode(), headers=headers, redirect=False)
        return SimpleNamespace(status=answer.status, headers=answer.headers, text=answer.data.decode())

    def subscribe(self, **wanted: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.control("POST", "subscriptions", {"eventName": LABEL_APPLIED, **wanted})
        return made

    def make_events(self, count: int, **wanted: Any) -> str:
        """A subscription with so many events, collected and not pushed; returns its uuid."""
        uuid = str(self.subscribe(**wanted)["uuid"])
        self.control("POST", "events/bulk", {"count": count, "label": "CreateCase"})
        return uuid

    def collected(self, uuid: str, **query: int) -> list[str]:
        """The eventUuids of one answer in the shape the sandbox begins with."""
        answer = self.ask("GET", f"/v2/events/data/{uuid}?{urlencode(query)}")
        assert answer.status == 200
        return [event["eventUuid"] for event in answer.json["data"]]

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "events")["events"]
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Khoros]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield Khoros(sandbox.url)


@pytest.fixture
def khoros(shared: Khoros) -> Khoros:
    shared.reset()
    return shared


@pytest.fixture
def receiver() -> Iterator[Any]:
    """An address to push to, and the envelopes that arrived there, in the order they came."""
    arrived: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            envelope = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            arrived.append(envelope)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # As many as push at once: http.server's own 5 would turn some away.
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/webhook", arrived=arrived)
    server.shutdown()
    thread.join()
    server.server_close()


def eventually(is_so: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


# Settings


def test_a_setting_out_of_its_choices_is_refused_and_nothing_changes(khoros: Khoros) -> None:
    before = khoros.control("GET", "settings")
    for values in ({"pull_shape": "xml"}, {"list_first_page": 2}, {"pull": 1}, {"refuse_pushes": -1}, {"push_two": 1}):
        answer = khoros.ask("POST", "/control/settings", {"push_twice": True, **values})
        assert (answer.status, list(answer.json)) == (400, ["error"])
    assert khoros.control("GET", "settings") == before


def test_settings_survive_a_restart(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        Khoros(sandbox.url).change_settings(pull_shape="inner", refuse_pushes=3)
    with running_sandbox(tmp_path) as sandbox:
        settings = Khoros(sandbox.url).control("GET", "settings")
    assert (settings["pull_shape"], settings["refuse_pushes"]) == ("inner", 3)


# Collecting


def test_collecting_switched_off_is_404(khoros: Khoros) -> None:
    uuid = khoros.make_events(1)
    khoros.change_settings(pull=False)
    assert khoros.ask("GET", f"/v2/events/data/{uuid}").status == 404


def test_what_is_collected_comes_in_the_shape_that_is_set(khoros: Khoros) -> None:
    uuid = khoros.make_events(2)
    answer = khoros.ask("GET", f"/v2/events/data/{uuid}")
    events = answer.json["data"]
    assert len(events) == 2
    assert answer.headers["Content-Type"].startswith("text/plain")
    expected = {
        "bare": events,
        "data_items": {"data": {"items": events}},
        "data_events": {"data": {"events": events}},
        "events": {"events": events},
        "strings": {"data": [json.dumps(event) for event in events]},
        "inner": {"data": [event["data"] for event in events]},
    }
    khoros.change_settings(pull_content_type="application/json")
    for shape, whole in expected.items():
        khoros.change_settings(pull_shape=shape)
        answer = khoros.ask("GET", f"/v2/events/data/{uuid}")
        assert answer.json == whole
        assert answer.headers["Content-Type"].startswith("application/json")


def test_events_come_newest_first_oldest_first_or_shuffled(khoros: Khoros) -> None:
    uuid = khoros.make_events(30)
    newest = khoros.collected(uuid)
    assert newest == [event["eventUuid"] for event in khoros.events()]
    khoros.change_settings(pull_order="oldest")
    assert khoros.collected(uuid) == newest[::-1]
    khoros.change_settings(pull_order="shuffled")
    orders = [khoros.collected(uuid) for _ in range(3)]
    assert all(sorted(order) == sorted(newest) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_limit_and_offset_may_be_cut_or_have_no_effect(khoros: Khoros) -> None:
    uuid = khoros.make_events(10)
    everything = khoros.collected(uuid)
    assert khoros.collected(uuid, limit=4, offset=4) == everything[4:8]
    khoros.change_settings(pull_largest_page=3)
    assert khoros.collected(uuid, limit=50) == khoros.collected(uuid) == everything[:3]
    assert khoros.collected(uuid, limit=2) == everything[:2]
    khoros.change_settings(pull_ignores_offset=True)
    assert khoros.collected(uuid, limit=2, offset=6) == everything[:2]
    khoros.change_settings(pull_ignores_offset=False, pull_ignores_limit=True)
    assert khoros.collected(uuid, limit=2, offset=6) == everything[6:]


def test_what_was_collected_once_may_be_gone(khoros: Khoros) -> None:
    uuid = khoros.make_events(5)
    everything = khoros.collected(uuid)
    khoros.change_settings(pull_consumes=True)
    assert [khoros.collected(uuid, limit=2) for _ in range(4)] == [everything[:2], everything[2:4], everything[4:], []]
    khoros.change_settings(pull_consumes=False)
    assert khoros.collected(uuid) == everything


# Pushing


def test_every_event_may_be_pushed_twice(khoros: Khoros, receiver: Any) -> None:
    khoros.subscribe(notificationUri=receiver.url)
    khoros.change_settings(push_twice=True)
    [event_uuid] = khoros.apply_label("VIP", 1)
    assert eventually(lambda: len(receiver.arrived) == 2)
    assert [event["eventUuid"] for event in receiver.arrived] == [event_uuid, event_uuid]


def test_pushes_may_come_newest_first(khoros: Khoros, receiver: Any) -> None:
    khoros.subscribe(notificationUri=receiver.url)
    khoros.change_settings(push_out_of_order=True, push_twice=True)
    first, second = khoros.apply_label("VIP", 1)[0], khoros.apply_label("VIP", 2)[0]
    assert eventually(lambda: len(receiver.arrived) == 4)
    assert [event["eventUuid"] for event in receiver.arrived] == [second, second, first, first]


def test_a_push_held_alone_is_made_after_a_while(
    khoros: Khoros, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "SECONDS_HELD", 0.2)
    khoros.subscribe(notificationUri=receiver.url)
    khoros.change_settings(push_out_of_order=True)
    began = time.monotonic()
    khoros.apply_label("VIP", 1)
    assert eventually(lambda: len(receiver.arrived) == 1)
    assert time.monotonic() - began >= 0.2


def test_a_held_push_is_dropped_when_everything_is_cleared(
    khoros: Khoros, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "SECONDS_HELD", 0.1)
    khoros.subscribe(notificationUri=receiver.url)
    khoros.change_settings(push_out_of_order=True)
    khoros.apply_label("VIP", 1)
    khoros.reset()
    time.sleep(0.3)
    assert receiver.arrived == []


def test_a_sandbox_that_ends_does_not_wait_for_held_pushes(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        khoros = Khoros(sandbox.url)
        khoros.subscribe(notificationUri="http://127.0.0.1:9/nobody")
        khoros.change_settings(push_out_of_order=True)
        khoros.apply_label("VIP", 1)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    with running_sandbox(tmp_path) as sandbox:
        [push] = Khoros(sandbox.url).pushes()
    assert push["error"] == "the sandbox ended before it was sent"


def test_some_pushes_may_never_be_made(khoros: Khoros, receiver: Any) -> None:
    uuid = khoros.subscribe(notificationUri=receiver.url)["uuid"]
    khoros.change_settings(refuse_pushes=2)
    kept_back = khoros.apply_label("VIP", 1) + khoros.apply_label("VIP", 2)
    made = khoros.apply_label("VIP", 3)
    assert eventually(lambda: len(receiver.arrived) == 1)
    assert [event["eventUuid"] for event in receiver.arrived] == made
    assert khoros.control("GET", "settings")["refuse_pushes"] == 0
    assert khoros.collected(uuid) == made + kept_back[::-1]
    assert [push["error"] for push in khoros.pushes()] == ["kept back on purpose", "kept back on purpose", None]
    assert khoros.ask("GET", "/inbox").text.count("Kept back on purpose and never sent") == 2
    khoros.control("POST", "pushes", {"eventUuid": kept_back[0]})
    assert eventually(lambda: len(receiver.arrived) == 2)


# Subscriptions


def listed(answer: Any) -> list[str]:
    return [row["externalId"] for row in answer.json["data"]]


def test_pages_of_subscriptions_may_be_counted_from_1(khoros: Khoros) -> None:
    for number in range(5):
        khoros.subscribe(externalId=str(number))
    pages = "/v2/events/subscription?pageSize=2&pageNumber="
    assert [listed(khoros.ask("GET", f"{pages}{page}")) for page in range(4)] == [["0", "1"], ["2", "3"], ["4"], []]
    khoros.change_settings(list_first_page=1)
    assert [listed(khoros.ask("GET", f"{pages}{page}")) for page in range(4)] == [
        ["0", "1"],
        ["0", "1"],
        ["2", "3"],
        ["4"],
    ]


def test_pages_of_subscriptions_may_be_cut_and_overlap(khoros: Khoros) -> None:
    for number in range(5):
        khoros.subscribe(externalId=str(number))
    khoros.change_settings(list_largest_page=2, list_repeats=True)
    pages = "/v2/events/subscription?pageSize=100&pageNumber="
    assert [listed(khoros.ask("GET", f"{pages}{page}")) for page in range(5)] == [
        ["0", "1"],
        ["1", "2", "3"],
        ["3", "4"],
        ["4"],
        [],
    ]
    assert listed(khoros.ask("GET", "/v2/events/subscription")) == ["0", "1"]


def test_the_list_of_subscriptions_comes_in_the_shape_that_is_set(khoros: Khoros) -> None:
    khoros.subscribe(externalId="one")
    whole = khoros.ask("GET", "/v2/events/subscription").json
    assert whole["status"] == {"succeeded": True}
    khoros.change_settings(list_shape="bare")
    assert khoros.ask("GET", "/v2/events/subscription").json == whole["data"]
    khoros.change_settings(list_shape="data_items")
    assert khoros.ask("GET", "/v2/events/subscription").json == {**whole, "data": {"items": whole["data"]}}


def test_the_bearer_token_may_be_shown_to_nobody_but_who_steers(khoros: Khoros) -> None:
    wanted = {"eventName": LABEL_APPLIED, "externalId": "one", "bearerToken": "a secret"}
    assert khoros.ask("POST", "/v2/events/subscription", wanted).json["data"]["bearerToken"] == "a secret"
    khoros.change_settings(list_shows_token=False)
    answers = [
        khoros.ask("POST", "/v2/events/subscription", wanted),
        khoros.ask("GET", "/v2/events/subscription"),
        khoros.ask("GET", f"/v2/events/subscription/{khoros.subscriptions()[0]['uuid']}"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert not any("a secret" in answer.text for answer in answers)
    assert khoros.subscriptions()[0]["bearerToken"] == "a secret"


def test_changes_of_the_status_may_be_refused(khoros: Khoros) -> None:
    uuid = khoros.subscribe()["uuid"]
    address = f"/v2/events/subscription/{uuid}"
    assert khoros.ask("PUT", f"{address}/PAUSED").json["data"]["status"] == "PAUSED"
    khoros.change_settings(refuse_status_changes=True)
    answer = khoros.ask("PUT", f"{address}/ACTIVE")
    assert (answer.status, answer.text) == (422, "")
    assert khoros.ask("PUT", "/v2/events/subscription/unknown/ACTIVE").status == 404
    assert khoros.subscriptions()[0]["status"] == "PAUSED"


def test_subscriptions_drift_by_hand(khoros: Khoros) -> None:
    made = khoros.subscribe(externalId="theirs", query="VIP", bearerToken="secret", version=2)
    changes = {
        "status": "DISABLED",
        "query": None,
        "notificationUri": "http://127.0.0.1:9/elsewhere",
        "bearerToken": "another",
        "externalId": "somebody's",
        "eventName": "rule-applied",
    }
    changed = khoros.control("POST", f"subscriptions/{made['uuid']}", changes)
    expected = {**made, **changes, "key": {**made["key"], "eventName": "rule-applied"}}
    assert changed == {name: value for name, value in expected.items() if value is not None}
    copied = khoros.control("POST", f"subscriptions/{made['uuid']}/copy")
    own = {"uuid", "key", "createdDate"}
    assert copied["uuid"] != made["uuid"]
    assert {name: copied[name] for name in copied.keys() - own} == {
        name: changed[name] for name in changed.keys() - own
    }
    assert khoros.subscriptions() == [changed, copied]
    khoros.control("DELETE", f"subscriptions/{made['uuid']}")
    assert khoros.subscriptions() == [copied]
    khoros.subscribe()
    assert khoros.control("POST", "forget") == {"forgotten": 2}
    assert khoros.subscriptions() == []
    assert khoros.ask("GET", f"/v2/events/subscription/{copied['uuid']}").status == 404


def test_a_drift_that_makes_no_sense_is_refused(khoros: Khoros) -> None:
    made = khoros.subscribe()
    for change in ({"status": "GONE"}, {"query": "("}, {"eventName": " "}, {"query": 5}, {"uuid": "x"}):
        assert khoros.ask("POST", f"/control/subscriptions/{made['uuid']}", change).status == 400
    assert khoros.ask("POST", "/control/subscriptions/unknown", {"query": "x"}).status == 404
    assert khoros.ask("POST", "/control/subscriptions/unknown/copy").status == 404
    assert khoros.ask("DELETE", "/control/subscriptions/unknown").status == 404
    assert khoros.subscriptions() == [made]


# Events


def test_every_example_reaches_who_subscribed_to_it(khoros: Khoros, receiver: Any) -> None:
    examples = khoros.control("GET", "examples")["examples"]
    names = {example["eventName"] for example in examples}
    uuids = {name: khoros.subscribe(eventName=name, notificationUri=receiver.url)["uuid"] for name in names}
    for example in examples:
        told = {"eventName": example["eventName"], "data": example["data"]}
        [event_uuid] = khoros.control("POST", "events", told)["eventUuids"]
        assert eventually(lambda: bool(receiver.arrived))
        envelope = receiver.arrived.pop()
        assert list(envelope) == [
            "companyId",
            "eventName",
            "createdDate",
            "eventUuid",
            "type",
            "data",
            "subscriptionUuid",
        ]
        assert (envelope["eventUuid"], envelope["subscriptionUuid"]) == (event_uuid, uuids[example["eventName"]])
        assert (envelope["companyId"], envelope["type"]) == (42, "hydrated")
        assert envelope["data"] == example["data"]


def test_the_examples_are_of_every_kind(khoros: Khoros) -> None:
    examples = {example["name"]: example for example in khoros.control("GET", "examples")["examples"]}
    assert len(examples) == 30
    assert examples["rule-applied"]["data"]["ruleMatched"]["ruleName"] == "Urgent words"
    for name in ("message-published", "message-sent-to-network", "message-needs-approval"):
        kinds = {each["data"]["content"]["sfEntityType"] for each in examples.values() if each["eventName"] == name}
        assert kinds == {"Status", "ImageShare", "ImageShareList", "Video", "Carousel"}
        message = examples[f"{name}-multi-channel"]["data"]
        assert message["service"] == "MULTI_CHANNEL"
        assert "facebook.com" in message["publicationResults"][0]["serviceLink"]
    assert examples["message-sent-to-network-native"]["data"]["scheduledPublishDate"] > time.time() * 1000
    types = {examples[f"bot-{kind}"]["data"]["passConversationControl"]["type"] for kind in ("default", "reset")}
    assert types == {"default", "reset"}
    assert "Authorization" in examples["error-custom-crm"]["data"]["externalCall"]["requestHeaders"]
    assert "change" in examples["vault-account-update"]["data"]
    names = {each["eventName"] for each in examples.values()}
    assert names >= {"credential-auth", "credential-reauth", "credential-deauth", "credential-delete"}


@pytest.mark.parametrize(
    ("event_name", "data", "text", "query", "is_told"),
    [
        (LABEL_APPLIED, {"labels": ["VIP"], "items": []}, None, "VIP", True),
        (LABEL_APPLIED, {"labels": [], "items": []}, None, "VIP", False),
        (LABEL_APPLIED, {"labels": [], "items": []}, "VIP", "^VIP$", True),
        (LABEL_APPLIED, {"labels": [], "items": []}, None, None, True),
        ("rule-applied", {"ruleMatched": {"ruleName": "Urgent"}, "items": ["other"]}, None, "^Urgent$", True),
        ("rule-applied", {"ruleMatched": {"ruleName": "Urgent"}, "items": ["other"]}, None, "other", False),
        ("credential-deauth", {"name": "Café"}, None, "Café", True),
        ("credential-deauth", {"name": "Café"}, "something else", "Café", False),
        ("credential-deauth", ["a list"], None, "a list", True),
    ],
)
def test_queries_are_matched_against_what_the_event_is_about(
    khoros: Khoros, event_name: str, data: Any, text: str | None, query: str | None, is_told: bool
) -> None:
    khoros.subscribe(eventName=event_name, query=query)
    told = {"eventName": event_name, "data": data, **({} if text is None else {"text": text})}
    assert len(khoros.control("POST", "events", told)["eventUuids"]) == is_told


def test_only_active_subscriptions_to_that_event_are_told(khoros: Khoros) -> None:
    first, paused = khoros.subscribe(eventName="a"), khoros.subscribe(eventName="a")
    khoros.subscribe(eventName="b")
    khoros.control("POST", f"subscriptions/{paused['uuid']}", {"status": "PAUSED"})
    [event_uuid] = khoros.control("POST", "events", {"eventName": "a", "data": {}})["eventUuids"]
    assert khoros.events() == [{"eventUuid": event_uuid, "subscriptionUuid": first["uuid"], "eventName": "a"}]


def test_an_envelope_can_be_given_in_part(khoros: Khoros) -> None:
    uuids = [khoros.subscribe(eventName="a")["uuid"] for _ in range(2)]
    given = {"companyId": 777, "createdDate": "Fri May 19 10:36:42 CDT 2017", "eventUuid": "one happening"}
    told = {"eventName": "a", "data": {"x": 1}, **given}
    assert khoros.control("POST", "events", told) == {"eventUuids": ["one happening", "one happening"]}
    for uuid in uuids:
        [envelope] = khoros.ask("GET", f"/v2/events/data/{uuid}").json["data"]
        assert envelope == {**told, "type": "hydrated", "subscriptionUuid": uuid}
    assert khoros.ask("POST", "/control/events", told).status == 400
    assert len(khoros.events()) == 2


def test_an_event_told_to_two_is_pushed_to_each_in_its_own_envelope(khoros: Khoros, receiver: Any) -> None:
    uuids = {khoros.subscribe(eventName="a", notificationUri=receiver.url)["uuid"] for _ in range(2)}
    khoros.control("POST", "events", {"eventName": "a", "data": {}, "eventUuid": "same"})
    assert eventually(lambda: len(receiver.arrived) == 2)
    assert {envelope["subscriptionUuid"] for envelope in receiver.arrived} == uuids
    again = sorted(uuids)[1]
    khoros.control("POST", "pushes", {"eventUuid": "same", "subscriptionUuid": again})
    assert eventually(lambda: len(receiver.arrived) == 3)
    assert receiver.arrived[2]["subscriptionUuid"] == again


def test_what_is_no_event_is_refused(khoros: Khoros) -> None:
    khoros.subscribe(eventName="a")
    wrong: list[dict[str, Any]] = [
        {"data": {}},
        {"eventName": "a"},
        {"eventName": 5, "data": {}},
        {"eventName": "a", "data": {}, "eventUuid": ""},
        {"eventName": "a", "data": {}, "label": "VIP"},
    ]
    for values in wrong:
        assert khoros.ask("POST", "/control/events", values).status == 400
    assert khoros.events() == []


def test_ten_thousand_label_events_take_only_seconds(khoros: Khoros, receiver: Any) -> None:
    uuid = khoros.subscribe(query="CreateCase", notificationUri=receiver.url)["uuid"]
    khoros.subscribe(query="VIP")
    posts = len(khoros.control("GET", "posts")["posts"])
    began = time.monotonic()
    made = khoros.control("POST", "events/bulk", {"count": 10_000, "label": "CreateCase", "push": False})
    assert time.monotonic() - began < 10
    assert made["count"] == len(set(made["eventUuids"])) == 10_000
    events = khoros.ask("GET", f"/v2/events/data/{uuid}").json["data"]
    assert len({event["data"]["items"][0]["entityId"] for event in events}) == 10_000
    assert {event["uuid"] for event in events} == {uuid}
    assert len(khoros.control("GET", "posts")["posts"]) == posts
    assert khoros.control("GET", "events?limit=3")["events"] == khoros.events()[:3]
    assert (khoros.pushes(), receiver.arrived) == ([], [])


def test_events_in_bulk_are_pushed_where_asked_for(khoros: Khoros, receiver: Any) -> None:
    khoros.subscribe(notificationUri=receiver.url)
    made = khoros.control("POST", "events/bulk", {"count": 20, "label": "VIP", "push": True})
    assert eventually(lambda: len(receiver.arrived) == 20)
    assert {event["eventUuid"] for event in receiver.arrived} == set(made["eventUuids"])
    for wrong in ({"count": 0, "label": "VIP"}, {"count": 2}, {"count": "2", "label": "VIP"}):
        assert khoros.ask("POST", "/control/events/bulk", wrong).status == 400


# The first version of the API


def test_the_first_version_subscribes_and_subscribes_again(khoros: Khoros) -> None:
    wanted = {"companyId": 42, "eventName": LABEL_APPLIED, "externalId": "send-to-zendesk", "query": "VIP"}
    address = "/v1/events/company/42/subscription"
    first = khoros.ask("POST", address, wanted)
    assert (first.status, first.json["data"]["query"]) == (200, "VIP")
    again = khoros.ask("POST", address, wanted | {"query": "Praise"})
    assert again.json["data"]["uuid"] == first.json["data"]["uuid"]
    khoros.change_settings(resubscribe="second")
    khoros.ask("POST", address, wanted)
    assert [each["query"] for each in khoros.subscriptions()] == ["Praise", "VIP"]
    other = khoros.ask("POST", "/v1/events/company/12345/subscription", wanted | {"companyId": "12345"})
    assert other.json["data"]["companyId"] == 12345
    assert khoros.ask("POST", address, wanted, headers={}).status == 401
    assert khoros.ask("POST", address, {**wanted, "companyId": None}).status == 400
    assert khoros.ask("POST", address, {"companyId": 42}).status == 400


@pytest.mark.parametrize(("in_address", "in_body"), [("43", 43), ("42", 43), ("43", 42)])
def test_a_company_the_application_is_not_allowed_for(khoros: Khoros, in_address: str, in_body: int) -> None:
    wanted = {"companyId": in_body, "eventName": LABEL_APPLIED}
    answer = khoros.ask("POST", f"/v1/events/company/{in_address}/subscription", wanted)
    message = "Company 43 does not allow the application Example Application"
    assert answer.json == {"status": {"succeeded": False, "error": {"code": "UNAUTHORIZED", "message": message}}}
    assert khoros.subscriptions() == []


def test_the_first_version_has_nothing_else(khoros: Khoros) -> None:
    for method, path in (
        ("GET", "/v1/events/company/42/subscription"),
        ("POST", "/v1/Events/company/42/subscription"),
        ("DELETE", "/v1/events/company/42/subscription/x"),
        ("GET", "/v1/whoami"),
    ):
        answer = khoros.ask(method, path)
        assert (answer.status, "Service Not Found" in answer.text) == (586, True)
        assert answer.headers["Content-Type"].startswith("text/html")


# Labels, and who one is


def test_label_sets_come_in_pages(khoros: Khoros) -> None:
    for query in ("", "?pageNumber=0", "?pageSize=20", "?pageNumber=x&pageSize=20"):
        assert khoros.ask("GET", f"/v2/labelsets{query}").status == 400
    whole = khoros.ask("GET", "/v2/labelsets?pageNumber=1&pageSize=20").json
    assert (whole["pageNumber"], whole["pageSize"], whole["totalRecords"]) == (1, 20, len(whole["data"]))
    assert khoros.ask("GET", "/v2/labelsets?pageNumber=0&pageSize=20").json["data"] == whole["data"]
    single = [
        each
        for page in range(1, 6)
        for each in khoros.ask("GET", f"/v2/labelsets?pageNumber={page}&pageSize=1").json["data"]
    ]
    assert single == whole["data"]
    assert len(single) >= 3
    assert max(len(each["labels"]) for each in single) == 120
    labels = [label for each in single for label in each["labels"]]
    assert len({label["id"] for label in labels}) == len({label["legacyId"] for label in labels}) == len(labels)
    names = {label["name"]: label["status"] for label in labels}
    assert {"CreateCase", "VIP (urgent)", "C++", "Ideas & wishes", "Rückfrage"} <= names.keys()
    assert names["Christmas 2019"] == "INACTIVE"
    khoros.change_settings(list_largest_page=2)
    assert khoros.ask("GET", "/v2/labelsets?pageNumber=1&pageSize=20").json["data"] == whole["data"][:2]


def test_labels_of_an_initiative(khoros: Khoros) -> None:
    address = "/v2/conversations/initiative/5/contentLabel"
    first, second = khoros.ask("GET", address).json, khoros.ask("GET", f"{address}?pageNumber=1").json
    assert (len(first["data"]), first["pagination"], first["status"]) == (100, {}, {"succeeded": True})
    titles = [each["title"] for each in first["data"] + second["data"]]
    assert "Social care - VIP (urgent)" in titles
    assert not any("Christmas 2019" in title for title in titles)
    assert khoros.ask("GET", f"{address}?q=c%2B%2B").json["data"] == [
        {"title": "General Labels - C++", "priority": False}
    ]
    assert {each["title"] for each in khoros.ask("GET", f"{address}?priority=true").json["data"]} == {
        "Social care - VIP",
        "Social care - VIP (urgent)",
    }
    other = khoros.ask("GET", "/v2/conversations/initiative/6/contentLabel")
    assert (other.status, other.json["status"]["succeeded"]) == (404, False)


def test_me(khoros: Khoros) -> None:
    me = khoros.ask("GET", "/v2/me").json
    assert me["status"] == {"succeeded": True}
    assert me["data"]["sfEntityType"] == "User"
    company = me["data"]["companies"][0]
    assert (company["sfEntityType"], company["id"], company["directoryId"]) == ("AvailableCompany", "45", 42)
    assert khoros.ask("GET", "/v2/me", headers={}).status == 401


# Pages


def test_the_overview_leads_to_every_page(khoros: Khoros) -> None:
    overview = khoros.ask("GET", "/").text
    for address in ("/events", "/khoros", "/subscriptions", "/inbox", "/faults"):
        assert f'href="{address}"' in overview
        answer = khoros.ask("GET", address)
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert not any(word in answer.text for word in ("<script", "<style", "style=", "onclick"))


def test_the_page_of_habits_changes_them_all(khoros: Khoros) -> None:
    before = khoros.control("GET", "settings")
    fields = {
        "pull_shape": "strings",
        "pull_order": "shuffled",
        "pull_content_type": "application/json",
        "pull_largest_page": "7",
        "refuse_pushes": "2",
        "list_largest_page": "3",
        "list_shape": "bare",
        "list_first_page": "1",
        "list_shows_token_as": "redacted",
        "pull_keeps": "400",
        "pull_burst": "12",
        "pull_fails_every": "40",
    }
    flags = ["pull_ignores_limit", "pull_ignores_offset", "pull_consumes", "push_twice", "push_out_of_order"]
    flags += ["list_repeats", "refuse_status_changes", "list_leaves_out_paused", "lists_end_with_404"]
    answer = khoros.send_form("/khoros", **fields, **dict.fromkeys(flags, "1"))
    assert (answer.status, answer.headers["Location"]) == (303, "/khoros")
    numbers = {name: int(value) for name, value in fields.items() if value.isdigit()}
    changed = {**fields, **numbers, **dict.fromkeys(flags, True), "pull": False, "list_shows_token": False}
    assert khoros.control("GET", "settings") == {**before, **changed}
    shown = khoros.ask("GET", "/khoros").text
    assert '<option value="shuffled" selected>' in shown
    assert 'name="push_twice" value="1" checked' in shown
    assert khoros.send_form("/khoros", **fields | {"refuse_pushes": "x"}).status == 400


def test_the_page_of_events_sends_an_example_that_was_edited(khoros: Khoros) -> None:
    shown = khoros.ask("GET", "/events?example=error-custom-crm").text
    assert 'name="eventName" required maxlength="200" value="error-custom-crm"' in shown
    assert "&quot;trackingId&quot;" in shown
    form = {"example": "error-custom-crm", "eventName": "error-custom-crm", "data": '{"operation": "</textarea><b>"}'}
    answer = khoros.send_form("/events", **form)
    assert (answer.status, answer.headers["Location"]) == (303, "/events?told=0&example=error-custom-crm")
    assert "nobody was told" in khoros.ask("GET", answer.headers["Location"]).text
    uuid = khoros.subscribe(eventName="error-custom-crm")["uuid"]
    answer = khoros.send_form("/events", **form, companyId="7", eventUuid="<i>", text="x", createdDate="<u>")
    assert answer.status == 303
    [envelope] = khoros.ask("GET", f"/v2/events/data/{uuid}").json["data"]
    assert envelope == {
        "companyId": 7,
        "eventName": "error-custom-crm",
        "createdDate": "<u>",
        "eventUuid": "<i>",
        "type": "hydrated",
        "data": {"operation": "</textarea><b>"},
        "subscriptionUuid": uuid,
    }
    sent = khoros.ask("GET", answer.headers["Location"]).text
    assert "One subscription was told." in sent
    assert "&lt;/textarea&gt;&lt;b&gt;" in sent
    assert not any(each in sent for each in ("<b>", "<i>", "<u>"))
    for data in ("", "{", '"\\ud83d"', "[" * 100_000):
        assert khoros.send_form("/events", **form | {"data": data}).status == 400


def test_an_event_can_be_pushed_again_from_its_page(khoros: Khoros, receiver: Any) -> None:
    khoros.subscribe(eventName="a", notificationUri=receiver.url)
    khoros.send_form("/events", eventName="a", data="{}")
    assert eventually(lambda: len(receiver.arrived) == 1)
    address = khoros.ask("GET", "/events").text.partition('action="/events/')[2].partition('"')[0]
    assert khoros.send_form(f"/events/{address}").status == 303
    assert eventually(lambda: len(receiver.arrived) == 2)
    assert khoros.send_form("/events/999/push").status == 404


def test_subscriptions_change_on_their_page(khoros: Khoros) -> None:
    uuid = khoros.subscribe(query="VIP", notificationUri="http://127.0.0.1:9/")["uuid"]
    for status in ("PAUSED", "DISABLED", "ACTIVE"):
        assert khoros.send_form(f"/subscriptions/{uuid}/{status}").status == 303
        assert khoros.subscriptions()[0]["status"] == status
    khoros.send_form(f"/subscriptions/{uuid}/change", query='"Praise"')
    khoros.send_form(f"/subscriptions/{uuid}/change", notificationUri="")
    assert khoros.subscriptions()[0]["query"] == '"Praise"'
    assert "notificationUri" not in khoros.subscriptions()[0]
    assert 'value="&quot;Praise&quot;"' in khoros.ask("GET", "/subscriptions").text
    assert khoros.send_form(f"/subscriptions/{uuid}/change", query="(").status == 400
    assert khoros.send_form(f"/subscriptions/{uuid}/GONE").status == 400
    khoros.send_form(f"/subscriptions/{uuid}/copy")
    assert [each["query"] for each in khoros.subscriptions()] == ['"Praise"', '"Praise"']
    khoros.send_form(f"/subscriptions/{uuid}/delete")
    assert uuid not in [each["uuid"] for each in khoros.subscriptions()]
    assert khoros.send_form(f"/subscriptions/{uuid}/delete").status == 404
    khoros.send_form("/subscriptions/forget")
    assert khoros.subscriptions() == []


def test_no_text_of_others_becomes_markup(khoros: Khoros) -> None:
    hostile = "<i>\"'&amp;"
    khoros.subscribe(
        eventName=hostile, externalId=hostile, query="<i>", notificationUri=f"http://127.0.0.1:9/{hostile}"
    )
    khoros.subscribe(query="<i>", notificationUri=f"http://{hostile}/")
    khoros.control("POST", "events", {"eventName": hostile, "data": hostile, "createdDate": hostile})
    fields = ("network", "author", "handle", "text", "followers", "posted_at")
    post = khoros.control("POST", "posts", {**dict.fromkeys(fields, hostile), "link": f"javascript:{hostile}"})
    khoros.send_form(f"/inbox/posts/{post['id']}/labels", other_label=hostile)
    khoros.add_fault("delay", path=hostile, retry_after=hostile)
    khoros.control("POST", "users", {"name": hostile, "external_id": hostile})
    khoros.control("POST", "schema/options", {"field": 360002, "add": {"name": hostile, "value": hostile}})
    agent = {"Authorization": f"Basic {b64encode(b'agent@example.com/token:sandbox-zendesk-token').decode()}"}
    texts = dict.fromkeys(("subject", "external_id"), hostile)
    ticket = {**texts, "tags": [hostile], "comment": {"body": hostile}, "requester": {"name": hostile}}
    made = khoros.ask("POST", "/api/v2/tickets.json", {"ticket": ticket}, agent).json["ticket"]
    pages = (
        "/inbox",
        "/tickets",
        f"/tickets/{made['id']}",
        "/people",
        "/schema",
        "/subscriptions",
        "/events",
        "/faults",
    )
    for address in pages:
        shown = khoros.ask("GET", address).text
        assert "&lt;i&gt;&quot;&#x27;&amp;amp;" in shown
        assert not any(each in shown for each in ("<i>", 'href="javascript'))


def test_the_pages_need_no_django_settings(tmp_path: Path) -> None:
    """The sandbox's own process may find none; this one has the portal's."""
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--data", str(tmp_path)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "no.such.settings"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            khoros = Khoros(process.stdout.readline().rpartition(" ")[2].strip())
            khoros.subscribe()
            khoros.add_fault("500")
            for address in NAVIGATION.values():
                assert khoros.ask("GET", address).status == 200
        finally:
            process.terminate()


# The file of an older sandbox


def test_the_file_of_an_older_sandbox_opens_with_all_it_holds(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        khoros = Khoros(sandbox.url)
        uuid = khoros.subscribe(query="VIP")["uuid"]
        old = khoros.apply_label("VIP", 1)
    make_old(tmp_path / "sandbox.sqlite3")
    with running_sandbox(tmp_path) as sandbox:
        khoros = Khoros(sandbox.url)
        assert khoros.collected(uuid) == old
        assert khoros.subscriptions()[0]["companyId"] == 42
        new = khoros.control("POST", "events", {"eventName": LABEL_APPLIED, "data": {}, "text": "VIP"})["eventUuids"]
        assert khoros.collected(uuid) == new + old
        assert "Recorded, not pushed" in khoros.ask("GET", "/inbox").text
    with running_sandbox(tmp_path) as sandbox:
        assert Khoros(sandbox.url).collected(uuid) == new + old


def make_old(file: Path) -> None:
    """Puts the tables back to what the first version of the sandbox made."""
    connection = sqlite3.connect(file)
    connection.executescript("""
        ALTER TABLE subscriptions DROP COLUMN company_id;
        DROP INDEX events_by_subscription;
        DROP INDEX events_by_labelling;
        ALTER TABLE events RENAME TO newer;
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, event_uuid TEXT NOT NULL UNIQUE, subscription_uuid TEXT NOT NULL,
            labelling_id INTEGER NOT NULL, envelope TEXT NOT NULL
        );
        INSERT INTO events SELECT id, event_uuid, subscription_uuid, labelling_id, envelope FROM newer;
        DROP TABLE newer;
        CREATE INDEX events_by_subscription ON events (subscription_uuid, id);
        CREATE INDEX events_by_labelling ON events (labelling_id);
        PRAGMA user_version = 0;
    """)
    connection.close()
