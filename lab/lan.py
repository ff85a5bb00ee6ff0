"""A network of its own on this machine: a switch, a network namespace for each computer on it, and addresses by DHCP.

The host is on it with one interface and an address, as on any network. Switch and computers are in namespaces, so that
nothing of it passes anybody's firewall (a kernel with br_netfilter shows bridged packets to the rules of the bridge's
own namespace), and that other labs may have computers of the same names.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab import certificates
from lab.daemon import Daemon
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

NETWORKS = [ipaddress.ip_network(f"{address}/24", strict=False) for address in certificates.BRIDGES]
"""Where labs may be: none of the stack's own networks, nor QEMU's."""
BRIDGE = "lan"
"""The bridge's name, in the switch and on each computer, whose guests are on the same network as it is itself."""
NAMESPACES = Path("/run/netns")

# Paths below /sys/class/net are of the network that /sys was mounted in. The cgroups below it stay.
ENTER = """
mount --rbind /sys/fs/cgroup "$1"
mount -t sysfs sysfs /sys
mount --rbind "$1" /sys/fs/cgroup
umount --lazy "$1"
mount --bind "$2" /etc/subuid
mount --bind "$2" /etc/subgid
shift 2
exec "$@"
"""


class Lan:
    """One network. `directory` names it; `computers` are the names of those on it. Needs root."""

    def __init__(self, directory: Path, computers: Sequence[str]) -> None:
        self._directory = directory
        self._computers = computers
        # An interface's name has 15 characters at most, and two labs must not share one.
        self._name = f"polis{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"
        self._dhcp = Daemon("dhcp", directory / "run")

    @property
    def gateway(self) -> str:
        """The host's address on it. Raises LabError if there is no such network."""
        shown = run("ip", "-json", "-4", "address", "show", "dev", self._name)
        return str(json.loads(shown)[0]["addr_info"][0]["local"])

    def address(self, computer: str) -> str:
        """Return a computer's address; raises LabError if there is no such network."""
        return self.gateway.rpartition(".")[0] + f".{11 + self._computers.index(computer)}"

    def start(self) -> None:
        """Lay the cables; raises LabError. The caller holds the lab's lock, or two choose the same network."""
        network = free_network()
        host, switch = str(network[1]), str(network[2])
        places = [self._place(name) for name in ("switch", *self._computers)]
        try:
            for place in places:
                run("ip", "netns", "add", place)
                run("ip", "-netns", place, "link", "set", "lo", "up")
                run("ip", "-netns", place, "link", "add", BRIDGE, "type", "bridge")
                run("ip", "-netns", place, "link", "set", BRIDGE, "up")
            run("ip", "link", "add", self._name, "type", "veth", "peer", "name", "host", "netns", places[0])
            run("ip", "address", "add", f"{host}/24", "dev", self._name)
            run("ip", "link", "set", self._name, "up")
            self._plug("switch", "host")
            run("ip", "-netns", places[0], "address", "add", f"{switch}/24", "dev", BRIDGE)
            for name, place in zip(self._computers, places[1:], strict=True):
                cable = ("type", "veth", "peer", "name", "eth0", "netns", place)
                run("ip", "-netns", places[0], "link", "add", name, *cable)
                self._plug("switch", name)
                self._plug(name, "eth0")
                run("ip", "-netns", place, "address", "add", f"{self.address(name)}/24", "dev", BRIDGE)
                run("ip", "-netns", place, "route", "add", "default", "via", host)
            self._serve(network)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove it; the caller has ended what runs on the computers."""
        self._dhcp.stop()
        # The host's end goes with the other one.
        for name in ("switch", *self._computers):
            if (NAMESPACES / self._place(name)).exists():
                run("ip", "netns", "delete", self._place(name))
        subprocess.run(["ip", "link", "delete", self._name], check=False, capture_output=True)

    def on(self, computer: str, spare: Path, ids: Path) -> list[str]:
        """Return the words that start a command on a computer, and become it; `spare` is an empty directory.

        `ids` says which users of this kernel its containers may have, in the form of /etc/subuid.

        Its mounts are its own, and gone with the last of its processes. Not `ip netns exec`: that hides the cgroups.
        """
        into = ["nsenter", f"--net={NAMESPACES / self._place(computer)}"]
        return [*into, "unshare", "--mount", "--propagation", "private", "sh", "-ec", ENTER, "sh", str(spare), str(ids)]

    def cut(self, computer: str) -> None:
        """Pull the computer's cable: nobody hears of it any more, and is not told so either."""
        run("ip", "-netns", self._place("switch"), "link", "set", computer, "down")

    def mend(self, computer: str) -> None:
        """Plug it in again."""
        run("ip", "-netns", self._place("switch"), "link", "set", computer, "up")

    def _place(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _plug(self, computer: str, interface: str) -> None:
        run("ip", "-netns", self._place(computer), "link", "set", interface, "master", BRIDGE)
        run("ip", "-netns", self._place(computer), "link", "set", interface, "up")

    def _serve(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        """Give addresses to guests, and answer no name: what they need is reached at the host's address."""
        ready = self._directory / "run" / "dnsmasq.ready"
        ready.parent.mkdir(parents=True, exist_ok=True)
        ready.unlink(missing_ok=True)
        program = shutil.which("dnsmasq")
        if program is None:
            raise LabError("dnsmasq is not installed (Debian's dnsmasq-base)")
        self._dhcp.start(
            [
                *(program, "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"),
                *(f"--interface={BRIDGE}", "--except-interface=lo", "--bind-interfaces", "--no-resolv", "--no-hosts"),
                *(f"--dhcp-range={network[50]},{network[250]},12h", f"--dhcp-option=option:router,{network[1]}"),
                *("--dhcp-authoritative", f"--dhcp-leasefile={ready.parent / 'leases'}", f"--pid-file={ready}"),
            ],
            via=["nsenter", f"--net={NAMESPACES / self._place('switch')}"],
            ports={},
            env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)},
            answers=ready.exists,  # written when it listens
        )


def free_network() -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network that this machine has no way to yet; raises LabError if none is left."""
    routes = json.loads(run("ip", "-json", "-4", "route"))
    taken = [ipaddress.ip_network(route["dst"]) for route in routes if route["dst"] != "default"]
    for network in NETWORKS:
        if not any(network.overlaps(other) for other in taken if other.version == network.version):
            return network
    raise LabError("no network is left for the lab's bridge")


def run(*argv: str) -> str:
    """Return what a command prints; raises LabError with its words."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{' '.join(argv)} failed: {' '.join(done.stderr.split())}")
    return done.stdout
