"""What runs beside the journey: alarms, the first set-up from the environment, and deleting content after a time.

Promised: an alarm is raised once, ends when its cause does, and is mailed at both ends; what staff changed is never
overwritten from the environment; what is not done keeps its content, and the ledger is kept for ever.
"""

from integrations.operations.alarm_mail import mail_alarms
from integrations.operations.alarm_rules import silence_text
from integrations.operations.background import BACKGROUND
from integrations.operations.first_setup import environment_differs, make_first_setup, take_from_environment
from integrations.operations.roles import ROLES, make_roles, make_roles_after_migrating
from integrations.operations.telling import mappings_of_alarms, portal_subscription, told_of

__all__ = [
    "BACKGROUND",
    "ROLES",
    "environment_differs",
    "mail_alarms",
    "make_first_setup",
    "make_roles",
    "make_roles_after_migrating",
    "mappings_of_alarms",
    "portal_subscription",
    "silence_text",
    "take_from_environment",
    "told_of",
]
