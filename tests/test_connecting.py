"""Signing in to Zendesk: three ways, tested, renewed by one of many, replaced, and moved from API token to OAuth."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from django import forms
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from django.utils.html import escape

from integrations.admin.forms import connection_form_for
from integrations.connections.check import check_and_resume, check_connection
from integrations.connections.clock_skew import record_clock_skew, skew_text
from integrations.connections.oauth_migration import move_to_oauth
from integrations.destinations.base import ConnectionFields, SecretField
from integrations.destinations.zendesk import ZENDESK, Zendesk, oauth
from integrations.destinations.zendesk.checks import scope_checks
from integrations.flow.pause import pause_connections, resume_connections
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.encryption import Secret
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.models import Alarm, Attempt, Connection, Delivery, Mapping
from integrations.routing.route import route_notification
from integrations.sign_in.credentials import credentials_of, renewed_credentials
from tests.alarms import update_alarms
from tests.factories import ConnectionFactory, MappingFactory, NotificationFactory, OAuthConnectionFactory, StaffFactory
from tests.receiver import Receiver
from tests.stand_in import StandIn
from tests.test_admin import BASE, act, form_of, page, save
from tests.zendesk_consent import Account, running_account

State = Delivery.State


@pytest.fixture
def account(sandbox: StandIn) -> Iterator[Account]:
    with running_account(sandbox.url) as found:
        yield found


@pytest.fixture
def consented(account: Account, portal: Any) -> Connection:
    """A connection by consent, connected some time ago; its access token has ended since."""
    account.pairs["first-refresh"] = "first-access"
    return consent_connection(
        account, access_token=Secret.of("first-access"), refresh_token=Secret.of("first-refresh"),
        access_token_expires_at=seconds_from_now(-5), granted_scope="read write",
    )  # fmt: skip


def consent_connection(account: Account, **fields: Any) -> Connection:
    settings = {"address": account.url, "sign_in": "oauth_code", "client_id": "sandbox-client", "scopes": "read write"}
    plain = json.dumps({"client_secret": "sandbox-secret"})
    made = ConnectionFactory.create(url=account.url, settings=settings, secrets=Secret.of(plain), **fields)
    return Connection.objects.get(pk=made.pk)


def http_to(connection: Connection, seconds: float = 30.0) -> HttpClient:
    return HttpClient(connection.settings["address"], seconds, name="Zendesk")


def new_delivery(subscription: Any, connection: Connection) -> Delivery:
    mapping = Mapping.objects.filter(connection=connection).first() or MappingFactory.create(
        subscription=subscription, connection=connection
    )
    notification = NotificationFactory.create(subscription=mapping.subscription)
    route_notification(notification.pk)
    return Delivery.objects.get(notification=notification)


def signed_in_by(connection: Connection, http: HttpClient | None = None) -> str:
    fresh = Connection.objects.get(pk=connection.pk)
    return credentials_of(fresh, ZENDESK, http or http_to(fresh)).access_token


def in_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        work()
        database.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def words_of(checks: list[Any], ok: bool | None) -> str:
    return " ".join(check.message for check in checks if check.ok is ok)


# --- Renewing --------------------------------------------------------------------------------------------------------


def test_a_consent_is_renewed_and_both_tokens_are_replaced(account: Account, consented: Connection) -> None:
    token = signed_in_by(consented)
    consented.refresh_from_db()
    ((refresh, access),) = account.pairs.items()
    assert (token, consented.access_token.reveal(), consented.refresh_token.reveal()) == (access, access, refresh)
    assert consented.renewing_until is None
    (asked,) = account.refreshes()
    assert (asked["expires_in"], asked["refresh_token_expires_in"]) == (171_000, 7_700_000)
    assert consented.access_token_expires_at is not None
    lives = consented.access_token_expires_at - database_clock.now()
    assert timedelta(seconds=170_900) < lives <= timedelta(seconds=171_000)


def test_of_many_threads_one_renews_and_all_get_the_new_token(account: Account, consented: Connection) -> None:
    account.refresh_seconds = 0.5
    tokens: list[str] = []

    threads = [in_thread(lambda: tokens.append(signed_in_by(consented))) for _ in range(6)]
    for thread in threads:
        thread.join()
    assert len(account.refreshes()) == 1
    assert tokens == list(account.pairs.values()) * 6


SIGN_IN = """
import django; django.setup()
from integrations.destinations.zendesk import ZENDESK
from integrations.infra.http.client import HttpClient
from integrations.models import Connection
from integrations.sign_in import credentials_of
connection = Connection.objects.get(pk={pk})
print(credentials_of(connection, ZENDESK, HttpClient(connection.settings["address"], 30.0)).access_token)
"""


def test_of_several_processes_one_renews_and_all_get_the_new_token(account: Account, consented: Connection) -> None:
    account.refresh_seconds = 2.0
    address = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{database.settings_dict['NAME']}"
    environment = os.environ | {"DATABASE_URL": address, "OUTBOUND_ALLOW_PRIVATE": "true", "LOG_LEVEL": "CRITICAL"}
    environment["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    command = [sys.executable, "-c", SIGN_IN.format(pk=consented.pk)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate(timeout=60)[0].strip() for process in running]
    assert len(account.refreshes()) == 1
    assert printed == list(account.pairs.values()) * 3


def test_who_waits_too_long_for_the_one_that_renews_is_delayed_and_pauses_nothing(consented: Connection) -> None:
    Connection.objects.update(renewing_until=seconds_from_now(50))
    with pytest.raises(Failure) as told:
        signed_in_by(consented, http_to(consented, seconds=0.4))
    assert (told.value.permanent, told.value.pauses, told.value.retry_after) == (False, False, 10.0)


def test_a_claim_whose_process_died_is_free_after_a_minute(account: Account, consented: Connection) -> None:
    Connection.objects.update(renewing_until=seconds_from_now(-1))
    assert signed_in_by(consented) in account.pairs.values()


def test_a_failed_renewal_ends_its_claim(account: Account, consented: Connection) -> None:
    Connection.objects.update(settings=consented.settings | {"address": "http://127.0.0.1:9"})
    with pytest.raises(Failure, match="cannot be reached"):
        signed_in_by(consented)
    consented.refresh_from_db()
    assert (consented.renewing_until, consented.refresh_token.reveal()) == (None, "first-refresh")


def test_a_revoked_consent_pauses_and_says_to_connect_again(
    account: Account, consented: Connection, subscription: Any, work: Any
) -> None:
    account.revoke()
    delivery = new_delivery(subscription, consented)
    work()
    consented.refresh_from_db()
    delivery.refresh_from_db()
    assert "Reconnect to Zendesk" in consented.pause_reason
    assert consented.paused_until is None
    assert (delivery.state, delivery.tries) == (State.PENDING, 0)


def test_a_connection_nobody_consented_for_makes_deliveries_wait(
    account: Account, portal: Any, subscription: Any, work: Any
) -> None:
    connection = consent_connection(account)
    delivery = new_delivery(subscription, connection)
    work()
    connection.refresh_from_db()
    delivery.refresh_from_db()
    assert "press “Connect to Zendesk”" in connection.pause_reason
    assert (delivery.state, delivery.tries, account.asked) == (State.PENDING, 0, [])


def test_a_token_refused_in_the_middle_is_renewed_once_and_the_ticket_made(
    account: Account, consented: Connection, subscription: Any, work: Any, sandbox: StandIn
) -> None:
    Connection.objects.update(access_token_expires_at=seconds_from_now(3600))
    account.expire_access()
    delivery = new_delivery(subscription, consented)
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 1)
    assert len(account.refreshes()) == 1


def test_a_renewal_begun_before_somebody_saved_other_credentials_overwrites_nothing(
    account: Account, consented: Connection
) -> None:
    account.refresh_seconds = 0.6
    renewing = in_thread(lambda: signed_in_by(consented))
    wait_for(lambda: bool(account.refreshes()))
    other = Secret.of(json.dumps({"client_secret": "another"}))
    Connection.objects.update(secrets=other, access_token=Secret(""), refresh_token=Secret(""), renewing_until=None)
    renewing.join()
    consented.refresh_from_db()
    assert not consented.access_token
    assert not consented.refresh_token
    assert consented.read_secrets() == {"client_secret": "another"}


def test_the_new_pair_is_stored_although_the_database_fails_for_a_moment(
    account: Account, consented: Connection
) -> None:
    account.refresh_seconds, account.seconds_ahead = 0.5, 7200
    renewing = in_thread(lambda: signed_in_by(consented))
    wait_for(lambda: bool(account.refreshes()))
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE integrations_connection RENAME TO away")
        time.sleep(1.0)
        cursor.execute("ALTER TABLE away RENAME TO integrations_connection")
    renewing.join()
    consented.refresh_from_db()
    assert consented.refresh_token.reveal() in account.pairs
    assert consented.renewing_until is None


def test_a_refused_renewal_uses_what_a_person_consented_to_meanwhile(account: Account, consented: Connection) -> None:
    account.revoke()
    account.refresh_seconds = 0.6
    tokens: list[str] = []
    renewing = in_thread(lambda: tokens.append(signed_in_by(consented)))
    wait_for(lambda: bool(account.refreshes()))
    Connection.objects.update(
        refresh_token=Secret.of("second-refresh"), access_token=Secret.of("second-access"),
        access_token_expires_at=seconds_from_now(3600), renewing_until=None,
    )  # fmt: skip
    renewing.join()
    assert tokens == ["second-access"]


def test_tokens_of_another_sign_in_are_not_sent_to_the_old_address(account: Account, consented: Connection) -> None:
    found = Connection.objects.get(pk=consented.pk)
    Connection.objects.update(settings=found.settings | {"address": "https://other.example.com"})
    with pytest.raises(Failure, match="changed during this attempt") as told:
        credentials_of(found, ZENDESK, http_to(found))
    assert not told.value.pauses


def test_the_end_of_a_token_is_reckoned_by_the_databases_clock(sandbox: StandIn, portal: Any) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    credentials_of(connection, ZENDESK, http_to(connection))
    Connection.objects.update(access_token_expires_at=seconds_from_now(61))
    signed_in_by(connection)
    Connection.objects.update(access_token_expires_at=seconds_from_now(30))
    signed_in_by(connection)
    assert len([call for call in sandbox.calls() if call.path == "/oauth/tokens"]) == 2


def test_a_refused_client_token_is_replaced_by_another(sandbox: StandIn, portal: Any) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    http = http_to(connection)
    first = credentials_of(connection, ZENDESK, http)
    second = renewed_credentials(connection, ZENDESK, http, first)
    connection.refresh_from_db()
    assert first.access_token != second.access_token == connection.access_token.reveal()
    assert connection.granted_scope == "read write"


# --- Consenting ------------------------------------------------------------------------------------------------------


@pytest.fixture
def unconnected(account: Account, portal: Any, settings: Any) -> Connection:
    settings.PUBLIC_URL = "http://testserver"
    return consent_connection(account)


def begun(admin: Client, connection: Connection) -> str:
    answer = admin.get(f"{BASE}/connection/{connection.pk}/consent/")
    assert answer.status_code == 302
    return str(answer.headers["Location"])


def come_back(admin: Client, **query: str) -> str:
    answer = admin.get(f"{BASE}/connection/consent/", query, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_person_connects_with_consent_and_what_waited_goes_on(
    admin: Client, account: Account, unconnected: Connection, subscription: Any, work: Any
) -> None:
    delivery = new_delivery(subscription, unconnected)
    work()
    assert "Connect to Zendesk" in page(admin, f"connection/{unconnected.pk}/change/")
    address = begun(admin, unconnected)
    asked = parse_qs(urlsplit(address).query)
    assert address.startswith(f"{account.url}/oauth/authorizations/new?")
    assert (asked["response_type"], asked["scope"], asked["client_id"]) == (
        ["code"],
        ["read write"],
        ["sandbox-client"],
    )
    assert asked["redirect_uri"] == ["http://testserver/admin/integrations/connection/consent/"]
    html = come_back(admin, **account.consent(address))
    assert "Connected to Zendesk" in html
    assert "Signed in as" in html
    work()
    delivery.refresh_from_db()
    unconnected.refresh_from_db()
    assert (delivery.state, unconnected.paused_at, unconnected.granted_scope) == (State.DELIVERED, None, "read write")
    (pair,) = account.pairs.items()
    for token in (*pair, "sandbox-secret"):
        assert token not in html
    assert "Reconnect to Zendesk" in page(admin, f"connection/{unconnected.pk}/change/")
    assert "Connected to Zendesk by consent" in LogEntry.objects.get(object_id=str(unconnected.pk)).change_message


def test_a_state_serves_once(admin: Client, account: Account, unconnected: Connection) -> None:
    query = account.consent(begun(admin, unconnected))
    come_back(admin, **query)
    assert "was not started here" in come_back(admin, **query)


def test_a_state_serves_ten_minutes(admin: Client, account: Account, unconnected: Connection) -> None:
    query = account.consent(begun(admin, unconnected))
    session = admin.session
    began = database_clock.now() - timedelta(minutes=10, seconds=1)
    session["consent_connection"] = session["consent_connection"] | {"began": began.isoformat()}
    session.save()
    assert "was not started here" in come_back(admin, **query)
    assert account.asked == []


@pytest.mark.parametrize("wrong", [{"state": "guessed"}, {"state": ""}, {"state": "ü"}])
def test_a_wrong_state_connects_nothing(
    admin: Client, account: Account, unconnected: Connection, wrong: dict[str, str]
) -> None:
    query = account.consent(begun(admin, unconnected))
    assert "was not started here" in come_back(admin, **query | wrong)
    assert account.asked == []


def test_a_state_of_another_person_connects_nothing(
    admin: Client, account: Account, unconnected: Connection, django_user_model: Any
) -> None:
    query = account.consent(begun(admin, unconnected))
    kept = admin.session["consent_connection"]
    admin.force_login(django_user_model.objects.create_superuser("other", "other@example.com", "a long password"))
    session = admin.session
    session["consent_connection"] = kept
    session.save()
    assert "was not started here" in come_back(admin, **query)
    assert account.asked == []


def test_a_stranger_who_comes_back_is_sent_to_the_login_without_the_code(
    client: Client, unconnected: Connection
) -> None:
    answer = client.get(f"{BASE}/connection/consent/", {"code": "secret-code", "state": "x"})
    assert answer.status_code == 302
    assert "secret-code" not in answer.headers["Location"]


def test_what_zendesk_refuses_is_told_in_text(admin: Client, account: Account, unconnected: Connection) -> None:
    denied = account.consent(begun(admin, unconnected)) | {"error": "access_denied"}
    assert "Access was denied in Zendesk" in come_back(admin, **denied)
    expired = account.consent(begun(admin, unconnected))
    account.codes.clear()
    assert "already used or has expired" in come_back(admin, **expired)
    account.redirect_uri = "https://elsewhere.example.com/"
    html = come_back(admin, **account.consent(begun(admin, unconnected)))
    assert "Enter http://testserver/admin/integrations/connection/consent/ as its redirect URL" in html
    unconnected.refresh_from_db()
    assert not unconnected.access_token


def test_a_description_of_a_refusal_cannot_bring_mark_up(admin: Client, unconnected: Connection) -> None:
    state = parse_qs(urlsplit(begun(admin, unconnected)).query)["state"][0]
    html = come_back(admin, state=state, error="x", error_description="<script>alert(1)</script>")
    assert "<script>alert" not in html


def test_without_a_public_address_a_sentence_says_why(admin: Client, unconnected: Connection, settings: Any) -> None:
    settings.PUBLIC_URL = settings.LOCAL_URL = ""
    html = admin.get(f"{BASE}/connection/{unconnected.pk}/consent/", follow=True).content.decode()
    assert "PUBLIC_URL is not set" in html
    assert "Not known yet" in page(admin, f"connection/{unconnected.pk}/change/")


def test_from_another_host_name_the_person_is_told_where_to_go(
    admin: Client, unconnected: Connection, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://portal.example.com"
    html = admin.get(f"{BASE}/connection/{unconnected.pk}/consent/", follow=True).content.decode()
    assert "Open Casebridge at https://portal.example.com" in html


def test_a_persons_pause_outlasts_connecting(admin: Client, account: Account, unconnected: Connection) -> None:
    pause_connections(Connection.objects.all(), "A person's reason", None, by="someone")
    html = come_back(admin, **account.consent(begun(admin, unconnected)))
    assert "The connection is still paused by someone: resume it" in html
    unconnected.refresh_from_db()
    assert unconnected.paused_by == "someone"
    assert unconnected.access_token


def test_connecting_renewing_and_revoking_at_the_sandbox_itself(
    admin: Client, sandbox: StandIn, portal: Any, subscription: Any, work: Any, settings: Any
) -> None:
    settings.PUBLIC_URL = "http://testserver"
    plain = Secret.of(json.dumps({"client_secret": "sandbox-secret"}))
    client = {"address": sandbox.url, "sign_in": "oauth_code", "client_id": "sandbox-client"}
    connection = ConnectionFactory.create(url=sandbox.url, settings=client, secrets=plain)
    come_back(admin, **allowed_at(sandbox, begun(admin, connection)))
    first = Connection.objects.get().refresh_token.reveal()
    sandbox.expire_tokens("access")
    deliveries = [new_delivery(subscription, connection)]
    work()
    assert Connection.objects.get().refresh_token.reveal() != first
    sandbox.revoke_tokens()
    deliveries.append(new_delivery(subscription, connection))
    work()
    assert "Reconnect to Zendesk" in Connection.objects.get().pause_reason
    come_back(admin, **allowed_at(sandbox, begun(admin, connection)))
    work()
    assert [Delivery.objects.get(pk=row.pk).state for row in deliveries] == [State.DELIVERED] * 2
    assert len(sandbox.tickets()) == 2


def allowed_at(sandbox: StandIn, address: str) -> dict[str, str]:
    """What a click on “Allow” brings the browser back with."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    form = asked | {"decision": "allow"}
    address = f"{sandbox.url}/oauth/authorizations/new"
    answer = urllib3.PoolManager().request("POST", address, fields=form, encode_multipart=False, redirect=False)
    assert answer.status in (302, 303)
    told = parse_qs(urlsplit(answer.headers["Location"]).query)
    return {name: values[0] for name, values in told.items()}


