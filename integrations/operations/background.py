"""What is done in the background: alarms are raised and ended, and old content is deleted."""

from integrations.infra.background import Background
from integrations.operations.alarms import update_alarms
from integrations.operations.retention import forget_content

BACKGROUND = Background(each_watch=(update_alarms, forget_content))
