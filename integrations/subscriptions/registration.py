"""Registering feeds at Khoros: runs the plan (sources.khoros.plan) against Khoros and records what came of it.

Runs in a worker, after a subscription was saved, every 15 minutes, and by button; one run per feed at a time. A run
that dies between two calls is taken up again from what stands at Khoros and from what was written down before the
calls (`posted_as`, `replaces`).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Now

from integrations.companies import (
    NoToken,
    company_client,
    own_prefix,
    record_registered,
    record_token_owner,
    recorded_change,
)
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.failure import Failure
from integrations.infra.queue import CATCH_UP, publish
from integrations.infra.text import storable
from integrations.installation import NoPublicAddress, subscription_webhook_url
from integrations.intake import TOKEN_OVERLAP
from integrations.models import Change, Company, Subscription
from integrations.models.configuration import without_lists
from integrations.sources.khoros import plan
from integrations.sources.khoros.client import KhorosClient
from integrations.sources.khoros.plan import Comparison, DesiredState, Memory, Step
from integrations.subscriptions import catch_up
from integrations.subscriptions.due import longest_due

log = structlog.get_logger(__name__)

Registration = Subscription.Registration

CHECK_EVERY_SECONDS = 15 * 60
RUN_SECONDS = 60.0
# A run that died is taken up again after this long.
CLAIM_SECONDS = 120
# A token that was refused is not tried so often: only a person can change that.
RETRY_DELAYS_OF_A_REFUSED_TOKEN = (60, 120, 300, CHECK_EVERY_SECONDS)
CHECK_RETIRED_SECONDS = 24 * 3600
MOST_OTHERS = 50
RETRY_DELAYS = (5, 15, 30, 60, 120, 300, CHECK_EVERY_SECONDS)
# Where Khoros' list of events cannot be read, an older subscription is retired unread after this long.
LONGEST_WAIT_FOR_READING = timedelta(hours=1)
# Each round of steps is followed by reading the list again; a feed that is not right after so many waits for the next.
MOST_ROUNDS = 4

ACTIONS = {
    "post": Change.Action.POST,
    "activate": Change.Action.ACTIVATE,
    "pause": Change.Action.PAUSE,
    "retire": Change.Action.RETIRE,
}
V1_TEXT = (
    "Registered with version 1 of the Khoros API, which cannot do more: Casebridge assumes the subscription is still "
    "registered as sent, and cannot check, pause or delete it."
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a run found out about a feed; the columns of a subscription that it owns."""

    registration: str
    message: str
    khoros_uuid: str = ""
    khoros_status: str = ""
    address: str = ""
    others: tuple[dict[str, str], ...] = ()
    drift: tuple[plan.Drift, ...] = ()
    older_stand: bool = False
    retry_after: float = 0.0
    needs_person: bool = False


def to_check() -> list[int]:
    """The longest due first, and few at a time: a Khoros that hangs must not hold every thread of the workers."""
    return longest_due(checks_due(), "next_check_at", "checking_until")


def checks_due() -> Q:
    return Q(next_check_at__lte=Now()) & (Q(checking_until__isnull=True) | Q(checking_until__lte=Now()))


def check_subscription(subscription_id: int) -> None:
    """Brings one feed at Khoros to what is wanted and records what was found. Safe to repeat; nothing if not due."""
    claimed = _claim(subscription_id)
    if claimed is None:
        return
    subscription, claim = claimed
    found = _found(subscription)
    _record(subscription, claim, found)
    log.info("subscription checked", subscription_id=subscription_id, registration=found.registration)
    if catch_up.is_due(subscription_id):
        publish(CATCH_UP, subscription_id)


def _claim(subscription_id: int) -> tuple[Subscription, datetime] | None:
    """Nobody else runs for this feed until the run is recorded, or CLAIM_SECONDS are over because its process died."""
    chosen = Subscription.objects.filter(checks_due(), pk=subscription_id)
    if not chosen.update(checking_until=seconds_from_now(CLAIM_SECONDS), next_check_at=seconds_from_now(CLAIM_SECONDS)):
        return None
    rows = Subscription.objects.select_related("company").defer(*without_lists("company__"))
    subscription = rows.get(pk=subscription_id)
    return (subscription, subscription.checking_until) if subscription.checking_until else None