# --- Testing ---------------------------------------------------------------------------------------------------------


def test_a_good_connection_passes_and_the_page_shows_it(
    admin: Client, connection: Connection, sandbox: StandIn
) -> None:
    sandbox.change_settings(rate_limit=700)
    html = act(admin, "connection", "test_connection", connection, _from_page="1")
    connection.refresh_from_db()
    assert all(check["ok"] is not False for check in connection.checks)
    assert connection.checked_at is not None
    assert "Signed in as “Agent Example” (administrator)." in html
    assert "700 requests a minute" in html
    assert "Last connection test" in html
    assert "authenticity" not in html


def answer_me(sandbox: StandIn, **user: Any) -> None:
    body = {
        "user": {"id": 9001, "name": "Ann", "role": "agent", "suspended": False, "authenticity_token": "TOK"} | user
    }
    headers = {"Content-Type": "application/json"}
    sandbox.add_fault("answer", path="/api/v2/users/me", status=200, headers=headers, body=body)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"id": None, "name": "Anonymous user", "role": "end-user"}, "The sign-in was rejected"),
        ({"role": "end-user"}, "“Ann” is not an agent in Zendesk"),
        ({"suspended": True}, "“Ann” is suspended in Zendesk"),
    ],
)
def test_who_may_not_work_there_is_told(
    sandbox: StandIn, connection: Connection, user: dict[str, Any], message: str
) -> None:
    answer_me(sandbox, **user)
    (check,) = check_connection(connection)
    assert check.ok is False
    assert message in check.message
    connection.refresh_from_db()
    assert "TOK" not in json.dumps(connection.checks)


