"""A fleet's command on a terminal: counts on top, then what failed, what is at work, and as much else as fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis import events
from polis.cli import output
from polis.cli.fleet.board import Board, Row, counted
from polis.cli.fleet.opening import many
from polis.cli.progress import frame
from polis.cli.progress.live import LiveList
from polis.cli.progress.model import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from polis.cli.progress.frame import Sheet
    from polis.cli.terminal import Terminal
    from polis.fleet.outcome import Outcome

NAME_LIMIT = 24
"""Columns of a member's name at most."""

PHASE = max(len(phase) for phase in ("images-pulled", "configured"))


class LiveTable(LiveList):
    """Draws from the command's start to its end, in the way of the list of a single workspace."""

    def __init__(self, terminal: Terminal, board: Board, *, interval: float | None = 0.25) -> None:
        super().__init__(terminal, interval=interval)
        self._board = board
        self._said: set[str] = set()

    def open(self) -> None:
        """Draw from now on."""
        self._begin()

    def begun(self, member: str) -> None:
        """See `polis.fleet.run.Watcher`."""
        self._board.begin(member)

    def happened(self, member: str, event: events.Event) -> None:
        """See `polis.fleet.run.Watcher`; what must stay is shown above the table, the same words once for all."""
        self._board.take(member, event)
        words = output.words(event) if isinstance(event, events.Warned | events.DriftFound | events.Disclosed) else ""
        with self._board.lock:
            is_new = bool(words) and words not in self._said
            self._said.add(words)
        if is_new:
            self._add(f"{member}: {words}", "" if isinstance(event, events.Disclosed) else "yellow")

    def ended(self, outcome: Outcome) -> None:
        """See `polis.fleet.run.Watcher`."""
        self._board.end(outcome)

    def _lines(self, width: int, height: int | None) -> list[Text]:
        alphabet = frame.ASCII if self._terminal.is_plain else frame.FULL
        # Also at the end: a table of thousands is no use on a terminal, and `fleet status` has it.
        room = height if height is not None else self._terminal.size()[1]
        return lines(self._board, frame.Sheet(max(1, width - 1), alphabet), max(2, room - 1))


def lines(board: Board, sheet: Sheet, height: int) -> list[Text]:
    """Return the table, in no more than so many lines."""
    with board.lock:
        now = board.now()
        rows = _shown(board, height - 1)
        name = min(NAME_LIMIT, max((len(row.member) for row in rows), default=0))
        table = [_header(board, sheet), *(_row(row, now, sheet, name) for row in rows)]
        left = len(board.rows) - len(rows)
        if left and len(table) < height:
            table.append(sheet.line((f"  {sheet.alphabet.ellipsis} and {left} more", "dim")))
        return table


def _shown(board: Board, room: int) -> Sequence[Row]:
    """Return the rows that are shown: all in their order where they fit, else the most important ones."""
    if len(board.rows) <= room:
        return list(board.rows.values())
    room = max(1, room - 1)  # for the line that tells of the others
    first = [*board.failed.values(), *board.at_work.values()]
    if len(first) < room:
        known = {row.member for row in first}
        rest = (row for row in board.rows.values() if row.member not in known)
        first += [row for row, _ in zip(rest, range(room - len(first)), strict=False)]
    elif board.failed and board.at_work:  # of both something, however many failed
        working = list(board.at_work.values())[: room // 2]
        first = [*list(board.failed.values())[: room - len(working)], *working]
    return first[:room]


def _header(board: Board, sheet: Sheet) -> Text:
    parts = [(f"fleet {board.command}", "bold"), (f"  {frame.clock(board.elapsed())}", "")]
    parts.append((f"  {many(len(board.rows))}:", ""))
    told = counted(board.counts)
    for index, (word, count) in enumerate(told):
        comma = "," if index + 1 < len(told) else ""
        parts.append((f" {count} {word}{comma}", _STYLES.get(word, "green")))
    return sheet.line(*parts)


_STYLES = {"at work": "cyan", "waiting": "dim", "failed": "bold red", "interrupted": "yellow", "kept": "yellow"}


def _row(row: Row, now: float, sheet: Sheet, name: int) -> Text:
    seconds = row.elapsed(now)
    spinner = sheet.alphabet.spinner
    mark = sheet.alphabet.marks.get(row.state, spinner[int(now * frame.SPIN) % len(spinner)])
    style = "yellow" if row.is_retrying else frame.STYLES[row.state]
    plain = {State.AT_WORK: "", State.DONE: "dim", State.WAITING: "dim"}.get(row.state, style)
    return sheet.line(
        (f"{mark} ", style),
        (f"{row.member:<{name}}", "dim" if row.state is State.WAITING else ""),
        (f"  {row.phase:<{PHASE}}", "dim"),
        (f"  {frame.clock(seconds) if seconds is not None else '':<5}  ", "dim"),
        (row.detail, plain if not row.is_retrying else "yellow"),
    )
