"""The stand-in for Zendesk, over sockets: what it promises, and every habit the real one may have."""

import base64
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from sandbox.limits import Limits
from sandbox.server import running_sandbox
from sandbox.state import State
from tests.stand_in import StandIn, http

FIXTURES = Path(__file__).parent / "fixtures" / "zendesk"
TOKEN = "agent@example.com/token:sandbox-zendesk-token"
BASIC = {"Authorization": f"Basic {base64.b64encode(TOKEN.encode()).decode()}"}
CONDITIONAL = "conditional_ticket_events"
REDIRECT = "https://portal.example.com/back?tenant=1"
COMMENT = {"body": "The parcel is late.", "public": False}

# The keys of recorded answers, for those whose values are of no interest here.
RECORDED_KEYS = {
    "ticket_fields": (
        "url id type title raw_title description raw_description position active required "
        "collapsed_for_agents regexp_for_validation title_in_portal raw_title_in_portal visible_in_portal "
        "editable_in_portal required_in_portal tag created_at updated_at removable agent_description"
    ),
    "ticket_forms": (
        "url id name raw_name display_name raw_display_name end_user_visible position ticket_field_ids active "
        "default created_at updated_at in_all_brands restricted_brand_ids"
    ),
    "brands": (
        "url id name brand_url subdomain has_help_center help_center_state active default is_deleted logo "
        "ticket_form_ids signature_template created_at updated_at host_mapping"
    ),
    "groups": ("url id is_public name description default deleted created_at updated_at"),
    "user": (
        "id url name email created_at updated_at time_zone iana_time_zone phone shared_phone_number photo "
        "locale_id locale organization_id role verified authenticity_token external_id tags alias active "
        "shared shared_agent last_login_at two_factor_auth_enabled signature details notes role_type "
        "custom_role_id moderator ticket_restriction only_private_comments restricted_agent suspended "
        "default_group_id report_csv user_fields"
    ),
    "job_status": ("id job_type url total progress status message results"),
}


