"""What is done in the background: batches under way are followed, and what was missed is put right."""

from integrations.delivery.batch_results import batches_to_follow, follow_batch
from integrations.delivery.bursts import cancel_uncounted
from integrations.delivery.claim import demote_late
from integrations.delivery.following import repair_followers
from integrations.infra.background import Background, Job
from integrations.infra.queue import FOLLOW_BATCH

BACKGROUND = Background(
    jobs=(Job(FOLLOW_BATCH, follow_batch, batches_to_follow, slot="batches"),),
    each_sweep=(demote_late, repair_followers, cancel_uncounted),
)
