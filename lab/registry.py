"""The distribution's own OCI registry (docker-registry), on a loopback port, with its storage in the lab."""

from __future__ import annotations

import shutil
import ssl
import urllib.request
from typing import TYPE_CHECKING

from lab.daemon import HOST, Daemon
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

BINARY = "docker-registry"
CONFIG = """\
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: {storage}
  cache:
    blobdescriptor: inmemory
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: {host}:{port}
  # Without a secret of our own it would make one up, and warn about it.
  secret: lab
"""
ENVIRONMENT = {"LANG": "C.UTF-8"}
"""All it sees: a REGISTRY_* variable of the caller's would override the file."""


class Registry:
    """The registry process of one lab directory."""

    def __init__(self, directory: Path) -> None:
        self.storage = directory / "registry"
        self.daemon = Daemon("registry", directory / "run")

    def start(self, port: int) -> None:
        """Start it on `port` unless it runs; returns when it answers. Raises LabError."""
        if self.daemon.process() is not None:
            return
        binary = shutil.which(BINARY)
        if binary is None:
            raise LabError(f"{BINARY} is not installed")
        self.storage.mkdir(parents=True, exist_ok=True)
        self.daemon.directory.mkdir(parents=True, exist_ok=True)
        config = self.daemon.directory / "registry.yml"
        config.write_text(CONFIG.format(storage=self.storage, host=HOST, port=port))
        self.daemon.start(
            [binary, "serve", str(config)],
            ports={"registry": port},
            env=ENVIRONMENT,
            answers=lambda: answers(port),
        )

    def stop(self) -> None:
        """End it; what it stores stays."""
        self.daemon.stop()


def answers(port: int, *, ca: Path | None = None) -> bool:
    """Return whether a registry says on this port that it is one; with `ca`, by HTTPS with a certificate of it."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca is not None:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
    scheme = "http" if ca is None else "https"
    try:
        with urllib.request.build_opener(*handlers).open(f"{scheme}://{HOST}:{port}/v2/", timeout=2) as response:
            return bool(response.status == 200)  # noqa: PLR2004 -- the protocol's own word for yes
    except OSError:
        return False
