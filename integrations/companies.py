"""What is asked of Khoros for a whole company: whose the token is, what stands there, which labels there are."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models.functions import Now

from integrations import database_time
from integrations.database_pool import release_database
from integrations.encryption import UnreadableSecret
from integrations.http import Failure, Line
from integrations.models import Change, Company, Installation, Subscription
from integrations.post import storable
from integrations.sources.khoros import plan, token
from integrations.sources.khoros.client import KhorosClient

log = structlog.get_logger(__name__)

TEST_SECONDS = 20.0
LABELS_SECONDS = 20.0
MOST_LISTED = 500
MOST_LABELS = 5_000
WARN_BEFORE_END = timedelta(days=60)


class NoToken(Exception):
    """Khoros cannot be called for the company; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a test of the connection found; `is_good` is None for what could not be asked."""

    is_good: bool | None
    words: str


def client_for(company: Company, seconds: float, *secrets: str) -> KhorosClient:
    """A line to Khoros in the company's name. Raises NoToken."""
    try:
        api_token = company.api_token.reveal()
    except UnreadableSecret:
        raise NoToken(f"The API token of the company {UnreadableSecret.words}.") from None
    if not api_token:
        raise NoToken("The company has no API token yet: enter it on its page.")
    line = Line(
        settings.KHOROS_API_URL,
        seconds,
        name="Khoros",
        secrets=(api_token, *filter(None, secrets)),
        turn=lambda _budget: release_database(),
    )
    return KhorosClient(line, api_token)


def own_prefix() -> str:
    """How the externalId of each of this installation's feeds begins."""
    return f"{plan.PREFIX}{Installation.objects.get().uuid}-"


# --- The token -------------------------------------------------------------------------------------------------------


def note_owner(company: Company, client: KhorosClient) -> token.Owner | None:
    """Notes who the token is and what it sees. A company that is not listed only warns; a refused token raises."""
    try:
        owner = token.owner(client.whoami())
    except Failure as failure:
        words = f"{failure.words}\n{failure.detail}".strip()
        _note(company, warning=words)
        if failure.status in (401, 403):
            raise
        return None
    _note(
        company,
        warning=token.company_warning(owner, company.company_id),
        token_owner=storable(owner.words),
        companies_seen=[{name: storable(text)[:200] for name, text in row.items()} for row in owner.companies],
    )
    return owner


def _note(company: Company, *, warning: str, **columns: Any) -> None:
    company.warning = storable(warning)
    Company.objects.filter(pk=company.pk).update(
        checked_at=Now(),
        warning=company.warning,
        token_expires_at=token.expiry(company.api_token.reveal()),
        **columns,
    )


def token_ends_at(company: Company) -> datetime | None:
    """The earlier of what the token says itself and 24 months after it was entered; None without a token."""
    if not company.api_token:
        return None
    by_age = (company.token_entered_at or company.created_at) + token.LIFETIME
    return min(company.token_expires_at or by_age, by_age)


def token_end_words(company: Company) -> str:
    """When the token ends and how that is known."""
    ends = token_ends_at(company)
    if ends is None:
        return "No API token is stored."
    if company.token_expires_at == ends:
        known = "as the token itself says"
    else:
        known = "24 months after it was entered here; the token itself does not say it"
    left = (ends - database_time.now()).days
    when = f"{-left} days ago" if left < 0 else "today" if left == 0 else f"in {left} days"
    return f"{ends:%Y-%m-%d}, {when} ({known})."


def token_warning(company: Company) -> str:
    """A sentence from 60 days before the token's end on; empty before."""
    ends = token_ends_at(company)
    if ends is None or ends - database_time.now() > WARN_BEFORE_END:
        return ""
    verb = "has ended" if ends <= database_time.now() else "ends"
    return (
        f"The API token of “{company}” {verb} on {ends:%Y-%m-%d}. Make a new one in Khoros Marketing (Profile "
        "Settings, API Access Token) and enter it on the company's page."
    )


def test_connection(company: Company) -> list[Finding]:
    """Asks Khoros who the token is, and for the subscriptions; notes what was found."""
    try:
        client = client_for(company, TEST_SECONDS)
    except NoToken as missing:
        return [Finding(False, str(missing))]
    findings = [*_test_whoami(company, client), *_test_list(company, client)]
    company.refresh_from_db()
    findings.append(Finding(not token_warning(company), f"The token ends {token_end_words(company)}"))
    return findings


def get_to_know(company_id: int) -> None:
    """Notes whose the token is, what stands at Khoros and which labels there are: after a company was saved."""
    company = Company.objects.filter(pk=company_id).first()
    if company is not None:
        findings = test_connection(company)
        refresh_labels(company)
        log.info(
            "company asked for", company_id=company_id, is_good=all(each.is_good is not False for each in findings)
        )


def _test_whoami(company: Company, client: KhorosClient) -> list[Finding]:
    try:
        owner = note_owner(company, client)
    except Failure as failure:
        return [_failed("Who the token is", failure)]
    if owner is None:
        return [Finding(False, f"Who the token is: {company.warning}")]
    seen = ", ".join(f"{row['name']} ({row['id']})" for row in owner.companies) or "no company"
    findings = [Finding(True, f"The token belongs to {owner.words} and sees: {seen}.")]
    if company.warning:
        findings.append(Finding(False, company.warning))
    return findings


