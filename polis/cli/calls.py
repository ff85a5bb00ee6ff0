"""What `-v` adds: a line on stderr when the driver is called, and one when it is done."""

from __future__ import annotations

import time

from polis import events
from polis.cli import output


class CallLines:
    """A sink that shows calls of the driver, and nothing else."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def take(self, event: events.Event) -> None:
        """Print the event if it is such a call. Raises BrokenPipeError if nobody reads stderr any more."""
        if isinstance(event, events.DriverCalled):
            elapsed = time.monotonic() - self._begun
            output.say(f"{int(elapsed) // 60:02d}:{elapsed % 60:06.3f}  {output.one_line(told(event))}")


def told(event: events.DriverCalled) -> str:
    """Return the call in words: how it ended, if it has.

    >>> told(events.DriverCalled(call="stop", words="polis", outcome="done", duration_s=1.25))
    'stop (polis): done in 1.250 s'
    """
    what = f"{event.call} ({event.words})" if event.words else event.call
    if event.duration_s is None:
        return f"{what}: {event.outcome}"
    return f"{what}: {event.outcome} in {event.duration_s:.3f} s" + (f": {event.reason}" if event.reason else "")
