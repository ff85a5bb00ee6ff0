"""Where Polis keeps its files: the platform's own places, or one directory if POLIS_HOME names it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The directories of this user. Nothing is created until something is written."""

    config: Path
    data: Path
    cache: Path
    logs: Path
    runtime: Path

    @property
    def workspaces(self) -> Path:
        """Return the directory that holds one directory per workspace."""
        return self.config / "workspaces"

    def workspace(self, name: str) -> Path:
        """Return the directory of one workspace's record."""
        return self.workspaces / name

    def secrets(self, name: str) -> Path:
        """Return the directory of one workspace's keys and passwords, which outlive its record."""
        return self.config / "secrets" / name

    def workspace_names(self) -> list[str]:
        """Return the names of all workspaces with a directory, sorted."""
        try:
            return sorted(entry.name for entry in self.workspaces.iterdir() if entry.is_dir())
        except OSError:
            return []


def find() -> Paths:
    """Return the directories from POLIS_HOME, else from the platform (platformdirs)."""
    home = os.environ.get("POLIS_HOME")
    if home:
        root = at_home(home).absolute()
        return Paths(root / "config", root / "data", root / "cache", root / "logs", _sockets(root))
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("polis", appauthor=False)
    data = Path(dirs.user_data_dir)
    return Paths(Path(dirs.user_config_dir), data, Path(dirs.user_cache_dir), Path(dirs.user_log_dir), _sockets(data))


def at_home(text: str | Path) -> Path:
    """Return the path with `~` written out; a home of nobody stays as it is, and will not be found."""
    path = Path(text)
    with contextlib.suppress(RuntimeError):
        return path.expanduser()
    return path


def _sockets(root: Path) -> Path:
    # A Unix socket's path may not exceed some 100 bytes, so sockets cannot lie below the home itself.
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(base) / f"polis-{user}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
