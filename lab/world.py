"""The lab as a whole: image, registry with images in it, fault proxy before it. For the command and for tests alike."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock

from lab import oci, vmimage
from lab.daemon import HOST, Daemon, free_port
from lab.errors import LabError
from lab.proxyadmin import ProxyControl
from lab.registry import Registry, answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from lab.accesslog import LogEntry

HERE = Path(__file__).resolve().parent
DIRECTORY = HERE.parent / ".lab"
PROXY_PORT = 15000
REGISTRY_PORT = 15001
ADMIN_PORT = 15002
NAMESPACE = "odralabshq"
VERSIONS = ("v0.5.0", "v0.5.1")
"""The releases in the registry: the one polis installs by default, and one to upgrade to."""


class World:
    """One lab in one directory. Ports that are 0 are chosen; a world that already runs keeps its own.

    `start()` makes what is missing and returns when everything answers; doing it twice is doing it once.
    """

    def __init__(
        self,
        directory: Path = DIRECTORY,
        *,
        registry_port: int = 0,
        proxy_port: int = 0,
        admin_port: int = 0,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.directory = directory.resolve()
        self.image_descriptor = self.directory / "image.json"
        self._say = say
        self._wanted = {"registry": registry_port, "proxy": proxy_port, "admin": admin_port}
        self._registry = Registry(self.directory)
        self._proxy = Daemon("faultproxy", self.directory / "run")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def build_image(self) -> Path:
        """Return the VM image's descriptor, building the image if the cache has none; raises LabError."""
        with self._lock():
            return vmimage.ensure(self.directory, say=self._say)

    def start(self, *, image: bool = True) -> None:
        """Bring everything up; without `image`, only what serves containers. Raises LabError."""
        with self._lock():
            if image:
                vmimage.ensure(self.directory, say=self._say)
            if self._registry.daemon.process() is None:
                self._proxy.stop()  # it may stand before a port where no registry will be any more
                self._registry.start(self._wanted["registry"] or free_port())
            self._publish()
            self._start_proxy()
        self._say(f"registry on {HOST}:{self.proxy_port} (faults on demand), {HOST}:{self.registry_port} (direct)")

    def stop(self) -> None:
        """End both servers, by process id; images and storage stay."""
        if self.directory.is_dir():
            with self._lock():
                self._proxy.stop()
                self._registry.stop()

    @property
    def registry_port(self) -> int:
        """The registry itself; raises LabError if it does not run."""
        return self._port(self._registry.daemon, "registry")

    @property
    def proxy_port(self) -> int:
        """The registry as its users see it; raises LabError if the proxy does not run."""
        return self._port(self._proxy, "proxy")

    @property
    def admin_port(self) -> int:
        """Where the proxy takes orders; raises LabError if it does not run."""
        return self._port(self._proxy, "admin")

    def fault(self, mode: str, *, match: str | None = None, count: int | None = None) -> None:
        """Make requests fail whose path matches, `count` times or until healed; raises LabError."""
        self._control().set_fault(mode, match=match, count=count)

    def heal(self) -> None:
        """Let every request through again."""
        self._control().heal()

    def access_log(self) -> list[LogEntry]:
        """Return the requests since the log was cleared, in the order in which they ended."""
        return self._control().access_log()

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self._control().clear_log()

    def status(self) -> dict[str, Any]:
        """Return what is there and what runs; asks nothing of a server that does not."""
        registry, proxy = self._registry.daemon.ports(), self._proxy.ports()
        return {
            "image": str(self.image_descriptor) if self.image_descriptor.is_file() else None,
            "registry": registry.get("registry"),
            "proxy": proxy.get("proxy"),
            "admin": proxy.get("admin"),
            "fault": self._control().fault() if proxy else None,
        }

    def _control(self) -> ProxyControl:
        return ProxyControl(self.admin_port)

    def _port(self, daemon: Daemon, name: str) -> int:
        ports = daemon.ports()
        if name not in ports:
            raise LabError(f"the lab's {daemon.name} does not run: python -m lab up")
        return ports[name]

    def _lock(self) -> FileLock:
        self.directory.mkdir(parents=True, exist_ok=True)
        return FileLock(self.directory / "lock")

    def _publish(self) -> None:
        # In the storage itself, so that the mark goes when the images go.
        mark = self._registry.storage / f"published-{images_fingerprint()}"
        if mark.exists():
            return
        self._say(f"publishing the images of {', '.join(VERSIONS)}")
        oci.publish(
            registry=f"{HOST}:{self.registry_port}",
            namespace=NAMESPACE,
            versions=VERSIONS,
            cache=self.directory / "oci",
        )
        mark.touch()

    def _start_proxy(self) -> None:
        if self._proxy.process() is not None:
            return
        ports = {name: self._wanted[name] or free_port() for name in ("proxy", "admin")}
        argv = [
            *(sys.executable, "-m", "lab.faultproxy"),
            *("--origin-port", str(self.registry_port)),
            *("--port", str(ports["proxy"])),
            *("--admin-port", str(ports["admin"])),
            *("--log", str(self.directory / "access.jsonl")),
        ]
        self._proxy.start(
            argv,
            ports=ports,
            env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(HERE.parent)},
            answers=lambda: answers(ports["proxy"]),
        )
        self.clear_log()


def images_fingerprint() -> str:
    """Return the name of the set of images that today's inputs make."""
    digest = hashlib.sha256(repr((NAMESPACE, VERSIONS)).encode())
    sources = (path for path in (HERE / "standins").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in sorted([HERE / "oci.py", *sources]):
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
