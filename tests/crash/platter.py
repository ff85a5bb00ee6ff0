"""A disk that forgets on a power cut what was not fsynced: what a killed process cannot show.

A file's content is safe as it was at the last fsync of the file; a name in a directory as it was at the last fsync of
the directory. Of what came later a file system may keep anything, so two extremes are tried: it kept no name, or it
kept all names (but no content), as journalling file systems do that order names before data.
"""

from __future__ import annotations

import json
import os
import shutil
from enum import Enum
from pathlib import Path


class Names(Enum):
    """Which names a power cut leaves."""

    SYNCED = "only names that were fsynced"
    ALL = "all names"


class Platter:
    """What is safe of a home, kept in a directory beside it, where it outlives the process that wrote it."""

    def __init__(self, home: Path, safe: Path) -> None:
        self._home = home
        self._safe = safe

    def begin(self) -> None:
        """Take everything that is there now as safe."""
        shutil.rmtree(self._safe, ignore_errors=True)
        self._safe.mkdir()
        for directory, _, files in os.walk(self._home):
            self._sync_names(Path(directory))
            for name in files:
                path = Path(directory, name)
                shutil.copyfile(path, self._content(path.stat().st_ino))

    def sync(self, descriptor: int, path: Path) -> None:
        """Do what fsync does."""
        if path.is_dir():
            self._sync_names(path)
        else:
            shutil.copyfile(f"/proc/self/fd/{descriptor}", self._content(os.fstat(descriptor).st_ino))

    def forget(self, inode: int) -> None:
        """A new file got the number of one that is gone."""
        self._content(inode).unlink(missing_ok=True)

    def cut_power(self, names: Names) -> bool:
        """Put the home into the state after a power cut; return whether that differs from what it was.

        A difference in the journal alone does not count: it is never fsynced, and nothing is decided by it.
        """
        coming = self._safe / "coming"
        shutil.rmtree(coming, ignore_errors=True)
        self._restore(self._home, coming, names)
        if _tree(coming) == _tree(self._home):
            return False
        shutil.rmtree(self._home)
        coming.rename(self._home)
        return True

    def _restore(self, source: Path, target: Path, names: Names) -> None:
        target.mkdir(mode=0o700)
        for name, (inode, is_directory) in self._names(source, names).items():
            if is_directory:
                self._restore(source / name, target / name, names)
            elif self._content(inode).exists():
                shutil.copyfile(self._content(inode), target / name)
            else:
                (target / name).touch()

    def _names(self, directory: Path, names: Names) -> dict[str, tuple[int, bool]]:
        listing = self._listing(directory)
        if names is Names.SYNCED:
            known: dict[str, tuple[int, bool]] = json.loads(listing.read_text()) if listing.exists() else {}
            return known
        return _list(directory)

    def _sync_names(self, directory: Path) -> None:
        self._listing(directory).write_text(json.dumps(_list(directory)))

    def _listing(self, directory: Path) -> Path:
        return self._safe / f"names of {str(directory).replace('/', '%')}"

    def _content(self, inode: int) -> Path:
        return self._safe / f"content of {inode}"


def _list(directory: Path) -> dict[str, tuple[int, bool]]:
    """Return inode and kind of all that is in a directory."""
    return {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(directory)}


def _tree(root: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.name != "journal.jsonl"}
    return {name: b"/" if path.is_dir() else path.read_bytes() for name, path in found.items()}
