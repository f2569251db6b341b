"""Registering feeds at Khoros: runs the plan (sources.khoros.plan) against Khoros and records what came of it.

Runs in a worker, after a subscription was saved, every 15 minutes, and by button; one run per feed at a time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now
from django.utils import timezone

from integrations.addresses import NoPublicAddress, webhook_url
from integrations.database_time import seconds_from_now
from integrations.encryption import Secret, UnreadableSecret
from integrations.http import Failure, Line
from integrations.models import Company, Installation, Subscription
from integrations.post import storable
from integrations.sources.khoros import plan
from integrations.sources.khoros.client import KhorosClient
from integrations.sources.khoros.plan import Step, Wanted

log = structlog.get_logger(__name__)

CHECK_EVERY_SECONDS = 15 * 60
RUN_SECONDS = 60.0
# A run that died is taken up again after this long.
CLAIM_SECONDS = 120
RETRY_DELAYS = (5, 15, 30, 60, 120, 300, CHECK_EVERY_SECONDS)
TOKEN_OVERLAP = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found out about a feed; the columns of a subscription that it owns."""

    registration: str
    message: str
    khoros_uuid: str = ""
    khoros_status: str = ""
    address: str = ""
    others: tuple[dict[str, str], ...] = ()


def due() -> Q:
    return Q(next_check_at__lte=Now())


def wish(subscription_ids: list[int]) -> None:
    """Asks for a run as soon as a worker is free."""
    Subscription.objects.filter(pk__in=subscription_ids).update(next_check_at=Now())


def register(subscription_id: int) -> None:
    """Brings one feed at Khoros to what is wanted and records what was found. Safe to repeat; nothing if not due."""
    claimed = _claim(subscription_id)
    if claimed is None:
        return
    subscription, claim = claimed
    found = _found(subscription)
    _record(subscription, claim, found)
    log.info("subscription checked", subscription_id=subscription_id, registration=found.registration)


def _claim(subscription_id: int) -> tuple[Subscription, datetime] | None:
    """Nobody else runs for this feed until the run is recorded, or CLAIM_SECONDS are over because its process died."""
    nobody_runs = Q(checking_until__isnull=True) | Q(checking_until__lte=Now())
    chosen = Subscription.objects.filter(due(), nobody_runs, pk=subscription_id)
    if not chosen.update(checking_until=seconds_from_now(CLAIM_SECONDS), next_check_at=seconds_from_now(CLAIM_SECONDS)):
        return None
    subscription = Subscription.objects.select_related("company").get(pk=subscription_id)
    return (subscription, subscription.checking_until) if subscription.checking_until else None


def _found(subscription: Subscription) -> Found:
    try:
        wanted = _wanted(subscription)
        token = subscription.company.api_token.reveal()
    except NoPublicAddress as error:
        return Found(Subscription.Registration.NOT_POSSIBLE, str(error))
    except UnreadableSecret:
        words = f"The API token of the company or the feed's bearer token {UnreadableSecret.words}."
        return Found(Subscription.Registration.NOT_POSSIBLE, words)
    if not token:
        return Found(Subscription.Registration.NOT_POSSIBLE, "The company has no API token yet: enter it on its page.")
    secrets = (token, wanted.bearer_token)
    client = KhorosClient(Line(settings.KHOROS_API_URL, RUN_SECONDS, name="Khoros", secrets=secrets), token)
    try:
        _check_company(subscription.company, client)
        return _carry_out(client, wanted, subscription)
    except Failure as failure:
        state = Subscription.Registration.REFUSED if failure.permanent else Subscription.Registration.UNREACHABLE
        return Found(state, f"{failure.words}\n{failure.detail}".strip(), address=wanted.address)


def _wanted(subscription: Subscription) -> Wanted:
    installation = Installation.objects.get()
    return Wanted(
        external_id=f"casebridge-{installation.uuid}-{subscription.uuid}",
        event_name=subscription.event_name,
        address=webhook_url(subscription),
        bearer_token=subscription.bearer_token.reveal(),
        query=plan.query_for(subscription.match, subscription.label),
        label=subscription.label if subscription.match == Subscription.Match.LABEL else "",
        is_active=subscription.is_active,
    )


def _check_company(company: Company, client: KhorosClient) -> None:
    """Notes whether the token sees the company. One that is not listed only warns; a refused token ends the run."""
    try:
        warning = plan.company_warning(client.whoami(), company.company_id)
    except Failure as failure:
        warning = f"{failure.words}\n{failure.detail}".strip()
        if failure.status in (401, 403):
            Company.objects.filter(pk=company.pk).update(checked_at=Now(), warning=storable(warning))
            raise
    Company.objects.filter(pk=company.pk).update(checked_at=Now(), warning=storable(warning))


