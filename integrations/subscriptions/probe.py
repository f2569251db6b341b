"""Probes: a marked notification sent to the subscription's public address, as Khoros would send it.

It passes everything that a real push passes: DNS, TLS, proxies, the bearer token, intake, the queue, routing. Routing
recognises it by its event key and makes no ticket of it unless that was asked for.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.db.models.functions import Now

from integrations.infra.database_clock import seconds_from_now
from integrations.infra.database_pool import release_database
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.client import HttpClient
from integrations.infra.http.failure import Failure
from integrations.infra.http.reply import Reply
from integrations.infra.text import storable
from integrations.installation import NoPublicAddress, subscription_webhook_url
from integrations.models import Notification, Probe, Subscription
from integrations.sources.khoros.envelope import PROBE_MARK
from integrations.sources.khoros.examples import example

log = structlog.get_logger(__name__)

CALL_SECONDS = 20.0
# A younger probe is still on its way to the queue; nobody waits for an older one any more.
QUEUED_WITHIN_SECONDS, WAITED_FOR_SECONDS = 2, 600
PROBE_POST = "twitter:probe-"


def request_probe(subscription: Subscription, *, makes_tickets: bool, by: str) -> Probe:
    """A probe that a worker sends as soon as it is free. Raises NoPublicAddress when there is nowhere to send it."""
    return Probe.objects.create(
        subscription=subscription,
        makes_tickets=makes_tickets,
        requested_by=by[:150],
        address=subscription_webhook_url(subscription),
    )


def probes_to_send() -> list[int]:
    """Those whose queue message was lost. An old one is not sent any more: nobody waits for it."""
    waiting = Probe.objects.filter(sent_at__isnull=True, requested_at__gte=seconds_from_now(-WAITED_FOR_SECONDS))
    return list(waiting.filter(requested_at__lte=seconds_from_now(-QUEUED_WITHIN_SECONDS)).values_list("pk", flat=True))


def send_probe(probe_id: int) -> None:
    """Sends the probe once and records the reply. Safe to repeat."""
    if not Probe.objects.filter(pk=probe_id, sent_at__isnull=True).update(sent_at=Now()):
        return
    probe = Probe.objects.select_related("subscription__company").get(pk=probe_id)
    began = time.monotonic()
    status, notification_id, problem = _send(probe)
    Probe.objects.filter(pk=probe.pk).update(
        finished_at=Now(),
        status=status,
        notification_id=notification_id,
        problem=storable(problem),
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    log.info("probe sent", probe_id=probe.pk, status=status, problem=problem)


def _send(probe: Probe) -> tuple[int | None, int | None, str]:
    """(status, id of the notification, what went wrong)."""
    subscription = probe.subscription
    try:
        token = subscription.bearer_token.reveal()
        address = urlsplit(subscription_webhook_url(subscription))
    except UnreadableSecret:
        return None, None, f"The subscription's bearer token {UnreadableSecret.message}."
    except NoPublicAddress as missing:
        return None, None, str(missing)
    client = HttpClient(
        f"{address.scheme}://{address.netloc}", CALL_SECONDS, name="The portal's public address", secrets=(token,)
    )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    release_database()
    try:
        reply = client.call("POST", address.path, headers=headers, body=json.dumps(body_of(probe)).encode())
    except Failure as failure:
        return failure.status, None, failure.text(" ", with_remedy=False)
    return reply.status, _notification_id(reply, probe), _problem(reply, probe)


def body_of(probe: Probe) -> dict[str, Any]:
    """An example of the subscription's event with an id of its own, so that it matches no earlier probe's delivery."""
    now = datetime.now(UTC)
    envelope = example(probe.subscription.event_name, post_id=f"{PROBE_POST}{probe.uuid}", at=now)
    for item in envelope["data"].get("items", ()):
        item["text"] = "Casebridge test notification. Please ignore."
    return envelope | {"eventUuid": f"{PROBE_MARK}{probe.uuid}"}


def event_key(probe: Probe) -> str:
    return f"uuid:{PROBE_MARK}{probe.uuid}"


def probe_notification(probe: Probe) -> Notification | None:
    return Notification.objects.filter(
        subscription=probe.subscription_id, event_key=Notification.hashed(event_key(probe))
    ).first()


def _notification_id(reply: Reply, probe: Probe) -> int | None:
    stored = probe_notification(probe)
    return stored.pk if stored and reply.status == 200 else None


def _problem(reply: Reply, probe: Probe) -> str:
    if reply.status == 200 and probe_notification(probe) is not None:
        return ""
    if reply.status == 200:
        return (
            "The address answered with status 200, but nothing was stored: another portal or page is answering there."
        )
    if reply.status == 401:
        return "Refused (401): the address leads to another portal, or a proxy in between removes the bearer token."
    if 300 <= reply.status < 400:
        return f"Redirected ({reply.status}): Khoros may not follow redirects. Correct PUBLIC_URL or the proxy."
    if reply.status in (403, 404) or reply.looks_like_html:
        return (
            f"Status {reply.status} from something in front of the portal (a firewall or proxy) or from another server."
        )
    return f"Status {reply.status}: {reply.text[:300]}"
