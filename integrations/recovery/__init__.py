"""What staff do about posts that did not become tickets: retry, rebuild, cancel, route again; failures by group.

Promised: a row changes only from the state that the action expects, so actions are safe beside working workers; each
says how many rows it changed, and which it left alone and why.
"""

from integrations.recovery.actions import ActionResult, cancel, rebuild, retry_now
from integrations.recovery.groups import FailureGroup, deliveries_in_group, failure_groups, remedy_place
from integrations.recovery.reroute import fetch_missing, route_again

__all__ = [
    "ActionResult",
    "FailureGroup",
    "cancel",
    "deliveries_in_group",
    "failure_groups",
    "fetch_missing",
    "rebuild",
    "remedy_place",
    "retry_now",
    "route_again",
]
