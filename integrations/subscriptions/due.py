"""Which subscriptions are due, a few at a time, so that calls to Khoros stay few."""

from django.db.models import Q
from django.db.models.functions import Now

from integrations.models import Subscription

MOST_CALLS_TO_KHOROS = 4


def longest_due(due: Q, when: str, claimed_until: str) -> list[int]:
    """Ids of the longest due, as many as there is room for. `when` and `claimed_until` name the run's columns."""
    running = Subscription.objects.filter(**{f"{claimed_until}__gt": Now()}).count()
    room = max(0, MOST_CALLS_TO_KHOROS - running)
    return list(Subscription.objects.filter(due).order_by(when).values_list("pk", flat=True)[:room])
