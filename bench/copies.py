"""One ticket whoever asks: two portals restored from one dump, and one restored from before its last tickets."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import urllib3

from bench import notification
from bench.ground import Ground, Portal, StandIn
from bench.report import Row, Section

BOTH, BEFORE, AFTER = 100, 30, 30
LONG_AGO = timedelta(hours=3)
LONGEST_SECONDS = 120.0
QUICKLY = {"SWEEP_SECONDS": "2"}
NAMES = ("web", "worker", "beat")
UNSETTLED = (
    "SELECT (SELECT count(*) FROM integrations_delivery WHERE state IN ('pending', 'sending'))"
    " + (SELECT count(*) FROM integrations_notification WHERE state = 'received')"
)


def measure(ground: Ground) -> Section:
    rows = [*_side_by_side(ground), *_restored(ground)]
    return Section("Copies of the portal on one account", rows, [REMARK])


REMARK = (
    f"First, two portals restored from one dump are fed the same {BOTH} notifications at once. Then a portal makes "
    f"{BEFORE + AFTER} tickets, is restored from before the last {AFTER} of them, and is told their events again, "
    "three hours old by then. No switch is set."
)


def _side_by_side(ground: Ground) -> list[Row]:
    with (
        ground.stand_in() as stand_in,
        ground.portal(stand_in.url, **QUICKLY) as first,
        ground.copy_of(first) as second,
    ):
        bodies = [_happened(notification.body(1, number), timedelta()) for number in range(BOTH)]
        for portal in (first, second):
            portal.start(*NAMES)
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda portal: _push(portal, bodies), (first, second)))
        for portal in (first, second):
            _settle(portal)
        delivered = [_delivered(portal) for portal in (first, second)]
        return _rows(ground, "two copies, fed at once", stand_in, BOTH, delivered)


def _restored(ground: Ground) -> list[Row]:
    with ground.stand_in() as stand_in, ground.portal(stand_in.url, **QUICKLY) as portal:
        portal.start(*NAMES)
        _push(portal, [_happened(notification.body(2, number), timedelta()) for number in range(BEFORE)])
        _settle(portal)
        portal.end()
        last = [notification.body(2, number) for number in range(BEFORE, BEFORE + AFTER)]
        with ground.copy_of(portal) as restored:
            portal.start(*NAMES)
            _push(portal, [_happened(body, timedelta()) for body in last])
            _settle(portal)
            portal.end()
            stand_in.control("POST", "age-keys", {"seconds": LONG_AGO.total_seconds()})
            restored.start(*NAMES)
            _push(restored, [_happened(body, LONG_AGO) for body in last])
            _settle(restored)
            return _rows(ground, "restored from before the last", stand_in, BEFORE + AFTER, [_delivered(restored)])


def _happened(body: bytes, ago: timedelta) -> bytes:
    content = json.loads(body) | {"createdDate": f"{datetime.now(UTC) - ago:%a %b %d %H:%M:%S UTC %Y}"}
    return json.dumps(content).encode()


def _push(portal: Portal, bodies: Sequence[bytes]) -> None:
    headers = {"Authorization": f"Bearer {portal.token}", "Content-Type": "application/json"}
    with urllib3.HTTPConnectionPool("127.0.0.1", portal.port, maxsize=1) as pool:
        for body in bodies:
            answer = pool.request("POST", portal.path, body=body, headers=headers)
            if answer.status != 200:
                raise RuntimeError(f"a notification was answered with {answer.status}")


def _settle(portal: Portal) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    while portal.number(UNSETTLED) and time.monotonic() < until:
        time.sleep(0.3)


def _delivered(portal: Portal) -> int:
    return int(portal.number("SELECT count(*) FROM integrations_delivery WHERE state = 'delivered'"))


def _rows(ground: Ground, what: str, stand_in: StandIn, posts: int, delivered: list[int]) -> list[Row]:
    ids = stand_in.external_ids()
    ground.say(f"{what}: {len(ids)} tickets for {posts} posts")
    return [
        Row(
            f"{what}: tickets",
            f"{len(ids)} for {posts} posts",
            goal="one each",
            is_met=len(ids) == posts == len(set(ids)),
        ),
        Row(f"{what}: delivered", ", ".join(map(str, delivered)), goal=str(posts), is_met=set(delivered) == {posts}),
    ]
