"""Events that hold no post: credentials, control passed to a bot, errors of the Custom CRM, vault, and unknown ones.

Each becomes one alert: a Post of kind "alert" with a sentence as its text and the rest as facts. Its id is derived from
its content and time, so that one occurrence reported by two subscriptions, or twice, is one alert, and a later one is
another. Facts: the vendor's pages events-authentication, events-bots-pass-conversation-control,
events-errors and events-vault below developer.khoros.com/khorosmarketingdevdocs/docs.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from integrations.domain.post import Post
from integrations.infra.text import storable
from integrations.sources.khoros.dates import read_time
from integrations.sources.khoros.values import as_list, as_object, as_text, digest

MOST_FACTS = 40
LONGEST_VALUE = 1000

# What happened to a credential, by the end of the event's name. Khoros' own "success" only means that the event was
# registered.
CREDENTIAL_TEXT = {
    "auth": "The account {name} was connected in Khoros.",
    "reauth": "The account {name} was connected again in Khoros.",
    "deauth": "The account {name} has lost its connection: Khoros found it expired and could not refresh it. "
    "Posts from it may be missing. Connect it again in Khoros.",
    "delete": "The account {name} was removed from Khoros.",
}


def alert(data: dict[str, Any], event_name: str, happened_at: datetime | None, event_uuid: str) -> Post:
    """The event as an alert, by the shape of its data; unknown ones list all their values."""
    if "passConversationControl" in data or "privateMessageConversationId" in data:
        return _control(data, event_name, happened_at, event_uuid)
    if event_name.startswith("credential-") or {"serviceId", "when"} <= data.keys():
        return _credential(data, event_name, happened_at, event_uuid)
    if "externalCall" in data or {"operation", "trackingId"} <= data.keys():
        return _crm_error(data, event_name, happened_at, event_uuid)
    if event_name.startswith("vault-"):
        return _vault(data, event_name, happened_at, event_uuid)
    facts = tuple(_flat(data))
    text = "\n".join([f"Khoros sent “{event_name or 'an event without a name'}”.", *(f"{n}: {v}" for n, v in facts)])
    return _alert_post(data, event_name, happened_at, event_uuid, network="", text=text, facts=())


def _alert_post(
    data: dict[str, Any],
    event_name: str,
    happened_at: datetime | None,
    event_uuid: str,
    *,
    network: str,
    text: str,
    facts: tuple[tuple[str, str], ...],
    moment: datetime | None = None,
    has_own_identity: bool = False,
    title: str = "",
    author: str = "",
) -> Post:
    """`has_own_identity`: the data alone identify this occurrence; else its time or uuid is added."""
    when = "" if has_own_identity else happened_at.isoformat() if happened_at else event_uuid
    native_id = digest(json.dumps([event_name, data, when], sort_keys=True, default=str))
    return Post(
        post_id=f"{event_name[:100] or 'event'}:{native_id}",
        network=storable(network.lower())[:60],
        native_id=native_id,
        kind="alert",
        title=title or event_name,
        text=text,
        author=author,
        posted_at=moment or happened_at,
        facts=tuple((name, value[:LONGEST_VALUE]) for name, value in facts if value),
    )


def _credential(data: dict[str, Any], event_name: str, happened_at: datetime | None, event_uuid: str) -> Post:
    service, name = as_text(data.get("service")), as_text(data.get("name"))
    when = read_time(data.get("when"))
    known = f"“{name or as_text(data.get('serviceId')) or 'without a name'}”" + (f" ({service})" if service else "")
    text = CREDENTIAL_TEXT.get(event_name.removeprefix("credential-"), "Something happened to the account {name}.")
    message = as_text(data.get("message"))
    facts = (
        ("credential_name", name),
        ("credential_id", as_text(data.get("serviceId"))),
        # "success" says that the event was registered, not that all is well.
        ("khoros_message", "" if message.lower() == "success" else message),
    )
    return _alert_post(
        data, event_name, happened_at, event_uuid,
        network=service, text=text.format(name=known), facts=facts, moment=when, has_own_identity=when is not None,
        title=f"Account {known}", author=name,
    )  # fmt: skip


def _control(data: dict[str, Any], event_name: str, happened_at: datetime | None, event_uuid: str) -> Post:
    control = as_object(data.get("passConversationControl")) or data
    conversation = as_object(control.get("privateMessageConversationId"))
    when = read_time(control.get("timestampRequested"))
    kind, service = as_text(control.get("type")), as_text(control.get("service"))
    customer = as_text(conversation.get("endUserAccountId"))
    does = "should wait until the customer writes" if kind == "reset" else "may answer now"
    facts = (
        ("control_type", kind),
        ("customer_id", customer),
        ("account_id", as_text(conversation.get("ownedAccountId"))),
    )
    return _alert_post(
        data, event_name, happened_at, event_uuid,
        network=service, facts=facts, moment=when, has_own_identity=when is not None,
        text=f"A conversation with the customer {customer or 'without an id'} on {service or 'an unknown network'} "
        f"passes to the bot, which {does}.",
        title=f"Conversation with {customer}" if customer else "", author=customer,
    )  # fmt: skip


def _crm_error(data: dict[str, Any], event_name: str, happened_at: datetime | None, event_uuid: str) -> Post:
    called = as_object(data.get("externalCall"))
    tracking_id, operation = as_text(data.get("trackingId")), as_text(data.get("operation"))
    request = f"{as_text(called.get('requestMethod'))} {as_text(called.get('requestUri'))}".strip()
    message = as_text(data.get("spredfastErrorMessage"))
    facts = (
        ("operation", operation),
        ("tracking_id", tracking_id),
        ("description", as_text(data.get("description"))),
        ("error_message", message),
        ("request", request),
        ("response_code", as_text(called.get("responseCode"))),
    )
    sentences = [f"Khoros could not carry out “{operation or 'a call'}” at the customer system.", message]
    # Among the words by which a post is found.
    sentences += [f"Tracking id {tracking_id}."] if tracking_id else []
    return _alert_post(
        data, event_name, happened_at, event_uuid,
        network="", text=" ".join(filter(None, sentences)), facts=facts, has_own_identity=bool(tracking_id),
        title=f"Error of the customer system: {operation}" if operation else "",
    )  # fmt: skip


def _vault(data: dict[str, Any], event_name: str, happened_at: datetime | None, event_uuid: str) -> Post:
    when = read_time(data.get("createdDate"))
    change, actor = as_text(data.get("change")), as_text(data.get("actorDirectoryUserId"))
    known = {"change", "actorDirectoryUserId", "createdDate"}
    rest = (f"{name}: {value}" for name, value in _flat({k: v for k, v in data.items() if k not in known}))
    text = "\n".join(
        [f"Khoros' vault: {event_name.removeprefix('vault-').replace('-', ' ')}.", *filter(None, [change]), *rest]
    )
    return _alert_post(
        data, event_name, happened_at, event_uuid,
        network="", text=text, facts=(("actor_id", actor), ("change", change)), moment=when,
        has_own_identity=when is not None,
    )  # fmt: skip


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every single value with its path, like ("externalCall.responseCode", "500"); not too many of them."""
    for count, leaf in enumerate(_leaves(value, name, 0)):
        if count >= MOST_FACTS:
            return
        yield leaf


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < 8:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list) and depth < 8:
        for inner in as_list(value):
            yield from _leaves(inner, name, depth + 1)
    elif text := "true" if value is True else "false" if value is False else as_text(value):
        yield storable(name)[:100], text[:LONGEST_VALUE]
