"""A file with keys: `NAME=value` lines, as docker and most tools read them. No message ever repeats a value."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from polis.config_agent import env_value
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT = 1024 * 1024
_QUOTES = "\"'"


def read(path: Path) -> dict[str, str]:
    """Return the variables of a file: empty lines and comments are passed over, `export` and quotes are taken off.

    Raises ConfigurationError with the number of the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
        text = data.decode()
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError too
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{path} cannot be read", cause=reason) from None
    if len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"{path} is larger than {SIZE_LIMIT} bytes")
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        name, equals, value = words.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not name.isascii() or not name.isidentifier():
            raise ConfigurationError(
                f"{path}:{number}: write NAME=value, a line for each", remains="nothing was changed"
            )
        value = _unquoted(value.strip())
        if not value:
            continue  # as an empty variable of the environment: not given
        try:
            found[name] = env_value(value)
        except ValueError as error:
            raise ConfigurationError(f"{path}:{number}: {name} {error}", remains="nothing was changed") from None
    return found


def is_open(path: Path) -> bool:
    """Return whether others than its owner may read the file."""
    if os.name != "posix":
        return False
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o077)


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0]
    return value[1:-1] if quoted else value