def test_a_wrong_api_token_is_told_though_zendesk_answers_200(sandbox: StandIn, connection: Connection) -> None:
    connection.secrets = Secret.of(json.dumps({"api_token": "wrong"}))
    connection.save()
    (check,) = check_connection(connection)
    assert "The sign-in was rejected" in check.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_real_call_that_is_refused_is_told(sandbox: StandIn, connection: Connection, status: int) -> None:
    sandbox.add_fault(str(status), path="/api/v2/groups")
    checks = check_connection(connection)
    assert f"({status})" in words_of(checks, ok=False)


def test_a_misspelt_scope_is_named_with_what_it_is_needed_for() -> None:
    assert "creating tickets" in words_of(scope_checks("reed wirte"), ok=False)
    assert words_of(scope_checks("read write"), ok=True)
    lacking = scope_checks("tickets:read tickets:write")
    assert "reading groups" in words_of(lacking, ok=False)
    assert "webhook" in words_of(lacking, ok=None)
    assert words_of(scope_checks(""), ok=None)


def test_a_scope_that_zendesk_did_not_grant_is_told(account: Account, consented: Connection) -> None:
    account.scope = "read"
    checks = check_connection(consented)
    assert "is missing the scope write or tickets:write, required for creating tickets" in words_of(checks, ok=False)


