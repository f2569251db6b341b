"""How much disk a delivered post takes: with its content, and once that is deleted. Through the real journey."""

import time

from bench.ground import Ground, Portal
from bench.report import Row, Section

WHOLE_GOAL, LEDGER_GOAL = 4000, 1500
LEDGER = ("notification", "delivery", "remoteobject")
CONTENT = ("notificationcontent", "postcontent", "deliverycontent", "attempt")
# In a stream, as posts arrive: a backlog would leave room behind in the indexes of what waits.
AT_A_TIME = 2_000
LONGEST_SECONDS = 600.0
VACUUM_SECONDS = 75.0


def measure(ground: Ground) -> Section:
    count = 12_000 if ground.quick else 20_000
    with ground.stand_in() as stand_in, ground.portal(stand_in.url) as portal:
        portal.execute("ALTER SYSTEM SET autovacuum_naptime = '15s'")
        portal.execute("SELECT pg_reload_conf()")
        before = _sizes(portal)
        portal.start("worker")
        for _ in range(count // AT_A_TIME):
            portal.rows("deliveries", str(AT_A_TIME), "--distinct")
        _wait_for_tickets(portal, count)
        ground.say(f"{count:,} delivered; waiting for autovacuum")
        time.sleep(VACUUM_SECONDS)
        portal.execute("ALTER SYSTEM RESET autovacuum_naptime")
        after = _sizes(portal)
    each = {name: (after[name] - before[name]) / count for name in after}
    rows = [Row(f"{name}", f"{each[name]:,.0f} bytes a post") for name in (*LEDGER, *CONTENT)]
    ledger = sum(each[name] for name in LEDGER)
    whole = ledger + sum(each[name] for name in CONTENT)
    rows += [
        _row("delivered at the first try, search included", whole, WHOLE_GOAL),
        _row("once the content is deleted", ledger, LEDGER_GOAL),
    ]
    return Section(f"Disk, {count:,} labelled posts delivered at the first try", rows, [REMARK])


REMARK = "Tables and indexes after ordinary autovacuum. A million posts take as many megabytes as one takes bytes."


def _row(what: str, size: float, goal: int) -> Row:
    return Row(what, f"{size:,.0f} bytes a post", goal=f"<= {goal:,}", is_met=size <= goal)


def _sizes(portal: Portal) -> dict[str, int]:
    found = portal.execute(
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname = ANY(%s)",
        [f"integrations_{name}" for name in (*LEDGER, *CONTENT)],
    )
    return {name.removeprefix("integrations_"): size for name, size in found}


def _wait_for_tickets(portal: Portal, count: int) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    delivered = "SELECT count(*) FROM integrations_delivery WHERE state = 'delivered'"
    while portal.number(delivered) < count and time.monotonic() < until:
        time.sleep(0.5)
