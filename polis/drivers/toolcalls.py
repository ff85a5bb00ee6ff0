"""What the drivers have in common that work through another program's client: its failures, and trying again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from polis import interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Result = TypeVar("Result")


class Unreadable(Exception):
    """The tool printed something else than what was asked for."""


class ToolFailure(Exception):
    """A call of the client failed; `name` is the row of the driver's table that says what that means."""

    def __init__(self, name: str, said: str) -> None:
        super().__init__(said)
        self.name = name


def patiently(
    action: Callable[[], Result],
    rows: Collection[str],
    seconds: float,
    *,
    pause: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = interruption.sleep,
) -> Result:
    """Return the action's result, trying again for `seconds` while it fails with one of `rows`. Raises ToolFailure."""
    until = clock() + seconds
    while True:
        try:
            return action()
        except ToolFailure as failed:
            if failed.name not in rows or clock() + pause > until:
                raise
        sleep(pause)
