"""This machine: processors, memory, disk, where files lie, and what its network does to bridged VMs."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from polis.doctor.findings import Finding, ok, problem, warning
from polis.drivers import native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polis.config import Spec
    from polis.paths import Paths

GIB = 1024**3
SMALLEST_DISK = 6 * GIB
"""Bytes that a VM's disk takes once Docker, Sysbox and the images are in it."""

TUNNELS = ("tun", "tap", "utun", "wg", "ppp", "ipsec", "gpd", "cscotun", "tailscale", "nordlynx", "proton")
"""Beginnings of the names that VPN clients give their interfaces."""


def _interfaces_up() -> list[str]:
    return [name for name, state in psutil.net_if_stats().items() if state.isup]


@dataclass(frozen=True)
class Facts:
    """What is known of a machine; a parameter, so that tests can make one up. Sizes are bytes."""

    system: str = field(default_factory=lambda: sys.platform)
    processor: str = field(default_factory=native.processor)
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory: int = field(default_factory=lambda: psutil.virtual_memory().total)
    memory_free: int = field(default_factory=lambda: psutil.virtual_memory().available)
    disk_free: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    interfaces: Callable[[], list[str]] = field(default=_interfaces_up)
    ufw: Path = Path("/etc/ufw/ufw.conf")
    docker_bridge: Path = Path("/sys/class/net/docker0")


def examine(spec: Spec, paths: Paths, facts: Facts) -> Iterator[Finding]:
    """Yield what this machine is like for a VM of the configured size."""
    yield _processor(facts)
    yield _cpus(spec, facts)
    yield _memory(spec, facts)
    yield _disk(spec, paths, facts)
    yield _directory(paths)
    yield from _privacy(paths)


def _processor(facts: Facts) -> Finding:
    if facts.processor.lower() in ("x86_64", "amd64"):
        return ok("architecture", f"the processor is {facts.processor}")
    return problem(
        "architecture",
        f"the processor is {facts.processor}",
        why="Docker, Sysbox and the images are pinned for amd64",
        mend="use a machine with an amd64 processor",
    )


def _cpus(spec: Spec, facts: Facts) -> Finding:
    if spec.cpus <= facts.cpus:
        return ok("cpus", f"{spec.cpus} of {facts.cpus} processors for the VM")
    return warning(
        "cpus",
        f"the VM wants {spec.cpus} processors, this machine has {facts.cpus}",
        why="it will be slower than with fewer; Multipass on some systems refuses to start it",
        mend=f"set `cpus: {facts.cpus}` in polis.yaml",
    )


def _memory(spec: Spec, facts: Facts) -> Finding:
    wanted, free = _gib(spec.memory), _gib(facts.memory_free)
    if spec.memory >= facts.memory:
        return problem(
            "memory",
            f"the VM wants {wanted}, this machine has {_gib(facts.memory)} in all",
            why="it cannot start",
            mend=f"set `memory: {max(1, facts.memory // GIB // 2)}G` in polis.yaml",
        )
    if spec.memory > facts.memory_free:
        return warning(
            "memory",
            f"the VM wants {wanted}, {free} are free now",
            why="this machine will swap, or end the VM when memory runs out",
            mend="close other programs, or set a smaller `memory` in polis.yaml",
        )
    return ok("memory", f"{wanted} of {free} free for the VM")


def _disk(spec: Spec, paths: Paths, facts: Facts) -> Finding:
    place = _existing(paths.data)
    free = facts.disk_free(place)
    if free < SMALLEST_DISK:
        return problem(
            "disk",
            f"{_gib(free)} are free at {place}",
            why=f"a provisioned VM takes about {_gib(SMALLEST_DISK)}",
            mend="free some space, or put POLIS_HOME on a larger disk",
        )
    if free < spec.disk:
        return warning(
            "disk",
            f"{_gib(free)} are free at {place}, and the VM's disk may grow to {_gib(spec.disk)}",
            why="when this disk is full, the VM stops or loses what it writes",
            mend="free some space, or set a smaller `disk` in polis.yaml before the VM is made",
        )
    return ok("disk", f"{_gib(free)} free at {place}")


def _directory(paths: Paths) -> Finding:
    for place in (paths.config, paths.data):
        existing = _existing(place)
        if not os.access(existing, os.W_OK):
            return problem(
                "directories",
                f"{existing} cannot be written",
                why="the record of what was done is kept there",
                mend=f"make {existing} writable for this user, or set POLIS_HOME to a directory that is",
            )
    return ok("directories", f"records in {paths.workspaces}")


def _privacy(paths: Paths) -> Iterator[Finding]:
    """Yield directories with keys in them that others may enter; closing them harms nobody."""
    for place in (paths.workspaces, paths.data):
        if os.name == "posix" and place.is_dir() and stat.S_IMODE(place.stat().st_mode) & 0o077:
            yield warning(
                "privacy",
                f"others may enter {place}",
                why="records, keys and disks of VMs lie there",
                mend=f"chmod 700 {place} (`polis doctor --fix` does it)",
                fix=functools.partial(_close, place),
            )


def _close(place: Path) -> str:
    place.chmod(0o700)
    return f"only you may enter {place}"


def bridged(facts: Facts) -> Iterator[Finding]:
    """Yield what may keep a VM on a bridge of its own from the network.

    Not for QEMU's user network: there this machine's own processes connect, like any other program's.
    """
    tunnels = [name for name in facts.interfaces() if name.lower().startswith(TUNNELS)]
    if tunnels:
        yield warning(
            "vpn",
            f"a VPN seems to be up ({', '.join(sorted(tunnels))})",
            why="many take over the VM's network: it then boots, and is never reached or reaches nothing",
            mend="if the VM stays unreachable, disconnect the VPN or allow split tunnelling, then run `polis up` again",
        )
    if facts.system.startswith("linux") and _ufw_is_on(facts.ufw):
        yield warning(
            "firewall",
            "ufw is on",
            why="it drops what is forwarded between VM and network unless told otherwise",
            mend="if the VM reaches nothing: sudo ufw route allow in on mpqemubr0; sudo ufw allow in on mpqemubr0",
        )
    if facts.system.startswith("linux") and facts.docker_bridge.exists():
        yield warning(
            "docker-on-host",
            "Docker runs on this machine too",
            why="it drops what other bridges forward, those of Multipass and LXD among them",
            mend="if the VM reaches nothing: sudo iptables -I DOCKER-USER -i mpqemubr0 -j ACCEPT",
        )


def _ufw_is_on(path: Path) -> bool:
    try:
        return "ENABLED=yes" in path.read_text(encoding="utf-8")
    except OSError:
        return False


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
