"""How fast one worker process turns waiting deliveries into tickets, with a slow Zendesk and with a limited one."""

import time

from bench.ground import Ground, Portal, StandIn
from bench.report import Row, Section

GOALS = {0: None, 100: 100.0, 300: 40.0}
LIMIT = 700
LIMIT_GOAL = 0.95
LONGEST_SECONDS = 90.0


def measure(ground: Ground) -> Section:
    rows = [row for milliseconds, goal in GOALS.items() for row in _without_limit(ground, milliseconds, goal)]
    rows += _under_the_limit(ground)
    return Section("Draining, one worker process", rows)


def _without_limit(ground: Ground, milliseconds: int, goal: float | None) -> list[Row]:
    count = 400 if ground.quick else {0: 1000, 100: 1000, 300: 600}[milliseconds]
    with ground.stand_in() as stand_in, ground.portal(stand_in.url) as portal:
        stand_in.delay(milliseconds)
        portal.rows("deliveries", str(count))
        portal.start("worker", "beat")
        _wait_for_tickets(portal, count, LONGEST_SECONDS)
        rate = portal.number(
            "SELECT count(*) / extract(epoch FROM max(delivered_at) - min(started_at)) FROM integrations_delivery d"
            " JOIN integrations_attempt a ON a.delivery_id = d.id WHERE state = 'delivered' AND outcome = 'delivered'"
        )
        exactly, counted = _exactly_once(stand_in, count)
    ground.say(f"Zendesk of {milliseconds} ms: {rate:.0f} tickets/s, {counted}")
    return [
        Row(
            f"Zendesk of {milliseconds} ms, no limit",
            f"{rate:.0f} tickets/s",
            goal=f">= {goal:.0f}/s" if goal else "",
            is_met=float(rate) >= goal if goal else None,
        ),
        Row(f"... tickets for {count} deliveries", counted, goal="exactly one each", is_met=exactly),
    ]


def _under_the_limit(ground: Ground) -> list[Row]:
    seconds = 60 if ground.quick else 90
    count = LIMIT * seconds // 60 + 100
    with ground.stand_in(rate_limit=LIMIT) as stand_in, ground.portal(stand_in.url) as portal:
        portal.rows("deliveries", str(count))
        portal.start("worker", "beat")
        _wait_for_tickets(portal, 1, 30)
        until = portal.number("SELECT min(started_at) + %s * interval '1 second' FROM integrations_attempt", seconds)
        _wait_until_the_database_says(portal, until)
        made = portal.number("SELECT count(*) FROM integrations_delivery WHERE delivered_at <= %s", until)
        refused = stand_in.statuses().count(429)
        waited = portal.number("SELECT count(*) FROM integrations_attempt WHERE outcome = 'waited'")
        portal.end()
        ids = stand_in.external_ids()
    possible = LIMIT * seconds // 60
    ground.say(f"limit of {LIMIT} a minute: {made} of {possible} in {seconds} s, {refused} refused with 429")
    return [
        Row(
            f"limit of {LIMIT} a minute, {seconds} s",
            f"{made} tickets",
            f"{possible} possible",
            f"{made / possible:.1%}",
            f">= {LIMIT_GOAL:.0%}",
            made / possible >= LIMIT_GOAL,
        ),
        Row("... refused with 429", str(refused), goal="<= 1", is_met=refused <= 1),
        Row("... tickets made twice", str(len(ids) - len(set(ids))), goal="0", is_met=len(ids) == len(set(ids))),
        Row("... tries that only waited", str(waited)),
    ]


def _wait_for_tickets(portal: Portal, count: int, seconds: float) -> None:
    """Bounded; what is not delivered by then shows in the figures."""
    until = time.monotonic() + seconds
    delivered = "SELECT count(*) FROM integrations_delivery WHERE state = 'delivered'"
    while portal.number(delivered) < count and time.monotonic() < until:
        time.sleep(0.2)


def _wait_until_the_database_says(portal: Portal, moment: object) -> None:
    left = float(portal.number("SELECT extract(epoch FROM %s - now())", moment))
    time.sleep(max(left, 0.0) + 1.0)


def _exactly_once(stand_in: StandIn, count: int) -> tuple[bool, str]:
    ids = stand_in.external_ids()
    return len(ids) == len(set(ids)) == count, f"{len(ids)} tickets, {len(ids) - len(set(ids))} twice"
