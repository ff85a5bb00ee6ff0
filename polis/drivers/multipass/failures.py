"""Reading the tool's words: which row of the table a failed call is, and what to tell the user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers import toolcalls
from polis.drivers.multipass import table

if TYPE_CHECKING:
    from polis.drivers.multipass.host import Host
    from polis.drivers.multipass.rows import Row
    from polis.errors import PolisError
    from polis.process import Completed

LINES = 5
"""Lines of the tool's words in an error."""

# Log lines of the daemon's own downloads come with every call on a machine without internet, also when it succeeds.
_NOISE = re.compile(
    r"^\[[0-9T:.+-]+\] \[\w+\] \[(?!client\]|sftp\]|ssh).*$"
    r"|^The following errors occurred:$|^\*\*\* Warning! .*$"
    r"|^Detected locale .*|^Qt depends on a UTF-8 locale.*|^If this causes problems, reconfigure.*"
    r"|^for more information\.$",
)
_PREFIX = re.compile(r"^(\w+ failed: )The following errors occurred:$")


@dataclass(frozen=True)
class Failure:
    """What a call that failed means, in the table's terms and in the tool's own words."""

    row: Row
    verb: str
    code: int
    words: str

    def error(
        self, message: str, host: Host, *, remains: str = "", as_type: type[PolisError] | None = None
    ) -> PolisError:
        """Return the error for the user; `as_type` replaces the table's class where the place knows better."""
        words = self.words or f"multipass {self.verb} ended with {self.code} and said nothing"
        kind = as_type or self.row.error
        return kind(message, cause=words, remains=remains, hint=host.pick(self.row.hint))


class ToolFailure(toolcalls.ToolFailure):
    """A call of the client failed; the driver decides what that means for the user."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.row.name, f"{failure.verb}: {failure.row.name}: {failure.words}")
        self.failure = failure


def classify(verb: str, done: Completed) -> Failure:
    """Return the meaning of a call that did not end with 0."""
    said = words(done.stderr) or words(done.stdout)
    for row in table.ROWS:
        if (not row.codes or done.code in row.codes) and re.search(row.pattern, said):
            return Failure(row, verb, done.code, said)
    return Failure(table.KILLED if done.code < 0 else table.UNRECOGNIZED, verb, done.code, said)


def words(text: str) -> str:
    """Return the last lines of what the tool said, without the noise and without repetition."""
    kept: list[str] = []
    for raw in _without_terminal(text).splitlines():
        line = _PREFIX.sub(r"\1", raw.rstrip())
        if kept and kept[-1].endswith(" failed: "):
            line = kept.pop() + line.lstrip()
        if line.strip() and line not in kept and not _NOISE.match(line):
            kept.append(line)
    return "\n".join(line.rstrip() for line in kept[-LINES:])


def _without_terminal(text: str) -> str:
    """Drop what the spinner writes: erased lines, cursor movements, and characters that backspaces take back."""
    text = re.sub(r"[^\n]*\x1b\[2K", "", text)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return re.sub(r".?\x08", "", text).replace("\r", "")
