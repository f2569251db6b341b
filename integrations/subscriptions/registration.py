"""Registering subscriptions at Khoros: carries out the plan (sources.khoros.plan) and records the result.

Runs in a worker, after a subscription was saved, every 15 minutes, and by button; one run per subscription at a time.
A run that dies between two calls is resumed from the actual state at Khoros and from what was stored before the calls
(`posted_as`, `replaces`).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Now

from integrations.companies import NoToken, company_client, record_registered, record_token_owner
from integrations.infra import database_clock
from integrations.infra.database_clock import seconds_from_now
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.failure import Failure
from integrations.infra.queue import CATCH_UP, publish
from integrations.infra.text import REPORT_IT, defect_text, storable
from integrations.installation import NoPublicAddress, subscription_webhook_url
from integrations.intake import TOKEN_OVERLAP, previous_tokens
from integrations.models import Change, Company, Installation, Subscription
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
# A run that died is taken over after this long.
CLAIM_SECONDS = 120
# A refused token is retried less often: only a person can change that.
RETRY_DELAYS_OF_A_REFUSED_TOKEN = (60, 120, 300, CHECK_EVERY_SECONDS)
CHECK_RETIRED_SECONDS = 24 * 3600
MOST_OTHERS = 50
RETRY_DELAYS = (5, 15, 30, 60, 120, 300, CHECK_EVERY_SECONDS)
# Where Khoros' list of events cannot be read, a replaced subscription is retired unread after this long.
LONGEST_WAIT_FOR_READING = timedelta(hours=1)
# After each round of steps the list is read again; what is not right after the last round waits for the next check.
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
    """The result of a run: the columns of a subscription that it owns."""

    registration: str
    message: str
    khoros_uuid: str = ""
    khoros_status: str = ""
    address: str = ""
    others: tuple[dict[str, str], ...] = ()
    drift: tuple[plan.Drift, ...] = ()
    older_remain: bool = False
    retry_after: float = 0.0
    needs_person: bool = False


def to_check() -> list[int]:
    """The longest due first, and few at a time: a Khoros that hangs must not occupy every worker thread."""
    return longest_due(checks_due(), "next_check_at", "checking_until")


def checks_due() -> Q:
    return Q(next_check_at__lte=Now()) & (Q(checking_until__isnull=True) | Q(checking_until__lte=Now()))


def check_subscription(subscription_id: int) -> None:
    """Brings one subscription at Khoros to its desired state and records the result. Does nothing if it is not due."""
    claimed = _claim(subscription_id)
    if claimed is None:
        return
    subscription, claim = claimed
    result = _check(subscription)
    _record(subscription, claim, result)
    log.info("subscription checked", subscription_id=subscription_id, registration=result.registration)
    if catch_up.is_due(subscription_id):
        publish(CATCH_UP, subscription_id)


def _claim(subscription_id: int) -> tuple[Subscription, datetime] | None:
    """Nobody else runs for this subscription until the run is recorded, or CLAIM_SECONDS are over."""
    chosen = Subscription.objects.filter(checks_due(), pk=subscription_id)
    if not chosen.update(checking_until=seconds_from_now(CLAIM_SECONDS), next_check_at=seconds_from_now(CLAIM_SECONDS)):
        return None
    rows = Subscription.objects.select_related("company").defer(*without_lists("company__"))
    subscription = rows.get(pk=subscription_id)
    return (subscription, subscription.checking_until) if subscription.checking_until else None


def _check(subscription: Subscription) -> CheckResult:
    try:
        desired = desired_state_of(subscription)
        client = company_client(subscription.company, RUN_SECONDS, desired.bearer_token)
    except (NoPublicAddress, NoToken) as error:
        return CheckResult(Registration.NOT_POSSIBLE, str(error))
    except UnreadableSecret:
        return CheckResult(Registration.NOT_POSSIBLE, f"The subscription's bearer token {UnreadableSecret.message}.")
    try:
        record_token_owner(subscription.company, client)
        if subscription.company.api_version == Company.ApiVersion.V1:
            return _register_by_v1(subscription, desired, client)
        return CheckRun(subscription, desired, client).carry_out()
    except Failure as failure:
        state = Registration.REFUSED if failure.permanent else Registration.UNREACHABLE
        return CheckResult(
            state,
            failure.text(with_remedy=False),
            address=desired.address,
            retry_after=failure.retry_after or 0.0,
            needs_person=failure.status in (401, 403),
        )
    except Exception as error:
        # A defect of ours is shown and tried again later, like any other failure.
        log.exception("subscription check failed")
        message = f"{defect_text('The check', error)} {REPORT_IT}"
        return CheckResult(Registration.UNREACHABLE, message, address=desired.address)


def desired_state_of(subscription: Subscription) -> DesiredState:
    """The subscription as it should be at Khoros. Raises NoPublicAddress, UnreadableSecret."""
    return DesiredState(
        external_id=f"{plan.prefix_of(Installation.own_uuid())}{subscription.uuid}",
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


def _register_by_v1(subscription: Subscription, desired: DesiredState, client: KhorosClient) -> CheckResult:
    if not desired.is_active:
        message = "Version 1 of the Khoros API can neither pause nor delete it. Turn it off in Khoros Marketing itself."
        state = Registration.RETIRED if desired.is_deleted else Registration.PAUSED
        return CheckResult(state, f"{message} Notifications that still arrive are stored but not sent on.")
    if not desired.address:
        return CheckResult(
            Registration.NOT_POSSIBLE, "Version 1 of the Khoros API does not support fetching. Choose “Push only”."
        )
    if subscription.posted_as != desired.fingerprint:
        change = _begin(subscription, Step("post", because="it was not registered like this before"))
        with change.recorded():
            client.subscribe_v1(subscription.company.company_id, desired.body())
        Subscription.objects.filter(pk=subscription.pk).update(posted_as=desired.fingerprint)
    return CheckResult(Registration.REGISTERED, V1_TEXT, address=desired.address)


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
    """One run for one subscription: list, compare, take steps, list again."""

    subscription: Subscription
    desired: DesiredState
    client: KhorosClient
    listed: list[dict[str, Any]] = field(default_factory=list)
    answered_uuid: str = ""
    just_posted: bool = False
    was_not_shown: bool = False

    def carry_out(self) -> CheckResult:
        """Raises Failure when Khoros refuses or cannot be reached; what was done by then stays."""
        for _ in range(MOST_ROUNDS):
            self.listed = record_registered(self.subscription.company, self.client)
            self._learn_mask()
            comparison = self._compare()
            if comparison.steps and comparison.steps[0].action == "post" and self._finds_unlisted():
                comparison = self._compare()
                if not comparison.steps and not comparison.drift:
                    return self._unlisted()
            if not comparison.steps and comparison.drift and not comparison.row:
                return self._not_shown(comparison)
            if not comparison.steps:
                return self._settled(comparison)
            if comparison.drift and not self._may_repair():
                return self._drifted(comparison)
            if self._would_retire_unread(comparison):
                return self._settled(comparison)
            for step in comparison.steps:
                self._take(step)
        message = (
            "Khoros accepted several changes but still does not show the subscription as expected. The next check "
            "continues."
        )
        return CheckResult(Registration.REFUSED, message, address=self.desired.address)

    def _compare(self) -> Comparison:
        return plan.compare(self.desired, self.listed, self._memory(), just_posted=self.just_posted)

    def _learn_mask(self) -> None:
        """How Khoros shows the token that we posted, once for each post."""
        row = self.subscription
        if row.token_shown_as or row.posted_as != self.desired.fingerprint or not self.desired.address:
            return
        row.token_shown_as = plan.learned_mask(
            self.desired, self.listed, self._memory().replaces, tuple(previous_tokens(row))
        )
        Subscription.objects.filter(pk=row.pk).update(token_shown_as=row.token_shown_as)

    def _memory(self) -> Memory:
        row = self.subscription
        replaces = row.replaces if isinstance(row.replaces, dict) else {}
        ends = row.replaced_at + timedelta(seconds=settings.KHOROS_OVERLAP_SECONDS) if row.replaced_at else None
        return Memory(
            posted_as=row.posted_as,
            current=row.khoros_uuid,
            replaces=tuple(replaces.get("uuids", ())),
            replaces_for=str(replaces.get("for", "")),
            overlap_is_over=ends is None or ends <= database_clock.now(),
            not_shown="" if row.requested_by and not self.just_posted else row.not_shown,
            token_shown_as=row.token_shown_as,
        )

    def _may_repair(self) -> bool:
        """Drift that nobody asked to fix is repaired only with auto-repair; a first registration is always made."""
        is_new = not self.subscription.posted_as and not self.subscription.khoros_uuid
        return self.subscription.auto_repair or bool(self.subscription.requested_by) or is_new

    def _finds_unlisted(self) -> bool:
        """Registered as desired and known to Khoros by its id, yet not listed: posting again might duplicate it.

        What the answer to the look by id shows counts as listed; what it leaves out is as it was posted.
        """
        row, listed = self.subscription, {plan.uuid_of(each) for each in self.listed}
        is_as_posted = (
            row.posted_as in ("", self.desired.fingerprint) and row.registered_address == self.desired.address
        )
        if not is_as_posted or not row.khoros_uuid or row.khoros_uuid in listed:
            return False
        shown = self.client.subscription(row.khoros_uuid)
        if shown is None:
            return False
        posted = {name: value for name, value in self.desired.body().items() if name != "bearerToken"}
        self.listed = [*self.listed, {"status": "", **posted, **shown}]
        return True

    def _would_retire_unread(self, comparison: Comparison) -> bool:
        """A replaced subscription's events cannot be read once it is gone, so a catch-up comes first."""
        retired = [step.uuid for step in comparison.steps if step.action == "retire"]
        if not (retired and self.subscription.is_fetched and self.desired.is_active):
            return False
        self._store_as_replaced(retired)
        began = self.subscription.replaced_at
        if began is None or began < database_clock.now() - LONGEST_WAIT_FOR_READING:
            return False
        overlap_ended = began + timedelta(seconds=settings.KHOROS_OVERLAP_SECONDS)
        return not catch_up.was_read_since(self.subscription, overlap_ended)

    def _store_as_replaced(self, uuids: list[str]) -> None:
        """So that the next catch-up reads their events too; duplicates made by somebody else wait for that as well."""
        memory = self._memory()
        if set(uuids) <= set(memory.replaces) and self.subscription.replaced_at:
            return
        known = list(dict.fromkeys([*memory.replaces, *uuids]))
        began = self.subscription.replaced_at or database_clock.now() - timedelta(
            seconds=settings.KHOROS_OVERLAP_SECONDS
        )
        self.subscription.replaces = {"for": memory.replaces_for or self.desired.fingerprint, "uuids": known}
        self.subscription.replaced_at = began
        Subscription.objects.filter(pk=self.subscription.pk).update(
            replaces=self.subscription.replaces, replaced_at=began
        )

    def _take(self, step: Step) -> None:
        if step.action == "post":
            self._store_replaced()
        change = _begin(self.subscription, step)
        with change.recorded():
            change.khoros_uuid = self._call(step) or step.uuid
        if step.action == "post":
            self._store_posted()

    def _call(self, step: Step) -> str:
        if step.action == "post":
            self.answered_uuid = plan.uuid_of(self.client.subscribe(self.desired.body()))
            return self.answered_uuid
        if step.action == "retire":
            self.client.retire(step.uuid)
        else:
            self.client.set_status(step.uuid, "ACTIVE" if step.action == "activate" else "PAUSED")
        return ""

    def _store_replaced(self) -> None:
        """Stored before the call, so that even after a crash it is known which ones are being replaced."""
        own = [plan.uuid_of(row) for row in self.listed if row.get("externalId") == self.desired.external_id]
        self.subscription.replaces = {"for": self.desired.fingerprint, "uuids": [storable(uuid)[:64] for uuid in own]}
        self.subscription.replaced_at = database_clock.now() if own else None
        Subscription.objects.filter(pk=self.subscription.pk).update(
            replaces=self.subscription.replaces, replaced_at=Now() if own else None
        )

    def _store_posted(self) -> None:
        self.just_posted = True
        self.was_not_shown = self.subscription.not_shown == self.desired.fingerprint
        self.subscription.posted_as = self.desired.fingerprint
        self.subscription.not_shown = self.subscription.token_shown_as = ""
        self.subscription.khoros_uuid = storable(self.answered_uuid)[:64] or self.subscription.khoros_uuid
        Subscription.objects.filter(pk=self.subscription.pk).update(
            posted_as=self.desired.fingerprint,
            not_shown="",
            token_shown_as="",
            khoros_uuid=self.subscription.khoros_uuid,
            registered_address=self.desired.address,
            # What happened while it was gone, or under the one it replaces, is read at once.
            next_catch_up_at=Now() if self.subscription.is_fetched else None,
        )

    # --- Results ---

    def _result(self, state: str, message: str, comparison: Comparison, *, uuid: str = "", **more: Any) -> CheckResult:
        row = comparison.row
        return CheckResult(
            state,
            message,
            plan.uuid_of(row) or uuid,
            plan.status_of(row),
            self.desired.address,
            tuple(plan.others_for_the_same(self.desired, self.listed))[:MOST_OTHERS],
            **more,
        )

    def _settled(self, comparison: Comparison) -> CheckResult:
        if self.desired.is_deleted:
            return self._result(
                Registration.RETIRED, "Deleted at Khoros because it was deleted in Casebridge.", comparison
            )
        if not self.desired.is_active:
            message = "Paused at Khoros because it is off in Casebridge." if comparison.row else (
                "Not registered at Khoros because it is off in Casebridge."
            )  # fmt: skip
            return self._result(Registration.PAUSED, message, comparison)
        if not comparison.row:
            return self._not_listed(comparison)
        message = ""
        if comparison.steps:
            Subscription.objects.filter(pk=self.subscription.pk).update(next_catch_up_at=Now())
            message = "An older registration is kept until its events are read, then deleted."
            return self._result(Registration.REGISTERED, message, comparison, older_remain=True)
        if self._is_in_overlap():
            return self._result(Registration.REGISTERED, message, comparison, older_remain=True)
        if comparison.older:
            message = "An older registration is kept for a moment so that no event is lost, then deleted."
        return self._result(Registration.REGISTERED, message, comparison, older_remain=bool(comparison.older))

    def _not_listed(self, comparison: Comparison) -> CheckResult:
        """Once, the list may lag. Twice, Khoros does not have what it accepted, and is asked less often."""
        Subscription.objects.filter(pk=self.subscription.pk).update(not_shown=self.desired.fingerprint)
        if not self.was_not_shown:
            message = "Khoros accepted the subscription but does not list it yet."
            return self._result(
                Registration.REGISTERED, message, comparison, uuid=self.answered_uuid, older_remain=True
            )
        message = "Khoros accepted the subscription again but does not list it. Contact Khoros support."
        gone = plan.Drift("gone", "Khoros does not list what it accepted.", "It is registered again at each check.")
        return self._result(Registration.DRIFTED, message, comparison, uuid=self.answered_uuid, drift=(gone,))

    def _is_in_overlap(self) -> bool:
        """A list may lag: only one read after the overlap proves that no replaced subscription is left."""
        return not self._memory().overlap_is_over

    def _not_shown(self, comparison: Comparison) -> CheckResult:
        """Accepted, but listed differently: reported instead of posted again. A list may lag, so it is read soon."""
        is_new = self.subscription.not_shown != self.desired.fingerprint
        self.subscription.not_shown = self.desired.fingerprint
        Subscription.objects.filter(pk=self.subscription.pk).update(not_shown=self.desired.fingerprint)
        message = (
            "Khoros accepted the subscription but lists different values. It is not sent again automatically. "
            "Compare the values below and press “Repair at Khoros” to try again."
        )
        uuid = self.answered_uuid or self.subscription.khoros_uuid
        return self._result(
            Registration.DRIFTED, message, comparison, uuid=uuid, drift=comparison.drift, older_remain=is_new
        )

    def _unlisted(self) -> CheckResult:
        message = "Khoros knows the subscription by its ID but does not list it. Nothing changed."
        return self._result(
            Registration.REGISTERED,
            message,
            Comparison(),
            uuid=self.subscription.khoros_uuid,
            older_remain=bool(self._memory().replaces),
        )

    def _drifted(self, comparison: Comparison) -> CheckResult:
        message = "The subscription differs at Khoros and automatic repair is off. Press “Repair at Khoros”."
        return self._result(Registration.DRIFTED, message, comparison, drift=comparison.drift)


