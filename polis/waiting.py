"""Waiting for something to become true: one helper, so that no module sleeps on its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from polis import interruption

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(
    condition: Callable[[float], T | None],
    *,
    timeout: float,
    interval: float = 0.2,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = interruption.sleep,
) -> T | None:
    """Return the first true value of `condition`, or None once `timeout` seconds are over.

    `condition` is given the seconds that are left and is asked at least once; between two questions `interval`
    seconds pass. What it raises goes through.
    """
    deadline = clock() + timeout
    while True:
        if answer := condition(max(0.0, deadline - clock())):
            return answer
        left = deadline - clock()
        if left <= 0:
            return None
        sleep(min(interval, left))