def _found(subscription: Subscription) -> CheckResult:
    try:
        wanted = desired_state_of(subscription)
        client = company_client(subscription.company, RUN_SECONDS, wanted.bearer_token)
    except (NoPublicAddress, NoToken) as error:
        return CheckResult(Registration.NOT_POSSIBLE, str(error))
    except UnreadableSecret:
        return CheckResult(Registration.NOT_POSSIBLE, f"The subscription's bearer token {UnreadableSecret.message}.")
    try:
        record_token_owner(subscription.company, client)
        if subscription.company.api_version == Company.ApiVersion.V1:
            return _register_by_v1(subscription, wanted, client)
        return CheckRun(subscription, wanted, client).carry_out()
    except Failure as failure:
        state = Registration.REFUSED if failure.permanent else Registration.UNREACHABLE
        return CheckResult(
            state,
            f"{failure.message}\n{failure.detail}".strip(),
            address=wanted.address,
            retry_after=failure.retry_after or 0.0,
            needs_person=failure.status in (401, 403),
        )
    except Exception as error:
        # A defect of ours is shown and tried again later, like any other failure.
        log.exception("the subscription could not be checked")
        message = (
            f"The check failed because of an error in Casebridge ({type(error).__name__}). Report this to whoever "
            "runs it."
        )
        return CheckResult(Registration.UNREACHABLE, message, address=wanted.address)


def desired_state_of(subscription: Subscription) -> DesiredState:
    """The feed as it should stand at Khoros. Raises NoPublicAddress, UnreadableSecret."""
    return DesiredState(
        external_id=f"{own_prefix()}{subscription.uuid}",
        event_name=subscription.event_name,
        address=_address_of(subscription),
        bearer_token=subscription.bearer_token.reveal(),
        query=plan.query_for(subscription.match, subscription.label),
        label=subscription.label if subscription.match == Subscription.Match.LABEL else "",
        is_active=subscription.is_active,
        is_deleted=subscription.deleted_at is not None,
    )


def _address_of(subscription: Subscription) -> str:
    if not subscription.is_pushed:
        return ""
    try:
        return subscription_webhook_url(subscription)
    except NoPublicAddress:
        if subscription.is_active:
            raise
        return ""


def _register_by_v1(subscription: Subscription, wanted: DesiredState, client: KhorosClient) -> CheckResult:
    if not wanted.is_active:
        message = "Version 1 of the Khoros API can neither pause nor delete it. Turn it off in Khoros Marketing itself."
        state = Registration.RETIRED if wanted.is_deleted else Registration.PAUSED
        return CheckResult(state, f"{message} Notifications that still arrive are stored but create no tickets.")
    if not wanted.address:
        return CheckResult(
            Registration.NOT_POSSIBLE, "Version 1 of the Khoros API does not support fetching. Choose “Push only”."
        )
    if subscription.posted_as != wanted.fingerprint:
        change = _begin(subscription, Step("post", because="it was not registered like this before"))
        with recorded_change(change):
            client.subscribe_v1(subscription.company.company_id, wanted.body())
        Subscription.objects.filter(pk=subscription.pk).update(posted_as=wanted.fingerprint)
    return CheckResult(Registration.REGISTERED, V1_TEXT, address=wanted.address)


def _begin(subscription: Subscription, step: Step) -> Change:
    return Change.objects.create(
        company=subscription.company,
        subscription=subscription,
        action=ACTIONS[step.action],
        khoros_uuid=step.uuid[:64],
        because=storable(step.because),
        by=subscription.requested_by,
    )


