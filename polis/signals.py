"""What a signal means to polis: the first asks it to stop cleanly, the second ends it at once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_EXIT_BASE = 128


def install() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into a KeyboardInterrupt that names the signal.

    KeyboardInterrupt, because no handler of ordinary errors catches it. A second signal ends the process without
    another word; the record in flight tells the next command what happened.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _first)


def _first(number: int, _frame: FrameType | None) -> NoReturn:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        other = getattr(signal, name, None)
        if other is not None:
            signal.signal(other, _second)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _second(number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(_EXIT_BASE + number)