def test_an_account_that_is_not_reached_is_told_and_the_save_is_kept(
    admin: Client, connection: Connection, sandbox: StandIn
) -> None:
    sandbox.add_fault("502_html", path="/api")
    html = save(admin, f"connection/{connection.pk}/change/", name="Renamed").content.decode()
    connection.refresh_from_db()
    assert connection.name == "Renamed"
    assert "Zendesk has a problem" in html
    assert "was changed successfully" in html


def test_a_new_connection_is_tested_when_it_is_saved(admin: Client, sandbox: StandIn) -> None:
    answer = save(
        admin, "connection/add/", name="New", address=sandbox.url, sign_in="oauth_client",
        client_id="sandbox-client", client_secret="sandbox-secret",
    )  # fmt: skip
    assert "Signed in as" in answer.content.decode()
    made = Connection.objects.get()
    assert made.settings["scopes"] == "read write"
    assert made.granted_scope == "read write"
    assert made.checks[0]["ok"] is True


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"error": "invalid_client"}, "its ID or secret is wrong"),
        (400, {"error": "unauthorized_client"}, "kind has to be Confidential"),
        (
            400,
            {"error": "invalid_request", "error_description": "expires_in must be between 300 and 172800"},
            "expires_in must be between 300 and 172800",
        ),
        (403, {"error": {"title": "Forbidden", "message": "The account is suspended."}}, "The account is suspended"),
    ],
)
def test_a_refused_sign_in_is_told_as_what_it_is(
    sandbox: StandIn, portal: Any, status: int, body: dict[str, Any], message: str
) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    sandbox.add_fault("answer", status=status, body=body, path="/oauth/tokens")
    told = " ".join(check.message for check in check_connection(connection))
    assert message in told
    assert ("ID or secret is wrong" in told) == (body["error"] == "invalid_client")


