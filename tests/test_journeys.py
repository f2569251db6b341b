"""From the webhook's URL to the request on the wire: each folder of tests/journeys is a case (see its README.md)."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from integrations.infra.http.transport import USER_AGENT
from integrations.models import Connection, Delivery, Mapping, Requester, Subscription
from tests.factories import BEARER_TOKEN, ConnectionFactory, MappingFactory, OAuthConnectionFactory, SubscriptionFactory
from tests.stand_in import StandIn

JOURNEYS = Path(__file__).parent / "journeys"
CASES = sorted(path.parent.name for path in JOURNEYS.glob("*/notification.json"))
# What differs from run to run and says nothing of the ticket.
LEFT_OUT = {"host", "content-length"}
COUNTED = ("", "second ", "third ", "fourth ", "fifth ")


@dataclass(frozen=True)
class Case:
    """A folder's files: what Khoros sends (one notification, or several in a row), and what is set up otherwise."""

    folder: Path

    def read(self, name: str, otherwise: Any = None) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise

    @property
    def notifications(self) -> list[Any]:
        content = self.read("notification.json")
        return content if isinstance(content, list) else [content]

    @property
    def is_late(self) -> bool:
        """Whether the event happened when the notification says, long ago; others happen now."""
        return bool(self.read("setup.json", {}).get("late"))

    def set_up(self, sandbox: StandIn) -> Subscription:
        setup = self.read("setup.json", {})
        make = OAuthConnectionFactory if setup.get("oauth") else ConnectionFactory
        connection = make.create(url=sandbox.url, **setup.get("connection", {}))
        subscription = SubscriptionFactory.create(**setup.get("subscription", {}))
        MappingFactory.create(subscription=subscription, connection=connection, **setup.get("mapping", {}))
        for answer in setup.get("answers", []):
            sandbox.add_fault(**answer)
        return subscription

    def write(self, requests: list[Any]) -> None:
        text = json.dumps(requests, indent=2, ensure_ascii=False)
        (self.folder / "request.json").write_text(f"{text}\n", encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_what_khoros_sends_arrives_as_this_request(
    name: str,
    client: Client,
    portal: Any,
    sandbox: StandIn,
    work_off_the_queues: Any,
    request: pytest.FixtureRequest,
) -> None:
    case = Case(JOURNEYS / name)
    subscription = case.set_up(sandbox)
    for notification in case.notifications:
        notify(client, subscription, notification if case.is_late else happening_now(notification))
        work_off_the_queues()
    arrived = with_placeholders([as_stored(call) for call in sandbox.calls()], sandbox)
    if request.config.getoption("--write-journeys"):
        case.write(arrived)
    assert arrived == case.read("request.json")


def happening_now(content: Any) -> Any:
    is_dated = isinstance(content, dict) and "createdDate" in content
    return content | {"createdDate": f"{datetime.now(UTC):%a %b %d %H:%M:%S UTC %Y}"} if is_dated else content


def notify(client: Client, subscription: Subscription, content: Any) -> None:
    answer = client.post(
        f"/webhooks/khoros/{subscription.uuid}",
        json.dumps(content),
        content_type="application/json",
        headers={"Authorization": f"Bearer {BEARER_TOKEN}"},
    )
    assert answer.status_code == 200


def as_stored(call: Any) -> dict[str, Any]:
    headers = {name: value for name, value in sorted(call.headers.items()) if name.lower() not in LEFT_OUT}
    if (scheme_and_proof := headers.get("Authorization", "").split())[:1] == ["Basic"]:
        headers["Authorization"] = f"Basic {base64.b64decode(scheme_and_proof[1]).decode()}"
    stored = {"method": call.method, "path": call.path, "headers": headers}
    return stored | ({"body": json.loads(call.body)} if call.body else {})


def with_placeholders(requests: list[dict[str, Any]], sandbox: StandIn) -> Any:
    """The requests with a name in place of each value that only this run has."""
    text = json.dumps(requests, ensure_ascii=False)
    for value, placeholder in volatile(sandbox):
        text = text.replace(value, placeholder)
    return json.loads(text)


def volatile(sandbox: StandIn) -> list[tuple[str, str]]:
    connection, mapping = Connection.objects.get(), Mapping.objects.get()
    credentials = [(f"Bearer {connection.access_token.reveal()}", "Bearer <access token>")]
    found = [(sandbox.url, "<sandbox>"), (USER_AGENT, "<user agent>"), (str(mapping.uuid), "<mapping uuid>")]
    for counted, delivery in zip(COUNTED, Delivery.objects.order_by("pk"), strict=False):
        found += [
            (delivery.idempotency_key.split("-")[1], f"<{counted}delivery>"),
            (f"/tickets/{delivery.number}.json", f"/tickets/<{counted}ticket number>.json"),
        ]
    users = Requester.objects.exclude(user_id="").values_list("user_id", flat=True)
    found += [(f'"requester_id": {number}', '"requester_id": "<user number>"') for number in users]
    return found + (credentials if connection.access_token else [])


def test_there_are_cases_and_each_says_what_arrives() -> None:
    assert len(CASES) >= 15
    assert [name for name in CASES if not (JOURNEYS / name / "request.json").exists()] == []