def _carry_out(client: KhorosClient, wanted: Wanted, subscription: Subscription) -> Found:
    listed = client.subscriptions()
    steps = plan.steps(wanted, listed)
    answered_uuid = ""
    if steps == [Step("post")] and _stands_unlisted(client, wanted, listed, subscription):
        return _as_it_stands(wanted, listed, subscription.khoros_uuid)
    if steps == [Step("post")]:
        answered_uuid = plan.uuid_of(client.subscribe(wanted.body()))
        listed = client.subscriptions()
        steps = plan.steps(wanted, listed, just_posted=True)
    for step in steps:
        _take(client, step)
    if steps:
        listed = client.subscriptions()
    return _as_it_stands(wanted, listed, answered_uuid)


def _stands_unlisted(
    client: KhorosClient, wanted: Wanted, listed: list[dict[str, object]], subscription: Subscription
) -> bool:
    """Registered as wanted before, known to Khoros by its id, and yet in no list: posting again might make a second."""
    is_as_posted = (
        subscription.registration == Subscription.Registration.REGISTERED
        and subscription.registered_address == wanted.address
        and bool(subscription.khoros_uuid)
    )
    return is_as_posted and not plan.ours(wanted, listed) and client.knows(subscription.khoros_uuid)


def _take(client: KhorosClient, step: Step) -> None:
    log.info("changing a subscription at Khoros", action=step.action, khoros_uuid=step.uuid)
    if step.action == "activate":
        client.set_status(step.uuid, "ACTIVE")
    elif step.action == "pause":
        client.set_status(step.uuid, "PAUSED")
    elif step.action == "delete":
        client.delete(step.uuid)


def _as_it_stands(wanted: Wanted, listed: list[dict[str, object]], answered_uuid: str) -> Found:
    others = tuple(plan.others_for_the_same(wanted, listed))
    equal = [row for row in plan.ours(wanted, listed) if plan.is_equal(wanted, row)]
    row = plan.newest(equal) if equal else {}
    common = {"address": wanted.address, "others": others}
    if not wanted.is_active:
        words = (
            "Paused at Khoros, because it is switched off here." if row else "Not registered: it is switched off here."
        )
        state = Subscription.Registration.NOT_POSSIBLE
        return Found(state, words, plan.uuid_of(row), plan.status_of(row), wanted.address, others)
    if row:
        return Found(
            Subscription.Registration.REGISTERED, "", plan.uuid_of(row), plan.status_of(row), wanted.address, others
        )
    words = "Khoros accepted the feed, but does not list it as it was posted."
    return Found(Subscription.Registration.REGISTERED, words, answered_uuid, **common)  # type: ignore[arg-type]


def _record(subscription: Subscription, claim: datetime, found: Found) -> None:
    failed = found.registration in (Subscription.Registration.REFUSED, Subscription.Registration.UNREACHABLE)
    failures = subscription.failed_checks + 1 if failed else 0
    wait = RETRY_DELAYS[min(failures, len(RETRY_DELAYS)) - 1] if failed else CHECK_EVERY_SECONDS
    # Unless somebody asked for another run in the meantime, the next one is `wait` seconds away.
    asked_again = Q(next_check_at__lte=Now())
    Subscription.objects.filter(pk=subscription.pk, checking_until=claim).update(
        registration=found.registration,
        khoros_message=storable(found.message),
        khoros_uuid=storable(found.khoros_uuid)[:64] or subscription.khoros_uuid,
        khoros_status=storable(found.khoros_status)[:40],
        registered_address=found.address,
        other_subscriptions=[{name: storable(text)[:500] for name, text in other.items()} for other in found.others],
        checked_at=Now(),
        failed_checks=failures,
        checking_until=None,
        next_check_at=Case(When(asked_again, then=F("next_check_at")), default=seconds_from_now(wait)),
    )


def keep_previous_token(subscription: Subscription) -> None:
    """The token that is about to be replaced stays valid for a while (unsaved)."""
    subscription.previous_bearer_token = subscription.bearer_token
    subscription.previous_token_accepted_until = timezone.now() + TOKEN_OVERLAP


def change_bearer_token(subscription: Subscription, token: str) -> None:
    """A new token; the old one is accepted for another day, as calls under it may be on their way."""
    keep_previous_token(subscription)
    subscription.bearer_token = Secret.of(token)
    subscription.registration = Subscription.Registration.WAITING
    subscription.save(
        update_fields=["bearer_token", "previous_bearer_token", "previous_token_accepted_until", "registration"]
    )
    wish([subscription.pk])
