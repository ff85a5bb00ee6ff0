"""Putting a pushed bundle in place: verify, unpack beside the old one, resolve, swap, mark; and the inverse."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis.guest.remote import alone, places, releases, resolving
from polis.guest.remote.resolving import Refused

if TYPE_CHECKING:
    from collections.abc import Callable


def place(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Unpack the archives and make them the current bundle; `environment` becomes its `.env`.

    `secrets` is a second archive, of what is placed in `.polis` with owners and modes of its own. The old bundle stays
    current until the new one is complete; the marker is written last, when all is tidied up.
    """
    alone.take_over()
    archive, digest = Path(arguments["archive"]), arguments["digest"]
    secrets = arguments["secrets"]
    _verify(archive, digest, "bundle")
    _verify(Path(secrets["archive"]), secrets["digest"], "archive of keys and passwords")
    # A name that was never there: containers may have parts of the same release mounted from another directory.
    release = places.RELEASES / f"{arguments['release']}-{os.urandom(4).hex()}"
    release.mkdir(parents=True, mode=0o755)
    with tarfile.open(archive) as tar:
        # Python before 3.11.4 (Debian 12's) has no filters. What they refuse was refused before this was sent, and its
        # hash has just been compared.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(release)  # noqa: S202 -- with the filter, where there is one
    _unpack_secrets(Path(secrets["archive"]), release / ".polis")
    _write_environment(release / ".env", arguments["environment"])
    releases.keep_current(arguments["marker"]["fingerprint"])
    places.CONFIGURED.unlink(missing_ok=True)
    releases.point_to(release)
    resolving.resolve(arguments["pins"])
    marker = {**arguments["marker"], "digest": digest, "tree": places.tree_digest(release)}
    archive.unlink()
    Path(secrets["archive"]).unlink()
    releases.forget_others(keep=release)
    os.sync()
    places.write_json(places.CONFIGURED, marker)
    return {"marker": {"digest": digest}}


def remove(_arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Undo `place`: the bundle before it is back, or nothing is left; the directory itself belongs to cloud-init."""
    alone.take_over()
    _remove_below(places.INCOMING)
    if releases.restore():
        return {"restored": True}
    places.CONFIGURED.unlink(missing_ok=True)
    places.CURRENT.unlink(missing_ok=True)
    _remove_below(places.HOME)
    return {"restored": False}


def _remove_below(directory: Path) -> None:
    for path in directory.glob("*") if directory.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _verify(archive: Path, digest: str, what: str) -> None:
    if places.sha256(archive) != digest.removeprefix("sha256:"):
        raise Refused(f"the {what} arrived damaged: its sha256 is not {digest}")


def _unpack_secrets(archive: Path, target: Path) -> None:
    """Create each file with the owner and mode that it has in the archive; nobody else sees it in between."""
    target.mkdir(mode=0o700)
    with tarfile.open(archive) as tar:
        for member in tar:
            source = tar.extractfile(member)
            if source is None:
                raise Refused(f"{member.name} is not a file")
            path = target / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(source, file)
                os.fchown(descriptor, member.uid, member.gid)
                os.fchmod(descriptor, member.mode)


def _write_environment(path: Path, values: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{key}={value}\n" for key, value in sorted(values.items()))