def test_a_wrong_client_secret_is_told_although_a_token_is_kept(sandbox: StandIn, portal: Any) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    credentials_of(connection, ZENDESK, http_to(connection))
    plain = Secret.of(json.dumps({"client_secret": "wrong"}))
    Connection.objects.update(secrets=plain)
    (check,) = check_connection(Connection.objects.get())
    assert "rejected the OAuth client" in check.message


def test_a_revoked_access_token_is_renewed_by_the_test(account: Account, consented: Connection) -> None:
    Connection.objects.update(access_token_expires_at=seconds_from_now(3600))
    account.expire_access()
    checks = check_connection(Connection.objects.get())
    assert words_of(checks, ok=False) == ""
    assert "Signed in as" in words_of(checks, ok=True)


def test_the_clock_of_the_account_is_noted_and_told(account: Account, consented: Connection) -> None:
    account.seconds_ahead = (database_clock.now() - date_of(account)).total_seconds() + 7200
    checks = check_connection(consented)
    consented.refresh_from_db()
    assert abs(consented.clock_skew_seconds - 7200) < 5
    assert "seconds ahead of the portal's database" in words_of(checks, ok=None)


def date_of(account: Account) -> Any:
    answer = urllib3.request("GET", f"{account.url}/api/v2/users/me.json")
    found = Reply(200, {"date": answer.headers["Date"]}, b"").date()
    assert found is not None
    return found


def test_a_clock_that_moved_little_is_not_written_again(connection: Connection) -> None:
    def reply(ahead: float) -> Reply:
        return Reply(200, {"date": format_datetime(database_clock.now() + timedelta(seconds=ahead))}, b"")

    record_clock_skew(connection, reply(100))
    connection.refresh_from_db()
    assert abs(connection.clock_skew_seconds - 100) <= 2
    before = connection.clock_skew_seconds
    record_clock_skew(connection, reply(120))
    record_clock_skew(connection, Reply(200, {"date": "no date"}, b""))
    record_clock_skew(connection, Reply(200, {}, b""))
    connection.refresh_from_db()
    assert connection.clock_skew_seconds == before
    assert "100 seconds ahead of" in skew_text(100)
    assert "behind" in skew_text(-61)
    assert skew_text(60) == ""


# --- What a person saves ---------------------------------------------------------------------------------------------


def test_saving_without_another_sign_in_keeps_the_tokens(
    admin: Client, account: Account, consented: Connection
) -> None:
    Connection.objects.update(access_token_expires_at=seconds_from_now(3600))
    save(admin, f"connection/{consented.pk}/change/", name="Renamed")
    consented.refresh_from_db()
    assert (consented.name, consented.refresh_token.reveal()) == ("Renamed", "first-refresh")


def test_a_stored_connection_without_scopes_keeps_its_token_when_it_is_saved(admin: Client, sandbox: StandIn) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    assert "scopes" not in connection.settings
    before = signed_in_by(connection)
    until = seconds_from_now(600)
    Connection.objects.update(paused_at=Now(), paused_until=until, pause_reason="An answer's reason")
    save(admin, f"connection/{connection.pk}/change/", name="Renamed")
    connection.refresh_from_db()
    assert connection.settings["scopes"] == "read write"
    assert connection.paused_at is not None
    assert before


def test_scopes_are_checked_beside_the_field(admin: Client, connection: Connection) -> None:
    html = save(admin, f"connection/{connection.pk}/change/", scopes="read, Wr!te").content.decode()
    assert escape("“Wr!te” is not a valid scope") in html
    save(admin, f"connection/{connection.pk}/change/", scopes="read,write  read")
    connection.refresh_from_db()
    assert connection.settings["scopes"] == "read write"


def test_another_client_forgets_the_old_ones_tokens(admin: Client, account: Account, consented: Connection) -> None:
    answer = save(admin, f"connection/{consented.pk}/change/", client_id="another")
    consented.refresh_from_db()
    assert not consented.access_token
    assert not consented.refresh_token
    assert (consented.granted_scope, consented.checks, consented.checked_at) == ("", [], None)
    assert "Not connected yet" in answer.content.decode() or "Not connected yet" in page(
        admin, f"connection/{consented.pk}/change/"
    )


@pytest.mark.parametrize("way", ["api_token", "oauth_client"])
def test_deliveries_wait_while_a_sign_in_is_wrong_and_go_on_when_a_good_one_is_saved(
    admin: Client, sandbox: StandIn, subscription: Any, work: Any, way: str
) -> None:
    factory = {"api_token": ConnectionFactory, "oauth_client": OAuthConnectionFactory}[way]
    secret = {"api_token": "api_token", "oauth_client": "client_secret"}[way]
    good = {"api_token": "sandbox-zendesk-token", "oauth_client": "sandbox-secret"}[way]
    connection = factory.create(url=sandbox.url)
    Connection.objects.update(secrets=Secret.of(json.dumps({secret: "revoked"})))
    delivery = new_delivery(subscription, connection)
    work()
    work()
    delivery.refresh_from_db()
    connection.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.attempt_count) == (State.PENDING, 0, 1)
    assert connection.paused_until is None
    assert connection.paused_at
    save(admin, f"connection/{connection.pk}/change/", **{secret: good})
    work()
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED
    assert len(sandbox.tickets()) == 1


# --- A pause ends when a test passes ---------------------------------------------------------------------------------

RESUMED = "The test passed and the connection was resumed: waiting deliveries are sent now."
REFUSED = "Zendesk did not accept the sign-in (401)."


def press_test(admin: Client, connection: Connection) -> str:
    return act(admin, "connection", "test_connection", connection, _from_page="1")


