"""What is sent to the guest's shell, and how its answer is read: pure functions.

ssh ends with 255 both when it fails itself and when the command did. So the command runs under a small script that
prints two marks with a nonce on stderr: one before the command starts, one with its exit code. They are taken out
of what the caller sees.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

KILL_AFTER = 5
"""Seconds between SIGTERM and SIGKILL for a guest command that outlived its limit."""

# The shell's own stderr leads nowhere meanwhile: it would report "Terminated" there for a command ended by a signal
# (dash redirects in the waiting shell itself, hence the subshell).
# timeout(1) ends the command's whole process group, and hands its exit code or signal through.
_WRAPPER = (
    'n=$1 t=$2; shift 2; echo "$n+" >&2; exec 3>&2 2>/dev/null; '
    f'(exec timeout -k {KILL_AFTER} "$t" "$@" 2>&3 3>&-); '
    'c=$?; echo "$n=$c" >&3; exit "$c"'
)

# Written aside in the same directory, compared with the hash of what was sent (a broken connection looks like the
# end of the file), flushed, renamed. -T: a directory of the target's name is an error, not a place to move into.
_RECEIVE = (
    'set -eu; umask 077; t="$1.polis-$4"; trap \'rm -f -- "$t"\' EXIT; cat >"$t"; '
    'printf "%s  %s\\n" "$2" "$t" | sha256sum --check --status - || { echo "arrived damaged" >&2; exit 74; }; '
    'chmod "$3" "$t"; sync "$t"; mv -fT -- "$t" "$1"'
)


@dataclass(frozen=True)
class Answer:
    """What the marks tell: whether the command was started, and its exit code if it ended."""

    begun: bool
    code: int | None
    stderr: str


def wrapped(argv: Sequence[str], *, nonce: str, limit: float) -> str:
    """Return the line for the guest's login shell that runs `argv` for at most `limit` seconds."""
    return shlex.join(["sh", "-c", _WRAPPER, "polis", nonce, f"{limit:.3f}", *argv])


def receive(*, target: str, sha256: str, mode: int, nonce: str) -> list[str]:
    """Return the guest command that takes a file from stdin, checks it, and puts it into place."""
    return ["sh", "-c", _RECEIVE, "polis-push", target, sha256, f"{mode:o}", nonce]


def send(source: str) -> list[str]:
    """Return the guest command that writes a file to stdout."""
    return ["cat", "--", source]


def read(stderr: str, nonce: str) -> Answer:
    """Take the marks out of stderr."""
    begun = f"{nonce}+" in stderr
    rest = re.sub(rf"{nonce}\+\n?", "", stderr, count=1)
    ended = re.search(rf"{nonce}=(\d+)\n?", rest)
    if ended is None:
        return Answer(begun, None, rest)
    return Answer(begun=True, code=int(ended[1]), stderr=rest[: ended.start()] + rest[ended.end() :])
