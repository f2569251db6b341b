"""The smallest valid object of each kind; a test states only what matters to it."""

import json
import uuid
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone
from factory.declarations import Dict, LazyAttribute, LazyFunction, SelfAttribute, Sequence, SubFactory, Trait
from factory.django import DjangoModelFactory, Password
from factory.helpers import post_generation

from integrations.destinations.zendesk.ticket import DEFAULT_COMMENT, DEFAULT_SUBJECT
from integrations.infra.encryption import Secret
from integrations.models import (
    AccountSchema,
    Alarm,
    Attempt,
    CatchUp,
    Company,
    Connection,
    Delivery,
    DeliveryContent,
    FloodHold,
    HourlyVolume,
    Mapping,
    Notification,
    NotificationContent,
    PostContent,
    Probe,
    RemoteObject,
    Subscription,
    Wall,
)
from integrations.walls import create_wall
from sandbox.on_call import ROUTING_KEY, SIGNATURE, WORKFLOW_PATH
from tests import payloads

BEARER_TOKEN = "the-token-that-khoros-sends-back"
PASSWORD = "a long password"


def secret(**values: str) -> LazyFunction:
    """Encrypted when the object is made: tests change the key."""
    return LazyFunction(lambda: Secret.of(json.dumps(values)))


class CompanyFactory(DjangoModelFactory[Company]):
    """One company for all subscriptions, unless a test names another number."""

    name = "Example"
    company_id = "42"
    api_token = LazyFunction(lambda: Secret.of("sandbox-khoros-token"))

    class Meta:
        model = Company
        django_get_or_create = ("company_id",)


class SubscriptionFactory(DjangoModelFactory[Subscription]):
    company = SubFactory(CompanyFactory)
    label = "CreateCase"
    bearer_token = LazyFunction(lambda: Secret.of(BEARER_TOKEN))

    class Meta:
        model = Subscription

    class Params:
        every_event = Trait(match="everything", label="")


class ConnectionFactory(DjangoModelFactory[Connection]):
    """An account of the sandbox's kind at `url`, signed in by API token."""

    name = "Zendesk"
    kind = "zendesk"
    settings = Dict({"address": SelfAttribute("..url"), "sign_in": "api_token", "email": "agent@example.com"})
    secrets: Any = secret(api_token="sandbox-zendesk-token")

    class Meta:
        model = Connection

    class Params:
        url = "https://example.zendesk.com"


class OAuthConnectionFactory(ConnectionFactory):
    """The same account, signed in by an OAuth client."""

    settings = Dict({"address": SelfAttribute("..url"), "sign_in": "oauth_client", "client_id": "sandbox-client"})
    secrets = secret(client_secret="sandbox-secret")


class PagerDutyFactory(ConnectionFactory):
    name = "On call"
    kind = "pagerduty"
    settings = Dict({"address": SelfAttribute("..url")})
    secrets = secret(routing_key=ROUTING_KEY)


class TeamsFactory(ConnectionFactory):
    name = "Teams"
    kind = "teams"
    settings = Dict({"address": SelfAttribute("..url")})

    secrets = LazyAttribute(
        lambda made: Secret.of(
            json.dumps({"webhook_url": f"{made.settings['address']}{WORKFLOW_PATH}?sig={SIGNATURE}"})
        )
    )


class EmailFactory(ConnectionFactory):
    """By the sandbox's mail server."""

    name = "Mail"
    kind = "email"
    settings = Dict(
        {
            "server": "own",
            "host": "127.0.0.1",
            "port": SelfAttribute("..port"),
            "security": "smtp",
            "user": "",
            "sender": "care@example.com",
            "sender_name": "Social care",
        }
    )
    secrets = secret()

    class Params:
        port = 0


class WallFactory(DjangoModelFactory[Wall]):
    """With its connection and an address."""

    name = "Lobby"
    title = "People who love us"

    class Meta:
        model = Wall

    @classmethod
    def _create(cls, model_class: type[Wall], *_: Any, **fields: Any) -> Wall:
        wall = model_class(**fields)
        create_wall(wall)
        return wall


class MappingFactory(DjangoModelFactory[Mapping]):
    """`settings__subject="..."` changes one setting of the ticket and leaves the others."""

    name = "To Zendesk"
    subscription = SubFactory(SubscriptionFactory)
    connection = SubFactory(ConnectionFactory)
    settings = Dict(
        {"subject": DEFAULT_SUBJECT, "comment": DEFAULT_COMMENT, "comment_public": False, "tags": ["khoros"]}
    )

    class Meta:
        model = Mapping


