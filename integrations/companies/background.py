"""What is done in the background: a company is read at Khoros once it was saved, and its labels once a day."""

from integrations.companies.check import read_company
from integrations.companies.labels import with_old_labels
from integrations.infra.background import Background, Job
from integrations.infra.queue import READ_COMPANY
from integrations.models import Turn

# How often is looked for companies whose labels were never read, or not for a day.
LOOK_SECONDS = 600

BACKGROUND = Background(
    jobs=(Job(READ_COMPANY, read_company, with_old_labels, slot="Khoros", turn=Turn.Name.LABELS, every=LOOK_SECONDS),),
)
