"""The smallest valid thing of each kind; a test states only what matters to it."""

import copy
import json
import uuid
from pathlib import Path
from typing import Any

from integrations.destinations.zendesk.ticket import DEFAULT_COMMENT, DEFAULT_SUBJECT
from integrations.infra.encryption import Secret
from integrations.models import Company, Connection, Mapping, Notification, Subscription

BEARER_TOKEN = "the-token-that-khoros-sends-back"
DOCUMENTED = json.loads((Path(__file__).parent / "fixtures/khoros/label-applied.twitter.json").read_text())


def company(**fields: Any) -> Company:
    defaults = {"name": "Example", "company_id": "42", "api_token": Secret.of("sandbox-khoros-token")}
    return Company.objects.get_or_create(company_id=fields.get("company_id", "42"), defaults=defaults | fields)[0]


def subscription(**fields: Any) -> Subscription:
    defaults = {"company": company(), "label": "CreateCase", "bearer_token": Secret.of(BEARER_TOKEN)}
    return Subscription.objects.create(**defaults | fields)


def connection(url: str, **fields: Any) -> Connection:
    defaults = {
        "name": "Zendesk",
        "kind": "zendesk",
        "settings": {"address": url, "sign_in": "api_token", "email": "agent@example.com"},
        "secrets": Secret.of(json.dumps({"api_token": "sandbox-zendesk-token"})),
    }
    return Connection.objects.create(**defaults | fields)


def oauth_connection(url: str, **fields: Any) -> Connection:
    return connection(
        url,
        settings={"address": url, "sign_in": "oauth_client", "client_id": "sandbox-client"},
        secrets=Secret.of(json.dumps({"client_secret": "sandbox-secret"})),
        **fields,
    )


def mapping(subscription: Subscription, connection: Connection, **fields: Any) -> Mapping:
    settings = {"subject": DEFAULT_SUBJECT, "comment": DEFAULT_COMMENT, "comment_public": False, "tags": ["khoros"]}
    defaults = {"name": "To Zendesk", "settings": settings | fields.pop("settings", {})}
    return Mapping.objects.create(subscription=subscription, connection=connection, **defaults | fields)


def item(entity_id: str = "", **fields: Any) -> dict[str, Any]:
    """One post of a notification, after the documented example."""
    found = copy.deepcopy(DOCUMENTED["data"]["items"][0])
    found["entityId"] = entity_id or f"twitter:{uuid.uuid4().int % 10**12}"
    return found | fields


def notification(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The documented example with its own event uuid and these posts."""
    found = copy.deepcopy(DOCUMENTED)
    found["eventUuid"] = str(uuid.uuid4())
    found["data"]["items"] = list(items) or [item()]
    return found | fields


def stored(subscription: Subscription, content: dict[str, Any] | None = None, **fields: Any) -> Notification:
    content = content or notification()
    return Notification.objects.create(
        subscription=subscription,
        event_key=f"uuid:{content.get('eventUuid', uuid.uuid4())}",
        event_name=content.get("eventName", ""),
        body=json.dumps(content).encode(),
        **fields,
    )