def save_as_it_is(admin: Client, connection: Connection) -> str:
    return str(save(admin, f"connection/{connection.pk}/change/").content.decode())


@pytest.mark.parametrize("way", [press_test, save_as_it_is])
def test_a_test_that_passes_ends_a_pause_that_an_answer_began(
    admin: Client, connection: Connection, subscription: Any, sandbox: StandIn, work: Any, way: Any
) -> None:
    new_delivery(subscription, connection)
    sandbox.change_oauth(api_tokens=False)
    work()
    connection.refresh_from_db()
    assert "it resumes when the test passes" in connection.pause_reason
    assert RESUMED not in way(admin, connection)
    connection.refresh_from_db()
    assert connection.paused_at
    sandbox.change_oauth(api_tokens=True)
    assert RESUMED in way(admin, connection)
    connection.refresh_from_db()
    assert (connection.paused_at, connection.pause_reason) == (None, "")
    work()
    assert len(sandbox.tickets()) == 1
    assert LogEntry.objects.filter(object_id=str(connection.pk), change_message__contains="its test passed").exists()


@pytest.mark.parametrize("way", [press_test, save_as_it_is])
def test_a_test_that_passes_leaves_a_persons_pause_and_a_timed_one(
    admin: Client, connection: Connection, way: Any
) -> None:
    rows = Connection.objects.all()
    for seconds, by in ((None, "someone"), (600, "")):
        pause_connections(rows, "A reason", seconds, by=by)
        assert RESUMED not in way(admin, connection)
        connection.refresh_from_db()
        assert connection.is_paused(database_clock.now())
        resume_connections(rows)


def test_a_sign_in_changed_during_its_test_is_not_resumed_by_it(
    account: Account, consented: Connection, sandbox: StandIn
) -> None:
    pause_connections(Connection.objects.all(), REFUSED, None)
    consented.refresh_from_db()
    sandbox.add_fault("delay", path="/api/v2/groups", seconds=1.0, times=1)
    found: list[Any] = []
    testing = in_thread(lambda: found.append(check_and_resume(consented)))
    wait_for(lambda: any("groups" in call.path for call in sandbox.calls()) or bool(account.refreshes()))
    Connection.objects.update(secrets=Secret.of(json.dumps({"client_secret": "another"})))
    testing.join()
    ((checks, is_resumed),) = found
    assert not is_resumed
    assert checks
    assert Connection.objects.get().paused_at


def test_the_words_of_a_pause_carry_the_button_that_ends_it(admin: Client, connection: Connection) -> None:
    pause_connections(Connection.objects.all(), REFUSED, None)
    html = page(admin, f"connection/{connection.pk}/change/")
    notice = html.partition(REFUSED)[2].partition("</div>")[0]
    assert '<input type="hidden" name="action" value="resume">' in notice
    assert "resumes when a connection test passes" in html
    assert "open the connection and press “Resume”" in page(admin, "connection/")
    act(admin, "connection", "resume", connection, _from_page="1")
    connection.refresh_from_db()
    assert connection.paused_at is None


def test_someone_who_may_only_look_reads_of_a_pause_without_the_button(client: Client, connection: Connection) -> None:
    pause_connections(Connection.objects.all(), REFUSED, None)
    client.force_login(StaffFactory.create(may="^view_connection$"))
    html = page(client, f"connection/{connection.pk}/change/")
    assert REFUSED in html
    assert 'value="resume"' not in html


# --- Another address -------------------------------------------------------------------------------------------------

ASKED_ANEW = "The address changed, so enter this again: a stored secret is only sent to the address it was entered for."


def to_another_address(admin: Client, connection: Connection, address: str, **changes: str) -> Any:
    return save(admin, f"connection/{connection.pk}/change/", address=address, **changes)


@pytest.mark.parametrize(("way", "secret"), [("api_token", "api_token"), ("oauth_client", "client_secret")])
def test_another_address_asks_for_the_secrets_anew_and_is_told_none_of_the_stored(
    admin: Client, sandbox: StandIn, other_host: Receiver, portal: Any, way: str, secret: str
) -> None:
    factory = {"api_token": ConnectionFactory, "oauth_client": OAuthConnectionFactory}[way]
    connection = factory.create(url=sandbox.url)
    before = Connection.objects.values().get()
    answer = to_another_address(admin, connection, other_host.url)
    assert answer.context["adminform"].form.errors == {secret: [ASKED_ANEW]}
    assert other_host.asked == []
    after = Connection.objects.values().get()
    assert (after["settings"], after["secrets"].stored) == (before["settings"], before["secrets"].stored)


def test_a_secret_that_was_never_stored_is_asked_for_in_the_usual_text(
    admin: Client, connection: Connection, other_host: Receiver
) -> None:
    answer = to_another_address(admin, connection, other_host.url, sign_in="oauth_client", client_id="sandbox-client")
    (error,) = answer.context["adminform"].form.errors["client_secret"]
    assert error.startswith("Required to sign in with")


def test_what_is_not_entered_anew_for_another_address_is_dropped(
    admin: Client, sandbox: StandIn, other_host: Receiver, portal: Any
) -> None:
    connection = ConnectionFactory.create(
        url=sandbox.url,
        secrets=Secret.of(json.dumps({"api_token": "old-token", "client_secret": "old-client-secret"})),
        access_token=Secret.of("old-access"), refresh_token=Secret.of("old-refresh"), granted_scope="read",
        webhook_id="7", webhook_secret=Secret.of("old-signing-secret"),
    )  # fmt: skip
    to_another_address(admin, connection, other_host.url, api_token="new-token")
    connection.refresh_from_db()
    assert connection.read_secrets() == {"api_token": "new-token"}
    assert (bool(connection.access_token), bool(connection.refresh_token)) == (False, False)
    assert not connection.webhook_secret
    assert (connection.granted_scope, connection.webhook_id) == ("", "")
    assert basic("agent@example.com/token:new-token") in other_host.asked[0]
    for old in ("old-", basic("agent@example.com/token:old-token")):
        assert old not in "".join(other_host.asked)


