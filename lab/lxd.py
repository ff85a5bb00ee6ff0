"""A real LXD of our own, from Debian's packages: daemon, storage, bridge and an image, all in one directory.

It is not the machine's LXD, and touches nothing of that: directory, bridge and client settings are its own. It is known
by its pid file, and whatever it started is known by that directory. `stop()` leaves nothing of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Self

import psutil

from lab import lxdimage
from lab.daemon import STOP_LIMIT, Daemon
from lab.errors import LabError
from lab.lan import free_network
from lab.world import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

ALIAS = "lab"
"""The image's name in this LXD."""
STARTED = re.compile(r"\[lxc monitor\] |(\S*/)?(lxd|dnsmasq)( |$)")
"""How the command lines begin of what the daemon starts; each has the directory in it."""
LIMIT = 120.0
"""Seconds for one command of the client."""


class Lxd:
    """One LXD. `shared` is the lab directory that the image is cached in. Needs root, as any LXD."""

    def __init__(self, directory: Path, *, shared: Path, say: Callable[[str], None] = lambda _line: None) -> None:
        self.directory = directory.resolve()
        self.home = self.directory / "lxd"
        self.client = self.directory / "client"
        # An interface's name has 15 characters at most, and two labs must not share one.
        self.bridge = f"polis{hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]}"
        self._shared = shared.resolve()
        self._say = say
        self._daemon = Daemon("lxd", self.directory / "run")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What makes `lxc` and `lxd` talk to this LXD and to no other."""
        return {"LXD_DIR": str(self.home), "LXD_CONF": str(self.client)}

    @property
    def gateway(self) -> str:
        """The host's address on the bridge. Raises LabError if this LXD does not run."""
        return self.lxc("network", "get", self.bridge, "ipv4.address").partition("/")[0].strip()

    @property
    def pid(self) -> int | None:
        """The daemon's process id while it runs."""
        process = self._daemon.process()
        return process.pid if process is not None else None

    def start(self) -> None:
        """Bring it up with an empty storage and the image in it; does nothing if it runs. Raises LabError."""
        if self.pid is not None:
            return
        for program in ("lxd", "lxc", "dnsmasq", "newuidmap"):
            if shutil.which(program) is None:
                raise LabError(f"{program} is not installed (Debian's lxd, lxd-client, dnsmasq-base, uidmap)")
        with lock(self._shared):
            image = lxdimage.ensure(self._shared, say=self._say)
        self.stop()  # what a killed one left
        for path in (self.home, self.client):
            path.mkdir(parents=True, mode=0o711)
        require_open(self.home)
        self.resume()
        try:
            with lock(self._shared):  # or two that start at once choose the same network
                self.call("lxd", "init", "--preseed", stdin=json.dumps(self._preseed()))  # JSON is YAML
            parts = (str(image / "metadata.tar.xz"), str(image / "rootfs.squashfs"))
            self.lxc("image", "import", *parts, "--alias", ALIAS)
        except BaseException:
            self.stop()
            raise
        self._say(f"LXD runs in {self.home}")

    def resume(self) -> None:
        """Start the daemon over what is there: for tests that ended it. Raises LabError."""
        self._launch()

    def _launch(self, *, via: Sequence[str] = ()) -> None:
        """Start the daemon, by other programs that become it, if there are any."""
        self._daemon.start(
            [str(shutil.which("lxd"))],
            via=via,
            ports={},
            env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath), **self.environment},
            answers=self._answers,
        )

    def interrupt(self) -> None:
        """End the daemon alone, as its crash or upgrade would: the containers run on."""
        self._daemon.stop()

    def stop(self) -> None:
        """Remove everything: containers, daemon, what it started, bridge, mounts, directory."""
        if self.pid is not None:
            with contextlib.suppress(LabError):
                for name in self.instances():
                    self.lxc("delete", "--force", name)
        self._daemon.stop()
        end(self._processes())
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
        for mount in sorted(self._mounts(), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        for path in (self.home, self.client):
            subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=False, capture_output=True)

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the engine's own list, by name."""
        return {row["name"]: row for row in json.loads(self.lxc("list", "--format", "json"))}

    def lxc(self, *argv: str) -> str:
        """Return what the client prints; raises LabError."""
        return self.call("lxc", *argv)

    def call(self, *argv: str, stdin: str = "") -> str:
        """Return what a command of this LXD prints; raises LabError with its words."""
        done = subprocess.run(
            argv,
            input=stdin,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        if done.returncode:
            raise LabError(f"{' '.join(argv[:3])} failed ({done.returncode}): {done.stderr.strip()}")
        return done.stdout

    def leftovers(self, name: str) -> list[str]:
        """Return what is there of an instance: monitor, mounts, directories; but LXD keeps the logs of deleted ones."""
        lines = [" ".join(process.cmdline()) for process in self._processes()]
        found = [line for line in lines if line.endswith(f" {name}")]
        found += [mount for mount in self._mounts() if name in mount.split("/")]
        places = [path for depth in ("*", "*/*", "*/*/*") for path in self.home.glob(f"{depth}/{name}")]
        return found + [str(path) for path in places if self.home / "logs" not in path.parents]

    def _preseed(self) -> dict[str, Any]:
        network = {
            "ipv4.address": f"{free_network()[1]}/24",
            # No rules in anybody's firewall: the host is reached at the bridge's address, and more is not needed.
            "ipv4.nat": "false",
            "ipv4.firewall": "false",
            "ipv6.address": "none",
        }
        return {
            "config": {"images.auto_update_interval": "0"},
            "storage_pools": [{"name": "default", "driver": "dir"}],
            "networks": [{"name": self.bridge, "type": "bridge", "config": network}],
            "profiles": [
                {
                    "name": "default",
                    "devices": {
                        "root": {"type": "disk", "path": "/", "pool": "default"},
                        "eth0": {"type": "nic", "network": self.bridge, "name": "eth0"},
                    },
                }
            ],
        }

    def _answers(self) -> bool:
        with contextlib.suppress(LabError):
            self.call("lxd", "waitready", "--timeout", "1")
            return True
        return False

    def _processes(self) -> list[psutil.Process]:
        """Return what the daemon started: monitors, dnsmasq, proxies."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if STARTED.match(line := " ".join(process.cmdline())) and str(self.home) in line:
                    found.append(process)
        return found

    def _mounts(self) -> list[str]:
        with open("/proc/self/mounts", encoding="utf-8") as table:  # noqa: PTH123 -- a file of the kernel's
            return [line.split()[1] for line in table if line.split()[1].startswith(f"{self.home}/")]


def require_open(directory: Path) -> None:
    """Raise LabError unless everybody may pass to the directory: a container's root is nobody out here."""
    for path in directory.parents:
        if not path.stat().st_mode & 0o001:
            raise LabError(f"no container starts below {path}, where only its owner may enter")


def end(processes: list[psutil.Process]) -> None:
    """Kill processes, and first what runs below them: a monitor's child is the container's own init."""
    family: list[psutil.Process] = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            family += [*process.children(recursive=True), process]
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(family, timeout=STOP_LIMIT)
