"""What people and scripts see while a command works: a live list on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from polis.cli import output

if TYPE_CHECKING:
    from polis.events import Sink


def sink(*, json: bool = False, quiet: bool = False, no_color: bool = False, lines: bool = False) -> Sink:
    """Return the sink that suits the options and what stderr is: the list needs a terminal that can be drawn on.

    And one of its own: not where other `lines` are written to it meanwhile.
    """
    from polis.cli import terminal
    from polis.cli.progress.heartbeat import Heartbeat

    if json:
        return Heartbeat(output.JsonLines())
    if quiet:
        return output.PlainLines(quiet=True)
    if lines or not terminal.can_be_drawn_on(sys.stderr):
        return Heartbeat(output.PlainLines())
    from polis.cli.progress.live import LiveList

    return LiveList(terminal.Terminal(sys.stderr, colour=not no_color))
