"""The first set-up from the environment, for people who come from the 2017 example.

If its variables are set, company, subscription, connection and mapping are created once and never again: what staff
change stays, and what they delete is not recreated. If the environment later holds another secret than the portal, the
object's page says so, and a person may take it over.
"""

from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from integrations.destinations.email import EMAIL
from integrations.destinations.slack import SLACK
from integrations.destinations.wall import WALL
from integrations.destinations.zendesk import ZENDESK
from integrations.destinations.zendesk.ticket import DEFAULT_COMMENT, DEFAULT_SUBJECT
from integrations.infra.encryption import Secret, UnreadableSecret
from integrations.infra.http.addresses import AddressRefused, checked_origin, origin_of
from integrations.infra.smtp import portal_server
from integrations.models import Company, Connection, Installation, Mapping, Subscription, Wall
from integrations.models.configuration import new_bearer_token
from integrations.sources.khoros.token import expiry
from integrations.subscriptions import change_bearer_token
from integrations.walls import create_wall

log = structlog.get_logger(__name__)

NEEDED = {
    "api_token": "SPREDFAST_API_TOKEN",
    "company_id": "SPREDFAST_COMPANY_ID",
    "label": "SPREDFAST_LABEL_NAME",
    "zendesk_url": "ZENDESK_API_URL",
}
SEED_TAG = "khoros"


def make_first_setup() -> str:
    """Creates the first set-up unless that was done before, and returns a sentence on what was done."""
    with transaction.atomic():
        installation = Installation.objects.select_for_update().get()
        if installation.seeded_at is not None:
            return "The set-up from the environment already exists. Nothing changed."
        if not any(settings.SEED[name] for name in (*NEEDED, "zendesk_email", "zendesk_client_id", "bearer_token")):
            return "The environment requests no set-up."
        if missing := _missing():
            return f"No set-up was created from the environment, because these are not set: {', '.join(missing)}."
        try:
            address = checked_origin(settings.SEED["zendesk_url"])
        except AddressRefused as refused:
            return f"No set-up was created from the environment: ZENDESK_API_URL cannot be used. {refused}"
        mapping = _create(address)
        Installation.objects.update(seeded_at=Now())
    log.info("first set-up created", mapping_id=mapping.pk)
    return f"Created the set-up “{mapping}” from the environment."


def _missing() -> list[str]:
    missing = [variable for name, variable in NEEDED.items() if not settings.SEED[name]]
    has_pair = settings.SEED["zendesk_email"] and settings.SEED["zendesk_token"]
    if not (has_pair or _has_oauth_client()):
        missing.append(
            "ZENDESK_OAUTH_CLIENT_ID and ZENDESK_OAUTH_CLIENT_SECRET (or ZENDESK_USER_EMAIL and ZENDESK_API_TOKEN)"
        )
    return missing


def _has_oauth_client() -> bool:
    return bool(settings.SEED["zendesk_client_id"] and settings.SEED["zendesk_client_secret"])


def _create(zendesk_address: str) -> Mapping:
    seed = settings.SEED
    company, _ = Company.objects.get_or_create(
        company_id=seed["company_id"],
        defaults={
            "name": f"Khoros company {seed['company_id']}",
            "api_token": Secret.of(seed["api_token"]),
            "from_environment": True,
        },
    )
    subscription = Subscription.objects.create(
        company=company,
        **_listens_to(seed["label"]),
        bearer_token=Secret.of(seed["bearer_token"] or new_bearer_token()),
        next_check_at=Now(),
        from_environment=True,
    )
    connection = _connect_zendesk(zendesk_address)
    if seed["slack_token"]:
        _connect_slack()
    if portal_server() is not None:
        _connect_email()
    if seed["wall_label"]:
        _put_up_wall(company, seed["wall_label"])
    return Mapping.objects.create(
        name=f"{seed['label']} to Zendesk",
        subscription=subscription,
        connection=connection,
        settings={
            "subject": DEFAULT_SUBJECT,
            "comment": DEFAULT_COMMENT,
            "comment_public": False,
            "priority": "normal",
            "tags": [SEED_TAG],
        },
        from_environment=True,
    )


def _connect_zendesk(address: str) -> Connection:
    connection = Connection(
        name=f"Zendesk {urlsplit(address).hostname}",
        kind=ZENDESK.kind,
        settings={"address": address, **_sign_in()},
        from_environment=True,
    )
    connection.change_secrets(_zendesk_secrets())
    connection.save()
    return connection


