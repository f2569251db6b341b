"""When an account may be called."""

from integrations.flow.backlog import backlog_text, limit_text, live_backlog, update_backlogs, usual_rate
from integrations.flow.circuit_breaker import close_circuit, may_send, record_answer
from integrations.flow.pause import pause_after, pause_connections, resume_connections
from integrations.flow.permits import LONGEST_PERMIT_WAIT, Permits, return_permit, wait_for_permit
from integrations.flow.rate_limit import forget_limits
from integrations.flow.replies import hear_reply, record_failure

__all__ = [
    "LONGEST_PERMIT_WAIT",
    "Permits",
    "backlog_text",
    "close_circuit",
    "forget_limits",
    "hear_reply",
    "limit_text",
    "live_backlog",
    "may_send",
    "pause_after",
    "pause_connections",
    "record_answer",
    "record_failure",
    "resume_connections",
    "return_permit",
    "update_backlogs",
    "usual_rate",
    "wait_for_permit",
]
