"""Shared fixtures: the real database and Redis of `make test`, the sandbox over sockets, and a set-up of each model."""

import gc
import json
from collections.abc import Callable, Generator, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import Client

from integrations.destinations import slack
from integrations.infra import known_addresses, queue
from integrations.infra.redis import redis_client as redis_client
from integrations.intake import authenticate
from integrations.jobs import sweep
from integrations.models import Connection, Installation, Mapping, Subscription
from integrations.outcomes import period
from integrations.walls import cache as wall_cache
from local.trial import Trial
from sandbox.server import running_sandbox
from tests import emptying, payloads, queues
from tests.factories import BEARER_TOKEN, ConnectionFactory, MappingFactory, SubscriptionFactory
from tests.receiver import Receiver, running_receiver
from tests.stand_in import StandIn

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield StandIn(sandbox.url, sandbox.mailbox.port)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest row of tests that share one thing begins first, so that no process ends long after the other."""
    items.sort(key=lambda item: item.path.name != "test_surviving.py")


def pytest_collection_finish() -> None:
    """Spares the garbage collector what lives as long as the run: a twelfth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure beside a running portal shows what that one said last, each of its processes for itself."""
    report = yield
    if report.failed:
        for used in getattr(item, "funcargs", {}).values():
            if isinstance(used, Trial):
                report.sections.append(("What the portal said last", last_lines_of_each(used.log)))
    return report


def last_lines_of_each(log: Path, count: int = 25) -> str:
    by_process = sorted(log.read_text(errors="replace").splitlines(), key=lambda line: line.partition("|")[0])
    each = (list(lines)[-count:] for _, lines in groupby(by_process, key=lambda line: line.partition("|")[0]))
    return "\n".join(line for lines in each for line in lines if len(lines) > 1)


@pytest.fixture
def sandbox(shared_sandbox: StandIn, settings: Any) -> StandIn:
    """The stand-in for Khoros and Zendesk, empty, with no limit unless the test sets one."""
    shared_sandbox.reset()
    shared_sandbox.change_settings(rate_limit=0, index_limit=0)
    settings.KHOROS_API_URL = settings.KHOROS_LOGIN_URL = shared_sandbox.url
    return shared_sandbox


@pytest.fixture
def other_host() -> Iterator[Receiver]:
    with running_receiver(200, b"{}") as host:
        yield host


@pytest.fixture(autouse=True)
def an_empty_redis() -> None:
    """Each process of a parallel run has a Redis database of its own (see pytest_configure)."""
    queue.publisher().waiting.join()
    redis_client().flushdb()


@pytest.fixture
def paced_by_slack() -> None:
    """For a test that is about the time between two messages."""


@pytest.fixture(autouse=True)
def slack_is_quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody waits a second for each message of a test."""
    if "paced_by_slack" not in request.fixturenames:
        monkeypatch.setattr(slack, "MESSAGES_A_MINUTE", 60_000)


@pytest.fixture
def no_redis() -> redis.Redis:
    """A client of a server that is away; like the portal's own it does not try again."""
    return redis.Redis(connection_pool=redis.ConnectionPool(host="127.0.0.1", port=1))


@pytest.fixture(autouse=True)
def subscriptions_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests change a subscription and call at once; what remembering means has a test of its own."""
    monkeypatch.setattr(authenticate, "CACHED_SECONDS", 0.0)
    monkeypatch.setattr(known_addresses, "READ_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(period, "KEPT_SECONDS", 0)
    monkeypatch.setattr(wall_cache, "_looks", known_addresses.Looks(wall_cache.MOST_LOOKS_AT_ONCE))


@pytest.fixture
def portal(transactional_db: None) -> Installation:
    """The database as it is after a release."""
    return Installation.objects.get_or_create(id=1)[0]


@pytest.fixture
def connection(portal: Installation, sandbox: StandIn) -> Connection:
    return ConnectionFactory.create(url=sandbox.url)


@pytest.fixture
def subscription(portal: Installation) -> Subscription:
    return SubscriptionFactory.create()


@pytest.fixture
def mapping(subscription: Subscription, connection: Connection) -> Mapping:
    return MappingFactory.create(subscription=subscription, connection=connection)


@pytest.fixture
def push(client: Client, subscription: Subscription) -> Callable[..., Any]:
    """Calls the webhook as Khoros does and returns the answer."""

    def call(content: Any = None, *, token: str = BEARER_TOKEN, **more: Any) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content or payloads.notification()).encode()
        address = more.pop("address", str(subscription.uuid))
        return client.generic(
            "POST",
            f"/webhooks/khoros/{address}",
            data=body,
            content_type=more.pop("content_type", "application/json"),
            headers={"Authorization": f"Bearer {token}"} | more.pop("headers", {}),
            **more,
        )

    return call


@pytest.fixture
def queued() -> Callable[[], list[tuple[str, Any]]]:
    """What lies in the real queues, no worker running here: (task, its argument)."""

    def messages() -> list[tuple[str, Any]]:
        return [(message.task, message.arguments[0] if message.arguments else None) for message in queues.waiting()]

    return messages


@pytest.fixture
def work_off_the_queues() -> Callable[..., None]:
    """Runs the real tasks of the messages in the real queues, until these are empty."""
    return queues.work_off


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Does what workers and clock would do with everything that is due now: the queues' messages, and a sweep.

    The sweep finds notifications that a test stored itself, however young they are. The lists of an account are not
    read: those calls would stand between the ones that a test counts.
    """
    monkeypatch.setattr(sweep, "ROUTED_WITHIN_SECONDS", 0)

    def until_nothing_is_due() -> None:
        queues.work_off(without=queue.READ_LISTS)
        sweep.sweep()
        queues.work_off(without=queue.READ_LISTS)

    return until_nothing_is_due


@pytest.fixture
def admin(client: Client, portal: Installation, django_user_model: Any) -> Client:
    user = django_user_model.objects.create_superuser("operator", "operator@example.com", "a long password")
    client.force_login(user)
    return client


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-journeys", action="store_true", help="write what arrives into tests/journeys/*/request.json"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Each process of a parallel run takes its own Redis database, so that queues and rate limits stay apart.

    Pages are tested without collecting static files first, and passwords are hashed quickly.
    """
    plain_files = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    django_settings.STORAGES = django_settings.STORAGES | {"staticfiles": plain_files}
    # Hundreds of tests make a user; production's hashing is slow on purpose.
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    emptying.use()
    Path(django_settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    worker = getattr(config, "workerinput", {}).get("workerid", "gw0")
    address, _, _ = str(django_settings.CELERY["broker_url"]).rpartition("/")
    django_settings.CELERY["broker_url"] = f"{address}/{int(worker.removeprefix('gw')) + 1}"


@pytest.fixture
def exchange() -> Callable[[str], Any]:
    """A recorded exchange with Zendesk by its file's name."""
    return lambda name: json.loads((FIXTURES / "zendesk" / f"{name}.json").read_text())
