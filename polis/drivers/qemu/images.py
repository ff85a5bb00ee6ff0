"""Base images in a cache named by content: `<cache>/images/<sha256>`, verified, read-only, shared by all workspaces."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from polis import durable
from polis.drivers.files import digest
from polis.drivers.qemu import space
from polis.errors import ConfigurationError, HostUnsuitable, IntegrityError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from polis.drivers.base import Artifact

CHUNK = 1024 * 1024

ABANDONED = 7 * 24 * 3600.0
"""Seconds without a change after which an unfinished download is removed."""

READ_ONLY = 0o444


class ImageCache:
    """The cache. Safe to be used by several processes at once; survives being killed anywhere."""

    def __init__(self, directory: Path, *, context: ssl.SSLContext | None = None) -> None:
        self._directory = directory
        self._context = context

    def fetch(self, artifact: Artifact, *, on_progress: Callable[[str], None]) -> Path:
        """Return the path of the verified bytes, copying or downloading them if they are not there yet.

        Raises IntegrityError if the bytes are others, ConfigurationError if the location makes no sense or leads
        nowhere, HostUnsuitable if it cannot be read or the disk is full, Transient if the network failed.
        """
        _check(artifact)
        with space.checked(self._directory):
            durable.private_directory(self._directory)
            self._sweep()
            with self._lock(artifact.sha256, on_progress):
                return self._fetch(artifact, on_progress)

    def _fetch(self, artifact: Artifact, on_progress: Callable[[str], None]) -> Path:
        final = self._directory / artifact.sha256
        if final.exists():
            if digest(final) == artifact.sha256:
                return final
            on_progress("the cached image is damaged; fetching it again")
            final.unlink()
        if artifact.location.startswith("https://"):
            self._download(artifact, final, on_progress)
        else:
            self._copy(artifact, final, on_progress)
        return final

    def _copy(self, artifact: Artifact, final: Path, on_progress: Callable[[str], None]) -> None:
        for abandoned in self._directory.glob(f"{artifact.sha256}.*.tmp"):
            abandoned.unlink()  # we hold the lock, so whoever wrote it is dead
        # Copied, not linked: a later edit of the source must not reach a running VM.
        temporary = self._directory / f"{artifact.sha256}.{secrets.token_hex(4)}.tmp"
        try:
            with _open_source(artifact.location) as source:
                size = os.fstat(source.fileno()).st_size
                space.require(self._directory, size, what="the image")
                on_progress(f"copying the image ({space.mebibytes(size)})")
                actual = _copy_hashing(source, temporary)
            if actual != artifact.sha256:
                raise _mismatch(artifact, actual)
            _publish(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)

    def _download(self, artifact: Artifact, final: Path, on_progress: Callable[[str], None]) -> None:
        from polis.drivers.qemu.download import download

        part = self._directory / f"{artifact.sha256}.part"
        resumed = part.exists()
        download(artifact.location, part, on_progress=on_progress, context=self._context)
        actual = digest(part)
        if actual != artifact.sha256 and resumed:
            # The beginning may stem from another version of the file: once more, from the start.
            part.unlink()
            download(artifact.location, part, on_progress=on_progress, context=self._context)
            actual = digest(part)
        if actual != artifact.sha256:
            part.unlink()
            raise _mismatch(artifact, actual)
        _publish(part, final)

    def _lock(self, sha256: str, on_progress: Callable[[str], None]) -> _Lock:
        return _Lock(self._directory / f"{sha256}.lock", on_progress)

    def _sweep(self) -> None:
        # What a killed process left. A file that grows is fresh, so only old ones go.
        horizon = time.time() - ABANDONED
        for path in self._directory.iterdir():
            if path.suffix in (".tmp", ".part") and _older(path, horizon):
                path.unlink(missing_ok=True)


class _Lock:
    """A kernel lock around one image, which says when it has to wait."""

    def __init__(self, path: Path, on_progress: Callable[[str], None]) -> None:
        from filelock import FileLock

        self._lock = FileLock(path, mode=0o600)
        self._on_progress = on_progress

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._on_progress("another polis is fetching this image; waiting for it")
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _check(artifact: Artifact) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", artifact.sha256):
        raise ConfigurationError(f"the sha256 of {_told(artifact.location)} is not 64 lower-case hex digits")
    if "://" in artifact.location:
        if not artifact.location.startswith("https://"):
            raise ConfigurationError(
                f"{_told(artifact.location)} is not fetched over an encrypted connection",
                hint="give an https:// address or the path of a file",
            )
    elif not Path(artifact.location).is_absolute():
        raise ConfigurationError(f"the image's path {_told(artifact.location)} is not absolute")


def _told(location: str) -> str:
    from polis.addresses import without_credentials

    return without_credentials(location)


def _open_source(location: str) -> IO[bytes]:
    try:
        return Path(location).open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ConfigurationError(f"the image {location} is not a file", cause=str(error.strerror)) from error
    except OSError as error:
        raise HostUnsuitable(f"the image {location} cannot be read", cause=str(error.strerror)) from error


def _copy_hashing(source: IO[bytes], target: Path) -> str:
    state = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := source.read(CHUNK):
            state.update(chunk)
            file.write(chunk)
    return state.hexdigest()


def _publish(temporary: Path, final: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.chmod(READ_ONLY)
    temporary.replace(final)
    durable.sync_directory(final.parent)


def _mismatch(artifact: Artifact, actual: str) -> IntegrityError:
    return IntegrityError(
        f"{_told(artifact.location)} does not have the expected content",
        cause=f"sha256 expected {artifact.sha256}\nsha256 found    {actual}",
        remains="nothing was changed",
        hint="check the file and its sha256; do not use it before they agree",
    )


def _older(path: Path, horizon: float) -> bool:
    try:
        return path.stat().st_mtime < horizon
    except OSError:
        return False
