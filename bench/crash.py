"""kill -9 of web, worker and beat, twice, with 500 notifications in flight: what was acknowledged must not be lost."""

import time
from pathlib import Path

from bench import load
from bench.ground import Ground, Portal, StandIn
from bench.load import Load
from bench.report import Row, Section

COUNT = 500
MORE = 200
# So slow until the second kill that there are tries under way at either.
DELAY_MS = 1000
DELAY_AFTERWARDS_MS = 100
LONGEST_SECONDS = 90.0
NAMES = ("web", "worker", "beat")
QUICKLY = {"DELIVERY_LEASE_SECONDS": "6", "SWEEP_SECONDS": "2", "DELIVERY_RETRY_DELAYS": "1,1,2,2,5,5,5,5,5,5"}


def measure(ground: Ground) -> Section:
    with ground.stand_in() as stand_in, ground.portal(stand_in.url, **QUICKLY) as portal:
        stand_in.delay(DELAY_MS)
        acknowledged = _through_two_kills(ground, portal, stand_in)
        seconds = _wait_until_nothing_is_pending(portal)
        portal.end()
        tickets = stand_in.external_ids()
        lost = _lost(portal, acknowledged, set(tickets))
        unsettled = portal.number(UNSETTLED)
        failed = portal.number("SELECT count(*) FROM integrations_delivery WHERE state = 'failed'")
        reasons = portal.execute("SELECT DISTINCT last_error FROM integrations_delivery WHERE state = 'failed' LIMIT 3")
        doubtful = portal.number("SELECT count(*) FROM integrations_attempt WHERE finished_at IS NULL")
    doubled = len(tickets) - len(set(tickets))
    ground.say(f"{len(acknowledged)} acknowledged, {lost} lost, {doubled} doubled")
    rows = [
        Row("acknowledged", f"{len(acknowledged)} of {COUNT + MORE} sent"),
        Row("acknowledged and lost", str(lost), goal="0", is_met=lost == 0),
        Row("tickets made twice", str(doubled), f"{len(tickets)} tickets", goal="0", is_met=doubled == 0),
        Row(
            "deliveries failed / still waiting", f"{failed} / {unsettled}", goal="0 / 0", is_met=failed + unsettled == 0
        ),
        Row("tries killed in the middle", str(doubtful), goal=">= 1, else nothing was shown", is_met=doubtful > 0),
        Row("from the last start until nothing waited", f"{seconds:.0f} s"),
    ]
    return Section(
        "kill -9 of web, worker and beat, twice", rows, [REMARK, *(f"A failure: {reason}" for (reason,) in reasons)]
    )


REMARK = (
    f"{COUNT} notifications are pushed and the first kill comes as their deliveries are under way to a Zendesk of "
    f"{DELAY_MS} ms; the second comes while {MORE} more are being pushed, so some of those are never acknowledged. "
    "Leases of 6 s and a sweep every 2 s keep the measurement short; the rules are the same with the longer defaults."
)

UNSETTLED = (
    "SELECT (SELECT count(*) FROM integrations_delivery WHERE state IN ('pending', 'sending'))"
    " + (SELECT count(*) FROM integrations_notification WHERE state = 'received')"
)

DELIVERED = "SELECT count(*) FROM integrations_delivery WHERE state = 'delivered'"


def _through_two_kills(ground: Ground, portal: Portal, stand_in: StandIn) -> set[str]:
    first, second = ground.folder / "acknowledged-1", ground.folder / "acknowledged-2"
    portal.start("web", "beat")
    portal.start_worker()
    portal.load(Load(16, 20, count=COUNT, warm_up=0), first)
    _wait_for(DELIVERED, portal, COUNT // 10)
    _kill_all(portal)
    portal.start(*NAMES)
    _wait_for(DELIVERED, portal, COUNT // 4)
    pushing = ground.processes.start(
        "load",
        load.command(portal.target, Load(16, 6, rate=MORE / 2, count=MORE, warm_up=0), second),
        portal.environment,
    )
    _wait_for("SELECT count(*) FROM integrations_notification", portal, COUNT + MORE // 3)
    _kill_all(portal)
    stand_in.delay(DELAY_AFTERWARDS_MS)
    pushing.process.wait(60)
    ground.processes.forget(pushing)
    portal.start(*NAMES)
    return _lines(first) | _lines(second)


def _lines(path: Path) -> set[str]:
    return set(path.read_text().split()) if path.exists() else set()


def _kill_all(portal: Portal) -> None:
    for started in portal.started:
        started.kill()
        portal.ground.processes.forget(started)
    portal.started.clear()


def _wait_for(counting: str, portal: Portal, count: int) -> None:
    """Bounded: on a slow machine the kill then comes earlier."""
    until = time.monotonic() + 30
    while portal.number(counting) < count and time.monotonic() < until:
        time.sleep(0.05)


def _wait_until_nothing_is_pending(portal: Portal) -> float:
    """Bounded; how long it took."""
    began = time.monotonic()
    while portal.number(UNSETTLED) and time.monotonic() < began + LONGEST_SECONDS:
        time.sleep(0.5)
    return time.monotonic() - began


def _lost(portal: Portal, acknowledged: set[str], tickets: set[str]) -> int:
    """Acknowledged events without a ticket at the stand-in or a failure that somebody sees."""
    rows = portal.execute(
        "SELECT event_key, external_id, d.state FROM integrations_notificationcontent n"
        " JOIN integrations_delivery d ON d.notification_id = n.notification_id"
        " JOIN integrations_deliverycontent c ON c.delivery_id = d.id"
    )
    settled = {key.removeprefix("uuid:") for key, ticket, state in rows if ticket in tickets or state == "failed"}
    return len(acknowledged - settled)
