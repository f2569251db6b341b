"""What is done in the background: backlog mode follows what waits."""

from integrations.flow.backlog import update_backlogs
from integrations.infra.background import Background

BACKGROUND = Background(each_sweep=(update_backlogs,))
