from __future__ import annotations

import itertools

import pytest

from polis import retry
from polis.errors import ImageRefused, PolisError, RegistryUnavailable
from polis.retry import Backoff


class World:
    """A clock that only sleeping moves, and an action that fails a given number of times."""

    def __init__(self, failures: int, error: type[PolisError] = RegistryUnavailable) -> None:
        self.now = 0.0
        self.calls = 0
        self.slept: list[float] = []
        self._failures = failures
        self._error = error

    def action(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error("no")
        return "yes"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def run(self, backoff: Backoff) -> str:
        return retry.call(self.action, backoff, on_retry=lambda *_: None, sleep=self.sleep, clock=lambda: self.now)


def test_a_transient_failure_is_tried_again() -> None:
    world = World(failures=2)
    assert world.run(Backoff(attempts=3)) == "yes"
    assert world.calls == 3


def test_the_last_error_is_raised_with_the_number_of_attempts() -> None:
    world = World(failures=99)
    with pytest.raises(RegistryUnavailable) as caught:
        world.run(Backoff(attempts=4))
    assert (world.calls, caught.value.attempts) == (4, 4)


def test_a_final_answer_is_not_asked_for_again() -> None:
    world = World(failures=99, error=ImageRefused)
    with pytest.raises(ImageRefused):
        world.run(Backoff(attempts=4))
    assert (world.calls, world.slept) == (1, [])


def test_no_wait_goes_beyond_the_deadline() -> None:
    world = World(failures=10**6)
    with pytest.raises(RegistryUnavailable):
        world.run(Backoff(attempts=10**6, base=1, cap=10, deadline=100))
    assert world.now <= 100


def test_delays_grow_are_capped_and_fill_their_interval() -> None:
    backoff = Backoff(base=2, cap=60)
    longest = [backoff.delay(attempt, draw=lambda: 1.0) for attempt in range(1, 9)]
    assert longest == [2, 4, 8, 16, 32, 60, 60, 60]
    drawn = itertools.count()
    assert [backoff.delay(3, draw=lambda: next(drawn) / 4) for _ in range(4)] == [0, 2, 4, 6]


def test_the_cause_of_each_retry_is_told() -> None:
    told: list[tuple[str, int, float]] = []
    world = World(failures=2)
    retry.call(
        world.action,
        Backoff(attempts=3),
        on_retry=lambda error, attempt, delay: told.append((str(error), attempt, delay)),
        sleep=world.sleep,
    )
    assert [(text, attempt) for text, attempt, _ in told] == [("no", 1), ("no", 2)]
    assert [delay for _, _, delay in told] == world.slept
