"""An account that hangs holds its share of the threads, and no more."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from integrations.jobs.in_flight import slot


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def takes_all_it_may(held: ExitStack, account: str, most: int = 100) -> int:
    """How many threads an account gets that takes one after another and gives none back."""
    taken = 0
    while taken < most and held.enter_context(slot(account)):
        taken += 1
    return taken


@pytest.fixture(autouse=True)
def thirty_two_threads(settings: Any) -> None:
    settings.WORKER_CONCURRENCY = 32


def test_an_account_alone_gets_half_of_the_threads(held: ExitStack) -> None:
    assert takes_all_it_may(held, "one") == 16


@pytest.mark.parametrize("hanging", [1, 2, 3])
def test_however_many_hang_others_find_free_threads(held: ExitStack, hanging: int) -> None:
    taken = sum(takes_all_it_may(held, f"hanging {number}") for number in range(hanging))
    assert taken < 32
    assert takes_all_it_may(held, "healthy") >= 2


def test_each_account_gets_at_least_one(held: ExitStack) -> None:
    for number in range(40):
        assert takes_all_it_may(held, f"account {number}", most=1) == 1


def test_what_is_given_back_can_be_taken_again() -> None:
    for _ in range(2):
        with ExitStack() as held:
            assert takes_all_it_may(held, "one") == 16
