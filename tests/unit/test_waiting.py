"""The one helper that waits."""

from __future__ import annotations

import pytest

from polis.waiting import wait_until


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_the_first_true_value_is_returned() -> None:
    clock, answers = Clock(), iter([None, "", "yes"])
    assert wait_until(lambda _: next(answers), timeout=9, interval=2, clock=clock, sleep=clock.sleep) == "yes"
    assert clock.slept == [2, 2]


def test_the_time_left_is_passed_and_the_last_pause_is_short() -> None:
    clock = Clock()
    left: list[float] = []
    assert wait_until(left.append, timeout=5, interval=2, clock=clock, sleep=clock.sleep) is None
    assert left == [5, 3, 1, 0]
    assert clock.slept == [2, 2, 1]


def test_it_asks_at_least_once() -> None:
    assert wait_until(lambda _: True, timeout=0) is True
    assert wait_until(lambda _: True, timeout=-1) is True


def test_errors_go_through() -> None:
    def broken(_: float) -> bool:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        wait_until(broken, timeout=1)
