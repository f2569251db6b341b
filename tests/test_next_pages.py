"""Lists that go on: the next page is asked for at the account itself, whatever its answer names."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from integrations.destinations.base import Credentials
from integrations.destinations.zendesk import comments, jobs, schema, webhooks
from integrations.destinations.zendesk.paging import LeadsElsewhere, next_page
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from tests.receiver import Receiver
from tests.stand_in import StandIn

ACCOUNT = "https://example.zendesk.com"
HOSTILE = [
    "@evil.example/x",
    ".evil.example/x",
    ":443@evil.example/x",
    "//evil.example/x",
    "///evil.example/x",
    "\\\\evil.example/x",
    "/\\evil.example/x",
    "/\t/evil.example/x",
    " //evil.example/x",
    "/x\r\nHost: evil.example",
    "/x\x00",
    "https://evil.example/api/v2/x",
    "https://example.zendesk.com.evil.example/x",
    "https://example.zendesk.com@evil.example/x",
    "https://example.zendesk.com:8443/x",
    "https://example.zendesk.com:99999/x",
    "http://example.zendesk.com/x",
    "https:/evil.example/x",
    "https://example.zendesk.com//evil.example/x",
    "https://example.zendesk.com\\@evil.example/x",
    "https://[evil/x",
    "javascript:x",
    "?page=2",
    "x",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_a_next_page_elsewhere_is_told_in_text(address: str) -> None:
    for content in ({"next_page": address}, {"links": {"next": address}, "meta": {"has_more": True}}):
        with pytest.raises(LeadsElsewhere, match="different host") as told:
            next_page(HttpClient(ACCOUNT, 5), content)
        assert told.value.permanent
        assert told.value.remedy_at == "connection"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (f"{ACCOUNT}/api/v2/x.json?page[after]=a%3D%3D", "/api/v2/x.json?page%5Bafter%5D=a%3D%3D"),
        ("HTTPS://EXAMPLE.zendesk.com:443/api/v2/x.json", "/api/v2/x.json"),
        ("/api/v2/x.json?page=2&y=https://z", "/api/v2/x.json?page=2&y=https://z"),
    ],
)
def test_a_next_page_of_the_account_is_followed_by_its_path(address: str, path: str) -> None:
    assert next_page(HttpClient(ACCOUNT, 5), {"next_page": address}) == path
    assert next_page(HttpClient(ACCOUNT, 5), {"links": {"next": address}, "meta": {"has_more": True}}) == path


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"next_page": None},
        {"next_page": ""},
        {"next_page": 7},
        {"links": {"next": None}},
        {"links": [], "meta": []},
        {"links": {"next": "https://evil.example/x"}, "meta": {"has_more": False}},
    ],
)
def test_a_list_that_names_no_next_page_is_at_its_end(content: dict[str, Any]) -> None:
    assert next_page(HttpClient(ACCOUNT, 5), content) == ""


# --- Over sockets ----------------------------------------------------------------------------------------------------

SIGNED_IN = Credentials({"email": "agent@example.com"}, {"api_token": "sandbox-zendesk-token"})
LEADING_AWAY = ["@{}/x", "//{}/x", "http://{}/x", ":443@{}/x", "\\@{}/x"]


def read_comments(http: HttpClient) -> None:
    with pytest.raises(LeadsElsewhere) as told:
        comments.find(http, "1", "external", SIGNED_IN)
    assert told.value.look_up_next


def read_jobs(http: HttpClient) -> None:
    assert jobs.are_under_way(http, set(), SIGNED_IN) is None


def read_schema(http: HttpClient) -> None:
    lists, problems = schema.read_lists(http, SIGNED_IN)
    assert "different host" in problems["groups"]
    assert "groups" not in lists
    assert "brands" in lists


def read_webhooks(http: HttpClient) -> None:
    with pytest.raises(Failure, match="different host"):
        webhooks.set_up(http, "Casebridge", "https://portal.example.com/", SIGNED_IN)


READERS: list[tuple[str, str, Callable[[HttpClient], None]]] = [
    ("/api/v2/tickets/1/comments.json", "comments", read_comments),
    ("/api/v2/job_statuses.json", "job_statuses", read_jobs),
    ("/api/v2/groups/assignable.json", "groups", read_schema),
    ("/api/v2/webhooks", "webhooks", read_webhooks),
]


@pytest.mark.parametrize("address", LEADING_AWAY)
@pytest.mark.parametrize(("path", "name", "read"), READERS)
def test_no_list_leads_our_sign_in_to_another_host(
    sandbox: StandIn, other_host: Receiver, path: str, name: str, read: Callable[[HttpClient], None], address: str
) -> None:
    body = json.dumps({name: [], "next_page": address.format(other_host.address)})
    sandbox.add_fault("answer", status=200, body=body, path=path, times=1)
    read(HttpClient(sandbox.url, 10, name="Zendesk"))
    assert other_host.asked == []
    assert [call.path for call in sandbox.calls() if call.method != "GET"] == []
