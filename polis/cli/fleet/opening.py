"""What the fleet's commands share: their options, the members they are for, and how they show what happens."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from polis.cli.globals import Globals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polis.fleet.run import Setting
    from polis.fleet.spec import Fleet, Member
    from polis.paths import Paths

PARALLEL = 8
"""Members at work at the same time: what one machine's disks and one registry bear."""

File = Annotated[Path | None, typer.Option("-f", "--file", help="The fleet's file [./fleet.yaml].")]
Select = Annotated[
    str | None,
    typer.Option("--selector", metavar="KEY=VALUE,…", help="Only these members: by name=, phase= or a label; * fits."),
]
Parallel = Annotated[int, typer.Option("--parallel", min=1, max=256, help="Members at work at the same time.")]


class View(Protocol):
    """A watcher that is shown from `open` to `close`."""

    def open(self) -> None:
        """Begin."""
        ...

    def close(self) -> None:
        """End."""
        ...


def many(count: int) -> str:
    """Return so many members in words."""
    return "1 member" if count == 1 else f"{count} members"


def members_of(options: Globals, file: Path | None, selector: str | None) -> tuple[Fleet, tuple[Member, ...], Paths]:
    """Return the fleet, those of its members that are meant, and the directories.

    Raises ConfigurationError, UsageError, NotFound.
    """
    from polis import paths
    from polis.errors import UsageError
    from polis.fleet import looking
    from polis.fleet import selector as selectors
    from polis.fleet import spec as specs

    if options.name is not None:
        raise UsageError("a fleet's members have names of their own", hint="choose some with --selector name=NAME")
    wanted = selectors.parse(selector)
    fleet = specs.load(file or options.config, options.overrides)
    places = paths.find()
    gc.freeze()
    gc.enable()  # start-up is over; see polis.__main__
    remembered = looking.remembered(fleet.members, places) if wanted.asks_for_phases else {}
    chosen = selectors.select(fleet.members, wanted, lambda name: remembered[name].phase)
    return fleet, chosen, places


@contextlib.contextmanager
def shown(
    options: Globals, command: str, fleet: Fleet, members: Sequence[Member], places: Paths, parallel: int
) -> Iterator[Setting]:
    """Show what happens, in the way that suits the options and the terminal, while the members are at work."""
    from polis.fleet.run import Setting

    view: Any = _view(options, command, [member.name for member in members])
    view.open()
    try:
        yield Setting(places, fleet.file, f"fleet {command}", parallel, view, verbose=options.verbose > 0)
    finally:
        view.close()


def _view(options: Globals, command: str, names: Sequence[str]) -> View:
    from polis.cli import terminal
    from polis.cli.fleet import lines
    from polis.cli.fleet.board import Board

    if options.json:
        return lines.JsonLines()
    board = Board(command, names)
    if options.quiet or options.verbose or not terminal.can_be_drawn_on(sys.stderr):
        return lines.PlainLines(board, quiet=options.quiet)
    from polis.cli.fleet.table import LiveTable

    return LiveTable(terminal.Terminal(sys.stderr, colour=not options.no_color), board)
