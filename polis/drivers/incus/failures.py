"""Reading the tool's words: which row of the table a failed call is, and what to tell the user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers import toolcalls
from polis.drivers.incus import table

if TYPE_CHECKING:
    from polis.drivers.incus.table import Row
    from polis.drivers.incus.tool import Tool
    from polis.errors import PolisError
    from polis.process import Completed

LINES = 5
"""Lines of the tool's words in an error."""

# What it says to newcomers, and advice that names its own commands: ours is in the hint.
_NOISE = re.compile(
    r"If this is your first time|To start your first |Or for a virtual machine: |Try `.* info --show-log "
)


@dataclass(frozen=True)
class Failure:
    """What a call that failed means, in the table's terms and in the tool's own words."""

    row: Row
    verb: str
    code: int
    words: str

    def error(self, message: str, tool: Tool, *, as_type: type[PolisError] | None = None) -> PolisError:
        """Return the error for the user; `as_type` replaces the table's class where the place knows better."""
        said = self.words or f"{tool.command} {self.verb} ended with {self.code} and said nothing"
        return (as_type or self.row.error)(message, cause=said, hint=tool.hint(self.row.hint))


class ToolFailure(toolcalls.ToolFailure):
    """A call of the client failed; the driver decides what that means for the user."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.row.name, f"{failure.verb}: {failure.row.name}: {failure.words}")
        self.failure = failure


def classify(verb: str, done: Completed) -> Failure:
    """Return the meaning of a call that did not end with 0."""
    said = words(done.stderr) or words(done.stdout)
    for row in table.ROWS:
        if re.search(row.pattern, said, re.MULTILINE):
            return Failure(row, verb, done.code, said)
    return Failure(table.UNRECOGNIZED, verb, done.code, said)


def words(text: str) -> str:
    """Return the last lines of what the tool said, without progress (ended by a carriage return) and noise."""
    kept = []
    for raw in text.splitlines():
        line = raw.rpartition("\r")[2].strip()
        if line and not _NOISE.match(line):
            kept.append(line)
    return "\n".join(kept[-LINES:])
