"""What a workspace's configuration is made of, read from its files when it is first asked for."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polis.bundle import imagelock
from polis.bundle.environment import variables
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polis.bundle.archive import Bundle
    from polis.bundle.imagelock import Lock
    from polis.config import Spec
    from polis.offline.reading import OfflineFile
    from polis.states.configured import AgentParts


@dataclass(frozen=True)
class SpecifiedContents:
    """What the Spec says is placed in the VM."""

    spec: Spec
    agent: AgentParts | None = None

    @functools.cached_property
    def bundle(self) -> Bundle:
        """Return the bundle: the configured one, else that of the offline file, else the one that polis ships.

        Raises ConfigurationError if it is not acceptable, IntegrityError.
        """
        from polis.bundle import archive

        if self.spec.bundle is None and self.offline is not None:
            from polis.offline.manifest import BUNDLE

            with tempfile.TemporaryDirectory(prefix="polis-") as work:
                copy = Path(work) / BUNDLE
                self.offline.extract(BUNDLE, copy)
                return archive.load(copy)
        return archive.load(self.spec.bundle)

    @functools.cached_property
    def offline(self) -> OfflineFile | None:
        """Return the offline file if there is one; its members are still to be verified.

        Raises ConfigurationError, IntegrityError.
        """
        if self.spec.offline is None:
            return None
        from polis.offline.reading import open_file

        return open_file(self.spec.offline.file)

    @functools.cached_property
    def environment(self) -> Mapping[str, str]:
        """Return the variables of the bundle's Compose file."""
        spec = self.spec
        return variables(version=spec.version, registry=spec.registry, image_suffix=spec.image_suffix, proxy=spec.proxy)

    @functools.cached_property
    def lock(self) -> Lock:
        """Return what each image has to be: from the configured file, else from the bundle's own, else nothing.

        Raises ConfigurationError.
        """
        path = self.spec.images_lock
        if path is not None:
            try:
                data: bytes | None = path.read_bytes()
            except OSError as error:
                raise ConfigurationError(f"`images_lock`: {path} cannot be read", cause=error.strerror or "") from error
            name = str(path)
        else:
            data, name = self.bundle.member(imagelock.FILE), f"{imagelock.FILE} of the bundle"
        lock = imagelock.under(self.spec.registry, imagelock.parse(data, name)) if data is not None else {}
        if self.offline is None or not lock:
            return lock
        from polis.offline.images import completed

        return completed(lock, self.offline)
