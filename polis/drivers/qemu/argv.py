"""QEMU's command line: a pure function from a description of the machine to a list of arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from polis.drivers.base import Forward

MEBIBYTE = 1024 * 1024

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
"""A QEMU that a guest has taken over can start no program and gain no privilege. It rules out `-daemonize`,
which forks after the filter is in place (seen on 7.2: killed by SIGSYS)."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """All that decides the command line. `memory` is in bytes; `ssh_port` and `forwards` are on 127.0.0.1.

    `cx16` tells whether an emulated CPU may have the instruction cmpxchg16b (see host.emulates_cx16).
    """

    binary: str
    name: str
    uuid: str
    acceleration: str
    cpus: int
    memory: int
    disk: Path
    seed: Path
    console: Path
    pidfile: Path
    qmp: Path
    ssh_port: int
    forwards: tuple[Forward, ...] = ()
    medium: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    sandbox: bool = True
    cx16: bool = True


def build(machine: Machine) -> list[str]:
    """Return the whole command line."""
    return [
        machine.binary,
        *_identity(machine),
        *_processor(machine),
        *_storage(machine),
        *_network(machine),
        *_control(machine),
        *_direct_boot(machine),
    ]


def escaped(path: Path) -> str:
    """Return a path as part of an option list, where a comma is written twice."""
    return str(path).replace(",", ",,")


def _identity(machine: Machine) -> list[str]:
    return [
        *("-name", f"guest=polis-{machine.name}"),
        *("-uuid", machine.uuid),
        *("-pidfile", str(machine.pidfile)),
        "-no-user-config",
        "-nodefaults",
        *("-display", "none"),
        # A guest may reboot; when it powers off, QEMU ends.
        *("-action", "reboot=reset,shutdown=poweroff"),
        *(("-sandbox", SANDBOX) if machine.sandbox else ()),
    ]


def _processor(machine: Machine) -> list[str]:
    arm = machine.binary.endswith("aarch64")
    accel = "tcg,thread=multi" if machine.acceleration == "tcg" else machine.acceleration
    cpu = "host" if machine.acceleration in ("kvm", "hvf") else _emulated_cpu(machine, arm=arm)
    return [
        # Without graphics the firmware talks to the serial console, so a disk that does not boot says so.
        *("-machine", "virt" if arm else "q35,graphics=off,usb=off,vmport=off"),
        *("-accel", accel),
        *("-cpu", cpu),
        *("-smp", str(machine.cpus)),
        *("-m", f"{machine.memory // MEBIBYTE}M"),
        *("-device", "virtio-rng-pci"),
    ]


def _emulated_cpu(machine: Machine, *, arm: bool) -> str:
    if arm or machine.acceleration != "tcg":
        return "max"
    # With all that QEMU can emulate, guests choose wide vector instructions, which cost more here than they save: the
    # default stack was healthy after 80 s on `max`, after 62 s on this.
    return f"Nehalem{'' if machine.cx16 else ',cx16=off'}"


def _storage(machine: Machine) -> list[str]:
    disk, seed = escaped(machine.disk), escaped(machine.seed)
    return [
        "-blockdev",
        f"driver=qcow2,node-name=disk,discard=unmap,file.driver=file,file.filename={disk},file.discard=unmap",
        # Index 0 belongs to a kernel that is booted directly.
        *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        *("-blockdev", f"driver=raw,node-name=seed,read-only=on,file.driver=file,file.filename={seed}"),
        *("-device", "virtio-blk-pci,drive=seed"),
        *(_medium(machine.medium) if machine.medium is not None else ()),
    ]


def _medium(path: Path) -> tuple[str, ...]:
    backend = f"driver=raw,node-name=medium,read-only=on,file.driver=file,file.filename={escaped(path)}"
    return ("-blockdev", backend, "-device", "virtio-blk-pci,drive=medium")


def _network(machine: Machine) -> list[str]:
    forwards = [(machine.ssh_port, 22), *((forward.host, forward.guest) for forward in machine.forwards)]
    rules = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in forwards)
    return [
        # Without IPv6: the emulated network would announce a prefix that leads nowhere on most hosts.
        *("-netdev", f"user,id=net0,ipv6=off,hostname={machine.name}{rules}"),
        # No option ROM: booting from the network is never wanted.
        *("-device", "virtio-net-pci,netdev=net0,romfile="),
    ]


def _control(machine: Machine) -> list[str]:
    return [
        *("-chardev", f"file,id=console,path={escaped(machine.console)},append=on"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=qmp,path={escaped(machine.qmp)},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def _direct_boot(machine: Machine) -> list[str]:
    if machine.kernel is None:
        # The virt machine has no built-in firmware; QEMU ships this one.
        return ["-bios", "edk2-aarch64-code.fd"] if machine.binary.endswith("aarch64") else []
    return [
        *("-kernel", str(machine.kernel)),
        *(("-initrd", str(machine.initrd)) if machine.initrd else ()),
        *(("-append", machine.cmdline) if machine.cmdline else ()),
    ]
