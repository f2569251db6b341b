"""What is done in the background: accounts' lists are read, and what cannot sign in is paused before it fails."""

from integrations.connections.account import pause_unreadable
from integrations.connections.lists import lists_due, read_account_lists
from integrations.infra.background import Background, Job
from integrations.infra.queue import READ_LISTS

BACKGROUND = Background(
    jobs=(Job(READ_LISTS, read_account_lists, lists_due, slot="lists of {}"),),
    each_sweep=(pause_unreadable,),
)
