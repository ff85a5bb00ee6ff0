"""Trying again what may be gone next time: exponential backoff with full jitter, capped, with a total deadline."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from polis import interruption
from polis.errors import PolisError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


@dataclass(frozen=True)
class Backoff:
    """How often and how long to try. `base`, `cap` and `deadline` are seconds."""

    attempts: int = 6
    base: float = 2.0
    cap: float = 60.0
    deadline: float = 600.0

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after the given failed attempt (1 is the first): full jitter.

        Full jitter spreads clients over the whole interval, so that a recovering registry is not hit by all at once.
        """
        ceiling = min(self.cap, self.base * 2.0 ** (attempt - 1))
        return ceiling * draw()


def call(
    action: Callable[[], Result],
    backoff: Backoff,
    *,
    on_retry: Callable[[PolisError, int, float], None],
    sleep: Callable[[float], None] = interruption.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Return the action's result, trying again while its error says that it is retryable.

    `on_retry` gets the error, the number of the failed attempt, and the seconds until the next. The last error is
    raised with the number of attempts made; one that is not retryable at once.
    """
    begun = clock()
    attempt = 1
    while True:
        try:
            return action()
        except PolisError as error:
            error.attempts = attempt
            delay = backoff.delay(attempt)
            spent = clock() - begun
            if not error.retryable or attempt >= backoff.attempts or spent + delay > backoff.deadline:
                raise
            on_retry(error, attempt, delay)
            sleep(delay)
            attempt += 1
