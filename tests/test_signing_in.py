"""Who may sign in to the portal, how often they may try, and what strangers learn."""

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from integrations.connections.check import check_connection
from integrations.domain.expressions import BadExpression, compile_expression
from integrations.infra.encryption import Secret
from integrations.infra.http.addresses import AddressRefused, refuse_private
from integrations.models import Connection, Installation
from integrations.sources.khoros.envelope import open_envelope
from tests.stand_in import StandIn

LOGIN = "/admin/login/"
PASSWORD = "a long password"


@pytest.fixture
def olga(portal: Installation, django_user_model: Any) -> Any:
    return django_user_model.objects.create_superuser("olga", "olga@example.com", PASSWORD)


def sign_in(client: Client, password: str, username: str = "olga", **headers: str) -> int:
    answer = client.post(LOGIN, {"username": username, "password": password}, headers=headers)
    return answer.status_code


def test_after_ten_wrong_passwords_even_the_right_one_waits(olga: Any, client: Client) -> None:
    answers = [sign_in(client, f"wrong {number}") for number in range(30)]
    assert answers[:9] == [200] * 9
    assert set(answers[10:]) == {429}
    assert sign_in(client, PASSWORD) == 429
    call_command("axes_reset", verbosity=0)
    assert sign_in(client, PASSWORD) == 302


def test_no_password_is_hashed_while_an_address_is_blocked(
    olga: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        sign_in(client, "wrong", username=f"user {number}")

    def hashed(*_: Any) -> None:
        raise AssertionError("a password was hashed")

    monkeypatch.setattr("django.contrib.auth.hashers.MD5PasswordHasher.encode", hashed)
    assert sign_in(client, PASSWORD) == 429


def test_behind_a_proxy_one_address_is_blocked_and_not_the_proxy(olga: Any, client: Client, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    for number in range(12):
        # What the client itself writes in front is not believed.
        sign_in(client, "wrong", username=f"user {number}", **{"X-Forwarded-For": f"10.0.0.{number}, 203.0.113.9"})
    assert sign_in(client, PASSWORD, **{"X-Forwarded-For": "203.0.113.9"}) == 429
    assert sign_in(client, PASSWORD, **{"X-Forwarded-For": "203.0.113.10"}) == 302


def test_a_session_ends_when_nobody_uses_it(olga: Any, client: Client, settings: Any) -> None:
    sign_in(client, PASSWORD)
    assert client.get("/admin/").status_code == 200
    assert client.session.get_expiry_age() == settings.SESSION_COOKIE_AGE == 120 * 60
    assert client.get("/admin/").cookies["sessionid"]["max-age"] == 120 * 60


@pytest.mark.parametrize("password", ["admin", "123456789012", "password1234", "hunter2hunt"])
def test_the_first_administrator_gets_no_weak_password(portal: Installation, settings: Any, password: str) -> None:
    settings.ADMINISTRATOR = {"username": "admin", "password": password, "email": "a@example.com"}
    with pytest.raises(CommandError, match="DJANGO_SUPERUSER_PASSWORD is too weak"):
        call_command("release", verbosity=0)


@pytest.mark.parametrize("address", ["fec0::1", "feff::1", "192.0.0.8", "192.0.0.170", "3fff::1", "3fff:fff::1"])
def test_addresses_that_only_some_versions_know_as_private_are_refused(address: str, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    with pytest.raises(AddressRefused):
        refuse_private(address)


@pytest.mark.parametrize("expression", ["a{0,1000}" * 5, "((a?b?){20}){20}c", r"\pL{0,400}z", "(a{0,400}b){0,400}"])
def test_an_expression_that_would_cost_much_for_each_character_is_refused(expression: str) -> None:
    with pytest.raises(BadExpression):
        compile_expression(expression)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://user:geheim@crm.example/x?token=geheim&y=1", "crm.example/x"),
        ("<Login><Password>geheim</Password><User>olga</User></Login>", "<User>olga</User>"),
        ("<call apiKey='geheim' id='7'>told</call>", "id='7'>told</call>"),
        ('<?xml version="1.0"?><s:Token xmlns:s="urn:x">geheim</s:Token>', 'xmlns:s="urn:x"'),
    ],
)
def test_credentials_in_a_crm_error_are_masked_in_addresses_and_xml(text: str, left: str) -> None:
    event = {"eventName": "error-custom-crm", "data": {"externalCall": {"url": text, "response": [text]}}}
    stored = open_envelope(json.dumps(event).encode()).body.decode()
    assert "geheim" not in stored
    assert left in json.loads(stored)["data"]["externalCall"]["url"]


def test_every_secret_of_a_connection_is_masked_when_an_answer_echoes_it(
    sandbox: StandIn, connection: Connection
) -> None:
    Connection.objects.update(webhook_secret=Secret.of("signing-secret"), refresh_token=Secret.of("refresh-token-1"))
    echo = {"error": "BadRequest", "description": "got signing-secret and refresh-token-1"}
    sandbox.add_fault("answer", status=400, body=echo)
    told = " ".join(check.message for check in check_connection(Connection.objects.get()))
    assert "signing-secret" not in told
    assert "refresh-token-1" not in told
