"""How a machine is reached with OpenSSH: options by their names in ssh_config(5), and how their values are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = re.compile(r"[\w@+=:,./~-]+", re.ASCII)

_COMMANDS = ("KnownHostsCommand",)
"""Options that take the rest of their line as it is: quotes in it are the command's."""


@dataclass(frozen=True)
class SshAccess:
    """The name that `ssh` is to be told, and what it means. Values are plain: no quotes, no escapes.

    `forwards` are ports of this machine's 127.0.0.1, each with the `address:port` that it leads to, seen from the VM.
    """

    host: str
    options: Mapping[str, str]
    forwards: Mapping[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the block for a client's configuration file."""
        lines = (f"  {key} {_written(key, value)}" for key, value in self.options.items())
        forwards = (f"  LocalForward 127.0.0.1:{port} {target}" for port, target in self.forwards.items())
        return "\n".join([f"Host {self.host}", *lines, *forwards])


def quoted(value: str) -> str:
    """Return a value as the client reads it back: it splits at spaces, and expands % sequences."""
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _written(key: str, value: str) -> str:
    return value if key in _COMMANDS else quoted(value)
