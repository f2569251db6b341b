"""What is done in the background: accounts' events are applied, and tickets are polled for those that got lost."""

from integrations.infra.background import Background, Job
from integrations.infra.queue import APPLY_TICKET_EVENT, POLL_TICKETS
from integrations.outcomes.events import apply_event, events_to_apply, forget_old_events
from integrations.outcomes.polling import accounts_to_poll, poll_tickets

BACKGROUND = Background(
    jobs=(
        Job(APPLY_TICKET_EVENT, apply_event, events_to_apply),
        Job(POLL_TICKETS, poll_tickets, accounts_to_poll, slot="tickets of {}"),
    ),
    each_watch=(forget_old_events,),
)
