"""The lab as a whole: image, registry with images in it, packages, fault proxy before both. For command and tests."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock

from lab import aptindex, certificates, mirror, oci, sysbox, vmimage
from lab.daemon import HOST, Daemon, free_port
from lab.errors import LabError
from lab.placing import place
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
MIRROR_PORT = 15003
GATEWAY = "10.0.2.2"
"""The host's loopback as a guest sees it."""
DOCKER_PATH = f"/docker/{mirror.REPOSITORY}"
SYSBOX_PATH = f"/sysbox/{sysbox.NAME}"
NAMESPACE = "odralabshq"
VERSIONS = ("v0.5.0", "v0.5.1", "v0.5.2")
"""The releases in the registry: the one polis installs by default, and two to upgrade to."""
CHANGED = {"v0.5.2": frozenset({"toolbox"})}
"""Releases in which only these images are other than in the first."""


class World:
    """One lab in one directory. Ports that are 0 are chosen; a world that already runs keeps its own.

    Packages, keys and certificates are in `shared` (the same directory, unless told otherwise), so that several worlds
    have the same. `bridge` is an address of this host where guests find the servers that do not see its loopback; they
    listen there too. `start()` makes what is missing and returns when everything answers; doing it twice is doing it
    once.
    """

    def __init__(
        self,
        directory: Path = DIRECTORY,
        *,
        shared: Path | None = None,
        registry_port: int = 0,
        proxy_port: int = 0,
        mirror_port: int = 0,
        admin_port: int = 0,
        bridge: str = "",
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.directory = directory.resolve()
        self.shared = self.directory if shared is None else shared.resolve()
        self.image_descriptor = self.directory / "image.json"
        self.images_lock = self.directory / "images.lock"
        self.ca = self.shared / "ca.pem"
        self.docker_key = mirror.docker_key(self.shared)
        self.gateway = bridge or GATEWAY
        self._bridge = bridge
        self._say = say
        self._wanted = {
            "registry": registry_port,
            "proxy": proxy_port,
            "mirror": mirror_port,
            "admin": admin_port,
        }
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
        with lock(self.directory):
            return vmimage.ensure(self.directory, say=self._say)

    def build_packages(self) -> Path:
        """Return the directory of the mirror's files, building what the cache has not; raises LabError."""
        with lock(self.shared):
            return mirror.ensure(self.shared, say=self._say)

    def start(self, *, image: bool = True) -> None:
        """Bring everything up; without `image`, only what serves. Raises LabError."""
        root = self.build_packages()
        with lock(self.shared):
            _, certificate = certificates.ensure(self.shared)
        with lock(self.directory):
            if image:
                vmimage.ensure(self.directory, say=self._say)
            if self._registry.daemon.process() is None:
                self._proxy.stop()  # it may stand before a port where no registry will be any more
                self._registry.start(self._wanted["registry"] or free_port())
            self._publish()
            self._start_proxy(root, certificate)
        self._say(f"registry on {HOST}:{self.proxy_port} (faults on demand), {HOST}:{self.registry_port} (direct)")
        self._say(f"packages on {HOST}:{self.mirror_port} (faults on demand)")

    def stop(self) -> None:
        """End both servers, by process id; images and storage stay."""
        if self.directory.is_dir():
            with lock(self.directory):
                self._proxy.stop()
                self._registry.stop()

    @property
    def registry_port(self) -> int:
        """The registry itself; raises LabError if it does not run."""
        return self._port(self._registry.daemon, "registry")

    @property
    def proxy_port(self) -> int:
        """The registry as its users see it, by HTTPS; raises LabError if the proxy does not run."""
        return self._port(self._proxy, "proxy")

    @property
    def mirror_port(self) -> int:
        """The packages as their users see them, by HTTP; raises LabError if the proxy does not run."""
        return self._port(self._proxy, "mirror")

    @property
    def secure_mirror_port(self) -> int:
        """The packages by HTTPS; raises LabError if the proxy does not run."""
        return self._port(self._proxy, "secure-mirror")

    @property
    def admin_port(self) -> int:
        """Where the proxy takes orders; raises LabError if it does not run."""
        return self._port(self._proxy, "admin")

    def mirrors(self) -> dict[str, Any]:
        """Return where a guest finds what it installs, as Polis is configured; raises LabError if nothing serves it."""
        base = f"http://{self.gateway}:{self.mirror_port}"
        return {
            "docker": {"location": base + DOCKER_PATH, "key": str(self.docker_key)},
            "sysbox": {"places": [base + SYSBOX_PATH], "sha256": sysbox.SHA256},
            "registry": {"ca": str(self.ca)},
        }

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
            "mirror": proxy.get("mirror"),
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

    def _publish(self) -> None:
        # In the storage itself, so that the mark goes when the images go.
        mark = self._registry.storage / f"published-{images_fingerprint()}"
        if mark.exists() and self.images_lock.exists():
            return
        self._say(f"publishing the images of {', '.join(VERSIONS)}")
        published = oci.publish(
            registry=f"{HOST}:{self.registry_port}",
            namespace=NAMESPACE,
            versions=VERSIONS,
            changed=CHANGED,
            cache=self.directory / "oci",
        )
        lock = {reference.removeprefix(f"{NAMESPACE}/"): entry for reference, entry in published.items()}
        place(self.images_lock, json.dumps({"schema": 1, "images": lock}, indent=2).encode())
        mark.touch()

    def _start_proxy(self, root: Path, certificate: Path) -> None:
        running = self._proxy.ports()
        names = ("proxy", "mirror", "admin", "secure-mirror")
        ports = {name: running.get(name) or self._wanted.get(name) or free_port() for name in names}
        argv = [
            *(sys.executable, "-m", "lab.faultproxy"),
            *("--origin-port", str(self.registry_port)),
            *("--port", str(ports["proxy"])),
            *("--mirror-port", str(ports["mirror"])),
            *("--admin-port", str(ports["admin"])),
            *("--secure-mirror-port", str(ports["secure-mirror"])),
            *("--root", str(root)),
            *("--certificate", str(certificate)),
            *("--log", str(self.directory / "access.jsonl")),
            *(("--also", self._bridge) if self._bridge else ()),
        ]
        if self._proxy.argv() == argv:
            return
        self._proxy.stop()  # it serves packages or a certificate of yesterday
        self._proxy.start(
            argv,
            ports=ports,
            env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(HERE.parent)},
            answers=lambda: answers(ports["proxy"], ca=self.ca) and serves_packages(ports["mirror"]),
        )
        self.clear_log()


def lock(directory: Path) -> FileLock:
    """Return the lock that whoever changes a lab directory holds; nobody takes two at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    return FileLock(directory / "lock")


def serves_packages(port: int) -> bool:
    """Return whether the package repository is found on this port."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}{DOCKER_PATH}/dists/{aptindex.SUITE}/InRelease", timeout=2) as response:
            return bool(response.read())
    except OSError:
        return False


def images_fingerprint() -> str:
    """Return the name of the set of images that today's inputs make."""
    digest = hashlib.sha256(repr((NAMESPACE, VERSIONS, sorted(CHANGED.items()))).encode())
    sources = (path for path in (HERE / "standins").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in sorted([HERE / "oci.py", *sources]):
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
