"""What became of tickets: the account's events, polling as the safety net, response times and targets.

Promised: an event is verified and stored before it is answered, and applied once in whatever order events come; the
newest status by the account's own clock wins.
"""

from integrations.outcomes.events import apply_event, events_to_apply, forget_old_events, latest_events
from integrations.outcomes.figures import WAITING, Became
from integrations.outcomes.period import period_figures
from integrations.outcomes.polling import accounts_to_poll, poll_tickets, request_poll
from integrations.outcomes.response_times import (
    What,
    late,
    late_now,
    oldest_without_a_ticket,
    target_of,
    target_text,
    with_targets,
)
from integrations.outcomes.views import account_webhook
from integrations.outcomes.webhook import AccountWebhook, NotSetUp

__all__ = [
    "WAITING",
    "AccountWebhook",
    "Became",
    "NotSetUp",
    "What",
    "account_webhook",
    "accounts_to_poll",
    "apply_event",
    "events_to_apply",
    "forget_old_events",
    "late",
    "late_now",
    "latest_events",
    "oldest_without_a_ticket",
    "period_figures",
    "poll_tickets",
    "request_poll",
    "target_of",
    "target_text",
    "with_targets",
]
