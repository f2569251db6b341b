"""From a due delivery to its receipt: `deliver.py` has the steps in order.

Promised: exactly one ticket for each delivery, whatever dies on the way; a failure says what happened, what it means
and what to do. Where it cannot be known whether a ticket exists, it is looked up or a person is asked.
"""

from integrations.delivery.batch_results import batches_to_follow, follow_batch
from integrations.delivery.bursts import (
    burst_for,
    cancel_uncounted,
    count_posts,
    join_burst,
    recount,
    resend_report,
)
from integrations.delivery.cases import case_key, forget_cases, join_case
from integrations.delivery.claim import demote_late
from integrations.delivery.content import keep_with_attempts, rendered_columns, store_rendered, store_request
from integrations.delivery.deliver import deliver_due
from integrations.delivery.final_lookup import may_exist_text
from integrations.delivery.flood_hold import (
    NotHeld,
    find_floods,
    hold_flood,
    hold_new,
    release_flood,
    release_leftovers,
    waiting_on,
    with_open_hold,
)
from integrations.delivery.following import begin_to_follow, repair_followers
from integrations.delivery.requesters import intake_user_text
from integrations.delivery.retry import no_second
from integrations.delivery.solved import mark_solved
from integrations.delivery.test_ticket import TestTicket, create_test_ticket

__all__ = [
    "NotHeld",
    "TestTicket",
    "batches_to_follow",
    "begin_to_follow",
    "burst_for",
    "cancel_uncounted",
    "case_key",
    "count_posts",
    "create_test_ticket",
    "deliver_due",
    "demote_late",
    "find_floods",
    "follow_batch",
    "forget_cases",
    "hold_flood",
    "hold_new",
    "intake_user_text",
    "join_burst",
    "join_case",
    "keep_with_attempts",
    "mark_solved",
    "may_exist_text",
    "no_second",
    "recount",
    "release_flood",
    "release_leftovers",
    "rendered_columns",
    "repair_followers",
    "resend_report",
    "store_rendered",
    "store_request",
    "waiting_on",
    "with_open_hold",
]