def _test_list(company: Company, client: KhorosClient) -> list[Finding]:
    if company.api_version == Company.ApiVersion.V1:
        return [Finding(None, "Subscriptions were not asked for: version 1 of Khoros' API cannot list them.")]
    try:
        listed = note_list(company, client)
    except Failure as failure:
        return [_failed("The list of subscriptions", failure)]
    prefix = own_prefix()
    ours = sum(1 for row in listed if plan.whose(str(row.get("externalId") or ""), prefix) == "ours")
    return [Finding(True, f"Khoros lists {len(listed)} subscriptions, {ours} of them made by this installation.")]


def _failed(what: str, failure: Failure) -> Finding:
    return Finding(False, f"{what}: {failure.words} {failure.detail}".strip())


# --- What stands at Khoros -------------------------------------------------------------------------------------------


def note_list(company: Company, client: KhorosClient) -> list[dict[str, Any]]:
    """All subscriptions of the company at Khoros; a summary without tokens is kept for the pages. Raises Failure."""
    listed = client.subscriptions()
    rows = [{name: storable(text)[:500] for name, text in plan.summary(row).items()} for row in listed[:MOST_LISTED]]
    Company.objects.filter(pk=company.pk).update(listed=rows, listed_at=Now())
    return listed


def pause_other(company: Company, khoros_uuid: str, by: str, subscription: Subscription | None = None) -> str:
    """Pauses a subscription that is not this installation's; a person asked for it. Returns what was done in words."""
    return _change_other(company, khoros_uuid, by, Change.Action.PAUSE_OTHER, subscription)


def retire_forgotten(company: Company, khoros_uuid: str, by: str) -> str:
    """Deletes one that bears this installation's mark but is known here no more. Returns what was done in words."""
    return _change_other(company, khoros_uuid, by, Change.Action.RETIRE_OTHER, None)


def _change_other(
    company: Company, khoros_uuid: str, by: str, action: Change.Action, subscription: Subscription | None
) -> str:
    """Raises Failure, NoToken, and LookupError when it is not (or no longer) one that may be changed so."""
    client = client_for(company, TEST_SECONDS)
    row = next((row for row in note_list(company, client) if plan.uuid_of(row) == khoros_uuid), None)
    if row is None:
        raise LookupError("Khoros does not list it any more.")
    external_id = plan.summary(row)["externalId"]
    is_ours = plan.whose(external_id, own_prefix()) == "ours"
    if action == Change.Action.RETIRE_OTHER and not is_forgotten(external_id):
        raise LookupError("Only what this installation made and knows no more can be retired here.")
    if action == Change.Action.PAUSE_OTHER and is_ours:
        raise LookupError("It belongs to a subscription of this installation: switch that one off instead.")
    because = f"asked for: “{row.get('externalId') or khoros_uuid}” to {row.get('notificationUri') or 'no address'}"
    change = Change.objects.create(
        company=company, subscription=subscription, action=action, khoros_uuid=khoros_uuid[:64], by=by, because=because
    )
    with recorded(change):
        if action == Change.Action.RETIRE_OTHER:
            client.delete(khoros_uuid)
        else:
            client.set_status(khoros_uuid, "PAUSED")
    note_list(company, client)
    return f"{change.get_action_display()}: {row.get('externalId') or khoros_uuid}."


def is_forgotten(external_id: str) -> bool:
    """Whether it bears this installation's mark, and no subscription here goes by it."""
    prefix = own_prefix()
    if not external_id.startswith(prefix):
        return False
    known_here = Subscription.objects.exclude(registration=Subscription.Registration.RETIRED, deleted_at__isnull=False)
    uuids = (str(known) for known in known_here.values_list("uuid", flat=True))
    return external_id.removeprefix(prefix) not in set(uuids)


class recorded:
    """Completes a Change after its call: done, or Khoros' refusal in words. Failures go on to the caller."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def __enter__(self) -> Change:
        log.info("changing a subscription at Khoros", action=self.change.action, khoros_uuid=self.change.khoros_uuid)
        return self.change

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        words = f"{error.words}\n{error.detail}".strip() if isinstance(error, Failure) else str(error or "")
        Change.objects.filter(pk=self.change.pk).update(
            finished_at=Now(), is_done=error is None, words=storable(words), khoros_uuid=self.change.khoros_uuid[:64]
        )


# --- Labels ----------------------------------------------------------------------------------------------------------


def refresh_labels(company: Company) -> str:
    """Reads the labels to choose from. What cannot be read leaves the old ones; returns a sentence for the person."""
    try:
        client = client_for(company, LABELS_SECONDS)
        labels = client.labels()
        for initiative in filter(None, (part.strip() for part in company.initiatives.split(","))):
            labels += client.content_labels(initiative)
    except (Failure, NoToken) as error:
        words = f"{error.words} {error.detail}".strip() if isinstance(error, Failure) else str(error)
        Company.objects.filter(pk=company.pk).update(labels_problem=storable(words))
        return f"The labels of “{company}” could not be read, the old ones are kept: {words}"
    kept = [{"name": storable(label["name"])[:250], "set": storable(label["set"])[:250]} for label in labels]
    kept.sort(key=lambda label: (label["name"].casefold(), label["set"].casefold()))
    Company.objects.filter(pk=company.pk).update(labels=kept[:MOST_LABELS], labels_read_at=Now(), labels_problem="")
    return f"“{company}” has {len(kept)} labels to choose from."