def _listens_to(label: str) -> dict[str, str]:
    """A label; between slashes a regular expression, as the 2017 guide says."""
    expression = label.removeprefix("/").removesuffix("/")
    if len(label) == len(expression) + 2 and expression:
        return {"match": Subscription.Match.EXPRESSION.value, "label": expression}
    return {"label": label}


def _connect_slack() -> None:
    """Without a mapping: who is told of what, people choose in the portal."""
    people = "\n".join(settings.SEED["slack_people"].replace(",", " ").split())
    address = {"address": settings.SEED["slack_url"], "sign_in": "bot", "people": people}
    connection = Connection(name="Slack", kind=SLACK.kind, settings=address)
    connection.change_secrets({"bot_token": settings.SEED["slack_token"]})
    connection.save()


def _connect_email() -> None:
    """By the server that alarms are mailed by. Without a mapping, like Slack."""
    account = {"sender": settings.ALERT_FROM, "sender_name": "Casebridge", "server": "portal"}
    Connection.objects.create(name="E-mail", kind=EMAIL.kind, settings=account)


def _put_up_wall(company: Company, label: str) -> None:
    """A wall with an address, on which every post with this label is shown."""
    wall = Wall(name=f"Posts labelled {label}"[:120], title=label[:80])
    create_wall(wall)
    subscription = Subscription.objects.create(
        company=company, **_listens_to(label), bearer_token=Secret.of(new_bearer_token()), next_check_at=Now()
    )
    recipe = WALL.recipes[0]
    Mapping.objects.create(
        name=f"{label} to the wall"[:120],
        subscription=subscription,
        connection=wall.connection,
        settings=dict(recipe.settings),
    )


def _sign_in() -> dict[str, str]:
    if _has_oauth_client():
        return {"sign_in": "oauth_client", "client_id": settings.SEED["zendesk_client_id"]}
    return {"sign_in": "api_token", "email": settings.SEED["zendesk_email"]}


def _zendesk_secrets() -> dict[str, str]:
    if _has_oauth_client():
        return {"client_secret": settings.SEED["zendesk_client_secret"]}
    return {"api_token": settings.SEED["zendesk_token"]}


# --- A different secret in the environment ---------------------------------------------------------------------------


def environment_differs(configured: Company | Subscription | Connection) -> bool:
    """Whether the environment now holds another secret than this object, which was once created from it."""
    if not configured.from_environment:
        return False
    try:
        return _differs(configured)
    except UnreadableSecret:
        return True


def _differs(configured: Company | Subscription | Connection) -> bool:
    if isinstance(configured, Company):
        if configured.token_by_consent:
            # Somebody connected to Khoros here: the environment's token is obsolete.
            return False
        return settings.SEED["api_token"] not in ("", configured.api_token.reveal())
    if isinstance(configured, Subscription):
        return settings.SEED["bearer_token"] not in ("", configured.bearer_token.reveal())
    expected: dict[str, Any] = _zendesk_secrets() | _sign_in()
    if not all(expected.values()) or not _points_to_environment_address(configured):
        return False
    if _sign_in()["sign_in"] == "api_token" and configured.settings.get("sign_in") != "api_token":
        # Somebody moved to OAuth here: the environment's API token is obsolete.
        return False
    stored = configured.settings | configured.read_secrets()
    return any(stored.get(name) != value for name, value in expected.items())


def _points_to_environment_address(connection: Connection) -> bool:
    """The environment's secret is for the environment's address, and sent to no other."""
    try:
        address = checked_origin(settings.SEED["zendesk_url"])
    except AddressRefused:
        return False
    return origin_of(address) == origin_of(ZENDESK.origin(connection.settings))


def take_from_environment(configured: Company | Subscription | Connection) -> None:
    """Replaces the stored secret by the environment's, and saves."""
    if isinstance(configured, Company):
        configured.enter_token(settings.SEED["api_token"], expiry(settings.SEED["api_token"]))
        configured.save(update_fields=Company.TOKEN_COLUMNS)
    elif isinstance(configured, Subscription):
        change_bearer_token(configured, settings.SEED["bearer_token"])
    else:
        configured.settings = configured.settings | _sign_in()
        configured.change_secrets(_zendesk_secrets())
        configured.forget_tokens()
        configured.save(update_fields=["settings", "secrets", *Connection.TOKEN_COLUMNS])
