"""What `launch` is given as its image and its sizes."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from polis.addresses import without_credentials
from polis.drivers.files import digest
from polis.errors import ConfigurationError, HostUnsuitable, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.base import Image
    from polis.drivers.multipass.host import Host

_UNITS = (("G", 1024**3), ("M", 1024**2), ("K", 1024))


def size(figure: int) -> str:
    """Return bytes as Multipass writes sizes: all units are powers of 1024, and there is none above G."""
    unit, factor = next(((unit, factor) for unit, factor in _UNITS if figure % factor == 0), ("B", 1))
    return f"{figure // factor}{unit}"


def refuse_unbootable(image: Image) -> None:
    """Raise HostUnsuitable for an image that is not booted from its own disk."""
    if image.kernel is not None or image.initrd is not None:
        raise HostUnsuitable(
            "Multipass cannot boot an image with a kernel of its own",
            cause=f"the image {without_credentials(image.disk.location)} brings one",
            remains="nothing was changed",
            hint="choose an image with a boot loader, such as `image: 24.04`, or `--driver qemu`",
        )


def argument(image: Image, host: Host, disclose: Callable[[str], None]) -> str:
    """Return what `launch` is told: an alias, an https address, or a file that was verified.

    An alias leads to Canonical's own image, which Multipass verifies. What it fetches from another address it does
    not, and neither can we, so `disclose` is told. Raises ConfigurationError, IntegrityError, HostUnsuitable.
    """
    if image.alias:
        return image.alias
    location = image.disk.location
    if location.startswith("https://"):
        disclose(f"Multipass fetches {without_credentials(location)} itself and does not compare its sha256")
        return location
    if "://" in location:
        told = without_credentials(location)
        raise ConfigurationError(f"{told} is neither a path nor an https:// address", hint="correct `image`")
    _verify(location, image.disk.sha256)
    return file_address(location, host)


def file_address(location: str, host: Host) -> str:
    """Return the file:// address of an absolute path of that platform."""
    path = PureWindowsPath(location) if host.system == "win32" else PurePosixPath(location)
    if not path.is_absolute():
        raise ConfigurationError(f"the image's path {location} is not absolute")
    return path.as_uri()


def from_releases(argument: str) -> str:
    """Return the alias in the remote `release`, whose use asks no other host (#3464); addresses stay as they are."""
    return f"release:{argument}" if re.fullmatch(r"[A-Za-z0-9.]+", argument) else argument


def _verify(location: str, sha256: str) -> None:
    try:
        found = digest(Path(location))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ConfigurationError(f"the image {location} is not a file", cause=str(error.strerror)) from error
    except OSError as error:
        raise HostUnsuitable(f"the image {location} cannot be read", cause=str(error.strerror)) from error
    if found != sha256:
        raise IntegrityError(
            f"{location} does not have the expected content",
            cause=f"sha256 expected {sha256}\nsha256 found    {found}",
            remains="nothing was changed",
        )