def basic(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize("written", ["HTTP://LOCALHOST:{}/", "http://localhost:{}", "http://localhost.:{}/agent"])
def test_the_same_address_written_otherwise_keeps_secrets_and_tokens(
    admin: Client, account: Account, portal: Any, written: str
) -> None:
    account.pairs["refresh"] = "access"
    port = urlsplit(account.url).port
    connection = consent_connection(
        account, access_token=Secret.of("access"), refresh_token=Secret.of("refresh"),
        webhook_secret=Secret.of("signing-secret"),
    )  # fmt: skip
    Connection.objects.update(settings=connection.settings | {"address": f"http://localhost:{port}"})
    answer = to_another_address(admin, connection, written.format(port))
    assert b"was changed successfully" in answer.content
    connection.refresh_from_db()
    assert connection.read_secrets() == {"client_secret": "sandbox-secret"}
    assert connection.settings["address"] == f"http://localhost:{port}"
    assert connection.access_token
    assert connection.refresh_token
    assert connection.webhook_secret


class Plain(ConnectionFields):
    """A destination's form that asks for nothing itself."""

    site = forms.CharField()
    key = SecretField()


class Asking(Plain):
    def clean(self) -> dict[str, Any]:
        if not self.cleaned_data.get("key") and "key" not in self.stored_secrets:
            self.add_error("key", "Needed.")
        return self.cleaned_data


class OfAnotherKind(Zendesk):
    def __init__(self, form: type[Plain]) -> None:
        self.connection_form = form  # type: ignore[assignment]

    def origin(self, settings: Any) -> str:
        return f"https://{settings.get('site')}"


def form_of_another_kind(form: type[Plain], **entered: str) -> Any:
    """Of a connection stored for one.example.com."""
    connection = ConnectionFactory.create(
        url="", settings={"site": "one.example.com"}, secrets=Secret.of('{"key": "stored-key"}')
    )
    return connection_form_for(OfAnotherKind(form))({"name": "Other", **entered}, instance=connection)


def test_every_destinations_secrets_are_kept_from_another_address(portal: Any) -> None:
    assert form_of_another_kind(Asking, site="two.example.com").errors == {"key": [ASKED_ANEW]}
    assert form_of_another_kind(Asking, site="ONE.example.com").errors == {}
    careless = form_of_another_kind(Plain, site="two.example.com")
    assert careless.is_valid()
    assert careless.save().read_secrets() == {}


def test_a_try_under_way_while_the_address_changes_tells_the_new_one_nothing_old(
    admin: Client, sandbox: StandIn, other_host: Receiver, subscription: Any, work: Any
) -> None:
    connection = OAuthConnectionFactory.create(url=sandbox.url)
    old_token = signed_in_by(connection)
    new_delivery(subscription, connection)
    sandbox.add_fault("delay", path="/api/v2/tickets", seconds=1.0, times=1)
    sandbox.add_fault("401", path="/api/v2/tickets", times=1)
    trying = in_thread(work)
    wait_for(lambda: Attempt.objects.exists())
    to_another_address(admin, connection, other_host.url, client_secret="new-secret")
    trying.join()
    work()
    assert "new-secret" in "".join(other_host.asked)
    for old in (old_token, "sandbox-secret"):
        assert old not in "".join(other_host.asked)
    connection.refresh_from_db()
    assert not connection.access_token


def test_a_consent_begun_at_the_old_address_tells_the_new_one_no_code(
    admin: Client, account: Account, unconnected: Connection, other_host: Receiver
) -> None:
    query = account.consent(begun(admin, unconnected))
    to_another_address(admin, unconnected, other_host.url, client_secret="new-secret")
    html = come_back(admin, **query)
    assert "address changed in the meantime" in html
    assert query["code"] not in "".join(other_host.asked)


def test_a_form_opened_before_somebody_else_changed_the_address_mixes_nothing(
    admin: Client, account: Account, consented: Connection, other_host: Receiver
) -> None:
    path = f"{BASE}/connection/{consented.pk}/change/"
    values = form_of(page(admin, f"connection/{consented.pk}/change/")) | {"name": "Renamed"}
    answers: list[Any] = []
    with transaction.atomic():
        Connection.objects.update(
            settings=consented.settings | {"address": other_host.url}, secrets=Secret.of('{"client_secret": "new"}'),
            access_token=Secret.of("token-of-the-other"), refresh_token=Secret.of("refresh-of-the-other"),
        )  # fmt: skip
        saving = in_thread(lambda: answers.append(admin.post(path, values)))
        wait_for(somebody_waits_for_a_lock)
    saving.join()
    assert answers[0].context["adminform"].form.errors == {"client_secret": [ASKED_ANEW]}
    consented.refresh_from_db()
    assert (consented.settings["address"], consented.read_secrets()) == (other_host.url, {"client_secret": "new"})


def somebody_waits_for_a_lock() -> bool:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


# --- The end of API tokens, alarms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "message"),
    [
        (date(2027, 1, 30), "API tokens stop working on 30 April 2027 (90 days left)"),
        (date(2027, 4, 29), "API tokens stop working on 30 April 2027 (1 day left)"),
        (date(2027, 4, 30), "Zendesk's API tokens stop working today, 30 April 2027"),
        (date(2027, 5, 1), "API tokens stopped working on 30 April 2027"),
    ],
)
def test_the_days_to_the_end_of_api_tokens_are_counted(today: date, message: str) -> None:
    assert oauth.end_text(oauth.API_TOKENS_END, (oauth.API_TOKENS_END - today).days) == message