class Zendesk(StandIn):
    """The sandbox with what the tests of Zendesk ask for."""

    def ask(self, method: str, path: str, content: Any = None, headers: dict[str, str] = BASIC) -> Any:
        """Any address: .status, .headers, .text, and .json where the text is that."""
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        answer = http.request(method, self.url + path, body=body, headers=headers, redirect=False, retries=False)
        text = answer.data.decode()
        value = json.loads(text) if text[:1] in ("{", "[") else None
        return SimpleNamespace(status=answer.status, headers=answer.headers, text=text, json=value)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", f"/api/v2/{path}")
        assert answer.status == 200, answer.text
        return answer.json

    def try_create(self, **ticket: Any) -> Any:
        return self.ask("POST", "/api/v2/tickets.json", {"ticket": {"comment": COMMENT, **ticket}})

    def create(self, **ticket: Any) -> dict[str, Any]:
        answer = self.try_create(**ticket)
        assert answer.status == 201, answer.text
        made: dict[str, Any] = answer.json["ticket"]
        return made

    def update(self, ticket_id: int, **changes: Any) -> Any:
        return self.ask("PUT", f"/api/v2/tickets/{ticket_id}.json", {"ticket": changes})

    def upsert(self, **user: Any) -> Any:
        return self.ask("POST", "/api/v2/users/create_or_update.json", {"user": user})

    def ask_for_token(self, grant: str = "client_credentials", **wanted: Any) -> Any:
        client = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
        return self.ask("POST", "/oauth/tokens", {"grant_type": grant, **client, **wanted}, headers={})

    def token(self, scope: str = "read write") -> dict[str, str]:
        """The header of a new access token."""
        return {"Authorization": f"Bearer {self.ask_for_token(scope=scope).json['access_token']}"}

    def decide(self, decision: str, **asked: str) -> Any:
        """What the page of an agent who allows or denies answers: .status, and .query of where it leads."""
        form = {"client_id": "sandbox-client", "redirect_uri": REDIRECT, "state": "s 1", "decision": decision, **asked}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("POST", "/oauth/authorizations/new", urlencode(form).encode(), headers)
        target = urlsplit(answer.headers.get("Location", ""))
        return SimpleNamespace(status=answer.status, target=target, query=dict(parse_qsl(target.query)))

    def add_webhook(self, endpoint: str, /, *events: str, **wanted: Any) -> Any:
        given = {"name": "Portal", "endpoint": endpoint, "http_method": "POST", "request_format": "json"}
        subscriptions = [event if event == CONDITIONAL else f"zen:event-type:ticket.{event}" for event in events]
        webhook = {**given, "status": "active", "subscriptions": subscriptions, **wanted}
        return self.ask("POST", "/api/v2/webhooks", {"webhook": webhook})

    def secret(self) -> str:
        """That of the only webhook."""
        webhook_id = self.get("webhooks")["webhooks"][0]["id"]
        return str(self.get(f"webhooks/{webhook_id}/signing_secret")["signing_secret"]["secret"])

    def press(self, path: str, **fields: str) -> Any:
        """A button of a page, pressed; the page it leads to."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("POST", path, urlencode(fields).encode(), headers)
        assert answer.status == 303, answer.text
        return self.ask("GET", answer.headers["Location"])

    def create_many(self, count: int) -> str:
        """Starts a job and returns its id."""
        tickets = [{"subject": f"Number {number}", "comment": COMMENT} for number in range(count)]
        answer = self.ask("POST", "/api/v2/tickets/create_many.json", {"tickets": tickets})
        assert answer.status == 200, answer.text
        return str(answer.json["job_status"]["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"job_statuses/{job_id}.json")["job_status"]
        return found

    def finished_job(self, job_id: str) -> dict[str, Any]:
        return until(lambda: (job := self.job(job_id))["status"] not in ("queued", "working") and job)


def until(found: Callable[[], Any]) -> Any:
    """What is found, once it is anything; asked for again and again, for seconds where need be."""
    end = time.monotonic() + 15
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return value


def recorded(name: str) -> Any:
    """The body of a recorded answer."""
    return json.loads((FIXTURES / f"{name}.json").read_text())["response"]["body"]


def problems(answer: Any) -> dict[str, Any]:
    """The first problem of each field a 422 names."""
    assert answer.status == 422, answer.text
    assert answer.json["error"] == "RecordInvalid"
    return {name: found[0] for name, found in answer.json["details"].items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zendesk]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield Zendesk(sandbox.url)


@pytest.fixture
def zendesk(shared: Zendesk) -> Zendesk:
    shared.reset()
    shared.change_settings(rate_limit=0)
    return shared


@pytest.fixture
def receiver() -> Iterator[Any]:
    """An address to call, what arrived there in order (.headers, .raw, .body), and the statuses it answers first."""
    arrived: list[Any] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.append(SimpleNamespace(headers=self.headers, raw=raw, body=json.loads(raw)))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/in?a=1", arrived=arrived, statuses=statuses)
    server.shutdown()
    thread.join()
    server.server_close()


# Lists


@pytest.mark.parametrize("suffix", ["", ".json"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ticket_fields", "ticket_fields"),
        ("ticket_forms", "ticket_forms"),
        ("groups", "groups"),
        ("groups/assignable", "groups"),
        ("brands", "brands"),
        ("custom_statuses", "custom_statuses"),
        ("users", "users"),
    ],
)
def test_every_list_is_there_with_and_without_json(zendesk: Zendesk, path: str, name: str, suffix: str) -> None:
    assert zendesk.get(path + suffix)[name]


@pytest.mark.parametrize("name", ["ticket_fields", "ticket_forms", "brands", "groups"])
def test_lists_have_the_recorded_shape(zendesk: Zendesk, name: str) -> None:
    found = zendesk.get(name)
    assert found.keys() == {name, "next_page", "previous_page", "count"}
    assert found[name][0].keys() == set(RECORDED_KEYS[name].split())
    if name == "ticket_forms":
        assert zendesk.ask("GET", f"/api/v2/{name}?page[size]=5").status == 400
    else:
        assert zendesk.get(f"{name}?page[size]=5").keys() == {name, "meta", "links"}


def test_there_is_a_field_of_every_type(zendesk: Zendesk) -> None:
    types = [field["type"] for field in zendesk.get("ticket_fields")["ticket_fields"]]
    system = ["subject", "description", "status", "tickettype", "priority", "group", "assignee"]
    custom = {"text", "textarea", "checkbox", "date", "integer", "decimal", "regexp", "tagger", "multiselect"}
    assert types[:7] == system
    assert set(types[7:]) == custom | {"partialcreditcard"}


def test_users_are_listed_by_role(zendesk: Zendesk) -> None:
    def ids(query: str) -> list[int]:
        return [user["id"] for user in zendesk.get(f"users?{query}")["users"]]

    assert ids("role=agent") == [9002]
    assert ids("role[]=agent&role[]=admin") == [9001, 9002]
    assert ids("") == [9001, 9002, 9003, 9004]
    assert zendesk.get("users/9002.json")["user"]["email"] == "second.agent@example.com"
    assert zendesk.ask("GET", "/api/v2/users/1.json").status == 404


def test_who_asks_is_shown_in_the_recorded_shape(zendesk: Zendesk) -> None:
    user = zendesk.get("users/me.json")["user"]
    assert user.keys() == set(RECORDED_KEYS["user"].split())
    assert (user["id"], user["role"], user["suspended"]) == (9001, "admin", False)


def test_lists_come_in_numbered_pages(zendesk: Zendesk) -> None:
    first = zendesk.get("groups.json?per_page=1")
    assert [group["id"] for group in first["groups"]] == [101]
    assert (first["count"], first["previous_page"]) == (2, None)
    second = zendesk.get(first["next_page"].partition("/api/v2/")[2])
    assert ([group["id"] for group in second["groups"]], second["next_page"]) == ([102], None)
    assert second["previous_page"].endswith("page=1")


def test_lists_come_in_pages_by_cursor(zendesk: Zendesk) -> None:
    first = zendesk.get("groups.json?page[size]=1")
    assert (first["groups"][0]["id"], first["meta"]["has_more"]) == (101, True)
    second = zendesk.get(first["links"]["next"].partition("/api/v2/")[2])
    assert (second["groups"][0]["id"], second["meta"]["has_more"]) == (102, False)
    assert "next_page" not in second
    assert zendesk.ask("GET", "/api/v2/groups.json?page[after]=nonsense").status == 400


def test_numbered_pages_end_at_ten_thousand_rows(zendesk: Zendesk) -> None:
    assert zendesk.ask("GET", "/api/v2/tickets.json?page=100").status == 200
    assert zendesk.ask("GET", "/api/v2/tickets.json?page=101").status == 400


def test_a_plan_may_offer_no_forms(zendesk: Zendesk) -> None:
    zendesk.change_settings(offers_forms=False)
    assert zendesk.ask("GET", "/api/v2/ticket_forms.json").status == 403
    answer = zendesk.try_create(ticket_form_id=301)
    assert (answer.status, answer.json["ticket"]["ticket_form_id"]) == (201, None)
    assert "ticket.ticket_form_id" in answer.headers["x-zendesk-api-warn"]


def test_an_account_may_have_no_custom_statuses(zendesk: Zendesk) -> None:
    zendesk.change_settings(offers_custom_statuses=False)
    answer = zendesk.ask("GET", "/api/v2/custom_statuses.json")
    assert (answer.status, answer.json["error"]) == (404, "InvalidEndpoint")
    assert zendesk.create(custom_status_id=406)["custom_status_id"] is None


# Changing the lists


def test_a_list_is_replaced_whole(zendesk: Zendesk) -> None:
    zendesk.control("POST", "schema", {"groups": [{"id": 7, "name": "Seventh"}]})
    assert [group["name"] for group in zendesk.get("groups")["groups"]] == ["Seventh"]
    assert set(zendesk.schema()) == {"fields", "groups", "brands", "forms", "statuses"}
    assert problems(zendesk.try_create(group_id=101))["group"]
    assert zendesk.create(group_id=7)["group_id"] == 7


def test_an_option_can_go_and_come(zendesk: Zendesk) -> None:
    zendesk.control("POST", "schema/options", {"field": 360002, "remove": "vip"})
    found = problems(zendesk.try_create(custom_fields=[{"id": 360002, "value": "vip"}]))
    assert (found["base"]["ticket_field_id"], found["base"]["ticket_field_type"]) == (360002, "FieldTagger")
    zendesk.control("POST", "schema/options", {"field": 360002, "add": {"name": "Press", "value": "press"}})
    assert zendesk.try_create(custom_fields=[{"id": 360002, "value": "press"}]).status == 201
    options = next(field for field in zendesk.schema()["fields"] if field["id"] == 360002)["custom_field_options"]
    assert len({option["id"] for option in options}) == 2


def test_a_field_can_become_inactive(zendesk: Zendesk) -> None:
    zendesk.change_schema("fields", 360001, active=False)
    assert (
        "not active"
        in problems(zendesk.try_create(custom_fields=[{"id": 360001, "value": "x"}]))["base"]["description"]
    )
    (field,) = [each for each in zendesk.get("ticket_fields")["ticket_fields"] if each["id"] == 360001]
    assert field["active"] is False


@pytest.mark.parametrize(
    ("name", "item", "path", "key", "word", "listed_as"),
    [
        ("groups", 102, "groups", "group_id", "group", "groups"),
        ("brands", 202, "brands", "brand_id", "brand", "brands"),
        ("forms", 302, "ticket_forms", "ticket_form_id", "ticket_form", "ticket_forms"),
        ("statuses", 406, "custom_statuses", "custom_status_id", "custom_status", "custom_statuses"),
    ],
)
def test_what_is_deleted_is_in_no_list_and_not_to_be_used(
    zendesk: Zendesk, name: str, item: int, path: str, key: str, word: str, listed_as: str
) -> None:
    assert zendesk.create(**{key: item})[key] == item
    zendesk.change_schema(name, item, deleted=True)
    assert item not in [each["id"] for each in zendesk.get(path)[listed_as]]
    assert problems(zendesk.try_create(**{key: item}))[word]


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("schema", {"nonsense": []}, 400),
        ("schema", {"groups": [{"id": 1}]}, 400),
        ("schema", {"groups": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, 400),
        ("schema", {"fields": [{"id": 1, "title": "a", "type": "regexp", "regexp_for_validation": "("}]}, 400),
        ("schema/groups/5", {"name": "a"}, 404),
        ("schema/groups/101", {"id": 5}, 400),
        ("schema/options", {"field": 360001, "remove": "vip"}, 404),
        ("schema/options", {"field": 360002, "remove": "nonsense"}, 404),
    ],
)
def test_a_bad_change_of_the_lists_is_refused(zendesk: Zendesk, path: str, content: Any, status: int) -> None:
    before = zendesk.schema()
    answer = zendesk.ask("POST", f"/control/{path}", content)
    assert (answer.status, bool(answer.json["error"])) == (status, True)
    assert zendesk.schema() == before


# What a ticket may hold


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (360001, "text", 5),
        (360002, "vip", "gold"),
        (360003, True, "perhaps"),
        (360004, "two\nlines", ["a"]),
        (360005, "2026-02-28", "2026-02-30"),
        (360006, "-12", "12.5"),
        (360007, "-0.5", "half"),
        (360008, "12-34-56", "12-34"),
        (360009, ["topic_billing", "topic_product"], ["topic_billing", "gone"]),
        (360010, "XXXXXXXXXXXX1234", "none"),
    ],
)
def test_a_custom_field_takes_values_of_its_type(zendesk: Zendesk, field: int, good: Any, bad: Any) -> None:
    made = zendesk.create(custom_fields=[{"id": field, "value": good}])
    assert {"id": field, "value": good} in made["custom_fields"]
    found = problems(zendesk.try_create(custom_fields=[{"id": field, "value": bad}]))
    assert (found["base"]["ticket_field_id"], found["base"]["error"]) == (field, "InvalidValue")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("group_id", 1, "group"),
        ("brand_id", 1, "brand"),
        ("ticket_form_id", 1, "ticket_form"),
        ("custom_status_id", 1, "custom_status"),
        ("assignee_id", 9003, "assignee"),
        ("submitter_id", 1, "submitter"),
        ("priority", "highest", "priority"),
        ("custom_fields", [{"id": 1, "value": "x"}], "base"),
        ("via_followup_source_id", 1, "via_followup_source_id"),
    ],
)
def test_what_does_not_exist_is_refused_by_its_name(zendesk: Zendesk, key: str, value: Any, word: str) -> None:
    assert problems(zendesk.try_create(**{key: value}))[word]
    assert zendesk.tickets() == []


def test_unknown_ids_can_be_dropped_with_a_warning(zendesk: Zendesk) -> None:
    zendesk.change_settings(drops_unknown_ids=True)
    fields = [{"id": 1, "value": "x"}, {"id": 360001, "value": "kept"}]
    answer = zendesk.try_create(group_id=1, ticket_form_id=1, custom_fields=fields)
    assert (answer.status, answer.json["ticket"]["group_id"]) == (201, None)
    assert {"id": 360001, "value": "kept"} in answer.json["ticket"]["custom_fields"]
    warning = answer.headers["x-zendesk-api-warn"]
    assert ':invalid_values=>["ticket.group_id", "ticket.ticket_form_id", "ticket.custom_fields.1"]' in warning


def test_a_new_ticket_is_answered_in_the_recorded_shape(zendesk: Zendesk) -> None:
    answer, known = zendesk.try_create(subject="test"), recorded("ticket_created_201")
    assert (answer.status, answer.json.keys()) == (201, known.keys())
    assert answer.json["ticket"].keys() == known["ticket"].keys()
    assert answer.json["audit"].keys() == known["audit"].keys()
    assert answer.json["audit"]["events"][0].keys() == known["audit"]["events"][0].keys()
    assert answer.json["audit"]["metadata"]["system"].keys() == known["audit"]["metadata"]["system"].keys()


def test_a_suspended_requester_is_refused_as_recorded(zendesk: Zendesk) -> None:
    known = recorded("record_invalid_requester_suspended_422")
    known["details"]["requester"][0]["description"] = "Requester: Suspended Person is suspended."
    assert zendesk.try_create(requester_id=9004).json == known


def test_metadata_stay_in_the_audit(zendesk: Zendesk) -> None:
    ticket = zendesk.create(metadata={"delivery": "abc"})
    zendesk.update(ticket["id"], priority="high", metadata={"delivery": "def"})
    audits = zendesk.get(f"tickets/{ticket['id']}/audits")["audits"]
    assert [audit["metadata"]["custom"] for audit in audits] == [{"delivery": "abc"}, {"delivery": "def"}]


def test_a_custom_status_decides_the_status(zendesk: Zendesk) -> None:
    ticket = zendesk.create(custom_status_id=406)
    assert (ticket["status"], ticket["custom_status_id"]) == ("pending", 406)
    changed = zendesk.update(ticket["id"], status="solved").json["ticket"]
    assert (changed["status"], changed["custom_status_id"]) == ("solved", 405)


# Changing a ticket


def test_a_change_is_answered_in_the_recorded_shape(zendesk: Zendesk) -> None:
    ticket = zendesk.create(subject="Old")
    answer, known = zendesk.update(ticket["id"], subject="New", id=5), recorded("ticket_created_201")
    assert (answer.status, answer.json.keys()) == (200, known.keys())
    assert answer.json["ticket"].keys() == known["ticket"].keys()
    assert answer.json["audit"].keys() == known["audit"].keys()
    (event,) = answer.json["audit"]["events"]
    assert {**event, "id": 0} == {
        "id": 0,
        "type": "Change",
        "value": "New",
        "field_name": "subject",
        "previous_value": "Old",
    }
    assert ':action=>"update", :unpermitted_keys=>["ticket.id"]' in answer.headers["x-zendesk-api-warn"]


def test_a_change_leaves_the_rest_as_it_was(zendesk: Zendesk) -> None:
    fields = [{"id": 360001, "value": "kept"}, {"id": 360002, "value": "vip"}]
    before = zendesk.create(subject="Kept", tags=["a", "b"], custom_fields=fields, priority="low", group_id=101)
    changes = {"tags": ["c"], "custom_fields": [{"id": 360002, "value": "standard"}], "group_id": 102}
    after = zendesk.update(before["id"], **changes).json["ticket"]
    values = {each["id"]: each["value"] for each in after["custom_fields"]}
    assert (after["subject"], after["priority"], after["tags"], after["group_id"]) == ("Kept", "low", ["c"], 102)
    assert (values[360001], values[360002]) == ("kept", "standard")
    assert zendesk.get(f"tickets/{before['id']}.json")["ticket"] == after
    assert after["updated_at"] > before["updated_at"]


def test_every_change_has_a_later_stamp(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    stamps = [ticket["updated_at"]]
    stamps += [zendesk.update(ticket["id"], subject=str(number)).json["ticket"]["updated_at"] for number in range(3)]
    stamps.append(zendesk.change_ticket(ticket["id"], priority="high")["updated_at"])
    assert stamps == sorted(set(stamps))


def test_an_assignee_opens_a_new_ticket(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    assert ticket["status"] == "new"
    changed = zendesk.update(ticket["id"], assignee_email="second.agent@example.com").json["ticket"]
    assert (changed["assignee_id"], changed["status"], changed["custom_status_id"]) == (9002, "open", 402)


def test_a_comment_is_added_and_leaves_the_status_alone(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    answer = zendesk.update(ticket["id"], comment={"body": "Again", "public": True, "author_id": 9003})
    assert answer.json["ticket"]["status"] == "new"
    assert answer.json["audit"]["events"][0]["body"] == "Again"
    first, second = zendesk.get(f"tickets/{ticket['id']}/comments.json")["comments"]
    assert (first["body"], first["public"], first["author_id"]) == (COMMENT["body"], False, 9001)
    assert (second["plain_body"], second["public"], second["author_id"]) == ("Again", True, 9003)
    assert {"id", "html_body", "created_at", "attachments"} <= second.keys()


def test_a_comment_is_as_public_as_the_first_where_it_does_not_say(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    zendesk.update(ticket["id"], comment={"body": "Again"})
    assert [comment["public"] for comment in zendesk.tickets()[0]["comments"]] == [False, False]


def test_comments_come_in_pages_and_either_order(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    for word in ("one", "two"):
        zendesk.update(ticket["id"], comment={"body": word})
    address = f"tickets/{ticket['id']}/comments"
    assert [each["body"] for each in zendesk.get(f"{address}?sort=-created_at")["comments"]][:2] == ["two", "one"]
    page = zendesk.get(f"{address}?page[size]=2")
    assert ([each["body"] for each in page["comments"]][1], page["meta"]["has_more"]) == ("one", True)
    assert zendesk.get(f"{address}?per_page=1&page=3&sort_order=asc")["comments"][0]["body"] == "two"


def test_a_closed_ticket_refuses_every_change(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    assert zendesk.update(ticket["id"], status="closed").status == 200
    changes: tuple[dict[str, Any], ...] = ({"status": "open"}, {"comment": {"body": "x"}}, {"tags": []})
    for change in changes:
        assert "closed" in problems(zendesk.update(ticket["id"], **change))["status"]["description"]


def test_a_follow_up_needs_a_closed_ticket(zendesk: Zendesk) -> None:
    ticket = zendesk.create(subject="First")
    assert problems(zendesk.try_create(via_followup_source_id=ticket["id"]))["via_followup_source_id"]
    zendesk.change_ticket(ticket["id"], status="closed")
    made = zendesk.create(via_followup_source_id=ticket["id"])
    assert (made["via"]["source"]["rel"], made["via"]["source"]["from"]["ticket_id"]) == ("follow_up", ticket["id"])
    assert zendesk.get(f"tickets/{ticket['id']}")["ticket"]["followup_ids"] == [made["id"]]


def test_a_guarded_change_of_an_older_state_is_refused(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    guard = {"safe_update": True, "updated_stamp": ticket["updated_at"]}
    assert zendesk.update(ticket["id"], priority="low", **guard).status == 200
    answer = zendesk.update(ticket["id"], priority="high", **guard)
    assert (answer.status, zendesk.tickets()[0]["priority"]) == (409, "low")


def test_an_unknown_ticket_is_answered_as_recorded(zendesk: Zendesk) -> None:
    answer = zendesk.update(9223372036854775807, id=1)
    assert (answer.status, answer.json) == (404, recorded("record_not_found_404"))
    assert "ticket.id" in answer.headers["x-zendesk-api-warn"]


def test_updates_can_have_a_limit_of_their_own(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    assert "zendesk-ratelimit-tickets-update" not in zendesk.update(ticket["id"], priority="low").headers
    zendesk.change_settings(update_limit=1)
    header = zendesk.update(ticket["id"], priority="low").headers["zendesk-ratelimit-tickets-update"]
    assert header.startswith("total=1; remaining=0; resets=")
    answer = zendesk.update(ticket["id"], priority="low")
    assert (answer.status, answer.json) == (429, {})
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_several_tickets_are_shown_at_once(zendesk: Zendesk) -> None:
    ids = [zendesk.create()["id"] for _ in range(3)]
    zendesk.delete_ticket(ids[1])
    found = zendesk.get(f"tickets/show_many.json?ids={ids[2]},{ids[1]},{ids[0]}")
    assert [ticket["id"] for ticket in found["tickets"]] == [ids[0], ids[2]]
    many = ",".join(str(number) for number in range(101))
    assert zendesk.ask("GET", f"/api/v2/tickets/show_many.json?ids={many}").status == 400


def test_a_deleted_ticket_is_gone(zendesk: Zendesk) -> None:
    ticket = zendesk.create(external_id="khoros:1")
    zendesk.delete_ticket(ticket["id"])
    for method in ("GET", "PUT"):
        assert zendesk.ask(method, f"/api/v2/tickets/{ticket['id']}", {"ticket": {}}).status == 404
    assert zendesk.ask("GET", f"/api/v2/tickets/{ticket['id']}/comments").status == 404
    assert zendesk.get("tickets.json?external_id=khoros:1")["tickets"] == []


def test_an_agent_changes_tickets_through_control(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    zendesk.change_ticket(ticket["id"], status="closed")
    changed = zendesk.change_ticket(ticket["id"], status="open", comment={"body": "Reopened", "public": False}, by=9002)
    assert (changed["status"], changed["comments"][1]["author_id"]) == ("open", 9002)
    assert zendesk.ask("POST", f"/control/tickets/{ticket['id']}", {"group_id": 1}).status == 400
    assert zendesk.ask("POST", f"/control/tickets/{ticket['id']}", {"nonsense": 1}).status == 400
    assert zendesk.ask("POST", "/control/tickets/1", {"status": "open"}).status == 404


# Jobs


def test_a_job_is_queued_in_the_recorded_shape(zendesk: Zendesk) -> None:
    zendesk.change_settings(job_seconds_per_ticket=0.01)
    ticket = {"comment": COMMENT}
    answer = zendesk.ask("POST", "/api/v2/tickets/create_many.json", {"tickets": [ticket] * 5})
    status = answer.json["job_status"]
    assert answer.status == 200
    assert status == {
        "id": status["id"],
        "job_type": "Bulk Create Ticket",
        "url": status["url"],
        "total": 5,
        "progress": None,
        "status": "queued",
        "message": None,
        "results": None,
    }
    assert status["url"].endswith(f"/api/v2/job_statuses/{status['id']}.json")
    assert answer.headers["zendesk-ratelimit-inflight-jobs"] == "total=30; remaining=29; resets=60"


def test_a_job_tells_its_progress_and_then_its_results(zendesk: Zendesk) -> None:
    zendesk.change_settings(job_seconds_per_ticket=60)
    job_id = zendesk.create_many(10)
    working = until(lambda: (job := zendesk.job(job_id))["status"] == "working" and job)
    assert (working["progress"], working["message"], working["results"]) == (1, "Creating ticket #1", None)
    zendesk.change_settings(job_seconds_per_ticket=0)
    done = zendesk.finished_job(job_id)
    assert done.keys() == set(RECORDED_KEYS["job_status"].split())
    assert (done["status"], done["progress"]) == ("completed", 10)
    assert done["message"].startswith("Completed at ")


def test_results_are_joined_by_index_not_by_order_of_ids(zendesk: Zendesk) -> None:
    results = zendesk.finished_job(zendesk.create_many(50))["results"]
    ids = [each["id"] for each in results]
    subjects = {ticket["id"]: ticket["subject"] for ticket in zendesk.tickets()}
    assert [each["index"] for each in results] == list(range(50))
    assert [subjects[id_] for id_ in ids] == [f"Number {number}" for number in range(50)]
    assert ids != sorted(ids)
    assert results[0].keys() == {"index", "id", "account_id"}


def test_a_job_whose_tickets_all_fail_is_completed(zendesk: Zendesk) -> None:
    answer = zendesk.ask("POST", "/api/v2/tickets/create_many", {"tickets": [{"subject": "no comment"}, "text"]})
    done = zendesk.finished_job(answer.json["job_status"]["id"])
    assert done["status"] == "completed"
    blank = {"index": 0, "error": "TicketCreateFailed", "details": "Description: cannot be blank"}
    assert done["results"][0] == blank
    assert done["results"][1]["error"] == "TicketCreateFailed"


@pytest.mark.parametrize("death", ["failed", "killed"])
def test_a_job_that_dies_leaves_what_it_made(zendesk: Zendesk, death: str) -> None:
    zendesk.change_settings(job_dies_after=3, job_death=death)
    done = zendesk.finished_job(zendesk.create_many(5))
    assert (done["status"], done["progress"], done["results"]) == (death, 3, None)
    assert len(zendesk.tickets()) == 3
    assert len(zendesk.jobs()[0]["done"]) == 3
    assert zendesk.finished_job(zendesk.create_many(2))["status"] == "completed"


def test_more_than_a_hundred_tickets_are_refused(zendesk: Zendesk) -> None:
    answer = zendesk.ask("POST", "/api/v2/tickets/create_many", {"tickets": [{}] * 101})
    assert (answer.status, answer.json["error"]) == (400, "TooManyValues")


def test_the_thirty_first_job_is_one_too_many(zendesk: Zendesk) -> None:
    zendesk.change_settings(job_seconds_per_ticket=60)
    ids = [zendesk.create_many(1) for _ in range(30)]
    answer = zendesk.ask("POST", "/api/v2/tickets/create_many", {"tickets": [{}]})
    assert (answer.status, answer.json["error"]) == (429, "TooManyJobs")
    assert answer.json.keys() == {"error", "description", "current_job_ids"}
    assert set(answer.json["current_job_ids"]) <= set(ids)
    assert answer.headers["zendesk-ratelimit-inflight-jobs"] == "total=30; remaining=0; resets=60"


def test_several_jobs_are_shown_at_once_until_they_are_forgotten(zendesk: Zendesk) -> None:
    ids = [zendesk.create_many(1), zendesk.create_many(1)]
    assert len(zendesk.get(f"job_statuses/show_many.json?ids={','.join(ids)}")["job_statuses"]) == 2
    zendesk.control("POST", "jobs/forget")
    assert zendesk.ask("GET", f"/api/v2/job_statuses/{ids[0]}.json").status == 404
    assert [job["forgotten"] for job in zendesk.jobs()] == [True, True]


def test_a_job_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        zendesk = Zendesk(sandbox.url)
        zendesk.change_settings(job_seconds_per_ticket=60)
        job_id = zendesk.create_many(5)
        until(lambda: zendesk.tickets())
    with running_sandbox(tmp_path) as sandbox:
        zendesk = Zendesk(sandbox.url)
        assert zendesk.job(job_id)["results"] is None
        zendesk.change_settings(job_seconds_per_ticket=0)
        assert len(zendesk.finished_job(job_id)["results"]) == 5
        assert sorted(each["subject"] for each in zendesk.tickets()) == [f"Number {number}" for number in range(5)]


# People


def test_a_person_is_made_once_and_then_changed(zendesk: Zendesk) -> None:
    made = zendesk.upsert(name="Ada", external_id="khoros:ABC")
    again = zendesk.upsert(name="Ada L.", external_id="khoros:abc")
    assert (made.status, again.status) == (201, 200)
    assert (again.json["user"]["id"], again.json["user"]["name"]) == (made.json["user"]["id"], "Ada L.")
    assert (made.json["user"]["role"], again.json["user"]["external_id"]) == ("end-user", "khoros:abc")
    found = zendesk.get("users/search.json?external_id=KHOROS:abc")["users"]
    assert [user["id"] for user in found] == [made.json["user"]["id"]]


def test_a_person_is_known_by_any_of_their_addresses(zendesk: Zendesk) -> None:
    made = zendesk.upsert(name="Ada", email="ada@example.com").json["user"]
    zendesk.ask(
        "POST", f"/api/v2/users/{made['id']}/identities", {"identity": {"type": "email", "value": "a@b.example"}}
    )
    again = zendesk.upsert(name="Ada", email="A@B.example")
    assert (again.status, again.json["user"]["id"]) == (200, made["id"])
    assert zendesk.create(requester={"email": "a@b.example"})["requester_id"] == made["id"]


def test_the_first_of_a_person_may_bring_identities(zendesk: Zendesk) -> None:
    identities = [{"type": "twitter", "value": "ada"}, {"type": "facebook", "value": "123"}]
    made = zendesk.upsert(name="Ada", email="ada@example.com", identities=identities).json["user"]
    found = zendesk.get(f"users/{made['id']}/identities.json")["identities"]
    assert [(each["type"], each["value"]) for each in found] == [
        ("email", "ada@example.com"),
        ("twitter", "ada"),
        ("facebook", "123"),
    ]
    assert [each["primary"] for each in found] == [True, False, False]
    taken = zendesk.upsert(name="Bob", identities=[{"type": "twitter", "value": "ADA"}])
    assert problems(taken)["value"]["error"] == "DuplicateValue"
    assert len(zendesk.users()) == 5


@pytest.mark.parametrize(
    ("identity", "word", "code"),
    [
        ({"type": "messaging", "value": "x"}, "type", "InvalidValue"),
        ({"type": "email", "value": "agent@example.com"}, "value", "DuplicateValue"),
        ({"type": "email", "value": "nonsense"}, "value", "InvalidFormat"),
        ({"type": "facebook", "value": "name"}, "value", "InvalidFormat"),
        ({"type": "twitter", "value": ""}, "value", "BlankValue"),
    ],
)
def test_a_bad_identity_is_refused(zendesk: Zendesk, identity: Any, word: str, code: str) -> None:
    answer = zendesk.ask("POST", "/api/v2/users/9003/identities.json", {"identity": identity})
    assert problems(answer)[word]["error"] == code


def test_an_identity_is_added(zendesk: Zendesk) -> None:
    content = {"identity": {"type": "twitter", "value": "intake"}}
    answer = zendesk.ask("POST", "/api/v2/users/9003/identities.json", content)
    assert (answer.status, answer.json["identity"]["value"]) == (201, "intake")
    assert [user["id"] for user in zendesk.get("users/search?query=twitter:intake")["users"]] == [9003]


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_name_has_one_to_255_characters(zendesk: Zendesk, name: str) -> None:
    assert problems(zendesk.upsert(name=name, external_id="1"))["name"]
    assert zendesk.upsert(name="x" * 255, external_id="1").status == 201


def test_an_address_and_an_external_id_of_two_people_do_not_go_together(zendesk: Zendesk) -> None:
    zendesk.upsert(name="Ada", external_id="1")
    answer = zendesk.upsert(name="Ada", external_id="1", email="agent@example.com")
    assert problems(answer)["email"]["error"] == "DuplicateValue"


def test_people_are_made_at_most_once_a_second(zendesk: Zendesk) -> None:
    zendesk.change_settings(rate_limit=700)
    assert zendesk.upsert(name="Ada", external_id="1").status == 201
    answer = until(lambda: (answer := zendesk.upsert(name="Bob", external_id="2")).status == 429 and answer)
    assert answer.headers["Retry-After"] == "1"
    zendesk.change_settings(user_limits=False)
    assert {zendesk.upsert(name="Cleo", external_id=word).status for word in "abc"} == {201}


def test_the_sixth_change_of_a_person_in_a_minute_is_refused(tmp_path: Path) -> None:
    """Asked of the limits themselves: over sockets the limit of one per second would make it slow."""
    state = State(tmp_path)
    limits = Limits(state)

    def is_refused(user_id: int) -> bool:
        left = limits.of_upsert_of(user_id)
        return left is not None and left.exceeded

    assert [is_refused(1) for _ in range(6)] == [False] * 5 + [True]
    assert not is_refused(2)
    state.close()


def test_a_suspended_person_is_let_back_in(zendesk: Zendesk) -> None:
    assert problems(zendesk.try_create(requester_id=9004))["requester"]["error"] == "UserSuspended"
    zendesk.change_user(9004, suspended=False)
    assert zendesk.try_create(requester_id=9004).status == 201
    made = zendesk.make_user(name="New Agent", email="new@example.com", role="agent")
    assert zendesk.create(assignee_id=made["id"])["assignee_id"] == made["id"]
    zendesk.change_user(made["id"], suspended=True)
    assert problems(zendesk.try_create(assignee_id=made["id"]))["assignee"]


# Signing in


def test_who_signs_in_can_be_no_agent_any_more(zendesk: Zendesk) -> None:
    zendesk.change_settings(agent_role="end-user")
    assert zendesk.get("users/me")["user"]["role"] == "end-user"
    assert zendesk.ask("GET", "/api/v2/groups/assignable.json").status == 403
    zendesk.change_settings(agent_role="agent", agent_suspended=True)
    assert zendesk.get("users/me")["user"]["suspended"] is True


def test_a_wrong_token_is_nobody(zendesk: Zendesk) -> None:
    wrong = {"Authorization": "Bearer nonsense"}
    assert zendesk.ask("GET", "/api/v2/users/me.json", headers=wrong).json["user"]["id"] is None
    answer = zendesk.ask("GET", "/api/v2/groups.json", headers=wrong)
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")


def test_api_tokens_can_be_switched_off(zendesk: Zendesk) -> None:
    zendesk.change_oauth(api_tokens=False)
    answer = zendesk.ask("GET", "/api/v2/groups.json")
    assert (answer.status, answer.json) == (401, recorded("unauthorized_401"))
    assert zendesk.ask("GET", "/api/v2/groups.json", headers=zendesk.token()).status == 200


@pytest.mark.parametrize(
    ("scope", "path", "allowed"),
    [
        ("read", "groups", True),
        ("tickets:read", "tickets", True),
        ("tickets:read", "tickets/show_many?ids=1", True),
        ("tickets:read", "groups", False),
        ("tickets:read", "users/me", False),
        ("users:read", "users/me", True),
        ("users:read", "users/9001/identities", False),
        ("read", "users/9001/identities", True),
        ("write tickets:write", "tickets", False),
        ("tickets:write impersonate", "ticket_fields", False),
        ("nonsense", "tickets", False),
    ],
)
def test_a_token_may_do_what_its_scopes_name(zendesk: Zendesk, scope: str, path: str, allowed: bool) -> None:
    answer = zendesk.ask("GET", f"/api/v2/{path}", headers=zendesk.token(scope))
    assert answer.status == (200 if allowed else 403)
    if not allowed:
        assert answer.json["description"] == "You are missing the following required scopes: read"


def test_a_missing_scope_is_refused_as_recorded(zendesk: Zendesk) -> None:
    content = {"ticket": {"comment": COMMENT}}
    answer = zendesk.ask("POST", "/api/v2/tickets.json", content, zendesk.token("read"))
    assert (answer.status, answer.json) == (403, recorded("forbidden_scope_403"))
    assert zendesk.ask("POST", "/api/v2/tickets.json", content, zendesk.token("tickets:write")).status == 201


def test_scopes_can_be_cut_to_what_is_allowed(zendesk: Zendesk) -> None:
    zendesk.change_oauth(allowed_scopes="read")
    assert zendesk.ask_for_token(scope="read write tickets:read").json["scope"] == "read tickets:read"


@pytest.mark.parametrize(
    ("wanted", "status", "error"),
    [
        ({"expires_in": 299}, 400, "invalid_request"),
        ({"expires_in": 172_801}, 400, "invalid_request"),
        ({"expires_in": "soon"}, 400, "invalid_request"),
        ({"refresh_token_expires_in": 604_799}, 400, "invalid_request"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "wrong"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "wrong"}, 400, "invalid_grant"),
    ],
)
def test_a_bad_request_for_a_token_is_refused(zendesk: Zendesk, wanted: Any, status: int, error: str) -> None:
    grant = wanted.get("grant_type", "client_credentials")
    answer = zendesk.ask_for_token(grant, **wanted)
    assert (answer.status, answer.json["error"]) == (status, error)


def test_a_token_can_be_asked_for_with_a_form(zendesk: Zendesk) -> None:
    wanted = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", "grant_type": "client_credentials"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = zendesk.ask("POST", "/oauth/tokens", urlencode({**wanted, "expires_in": "600"}).encode(), headers)
    assert (answer.status, answer.json["expires_in"], "refresh_token" in answer.json) == (200, 600, False)


def test_the_secret_of_the_client_can_be_replaced(zendesk: Zendesk) -> None:
    zendesk.change_oauth(client_secret="another")
    assert zendesk.ask_for_token().status == 401
    assert zendesk.ask_for_token(client_secret="another").status == 200


def test_an_agent_is_asked_whether_to_allow(zendesk: Zendesk) -> None:
    asked = {"response_type": "code", "client_id": "sandbox-client", "redirect_uri": REDIRECT, "scope": "read <b>"}
    page = zendesk.ask("GET", f"/oauth/authorizations/new?{urlencode(asked)}", headers={})
    assert (page.status, "Allow" in page.text, "Deny" in page.text, "read &lt;b&gt;" in page.text) == (
        200,
        True,
        True,
        True,
    )
    for wrong in ({"client_id": "x"}, {"redirect_uri": "javascript:1"}, {"response_type": "token"}):
        address = f"/oauth/authorizations/new?{urlencode({**asked, **wrong})}"
        assert zendesk.ask("GET", address, headers={}).status == 400


def test_a_code_is_good_once_and_for_one_address(zendesk: Zendesk) -> None:
    allowed = zendesk.decide("allow", scope="read")
    assert (allowed.status, allowed.target.netloc) == (303, "portal.example.com")
    assert (allowed.query["state"], allowed.query["tenant"]) == ("s 1", "1")
    wanted = {"code": allowed.query["code"], "redirect_uri": REDIRECT}
    pair = zendesk.ask_for_token("authorization_code", **wanted).json
    assert (pair["scope"], pair["refresh_token_expires_in"]) == ("read", 2_592_000)
    assert zendesk.ask_for_token("authorization_code", **wanted).json["error"] == "invalid_grant"
    other = zendesk.decide("allow").query["code"]
    assert zendesk.ask_for_token("authorization_code", code=other, redirect_uri="https://x.example").status == 400
    late = zendesk.decide("allow").query["code"]
    zendesk.expire_tokens("code")
    assert zendesk.ask_for_token("authorization_code", code=late, redirect_uri=REDIRECT).status == 400


def test_an_agent_may_deny(zendesk: Zendesk) -> None:
    denied = zendesk.decide("deny")
    assert (denied.status, denied.query["error"], denied.query["state"]) == (303, "access_denied", "s 1")
    assert "code" not in denied.query


def test_a_refresh_replaces_both_tokens_at_once(zendesk: Zendesk) -> None:
    code = zendesk.decide("allow").query["code"]
    first = zendesk.ask_for_token("authorization_code", code=code, redirect_uri=REDIRECT, expires_in=400).json
    second = zendesk.ask_for_token("refresh_token", refresh_token=first["refresh_token"]).json
    assert (second["scope"], second["expires_in"]) == ("read write", 400)
    assert not {first["access_token"], first["refresh_token"]} & {second["access_token"], second["refresh_token"]}

    def status(token: str) -> int:
        return int(zendesk.ask("GET", "/api/v2/groups", headers={"Authorization": f"Bearer {token}"}).status)

    assert (status(first["access_token"]), status(second["access_token"])) == (401, 200)
    again = zendesk.ask_for_token("refresh_token", refresh_token=first["refresh_token"])
    assert (again.status, again.json["error"]) == (400, "invalid_grant")


def test_tokens_can_end_and_be_taken_back(zendesk: Zendesk) -> None:
    code = zendesk.decide("allow").query["code"]
    pair = zendesk.ask_for_token("authorization_code", code=code, redirect_uri=REDIRECT).json
    zendesk.expire_tokens()
    header = {"Authorization": f"Bearer {pair['access_token']}"}
    assert zendesk.ask("GET", "/api/v2/groups", headers=header).json["error"] == "invalid_token"
    kinds = [(token["kind"], token["lives"]) for token in zendesk.control("GET", "tokens")["tokens"]]
    assert kinds == [("access", False), ("refresh", True)]
    zendesk.revoke_tokens()
    assert zendesk.ask_for_token("refresh_token", refresh_token=pair["refresh_token"]).status == 400
    assert zendesk.control("GET", "tokens")["tokens"] == []


# Limits


@pytest.mark.parametrize(
    ("spelling", "names"),
    [
        (
            "all",
            {"x-rate-limit", "x-rate-limit-remaining", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"},
        ),
        ("new", {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}),
        ("old", {"rate-limit", "rate-limit-remaining", "rate-limit-reset"}),
        ("x", {"x-rate-limit", "x-rate-limit-remaining"}),
        (
            "shouting",
            {"X-RATE-LIMIT", "x-Rate-LIMIT-Remaining", "RateLimit-Limit", "RATELIMIT-Remaining", "RateLimit-RESET"},
        ),
        ("none", set()),
    ],
)
def test_limits_are_told_in_headers_of_any_spelling(zendesk: Zendesk, spelling: str, names: set[str]) -> None:
    zendesk.change_settings(rate_limit=700, rate_headers=spelling)
    answer = zendesk.ask("GET", "/api/v2/groups")
    assert {name for name in answer.headers if "rate" in name.lower()} == names


def test_named_limits_have_two_spellings(zendesk: Zendesk) -> None:
    zendesk.change_settings(rate_limit=700, named_limit_spelling="zendesk-rate-limit-")
    assert "zendesk-rate-limit-tickets-index" in zendesk.ask("GET", "/api/v2/tickets").headers


def test_others_use_the_limit_as_well(zendesk: Zendesk) -> None:
    zendesk.change_settings(rate_limit=700, others_use_per_minute=1_000_000)
    assert zendesk.ask("GET", "/api/v2/groups").status == 200
    assert until(lambda: zendesk.ask("GET", "/api/v2/groups").status == 429)


# Webhooks


def signed(call: Any, secret: str) -> bool:
    message = call.headers["X-Zendesk-Webhook-Signature-Timestamp"].encode() + call.raw
    digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return bool(call.headers["X-Zendesk-Webhook-Signature"] == base64.b64encode(digest).decode())


def arrived(receiver: Any, count: int) -> list[Any]:
    """The calls, once so many have come."""
    return list(until(lambda: len(receiver.arrived) >= count and receiver.arrived))


def test_a_webhook_is_answered_in_the_recorded_shape(zendesk: Zendesk) -> None:
    answer = zendesk.add_webhook("https://portal.example.com/in", "status_changed")
    webhook = answer.json["webhook"]
    recorded_keys = "id name description status subscriptions created_at created_by endpoint http_method request_format"
    assert (answer.status, webhook.keys()) == (201, set(recorded_keys.split()))
    assert zendesk.get(f"webhooks/{webhook['id']}")["webhook"] == webhook
    assert len(webhook["id"]) == 26
    listed = zendesk.get("webhooks?page[size]=1")
    assert (listed["webhooks"], listed["meta"]["has_more"]) == ([webhook], False)
    assert zendesk.webhooks()[0]["signing_secret"] == zendesk.secret()


def test_a_webhook_is_changed_and_deleted(zendesk: Zendesk) -> None:
    address = f"/api/v2/webhooks/{zendesk.add_webhook('https://a.example', CONDITIONAL).json['webhook']['id']}"
    assert zendesk.ask("PATCH", address, {"webhook": {"status": "inactive"}}).status == 204
    assert zendesk.ask("PUT", address, {"webhook": {"status": "active"}}).status == 400
    assert zendesk.webhooks()[0]["status"] == "inactive"
    assert zendesk.ask("POST", f"{address}/signing_secret").status == 201
    assert zendesk.ask("DELETE", address).status == 204
    assert zendesk.ask("GET", address).json["errors"][0].keys() == {"code", "title", "detail"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"endpoint": "ftp://a.example"},
        {"http_method": "HEAD"},
        {"request_format": "yaml"},
        {"status": None},
        {"subscriptions": ["nonsense"]},
        {"subscriptions": [CONDITIONAL, "zen:event-type:ticket.created"]},
        {"subscriptions": ["zen:event-type:ticket.created"], "http_method": "GET"},
    ],
)
def test_a_bad_webhook_is_refused(zendesk: Zendesk, wrong: dict[str, Any]) -> None:
    answer = zendesk.add_webhook("https://a.example", **wrong)
    assert (answer.status, len(answer.json["errors"])) == (400, 1)
    assert zendesk.webhooks() == []


def test_setting_up_webhooks_can_be_refused(zendesk: Zendesk) -> None:
    zendesk.change_settings(refuse_webhook_setup=True)
    answer = zendesk.add_webhook("https://a.example", "created")
    assert (answer.status, answer.json["errors"][0]["code"]) == (403, "Forbidden")
    webhooks_only = zendesk.token("webhooks:write")
    zendesk.change_settings(refuse_webhook_setup=False)
    assert zendesk.ask("POST", "/api/v2/webhooks", {"webhook": {}}, webhooks_only).status == 400


def test_a_change_is_told_to_who_wants_to_know_and_signed(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, "status_changed", "agent_assignment_changed")
    ticket = zendesk.create(external_id="khoros:1", subject="¿Dónde? 🚚")
    zendesk.update(ticket["id"], assignee_id=9002, tags=["x"])
    status, assignee = arrived(receiver, 2)
    assert all(signed(call, zendesk.secret()) for call in (status, assignee))
    assert status.headers["User-Agent"] == "Zendesk Webhook"
    assert status.headers["X-Zendesk-Webhook-Id"] == zendesk.webhooks()[0]["id"]
    assert status.headers["X-Zendesk-Account-Id"] == str(status.body["account_id"])
    assert (status.body["type"], status.body["subject"]) == (
        "zen:event-type:ticket.status_changed",
        f"zen:ticket:{ticket['id']}",
    )
    detail, event = status.body["detail"], status.body["event"]
    assert (detail["id"], detail["status"], detail["assignee_id"]) == (str(ticket["id"]), "OPEN", "9002")
    assert (detail["external_id"], detail["tags"], detail["group_id"]) == ("khoros:1", ["x"], None)
    assert (event["previous"], event["current"]) == ("NEW", "OPEN")
    assert event["meta"]["sequence"]["id"] == assignee.body["event"]["meta"]["sequence"]["id"]
    assert (assignee.body["event"]["previous"], assignee.body["event"]["current"]) == (None, "9002")
    assert status.body["id"] != assignee.body["id"]
    assert detail["updated_at"] == zendesk.tickets()[0]["updated_at"]


def test_what_an_agent_does_is_told_as_well(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, "created", "comment_added", "soft_deleted")
    ticket = zendesk.create()
    zendesk.change_ticket(ticket["id"], comment={"body": "Called back", "public": False}, by=9002)
    zendesk.delete_ticket(ticket["id"])
    types = [call.body["type"].rpartition(".")[2] for call in arrived(receiver, 3)]
    assert types == ["created", "comment_added", "soft_deleted"]
    assert receiver.arrived[1].body["event"]["comment"]["body"] == "Called back"
    assert receiver.arrived[1].body["detail"]["actor_id"] == "9002"


def test_a_trigger_tells_what_an_administrator_wrote(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, CONDITIONAL)
    ticket = zendesk.create()
    (call,) = arrived(receiver, 1)
    assert (call.body["ticket_id"], call.body["status"]) == (str(ticket["id"]), "New")
    assert signed(call, zendesk.secret())


def test_only_active_webhooks_are_called(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, "created", status="inactive")
    zendesk.add_webhook(receiver.url, "status_changed")
    ticket = zendesk.create()
    zendesk.update(ticket["id"], status="solved")
    (call,) = arrived(receiver, 1)
    assert call.body["event"]["current"] == "SOLVED"
    assert len(zendesk.webhook_calls()) == 1


@pytest.mark.parametrize("failure", [500, 503, 429])
def test_a_call_that_fails_is_made_again_with_the_same_event(zendesk: Zendesk, receiver: Any, failure: int) -> None:
    zendesk.add_webhook(receiver.url, "created")
    receiver.statuses.append(failure)
    zendesk.create()
    first, second = arrived(receiver, 2)
    assert first.raw == second.raw
    assert signed(second, zendesk.secret())
    done = until(
        lambda: [call for call in zendesk.webhook_calls() if call["finished_at"]][1:] and zendesk.webhook_calls()
    )
    assert [(call["attempt"], call["status"]) for call in done] == [(1, failure), (2, 200)]


def test_a_call_is_made_three_times_at_most(zendesk: Zendesk) -> None:
    zendesk.add_webhook("http://127.0.0.1:9/in", "created")
    zendesk.create()
    calls = until(lambda: len(found := zendesk.webhook_calls()) == 3 and found[2]["finished_at"] and found)
    assert [call["error"] for call in calls] == ["connection refused"] * 3
    assert len({call["event_id"] for call in calls}) == 1


def test_a_refusal_is_not_tried_again(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, "created")
    receiver.statuses.append(403)
    zendesk.create()
    zendesk.create()
    arrived(receiver, 2)
    assert [call["attempt"] for call in zendesk.webhook_calls()] == [1, 1]


def test_webhooks_can_call_twice(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.change_settings(webhooks_twice=True)
    zendesk.add_webhook(receiver.url, "created")
    zendesk.create()
    first, second = arrived(receiver, 2)
    assert first.body["id"] == second.body["id"]


def test_webhooks_can_call_out_of_order(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.change_settings(webhooks_out_of_order=True)
    zendesk.add_webhook(receiver.url, "created", "status_changed")
    ticket = zendesk.create()
    zendesk.update(ticket["id"], status="solved")
    types = [call.body["type"].rpartition(".")[2] for call in arrived(receiver, 2)]
    assert types == ["status_changed", "created"]


def test_webhooks_can_keep_silent(zendesk: Zendesk) -> None:
    zendesk.add_webhook("http://127.0.0.1:9/in", "created")
    zendesk.change_settings(webhooks_off=True)
    zendesk.create()
    assert zendesk.webhook_calls() == []


def test_the_clock_of_webhooks_can_be_wrong(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.change_settings(webhook_clock_seconds=-3600)
    zendesk.add_webhook(receiver.url, "created")
    zendesk.create()
    (call,) = arrived(receiver, 1)
    stamp = datetime.fromisoformat(call.headers["X-Zendesk-Webhook-Signature-Timestamp"])
    assert 3590 < (datetime.now(UTC) - stamp).total_seconds() < 3620
    assert signed(call, zendesk.secret())


def test_a_call_can_be_repeated_byte_by_byte(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, "created")
    zendesk.create()
    until(lambda: zendesk.webhook_calls()[0]["finished_at"])
    zendesk.repeat_webhook_call(zendesk.webhook_calls()[0]["id"])
    first, second = arrived(receiver, 2)
    assert (first.raw, first.headers.items()) == (second.raw, second.headers.items())
    assert zendesk.ask("POST", "/control/webhook-calls/999/repeat").status == 404


def test_jobs_tell_webhooks_too(zendesk: Zendesk, receiver: Any) -> None:
    zendesk.add_webhook(receiver.url, "created")
    zendesk.create_many(3)
    ids = {call.body["detail"]["id"] for call in arrived(receiver, 3)}
    assert ids == {str(ticket["id"]) for ticket in zendesk.tickets()}


# Pages


def test_an_agent_works_on_a_ticket_on_its_page(zendesk: Zendesk) -> None:
    fields = [{"id": 360001, "value": "https://example.com/post"}]
    ticket = zendesk.create(subject="<b>Late</b>", tags=["vip"], custom_fields=fields)
    address = f"/tickets/{ticket['id']}"
    zendesk.press(f"{address}/assign")
    zendesk.press(f"{address}/comments", body="Called <i>back</i>", public="1")
    page = zendesk.press(f"{address}/status", status="pending")
    (changed,) = zendesk.tickets()
    assert (changed["assignee_id"], changed["status"]) == (9001, "pending")
    assert [comment["public"] for comment in changed["comments"]] == [False, True]
    for shown in (
        "Internal note",
        "Public comment",
        "Called &lt;i&gt;back&lt;/i&gt;",
        "Link to the post",
        "vip",
        "&lt;b&gt;",
    ):
        assert shown in page.text
    assert "<i>" not in page.text


def test_the_page_of_a_closed_ticket_leads_to_what_follows_it(zendesk: Zendesk) -> None:
    ticket = zendesk.create()
    page = zendesk.press(f"/tickets/{ticket['id']}/status", status="closed")
    assert ("This ticket is closed" in page.text, "Add comment" in page.text) == (True, False)
    later = zendesk.create(via_followup_source_id=ticket["id"])
    assert f'followed up by <a href="/tickets/{later["id"]}">' in zendesk.ask("GET", f"/tickets/{ticket['id']}").text
    assert f'follows up <a href="/tickets/{ticket["id"]}">' in zendesk.ask("GET", f"/agent/tickets/{later['id']}").text


def test_people_are_suspended_and_let_in_on_their_page(zendesk: Zendesk) -> None:
    page = zendesk.press("/people/9003/suspend")
    assert page.text.count("Unsuspend") == 2
    assert problems(zendesk.try_create(requester_id=9003))["requester"]
    assert zendesk.press("/people/9003/unsuspend").text.count("Unsuspend") == 1


def test_the_schema_is_changed_on_its_page(zendesk: Zendesk) -> None:
    page = zendesk.ask("GET", "/schema")
    assert (page.status, "Customer tier" in page.text, "Waiting for the network" in page.text) == (200, True, True)
    assert "VIP (vip)" not in zendesk.press("/schema/fields/360002/options/remove", value="vip").text
    zendesk.press("/schema/fields/360001/deactivate")
    zendesk.press("/schema/groups/101/delete")
    assert "group" in problems(zendesk.try_create(group_id=101))
    zendesk.press("/schema/groups/101/restore")
    assert zendesk.try_create(group_id=101).status == 201
    assert problems(zendesk.try_create(custom_fields=[{"id": 360001, "value": "x"}]))["base"]


# Older files


def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        ticket = Zendesk(sandbox.url).create(subject="Older")
    connection = sqlite3.connect(tmp_path / "sandbox.sqlite3")
    connection.executescript("""
        DROP TABLE comments;
        DROP TABLE documents;
        DROP INDEX users_by_external_id;
        ALTER TABLE users DROP COLUMN external_id;
        PRAGMA user_version = 2;
    """)
    connection.close()
    with running_sandbox(tmp_path) as sandbox:
        zendesk = Zendesk(sandbox.url)
        (comment,) = zendesk.get(f"tickets/{ticket['id']}/comments")["comments"]
        assert (comment["body"], comment["author_id"]) == (COMMENT["body"], 9001)
        assert zendesk.update(ticket["id"], comment={"body": "Later"}).status == 200
