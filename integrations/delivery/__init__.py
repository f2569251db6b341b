"""From a due delivery to its receipt: `deliver.py` has the steps in order.

Promised: exactly one ticket for each delivery, whatever dies on the way; a failure says what happened, what it means
and what to do. Where it cannot be known whether a ticket exists, it is looked up or a person is asked.
"""

from integrations.delivery.background import BACKGROUND
from integrations.delivery.bursts import recount, resend_report
from integrations.delivery.create import create_deliveries, why_not_rendered
from integrations.delivery.deliver import deliver_due
from integrations.delivery.final_lookup import may_exist_text
from integrations.delivery.receipts import checked_receipt
from integrations.delivery.rendered import rendered_columns
from integrations.delivery.requesters import intake_user_text
from integrations.delivery.solved import mark_solved

__all__ = [
    "BACKGROUND",
    "checked_receipt",
    "create_deliveries",
    "deliver_due",
    "intake_user_text",
    "mark_solved",
    "may_exist_text",
    "recount",
    "rendered_columns",
    "resend_report",
    "why_not_rendered",
]
