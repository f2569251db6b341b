"""When an account may be called: its rate limit, its circuit breaker, its pauses, and how much waits for it.

Promised: all workers together stay below the account's limit, and what concerns the whole account holds up its
deliveries instead of failing them. Without Redis no call waits: a refusal by the limit then pauses the connection.
"""

from integrations.flow.background import BACKGROUND
from integrations.flow.backlog import backlog_texts, limit_text, usual_rate
from integrations.flow.circuit_breaker import close_circuit, may_send
from integrations.flow.pause import pause_connections, resume_connections
from integrations.flow.permits import Permits, return_permit, wait_for_permit
from integrations.flow.rate_limit import forget_limits
from integrations.flow.replies import observe_reply, record_failure

__all__ = [
    "BACKGROUND",
    "Permits",
    "backlog_texts",
    "close_circuit",
    "forget_limits",
    "limit_text",
    "may_send",
    "observe_reply",
    "pause_connections",
    "record_failure",
    "resume_connections",
    "return_permit",
    "usual_rate",
    "wait_for_permit",
]
