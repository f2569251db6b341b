"""Answers that say neither yes nor no: nothing is taken for made, nothing is made twice, nothing raises."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import Client

from integrations.connections.lists import read_account_lists
from integrations.infra.encryption import Secret
from integrations.models import AccountSchema, Attempt, Company, Connection, Delivery, Mapping, Subscription
from integrations.routing import create_test_ticket
from tests.deliveries import move
from tests.factories import EmailFactory, MappingFactory, PagerDutyFactory, TeamsFactory, secret
from tests.stand_in import StandIn
from tests.test_admin import BASE, act, form_of, save
from tests.test_cases import bodies, by_conversation, fresh, labelled
from tests.test_slack import BotFactory, ToChannelFactory, push_post

__all__ = ["by_conversation"]

Work = Callable[[], None]
A_PAGE = {"status": 200, "body": "<html>Maintenance</html>", "headers": [["Content-Type", "text/html"]]}
# As it comes along with what is copied from a page.
ZERO_WIDTH_SPACE = "\N{ZERO WIDTH SPACE}"


# --- What looks like success -----------------------------------------------------------------------------------------


def test_a_page_instead_of_an_answer_calls_nobody(
    push: Any, work: Work, subscription: Subscription, sandbox: StandIn
) -> None:
    connection = PagerDutyFactory.create(url=sandbox.url)
    MappingFactory.create(subscription=subscription, connection=connection, settings={})
    sandbox.add_fault("answer", api="pagerduty", times=1, **A_PAGE)
    push_post(push, "twitter:1")
    work()
    assert Delivery.objects.get().state == "pending"
    move()
    work()
    assert Delivery.objects.get().state == "delivered"
    assert len(sandbox.alerts()) == 1


def test_a_page_instead_of_an_answer_is_no_card(
    push: Any, work: Work, subscription: Subscription, sandbox: StandIn
) -> None:
    connection = TeamsFactory.create(url=sandbox.url)
    MappingFactory.create(subscription=subscription, connection=connection, settings={})
    sandbox.add_fault("answer", api="teams", times=1, **A_PAGE)
    push_post(push, "twitter:1")
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.is_uncertain) == ("pending", True)


def test_a_page_instead_of_an_answer_is_no_comment(sandbox: StandIn, by_conversation: Mapping, work: Work) -> None:
    first = labelled(by_conversation, "twitter:1")
    work()
    sandbox.add_fault("answer", method="PUT", times=1, **A_PAGE)
    reply = labelled(by_conversation, "twitter:2", parentPost="twitter:1")
    work()
    assert (fresh(reply).state, fresh(reply).look_up_next) == ("pending", True)
    move()
    work()
    assert fresh(reply).state == "delivered"
    assert len(bodies(sandbox, fresh(first).number)) == 2


def test_a_message_that_slack_took_without_a_link_is_left_to_a_person(
    push: Any, work: Work, subscription: Subscription, sandbox: StandIn
) -> None:
    ToChannelFactory.create(subscription=subscription, connection=BotFactory.create(url=sandbox.url))
    sandbox.add_fault("answer", api="slack", status=200, body={"ok": True, "channel": {"id": "C1"}})
    push_post(push, "twitter:1")
    for _ in range(3):
        work()
        move()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.is_uncertain) == ("failed", True)
    assert len([call for call in sandbox.calls("slack") if call.path.endswith("chat.postMessage")]) == 1


# --- Lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (
            {"channels": [{"name": "without an id"}, None, {"id": "C1", "name": 7}, {"id": "C2", "name": "b"}]},
            ["C1", "C2"],
        ),
        ({"channels": {"id": "C1"}, "response_metadata": "none"}, []),
        ({"user": "ann"}, []),
    ],
)
def test_odd_rows_of_a_list_are_left_out(
    portal: Any, sandbox: StandIn, content: dict[str, Any], ids: list[str]
) -> None:
    connection = BotFactory.create(url=sandbox.url)
    sandbox.add_fault("answer", api="slack", status=200, body={"ok": True} | content)
    assert read_account_lists(connection.pk)
    stored = AccountSchema.objects.get()
    assert (stored.reading_until, "ann@example.com" in stored.problems["people"]) == (None, True)
    assert [row["id"] for row in stored.lists.get("channels", [])] == ids


# --- Secrets with a character that no header carries -----------------------------------------------------------------


def test_a_token_that_was_copied_with_an_invisible_character_is_refused_beside_its_field(
    admin: Client, subscription: Subscription, sandbox: StandIn
) -> None:
    path = f"{BASE}/company/{subscription.company_id}/change/"
    form = {name: value for name, value in form_of(admin.get(path).content.decode()).items() if name[:1] != "_"}
    answer = admin.post(path, form | {"new_api_token": f"token{ZERO_WIDTH_SPACE}", "_save": "1"})
    assert "Copy it again" in answer.content.decode()
    answer = save(
        admin, "connection/add/?kind=slack", name="Slack", address=sandbox.url, sign_in="bot", bot_token="xoxb-ł"
    )
    assert "Copy it again" in answer.content.decode()
    assert not Connection.objects.filter(kind="slack").exists()


def test_one_that_is_stored_already_pauses_and_says_so(
    push: Any, work: Work, mapping: Mapping, sandbox: StandIn
) -> None:
    connection = BotFactory.create(url=sandbox.url, secrets=secret(bot_token=f"xoxb-1{ZERO_WIDTH_SPACE}").function())
    ToChannelFactory.create(subscription=mapping.subscription, connection=connection)
    push_post(push, "twitter:1")
    work()
    connection.refresh_from_db()
    delivery = Delivery.objects.get(connection=connection)
    assert (delivery.state, delivery.is_uncertain) == ("pending", False)
    assert "contains a character that cannot be sent" in connection.pause_reason


def test_a_companys_unusable_token_is_told_on_its_page(
    admin: Client, subscription: Subscription, sandbox: StandIn
) -> None:
    Company.objects.update(api_token=Secret.of(f"token{ZERO_WIDTH_SPACE}"))
    for action in ("test_connection", "refresh_labels"):
        assert "contains a character that cannot be sent" in act(admin, "company", action, subscription.company)


# --- Mail servers ----------------------------------------------------------------------------------------------------


@contextmanager
def mail_server_that_says(answers: dict[bytes, bytes]) -> Iterator[int]:
    """The port of a server that answers so to what begins like this, and "250 ok" to all else."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connected, _ = listening.accept()
            except OSError:
                return
            with connected, connected.makefile("rb") as lines:
                connected.sendall(b"220 hello\r\n")
                for line in lines:
                    said = next((answer for begins, answer in answers.items() if line.upper().startswith(begins)), b"")
                    connected.sendall(said or b"250 ok\r\n")
                    if line.upper().startswith(b"QUIT"):
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("user", "answers"),
    [
        ("ann", {b"EHLO": b"250-hi\r\n250 AUTH CRAM-MD5\r\n", b"AUTH": b"334 A\r\n"}),
        ("", {b"EHLO": b"250 hi\r\n", b"MAIL": b"\xff\xff\xff\r\n"}),
    ],
)
def test_a_mail_server_that_talks_nonsense_is_a_broken_connection(
    push: Any, work: Work, subscription: Subscription, user: str, answers: dict[bytes, bytes]
) -> None:
    with mail_server_that_says(answers) as port:
        connection = EmailFactory.create(port=port, secrets=secret(password="secret").function())
        connection.settings["user"] = user
        connection.save()
        MappingFactory.create(
            subscription=subscription,
            connection=connection,
            settings={"to": ["care@example.com"], "subject": "Post", "text": "{{ text }}"},
        )
        push_post(push, "twitter:1")
        work()
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.is_uncertain) == ("pending", False)
        assert "Nothing was sent" in Attempt.objects.get().meaning
        assert not create_test_ticket(connection, delivery.request, "11111111-1111-1111-1111-111111111111").is_good