class NotificationFactory(DjangoModelFactory[Notification]):
    """As stored by the webhook, still to be routed; `content` is what Khoros sent (see tests.payloads)."""

    subscription = SubFactory(SubscriptionFactory)
    key = LazyAttribute(lambda made: f"uuid:{made.content.get('eventUuid', uuid.uuid4())}")
    event_name = LazyAttribute(lambda made: made.content.get("eventName", ""))
    body = LazyAttribute(lambda made: json.dumps(made.content).encode())
    headers = Dict({})

    class Meta:
        model = Notification

    class Params:
        content = LazyFunction(payloads.notification)

    @classmethod
    def _create(cls, model_class: type[Notification], *args: Any, **fields: Any) -> Notification:
        content = {name: fields.pop(name) for name in ("event_name", "body", "headers")}
        key = fields.pop("key")
        made: Notification = super()._create(model_class, *args, event_key=Notification.hashed(key), **fields)
        NotificationContent.objects.create(notification=made, event_key=key, **content)
        return made


class RemoteObjectFactory(DjangoModelFactory[RemoteObject]):
    """A ticket that nothing is known of but its number."""

    mapping = SubFactory(MappingFactory)
    connection = SelfAttribute("mapping.connection")
    number = "501"

    class Meta:
        model = RemoteObject
        django_get_or_create = ("connection", "number")


class DeliveryFactory(DjangoModelFactory[Delivery]):
    """One that waits to be sent; `is_delivered` makes it ticket 501, `remote__status="open"` an open one."""

    mapping = SubFactory(MappingFactory)
    connection = SelfAttribute("mapping.connection")
    notification = SubFactory(NotificationFactory, subscription=SelfAttribute("..mapping.subscription"))
    post_id = LazyFunction(lambda: f"twitter:{uuid.uuid4().int % 10**12}")
    request = '{"ticket": {"comment": {"body": "text", "public": false}}}'
    search_text = "Ann\ntext"
    next_attempt_at = LazyFunction(timezone.now)

    class Meta:
        model = Delivery

    class Params:
        is_delivered = Trait(
            state="delivered",
            delivered_at=LazyFunction(timezone.now),
            next_attempt_at=None,
            remote_object=SubFactory(RemoteObjectFactory, mapping=SelfAttribute("..mapping")),
        )

    @classmethod
    def _create(cls, model_class: type[Delivery], *args: Any, **fields: Any) -> Delivery:
        request, search_text = fields.pop("request"), fields.pop("search_text")
        made: Delivery = super()._create(model_class, *args, is_rendered=bool(request), **fields)
        post = PostContent.objects.create(
            notification=made.notification,
            position=made.notification.posts.count(),
            post_id=made.post_id,
            search_text=search_text,
        )
        external_id = f"khoros:{made.post_id}:{made.mapping.uuid}"
        DeliveryContent.objects.create(delivery=made, post=post, external_id=external_id, request=request)
        return made


class AttemptFactory(DjangoModelFactory[Attempt]):
    """Begun and never finished."""

    delivery = SubFactory(DeliveryFactory)
    number = 1
    key_version = 1

    class Meta:
        model = Attempt


class FloodHoldFactory(DjangoModelFactory[FloodHold]):
    mapping = SubFactory(MappingFactory)
    opened_by = "operator"
    number = "1"

    class Meta:
        model = FloodHold


class AccountSchemaFactory(DjangoModelFactory[AccountSchema]):
    connection = SubFactory(ConnectionFactory)

    class Meta:
        model = AccountSchema


class CatchUpFactory(DjangoModelFactory[CatchUp]):
    subscription = SubFactory(SubscriptionFactory)
    mode = CatchUp.Mode.WHOLE

    class Meta:
        model = CatchUp

    class Params:
        is_done = Trait(state=CatchUp.State.DONE, finished_at=LazyFunction(timezone.now))


class ProbeFactory(DjangoModelFactory[Probe]):
    subscription = SubFactory(SubscriptionFactory)

    class Meta:
        model = Probe


class HourlyVolumeFactory(DjangoModelFactory[HourlyVolume]):
    subscription = SubFactory(SubscriptionFactory)
    hour = LazyFunction(lambda: timezone.now().replace(minute=0, second=0, microsecond=0))

    class Meta:
        model = HourlyVolume


class AlarmFactory(DjangoModelFactory[Alarm]):
    """About a connection, as any alarm must be about one thing."""

    kind = Alarm.Kind.CONNECTION
    message = "Paused."
    connection = SubFactory(ConnectionFactory)

    class Meta:
        model = Alarm


class StaffFactory(DjangoModelFactory[User]):
    """Someone who may sign in; `may` is an expression for the permissions' names, such as "^view_"."""

    username = Sequence(lambda number: f"staff{number}")
    password = Password(PASSWORD)
    is_staff = True

    class Meta:
        model = User
        skip_postgeneration_save = True

    @post_generation
    def may(self, create: bool, given: str | None, **_: Any) -> None:
        assert isinstance(self, User)
        if given:
            self.user_permissions.set(Permission.objects.filter(codename__regex=given))
