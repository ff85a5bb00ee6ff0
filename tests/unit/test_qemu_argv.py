"""QEMU's command line, as a whole and where it varies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from polis.drivers.base import Forward
from polis.drivers.qemu.argv import Machine, build, escaped

MACHINE = Machine(
    binary="/usr/bin/qemu-system-x86_64",
    name="ws",
    uuid="6d3c1c0e-0000-4000-8000-000000000001",
    acceleration="kvm",
    cpus=2,
    memory=3 * 1024**3,
    disk=Path("/d/disk.qcow2"),
    seed=Path("/d/seed.iso"),
    console=Path("/d/console.log"),
    pidfile=Path("/d/qemu.pid"),
    qmp=Path("/run/x.qmp"),
    ssh_port=40022,
)


def test_the_whole_command_line() -> None:
    assert build(MACHINE) == [
        "/usr/bin/qemu-system-x86_64",
        *("-name", "guest=polis-ws"),
        *("-uuid", "6d3c1c0e-0000-4000-8000-000000000001"),
        *("-pidfile", "/d/qemu.pid"),
        "-no-user-config",
        "-nodefaults",
        *("-display", "none"),
        *("-action", "reboot=reset,shutdown=poweroff"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-machine", "q35,graphics=off,usb=off,vmport=off"),
        *("-accel", "kvm"),
        *("-cpu", "host"),
        *("-smp", "2"),
        *("-m", "3072M"),
        *("-device", "virtio-rng-pci"),
        "-blockdev",
        "driver=qcow2,node-name=disk,discard=unmap,file.driver=file,file.filename=/d/disk.qcow2,file.discard=unmap",
        *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        "-blockdev",
        "driver=raw,node-name=seed,read-only=on,file.driver=file,file.filename=/d/seed.iso",
        *("-device", "virtio-blk-pci,drive=seed"),
        *("-netdev", "user,id=net0,ipv6=off,hostname=ws,hostfwd=tcp:127.0.0.1:40022-:22"),
        *("-device", "virtio-net-pci,netdev=net0,romfile="),
        *("-chardev", "file,id=console,path=/d/console.log,append=on"),
        *("-serial", "chardev:console"),
        *("-chardev", "socket,id=qmp,path=/run/x.qmp,server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def test_forwards_are_on_loopback_only() -> None:
    machine = dataclasses.replace(MACHINE, forwards=(Forward(8080, 80), Forward(8443, 443)))
    assert (
        "user,id=net0,ipv6=off,hostname=ws,hostfwd=tcp:127.0.0.1:40022-:22"
        ",hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:8443-:443"
    ) in build(machine)


def test_a_medium_is_one_more_disk_that_nobody_writes_to() -> None:
    words = build(dataclasses.replace(MACHINE, medium=Path("/d,/medium.iso")))
    assert "driver=raw,node-name=medium,read-only=on,file.driver=file,file.filename=/d,,/medium.iso" in words
    assert words[words.index("virtio-blk-pci,drive=medium") - 1] == "-device"
    assert not [word for word in build(MACHINE) if "medium" in word]


def test_a_kernel_of_the_image_is_booted_directly() -> None:
    machine = dataclasses.replace(
        MACHINE, kernel=Path("/d/kernel"), initrd=Path("/d/initrd"), cmdline="root=LABEL=x console=ttyS0"
    )
    assert build(machine)[-6:] == [
        *("-kernel", "/d/kernel"),
        *("-initrd", "/d/initrd"),
        *("-append", "root=LABEL=x console=ttyS0"),
    ]


@pytest.mark.parametrize(
    ("acceleration", "cx16", "accel", "cpu"),
    [
        ("kvm", True, "kvm", "host"),
        ("hvf", True, "hvf", "host"),
        ("whpx", True, "whpx", "max"),
        ("tcg", True, "tcg,thread=multi", "Nehalem"),
        ("tcg", False, "tcg,thread=multi", "Nehalem,cx16=off"),
    ],
)
def test_processor(acceleration: str, cx16: bool, accel: str, cpu: str) -> None:
    words = build(dataclasses.replace(MACHINE, acceleration=acceleration, cx16=cx16))
    assert words[words.index("-accel") + 1] == accel
    assert words[words.index("-cpu") + 1] == cpu


def test_arm_has_another_machine_and_names_its_firmware() -> None:
    words = build(dataclasses.replace(MACHINE, binary="/opt/bin/qemu-system-aarch64", acceleration="hvf"))
    assert words[words.index("-machine") + 1] == "virt"
    assert words[-2:] == ["-bios", "edk2-aarch64-code.fd"]


def test_commas_in_paths_are_doubled() -> None:
    assert escaped(Path("/a,b/c")) == "/a,,b/c"
    words = build(dataclasses.replace(MACHINE, disk=Path("/a,b/d.qcow2"), console=Path("/a,b/c.log")))
    assert any("file.filename=/a,,b/d.qcow2," in word for word in words)
    assert "file,id=console,path=/a,,b/c.log,append=on" in words


def test_the_filter_can_be_left_out() -> None:
    assert "-sandbox" not in build(dataclasses.replace(MACHINE, sandbox=False))
