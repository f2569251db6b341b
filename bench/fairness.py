"""One account hangs, the others deliver: push to ticket of the healthy ones, beside the same portal without that."""

import statistics
import time

import urllib3

from bench import notification
from bench.ground import Ground, Portal, silent_port
from bench.report import Row, Section

# (connections, how many of them hang, pushes a second): each push becomes a ticket on every connection.
CASES = ((2, 1, 4.0), (20, 2, 1.0))
SECONDS, QUICK_SECONDS = 40.0, 20.0
GOAL_RATIO, GOAL_SECONDS = 1.3, 0.3
SETTLE_SECONDS = 10.0

REMARK = (
    "Each push becomes one ticket on every connection; what hangs takes connections and never answers. The p95 of the "
    f"healthy ones may grow to {GOAL_RATIO} times, or to {GOAL_SECONDS} s where that is less strict."
)
LATENCIES = """
SELECT extract(epoch FROM delivery.delivered_at - stored.received_at)::float
FROM integrations_delivery AS delivery JOIN integrations_notification AS stored ON stored.id = delivery.notification_id
WHERE delivery.state = 'delivered' AND stored.id > %s AND delivery.connection_id > %s
"""


def measure(ground: Ground) -> Section:
    return Section("Fairness between accounts", [row for case in CASES for row in _case(ground, *case)], [REMARK])


def _case(ground: Ground, connections: int, hanging: int, rate: float) -> list[Row]:
    seconds = QUICK_SECONDS if ground.quick else SECONDS
    with ground.stand_in() as stand_in, ground.portal(stand_in.url) as portal, silent_port() as silent:
        portal.rows("mappings", str(connections - 1))
        portal.start("web", "beat")
        portal.start_worker()
        first = portal.number("SELECT min(id) FROM integrations_connection")
        healthy_from = first + hanging - 1
        beside = _push(portal, 1, rate, seconds, healthy_from)
        portal.execute(
            "UPDATE integrations_connection SET settings = jsonb_set(settings, '{address}', to_jsonb(%s::text)) "
            "WHERE id <= %s",
            f"http://127.0.0.1:{silent}",
            healthy_from,
        )
        found = _push(portal, 2, rate, seconds, healthy_from)
    what = f"{connections} connections, {hanging} of which hang{'s' if hanging == 1 else ''}"
    ratio = found / beside
    ground.say(f"{what}: p95 {found:.3f} s, beside {beside:.3f} s")
    return [
        Row(
            f"{what}: push to ticket, p95",
            f"{found:.3f} s",
            f"{beside:.3f} s",
            f"{ratio:.2f}x",
            f"<= {GOAL_RATIO}x or {GOAL_SECONDS} s",
            ratio <= GOAL_RATIO or found <= GOAL_SECONDS,
        )
    ]


def _push(portal: Portal, run: int, rate: float, seconds: float, healthy_from: int) -> float:
    """Pushes evenly and returns the p95 of the healthy ones' tickets; one that is not there yet counts as the wait."""
    before = portal.number("SELECT coalesce(max(id), 0) FROM integrations_notification")
    http = urllib3.PoolManager()
    url, headers = f"http://127.0.0.1:{portal.port}{portal.path}", {"Authorization": f"Bearer {portal.token}"}
    began, count = time.monotonic(), int(rate * seconds)
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        http.request("POST", url, body=notification.body(run, number), headers=headers)
    time.sleep(SETTLE_SECONDS)
    seen = [row[0] for row in portal.execute(LATENCIES, before, healthy_from)]
    healthy = portal.number("SELECT count(*) FROM integrations_connection WHERE id > %s", healthy_from)
    missing = count * healthy - len(seen)
    return statistics.quantiles([*seen, *[seconds + SETTLE_SECONDS] * missing], n=20)[-1]