def test_the_countdown_is_on_the_page_and_in_the_list(admin: Client, connection: Connection) -> None:
    left = (oauth.API_TOKENS_END - database_clock.now().date()).days
    for path in ("connection/", f"connection/{connection.pk}/change/"):
        assert (f"30 April 2027 ({left} days left)" in page(admin, path)) or left < 2


def ends_in(days: int) -> date:
    return database_clock.now().date() + timedelta(days=days)


def test_the_end_of_api_tokens_raises_an_alarm_from_ninety_days_before(
    admin: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days, count in ((91, 0), (90, 1), (-1, 1)):
        monkeypatch.setattr(oauth, "API_TOKENS_END", ends_in(days))
        update_alarms()
        assert Alarm.objects.filter(kind="token_end", ended_at=None, connection=connection).count() == count
    alarm = Alarm.objects.get()
    assert "stopped working" in alarm.message
    assert f"/connection/{connection.pk}/change/" in page(admin, f"alarm/{alarm.pk}/change/")
    Connection.objects.update(settings={**connection.settings, "sign_in": "oauth_client"})
    update_alarms()
    alarm.refresh_from_db()
    assert alarm.ended_at is not None


def test_a_connection_that_waits_for_a_person_raises_an_alarm_that_ends_with_resuming(connection: Connection) -> None:
    rows = Connection.objects.all()
    pause_connections(rows, "A limit was met", 600, limited=True)
    update_alarms()
    assert not Alarm.objects.exists()
    pause_connections(rows, "Zendesk did not accept the sign-in (401). Enter valid credentials.", None)
    update_alarms()
    alarm = Alarm.objects.get()
    assert (alarm.kind, alarm.connection) == ("connection", connection)
    assert "Enter valid credentials" in alarm.message
    resume_connections(rows)
    pause_connections(rows, "Paused by someone.", None, by="someone")
    update_alarms()
    alarm.refresh_from_db()
    assert alarm.ended_at is not None
    assert Alarm.objects.count() == 1


# --- From an API token to OAuth --------------------------------------------------------------------------------------

GOOD_CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", "scopes": "read write"}


def move(admin: Client, connection: Connection, **changes: str) -> str:
    answer = admin.post(f"{BASE}/connection/{connection.pk}/move/", GOOD_CLIENT | changes, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_move_is_tested_then_made_and_deliveries_go_on(
    admin: Client, sandbox: StandIn, mapping: Mapping, subscription: Any, work: Any
) -> None:
    connection = mapping.connection
    Connection.objects.update(secrets=Secret.of(json.dumps({"api_token": "deactivated"})))
    delivery = new_delivery(subscription, connection)
    work()
    assert "Move to OAuth" in page(admin, f"connection/{connection.pk}/change/")
    assert "Add OAuth client" in page(admin, f"connection/{connection.pk}/move/")
    html = move(admin, connection)
    assert "The connection now signs in with the OAuth client" in html
    connection.refresh_from_db()
    assert connection.read_secrets() == {"client_secret": "sandbox-secret"}
    assert connection.settings == {
        "address": sandbox.url, "sign_in": "oauth_client", "email": "agent@example.com",
        "client_id": "sandbox-client", "scopes": "read write",
    }  # fmt: skip
    assert (connection.paused_at, connection.granted_scope) == (None, "read write")
    work()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.mapping_id) == (State.DELIVERED, mapping.pk)
    assert len([call for call in sandbox.calls() if call.path == "/oauth/tokens"]) == 1
    assert "Moved from the API token" in LogEntry.objects.get(object_id=str(connection.pk)).change_message
    assert "nothing to move" in admin.get(f"{BASE}/connection/{connection.pk}/move/", follow=True).content.decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client_secret": "wrong"}, "rejected the OAuth client"),
        ({"scopes": "reed"}, "required for creating tickets"),
        ({"scopes": "read"}, "required for creating tickets"),
    ],
)
def test_a_move_that_does_not_pass_changes_nothing(
    admin: Client, connection: Connection, changes: dict[str, str], message: str, account: Account
) -> None:
    before = Connection.objects.filter(pk=connection.pk).values().get()
    html = move(admin, connection, **changes)
    after = Connection.objects.filter(pk=connection.pk).values().get()
    assert "Nothing changed" in html
    assert message in html
    assert {name: str(getattr(value, "stored", value)) for name, value in before.items()} == {
        name: str(getattr(value, "stored", value)) for name, value in after.items()
    }
    for secret in ("sandbox-secret", "wrong"):
        assert f'value="{secret}"' not in html


def test_a_move_under_which_somebody_saved_another_sign_in_changes_nothing(sandbox: StandIn, portal: Any) -> None:
    connection = ConnectionFactory.create(url=sandbox.url)
    found = Connection.objects.get(pk=connection.pk)
    other = Secret.of(json.dumps({"api_token": "another"}))
    Connection.objects.update(secrets=other)
    trial, is_moved = move_to_oauth(found, **GOOD_CLIENT)
    assert not is_moved
    assert "Someone changed" in words_of(trial.checks, ok=False)
    assert Connection.objects.get().read_secrets() == {"api_token": "another"}


# --- Who may ---------------------------------------------------------------------------------------------------------


def test_someone_who_may_only_look_sees_the_findings_and_no_buttons(client: Client, consented: Connection) -> None:
    client.force_login(StaffFactory.create(may="^view_connection$"))
    html = page(client, f"connection/{consented.pk}/change/")
    assert "Last connection test" in html
    assert "/connection/consent/" in html
    for message in ("Reconnect to Zendesk", "Test connection", "Move to OAuth"):
        assert message not in html
    for path in (f"connection/{consented.pk}/consent/", f"connection/{consented.pk}/move/"):
        assert client.get(f"{BASE}/{path}").status_code == 403


def wait_for(holds: Any) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