# --- Record ----------------------------------------------------------------------------------------------------------

ENDED_WELL = (Registration.REGISTERED, Registration.PAUSED, Registration.RETIRED)


def _record(subscription: Subscription, claim: datetime, result: CheckResult) -> None:
    failed = result.registration in (Registration.REFUSED, Registration.UNREACHABLE)
    failures = subscription.failed_checks + 1 if failed else 0
    # Unless somebody requested another run in the meantime, the next one is the regular one.
    is_requested_again = Q(next_check_at__lte=Now())
    is_well = result.registration in ENDED_WELL
    # A person's request stays open where Khoros was not reached or a replaced one is left, and is done otherwise.
    not_reached = result.registration in (Registration.UNREACHABLE, Registration.NOT_POSSIBLE)
    stays_requested = not_reached or (is_well and result.older_remain)
    rows = Subscription.objects.filter(pk=subscription.pk, checking_until=claim)
    is_ours = rows.update(
        registration=result.registration,
        khoros_message=storable(result.message),
        khoros_uuid=storable(result.khoros_uuid)[:64] or ("" if is_well else subscription.khoros_uuid),
        khoros_status=storable(result.khoros_status)[:40],
        registered_address=result.address,
        other_subscriptions=[{name: storable(text)[:500] for name, text in other.items()} for other in result.others],
        drift=[{"kind": each.kind, "message": storable(each.message), "remedy": each.remedy} for each in result.drift],
        checked_at=Now(),
        failed_checks=failures,
        requested_by=Case(
            When(is_requested_again, then=F("requested_by")),
            default=F("requested_by") if stays_requested else Value(""),
        ),
        checking_until=None,
        next_check_at=Case(When(is_requested_again, then=F("next_check_at")), default=_next_check(result, failures)),
    )
    if not is_ours:
        return
    if result.registration == Registration.REGISTERED and not result.older_remain:
        _close_the_overlap(subscription)
    if result.registration == Registration.REGISTERED and result.khoros_uuid:
        row = Subscription.objects.filter(pk=subscription.pk)
        row.update(posted_as=desired_state_of(subscription).fingerprint)
        row.exclude(khoros_status="").update(not_shown="")
        row.exclude(receives_by=Subscription.Receives.PUSH).update(next_catch_up_at=Coalesce("next_catch_up_at", Now()))


def _next_check(result: CheckResult, failures: int) -> Any:
    if result.registration == Registration.RETIRED:
        # A lagging list, or a backup restored at Khoros, may bring it back.
        return seconds_from_now(CHECK_RETIRED_SECONDS)
    if failures:
        delays = RETRY_DELAYS_OF_A_REFUSED_TOKEN if result.needs_person else RETRY_DELAYS
        return seconds_from_now(max(delays[min(failures, len(delays)) - 1], result.retry_after))
    soon = settings.KHOROS_OVERLAP_SECONDS + 1
    return seconds_from_now(min(soon, CHECK_EVERY_SECONDS) if result.older_remain else CHECK_EVERY_SECONDS)


def _close_the_overlap(subscription: Subscription) -> None:
    """No replaced subscription is left: forgets them, and lets earlier tokens expire a day from now."""
    rows = Subscription.objects.filter(pk=subscription.pk, bearer_token=subscription.bearer_token)
    rows.update(replaces=[], replaced_at=None)
    rows.filter(previous_token_accepted_until__isnull=True).exclude(previous_bearer_token="").update(
        previous_token_accepted_until=database_clock.now() + TOKEN_OVERLAP
    )
