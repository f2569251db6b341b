"""Self-test: sends a marked notification to the feed's public address, as Khoros would, and follows its path.

It passes everything that a real push passes: name, TLS, proxies, the bearer token, intake, the queue, routing. Routing
tells it by its event key and makes no ticket of it unless that was asked for.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.db.models.functions import Now

from integrations.addresses import NoPublicAddress, webhook_url
from integrations.database_pool import release_database
from integrations.encryption import UnreadableSecret
from integrations.http import Failure, Line, Reply
from integrations.models import Notification, SelfTest, Subscription
from integrations.post import storable
from integrations.sources.khoros.envelope import SELF_TEST_MARK
from integrations.sources.khoros.examples import example

log = structlog.get_logger(__name__)

CALL_SECONDS = 20.0
SELF_TEST_POST = "twitter:self-test-"


def ask(subscription: Subscription, *, makes_tickets: bool, by: str) -> SelfTest:
    """A test that a worker sends as soon as it is free. Raises NoPublicAddress when there is nowhere to send it."""
    return SelfTest.objects.create(
        subscription=subscription, makes_tickets=makes_tickets, asked_by=by[:150], address=webhook_url(subscription)
    )


def send(self_test_id: int) -> None:
    """Sends it once and records what answered. Safe to repeat."""
    if not SelfTest.objects.filter(pk=self_test_id, sent_at__isnull=True).update(sent_at=Now()):
        return
    test = SelfTest.objects.select_related("subscription__company").get(pk=self_test_id)
    began = time.monotonic()
    status, notification_id, problem = _sent(test)
    SelfTest.objects.filter(pk=test.pk).update(
        finished_at=Now(),
        status=status,
        notification_id=notification_id,
        problem=storable(problem),
        duration_ms=round((time.monotonic() - began) * 1000),
    )
    log.info("self-test sent", self_test_id=test.pk, status=status, problem=problem)


def _sent(test: SelfTest) -> tuple[int | None, int | None, str]:
    """(status, number of the notification, what went wrong)."""
    subscription = test.subscription
    try:
        token = subscription.bearer_token.reveal()
        address = urlsplit(webhook_url(subscription))
    except UnreadableSecret:
        return None, None, f"The feed's bearer token {UnreadableSecret.words}."
    except NoPublicAddress as missing:
        return None, None, str(missing)
    line = Line(
        f"{address.scheme}://{address.netloc}", CALL_SECONDS, name="The portal's public address", secrets=(token,)
    )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    release_database()
    try:
        reply = line.call("POST", address.path, headers=headers, body=json.dumps(body_of(test)).encode())
    except Failure as failure:
        return failure.status, None, f"{failure.words} {failure.detail}".strip()
    return reply.status, _notification_id(reply, test), _problem(reply, test)


def body_of(test: SelfTest) -> dict[str, Any]:
    """An example of the feed's event with an id of its own, so that it meets no earlier test's delivery."""
    now = datetime.now(UTC)
    envelope = example(test.subscription.event_name, post_id=f"{SELF_TEST_POST}{test.uuid}", at=now)
    for item in envelope["data"].get("items", ()):
        item["text"] = "Self-test of Casebridge: nobody wrote this, please ignore it."
    return envelope | {"eventUuid": f"{SELF_TEST_MARK}{test.uuid}"}


def event_key(test: SelfTest) -> str:
    return f"uuid:{SELF_TEST_MARK}{test.uuid}"


def notification_of(test: SelfTest) -> Notification | None:
    return Notification.objects.filter(subscription=test.subscription_id, event_key=event_key(test)).first()


def _notification_id(reply: Reply, test: SelfTest) -> int | None:
    stored = notification_of(test)
    return stored.pk if stored and reply.status == 200 else None


def _problem(reply: Reply, test: SelfTest) -> str:
    if reply.status == 200 and notification_of(test) is not None:
        return ""
    if reply.status == 200:
        return "The address answered 200, but nothing was stored here: another portal or page answers there."
    if reply.status == 401:
        return "Refused (401): the address leads to another portal, or a proxy on the way removes the bearer token."
    if 300 <= reply.status < 400:
        return f"Sent elsewhere ({reply.status}): Khoros is not known to follow. Correct PUBLIC_URL or the proxy."
    if reply.status in (403, 404) or reply.looks_like_html:
        return (
            f"Answered {reply.status} by something in front of the portal (a firewall or proxy), or by another server."
        )
    return f"Answered {reply.status}: {reply.text[:300]}"