@dataclass
class CheckRun:
    """One run for one feed: list, compare, take steps, list again."""

    subscription: Subscription
    wanted: DesiredState
    client: KhorosClient
    listed: list[dict[str, Any]] = field(default_factory=list)
    answered_uuid: str = ""
    just_posted: bool = False
    was_not_shown: bool = False

    def carry_out(self) -> CheckResult:
        """Raises Failure when Khoros refuses or cannot be reached; what was done until then stays."""
        for _ in range(MOST_ROUNDS):
            self.listed = record_registered(self.subscription.company, self.client)
            comparison = plan.compare(self.wanted, self.listed, self._memory(), just_posted=self.just_posted)
            if not comparison.steps and comparison.drift and not comparison.row:
                return self._not_shown(comparison)
            if not comparison.steps:
                return self._as_it_stands(comparison)
            if comparison.drift and not self._may_mend(comparison):
                return self._drifted(comparison)
            if comparison.steps[0].action == "post" and self._stands_unlisted():
                return self._unlisted()
            if self._retires_what_was_not_read_yet(comparison):
                return self._as_it_stands(comparison)
            for step in comparison.steps:
                self._take(step)
        message = (
            "Khoros accepted several changes but still does not show the subscription as expected. The next check "
            "continues."
        )
        return CheckResult(Registration.REFUSED, message, address=self.wanted.address)

    def _memory(self) -> Memory:
        row = self.subscription
        noted = row.replaces if isinstance(row.replaces, dict) else {}
        ends = row.replaced_at + timedelta(seconds=settings.KHOROS_OVERLAP_SECONDS) if row.replaced_at else None
        return Memory(
            posted_as=row.posted_as,
            standing=row.khoros_uuid,
            replaces=tuple(noted.get("uuids", ())),
            replaces_for=str(noted.get("for", "")),
            overlap_is_over=ends is None or ends <= database_clock.now(),
            not_shown="" if row.requested_by and not self.just_posted else row.not_shown,
        )

    def _may_mend(self, comparison: Comparison) -> bool:
        """What nobody asked for is mended only where the feed repairs itself; a first registration is always made."""
        is_new = not self.subscription.posted_as and not self.subscription.khoros_uuid
        return self.subscription.auto_repair or bool(self.subscription.requested_by) or is_new

    def _stands_unlisted(self) -> bool:
        """Registered as wanted, known to Khoros by its id, and yet in no list: posting again might make a second."""
        row, listed = self.subscription, {plan.uuid_of(each) for each in self.listed}
        is_as_posted = row.posted_as in ("", self.wanted.fingerprint) and row.registered_address == self.wanted.address
        is_missing = bool(row.khoros_uuid) and row.khoros_uuid not in listed
        return is_as_posted and is_missing and self.client.knows(row.khoros_uuid)

    def _retires_what_was_not_read_yet(self, comparison: Comparison) -> bool:
        """The events of one that was replaced can be read no more once it is gone: a catch-up comes first."""
        retired = [step.uuid for step in comparison.steps if step.action == "retire"]
        if not (retired and self.subscription.is_fetched and self.wanted.is_active):
            return False
        self._note_that_they_are_older(retired)
        began = self.subscription.replaced_at
        if began is None or began < database_clock.now() - LONGEST_WAIT_FOR_READING:
            return False
        overlap_ended = began + timedelta(seconds=settings.KHOROS_OVERLAP_SECONDS)
        return not catch_up.was_read_since(self.subscription, overlap_ended)

    def _note_that_they_are_older(self, uuids: list[str]) -> None:
        """So that the next catch-up reads their events too; a copy that somebody made has to wait for that as well."""
        memory = self._memory()
        if set(uuids) <= set(memory.replaces) and self.subscription.replaced_at:
            return
        known = list(dict.fromkeys([*memory.replaces, *uuids]))
        began = self.subscription.replaced_at or database_clock.now() - timedelta(
            seconds=settings.KHOROS_OVERLAP_SECONDS
        )
        self.subscription.replaces = {"for": memory.replaces_for or self.wanted.fingerprint, "uuids": known}
        self.subscription.replaced_at = began
        Subscription.objects.filter(pk=self.subscription.pk).update(
            replaces=self.subscription.replaces, replaced_at=began
        )

    def _take(self, step: Step) -> None:
        if step.action == "post":
            self._note_what_is_replaced()
        change = _begin(self.subscription, step)
        with recorded_change(change):
            change.khoros_uuid = self._call(step) or step.uuid
        if step.action == "post":
            self._note_posted()

    def _call(self, step: Step) -> str:
        if step.action == "post":
            self.answered_uuid = plan.uuid_of(self.client.subscribe(self.wanted.body()))
            return self.answered_uuid
        if step.action == "retire":
            self.client.retire(step.uuid)
        else:
            self.client.set_status(step.uuid, "ACTIVE" if step.action == "activate" else "PAUSED")
        return ""

    def _note_what_is_replaced(self) -> None:
        """Before the call, so that a death after it still knows which ones are the older."""
        own = [plan.uuid_of(row) for row in self.listed if row.get("externalId") == self.wanted.external_id]
        self.subscription.replaces = {"for": self.wanted.fingerprint, "uuids": [storable(uuid)[:64] for uuid in own]}
        self.subscription.replaced_at = database_clock.now() if own else None
        Subscription.objects.filter(pk=self.subscription.pk).update(
            replaces=self.subscription.replaces, replaced_at=Now() if own else None
        )

    def _note_posted(self) -> None:
        self.just_posted = True
        self.was_not_shown = self.subscription.not_shown == self.wanted.fingerprint
        self.subscription.posted_as = self.wanted.fingerprint
        self.subscription.not_shown = ""
        self.subscription.khoros_uuid = storable(self.answered_uuid)[:64] or self.subscription.khoros_uuid
        Subscription.objects.filter(pk=self.subscription.pk).update(
            posted_as=self.wanted.fingerprint,
            not_shown="",
            khoros_uuid=self.subscription.khoros_uuid,
            registered_address=self.wanted.address,
        )

    # --- What came of it ---

    def _found(self, state: str, message: str, comparison: Comparison, *, uuid: str = "", **more: Any) -> CheckResult:
        row = comparison.row
        return CheckResult(
            state,
            message,
            plan.uuid_of(row) or uuid,
            plan.status_of(row),
            self.wanted.address,
            tuple(plan.others_for_the_same(self.wanted, self.listed))[:MOST_OTHERS],
            **more,
        )

    def _as_it_stands(self, comparison: Comparison) -> CheckResult:
        if self.wanted.is_deleted:
            return self._found(
                Registration.RETIRED, "Deleted at Khoros because it was deleted in Casebridge.", comparison
            )
        if not self.wanted.is_active:
            message = "Paused at Khoros because it is off in Casebridge." if comparison.row else (
                "Not registered at Khoros because it is off in Casebridge."
            )  # fmt: skip
            return self._found(Registration.PAUSED, message, comparison)
        if not comparison.row:
            return self._not_listed(comparison)
        message = ""
        if comparison.steps:
            Subscription.objects.filter(pk=self.subscription.pk).update(next_catch_up_at=Now())
            message = "An older registration is kept until its events are read, then deleted."
            return self._found(Registration.REGISTERED, message, comparison, older_stand=True)
        if self._replacement_is_young():
            return self._found(Registration.REGISTERED, message, comparison, older_stand=True)
        if comparison.older:
            message = "An older registration is kept for a moment so that no event is lost, then deleted."
        return self._found(Registration.REGISTERED, message, comparison, older_stand=bool(comparison.older))

    def _not_listed(self, comparison: Comparison) -> CheckResult:
        """Once, the list may be late. Twice, Khoros does not have what it accepted, and is asked more seldom."""
        Subscription.objects.filter(pk=self.subscription.pk).update(not_shown=self.wanted.fingerprint)
        if not self.was_not_shown:
            message = "Khoros accepted the subscription but does not list it yet."
            return self._found(Registration.REGISTERED, message, comparison, uuid=self.answered_uuid, older_stand=True)
        message = "Khoros accepted the subscription again but does not list it. Contact Khoros support."
        gone = plan.Drift("gone", "Khoros does not list what it accepted.", "It is registered again at each check.")
        return self._found(Registration.DRIFTED, message, comparison, uuid=self.answered_uuid, drift=(gone,))

    def _replacement_is_young(self) -> bool:
        """A list may be late: only one that is read after the overlap proves that no older one stands."""
        return not self._memory().overlap_is_over

    def _not_shown(self, comparison: Comparison) -> CheckResult:
        """Accepted, but listed otherwise: said, not posted for ever. A list may be late, so it is read again soon."""
        is_new = self.subscription.not_shown != self.wanted.fingerprint
        self.subscription.not_shown = self.wanted.fingerprint
        Subscription.objects.filter(pk=self.subscription.pk).update(not_shown=self.wanted.fingerprint)
        message = (
            "Khoros accepted the subscription but lists different values. It is not sent again automatically. "
            "Compare the values below and press “Repair at Khoros” to try again."
        )
        uuid = self.answered_uuid or self.subscription.khoros_uuid
        return self._found(
            Registration.DRIFTED, message, comparison, uuid=uuid, drift=comparison.drift, older_stand=is_new
        )

    def _unlisted(self) -> CheckResult:
        message = "Khoros knows the subscription by its ID but does not list it. Nothing changed."
        return self._found(
            Registration.REGISTERED,
            message,
            Comparison(),
            uuid=self.subscription.khoros_uuid,
            older_stand=bool(self._memory().replaces),
        )

    def _drifted(self, comparison: Comparison) -> CheckResult:
        message = "The subscription differs at Khoros and automatic repair is off. Press “Repair at Khoros”."
        return self._found(Registration.DRIFTED, message, comparison, drift=comparison.drift)


