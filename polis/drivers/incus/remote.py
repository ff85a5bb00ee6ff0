"""What is run in the guest, and how its answer is read: pure functions.

The tool runs commands as root; ours are for the default user, whom cloud-init makes. So a small script, as root,
bounds the command's time, takes on the user, and tells on stderr, between marks with a nonce, that the command was
begun and with what it ended: the tool's own failures (1) cannot be told from a command's otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

KILL_AFTER = 5
"""Seconds between SIGTERM and SIGKILL for a guest command that outlived its limit."""

# setpriv is util-linux's: it is in every image, asks no PAM, leaves no process between, and hands 126 and 127 through.
_AS_USER = (
    'e=$(getent passwd "$u") || { echo "$n-" >&2; exit 0; }; g=${e#*:*:*:}; g=${g%%:*}; h=${e%:*}; h=${h##*:}; '
    'cd -- "$h" 2>/dev/null || cd /; '
    'set -- setpriv --reuid="$u" --regid="$g" --init-groups --reset-env -- "$@"; '
)

# The shell's own stderr leads nowhere meanwhile: it would report "Terminated" there for a command ended by a signal
# (dash redirects in the waiting shell itself, hence the subshell). timeout(1) ends the command's whole process group,
# and hands its exit code or signal through.
_WRAPPER = (
    f"n=$1 t=$2 u=$3; shift 3; {_AS_USER}"
    'echo "$n+" >&2; exec 3>&2 2>/dev/null; '
    f'(exec timeout -k {KILL_AFTER} "$t" "$@" 2>&3 3>&-); '
    'echo "$n=$?" >&3; exit 0'
)

_INTERACTIVE = (
    f'n=polis u=$1; shift; [ $# -gt 0 ] || set -- "$(getent passwd "$u" | cut -d: -f7)" -l; {_AS_USER}exec "$@"'
)

# Written aside in the same directory, compared with the hash of what was sent (a broken connection looks like the
# end of the file), flushed, renamed. -T: a directory of the target's name is an error, not a place to move into.
_RECEIVE = (
    'set -eu; umask 077; t="$1.polis-$4"; trap \'rm -f -- "$t"\' EXIT; cat >"$t"; '
    'printf "%s  %s\\n" "$2" "$t" | sha256sum --check --status - || { echo "arrived damaged" >&2; exit 74; }; '
    'chmod "$3" "$t"; sync "$t"; mv -fT -- "$t" "$1"'
)
_SEND = 'sha256sum -- "$1" >&2 && exec cat -- "$1"'

DAMAGED = 74
"""Exit code of `receive` if the file is not what was sent."""


@dataclass(frozen=True)
class Answer:
    """What the marks tell: whether the command was begun, its exit code if it ended, whether its user is there."""

    begun: bool
    code: int | None
    stderr: str
    no_user: bool = False


def wrapped(argv: Sequence[str], *, user: str, nonce: str, limit: float) -> list[str]:
    """Return the guest command that runs `argv` as `user` for at most `limit` seconds."""
    return ["sh", "-c", _WRAPPER, "polis", nonce, f"{limit:.3f}", user, *argv]


def interactive(argv: Sequence[str], *, user: str) -> list[str]:
    """Return the guest command that is `argv`, or the user's login shell, on a terminal."""
    return ["sh", "-c", _INTERACTIVE, "polis", user, *argv]


def receive(*, target: str, sha256: str, mode: int, nonce: str) -> list[str]:
    """Return the guest command that takes a file from stdin, checks it, and puts it into place."""
    return ["sh", "-c", _RECEIVE, "polis-push", target, sha256, f"{mode:o}", nonce]


def send(source: str) -> list[str]:
    """Return the guest command that writes a file to stdout, and before that its sha256 to stderr."""
    return ["sh", "-c", _SEND, "polis-pull", source]


def read(stderr: str, nonce: str) -> Answer:
    """Take the marks out of stderr, and what stands before the first: that is the tool's."""
    before, mark, said = stderr.partition(f"{nonce}+\n")
    if not mark:
        return Answer(begun=False, code=None, stderr=before, no_user=f"{nonce}-\n" in before)
    ended = re.search(rf"{nonce}=(\d+)\n?", said)
    if ended is None:
        return Answer(begun=True, code=None, stderr=said)
    return Answer(begun=True, code=int(ended[1]), stderr=said[: ended.start()] + said[ended.end() :])
