"""What is done in the background: subscriptions are kept as wanted at Khoros, and missed events are fetched."""

from integrations.infra.background import Background, Job
from integrations.infra.queue import CATCH_UP, CHECK_SUBSCRIPTION, SEND_PROBE
from integrations.subscriptions.catch_up import run_catch_up, to_catch_up
from integrations.subscriptions.probe import probes_to_send, send_probe
from integrations.subscriptions.registration import check_subscription, to_check
from integrations.subscriptions.requests import keep_up

BACKGROUND = Background(
    jobs=(
        Job(CHECK_SUBSCRIPTION, check_subscription, to_check, slot="Khoros"),
        Job(CATCH_UP, run_catch_up, to_catch_up, slot="catch-ups"),
        Job(SEND_PROBE, send_probe, probes_to_send, slot="probes"),
    ),
    each_watch=(keep_up,),
)