# --- Record ----------------------------------------------------------------------------------------------------------

ENDED_WELL = (Registration.REGISTERED, Registration.PAUSED, Registration.RETIRED)


def _record(subscription: Subscription, claim: datetime, found: CheckResult) -> None:
    failed = found.registration in (Registration.REFUSED, Registration.UNREACHABLE)
    failures = subscription.failed_checks + 1 if failed else 0
    # Unless somebody asked for another run in the meantime, the next one comes by itself.
    asked_again = Q(next_check_at__lte=Now())
    well = found.registration in ENDED_WELL
    # What a person asked for goes on where Khoros was not reached or an older one still stands, and is over otherwise.
    not_reached = found.registration in (Registration.UNREACHABLE, Registration.NOT_POSSIBLE)
    goes_on = not_reached or (well and found.older_stand)
    rows = Subscription.objects.filter(pk=subscription.pk, checking_until=claim)
    is_ours = rows.update(
        registration=found.registration,
        khoros_message=storable(found.message),
        khoros_uuid=storable(found.khoros_uuid)[:64] or ("" if well else subscription.khoros_uuid),
        khoros_status=storable(found.khoros_status)[:40],
        registered_address=found.address,
        other_subscriptions=[{name: storable(text)[:500] for name, text in other.items()} for other in found.others],
        drift=[{"kind": each.kind, "message": storable(each.message), "remedy": each.remedy} for each in found.drift],
        checked_at=Now(),
        failed_checks=failures,
        requested_by=Case(
            When(asked_again, then=F("requested_by")), default=F("requested_by") if goes_on else Value("")
        ),
        checking_until=None,
        next_check_at=Case(When(asked_again, then=F("next_check_at")), default=_next_check(found, failures)),
    )
    if not is_ours:
        return
    if found.registration == Registration.REGISTERED and not found.older_stand:
        _close_the_overlap(subscription)
    if found.registration == Registration.REGISTERED and found.khoros_uuid:
        there = Subscription.objects.filter(pk=subscription.pk)
        there.update(posted_as=desired_state_of(subscription).fingerprint)
        there.exclude(khoros_status="").update(not_shown="")
        there.exclude(receives_by=Subscription.Receives.PUSH).update(
            next_catch_up_at=Coalesce("next_catch_up_at", Now())
        )


def _next_check(found: CheckResult, failures: int) -> Any:
    if found.registration == Registration.RETIRED:
        # A late list, or a backup restored at Khoros, may bring it back.
        return seconds_from_now(CHECK_RETIRED_SECONDS)
    if failures:
        delays = RETRY_DELAYS_OF_A_REFUSED_TOKEN if found.needs_person else RETRY_DELAYS
        return seconds_from_now(max(delays[min(failures, len(delays)) - 1], found.retry_after))
    soon = settings.KHOROS_OVERLAP_SECONDS + 1
    return seconds_from_now(min(soon, CHECK_EVERY_SECONDS) if found.older_stand else CHECK_EVERY_SECONDS)


def _close_the_overlap(subscription: Subscription) -> None:
    """Nothing older stands: what was to be replaced is forgotten, and earlier tokens end a day from now."""
    rows = Subscription.objects.filter(pk=subscription.pk, bearer_token=subscription.bearer_token)
    rows.update(replaces=[], replaced_at=None)
    rows.filter(previous_token_accepted_until__isnull=True).exclude(previous_bearer_token="").update(
        previous_token_accepted_until=database_clock.now() + TOKEN_OVERLAP
    )
