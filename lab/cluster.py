"""A real LXD cluster on one machine: daemons, each with a network namespace, an address and a directory of its own.

They share this machine's kernel, processors and disk, and nothing else: what one says to another goes by TLS from
address to address, and each can be cut off or killed by itself. Guests are on the same network as the members, and
find the lab's servers at the host's address there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Self

from lab import lxdimage
from lab.errors import LabError
from lab.lan import BRIDGE, Lan
from lab.lxd import ALIAS, Lxd, end, require_open
from lab.world import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    import psutil

MEMBERS = ("n1", "n2", "n3")
PORT = 8443
REMOTE = "cluster"
"""What operators call it."""
FIRST_USER, USERS = 1 << 30, 1 << 26
"""Of this kernel's users, those of the first member's containers, and how many each member has for them.

The kernel counts keys and inotify instances by user, and has too few (128) for all containers of three members. A range
for each container is not for clusters: LXD 5.0 gave some a range that /etc/subuid does not allow.
"""
OFFLINE = "11"
"""Seconds without a heartbeat until a member counts as offline: the least that LXD takes; 20 unless told."""


class Member(Lxd):
    """One member. What is started on it is known by its directory, as of any LXD of the lab."""

    def __init__(self, name: str, directory: Path, *, shared: Path, lan: Lan) -> None:
        super().__init__(directory, shared=shared)
        self.name = name
        self._lan = lan

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._lan.address(self.name)}:{PORT}"

    def resume(self) -> None:
        """Start the daemon over what is there: a first time, or after it was ended. Raises LabError."""
        spare = self.directory / "spare"
        for path in (self.home, self.client, spare):
            path.mkdir(parents=True, mode=0o711, exist_ok=True)
        require_open(self.home)
        ids = self.directory / "subids"
        ids.write_text(f"root:{FIRST_USER + MEMBERS.index(self.name) * USERS}:{USERS}\n", encoding="ascii")
        self._launch(via=self._lan.on(self.name, spare, ids))

    def kill(self) -> None:
        """End all of it as a power cut would: the daemon first, then its containers."""
        process = self._daemon.process()
        if process is not None:
            end([process])
        end(self._processes())

    def containers(self) -> list[psutil.Process]:
        """Return what runs here of instances."""
        return self._processes()

    def stop(self) -> None:
        """Remove everything of it."""
        self.kill()
        self._daemon.stop()
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.directory)], check=False, capture_output=True)


class Cluster:
    """Members of one cluster, in one directory. Needs root, as any LXD."""

    def __init__(
        self,
        directory: Path,
        *,
        shared: Path,
        members: Sequence[str] = MEMBERS,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.directory = directory.resolve()
        self.lan = Lan(self.directory, members)
        self.members = {
            name: Member(name, self.directory / name, shared=shared, lan=self.lan) for name in members
        }  # fmt: skip
        self._shared = shared.resolve()
        self._say = say

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def first(self) -> Member:
        """The member that the others joined, and that operators talk to."""
        return next(iter(self.members.values()))

    def start(self) -> None:
        """Bring it up with the image in its store. Raises LabError."""
        with lock(self._shared):
            image = lxdimage.ensure(self._shared, say=self._say)
        self.stop()  # what a killed one left
        self.directory.mkdir(parents=True)
        try:
            with lock(self._shared):
                self.lan.start()
            for member in self.members.values():
                member.resume()
                member.call("lxd", "init", "--preseed", stdin=json.dumps(self._preseed(member)))  # JSON is YAML
            self.first.lxc("config", "set", "cluster.offline_threshold", OFFLINE)
            parts = (str(image / "metadata.tar.xz"), str(image / "rootfs.squashfs"))
            self.first.lxc("image", "import", *parts, "--alias", ALIAS)
        except BaseException:
            self.stop()
            raise
        self._say(f"a cluster of {len(self.members)} runs in {self.directory}")

    def stop(self) -> None:
        """Remove everything: containers, daemons, network, directories."""
        for member in self.members.values():
            member.stop()
        self.lan.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def operator(self, directory: Path, *limits: str) -> dict[str, str]:
        """Return what makes `lxc` talk to the cluster as somebody of their own, from this machine, by HTTPS.

        `limits` are options of `lxc config trust add`, such as `--restricted`. Raises LabError.
        """
        directory.mkdir(parents=True, exist_ok=True)
        environment = {"LXD_CONF": str(directory)}
        token = self.first.lxc("config", "trust", "add", "--name", directory.name, *limits).splitlines()[-1]
        call = {**os.environ, **environment}
        for argv in (["remote", "add", REMOTE, token], ["remote", "switch", REMOTE]):
            done = subprocess.run(["lxc", *argv], env=call, check=False, capture_output=True, text=True)
            if done.returncode:
                raise LabError(f"lxc {' '.join(argv[:2])} failed: {done.stderr.strip()}")
        return environment

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the cluster's own list, by name: `location` says where each is, `status` Error that it is away."""
        return self.first.instances()

    def states(self) -> dict[str, str]:
        """Return what the cluster says of each member: Online, Offline, Evacuated."""
        rows = json.loads(self.first.lxc("query", "/1.0/cluster/members?recursion=1"))
        return {row["server_name"]: row["status"] for row in rows}

    def leftovers(self) -> list[str]:
        """Return what runs of it."""
        found = []
        for member in self.members.values():
            with contextlib.suppress(OSError):
                found += [" ".join(process.cmdline()) for process in member.containers()]
        return found

    def _preseed(self, member: Member) -> dict[str, Any]:
        if member is not self.first:
            token = self.first.lxc("cluster", "add", member.name).splitlines()[-1]
            joining = {"enabled": True, "server_name": member.name, "server_address": member.address}
            return {"config": {}, "cluster": {**joining, "cluster_token": token}}
        return {
            "config": {"core.https_address": member.address, "images.auto_update_interval": "0"},
            "storage_pools": [{"name": "default", "driver": "dir"}],
            "profiles": [
                {
                    "name": "default",
                    "devices": {
                        "root": {"type": "disk", "path": "/", "pool": "default"},
                        "eth0": {"type": "nic", "nictype": "bridged", "parent": BRIDGE, "name": "eth0"},
                    },
                }
            ],
            "cluster": {"enabled": True, "server_name": member.name},
        }
