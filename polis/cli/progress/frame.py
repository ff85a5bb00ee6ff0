"""The live list as lines of styled text, for a width and a height."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.cli import output
from polis.cli.progress.model import State
from polis.cli.terminal import cut
from polis.phase import ORDER

if TYPE_CHECKING:
    from rich.text import Text

    from polis.cli.progress.model import Progress, Row

BESIDE = 60
"""Columns from which there is room for a detail beside its phase; below, it stands beneath."""

MARGIN = 4
"""Columns before what stands beneath a phase."""

NAME = max(len(phase) for phase in ORDER)
SPIN = 4
"""Pictures of the spinner in a second."""

STYLES = {
    State.WAITING: "dim",
    State.AT_WORK: "cyan",
    State.DONE: "green",
    State.HELD: "green",
    State.LEFT: "dim",
    State.FAILED: "bold red",
    State.INTERRUPTED: "yellow",
}

_PATH = re.compile(r"(?<=\] )\S+/")
"""What stands before a counted thing's own name."""


@dataclass(frozen=True)
class Alphabet:
    """The marks of the states, the spinner's pictures, and what stands for what was cut off."""

    marks: dict[State, str]
    spinner: str
    ellipsis: str


FULL = Alphabet(
    {
        State.WAITING: "·",
        State.DONE: "✓",
        State.HELD: "✓",
        State.LEFT: "–",  # noqa: RUF001 -- a dash as wide as the other marks
        State.FAILED: "✗",
        State.INTERRUPTED: "!",
    },
    "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    "…",
)
ASCII = Alphabet(
    {
        State.WAITING: ".",
        State.DONE: "+",
        State.HELD: "+",
        State.LEFT: "-",
        State.FAILED: "x",
        State.INTERRUPTED: "!",
    },
    "|/-\\",
    "...",
)


@dataclass(frozen=True)
class Sheet:
    """What is drawn on: columns that may be used, and its characters."""

    width: int
    alphabet: Alphabet

    def line(self, *parts: tuple[str, str]) -> Text:
        """Return a line of texts with their styles, cut where the width ends."""
        from rich.cells import cell_len
        from rich.text import Text

        line, room = Text(), self.width
        for words, style in parts:
            shown = cut(output.printable(output.one_line(words)), room, self.alphabet.ellipsis)
            line.append(shown, style)
            room -= cell_len(shown)
            if room <= 0:
                break
        return line


def lines(progress: Progress, now: float, sheet: Sheet, height: int | None = None) -> list[Text]:
    """Return the list at a time; where `height` lines are too few, without what can best be missed."""
    ranked = [(1, _header(progress, now, sheet))]
    busy = progress.at_work
    for row in progress.rows.values():
        ranked += _row(row, progress, now, sheet, is_focus=row is busy)
    room = len(ranked) if height is None else max(1, height)
    while len(ranked) > room:
        ranked.remove(max(ranked, key=lambda each: each[0]))
    return [line for _, line in ranked]


def clock(seconds: float) -> str:
    """Return a duration in seconds as minutes and seconds."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _header(progress: Progress, now: float, sheet: Sheet) -> Text:
    aim = f" to {progress.target}" if progress.command in ("up", "reset") else ""
    style = {"done": "green", "failed": "bold red"}.get(progress.outcome, "yellow")
    return sheet.line(
        (f"{progress.command}{aim}", "bold"),
        (f"  {clock(progress.elapsed(now))}", ""),
        (f"  {progress.outcome}", style),
    )


def _row(row: Row, progress: Progress, now: float, sheet: Sheet, *, is_focus: bool) -> list[tuple[int, Text]]:
    """Return the lines of one phase, each with how well it can be missed: 0 not at all."""
    seconds = row.elapsed(now)
    head = (
        (f"{_mark(row, now, sheet.alphabet)} ", STYLES[row.state] if row.retry is None else "yellow"),
        (f"{row.phase:<{NAME}}", "dim" if row.state is State.WAITING else ""),
        (f"  {clock(seconds) if seconds is not None else '':<5}  ", "dim"),
    )
    words, style = _words(row, progress, now), _detail_style(row)
    if row.state is not State.AT_WORK or sheet.width >= BESIDE:
        room = sheet.width - sum(len(text) for text, _ in head)
        beside, beneath = _shortened(words, room, sheet.alphabet.ellipsis) if _is_counted(row) else words, []
    else:
        text = _PATH.sub("", words) if _is_counted(row) and len(words) > sheet.width - MARGIN else words
        beside, beneath = "", [sheet.line((" " * MARGIN, ""), (line, style)) for line in _wrap(text, sheet, MARGIN, 2)]
    reason = row.retry.reason if row.retry is not None else ""
    beneath += [
        sheet.line(("    | ", "dim"), (line, "dim"))
        for line in _wrap(reason, sheet, MARGIN + 2, 2 if sheet.width >= BESIDE else 5)
    ]
    least = 2 if is_focus else 20
    return [
        (0 if is_focus else _dispensable(row), sheet.line(*head, (beside, style))),
        *((least + number, line) for number, line in enumerate(beneath)),
    ]


def _is_counted(row: Row) -> bool:
    return row.state is State.AT_WORK and row.retry is None and bool(row.total)


def _wrap(text: str, sheet: Sheet, indent: int, count: int) -> list[str]:
    """Return the text on so many lines at most."""
    clean = output.printable(output.one_line(text))
    ending = f" {sheet.alphabet.ellipsis}"
    return textwrap.wrap(clean, max(8, sheet.width - indent), max_lines=count, placeholder=ending)


def _words(row: Row, progress: Progress, now: float) -> str:
    again = f" after {row.retries} {'retry' if row.retries == 1 else 'retries'}" if row.retries else ""
    match row.state:
        case State.WAITING:
            return "not asked for" if progress.command == "up" and row.phase.rank > progress.target.rank else ""
        case State.AT_WORK:
            return row.retry.words(now) if row.retry is not None else row.news
        case State.DONE:
            return again.strip()
        case State.HELD:
            holds = row.state.value if progress.command == "up" else "holds"
            return holds if row.phase.rank else ""  # of nothing, nothing holds
        case _:
            return f"{row.state}{again}"


def _mark(row: Row, now: float, alphabet: Alphabet) -> str:
    spinning = alphabet.spinner[int(now * SPIN) % len(alphabet.spinner)]
    return alphabet.marks.get(row.state, spinning)


def _detail_style(row: Row) -> str:
    if row.retry is not None:
        return "yellow"
    return "" if row.state is State.AT_WORK else STYLES[row.state].replace("green", "dim")


def _dispensable(row: Row) -> int:
    """Return how well a phase's line can be missed: what is to come best, then what was first done."""
    if row.state in (State.FAILED, State.INTERRUPTED, State.AT_WORK):
        return 1
    return 10 + row.phase.rank if row.state is State.WAITING else 9 - row.phase.rank


def _shortened(text: str, room: int, ellipsis: str) -> str:
    """Return a counted detail within the room: without the path of a name, then without its middle.

    Its end says how much has arrived, so it is not cut there.
    """
    if len(text) > room:
        text = _PATH.sub("", text)
    if len(text) <= room or room <= len(ellipsis) + 2:
        return text
    tail = (room - len(ellipsis)) // 2
    return text[: room - len(ellipsis) - tail] + ellipsis + text[-tail:]
