"""The first set-up from the environment, keys and their rotation, health, headers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from integrations.infra import redis
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.models import Company, Connection, Installation, Mapping, Subscription, Turn, Wall
from integrations.operations.first_setup import environment_differs, make_first_setup, take_from_environment
from integrations.walls import page_address
from tests.factories import BEARER_TOKEN

SEED = {
    "api_token": "khoros-token",
    "company_id": "24606",
    "label": "CreateCase",
    "zendesk_url": "https://example.zendesk.com/api/v2",
    "zendesk_email": "agent@example.com",
    "zendesk_token": "zendesk-token",
    "zendesk_client_id": "",
    "zendesk_client_secret": "",
    "slack_token": "",
    "slack_people": "",
    "slack_url": "https://slack.com",
    "wall_label": "",
    "bearer_token": "chosen-bearer-token",
}


@pytest.fixture
def seeded(portal: Installation, settings: Any) -> str:
    settings.SEED = SEED
    return make_first_setup()


def test_the_2017_variables_make_the_whole_set_up(seeded: str) -> None:
    mapping = Mapping.objects.get()
    assert mapping.name in seeded
    assert mapping.subscription.label == "CreateCase"
    assert mapping.subscription.bearer_token.reveal() == "chosen-bearer-token"
    assert mapping.subscription.next_check_at is not None
    assert (mapping.subscription.company.company_id, mapping.subscription.company.api_token.reveal()) == (
        "24606",
        "khoros-token",
    )
    assert mapping.connection.settings == {
        "address": "https://example.zendesk.com",
        "sign_in": "api_token",
        "email": "agent@example.com",
    }
    assert mapping.connection.read_secrets() == {"api_token": "zendesk-token"}
    assert mapping.settings["tags"] == ["khoros"]
    for name in ("text", "author", "network", "link", "posted_at", "label"):
        assert f"{{{{ {name} }}}}" in mapping.settings["comment"]


def test_it_is_made_once_and_never_again(seeded: str, settings: Any) -> None:
    Mapping.objects.update(name="Changed by staff")
    settings.SEED = SEED | {"label": "Another"}
    assert "Nothing changed" in make_first_setup()
    assert list(Mapping.objects.values_list("name", flat=True)) == ["Changed by staff"]
    Mapping.objects.all().delete()
    make_first_setup()
    assert not Mapping.objects.exists()


def test_an_oauth_client_serves_in_place_of_the_token(portal: Installation, settings: Any) -> None:
    settings.SEED = SEED | {
        "zendesk_email": "",
        "zendesk_token": "",
        "zendesk_client_id": "client",
        "zendesk_client_secret": "client-secret",
    }
    make_first_setup()
    connection = Connection.objects.get()
    assert (connection.settings["sign_in"], connection.settings["client_id"]) == ("oauth_client", "client")
    assert connection.read_secrets() == {"client_secret": "client-secret"}


def test_a_label_between_slashes_is_a_regular_expression(portal: Installation, settings: Any) -> None:
    settings.SEED = SEED | {"label": "/^Create(Case|Ticket)$/"}
    make_first_setup()
    subscription = Subscription.objects.get()
    assert (subscription.match, subscription.label) == ("expression", "^Create(Case|Ticket)$")


def test_with_a_label_for_it_a_wall_stands_ready(settings: Any, portal: Any) -> None:
    settings.SEED = SEED | {"wall_label": "Love"}
    make_first_setup()
    wall = Wall.objects.get()
    mapping = Mapping.objects.get(connection=wall.connection)
    assert (wall.title, mapping.subscription.label) == ("Love", "Love")
    assert page_address(wall).startswith("http")


def test_with_a_mail_server_an_e_mail_connection_stands_ready(settings: Any, portal: Any) -> None:
    settings.SEED = SEED
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    make_first_setup()
    mail = Connection.objects.get(kind="email")
    assert mail.settings == {"sender": settings.ALERT_FROM, "sender_name": "Casebridge", "server": "portal"}


def test_with_a_bot_token_slack_is_connected_too(portal: Installation, settings: Any) -> None:
    settings.SEED = SEED | {"slack_token": "xoxb-1", "slack_people": "ann@example.com, ben@example.com"}
    make_first_setup()
    slack = Connection.objects.get(kind="slack")
    assert slack.settings == {
        "address": "https://slack.com",
        "sign_in": "bot",
        "people": "ann@example.com\nben@example.com",
    }
    assert slack.read_secrets() == {"bot_token": "xoxb-1"}
    assert Mapping.objects.get().connection.kind == "zendesk"


def test_what_is_missing_is_named_and_nothing_is_made(portal: Installation, settings: Any) -> None:
    settings.SEED = SEED | {"label": "", "zendesk_token": ""}
    sentence = make_first_setup()
    assert "SPREDFAST_LABEL_NAME" in sentence
    assert "ZENDESK_OAUTH_CLIENT_ID" in sentence
    assert not Company.objects.exists()
    assert Installation.objects.get().seeded_at is None


def test_an_address_that_may_not_be_called_makes_nothing(portal: Installation, settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    settings.SEED = SEED | {"zendesk_url": "http://127.0.0.1:1"}
    assert "ZENDESK_API_URL cannot be used" in make_first_setup()
    assert not Company.objects.exists()


def test_a_bearer_token_is_made_when_none_was_chosen(portal: Installation, settings: Any) -> None:
    settings.SEED = SEED | {"bearer_token": ""}
    make_first_setup()
    assert len(Subscription.objects.get().bearer_token.reveal()) >= 40


def test_release_makes_the_administrator_once(portal: Installation, settings: Any, django_user_model: Any) -> None:
    settings.ADMINISTRATOR = {"username": "admin", "password": "first password", "email": "a@example.com"}
    call_command("release", verbosity=0)
    settings.ADMINISTRATOR = settings.ADMINISTRATOR | {"password": "another"}
    call_command("release", verbosity=0)
    assert django_user_model.objects.get().check_password("first password")


def test_a_key_is_rotated_without_losing_a_secret(seeded: str, settings: Any) -> None:
    old = settings.ENCRYPTION_KEYS
    new = "a new key with more than thirty-two characters"
    settings.ENCRYPTION_KEYS = [new, *old]
    call_command("rotate_encryption_key")
    settings.ENCRYPTION_KEYS = [new]
    assert Company.objects.get().api_token.reveal() == "khoros-token"
    assert Connection.objects.get().read_secrets() == {"api_token": "zendesk-token"}
    assert Subscription.objects.get().bearer_token.reveal() == "chosen-bearer-token"
    settings.ENCRYPTION_KEYS = old
    with pytest.raises(UnreadableSecret):
        Company.objects.get().api_token.reveal()
    with pytest.raises(CommandError, match="Enter them again"):
        call_command("rotate_encryption_key")


def test_a_tampered_secret_is_unreadable_and_not_garbage() -> None:
    stored = Secret.of("token").stored
    for tampered in (stored[:-4] + "AAAA", stored.removeprefix("v1:"), "v1:", "v2:" + stored[3:]):
        with pytest.raises(UnreadableSecret):
            Secret(tampered).reveal()


def test_the_environment_s_token_is_not_offered_once_khoros_was_connected_to_and_replaces_it_whole(
    seeded: str, settings: Any
) -> None:
    settings.SEED = SEED | {"api_token": "another-token"}
    company = Company.objects.get()
    assert environment_differs(company)
    company.token_by_consent = True
    company.save()
    assert not environment_differs(company)
    take_from_environment(company)
    company.refresh_from_db()
    assert (company.api_token.reveal(), company.token_by_consent) == ("another-token", False)


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "DATABASE_URL", "REDIS_URL")}
    needed = {"SECRET_KEY": "0123456789abcdef" * 4, "ENCRYPTION_KEY": "e" * 40}
    command = [
        sys.executable,
        "-c",
        "import portal.settings as s; print(s.HTTPS, s.PUBLIC_URL, s.SESSION_COOKIE_SECURE)",
    ]
    return subprocess.run(
        command,
        env=kept | needed | environment,
        capture_output=True,
        text=True,
        cwd=django_settings.BASE_DIR,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"ENCRYPTION_KEY": ""}, "ENCRYPTION_KEY is not set"),
        ({"ENCRYPTION_KEY": "short"}, "ENCRYPTION_KEY is too short"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "sqlite:///x"}, "must name a PostgreSQL database"),
        ({"REDIS_URL": ""}, "REDIS_URL is not set"),
        ({"DEBUG": "ture"}, "DEBUG must be true or false"),
        ({"OUTBOUND_ALLOW_PRIVATE": "maybe"}, "OUTBOUND_ALLOW_PRIVATE must be true or false"),
        ({"DELIVERY_RETRY_DELAYS": "10,soon"}, "DELIVERY_RETRY_DELAYS must be seconds"),
        ({"SWEEP_SECONDS": "0"}, "SWEEP_SECONDS must be a whole number"),
        ({"PUBLIC_URL": "portal.example.com"}, "PUBLIC_URL must be an address"),
        ({"PUBLIC_URL": "http://portal.example.com"}, "PUBLIC_URL must begin with https"),
    ],
)
def test_a_wrong_variable_stops_the_program_with_a_sentence_that_names_it(
    environment: dict[str, str], message: str
) -> None:
    assert message in start(**environment).stderr


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"PUBLIC_URL": "https://portal.example.com/"}, "True https://portal.example.com True"),
        ({"PUBLIC_URL": "http://127.0.0.1:8000"}, "False http://127.0.0.1:8000 False"),
        ({"HEROKU_APP_DEFAULT_DOMAIN_NAME": "app-1.herokuapp.com"}, "True https://app-1.herokuapp.com True"),
        ({}, "True  True"),
        ({"LOCAL_URL": "http://127.0.0.1:8000"}, "False  False"),
    ],
)
def test_secure_cookies_follow_the_public_address(environment: dict[str, str], printed: str) -> None:
    assert start(**environment).stdout.strip("\n") == printed


WATCHER = {"Authorization": "Bearer a watcher"}


def everything_runs() -> None:
    Installation.objects.update(worker_seen_at=Now(), beat_seen_at=Now())
    Turn.objects.create(name=Turn.Name.SWEEP, taken_at=Now(), done_at=Now())


def test_health_tells_the_process_and_what_intake_needs(client: Client, portal: Installation) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    assert client.get("/readyz?full=1").status_code == 503
    everything_runs()
    full = client.get("/readyz?full=1")
    assert (full.status_code, full.json()) == (200, {"status": "ok"})


def test_only_who_knows_the_token_is_told_what_is_missing(client: Client, portal: Installation, settings: Any) -> None:
    assert client.get("/readyz?full=1", headers={"Authorization": "Bearer "}).json() == {"status": "not ready"}
    settings.READYZ_TOKEN = "a watcher"
    assert client.get("/readyz?full=1").json() == {"status": "not ready"}
    told = client.get("/readyz?full=1", headers=WATCHER).json()
    assert told["degraded"] == ["worker", "beat", "sweep"]
    assert told["checks"]["database"] == "ok"


@pytest.mark.parametrize("part", ["worker", "beat", "sweep"])
def test_a_part_that_was_not_heard_of_for_a_minute_is_missing(
    client: Client, portal: Installation, settings: Any, part: str
) -> None:
    settings.READYZ_TOKEN = "a watcher"
    everything_runs()
    long_ago = timezone.now() - timedelta(seconds=150)
    if part == "sweep":
        Turn.objects.update(done_at=long_ago)
    else:
        Installation.objects.update(**{f"{part}_seen_at": long_ago})
    full = client.get("/readyz?full=1", headers=WATCHER)
    assert (full.status_code, full.json()["degraded"]) == (503, [part])
    assert "last seen 15" in full.json()["checks"][part]
    assert client.get("/readyz").status_code == 200


@pytest.fixture
def no_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(settings.CELERY, "broker_url", "redis://127.0.0.1:1/0")
    redis.redis_client.cache_clear()
    yield
    redis.redis_client.cache_clear()


def test_a_dead_redis_degrades_and_does_not_stop_intake(
    client: Client, portal: Installation, settings: Any, no_redis: None
) -> None:
    settings.READYZ_TOKEN = "a watcher"
    everything_runs()
    answer = client.get("/readyz", headers=WATCHER)
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["redis"])
    assert client.get("/readyz?full=1").status_code == 503


def test_health_answers_any_host_and_without_https(client: Client, portal: Installation, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/healthz", headers={"host": "10.0.0.7:8000"}).status_code == 200
    assert client.get("/admin/login/").status_code == 301


def test_every_answer_carries_the_policy_against_foreign_scripts(client: Client, portal: Installation) -> None:
    policy = client.get("/admin/login/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert client.get("/admin/login/")["X-Frame-Options"] == "DENY"


def test_no_page_holds_an_inline_script(admin: Client, subscription: Subscription) -> None:
    for path in (
        "/admin/",
        "/admin/integrations/delivery/",
        f"/admin/integrations/subscription/{subscription.pk}/change/",
    ):
        html = admin.get(path).content.decode()
        scripts = [tag for tag in html.split("<script")[1:] if "src=" not in tag.partition(">")[0]]
        data_only = [tag for tag in scripts if 'type="application/json"' in tag.partition(">")[0]]
        assert scripts == data_only


def test_company_and_subscription_texts_never_show_a_secret(admin: Client, subscription: Subscription) -> None:
    for path in ("company", "subscription"):
        row = {"company": subscription.company, "subscription": subscription}[path]
        html = admin.get(f"/admin/integrations/{path}/{row.pk}/change/").content.decode()
        assert "sandbox-khoros-token" not in html
        assert BEARER_TOKEN not in html
