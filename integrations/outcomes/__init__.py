"""What became of tickets."""

from integrations.outcomes.events import apply_event, events_to_apply, latest_events
from integrations.outcomes.polling import accounts_to_poll, keep_up, poll_tickets, request_poll
from integrations.outcomes.response_times import response_overview, target_text
from integrations.outcomes.views import account_webhook
from integrations.outcomes.webhook import AccountWebhook, NotSetUp

__all__ = [
    "AccountWebhook",
    "NotSetUp",
    "account_webhook",
    "accounts_to_poll",
    "apply_event",
    "events_to_apply",
    "keep_up",
    "latest_events",
    "poll_tickets",
    "request_poll",
    "response_overview",
    "target_text",
]
