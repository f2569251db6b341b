"""What became of tickets: the account's events, polling as the safety net, response times and targets.

Promised: an event is verified and stored before it is answered, and applied once in whatever order events come; the
newest status by the account's own clock wins.
"""

from integrations.outcomes.background import BACKGROUND
from integrations.outcomes.events import latest_events
from integrations.outcomes.failure_groups import FailureGroup, failure_groups
from integrations.outcomes.figures import Became
from integrations.outcomes.period import period_figures
from integrations.outcomes.polling import request_poll
from integrations.outcomes.response_times import oldest_without_a_ticket, target_text
from integrations.outcomes.targets import Target
from integrations.outcomes.views import account_webhook
from integrations.outcomes.webhook import AccountWebhook, NotSetUp

__all__ = [
    "BACKGROUND",
    "AccountWebhook",
    "Became",
    "FailureGroup",
    "NotSetUp",
    "Target",
    "account_webhook",
    "failure_groups",
    "latest_events",
    "oldest_without_a_ticket",
    "period_figures",
    "request_poll",
    "target_text",
]
