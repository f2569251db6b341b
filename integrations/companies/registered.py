"""What is registered at Khoros for a company, whoever registered it."""

from typing import Any

import structlog
from django.db.models.functions import Now

from integrations.companies.client import TEST_SECONDS, company_client
from integrations.infra.text import storable
from integrations.models import Change, Company, Installation, Subscription
from integrations.sources.khoros import plan
from integrations.sources.khoros.client import KhorosClient

log = structlog.get_logger(__name__)
MOST_LISTED = 500


def record_registered(company: Company, client: KhorosClient) -> list[dict[str, Any]]:
    """Lists the company's subscriptions at Khoros and keeps a summary without tokens for the pages. Raises Failure."""
    listed = client.subscriptions()
    rows = [{name: storable(text)[:500] for name, text in plan.summary(row).items()} for row in listed[:MOST_LISTED]]
    Company.objects.filter(pk=company.pk).update(listed=rows, listed_at=Now())
    return listed


def change_other(
    company: Company, khoros_uuid: str, action: Change.Action, by: str, subscription: Subscription | None = None
) -> str:
    """Pauses one that is not this installation's, or deletes one that it created and no longer knows; a person asked.

    Returns a sentence for staff. Raises Failure, NoToken, and LookupError when it is not (or no longer) one that may be
    changed like this.
    """
    client = company_client(company, TEST_SECONDS)
    row = next((row for row in record_registered(company, client) if plan.uuid_of(row) == khoros_uuid), None)
    if row is None:
        raise LookupError("Khoros no longer lists it.")
    external_id = plan.summary(row)["externalId"]
    is_ours = plan.whose(external_id, plan.prefix_of(Installation.own_uuid())) == "ours"
    if action == Change.Action.RETIRE_OTHER and not is_forgotten(external_id):
        raise LookupError("Only subscriptions that this installation created and no longer uses can be deleted here.")
    if action == Change.Action.PAUSE_OTHER and is_ours:
        raise LookupError("It belongs to a subscription of this installation. Turn that one off instead.")
    because = f"requested: “{row.get('externalId') or khoros_uuid}” to {row.get('notificationUri') or 'no address'}"
    change = Change.objects.create(
        company=company, subscription=subscription, action=action, khoros_uuid=khoros_uuid[:64], by=by, because=because
    )
    with change.recorded():
        if action == Change.Action.RETIRE_OTHER:
            client.delete(khoros_uuid)
        else:
            client.set_status(khoros_uuid, "PAUSED")
    record_registered(company, client)
    return f"{change.get_action_display()}: {row.get('externalId') or khoros_uuid}."


def is_forgotten(external_id: str) -> bool:
    """Whether this installation created it, and no subscription here belongs to it."""
    prefix = plan.prefix_of(Installation.own_uuid())
    if not external_id.startswith(prefix):
        return False
    known_here = Subscription.objects.exclude(registration=Subscription.Registration.RETIRED, deleted_at__isnull=False)
    uuids = (str(known) for known in known_here.values_list("uuid", flat=True))
    return external_id.removeprefix(prefix) not in set(uuids)
