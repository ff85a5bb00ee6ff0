"""What a stream's terminal can show: its size, its characters, its colours."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.text import Text

USUAL_SIZE = (80, 24)


def can_be_drawn_on(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether it is a terminal that understands cursor movements."""
    if not stream.isatty():
        return False
    if sys.platform == "win32":
        from rich.console import detect_legacy_windows

        return not detect_legacy_windows()
    kind = (os.environ if environ is None else environ).get("TERM", "")
    return kind.lower() not in ("", "dumb", "unknown")


class Terminal:
    """Writes styled text to a stream. `size` returns columns and lines, for tests."""

    def __init__(
        self, stream: TextIO, *, colour: bool = True, size: Callable[[], tuple[int, int]] | None = None
    ) -> None:
        from rich.console import Console

        self.stream = stream
        self._size = size
        # NO_COLOR counts whatever the option says; rich reads it where it is given no answer.
        self._console = Console(file=stream, force_terminal=True, no_color=None if colour else True, highlight=False)

    @property
    def is_plain(self) -> bool:
        """Return whether its encoding lacks the characters of marks and ellipsis."""
        try:
            "✓✗⠋…·–".encode(self.stream.encoding or "ascii")  # noqa: RUF001 -- the dash of what was left
        except (LookupError, UnicodeEncodeError):
            return True
        return False

    def size(self) -> tuple[int, int]:
        """Return columns and lines as they are now."""
        if self._size is not None:
            return self._size()
        try:
            columns, lines = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return USUAL_SIZE
        return (columns, lines) if columns > 0 and lines > 0 else USUAL_SIZE  # a serial line knows no size

    def paint(self, text: Text) -> str:
        """Return the text with the terminal's codes for its styles, on the lines that it has."""
        with self._console.capture() as captured:
            self._console.print(text, end="", no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
        painted = captured.get()
        encoding = self.stream.encoding or "ascii"
        return painted.encode(encoding, "replace").decode(encoding)


def cut(text: str, width: int, ellipsis: str) -> str:
    """Return the text within so many columns; what was cut off shows as the ellipsis."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    room = width - len(ellipsis)
    return set_cell_size(text, room).rstrip() + ellipsis if room > 0 else set_cell_size(text, max(0, width))
