"""The calls of one try: permits, sign-in, finalising and sending the request."""

import structlog
from django.conf import settings

from integrations.delivery.claim import ClaimedDelivery
from integrations.delivery.prepare import is_needed, needs_a_new_user, prepare
from integrations.delivery.receipts import checked_receipt
from integrations.destinations.base import Credentials, Outgoing, Receipt
from integrations.destinations.capabilities import ACCOUNT, LOOK_UP, UPDATES, USERS
from integrations.flow import Permits
from integrations.infra.database_pool import release_database
from integrations.infra.http.failure import Failure, NoPermit
from integrations.infra.text import REPORT_IT, defect_text
from integrations.models import Delivery

log = structlog.get_logger(__name__)

# The share of the lease that a further call of the try may wait for its permit.
SHARE_FOR_A_PERMIT = 0.25
# Look-ups and updates have limits of their own: the thread is free for others meanwhile.
LONGEST_WAIT_FOR_A_LIMIT = 1.0


def hold_permits(claimed: ClaimedDelivery) -> None:
    """The account's permit was taken before the claim; a look-up or an update needs one more. Raises NoPermit."""
    is_append = claimed.delivery.action == Delivery.Action.APPEND
    permits = permits_for_try(claimed, held=[ACCOUNT])
    if claimed.look_up_first and not is_append:
        permits.hold(LOOK_UP, LONGEST_WAIT_FOR_A_LIMIT)
    if is_append:
        permits.hold(UPDATES, LONGEST_WAIT_FOR_A_LIMIT)
    if needs_a_new_user(claimed.delivery):
        permits.expect_room(USERS)
    claimed.session.use(permits)


def permits_for_try(claimed: ClaimedDelivery, held: list[str]) -> Permits:
    longest = settings.DELIVERY_LEASE_SECONDS * SHARE_FOR_A_PERMIT
    return Permits(claimed.delivery.connection, longest, held=held)


def send(claimed: ClaimedDelivery) -> Receipt | Failure | NoPermit:
    """Calls the destination, outside any transaction and without holding a database connection."""
    release_database()
    try:
        return claimed.session.ask(lambda credentials: _prepare_and_send(claimed, credentials))
    except (Failure, NoPermit) as known:
        return known
    except Exception as error:
        # Whatever else a provider raises, or preparing does, is recorded and counts as a try.
        log.exception("destination failed")
        return Failure(
            defect_text("Sending", error),
            is_uncertain=claimed.was_sent,
            # A comment has no key that would recognise a repeat.
            look_up_next=claimed.was_sent and claimed.delivery.action == Delivery.Action.APPEND,
            remedy=REPORT_IT,
        )


def _prepare_and_send(claimed: ClaimedDelivery, credentials: Credentials) -> Receipt:
    delivery, destination = claimed.delivery, claimed.destination
    if is_needed(delivery):
        claimed.request = prepare(delivery, claimed.request, claimed.session, credentials, claimed.row)
    release_database()
    outgoing = Outgoing(
        request=claimed.request,
        external_id=delivery.external_id,
        key=delivery.idempotency_key,
        action=delivery.action,
        target=delivery.target_number,
        look_up_first=claimed.look_up_first,
    )
    claimed.was_sent = True
    return checked_receipt(destination.send(claimed.session.client, outgoing, credentials), destination.title)
