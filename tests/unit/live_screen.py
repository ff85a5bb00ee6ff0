"""A terminal in memory: what is written to it is on its screen, cursor movements and all."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pyte

from polis import events
from polis.cli.progress.live import LiveList
from polis.cli.terminal import Terminal


class Wire(io.StringIO):
    """A stream that says it is a terminal, and shows what is written on a screen."""

    def __init__(self, screen: pyte.Screen, encoding: str = "utf-8") -> None:
        super().__init__()
        self._stream = pyte.Stream(screen)
        self._encoding = encoding
        self.written: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of a StringIO it is read-only too, but None
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        self.written.append(text)
        self._stream.feed(text.replace("\r\n", "\n").replace("\n", "\r\n"))  # as the line discipline does
        return len(text)


@dataclass
class Clock:
    """A clock that goes where it is put, in seconds."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A live list on a screen of a size; time passes as the scene says."""

    def __init__(self, columns: int, lines: int = 24, *, encoding: str = "utf-8", colour: bool = True) -> None:
        self.columns, self.height = columns, lines
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.wire = Wire(self.screen, encoding)
        self.clock = Clock()
        terminal = Terminal(self.wire, colour=colour, size=lambda: (self.columns, self.height))
        self.sink = LiveList(terminal, clock=self.clock, interval=None)

    def tell(self, *told: events.Event, after: float = 0.0) -> None:
        """Let seconds pass, then events happen, then what is drawn four times a second be drawn."""
        self.clock.now += after
        for event in told:
            self.sink.take(event)
        if self.sink._is_drawing:
            self.sink.draw()

    def resize(self, columns: int, lines: int) -> None:
        self.columns, self.height = columns, lines
        self.screen.resize(lines, columns)

    @property
    def shown(self) -> list[str]:
        """Return the lines on the screen, without the empty ones at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")
