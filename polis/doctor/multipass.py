"""Multipass on this machine: installed, new enough, answering, able to virtualize, and free of a namesake."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from polis.doctor.findings import Finding, ok, problem, warning
from polis.drivers.multipass import host as hosts
from polis.drivers.multipass.client import Client
from polis.drivers.multipass.failures import ToolFailure
from polis.drivers.qemu.host import acceleration
from polis.errors import DriverMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polis.drivers.multipass.records import Versions

LIMIT = 20.0
"""Seconds for one call; a daemon that is busy with a stop answers nobody meanwhile."""


class Bug(NamedTuple):
    """A known bug of Multipass: fixed in a version, or not yet; on one platform, or on all."""

    fixed: tuple[int, ...]
    system: str
    what: str


BUGS = (
    Bug((1, 16, 1), "", "a daemon with its own storage directory loses its certificates (multipass #4246)"),
    Bug((1, 16, 2), "darwin", "on macOS 26 its network clashes with the system's, and no VM is reached (#4383)"),
    Bug((1, 16, 3), "darwin", "its QEMU ends at once on an M4 (#4581)"),
)


@dataclass(frozen=True)
class Examiner:
    """The questions; the client is a parameter, so that tests can ask a fake."""

    client: Client
    edition: str = ""
    """Of Windows; empty elsewhere."""

    @property
    def _host(self) -> hosts.Host:
        return self.client.host

    def examine(self, workspace: str) -> Iterator[Finding]:
        """Yield what stands between this machine's Multipass and a VM of that name."""
        try:
            versions = self.client.version(limit=LIMIT)
        except DriverMissing as error:
            why = "the workspace's VM comes from it; `--driver qemu` needs none"
            yield problem("multipass", error.message, why=why, mend=error.hint)
            return
        except ToolFailure as failed:
            yield self._of(failed, "multipass", "Multipass does not tell its version")
            return
        yield self._version(versions)
        yield from self._bugs(versions)
        yield from self._daemon(versions, workspace)
        yield from self._platform()

    def _version(self, versions: Versions) -> Finding:
        old = versions.older_than(hosts.MINIMUM)
        if not old:
            return ok("multipass", f"Multipass {versions.client}")
        minimum = ".".join(map(str, hosts.MINIMUM))
        return problem(
            "multipass",
            f"Multipass {old} is older than {minimum}",
            why="it lacks what polis relies on",
            mend=self._host.pick(hosts.UPDATE),
        )

    def _bugs(self, versions: Versions) -> Iterator[Finding]:
        for bug in BUGS:
            if bug.system in ("", self._host.system) and versions.older_than(bug.fixed):
                fixed = ".".join(map(str, bug.fixed))
                yield warning(
                    "multipass-bug",
                    f"a known bug of this version: {bug.what}",
                    why=f"fixed in {fixed}",
                    mend=self._host.pick(hosts.UPDATE),
                )

    def _daemon(self, versions: Versions, workspace: str) -> Iterator[Finding]:
        try:
            instances = self.client.list(limit=LIMIT)
        except ToolFailure as failed:
            yield self._of(failed, "multipass-daemon", "the daemon does not answer")
            return
        yield ok("multipass-daemon", f"multipassd {versions.daemon or '(version unknown)'} answers")
        for instance in instances:
            if instance.name == workspace and instance.state == "Deleted":
                yield warning(
                    "namesake",
                    f"an instance {workspace} is deleted, but not purged",
                    why="its name is taken until then, and polis purges nothing that it did not make",
                    mend=f"multipass delete --purge {workspace}, or multipass recover {workspace} if you need it",
                )

    def _platform(self) -> Iterator[Finding]:
        if self._host.system == "linux":
            yield self._kvm()
        if self._host.snap:
            yield ok("confinement", "a snap: it sees this user's home, but neither /tmp nor hidden directories")
        if self._host.system == "win32" and self.edition.startswith("Core"):
            yield problem(
                "hypervisor",
                "Windows Home has no Hyper-V",
                why="Multipass needs a hypervisor",
                mend="winget install Oracle.VirtualBox, then multipass set local.driver=virtualbox",
            )

    def _kvm(self) -> Finding:
        found = acceleration("auto")
        if found.name == "kvm":
            return ok("virtualization", str(found))
        mend = "switch virtualization on in the firmware (VT-x, AMD-V)"
        if self._host.snap:
            mend += "; then sudo snap connect multipass:kvm"
        return problem("virtualization", found.reason, why="Multipass starts no VM without it", mend=mend)

    def _of(self, failed: ToolFailure, name: str, message: str) -> Finding:
        error = failed.failure.error(message, self._host)
        why = error.cause.strip().splitlines()
        return problem(name, message, why=why[-1] if why else "it said nothing", mend=error.hint)


def examine(workspace: str) -> Iterator[Finding]:
    """Yield what Multipass on this machine is like."""
    edition = getattr(platform, "win32_edition", lambda: None)() or ""
    return Examiner(Client(hosts.detect()), edition).examine(workspace)
