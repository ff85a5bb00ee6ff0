"""What is run in the guest, and how its answer is read: pure functions.

`multipass exec` passes a command's exit code on, so its own failures (1, 2) cannot be told from the command's, 4 makes
it run the command again without end, and a stopped instance is started with a spinner on stdout. So the command
runs under a small script that always ends with 0: it marks on both streams where the command's output begins, and on
stderr, last, its exit code. What stands before a mark is the tool's, not the command's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KILL_AFTER = 5
"""Seconds between SIGTERM and SIGKILL for a guest command that outlived its limit."""

INLINE = 2048
"""Bytes of both streams together that are printed where a pipe may hang; more is left in files."""

# The shell's own stderr leads nowhere meanwhile: it would report "Terminated" there for a command ended by a signal
# (dash redirects in the waiting shell itself, hence the subshell). timeout(1) ends the command's whole process group,
# and hands its exit code or signal through.
_STREAMED = (
    'n=$1 t=$2; shift 2; echo "$n+"; echo "$n+" >&2; exec 3>&2 2>/dev/null; '
    f'(exec timeout -k {KILL_AFTER} "$t" "$@" 2>&3 3>&-); '
    'echo "$n=$?" >&3; exit 0'
)

_FILED = (
    'n=$1 t=$2; shift 2; echo "$n+"; echo "$n+" >&2; '
    'd=$(mktemp -d) || { echo "$n=73" >&2; exit 0; }; exec 3>&2 2>/dev/null; '
    f'(exec timeout -k {KILL_AFTER} "$t" "$@" >"$d/out" 2>"$d/err" 3>&-); c=$?; '
    f'if [ "$(cat "$d/out" "$d/err" | wc -c)" -le {INLINE} ]; '
    'then cat "$d/out"; cat "$d/err" >&3; rm -rf "$d"; echo "$n=$c" >&3; else echo "$n=$c $d" >&3; fi; exit 0'
)

# For `polis shell`: nothing may be printed, so a code of 4 is left in a file and replaced.
_INTERACTIVE = 'f=$1; shift; "$@"; c=$?; [ "$c" -ne 4 ] || { : >"$f"; c=104; }; exit "$c"'
REPLACED = 104

# A directory that only we can enter, beside the target and so on its file system: `transfer` gives a file the mode of
# the local one, or 0664. Those that a killed push left are removed after an hour.
_PREPARE = (
    'set -eu; for old in "$1".polis-*; do '
    '[ -z "$(find "$old" -maxdepth 0 -mmin +60 2>/dev/null)" ] || rm -rf -- "$old"; done; mkdir -m 700 -- "$1.polis-$2"'
)
_PLACE = (
    'set -eu; d="$1.polis-$4" f="$1.polis-$4/file"; trap \'rm -rf -- "$d"\' EXIT; '
    'printf "%s  %s\\n" "$2" "$f" | sha256sum --check --status - || { echo "arrived damaged" >&2; exit 74; }; '
    'chmod "$3" "$f"; sync "$f"; mv -fT -- "$f" "$1"'
)

DAMAGED = 74
"""Exit code of `place` if the file is not what was sent."""


@dataclass(frozen=True)
class Answer:
    """What the marks tell: whether the command was started, its exit code if it ended, where long output lies."""

    begun: bool
    code: int | None
    stdout: str
    stderr: str
    directory: str = ""


def wrapped(argv: Sequence[str], *, nonce: str, limit: float, filed: bool) -> list[str]:
    """Return the guest command that runs `argv` for at most `limit` seconds; `filed` where pipes may hang."""
    return ["sh", "-c", _FILED if filed else _STREAMED, "polis", nonce, f"{limit:.3f}", *argv]


def interactive(argv: Sequence[str], *, file: str) -> list[str]:
    """Return the guest command that runs `argv` on a terminal, and `file`'s existence tells 4 from REPLACED."""
    return ["sh", "-c", _INTERACTIVE, "polis", file, *argv]


def prepare(*, target: str, nonce: str) -> list[str]:
    """Return the guest command that makes the private directory for a file on its way to `target`."""
    return ["sh", "-c", _PREPARE, "polis-push", target, nonce]


def staged(*, target: str, nonce: str) -> str:
    """Return where a file on its way to `target` is put first."""
    return f"{target}.polis-{nonce}/file"


def place(*, target: str, sha256: str, mode: int, nonce: str) -> list[str]:
    """Return the guest command that checks the staged file and puts it into place."""
    return ["sh", "-c", _PLACE, "polis-push", target, sha256, f"{mode:o}", nonce]


def discard(*, target: str, nonce: str) -> list[str]:
    """Return the guest command that removes a staged file."""
    return ["rm", "-rf", "--", f"{target}.polis-{nonce}"]


def read(stdout: str, stderr: str, nonce: str) -> Answer:
    """Take the marks out of what the client printed, and what stands before them."""
    before, mark, said = stderr.partition(f"{nonce}+\n")
    if not mark:
        return Answer(begun=False, code=None, stdout="", stderr=before)
    output = stdout.partition(f"{nonce}+\n")[2]
    ended = re.search(rf"{nonce}=(\d+)(?: (.+))?\n?", said)
    if ended is None:
        return Answer(begun=True, code=None, stdout=output, stderr=said)
    rest = said[: ended.start()] + said[ended.end() :]
    return Answer(begun=True, code=int(ended[1]), stdout=output, stderr=rest, directory=ended[2] or "")


class AfterMark:
    """Passes on the lines that come after the mark: what comes before is a spinner's."""

    def __init__(self, nonce: str, on_line: Callable[[str], None]) -> None:
        self._mark = f"{nonce}+"
        self._on_line = on_line
        self._open = False

    def __call__(self, line: str) -> None:
        """Take one line."""
        if self._open:
            self._on_line(line)
        elif line.endswith(self._mark):
            self._open = True
