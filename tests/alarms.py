"""What a clock does about alarms: finds them, then mails them."""

from integrations.operations import mail_alarms
from integrations.operations.alarms import update_alarms as find_alarms


def update_alarms() -> None:
    find_alarms()
    mail_alarms()
