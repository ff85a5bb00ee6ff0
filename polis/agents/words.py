"""What may stand in an agent's manifest where it reaches a systemd unit, a shell script or a Compose file.

The alphabets are small on purpose. What none of the three readers can misread needs no quoting, and a manifest that
needs more than that can put it into a script of its own.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from polis.config_agent import line

RESERVED_PORTS = (53, 1344, 6379, 8080, 18080)
"""What the stack itself listens on: names, the sentinel, the state, the gate and the toolbox, the gate's other port."""

ALPHABET = "letters, digits and @ _ + = : , . / -"
_WORD = re.compile(r"[A-Za-z0-9@_+=:,./-]+", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9@_+.,/-]+", re.ASCII)
_MISREAD = "\"'\\%$`"
_SYSTEM = frozenset(
    {
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32"),
        *("proc", "root", "run", "sbin", "sys", "usr"),
    }
)
_PARENTS = frozenset({"home", "media", "mnt", "opt", "srv", "tmp"})
"""Directories of directories: a part of one may be an agent's own, the whole may not."""
_VAR = frozenset({"cache", "lib", "log", "opt", "tmp"})
_TAKEN = (("opt", "agents"), *(("var", "lib", name) for name in ("apt", "containerd", "docker", "dpkg", "systemd")))
_COMMAND_LIMIT = 1000


def _text(value: str) -> str:
    """Check text that people read, and that systemd reads in a unit's description."""
    if not value.strip():
        raise ValueError("must not be empty")
    if any(character in "%\\" for character in line(value)):
        raise ValueError("must not have % or backslashes: systemd would read them as more than text")
    return value


def _setting(value: str) -> str:
    """Check the value of a variable that is set in the unit."""
    if any(character in _MISREAD for character in line(value)):
        raise ValueError(f"must not have any of {' '.join(_MISREAD)}: systemd or a shell would read them as more")
    return value


def words(command: str) -> tuple[str, ...]:
    """Return the words of a command: no quotes, no variables, nothing that a shell or systemd acts on.

    Raises ValueError.
    """
    found = tuple(command.split(" "))
    if len(command) > _COMMAND_LIMIT:
        raise ValueError(f"must have at most {_COMMAND_LIMIT} characters")
    odd = sorted({character for word in found for character in word if not _WORD.fullmatch(character)})
    if odd:
        shown = " ".join(character if character.isprintable() else ascii(character) for character in odd)
        raise ValueError(
            f"has {shown}: a command is words of {ALPHABET}, with single blanks between; no shell reads it"
        )
    if "" in found:
        raise ValueError("must be words with single blanks between")
    return found


def _program(command: str) -> str:
    first = words(command)[0]
    if not first.startswith("/"):
        raise ValueError("must begin with the absolute path of a program")
    _parts(first)
    return command


def _check(command: str) -> str:
    first = words(command)[0]
    if not re.match(r"[A-Za-z0-9/]", first, re.ASCII):
        raise ValueError("must begin with a program")
    if "/" in first:
        _program(command)
    return command


def _parts(path: str) -> tuple[str, ...]:
    if not _PATH.fullmatch(path):
        raise ValueError("must be a path of letters, digits and @ _ + . , -")
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    parts = tuple(path.strip("/").split("/"))
    if path != "/" and any(part in ("", ".", "..") for part in parts):
        raise ValueError("must not have `.`, `..` or empty parts")
    return parts


def _absolute(path: str) -> str:
    _parts(path)
    return path.rstrip("/") or "/"


def _own_place(path: str) -> str:
    """Check a directory that an agent may write to, or that a volume lies over: it must be nobody else's."""
    parts = _parts(path)
    whole = f"/{'/'.join(parts)}"
    if parts[0] in _SYSTEM:
        raise ValueError(f"covers a part of the system: /{parts[0]}")
    depth = 3 if parts[0] == "var" else 2 if parts[0] in _PARENTS else 1
    if not parts[0] or len(parts) < depth or (parts[0] == "var" and parts[1] not in _VAR):
        raise ValueError(f"covers {whole}, which is not the agent's alone; name a directory in it")
    if any(parts[: len(taken)] == taken for taken in _TAKEN):
        raise ValueError(f"covers a part of the system: {whole}")
    return whole


def inside(path: str) -> str:
    """Return the path of a file in the agent's own directory. Raises ValueError for one that leaves it."""
    if path.startswith("/"):
        raise ValueError("must be a path in the agent's directory, not an absolute one")
    if ".." in path.split("/"):
        raise ValueError("leaves the agent's directory with `..`")
    if not _PATH.fullmatch(path) or any(part in ("", ".") for part in path.split("/")):
        raise ValueError("must be a path of letters, digits and @ _ + . , -, without empty parts")
    return path


def _user(value: object) -> object:
    name = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if name.partition(":")[0].strip() in ("root", "0") or (name.isdigit() and int(name) == 0):
        raise ValueError("an agent must not run as root")
    if name.isdigit():
        raise ValueError("must be the name of a user, not a number")
    return value


def _port(value: int) -> int:
    if value in RESERVED_PORTS:
        raise ValueError(f"is one of the ports that the stack needs itself: {', '.join(map(str, RESERVED_PORTS))}")
    return value


Text = Annotated[str, Field(max_length=200), AfterValidator(_text)]
Setting = Annotated[str, Field(max_length=1000), AfterValidator(_setting)]
Command = Annotated[str, AfterValidator(_program)]
Check = Annotated[str, AfterValidator(_check)]
Directory = Annotated[str, Field(max_length=200), AfterValidator(_absolute)]
OwnDirectory = Annotated[str, Field(max_length=200), AfterValidator(_own_place)]
Inside = Annotated[str, Field(max_length=200), AfterValidator(inside)]
User = Annotated[str, BeforeValidator(_user), Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Port = Annotated[int, Field(ge=1, le=65535, strict=True), AfterValidator(_port)]
Part = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Quota = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}%$")]
