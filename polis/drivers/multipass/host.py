"""What this platform lets the client do, and what the user types on it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BINARY = "multipass"

MINIMUM = (1, 16, 0)

Hint = str | Mapping[str, str]
"""A next command: one for all platforms, or one for each of linux, snap, darwin and win32."""

INSTALL: Mapping[str, str] = {
    "linux": "install it with `sudo snap install multipass`, then run the command again",
    "darwin": "install it with `brew install --cask multipass`, then run the command again",
    "win32": "install it with `winget install Canonical.Multipass`, then run the command again",
}

UPDATE: Mapping[str, str] = {
    "linux": "bring it up to date with `sudo snap refresh multipass`, then run the command again",
    "darwin": "bring it up to date with `brew upgrade --cask multipass`, then run the command again",
    "win32": "bring it up to date with `winget upgrade Canonical.Multipass`, then run the command again",
}

LOG: Mapping[str, str] = {
    "linux": "journalctl -u multipassd",
    "snap": "journalctl -u snap.multipass.multipassd",
    "darwin": "/Library/Logs/Multipass/multipassd.log",
    "win32": "Event Viewer, Windows Logs, Application, source Multipass",
}

SERVICE: Mapping[str, str] = {
    "linux": "start its service (`sudo systemctl restart multipassd`), then run the command again",
    "snap": "restart it with `sudo snap restart multipass`, then run the command again",
    "darwin": "restart it with `sudo launchctl kickstart -k system/com.canonical.multipassd`, "
    "then run the command again",
    "win32": "restart it with `Restart-Service Multipass` (PowerShell as administrator), then run the command again",
}


@dataclass(frozen=True)
class Host:
    """A platform as `sys.platform` names it; `snap` says that the client is a strictly confined snap."""

    system: str
    snap: bool = False

    @property
    def streams(self) -> bool:
        """Return whether the client passes stdin and stdout on byte by byte.

        On Windows it translates newlines and ends at Ctrl-Z, so files go by name there; elsewhere a stream is best,
        for a confined client sees neither /tmp nor dot directories (facts, sections 6 and 7).
        """
        return self.system != "win32"

    @property
    def output_limit(self) -> int | None:
        """Return how many bytes `exec` may print: from the 4097th on, a pipe may hang on Windows (#2079)."""
        return 4096 if self.system == "win32" else None

    def pick(self, hint: Hint) -> str:
        """Return the hint for this platform, or an empty string."""
        if isinstance(hint, str):
            return hint
        for key in ("snap", self.system) if self.snap else (self.system,):
            if key in hint:
                return hint[key]
        return ""


def detect(
    system: str = sys.platform,
    which: Callable[[str], str | None] = shutil.which,
    resolve: Callable[[str], str] = lambda path: str(Path(path).resolve()),
) -> Host:
    """Return this machine's Host; a snap's command is a link to /usr/bin/snap, or lies below /snap/bin."""
    path = which(BINARY) if system.startswith("linux") else None
    confined = path is not None and (path.startswith("/snap/bin/") or resolve(path) == "/usr/bin/snap")
    return Host("linux" if system.startswith("linux") else system, snap=confined)
