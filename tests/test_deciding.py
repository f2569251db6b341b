"""The pure decisions: what comes after a failure, the rate limit."""

import time

import pytest

from integrations.delivery.retry import next_step
from integrations.destinations.capabilities import Budget
from integrations.flow.pause import limit_pause_seconds
from integrations.flow.rate_limit import hold_ms, interval_ms, learn_limits, take_permit
from integrations.infra.http.failure import Failure, NoPermit


def test_the_schedule_is_followed_with_a_little_jitter() -> None:
    for tries, delay in enumerate((10.0, 60.0)):
        step = next_step(Failure("x"), tries, (10.0, 60.0))
        assert step.wait is not None
        assert delay <= step.wait <= delay * 1.1
    assert next_step(Failure("x"), 2, (10.0, 60.0)).wait is None


def test_a_refusal_is_final_and_a_pause_costs_no_try() -> None:
    assert next_step(Failure("x", permanent=True), 0, (10.0,)).wait is None
    paused = next_step(Failure("x", permanent=True, pauses=True), 5, (10.0,))
    assert (paused.wait, paused.uses_a_try) == (0.0, False)


def test_a_longer_retry_after_wins_over_the_schedule_and_a_shorter_does_not() -> None:
    longer, shorter = (next_step(Failure("x", retry_after=after), 0, (10.0,)).wait for after in (300.0, 1.0))
    assert longer is not None
    assert shorter is not None
    assert longer >= 300
    assert 10 <= shorter <= 11


def test_limits_without_a_length_grow_up_to_a_quarter_of_an_hour() -> None:
    limited = Failure("x", pauses=True, limited=True)
    pauses = [limit_pause_seconds(limited, streak) or 0 for streak in (0, 1, 2, 50)]
    assert pauses == sorted(pauses)
    assert 10 <= pauses[0] <= 11
    assert 900 <= pauses[-1] <= 990
    assert limit_pause_seconds(Failure("x", pauses=True), 0) is None


def test_the_rate_limit_spreads_permits_over_the_limit_and_over_what_is_left() -> None:
    assert interval_ms([Budget(600, None, None)]) == 101
    assert interval_ms([Budget(600, 10, 60)]) == pytest.approx(6186, abs=2)
    assert interval_ms([Budget(None, 29, 60)]) is None
    assert hold_ms([Budget(600, 0, 30)]) == 30_000
    assert hold_ms([Budget(600, 0, 10**6)]) == 900_000
    assert hold_ms([Budget(600, 1, 30)]) is None


def test_permits_are_shared_and_come_one_after_another() -> None:
    take_permit(1, "account", 0.0)
    learn_limits(1, "account", [Budget(6000, None, None)])
    began = time.monotonic()
    for _ in range(11):
        take_permit(1, "account", 1.0)
    assert time.monotonic() - began > 0.09
    take_permit(2, "account", 0.0)


def test_a_permit_too_far_off_is_not_taken() -> None:
    learn_limits(1, "account", [Budget(700, 0, 40)])
    for _ in range(2):
        with pytest.raises(NoPermit) as caught:
            take_permit(1, "account", 1.0)
        assert 39 < caught.value.seconds <= 40
