"""What a guest wrote on its console, as lines that may be shown: nothing in it is trusted."""

from __future__ import annotations

import re
import unicodedata

WIDTH = 200
"""Characters of a line that are shown."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles
    r"|[ -/]+[0-~]|[0-~])"  # character sets, resets
)


def clean(text: str) -> str:
    """Return a line without escape sequences and control or invisible characters, cut to WIDTH."""
    plain = _ESCAPE.sub("", text)
    visible = (" " if char == "\t" else char for char in plain if char == "\t" or _shown(char))
    line = "".join(visible).strip()
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def lines(text: str) -> tuple[str, ...]:
    """Return the lines that have something in them, cleaned."""
    cleaned = (clean(line) for line in re.split(r"[\r\n]+", text))
    return tuple(line for line in cleaned if line)


def _shown(char: str) -> bool:
    # Category C holds controls, but also the marks that turn the direction of writing.
    return unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029"
