"""The figures of the overview, for the last day, week or month; kept for seconds, as many people look at once."""

from datetime import datetime, timedelta, tzinfo
from typing import Any

from integrations.infra import database_clock
from integrations.infra.kept import kept
from integrations.models import Installation
from integrations.outcomes.figures import Became, Period, became, received, sample, times
from integrations.outcomes.targets import Target, longest_span, target_rows

KEPT_SECONDS = 5
PERIODS = {
    "day": (timedelta(days=1), timedelta(hours=1)),
    "week": (timedelta(days=7), timedelta(days=1)),
    "month": (timedelta(days=30), timedelta(days=1)),
}
SETTLED_AFTER = timedelta(seconds=5)


def period_figures(name: str, zone: tzinfo) -> dict[str, Any]:
    """Of the last "day", "week" or "month", as plain data; days are those of `zone`, times text in ISO 8601.

    {"since", "until", "received", "unmatched", "delivered", "waiting", "failed", "cancelled",
    "steps": [[begins, ends, delivered, waiting, failed, cancelled]], "times": see `times`, "targets": [...]}
    """
    installation = Installation.objects.values_list("uuid", flat=True).first()
    figures: dict[str, Any] = kept(f"{installation}:{name}:{zone}", KEPT_SECONDS, lambda: _figures(name, zone))
    return figures


def _figures(name: str, zone: tzinfo) -> dict[str, Any]:
    length, step = PERIODS[name]
    # What was stored under way to now may not be visible yet; a list that opens later would have it.
    until = database_clock.now() - SETTLED_AFTER
    period = Period(until - length, until, step)
    steps = period.steps(zone)
    each = became(steps)
    came = received(period.since, until)
    targets = Target.all()
    found = sample(period.since - longest_span(targets), until)
    return {
        "since": _text(period.since),
        "until": _text(until),
        "received": came["all"],
        "unmatched": came.get("unmatched", 0),
        **dict(zip(Became._fields, (sum(column) for column in zip(*each, strict=True)), strict=True)),
        "steps": [[_text(begins), _text(ends), *counts] for (begins, ends), counts in zip(steps, each, strict=True)],
        "times": times(found, period.since, until),
        "targets": list(target_rows(targets, found, period.since, until)),
    }


def _text(moment: datetime) -> str:
    return moment.isoformat()
